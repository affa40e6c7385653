//! What is done with an alert that is GitHub's: its tokens, their revocation, the labels.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OwnedSemaphorePermit;

use super::ACTOR;
use super::alert::{self, Finding};
use super::answer::{self, Label};
use super::receiver::{Fault, Shared, Signed};
use super::relay::Spooled;
use super::settings::Checked;
use crate::clock::Now;
use crate::domain::{RegionId, TokenId};
use crate::place::Places;
use crate::tokens::{Act, Error, HeldTokens, Leak, LeakRevocation, LeakedToken, Lookup};

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
#[derive(Clone, Debug)]
enum Found {
    /// Its id, and whether it works.
    Ours(TokenId, bool),
    Nothing,
    Elsewhere,
    /// It has this letter, which is that of no configured region.
    UnconfiguredRegion(char),
}

/// An alert whose tokens this process refuses for as long as this lives.
struct Refused<'r> {
    findings: Vec<Finding>,
    found: Vec<Found>,
    _held: HeldTokens<'r>,
}

impl Work {
    /// Deals with an alert of GitHub's. What the store keeps us from is done when it can be. Its turn is over when what
    /// works is refused here: the store may take its time, or hang.
    pub(super) fn run(
        &self,
        signed: &Signed,
        body: &[u8],
        is_relayed: bool,
        turn: OwnedSemaphorePermit,
    ) -> Result<(), Fault> {
        let alert = self.refuse_here(body)?;
        let Ok(_writing) = Arc::clone(&self.shared.writing).try_acquire_owned() else {
            self.refuse_until_written(&alert.findings, &alert.found);
            tracing::error!(
                "leaked tokens are refused here and wait for the store: as many alerts as may hang in it"
            );
            return Err(Fault::StoreUnavailable);
        };
        drop(turn);
        let dealt = self.settle(alert, body, (!is_relayed).then_some(signed));
        if dealt == Err(Fault::StoreUnavailable) {
            let own = self.places.regions().name(self.places.own());
            self.keep(own, signed, body);
        }
        dealt
    }

    /// Deals with an alert that was kept.
    pub(super) fn deal(&self, body: &[u8]) -> Result<(), Fault> {
        self.settle(self.refuse_here(body)?, body, None)
    }

