//! The way of an alert: its key, its bytes, what is done with it, the answer.

use std::future::poll_fn;
use std::net::IpAddr;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::KeysStatus;
use super::alert::AlertFault;
use super::answer;
use super::counts::{AlertEnd, Counts};
use super::keys::{KeyFault, KeysRefresher, SignerKeys};
use super::relay::{RELAYED, Relay};
use super::room::{Place, Room};
use super::settings::Checked;
use super::work::Work;
use crate::clock::{Clock, Now};
use crate::message::{BodyFault, BodyStream, Head, Part, RequestBody};
use crate::place::Places;
use crate::tokens::{Registry, Store};

/// The time after which an answer leaves with what is done; GitHub waits 30 s. The rest is done all the same.
const ANSWER_WITHIN: Duration = Duration::from_secs(25);
/// The time within which an alert must have arrived.
const ARRIVE_WITHIN: Duration = Duration::from_secs(15);
/// The alerts that are verified and refused in memory at once. None of this waits for the store.
const MOST_WORKING: usize = 2;
/// The alerts that the store or the disk is asked to keep at once. While it hangs they do not end, and further ones are
/// refused in memory alone.
const MOST_WRITING: usize = 16;
/// How long an alert counts among those whose bytes are held: a store that hangs keeps no other alert from arriving.
const HOLD_ROOM: Duration = Duration::from_secs(10);

/// Why an alert is not answered with labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is not GitHub's; why, as the end of a sentence.
    Signature(&'static str),
    /// GitHub's keys cannot be had.
    SignerUnavailable,
    /// It did not arrive, or is too long.
    Body(BodyFault),
    /// It is signed, and no alert.
    Alert(AlertFault),
    /// There is more to do than can be done.
    Overloaded,
    /// The token store cannot be written. The alert is kept, and dealt with as soon as it can be.
    StoreUnavailable,
    /// The alert cannot be kept for another region.
    QueueUnavailable,
}

/// What outlives a configuration.
pub struct Shared {
    pub(super) clock: Clock,
    pub(super) registry: Arc<Registry>,
    pub(super) store: Arc<dyn Store>,
    pub(super) relay: Arc<Relay>,
    pub(super) counts: Counts,
    room: Arc<Room>,
    working: Arc<Semaphore>,
    pub(super) writing: Arc<Semaphore>,
}

impl Shared {
    /// Has what waits go on as a configuration says.
    fn relay_by(self: &Arc<Self>, rules: &Checked, places: &Places) {
        self.relay.follow(&rules.relay);
        let (weak, places, rules) = (Arc::downgrade(self), places.clone(), rules.clone());
        self.relay.deal_with(Box::new(move |body| {
            let shared = weak.upgrade().ok_or_else(|| "the gateway is ending".to_owned())?;
            let work = Work { shared, places: places.clone(), rules: rules.clone(), written: Arc::default() };
            work.deal(body).map_err(|fault| format!("{fault:?}"))
        }));
    }
}

/// Takes alerts as one configuration says.
pub struct Receiver {
    rules: Checked,
    places: Places,
    keys: Arc<SignerKeys>,
    shared: Arc<Shared>,
}

impl Receiver {
    /// A receiver, and what loads GitHub's keys.
    pub fn new(
        rules: Checked,
        places: Places,
        clock: Clock,
        registry: Arc<Registry>,
        store: Arc<dyn Store>,
        relay: Arc<Relay>,
    ) -> (Self, KeysRefresher) {
        let shared = Arc::new(Shared {
            clock,
            registry,
            store,
            relay,
            counts: Counts::default(),
            room: Arc::default(),
            working: Arc::new(Semaphore::new(MOST_WORKING)),
            writing: Arc::new(Semaphore::new(MOST_WRITING)),
        });
        let (keys, refresher) = SignerKeys::new(rules.keys.clone(), rules.pace);
        shared.relay_by(&rules, &places);
        (Self { rules, places, keys, shared }, refresher)
    }

