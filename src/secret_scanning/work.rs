//! What is done with an alert that has arrived: its signature, its tokens, their revocation, the labels.

use std::sync::{Arc, Mutex, PoisonError};

use super::ACTOR;
use super::alert::{self, Finding};
use super::answer::{self, Label};
use super::key_set::PublicKey;
use super::receiver::{Fault, Shared, Signed};
use super::relay::Spooled;
use super::settings::Checked;
use crate::clock::Now;
use crate::domain::RegionId;
use crate::place::Places;
use crate::tokens::{Act, Error, Leak, LeakRevocation, LeakedToken, Lookup};

/// The tokens of one transaction.
const AT_ONCE: usize = 500;

/// What is done with one alert that has arrived; blocks.
pub(super) struct Work {
    pub(super) shared: Arc<Shared>,
    pub(super) places: Places,
    pub(super) rules: Checked,
    /// What GitHub is told so far.
    pub(super) written: Arc<Mutex<Vec<u8>>>,
}

/// What the registry says of a finding before anything is done.
enum Found {
    Ours(String),
    Nothing,
    Elsewhere,
}

impl Work {
    /// Checks an alert and deals with it. What the store keeps us from is done when it can be.
    pub(super) fn run(
        &self,
        key: &PublicKey,
        signed: &Signed,
        body: &[u8],
        is_relayed: bool,
    ) -> Result<(), Fault> {
        if !key.verifies(body, signed.signature.as_bytes()) {
            return Err(Fault::Signature("the signature is not that of these bytes by this key"));
        }
        let relayed_by = (!is_relayed).then_some(signed);
        let dealt = self.deal(body, relayed_by);
        if dealt == Err(Fault::StoreUnavailable) {
            let own = self.places.regions().name(self.places.own());
            self.keep(own, signed, body);
        }
        dealt
    }

    /// Deals with an alert that is believed; with its signature, it is relayed where it concerns other regions.
    pub(super) fn deal(&self, body: &[u8], relayed_by: Option<&Signed>) -> Result<(), Fault> {
        let findings = alert::parse(body, self.rules.max_tokens).map_err(Fault::Alert)?;
        let now = self.shared.clock.now();
        // A token that another process made a moment ago is ours, too. Without the store, memory says what it can.
        let synced = self.sync(now);
        let mut foreign = Vec::new();
        let found: Vec<Found> = findings.iter().map(|one| self.look_up(one, &mut foreign, now)).collect();
        // Put away first, so that the other region need not wait for this one.
        let kept = relayed_by.is_none_or(|signed| self.keep_for(&foreign, signed, body));
        let dealt = synced.and_then(|()| self.revoke_all(&findings, &found));
        if dealt.is_err() {
            self.refuse_until_written(&findings, &found);
        }
        let revoked = dealt?;
        tracing::info!(
            tokens = findings.len(),
            ours = found.iter().filter(|one| matches!(one, Found::Ours(_))).count(),
            revoked,
            elsewhere = found.iter().filter(|one| matches!(one, Found::Elsewhere)).count(),
            "an alert of leaked tokens was dealt with"
        );
        if kept { Ok(()) } else { Err(Fault::QueueUnavailable) }
    }

    fn look_up(&self, finding: &Finding, foreign: &mut Vec<RegionId>, now: Now) -> Found {
        let registry = &self.shared.registry;
        let token = finding.token.expose().as_bytes();
        match registry.look_up(token, now) {
            Lookup::Found(entry) | Lookup::Revoked(entry) | Lookup::Expired(entry) | Lookup::Decoy(entry) => {
                return Found::Ours(entry.token_id().to_string());
            }
            // Genuine, of a region that the configuration does not have any more.
            Lookup::Unplaced => return Found::Elsewhere,
            Lookup::Unknown => {}
        }
        let elsewhere = |region: &RegionId| self.places.serves(*region).is_err();
        match registry.token_region(token) {
            Some(region) if elsewhere(&region) => foreign.push(region),
            Some(_) => return Found::Nothing,
            // It may be one that another region imported.
            None => {
                let others = self.places.regions().iter().map(|(id, _)| id).filter(|id| elsewhere(id));
                let before = foreign.len();
                foreign.extend(others);
                if foreign.len() == before {
                    return Found::Nothing;
                }
            }
        }
        Found::Elsewhere
    }

