//! What a request comes to before it is counted: the steps that need nothing but the snapshot, in their order.
//!
//! [`super::Gateway`] walks them to serve, [`super::explain`] to say what would be done. Whatever is decided here is
//! decided for both.

use std::borrow::Cow;
use std::net::IpAddr;

use super::own_pages::OwnPage;
use super::{Snapshot, refuse};
use crate::authentication::{Caller, Refused};
use crate::authorization::{Permit, permit};
use crate::message::Head;
use crate::reply::Refusal;
use crate::routing::Match;

/// What an identified request is for.
pub(super) enum Asked<'s> {
    /// One of our own pages.
    OwnPage(OwnPage, Option<Caller>),
    /// An endpoint that it may call.
    Endpoint(Permit<'s>),
}

/// Which endpoint; nothing is said of it yet.
pub(super) fn matched<'s>(snapshot: &'s Snapshot, head: &Head) -> Result<Match<'s>, Refusal> {
    snapshot.table.find(head).map_err(refuse::path)
}

/// The caller, who may come from `address`; [`None`] only where the endpoint is public and no credential came.
pub(super) fn caller(
    identified: Result<Caller, Refused>,
    matched: &Match<'_>,
    address: IpAddr,
) -> Result<Option<Caller>, Refused> {
    match identified {
        Ok(caller) => caller.from_address(address).map(Some),
        Err(Refused::CredentialMissing) if is_public(matched) => Ok(None),
        Err(refused) => Err(refused),
    }
}

/// What the request is for, if its caller may have it. Told before anything is counted: a refused request consumes
/// nothing.
pub(super) fn asked<'s>(
    snapshot: &'s Snapshot,
    matched: &Match<'s>,
    caller: Option<Caller>,
    head: &Head,
) -> Result<Asked<'s>, Refusal> {
    if let Some(caller) = &caller {
        let serves = snapshot.places.serves(caller.workspace().region);
        serves.map_err(|wrong| refuse::wrong_region(wrong.0, snapshot.places.regions()))?;
    }
    if let Some(page) = OwnPage::of(head) {
        return Ok(Asked::OwnPage(page, caller));
    }
    let (endpoint, version) = refuse::unless_forwarded(matched)?;
    permit(caller, endpoint, version, &snapshot.unmatched).map(Asked::Endpoint).map_err(refuse::permit)
}

/// A path parameter's canonical value, for limits that are counted by it.
pub(super) fn parameter<'h>(matched: &Match<'_>, name: &str, head: &'h Head) -> Option<Cow<'h, [u8]>> {
    match matched {
        Match::Matched(matched) => matched.params.canonical(name, head),
        Match::Unmatched(_) => None,
    }
}

fn is_public(matched: &Match<'_>) -> bool {
    matches!(matched, Match::Matched(matched) if matched.endpoint.public)
}