    /// The same under another configuration; its keys stay where they come from the same place.
    pub fn reloaded(&self, rules: Checked, places: Places) -> (Self, Option<KeysRefresher>) {
        let (keys, refresher) = if self.keys.are_of(&rules.keys, rules.pace) {
            (Arc::clone(&self.keys), None)
        } else {
            let (keys, refresher) = SignerKeys::new(rules.keys.clone(), rules.pace);
            (keys, Some(refresher))
        };
        self.shared.relay_by(&rules, &places);
        (Self { rules, places, keys, shared: Arc::clone(&self.shared) }, refresher)
    }

    /// What outlives a configuration in which no alerts are taken: what waits goes on being sent.
    pub fn lasting(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }

    /// Takes alerts again after a configuration in which none were taken.
    pub fn resumed(shared: Arc<Shared>, rules: Checked, places: Places) -> (Self, KeysRefresher) {
        let (keys, refresher) = SignerKeys::new(rules.keys.clone(), rules.pace);
        shared.relay_by(&rules, &places);
        (Self { rules, places, keys, shared }, refresher)
    }

    /// Whether alerts come to this path.
    pub fn is_at(&self, path: &[u8]) -> bool {
        *path == *self.rules.path.as_bytes()
    }

    /// What waits for other regions.
    pub fn relay(&self) -> &Arc<Relay> {
        &self.shared.relay
    }

    /// How alerts ended.
    pub fn counts(&self) -> &Counts {
        &self.shared.counts
    }

    /// How GitHub's keys are.
    pub fn keys_status(&self, now: Now) -> KeysStatus {
        let status = self.keys.status(now);
        KeysStatus {
            age: status.map(|(age, _)| age),
            keys: status.map_or(0, |(_, keys)| keys),
            last_failure: self.keys.last_failure(),
        }
    }

    /// Deals with an alert that came from an address, and answers with the body that GitHub gets, JSON. When it does, this process refuses
    /// every token that the body calls a true positive.
    pub async fn receive(&self, head: &Head, body: RequestBody<'_>, from: IpAddr) -> Result<Vec<u8>, Fault> {
        let answered = self.try_receive(head, body, from).await;
        self.shared.counts.alert(match &answered {
            Ok(_) => AlertEnd::Accepted,
            Err(Fault::Signature(_) | Fault::Body(_) | Fault::Alert(_)) => AlertEnd::Refused,
            Err(
                Fault::SignerUnavailable
                | Fault::Overloaded
                | Fault::StoreUnavailable
                | Fault::QueueUnavailable,
            ) => AlertEnd::Failed,
        });
        answered
    }

