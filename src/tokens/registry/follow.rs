//! Keeping the read model up to date: the snapshot at start, then the log, entry after entry.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, SyncSender};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::Registry;
use super::entry::{Grants, Held, WorkspaceCell};
use crate::clock::{Clock, Now};
use crate::tokens::store::postgres::Watch;
use crate::tokens::store::{Row, StoredToken};
use crate::tokens::{Error, OverrideRecord, Scheme};

const BATCH: u32 = 2_000;

/// What only the one who applies changes needs.
#[derive(Debug, Default)]
pub(super) struct Loader {
    grants: HashSet<Arc<Grants>>,
    scopes: HashSet<Arc<str>>,
    /// Workspaces whose region the configuration does not have, with that region.
    unplaced: BTreeMap<String, String>,
}

impl Registry {
    /// Fills an empty registry from a snapshot.
    pub(super) fn load(&self, now: Now) -> Result<(), Error> {
        let mut loader = self.loader();
        let seq = self.store.snapshot(&mut |row| self.apply(&mut loader, row))?;
        loader.all_placed()?;
        self.applied_seq.store(seq, Ordering::Release);
        self.head_seq.store(seq, Ordering::Release);
        self.succeeded(now);
        Ok(())
    }

    /// Applies what the log has beyond the last applied entry, in order, and answers with the last entry.
    ///
    /// [`Error::LogBroken`] if an entry is missing or the log went back, and then nothing more is applied;
    /// [`Error::Unplaced`] after everything was applied, as long as a workspace has no configured region.
    /// Whoever changes the store in this process calls this to see the change at once. Blocks.
    pub fn sync(&self, now: Now) -> Result<u64, Error> {
        let result = self.read_log(now);
        match &result {
            Ok(_) => {
                if self.error.swap(None).is_some() {
                    tracing::info!("the token store can be followed again");
                }
            }
            Err(error) => {
                let text = error.to_string();
                if self.error.load().as_deref() != Some(&text) {
                    tracing::error!(error = text, "the token store cannot be followed");
                    self.error.store(Some(Arc::new(text)));
                }
            }
        }
        result
    }

    fn read_log(&self, now: Now) -> Result<u64, Error> {
        let mut loader = self.loader();
        loop {
            let last = self.applied_seq.load(Ordering::Acquire);
            let changes = self.store.changes(last, BATCH)?;
            self.head_seq.store(changes.head, Ordering::Release);
            if changes.head < last {
                return Err(Error::LogBroken { last, found: changes.head });
            }
            let expected = last + 1..=last + changes.seqs.len() as u64;
            if let Some((_, found)) = expected.zip(&changes.seqs).find(|(expected, found)| expected != *found)
            {
                return Err(Error::LogBroken { last, found: *found });
            }
            let Some(applied) = changes.seqs.last().copied() else {
                if changes.head > last {
                    return Err(Error::LogBroken { last, found: changes.head });
                }
                break;
            };
            for row in changes.rows {
                self.apply(&mut loader, row);
            }
            self.applied_seq.store(applied, Ordering::Release);
        }
        self.succeeded(now);
        loader.all_placed()?;
        Ok(self.applied_seq.load(Ordering::Acquire))
    }

    fn succeeded(&self, now: Now) {
        self.success_monotonic_nanos.fetch_max(now.monotonic_nanos, Ordering::AcqRel);
        self.success_unix_millis.store(now.unix_millis, Ordering::Release);
    }

    fn loader(&self) -> MutexGuard<'_, Loader> {
        self.loader.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn apply(&self, loader: &mut Loader, row: Row) {
        match row {
            Row::Workspace(record) => {
                let region = self.regions.by_name(&record.region);
                let workspace = region.map(|region| Arc::new(record.described(region)));
                self.cell(&record.id).store(workspace);
                if region.is_none() {
                    loader.unplaced.insert(record.id, record.region);
                } else {
                    loader.unplaced.remove(&record.id);
                }
            }
            Row::Token(stored) => self.put_token(loader, &stored),
        }
    }