    /// Has whatever works of an alert that is believed refused here. Asks nobody.
    fn refuse_here(&self, body: &[u8]) -> Result<Refused<'_>, Fault> {
        let findings = alert::parse(body, self.rules.max_tokens).map_err(Fault::Alert)?;
        let now = self.shared.clock.now();
        let found: Vec<Found> = findings.iter().map(|one| self.look_up(one, now)).collect();
        let held = self.shared.registry.hold(working(&found));
        Ok(Refused { findings, found, _held: held })
    }

    /// Has the store revoke what is refused here; with its signature, an alert is relayed where it concerns other regions.
    fn settle(&self, alert: Refused<'_>, body: &[u8], relayed_by: Option<&Signed>) -> Result<(), Fault> {
        let Refused { findings, mut found, _held } = alert;
        let now = self.shared.clock.now();
        // A token that another process made a moment ago is ours, too. Without the store, memory says what it can.
        let synced =
            if found.iter().all(|one| matches!(one, Found::Ours(..))) { Ok(()) } else { self.sync(now) };
        for (finding, found) in findings.iter().zip(&mut found) {
            if !matches!(found, Found::Ours(..)) {
                *found = self.look_up(finding, now);
            }
        }
        // Put away first, so that the other region need not wait for this one.
        let kept =
            relayed_by.is_none_or(|signed| self.keep_for(&self.foreign(&findings, &found), signed, body));
        let mut dealt_with = 0;
        let dealt = synced.and_then(|()| self.revoke_all(&findings, &found, &mut dealt_with));
        if dealt.is_err() {
            self.refuse_until_written(&findings[dealt_with..], &found[dealt_with..]);
        }
        let revoked = dealt?;
        warn_of_unconfigured(&found);
        let count = |is: fn(&Found) -> bool| found.iter().filter(|one| is(one)).count();
        tracing::info!(
            tokens = findings.len(),
            ours = count(|one| matches!(one, Found::Ours(..))),
            revoked,
            elsewhere = count(|one| matches!(one, Found::Elsewhere)),
            unconfigured_region = count(|one| matches!(one, Found::UnconfiguredRegion(_))),
            "an alert of leaked tokens was dealt with"
        );
        if kept { Ok(()) } else { Err(Fault::QueueUnavailable) }
    }

    fn look_up(&self, finding: &Finding, now: Now) -> Found {
        let registry = &self.shared.registry;
        let token = finding.token.expose().as_bytes();
        match registry.look_up(token, now) {
            Lookup::Found(entry) => return Found::Ours(entry.token_id().clone(), true),
            Lookup::Revoked(entry) | Lookup::Expired(entry) | Lookup::Decoy(entry) => {
                return Found::Ours(entry.token_id().clone(), false);
            }
            // Genuine, of a workspace whose region the configuration does not have any more.
            Lookup::Unplaced => {
                return registry.id_of_token(token).map_or(Found::Nothing, |id| Found::Ours(id, true));
            }
            Lookup::Unknown => {}
        }
        if !self.regions_of(token).is_empty() {
            return Found::Elsewhere;
        }
        match registry.format().recognise(token) {
            Some(letter) if registry.token_region(token).is_none() => Found::UnconfiguredRegion(letter),
            Some(_) | None => Found::Nothing,
        }
    }

    /// The regions that a token which is not known here may be of and that this gateway does not serve: the one that
    /// its letter names; of a token without one all, since it may have been imported there.
    fn regions_of(&self, token: &[u8]) -> Vec<RegionId> {
        let registry = &self.shared.registry;
        let elsewhere = |region: &RegionId| self.places.serves(*region).is_err();
        match (registry.token_region(token), registry.format().recognise(token)) {
            (Some(region), _) => Some(region).into_iter().filter(elsewhere).collect(),
            (None, Some(_)) => Vec::new(),
            (None, None) => self.places.regions().iter().map(|(id, _)| id).filter(elsewhere).collect(),
        }
    }

    /// Every region that findings may be of and that this gateway does not serve.
    fn foreign(&self, findings: &[Finding], found: &[Found]) -> Vec<RegionId> {
        let elsewhere = findings.iter().zip(found).filter(|(_, found)| matches!(found, Found::Elsewhere));
        elsewhere.flat_map(|(finding, _)| self.regions_of(finding.token.expose().as_bytes())).collect()
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

    /// Revokes what is ours and works, and says of each finding what it is; how many tokens it was. `dealt_with` says
    /// how many of the findings that is done with.
    fn revoke_all(
        &self,
        findings: &[Finding],
        found: &[Found],
        dealt_with: &mut usize,
    ) -> Result<usize, Fault> {
        let mut revoked = 0;
        for (findings, found) in findings.chunks(AT_ONCE).zip(found.chunks(AT_ONCE)) {
            revoked += self.revoke(findings, found)?;
            self.write(findings, found);
            *dealt_with += findings.len();
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
        let revoked = self.shared.store.revoke_leaked(Act::by(ACTOR, now), &leaked);
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
        let working = findings.iter().zip(found).filter(|(_, found)| matches!(found, Found::Ours(_, true)));
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
                Found::Ours(..) => Label::TruePositive,
                Found::Nothing => Label::FalsePositive,
                Found::Elsewhere => Label::Elsewhere,
                Found::UnconfiguredRegion(_) => Label::UnconfiguredRegion,
            };
            self.shared.counts.token(label);
            answer::push(&mut written, finding, label, self.rules.feedback);
        }
    }
}

/// What the store is told of a finding that is ours.
fn leaked(finding: &Finding, found: &Found, now: Now) -> Option<LeakedToken> {
    match found {
        Found::Ours(id, _) => Some(LeakedToken {
            token_id: id.to_string(),
            leak: Leak::new(ACTOR, finding.kind(), finding.url(), finding.source(), now.unix_seconds()),
        }),
        Found::Nothing | Found::Elsewhere | Found::UnconfiguredRegion(_) => None,
    }
}

/// Says which regions there would have to be.
fn warn_of_unconfigured(found: &[Found]) {
    let letters = found.iter().filter_map(|one| match one {
        Found::UnconfiguredRegion(letter) => Some(*letter),
        Found::Ours(..) | Found::Nothing | Found::Elsewhere => None,
    });
    let letters: BTreeSet<char> = letters.collect();
    if !letters.is_empty() {
        let letters: String = letters.into_iter().collect();
        tracing::error!(
            letters,
            "leaked tokens have the letters of regions that are not configured: they are neither revoked nor relayed; \
             add the regions to the configuration, or revoke the tokens where they are known"
        );
    }
}

/// The ids of those that work.
fn working(found: &[Found]) -> impl Iterator<Item = &str> {
    found.iter().filter_map(|one| match one {
        Found::Ours(id, true) => Some(&**id),
        Found::Ours(_, false) | Found::Nothing | Found::Elsewhere | Found::UnconfiguredRegion(_) => None,
    })
}

fn unavailable(error: &Error) -> Fault {
    tracing::error!(%error, "leaked tokens cannot be revoked");
    Fault::StoreUnavailable
}
