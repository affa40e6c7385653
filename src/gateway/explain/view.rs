//! An explanation as plain data, for JSON and for people.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::change;
use crate::authentication::{Caller, CredentialKind};
use crate::domain::{Endpoint, RegionId, Regions};
use crate::limits::{Decision, Met, Mode};
use crate::reply::{Refusal, Replies};
use crate::routing::{Match, UnmatchedReason};
use crate::upstream::Checked as Upstreams;

/// What would be done with a request.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct Explanation {
    /// The word of the outcome: `forwarded`, `answered` (one of the gateway's own pages), or a refusal's.
    pub outcome: String,
    /// The refusal, if it is one.
    pub refusal: Option<RefusalView>,
    /// The endpoint; [`None`] for a path that is in no table.
    pub endpoint: Option<EndpointView>,
    /// The API version that was asked for or chosen.
    pub version: Option<String>,
    /// The caller; [`None`] where nobody is identified.
    pub identity: Option<IdentityView>,
    /// Every limit that the request would meet, if it came so far.
    pub limits: Vec<LimitView>,
    /// Where it would go, if it came so far.
    pub place: Option<PlaceView>,
    /// What else is to be known.
    pub notes: Vec<String>,
}

/// A refusal.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct RefusalView {
    /// The status code.
    pub status: u16,
    /// What the caller would be told.
    pub message: String,
    /// What an operator or owner can do about it.
    pub change: String,
    /// The limit that refuses, if it is one.
    pub policy: Option<String>,
}

/// An endpoint and what it needs.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct EndpointView {
    /// Its name.
    pub operation: String,
    /// Its method; [`None`] for all.
    pub method: Option<String>,
    /// Its path template.
    pub path: String,
    /// Whether it needs no credential.
    pub public: bool,
    /// The scope that it needs.
    pub scope: Option<String>,
    /// The plans that may call it.
    pub plans: Vec<String>,
    /// The workspace feature that it needs.
    pub feature: Option<String>,
    /// The role that it needs.
    pub role: Option<String>,
}

/// A caller. Never holds a credential.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct IdentityView {
    /// `token` or `jwt`.
    pub kind: String,
    /// The token's id, or the JWT's client.
    pub token_id: String,
    /// The workspace's id.
    pub workspace: String,
    /// Its home region.
    pub region: String,
    /// Its plan.
    pub plan: String,
    /// Its state.
    pub state: String,
    /// Its features.
    pub features: Vec<String>,
    /// The caller's role.
    pub role: String,
    /// The caller's scopes.
    pub scopes: Vec<String>,
    /// When the credential ends, in seconds since 1970.
    pub expires_at_unix_seconds: Option<u64>,
}

/// A limit that a request meets.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct LimitView {
    /// Its name.
    pub policy: String,
    /// What it counts apart, with this request's values.
    pub key: BTreeMap<String, String>,
    /// The quota: `60 per minute`.
    pub quota: String,
    /// Requests that may come at once.
    pub burst: u32,
    /// How many requests this one counts as.
    pub cost: u32,
    /// What it can admit at worst.
    pub worst_window: WorstWindow,
    /// `enforce` or `shadow`.
    pub mode: String,
    /// Requests left at this moment; [`None`] where nothing counts them.
    pub remaining: Option<u32>,
    /// Whether it has no room for this request.
    pub refuses: bool,
    /// Seconds until it has.
    pub wait_seconds: f64,
}

/// What a limit can admit at worst: after a pause, a full burst and the rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct WorstWindow {
    /// So many requests,
    pub requests: u64,
    /// once in so many seconds.
    pub seconds: u32,
}

/// Where a request goes.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct PlaceView {
    /// The region.
    pub region: String,
    /// Its upstream servers.
    pub upstreams: Vec<String>,
    /// Until when what has to happen.
    pub deadlines: DeadlinesView,
}

/// The deadlines of an exchange with an upstream, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
pub struct DeadlinesView {
    /// To connect.
    pub connect_seconds: f64,
    /// To the answer's head.
    pub first_byte_seconds: f64,
    /// The longest pause inside an answer.
    pub idle_seconds: f64,
    /// For the whole exchange.
    pub total_seconds: f64,
}

impl Explanation {
    /// Whether the request would be served.
    pub const fn is_served(&self) -> bool {
        self.refusal.is_none()
    }

    /// Leaves out what is left of the limits, where there is no gateway that counts.
    pub fn forget_counts(&mut self) {
        self.limits.iter_mut().for_each(|limit| limit.remaining = None);
    }

