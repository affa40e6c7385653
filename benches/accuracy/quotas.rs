//! What the accuracy of shared limits is measured with, on real processes and in the simulator.

/// The distinct limits of Segment's endpoint table, and a busy one.
pub(crate) const QUOTAS: [&str; 14] = [
    "2 per minute",
    "5 per minute",
    "10 per minute",
    "20 per minute",
    "25 per minute",
    "50 per minute",
    "60 per minute",
    "100 per minute",
    "200 per minute",
    "250 per minute",
    "300 per minute",
    "600 per minute",
    "6000 per minute",
    "120 per day",
];
