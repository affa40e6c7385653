//! The gateway's own pages under `/tollgate/`, for identified callers; never forwarded, never charged.

use std::time::Duration;

use super::Snapshot;
use super::owners::Resource;
use crate::authentication::Caller;
use crate::clock::Now;
use crate::limits::Audience;
use crate::listen::Peer;
use crate::message::Head;
use crate::reply::{LimitView, Refusal, Rendered, WhoAmI, limits_page, whoami_page};
use crate::routing::is_own;

/// What was asked for below `/tollgate/`.
pub(super) enum OwnPage {
    WhoAmI,
    Limits,
    /// What owners of a workspace manage; [`super::Owners`] answers.
    Owners(Resource),
    Unknown,
}

impl OwnPage {
    /// [`None`] for a path that is not ours.
    pub(super) fn of(head: &Head) -> Option<Self> {
        match head.path() {
            path if !is_own(path) => None,
            b"/tollgate/v1/whoami" => Some(Self::WhoAmI),
            b"/tollgate/v1/limits" => Some(Self::Limits),
            _ => Some(Resource::of(head).map_or(Self::Unknown, Self::Owners)),
        }
    }

    /// Writes the page, also for a caller that a permit would be refused: it asks who it is.
    pub(super) fn answer(
        &self,
        snapshot: &Snapshot,
        caller: Option<Caller>,
        (head, peer): (&Head, &Peer),
        request_id: &str,
        now: Now,
    ) -> Result<Rendered, Refusal> {
        let caller = caller.ok_or(Refusal::CredentialMissing)?;
        match self {
            Self::Unknown => return Err(Refusal::NotFound),
            // An explanation says only whether the caller may.
            Self::Owners(resource) => return resource.permit(Some(caller)).map(|_| Rendered::default()),
            Self::WhoAmI | Self::Limits => {}
        }
        if !matches!(head.method(), b"GET" | b"HEAD") {
            return Err(Refusal::MethodNotAllowed { allow: "GET, HEAD".to_owned() });
        }
        let regions = snapshot.places.regions();
        let home = caller.workspace().region;
        let mut page = Rendered::default();
        if matches!(self, Self::Limits) {
            limits(snapshot, &caller, peer, request_id, now, &mut page);
            return Ok(page);
        }
        let who = WhoAmI {
            workspace_id: &caller.workspace().id,
            token_id: caller.token_id(),
            region: regions.name(home),
            base_url: &regions.region(home).base_url,
            plan: caller.workspace().plan,
            role: caller.role(),
            scopes: caller.scopes(),
            features: &caller.workspace().features,
            expires_at_unix_seconds: caller.expires_at_unix_seconds(),
        };
        whoami_page(&who, request_id, &mut page);
        Ok(page)
    }
}

fn limits(
    snapshot: &Snapshot,
    caller: &Caller,
    peer: &Peer,
    request_id: &str,
    now: Now,
    page: &mut Rendered,
) {
    let standing = snapshot.limits.standing(caller, peer.address.ip(), now, Audience::Caller);
    let dimensions: Vec<String> = standing.iter().map(|row| row.per.join(", ")).collect();
    let views: Vec<LimitView<'_>> = standing
        .iter()
        .zip(&dimensions)
        .map(|(row, per)| {
            let burst = u64::from(row.quota.burst.get());
            let until_full = row.headroom.map_or(Duration::ZERO, |headroom| headroom.until_full());
            LimitView {
                policy: &row.name,
                per,
                quota: u64::from(row.quota.requests.get()),
                window_seconds: u64::from(row.quota.period_seconds),
                window: row.quota.window,
                burst,
                remaining: row.headroom.map_or(burst, |headroom| u64::from(headroom.remaining())),
                resets_at_unix_seconds: (!until_full.is_zero())
                    .then(|| (now.unix_millis + until_full.as_millis() as u64).div_ceil(1000)),
            }
        })
        .collect();
    limits_page(&views, request_id, page);
}
