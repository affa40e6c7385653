/// How limits that gateways share decided a request; of several ways the slowest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LimitPath {
    /// Admitted at once, by tokens that were leased ahead.
    Lease,
    /// Refused at once, by what the central store had said before.
    Denied,
    /// By the central store's answer, which it waited for; or by none, because its turn to ask did not come in time.
    Store,
    /// By this gateway's share, because the central store's answer was not there in time; or uncounted, where the policy is
    /// open then.
    Unanswered,
    /// By this gateway's share, because the store is away.
    Share,
    /// Admitted uncounted, because the store is away and the policy is open then.
    Open,
    /// Refused, because the store did not answer and the policy is closed then.
    Closed,
}

impl LimitPath {
    /// Every path.
    pub const ALL: [Self; 7] =
        [Self::Lease, Self::Denied, Self::Store, Self::Unanswered, Self::Share, Self::Open, Self::Closed];

    /// The word in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lease => "lease",
            Self::Denied => "denied",
            Self::Store => "store",
            Self::Unanswered => "unanswered",
            Self::Share => "share",
            Self::Open => "open",
            Self::Closed => "closed",
        }
    }
}
