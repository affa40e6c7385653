//! What requests met that somebody may have to be told of, handed from the request path to the store.
//!
//! A request never waits: it leaves a note in a queue of bounded length, or none if that is full. A thread of its own
//! takes the notes once a second and has the store tell what is news.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::Registry;
use crate::clock::{Clock, Now};
use crate::domain::{Network, Subject, TokenId};
use crate::tokens::store::sightings::{NETWORK_V4_BITS, NETWORK_V6_BITS, SEEN_GRANULARITY_SECONDS};
use crate::tokens::store::{Act, DecoyTold, DecoyUses, NetworkNoted, Sighting};
use crate::tokens::{Error, Peppers};

/// How many notes wait; more in a second are counted and lost, or noted at their next use.
const QUEUE: usize = 512;
/// How many of them may be of networks: after a restart each network is news, and the uses of decoys need room.
const MOST_NETWORKS: usize = QUEUE / 2;
/// Time between two looks into the queue.
const EVERY: Duration = Duration::from_secs(1);
/// Of so many decoys uses are kept that could not be told yet.
const MOST_DECOYS: usize = 10_000;
/// How many pairs of token and network are remembered as seen, two for each token: from 256 KiB to 32 MiB.
const FEWEST_PLACES: usize = 1 << 16;
const MOST_PLACES: usize = 1 << 23;
/// Places that a pair may have, one after the other.
const WAYS: usize = 8;
/// Who tells.
const ACTOR: &str = "tollgate";
/// Derives the key under which pairs are remembered, so that nobody can make up two that look alike.
const PURPOSE: &[u8] = b"tollgate: networks of tokens";

/// A note of the request path.
#[derive(Debug)]
enum Note {
    Decoy(Sighting),
    Network { sighting: Sighting, mark: u64 },
}

/// Marks of pairs seen lately, each at one of the places of its set.
type Seen = Box<[AtomicU32]>;

/// What the request path needs of sightings.
#[derive(Debug)]
pub(super) struct Noted {
    sender: SyncSender<Note>,
    receiver: Mutex<Option<Receiver<Note>>>,
    /// How many networks wait in the queue, so that a request need not make a note that finds no room.
    waiting: AtomicUsize,
    /// There only while networks are watched.
    seen: OnceLock<Seen>,
    key: u64,
    decoy_uses: AtomicU64,
    new_networks: AtomicU64,
    lost: AtomicU64,
}

impl Noted {
    pub(super) fn new(peppers: &Peppers) -> Self {
        let (sender, receiver) = mpsc::sync_channel(QUEUE);
        let secret = peppers.derive(PURPOSE);
        let key = secret.iter().take(8).fold(0, |key, byte| key << 8 | u64::from(*byte));
        Self {
            sender,
            receiver: Mutex::new(Some(receiver)),
            waiting: AtomicUsize::new(0),
            seen: OnceLock::new(),
            key,
            decoy_uses: AtomicU64::new(0),
            new_networks: AtomicU64::new(0),
            lost: AtomicU64::new(0),
        }
    }

    /// A mark for a token's family, a network and a day: its upper half is kept, its lower half says where.
    const fn mark(&self, subject: Subject, network: Network, unix_seconds: u64) -> u64 {
        let (base, bits) = network.to_bits();
        // The day of each family begins at a time of its own, so that they are not all noted at once.
        let day = (unix_seconds + subject.0 % SEEN_GRANULARITY_SECONDS) / SEEN_GRANULARITY_SECONDS;
        let mut mark = self.key;
        let words = [subject.0, (base >> 64) as u64, base as u64, (bits as u64) << 32 | day];
        let mut at = 0;
        while at < words.len() {
            mark = (mark ^ words[at]).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            mark ^= mark >> 29;
            at += 1;
        }
        mark
    }
}

/// How much was met so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SightingCounts {
    /// Uses of decoys.
    pub decoy_uses: u64,
    /// First uses from a network that were told.
    pub new_networks: u64,
    /// Notes that found no room.
    pub lost: u64,
}