    pub(super) fn refused(&mut self, refusal: &Refusal, replies: &Replies) {
        refusal.outcome().reason().clone_into(&mut self.outcome);
        let policy = match refusal {
            Refusal::RateLimited(limit) | Refusal::QuotaExceeded(limit) => Some(limit.policy.to_string()),
            Refusal::TooManyInFlight { policy, .. } => Some(policy.to_string()),
            _ => None,
        };
        let (message, change) = (replies.message_of(refusal), change::of(refusal).to_owned());
        self.refusal = Some(RefusalView { status: refusal.status(), message, change, policy });
    }

    pub(super) fn matched(&mut self, matched: &Match<'_>) {
        match matched {
            Match::Matched(matched) => {
                self.endpoint = Some(EndpointView::of(matched.endpoint));
                self.version = matched.version.map(|version| version.to_string());
                if let Some(deprecation) = matched.deprecation {
                    let sunset =
                        deprecation.sunset.as_deref().map_or(String::new(), |day| format!(", ends {day}"));
                    self.notes
                        .push(format!("This version is deprecated (since {}){sunset}.", deprecation.since));
                }
            }
            Match::Unmatched(unmatched) => {
                let endpoint = match unmatched.reason {
                    UnmatchedReason::Misspelled(endpoint)
                    | UnmatchedReason::VersionUnsupported { endpoint, .. }
                    | UnmatchedReason::MediaTypeUnsupported { endpoint, .. } => Some(endpoint),
                    UnmatchedReason::UnknownPath
                    | UnmatchedReason::UnknownMethod(_)
                    | UnmatchedReason::MethodNotImplemented
                    | UnmatchedReason::EscapedSlash => None,
                };
                self.endpoint = endpoint.map(EndpointView::of);
                let forwarded =
                    if unmatched.outcome().is_none() { " It is forwarded all the same." } else { "" };
                self.notes.push(format!("Matched no endpoint: {}.{forwarded}", unmatched.reason));
            }
        }
    }

    pub(super) fn identified(&mut self, caller: Option<&Caller>, regions: &Regions) {
        self.identity = caller.map(|caller| IdentityView::of(caller, regions));
    }
}

impl EndpointView {
    fn of(endpoint: &Endpoint) -> Self {
        Self {
            operation: endpoint.operation.to_string(),
            method: endpoint.method.map(|method| method.name().to_owned()),
            path: endpoint.template.to_string(),
            public: endpoint.public,
            scope: endpoint.scope.as_ref().map(ToString::to_string),
            plans: endpoint.plans.iter().map(|plan| plan.name().to_owned()).collect(),
            feature: endpoint.feature.as_ref().map(ToString::to_string),
            role: endpoint.role.map(|role| role.name().to_owned()),
        }
    }
}

impl IdentityView {
    fn of(caller: &Caller, regions: &Regions) -> Self {
        let workspace = caller.workspace();
        let kind = match caller.kind() {
            CredentialKind::Opaque => "token",
            CredentialKind::Jwt => "jwt",
        };
        Self {
            kind: kind.to_owned(),
            token_id: caller.token_id().to_string(),
            workspace: workspace.id.to_string(),
            region: regions.name(workspace.region).to_string(),
            plan: workspace.plan.name().to_owned(),
            state: workspace.state.name().to_owned(),
            features: workspace.features.iter().map(ToString::to_string).collect(),
            role: caller.role().name().to_owned(),
            scopes: caller.scopes().iter().map(ToString::to_string).collect(),
            expires_at_unix_seconds: caller.expires_at_unix_seconds(),
        }
    }
}

impl LimitView {
    pub(super) fn of(met: &Met) -> Self {
        let quota = met.headroom.quota;
        let mode = match met.mode {
            Mode::Enforce => "enforce",
            Mode::Shadow => "shadow",
        };
        Self {
            policy: met.name.to_string(),
            key: met.key.iter().cloned().collect(),
            quota: quota.to_string(),
            burst: quota.burst.get(),
            cost: met.cost,
            worst_window: WorstWindow {
                requests: met.worst_window_requests(),
                seconds: quota.period_seconds,
            },
            mode: mode.to_owned(),
            remaining: Some(met.headroom.remaining()),
            refuses: met.headroom.decision != Decision::Admitted,
            wait_seconds: met.headroom.wait().as_secs_f64(),
        }
    }
}

impl PlaceView {
    pub(super) fn of(region: RegionId, regions: &Regions, upstreams: &Upstreams) -> Self {
        let servers = upstreams.regions.get(usize::from(region.0)).map_or(&[][..], |(_, servers)| servers);
        let deadlines = &upstreams.pool;
        Self {
            region: regions.name(region).to_string(),
            upstreams: servers.iter().map(|server| server.url.to_string()).collect(),
            deadlines: DeadlinesView {
                connect_seconds: deadlines.connect.as_secs_f64(),
                first_byte_seconds: deadlines.first_byte.as_secs_f64(),
                idle_seconds: deadlines.idle.as_secs_f64(),
                total_seconds: deadlines.total.as_secs_f64(),
            },
        }
    }
}