    /// Has the alert relayed to the regions of its tokens; false where that cannot be promised.
    fn keep_for(&self, foreign: &[RegionId], signed: &Signed, body: &[u8]) -> bool {
        let mut regions = foreign.to_vec();
        regions.sort_unstable();
        regions.dedup();
        regions
            .iter()
            .fold(true, |all, region| all & self.keep(self.places.regions().name(*region), signed, body))
    }

    /// Keeps the alert until its region has taken it; false where that cannot be promised.
    fn keep(&self, region: &str, signed: &Signed, body: &[u8]) -> bool {
        let received = self.shared.clock.now().unix_seconds();
        let kept = self.shared.relay.put(region, &Spooled { signed: signed.clone(), received, body });
        if let Err(error) = &kept {
            tracing::error!(region, %error, "an alert of leaked tokens cannot be kept");
        }
        kept.is_ok()
    }

    /// Revokes what is ours and works, and says of each finding what it is; how many tokens it was.
    fn revoke_all(&self, findings: &[Finding], found: &[Found]) -> Result<usize, Fault> {
        let mut revoked = 0;
        for (findings, found) in findings.chunks(AT_ONCE).zip(found.chunks(AT_ONCE)) {
            revoked += self.revoke(findings, found)?;
            self.write(findings, found);
        }
        Ok(revoked)
    }

    /// Revokes some of an alert's tokens, and has this process follow.
    fn revoke(&self, findings: &[Finding], found: &[Found]) -> Result<usize, Fault> {
        let now = self.shared.clock.now();
        let leaked = findings.iter().zip(found).filter_map(|(finding, found)| leaked(finding, found, now));
        let leaked: Vec<LeakedToken> = leaked.collect();
        if leaked.is_empty() {
            return Ok(0);
        }
        let revoked = self.shared.store.revoke_leaked(Act { actor: ACTOR, now }, &leaked);
        let revoked = revoked.map_err(|error| unavailable(&error))?;
        self.sync(self.shared.clock.now())?;
        let tokens = revoked.iter().map(|one| match one {
            LeakRevocation::Revoked(ids) => ids.len(),
            LeakRevocation::NotActive(_) | LeakRevocation::Decoy | LeakRevocation::Unknown => 0,
        });
        let tokens = tokens.sum();
        self.shared.counts.revoked(tokens);
        Ok(tokens)
    }

    /// Refuses here at once whatever of an alert still works, each with its family, because the store could not be read
    /// or written.
    fn refuse_until_written(&self, findings: &[Finding], found: &[Found]) {
        let (now, registry) = (self.shared.clock.now(), &self.shared.registry);
        let works = |finding: &Finding| {
            matches!(registry.look_up(finding.token.expose().as_bytes(), now), Lookup::Found(_))
        };
        let working = findings.iter().zip(found).filter(|(finding, _)| works(finding));
        let leaked = working.filter_map(|(finding, found)| leaked(finding, found, now)).collect();
        for token in registry.refuse_leaked(ACTOR, now, leaked) {
            tracing::error!(token, "a leaked token still works: too many revocations wait for the store");
        }
    }

    /// Has this process know what the store says. A workspace whose region is not configured stops nobody else.
    fn sync(&self, now: Now) -> Result<(), Fault> {
        match self.shared.registry.sync(now) {
            Ok(_) | Err(Error::Unplaced { .. }) => Ok(()),
            Err(error) => Err(unavailable(&error)),
        }
    }

    fn write(&self, findings: &[Finding], found: &[Found]) {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        for (finding, found) in findings.iter().zip(found) {
            let label = match found {
                Found::Ours(_) => Label::TruePositive,
                Found::Nothing => Label::FalsePositive,
                Found::Elsewhere => Label::Elsewhere,
            };
            self.shared.counts.token(label);
            answer::push(&mut written, finding, label, self.rules.feedback);
        }
    }
}

/// What the store is told of a finding that is ours.
fn leaked(finding: &Finding, found: &Found, now: Now) -> Option<LeakedToken> {
    match found {
        Found::Ours(id) => Some(LeakedToken {
            token_id: id.clone(),
            leak: Leak::new(ACTOR, finding.kind(), finding.url(), finding.source(), now.unix_seconds()),
        }),
        Found::Nothing | Found::Elsewhere => None,
    }
}

fn unavailable(error: &Error) -> Fault {
    tracing::error!(%error, "leaked tokens cannot be revoked");
    Fault::StoreUnavailable
}
