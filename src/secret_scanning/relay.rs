//! Alerts that wait: for other regions, and for our own store.
//!
//! GitHub knows one address, and each region's tokens are known there alone.
//!
//! An alert is sent on as it came, its signature with it, so that the other region believes GitHub and not us. It waits
//! on disk until that region has taken it: while the region is away, and across restarts. An alert that was relayed is
//! not relayed again. An alert whose tokens could not be revoked here, because the store failed, waits in the same way:
//! GitHub does not say that it would send it again.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::receiver::Signed;
use super::settings::{Checked, RelayRules};
pub(super) use super::spool::Spooled;
use super::spool::{Folder, Name};
use crate::clock::Clock;
use crate::domain::Regions;
use crate::fetch::{Fetch, Reach};

/// The field that says that an alert was relayed.
pub(super) const RELAYED: &[u8] = b"tollgate-relayed";
/// The most alerts that wait for one region.
const MOST_WAITING: usize = 1_000;
const DEADLINE: Duration = Duration::from_secs(30);
const FIRST_RETRY: Duration = Duration::from_millis(500);
const LONGEST_RETRY: Duration = Duration::from_secs(15);
/// How long an alert waits before it is given up, in seconds.
const KEPT_SECONDS: u64 = 7 * 86_400;

/// What waits for other regions, and who sends it.
pub struct Relay {
    folder: Folder,
    regions: Vec<Waiting>,
    rules: ArcSwap<RelayRules>,
    here: ArcSwapOption<Here>,
}

/// Deals with the body of an alert that was believed when it came, in this process; why it could not. Blocks.
type Here = Box<dyn Fn(&[u8]) -> Result<(), String> + Send + Sync>;

/// One region's alerts.
struct Waiting {
    region: Arc<str>,
    place: crate::domain::RegionId,
    entries: Mutex<Vec<Entry>>,
    wake: Notify,
    delivered: AtomicU64,
    failed: AtomicU64,
}

#[derive(Clone, Debug)]
struct Entry {
    name: Name,
    due: Instant,
    attempts: u32,
}

impl Relay {
    /// The relay of a node's life, with what an earlier process left in the folder. The first of `keys` encrypts what
    /// waits from now on, any of them decrypts what was left.
    pub fn open(rules: &Checked, regions: &Regions, keys: &[[u8; 32]]) -> io::Result<Arc<Self>> {
        let unusable = |_| io::Error::other("no key for the queue of alerts");
        let folder = Folder::new(rules.relay.queue_folder.clone(), keys).map_err(unusable)?;
        let mut left: BTreeMap<String, Vec<Entry>> = BTreeMap::new();
        for name in folder.list()? {
            left.entry(name.region.clone()).or_default().push(Entry::new(name));
        }
        let regions = regions.iter().map(|(place, region)| Waiting {
            region: Arc::clone(&region.name),
            place,
            entries: Mutex::new(left.remove(&*region.name).unwrap_or_default()),
            wake: Notify::new(),
            delivered: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        });
        Ok(Arc::new(Self {
            regions: regions.collect(),
            folder,
            rules: ArcSwap::new(Arc::clone(&rules.relay)),
            here: ArcSwapOption::empty(),
        }))
    }

    /// Follows a new configuration. The folder stays what it was at the start.
    pub(super) fn follow(&self, rules: &Arc<RelayRules>) {
        self.rules.store(Arc::clone(rules));
    }

    /// Keeps an alert for a region and has it sent. It is on disk when this returns. Blocks.
    pub(super) fn put(&self, region: &str, spooled: &Spooled<'_>) -> io::Result<()> {
        let unknown = || io::Error::other("there is no such region");
        let waiting = self.regions.iter().find(|waiting| *waiting.region == *region).ok_or_else(unknown)?;
        let name = Name::of(region, spooled);
        {
            let entries = waiting.entries();
            if entries.iter().any(|entry| entry.name.digest == name.digest) {
                return Ok(());
            }
            if entries.len() >= MOST_WAITING {
                return Err(io::Error::other(format!("{MOST_WAITING} alerts wait for it already")));
            }
        }
        self.folder.put(&name, spooled)?;
        waiting.entries().push(Entry::new(name));
        waiting.wake.notify_one();
        Ok(())
    }

    /// Sends what waits, each region on its own, for ever.
    pub async fn run(self: Arc<Self>, clock: Clock) {
        let mut tasks = tokio::task::JoinSet::new();
        for at in 0..self.regions.len() {
            let (relay, clock) = (Arc::clone(&self), clock.clone());
            tasks.spawn(async move { relay.serve(&relay.regions[at], &clock).await });
        }
        while tasks.join_next().await.is_some() {}
    }

