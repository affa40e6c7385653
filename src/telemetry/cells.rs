//! One core's counters.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use super::histogram::{FINE, Histogram, WIDE};
use super::labels::REGIONS;
use super::series::Series;
use super::{Facts, OperationLabel, PolicyLabel, RegionLabel};
use crate::domain::{ApiVersion, LimitPath, Method, Outcome, Stability};

/// What a limit decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// There was enough left.
    Admit,
    /// There was not.
    Refuse,
}

/// Whether a limit's decision counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It does.
    Enforce,
    /// It is only noted.
    Shadow,
}

/// Why a connection is closed before anything is served on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionFault {
    /// It does not come from a balancer that may speak the PROXY protocol.
    UntrustedBalancer,
    /// It does not begin with a whole and well-formed PROXY protocol header.
    MalformedProxyHeader,
}

impl ConnectionFault {
    /// Every fault.
    pub const ALL: [Self; 2] = [Self::UntrustedBalancer, Self::MalformedProxyHeader];

    /// As metrics and logs say it.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::UntrustedBalancer => "untrusted_balancer",
            Self::MalformedProxyHeader => "malformed_proxy_header",
        }
    }
}

/// Plain atomics of one core, apart from any other core's by two cache lines. Relaxed: each number stands for
/// itself.
#[derive(Debug)]
#[repr(align(128))]
pub(super) struct Cells {
    pub(super) outcomes: [AtomicU64; OUTCOMES],
    pub(super) requests: Series,
    pub(super) decisions: Series,
    pub(super) deprecated: Series,
    pub(super) request_time: [Histogram; REGIONS],
    pub(super) upstream_time: [Histogram; REGIONS],
    pub(super) overhead: Histogram,
    pub(super) bytes_in: AtomicU64,
    pub(super) bytes_out: AtomicU64,
    pub(super) retries: AtomicU64,
    pub(super) in_flight: AtomicI64,
    pub(super) connections: AtomicI64,
    pub(super) connections_opened: AtomicU64,
    pub(super) connections_refused: [AtomicU64; ConnectionFault::ALL.len()],
    pub(super) limit_paths: [AtomicU64; LimitPath::ALL.len()],
    pub(super) panics: AtomicU64,
    pub(super) exposed_tokens: AtomicU64,
}

pub(super) const OUTCOMES: usize = Outcome::ALL.len();
pub(super) const REQUEST_SERIES: usize = 4_096;
pub(super) const DECISION_SERIES: usize = 1_024;
pub(super) const DEPRECATED_SERIES: usize = 512;

impl Default for Cells {
    fn default() -> Self {
        Self {
            outcomes: std::array::from_fn(|_| AtomicU64::new(0)),
            requests: Series::new(REQUEST_SERIES),
            decisions: Series::new(DECISION_SERIES),
            deprecated: Series::new(DEPRECATED_SERIES),
            request_time: std::array::from_fn(|_| Histogram::new(&WIDE)),
            upstream_time: std::array::from_fn(|_| Histogram::new(&WIDE)),
            overhead: Histogram::new(&FINE),
            bytes_in: AtomicU64::new(0),
            bytes_out: AtomicU64::new(0),
            retries: AtomicU64::new(0),
            in_flight: AtomicI64::new(0),
            connections: AtomicI64::new(0),
            connections_opened: AtomicU64::new(0),
            connections_refused: std::array::from_fn(|_| AtomicU64::new(0)),
            limit_paths: std::array::from_fn(|_| AtomicU64::new(0)),
            panics: AtomicU64::new(0),
            exposed_tokens: AtomicU64::new(0),
        }
    }
}