    async fn try_receive(&self, head: &Head, body: RequestBody<'_>, from: IpAddr) -> Result<Vec<u8>, Fault> {
        let answer_by = Instant::now() + ANSWER_WITHIN;
        let signed = Signed::of(head)?;
        let key = self.keys.find(signed.key_identifier.as_bytes(), &self.shared.clock).await;
        let key = key.map_err(|fault| match fault {
            KeyFault::Unknown => Fault::Signature("the key identifier names no key of GitHub's"),
            KeyFault::Retired => {
                Fault::Signature("the key identifier names a key that GitHub took out of use")
            }
            KeyFault::Unavailable => Fault::SignerUnavailable,
        })?;
        let gathered = tokio::time::timeout(ARRIVE_WITHIN, self.gather(body, from)).await;
        let late = BodyFault::Timeout { limit_seconds: ARRIVE_WITHIN.as_secs() };
        let alert = gathered.unwrap_or(Err(Fault::Body(late)))?;
        let working = Arc::clone(&self.shared.working).acquire_owned();
        let turn = tokio::time::timeout_at(answer_by, working).await;
        let turn = turn.ok().and_then(Result::ok).ok_or(Fault::Overloaded)?;
        let work = Work {
            shared: Arc::clone(&self.shared),
            places: self.places.clone(),
            rules: self.rules.clone(),
            written: Arc::default(),
        };
        let is_relayed = head.fields().any(|field| field.name.eq_ignore_ascii_case(RELAYED));
        let written = Arc::clone(&work.written);
        let Held { bytes, place } = alert;
        let (ended, ends) = tokio::sync::oneshot::channel::<()>();
        // Goes on to its end whether or not somebody waits for it.
        let done = tokio::task::spawn_blocking(move || {
            let _ended = ended;
            if !key.verifies(&bytes, signed.signature.as_bytes()) {
                return Err(Fault::Signature("the signature is not that of these bytes by this key"));
            }
            work.shared.room.prove(from);
            work.run(&signed, &bytes, is_relayed, turn)
        });
        tokio::spawn(async move {
            // It ended, or has held its room for long enough.
            let _ = tokio::time::timeout(HOLD_ROOM, ends).await;
            drop(place);
        });
        match tokio::time::timeout_at(answer_by, done).await {
            Ok(Ok(result)) => result?,
            Ok(Err(_)) => return Err(Fault::StoreUnavailable),
            Err(_) => tracing::warn!("an alert took longer than GitHub waits; the rest of it is still done"),
        }
        let written = std::mem::take(&mut *written.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(answer::finish(written))
    }

    /// All of a body, as far as there is room for it.
    async fn gather(&self, body: RequestBody<'_>, from: IpAddr) -> Result<Held, Fault> {
        let most = self.rules.max_body_bytes;
        let too_long = Fault::Body(BodyFault::TooLarge { limit_bytes: most as u64 });
        if body.announced_length() > most as u64 {
            return Err(too_long);
        }
        let mut held = Held { bytes: Vec::new(), place: self.shared.room.enter(from) };
        match body {
            RequestBody::Empty => {}
            RequestBody::Full(bytes) => held.push(bytes, most)?,
            RequestBody::Stream { mut stream, .. } => {
                while let Some(part) = next(&mut *stream).await {
                    match part.map_err(Fault::Body)? {
                        Part::Trailers(_) => break,
                        Part::Data(data) if held.bytes.len() + data.len() > most => return Err(too_long),
                        Part::Data(data) => held.push(&data, most)?,
                    }
                }
            }
        }
        Ok(held)
    }
}

async fn next(stream: &mut dyn BodyStream) -> Option<Result<Part, BodyFault>> {
    poll_fn(|cx| stream.poll_part(cx)).await
}

/// A body and the room that it takes among those held.
struct Held {
    bytes: Vec<u8>,
    place: Place,
}

impl Held {
    fn push(&mut self, data: &[u8], most_bytes: usize) -> Result<(), Fault> {
        if !self.place.grow_to(self.bytes.len() + data.len(), most_bytes) {
            return Err(Fault::Overloaded);
        }
        self.bytes.extend_from_slice(data);
        Ok(())
    }
}

/// What GitHub's two fields say.
#[derive(Clone, Debug)]
pub(super) struct Signed {
    pub(super) key_identifier: String,
    pub(super) signature: String,
}

impl Signed {
    pub(super) const KEY_IDENTIFIER: &'static str = "github-public-key-identifier";
    pub(super) const SIGNATURE: &'static str = "github-public-key-signature";

    fn of(head: &Head) -> Result<Self, Fault> {
        let only = |name: &str| {
            let mut values = head.fields().filter(|field| field.name.eq_ignore_ascii_case(name.as_bytes()));
            let value = values.next().filter(|_| values.next().is_none())?.value;
            let is_plain = (1..=256).contains(&value.len()) && value.iter().all(u8::is_ascii_graphic);
            is_plain.then(|| String::from_utf8_lossy(value).into_owned())
        };
        Ok(Self {
            key_identifier: only(Self::KEY_IDENTIFIER)
                .ok_or(Fault::Signature("there is not one well-formed Github-Public-Key-Identifier field"))?,
            signature: only(Self::SIGNATURE)
                .ok_or(Fault::Signature("there is not one well-formed Github-Public-Key-Signature field"))?,
        })
    }
}

#[cfg(test)]
mod tests;