    async fn serve(self: &Arc<Self>, waiting: &Waiting, clock: &Clock) {
        loop {
            let next = waiting.entries().iter().min_by_key(|entry| entry.due).cloned();
            let Some(entry) = next else {
                waiting.wake.notified().await;
                continue;
            };
            tokio::select! {
                () = tokio::time::sleep_until(entry.due) => {}
                () = waiting.wake.notified() => continue,
            }
            let region = &*waiting.region;
            match self.send(waiting, &entry).await {
                Ok(()) => {
                    waiting.delivered.fetch_add(1, Ordering::Relaxed);
                    self.forget(waiting, &entry.name);
                    // The region is there: what failed before need not wait longer.
                    waiting.entries().iter_mut().for_each(|entry| entry.due = Instant::now());
                    tracing::info!(region, "an alert of leaked tokens that waited was taken");
                }
                Err(why) if entry.name.received.saturating_add(KEPT_SECONDS) < clock.now().unix_seconds() => {
                    self.forget(waiting, &entry.name);
                    tracing::error!(region, why, "an alert was never taken by its region and is given up");
                }
                Err(why) => {
                    waiting.failed.fetch_add(1, Ordering::Relaxed);
                    waiting.put_off(&entry.name);
                    tracing::warn!(region, why, "an alert of leaked tokens waits");
                }
            }
        }
    }

    /// Sends one alert; why it was not taken.
    async fn send(self: &Arc<Self>, waiting: &Waiting, entry: &Entry) -> Result<(), String> {
        let rules = self.rules.load_full();
        if rules.own == Some(waiting.place) {
            return self.deal_here(entry).await;
        }
        let Some(url) = rules.targets.get(&waiting.place) else {
            return Err("the configuration does not say where its gateway is".to_owned());
        };
        let (relay, name) = (Arc::clone(self), entry.name.clone());
        let read = tokio::task::spawn_blocking(move || relay.read(&name)).await;
        let read = read.unwrap_or_else(|stopped| Err(stopped.to_string()))?;
        let Some((Signed { key_identifier, signature }, body)) = read else { return Ok(()) };
        let mut fields = HeaderMap::new();
        let mut add = |name: &'static str, value: &str| {
            let value = HeaderValue::from_str(value).map_err(|error| error.to_string())?;
            fields.insert(name, value);
            Ok::<_, String>(())
        };
        add(header::CONTENT_TYPE.as_str(), "application/json")?;
        add(Signed::KEY_IDENTIFIER, &key_identifier)?;
        add(Signed::SIGNATURE, &signature)?;
        add(std::str::from_utf8(RELAYED).unwrap_or_default(), "1")?;
        let ca_file = rules.ca_file.as_deref();
        let fetch = Fetch { url, ca_file, reach: Reach::Anywhere, deadline: DEADLINE, max_bytes: 0 };
        let answer = fetch.post(fields, Bytes::from(body)).await.map_err(|error| error.to_string())?;
        if answer.status.is_success() {
            Ok(())
        } else {
            Err(format!("it answered {}", answer.status.as_u16()))
        }
    }

    /// Has an alert dealt with by this process.
    async fn deal_here(self: &Arc<Self>, entry: &Entry) -> Result<(), String> {
        let (relay, name) = (Arc::clone(self), entry.name.clone());
        let deal = move || {
            let Some((_, body)) = relay.read(&name)? else { return Ok(()) };
            let here = relay.here.load_full().ok_or_else(|| "nobody takes alerts here".to_owned())?;
            here(&body)
        };
        tokio::task::spawn_blocking(deal).await.unwrap_or_else(|stopped| Err(stopped.to_string()))
    }

    /// What waits under a name; [`None`] if its file is gone, because somebody else has sent or removed it. Blocks.
    fn read(&self, name: &Name) -> Result<Option<(Signed, Vec<u8>)>, String> {
        match self.folder.get(name) {
            Ok(read) => Ok(Some(read)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                tracing::warn!(region = name.region, "the file of an alert that waited is gone");
                Ok(None)
            }
            Err(error) => Err(error.to_string()),
        }
    }

    /// Says how alerts are dealt with in this process from now on.
    pub(super) fn deal_with(&self, here: Here) {
        self.here.store(Some(Arc::new(here)));
    }

    fn forget(&self, waiting: &Waiting, name: &Name) {
        waiting.entries().retain(|entry| entry.name != *name);
        if let Err(error) = self.folder.remove(name)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(%error, "an alert that was relayed cannot be removed from the queue");
        }
    }

    /// Regions with how many alerts wait for each.
    pub fn waiting(&self) -> impl Iterator<Item = (&Arc<str>, usize)> {
        self.regions.iter().map(|waiting| (&waiting.region, waiting.entries().len()))
    }

    /// Regions with how many attempts ended how.
    pub fn attempts(&self) -> impl Iterator<Item = (&Arc<str>, &'static str, u64)> {
        self.regions.iter().flat_map(|waiting| {
            let count = |cell: &AtomicU64| cell.load(Ordering::Relaxed);
            [
                (&waiting.region, "delivered", count(&waiting.delivered)),
                (&waiting.region, "failed", count(&waiting.failed)),
            ]
        })
    }
}

impl Waiting {
    fn entries(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has an alert tried again later, each time after twice the wait.
    fn put_off(&self, name: &Name) {
        for entry in self.entries().iter_mut().filter(|entry| entry.name == *name) {
            let wait = FIRST_RETRY.saturating_mul(1 << entry.attempts.min(16)).min(LONGEST_RETRY);
            entry.attempts += 1;
            entry.due = Instant::now() + wait;
        }
    }
}

impl Entry {
    fn new(name: Name) -> Self {
        Self { name, due: Instant::now(), attempts: 0 }
    }
}