impl Registry {
    /// Notes that a decoy was used; [`Registry::tell_sightings`] has it told. Never waits.
    pub fn note_decoy(&self, used: Sighting) {
        self.noted.decoy_uses.fetch_add(1, Ordering::Relaxed);
        if self.noted.sender.try_send(Note::Decoy(used)).is_err() {
            self.noted.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Notes where a token is used from, if that is watched and was not noted today; `sighting` is asked only then.
    /// Never waits.
    pub fn note_network(
        &self,
        subject: Subject,
        address: IpAddr,
        now: Now,
        sighting: impl FnOnce() -> Sighting,
    ) {
        let noted = &self.noted;
        let Some(seen) = noted.seen.get() else { return };
        let network = Network::around(address, NETWORK_V4_BITS, NETWORK_V6_BITS);
        let mark = noted.mark(subject, network, now.unix_seconds());
        let (places, kept) = (places(seen, mark), kept(mark));
        if places.iter().any(|place| place.load(Ordering::Relaxed) == kept) {
            return;
        }
        if noted.waiting.load(Ordering::Relaxed) >= MOST_NETWORKS {
            return;
        }
        // A pair that is pushed out is noted once more, and known by then.
        if let Some(place) = places.get((mark >> 29) as usize % WAYS) {
            place.store(kept, Ordering::Relaxed);
        }
        noted.waiting.fetch_add(1, Ordering::Relaxed);
        if noted.sender.try_send(Note::Network { sighting: sighting(), mark }).is_err() {
            noted.waiting.fetch_sub(1, Ordering::Relaxed);
            noted.forget(mark);
        }
    }

    /// How much was met so far.
    pub fn sighting_counts(&self) -> SightingCounts {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        SightingCounts {
            decoy_uses: read(&self.noted.decoy_uses),
            new_networks: read(&self.noted.new_networks),
            lost: read(&self.noted.lost),
        }
    }

    /// Starts the thread that has the store tell what requests met. Networks are watched only with `learning`: how long
    /// a family's networks are learnt before any is told.
    pub fn tell_sightings(
        self: &Arc<Self>,
        clock: Clock,
        learning: Option<Duration>,
    ) -> std::io::Result<Teller> {
        if learning.is_some() {
            self.watch_networks();
        }
        let mut sightings = Untold::new(self, learning.unwrap_or_default());
        let stop = Arc::new(AtomicBool::new(false));
        let (registry, stopped) = (Arc::clone(self), Arc::clone(&stop));
        let thread = thread::Builder::new().name("tollgate-sightings".to_owned()).spawn(move || {
            loop {
                let is_last = stopped.load(Ordering::Acquire);
                sightings.tell(&registry, clock.now());
                if is_last {
                    break;
                }
                thread::park_timeout(EVERY);
            }
        })?;
        Ok(Teller { stop, thread: Some(thread) })
    }
}

impl Registry {
    fn watch_networks(&self) {
        let places = (2 * self.tokens.len()).next_power_of_two().clamp(FEWEST_PLACES, MOST_PLACES);
        self.noted.seen.get_or_init(|| (0..places).map(|_| AtomicU32::new(0)).collect());
    }
}

impl Noted {
    /// Has a pair noted again at its next use.
    fn forget(&self, mark: u64) {
        for place in self.seen.get().map_or(&[][..], |seen| places(seen, mark)) {
            let _ = place.compare_exchange(kept(mark), 0, Ordering::Relaxed, Ordering::Relaxed);
        }
    }
}

/// What is kept of a pair, never 0: of another of its set it cannot be told in one of 2³¹ cases, and that is not told.
const fn kept(mark: u64) -> u32 {
    (mark >> 32) as u32 | 1
}

/// The places that a pair may have. There is a power of two of them.
fn places(seen: &[AtomicU32], mark: u64) -> &[AtomicU32] {
    let start = mark as usize & (seen.len() - 1) & !(WAYS - 1);
    seen.get(start..start + WAYS).unwrap_or_default()
}

/// What was taken out of the queue and is not told yet.
#[derive(Debug)]
pub(super) struct Untold {
    queue: Option<Receiver<Note>>,
    learning_seconds: u64,
    decoys: HashMap<TokenId, Decoy>,
    /// Whether the store failed the last time, so that it is said once.
    has_failed: bool,
}

#[derive(Debug)]
struct Decoy {
    uses: Option<DecoyUses>,
    not_before_unix_seconds: u64,
}

impl Untold {
    pub(super) fn new(registry: &Registry, learning: Duration) -> Self {
        let queue = registry.noted.receiver.lock().unwrap_or_else(PoisonError::into_inner).take();
        Self { queue, learning_seconds: learning.as_secs(), decoys: HashMap::new(), has_failed: false }
    }

    /// Takes what waits and has the store tell it. What the store fails to take is kept, or noted at its next use.
    pub(super) fn tell(&mut self, registry: &Registry, now: Now) {
        let mut networks: HashMap<(String, Network), (Sighting, u64)> = HashMap::new();
        for note in self.queue.iter().flat_map(Receiver::try_iter).take(QUEUE) {
            match note {
                Note::Decoy(used) => {
                    if !add(&mut self.decoys, used) {
                        registry.noted.lost.fetch_add(1, Ordering::Relaxed);
                    }
                }
                Note::Network { sighting, mark } => {
                    registry.noted.waiting.fetch_sub(1, Ordering::Relaxed);
                    networks
                        .entry((sighting.token_id.clone(), sighting.network()))
                        .or_insert((sighting, mark));
                }
            }
        }
        let result = self
            .tell_decoys(registry, now)
            .and(self.tell_networks(registry, networks, now))
            .and(registry.move_outdated(now).map(drop));
        if let Err(error) = &result
            && !self.has_failed
        {
            tracing::error!(%error, "the uses of tokens cannot be told or kept yet; it is tried again");
        }
        self.has_failed = result.is_err();
    }

    fn tell_decoys(&mut self, registry: &Registry, now: Now) -> Result<(), Error> {
        let is_due = |decoy: &Decoy| decoy.not_before_unix_seconds <= now.unix_seconds();
        self.decoys.retain(|_, decoy| decoy.uses.is_some() || !is_due(decoy));
        let due: Vec<DecoyUses> = self
            .decoys
            .values()
            .filter(|decoy| is_due(decoy))
            .filter_map(|decoy| decoy.uses.clone())
            .take(QUEUE)
            .collect();
        if due.is_empty() {
            return Ok(());
        }
        let told = registry.store.decoys_used(Act::by(ACTOR, now), &due)?;
        for (uses, told) in due.iter().zip(told) {
            let id = TokenId::from(uses.last.token_id.as_str());
            match told {
                DecoyTold::Told => {
                    tracing::warn!(
                        token = &*id,
                        address = %uses.last.address,
                        uses = uses.count,
                        "a decoy was used; its workspace's contacts and the operator are told"
                    );
                    if let Some(decoy) = self.decoys.get_mut(&id) {
                        decoy.uses = None;
                        decoy.not_before_unix_seconds = now.unix_seconds() + 1;
                    }
                }
                DecoyTold::NotBefore { unix_seconds } => {
                    if let Some(decoy) = self.decoys.get_mut(&id) {
                        decoy.not_before_unix_seconds = unix_seconds;
                    }
                }
                DecoyTold::Unknown => drop(self.decoys.remove(&id)),
            }
        }
        Ok(())
    }

    fn tell_networks(
        &self,
        registry: &Registry,
        networks: HashMap<(String, Network), (Sighting, u64)>,
        now: Now,
    ) -> Result<(), Error> {
        if networks.is_empty() {
            return Ok(());
        }
        let (sightings, marks): (Vec<Sighting>, Vec<u64>) = networks.into_values().unzip();
        let act = Act::by(ACTOR, now);
        let noted = registry.store.note_networks(act, &sightings, self.learning_seconds);
        if noted.is_err() {
            for mark in marks {
                registry.noted.forget(mark);
            }
        }
        for (sighting, noted) in sightings.iter().zip(noted?) {
            if noted == NetworkNoted::Told {
                registry.noted.new_networks.fetch_add(1, Ordering::Relaxed);
                let (token, network) = (&*sighting.token_id, sighting.network().to_string());
                tracing::info!(token, network, "a token was used from a network that is new to it");
            }
        }
        Ok(())
    }
}

/// Adds a use to those of its decoy; false if there are too many decoys.
fn add(decoys: &mut HashMap<TokenId, Decoy>, used: Sighting) -> bool {
    let id = TokenId::from(used.token_id.as_str());
    if !decoys.contains_key(&id) && decoys.len() >= MOST_DECOYS {
        return false;
    }
    let decoy = decoys.entry(id).or_insert(Decoy { uses: None, not_before_unix_seconds: 0 });
    let (count, first_at_unix_seconds) = decoy
        .uses
        .as_ref()
        .map_or((0, used.at_unix_seconds), |before| (before.count, before.first_at_unix_seconds));
    decoy.uses = Some(DecoyUses { last: used, count: count + 1, first_at_unix_seconds });
    true
}

/// The thread behind [`Registry::tell_sightings`]. Dropping it ends the thread after what was noted was told.
#[derive(Debug)]
pub struct Teller {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Teller {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            drop(thread.join());
        }
    }
}

#[cfg(test)]
mod tests;