impl Cells {
    /// Counts a request that ended.
    pub(super) fn request(&self, facts: &Facts, outcome: Outcome) {
        self.outcomes[outcome.index()].fetch_add(1, Ordering::Relaxed);
        let key = RequestKey {
            operation: facts.operation,
            method: facts.method,
            outcome,
            class: (facts.status / 100) as u8,
            region: facts.region,
        };
        let overflow = RequestKey { operation: OTHER_OPERATION, method: None, ..key };
        self.requests.add(key.pack(), overflow.pack());
        if let (true, Some(version)) = (facts.deprecated, facts.api_version) {
            let key = DeprecatedKey { operation: facts.operation, version };
            let overflow = DeprecatedKey { operation: OTHER_OPERATION, version };
            self.deprecated.add(key.pack(), overflow.pack());
        }
        let region = usize::from(facts.region.0) % REGIONS;
        self.request_time[region].observe(facts.total);
        self.overhead.observe(facts.overhead.unwrap_or(facts.total));
        if let Some(time) = facts.upstream_time {
            self.upstream_time[region].observe(time);
        }
        for (sum, number) in [
            (&self.bytes_in, facts.bytes_in),
            (&self.bytes_out, facts.bytes_out),
            (&self.retries, u64::from(facts.retries)),
        ] {
            if number > 0 {
                sum.fetch_add(number, Ordering::Relaxed);
            }
        }
    }

    /// Counts a limit's decision.
    pub(super) fn decision(&self, policy: PolicyLabel, decision: Decision, mode: Mode) {
        let key = |policy: u16| DecisionKey { policy: PolicyLabel(policy), decision, mode }.pack();
        self.decisions.add(key(policy.0), key(OTHER_POLICY));
    }
}

const OTHER_OPERATION: OperationLabel = OperationLabel(u16::MAX);
const OTHER_POLICY: u16 = u16::MAX;
const PRESENT: u64 = 1 << 63;

/// The labels of `requests_total`, packed into one number that is not 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RequestKey {
    pub(super) operation: OperationLabel,
    pub(super) method: Option<Method>,
    pub(super) outcome: Outcome,
    /// The status code's first digit; 0 if there was no answer.
    pub(super) class: u8,
    pub(super) region: RegionLabel,
}

impl RequestKey {
    fn pack(self) -> u64 {
        PRESENT
            | u64::from(self.operation.0)
            | self.method.map_or(0xff, |method| method as u64) << 16
            | (self.outcome.index() as u64) << 24
            | u64::from(self.class) << 32
            | u64::from(self.region.0) << 40
    }

    pub(super) fn unpack(key: u64) -> Option<Self> {
        let byte = |shift: u32| (key >> shift) as u8;
        Some(Self {
            operation: OperationLabel(key as u16),
            method: Method::ALL.get(usize::from(byte(16))).copied(),
            outcome: *Outcome::ALL.get(usize::from(byte(24)))?,
            class: byte(32),
            region: RegionLabel(byte(40)),
        })
    }
}

/// The labels of `deprecated_requests_total`, packed likewise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DeprecatedKey {
    pub(super) operation: OperationLabel,
    pub(super) version: ApiVersion,
}

impl DeprecatedKey {
    pub(super) fn pack(self) -> u64 {
        let stability = self.version.stability as u64;
        PRESENT | u64::from(self.operation.0) | u64::from(self.version.major) << 16 | stability << 32
    }

    pub(super) const fn unpack(key: u64) -> Self {
        let stability = match key >> 32 & 3 {
            0 => Stability::Alpha,
            1 => Stability::Beta,
            _ => Stability::Stable,
        };
        let version = ApiVersion { major: (key >> 16) as u16, stability };
        Self { operation: OperationLabel(key as u16), version }
    }
}

/// The labels of `limit_decisions_total`, packed likewise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DecisionKey {
    pub(super) policy: PolicyLabel,
    pub(super) decision: Decision,
    pub(super) mode: Mode,
}

impl DecisionKey {
    fn pack(self) -> u64 {
        PRESENT | u64::from(self.policy.0) | (self.decision as u64) << 16 | (self.mode as u64) << 17
    }

    pub(super) const fn unpack(key: u64) -> Self {
        Self {
            policy: PolicyLabel(key as u16),
            decision: if key >> 16 & 1 == 0 { Decision::Admit } else { Decision::Refuse },
            mode: if key >> 17 & 1 == 0 { Mode::Enforce } else { Mode::Shadow },
        }
    }
}