    fn put_token(&self, loader: &mut Loader, stored: &StoredToken) {
        let cell = self.cell(&stored.record.workspace);
        let held = Held::new(&stored.record, loader.grants(stored), cell);
        if stored.foreign {
            self.has_foreign.store(true, Ordering::Relaxed);
        }
        if stored.digest.scheme == Scheme::Sha256 {
            self.has_sha256.store(true, Ordering::Relaxed);
        }
        match self.tokens.entry(stored.digest.key()) {
            dashmap::Entry::Occupied(mut there) => {
                held.continue_from(there.get());
                there.insert(Arc::new(held));
            }
            dashmap::Entry::Vacant(place) => drop(place.insert(Arc::new(held))),
        }
    }

    fn cell(&self, workspace: &str) -> Arc<WorkspaceCell> {
        if let Some(cell) = self.workspaces.get(workspace) {
            return Arc::clone(&cell);
        }
        Arc::clone(&self.workspaces.entry(workspace.into()).or_default())
    }

    /// Writes back when tokens were last used; answers with how many were written. Blocks.
    pub fn write_uses(&self) -> Result<usize, Error> {
        const AT_ONCE: usize = 5_000;
        let used: Vec<(Arc<Held>, u64)> = self
            .tokens
            .iter()
            .filter_map(|held| held.unwritten_use().map(|at| (Arc::clone(&held), at)))
            .collect();
        for batch in used.chunks(AT_ONCE) {
            let rows: Vec<(&str, u64)> = batch.iter().map(|(held, at)| (&*held.id, *at)).collect();
            self.store.record_uses(&rows)?;
            for (held, at) in batch {
                held.written(*at);
            }
        }
        Ok(used.len())
    }

    /// Starts a thread that reads the log every `poll`, at once where the store says that it has grown, and writes
    /// last-used times back every `last_used`.
    pub fn follow(
        self: &Arc<Self>,
        clock: Clock,
        poll: Duration,
        last_used: Duration,
    ) -> std::io::Result<Follower> {
        // One wake-up that waits is as good as many.
        let (wake, woken) = mpsc::sync_channel(1);
        let stop = Arc::new(AtomicBool::new(false));
        let watch = {
            let wake = wake.clone();
            self.store.watch(Arc::new(move || {
                let _ = wake.try_send(());
            }))
        };
        let (registry, stopped) = (Arc::clone(self), Arc::clone(&stop));
        let thread = thread::Builder::new().name("tollgate-registry".to_owned()).spawn(move || {
            let mut written = clock.now();
            loop {
                // Woken, or the time is over.
                let _ = woken.recv_timeout(poll);
                if stopped.load(Ordering::Acquire) {
                    break;
                }
                let now = clock.now();
                drop(registry.sync(now));
                if now.since(written) >= last_used {
                    registry.report_uses();
                    written = now;
                }
            }
            registry.report_uses();
        })?;
        Ok(Follower { stop, wake, thread: Some(thread), _watch: watch })
    }

    fn report_uses(&self) {
        if let Err(error) = self.write_uses() {
            tracing::warn!(%error, "last-used times were not written; they are kept and tried again");
        }
    }
}

impl Loader {
    fn all_placed(&self) -> Result<(), Error> {
        match self.unplaced.first_key_value() {
            Some((workspace, region)) => {
                Err(Error::Unplaced { workspace: workspace.clone(), region: region.clone() })
            }
            None => Ok(()),
        }
    }

    fn grants(&mut self, stored: &StoredToken) -> Arc<Grants> {
        let scopes = stored.record.scopes.iter().map(|scope| self.scope(scope)).collect();
        let record = &stored.record;
        let overrides = (!record.overrides.is_empty()).then(|| OverrideRecord::all_as_met(&record.overrides));
        let grants = Grants { scopes, role: record.role, own_limit: record.own_limit, overrides };
        if let Some(known) = self.grants.get(&grants) {
            return Arc::clone(known);
        }
        let grants = Arc::new(grants);
        self.grants.insert(Arc::clone(&grants));
        grants
    }

    fn scope(&mut self, name: &str) -> Arc<str> {
        if let Some(known) = self.scopes.get(name) {
            return Arc::clone(known);
        }
        let scope: Arc<str> = name.into();
        self.scopes.insert(Arc::clone(&scope));
        scope
    }
}

/// The thread behind [`Registry::follow`]. Dropping it stops the thread after the last-used times were
/// written.
#[derive(Debug)]
pub struct Follower {
    stop: Arc<AtomicBool>,
    wake: SyncSender<()>,
    thread: Option<JoinHandle<()>>,
    _watch: Option<Watch>,
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        // If a wake-up waits already, that one does.
        let _ = self.wake.try_send(());
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}
