//! Keeping the read model up to date: the snapshot at start, then the log, entry after entry.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, SyncSender};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::Registry;
use super::entry::Grants;
use super::numbered::Interner;
use super::record::{PackedId, Values};
use super::table::{TableFull, TableWriter};
use crate::clock::{Clock, Now};
use crate::domain::TokenId;
use crate::tokens::store::postgres::Watch;
use crate::tokens::store::{Act, Changes, Row, StoredToken};
use crate::tokens::{Digest, Error, OverrideRecord, PepperUse, Scheme, TokenRecord};

const BATCH: u32 = 2_000;
/// The longest pause between two attempts to read a store that cannot be read, unless `poll` is longer.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// What only the one who applies changes needs.
#[derive(Debug)]
pub(super) struct Loader {
    pub(super) writer: TableWriter,
    pub(super) grants: Interner<Grants>,
    scopes: HashSet<Arc<str>>,
    /// Numbers of ids that a record cannot hold.
    listed_ids: HashMap<TokenId, u32>,
    /// Peppers of tokens that were met and are not here, until it is known whether they were retired.
    missing_peppers: BTreeSet<u16>,
    /// Workspaces whose region the configuration does not have, with that region.
    unplaced: BTreeMap<String, String>,
}

impl Registry {
    /// Fills an empty registry from a snapshot.
    pub(super) fn load(&self, now: Now) -> Result<(), Error> {
        let mut loader = self.loader();
        let (seq, hash) = self.store.snapshot(&mut |row| self.apply(&mut loader, row))?;
        self.note_missing_peppers(&mut loader, now)?;
        loader.all_placed()?;
        self.followed_to(seq, hash);
        self.head_seq.store(seq, Ordering::Release);
        self.succeeded(now);
        Ok(())
    }

    /// Fills an empty registry from rows that are not the store's.
    pub(super) fn load_rows(&self, rows: impl IntoIterator<Item = Row>, now: Now) -> Result<(), Error> {
        let mut loader = self.loader();
        rows.into_iter().for_each(|row| self.apply(&mut loader, row));
        loader.all_placed()?;
        self.succeeded(now);
        Ok(())
    }

    /// Applies what the log has beyond the last applied entry, in order, and answers with the last entry.
    ///
    /// [`Error::LogBroken`] if an entry is missing or the log went back, [`Error::LogForked`] if it is not the one
    /// that was followed, and then nothing more is applied;
    /// [`Error::Unplaced`] after everything was applied, as long as a workspace has no configured region.
    /// Whoever changes the store in this process calls this to see the change at once. Blocks.
    pub fn sync(&self, now: Now) -> Result<u64, Error> {
        let result = self.recognise().and_then(|()| self.read_log(now));
        let is_followed = matches!(result, Ok(_) | Err(Error::Unplaced { .. }));
        self.is_followed.store(is_followed, Ordering::Release);
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
        loader.writer.reuse();
        loop {
            let (last, hash) = self.followed_head();
            let changes = self.store.changes(last, BATCH)?;
            self.head_seq.store(changes.head, Ordering::Release);
            let Some(applied) = continued(last, hash, &changes)? else { break };
            for row in changes.rows {
                self.apply(&mut loader, row);
            }
            self.followed_to(applied, changes.hash_after);
        }
        self.note_missing_peppers(&mut loader, now)?;
        self.succeeded(now);
        self.store_is_known()?;
        self.revoked_jwts.sweep(now);
        loader.all_placed()?;
        Ok(self.followed_head().0)
    }

    /// Before a store is read that was away at the start: whether it knows the tokens by our peppers.
    fn recognise(&self) -> Result<(), Error> {
        if self.has_reached_store() {
            return Ok(());
        }
        self.store.reach()?;
        self.peppers.check(&self.store.fingerprints()?, &self.pepper_file)
    }

    /// After such a store was read: its log goes on from where the saved registry ended, so it is the right one.
    fn store_is_known(&self) -> Result<(), Error> {
        if self.has_reached_store() {
            return Ok(());
        }
        self.store.admit_changes();
        let known = self.store.fingerprints()?;
        let ours: Vec<_> = self.peppers.fingerprints().collect();
        if ours.iter().any(|fingerprint| !known.contains(fingerprint)) {
            let now =
                Now { monotonic_nanos: 0, unix_millis: self.success_unix_millis.load(Ordering::Acquire) };
            self.store.add_fingerprints(Act::by("tollgate", now), &ours)?;
        }
        self.reached_store.store(true, Ordering::Release);
        Ok(())
    }

    /// Notes the last entry of the log that was applied. Only for who has the loader.
    pub(super) fn followed_to(&self, seq: u64, hash: [u8; 32]) {
        *self.followed.lock().unwrap_or_else(PoisonError::into_inner) = (seq, hash);
    }

    pub(super) fn succeeded(&self, now: Now) {
        self.age_at_start_nanos.store(0, Ordering::Release);
        self.success_monotonic_nanos.fetch_max(now.monotonic_nanos, Ordering::AcqRel);
        self.success_unix_millis.store(now.unix_millis, Ordering::Release);
    }

    pub(super) fn loader(&self) -> MutexGuard<'_, Loader> {
        self.loader.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn apply(&self, loader: &mut Loader, row: Row) {
        match row {
            Row::Workspace(record) => {
                let region = self.regions.by_name(&record.region);
                let workspace = region.map(|region| Arc::new(record.described(region)));
                self.workspaces.set(self.workspace_number(&record.id), workspace);
                if region.is_none() {
                    loader.unplaced.insert(record.id, record.region);
                } else {
                    loader.unplaced.remove(&record.id);
                }
            }
            Row::Token(stored) => self.put_token(loader, &stored),
            Row::Operator(stored) => self.operators.put(stored),
            Row::JwtRevocation(revocation) => self.revoked_jwts.put(&revocation),
        }
    }

    fn put_token(&self, loader: &mut Loader, stored: &StoredToken) {
        let record = &stored.record;
        let workspace = self.workspace_number(&record.workspace);
        let id = PackedId::of(&record.id).unwrap_or_else(|| self.list_id(loader, &record.id));
        let granted = loader.granted(record);
        let grants = loader.grants.hold(granted, &self.grants);
        if stored.foreign {
            self.has_foreign.store(true, Ordering::Relaxed);
        }
        if stored.digest.scheme == Scheme::Sha256 {
            self.has_sha256.store(true, Ordering::Relaxed);
        }
        let values = Values::new(stored.digest.key(), id, record, grants, workspace);
        if let Scheme::Hmac(version) = stored.digest.scheme
            && values.ends != 0
            && !self.peppers.holds(version)
        {
            loader.missing_peppers.insert(version);
        }
        match self.put_in_place(loader, stored, values) {
            Ok(Some(before)) => loader.grants.release(before.grants, &self.grants),
            Ok(None) => {}
            Err(TableFull) => tracing::error!(token = record.id, "there is no room for this token in memory"),
        }
    }

    /// Puts a token in the place that it has in memory, which may be that of a former digest.
    fn put_in_place(
        &self,
        loader: &mut Loader,
        stored: &StoredToken,
        values: Values,
    ) -> Result<Option<Values>, TableFull> {
        let is_it = |key| self.tokens.find(key, |_, held| held.id == values.id).unwrap_or(false);
        let former = stored.former.iter().map(Digest::key).find(|key| *key != values.key && is_it(*key));
        if let Some(former) = former {
            if !is_it(values.key) {
                return self.tokens.put_over(&mut loader.writer, former, values);
            }
            // A registry that was saved while the token moved has it twice.
            if let Some(second) = self.tokens.take(&mut loader.writer, former) {
                loader.grants.release(second.grants, &self.grants);
            }
        }
        self.tokens.put(&mut loader.writer, values)
    }

    /// Notes if working tokens are stored under a pepper that is not here and was not retired: of no unknown token can it
    /// be said that there is none.
    fn note_missing_peppers(&self, loader: &mut Loader, now: Now) -> Result<(), Error> {
        if loader.missing_peppers.is_empty() || self.missing_pepper().is_some() {
            return Ok(());
        }
        let stored = self.store.under_peppers(now)?;
        let met = std::mem::take(&mut loader.missing_peppers);
        let is_missed = |one: &&PepperUse| one.is_needed() && one.retired_at_unix_seconds.is_none();
        let missed = met
            .into_iter()
            .find(|version| stored.iter().filter(is_missed).any(|one| one.scheme == Scheme::Hmac(*version)));
        if let Some(version) = missed {
            self.missing_pepper.store(version, Ordering::Relaxed);
            tracing::error!(
                version,
                "tokens are hashed under a pepper that this gateway does not have; put its line into \
                 `tokens.pepper_file` and restart"
            );
        }
        Ok(())
    }

    /// The number of a workspace, which it keeps; new ones get the next.
    pub(super) fn workspace_number(&self, id: &str) -> u32 {
        if let Some(number) = self.workspace_numbers.get(id) {
            return *number;
        }
        let number = self.workspace_numbers.len() as u32;
        *self.workspace_numbers.entry(id.into()).or_insert(number)
    }

    pub(super) fn list_id(&self, loader: &mut Loader, id: &str) -> PackedId {
        if let Some(number) = loader.listed_ids.get(id) {
            return PackedId::listed(*number);
        }
        let (number, id) = (loader.listed_ids.len() as u32, TokenId::from(id));
        self.listed_ids.set(number, Some(Arc::new(id.clone())));
        loader.listed_ids.insert(id, number);
        PackedId::listed(number)
    }

    /// Writes back when tokens were last used, if that is a quarter of an hour after what was written before;
    /// `at_the_end` at any distance. Answers with how many were written. Blocks.
    pub fn write_uses(&self, at_the_end: bool) -> Result<usize, Error> {
        const AT_ONCE: usize = 5_000;
        let mut used = Vec::new();
        let mut written = 0;
        self.tokens.try_for_each(|_, values| {
            if let (Some(at), Some(id)) = (values.use_to_write(at_the_end), self.id_of(values.id)) {
                used.push((values.key, id, at));
            }
            if used.len() == AT_ONCE { self.write_some_uses(&mut used, &mut written) } else { Ok(()) }
        })?;
        self.write_some_uses(&mut used, &mut written)?;
        Ok(written)
    }

    fn write_some_uses(
        &self,
        used: &mut Vec<(u128, TokenId, u64)>,
        written: &mut usize,
    ) -> Result<(), Error> {
        if used.is_empty() {
            return Ok(());
        }
        let rows: Vec<(&str, u64)> = used.iter().map(|(_, id, at)| (&**id, *at)).collect();
        self.store.record_uses(&rows)?;
        *written += used.len();
        for (key, _, at) in used.drain(..) {
            self.tokens.find(key, |record, _| record.written(at));
        }
        Ok(())
    }

    /// Starts two threads. One reads the log every `poll`, at once where the store says that it has grown, and does
    /// nothing else, so that nothing keeps a revocation waiting. The other writes revocations that wait, and last-used
    /// times every `last_used`.
    pub fn follow(
        self: &Arc<Self>,
        clock: Clock,
        poll: Duration,
        last_used: Duration,
    ) -> std::io::Result<Follower> {
        let stop = Arc::new(AtomicBool::new(false));
        let (registry, time) = (Arc::clone(self), clock.clone());
        let mut pause = poll;
        let reads = Worker::start("tollgate-registry", &stop, move |is_stopped| {
            let is_away =
                !is_stopped && registry.sync(time.now()).is_err_and(|error| error.is_of_the_store());
            pause = if is_away { poll.max(LONGEST_PAUSE.min(pause * 2)) } else { poll };
            pause
        })?;
        let watch = {
            let wake = reads.wake.clone();
            self.store.watch(Arc::new(move || {
                let _ = wake.try_send(());
            }))
        };
        let registry = Arc::clone(self);
        let mut written = clock.now();
        let writes = Worker::start("tollgate-registry-writes", &stop, move |is_stopped| {
            let now = clock.now();
            registry.write_revocations(now);
            if is_stopped || now.since(written) >= last_used {
                registry.report_uses(is_stopped);
                written = now;
            }
            LONGEST_PAUSE.min(poll)
        })?;
        Ok(Follower { stop, workers: [reads, writes], _watch: watch })
    }

    fn report_uses(&self, at_the_end: bool) {
        if let Err(error) = self.write_uses(at_the_end) {
            tracing::warn!(%error, "last-used times were not written; they are kept and tried again");
        }
    }
}

/// The last entry of changes that go on from a known one; [`None`] if there is nothing new.
fn continued(last: u64, hash: [u8; 32], changes: &Changes) -> Result<Option<u64>, Error> {
    let first = changes.seqs.first().copied().unwrap_or(changes.head);
    if changes.head < last || (changes.seqs.is_empty() && changes.head > last) {
        return Err(Error::LogBroken { last, found: changes.head });
    }
    if changes.hash_before != hash && (first == last || first == last + 1) {
        return Err(Error::LogForked(last));
    }
    let expected = last + 1..=last + changes.seqs.len() as u64;
    match expected.zip(&changes.seqs).find(|(expected, found)| expected != *found) {
        Some((_, found)) => Err(Error::LogBroken { last, found: *found }),
        None => Ok(changes.seqs.last().copied()),
    }
}

impl Loader {
    pub(super) fn new(writer: TableWriter) -> Self {
        Self {
            writer,
            grants: Interner::default(),
            scopes: HashSet::new(),
            listed_ids: HashMap::new(),
            missing_peppers: BTreeSet::new(),
            unplaced: BTreeMap::new(),
        }
    }

    pub(super) fn all_placed(&self) -> Result<(), Error> {
        match self.unplaced.first_key_value() {
            Some((workspace, region)) => {
                Err(Error::Unplaced { workspace: workspace.clone(), region: region.clone() })
            }
            None => Ok(()),
        }
    }

    fn granted(&mut self, record: &TokenRecord) -> Grants {
        let scopes = record.scopes.iter().map(|scope| self.scope(scope)).collect();
        let overrides = (!record.overrides.is_empty()).then(|| OverrideRecord::all_as_met(&record.overrides));
        let allowed_networks =
            (!record.allowed_networks.is_empty()).then(|| record.allowed_networks.as_slice().into());
        let (role, own_limit, is_decoy) = (record.role, record.own_limit, record.is_decoy);
        Grants { scopes, role, own_limit, overrides, allowed_networks, is_decoy }
    }

    pub(super) fn scope(&mut self, name: &str) -> Arc<str> {
        if let Some(known) = self.scopes.get(name) {
            return Arc::clone(known);
        }
        let scope: Arc<str> = name.into();
        self.scopes.insert(Arc::clone(&scope));
        scope
    }
}

/// The threads behind [`Registry::follow`]. Dropping it stops them after the last-used times were written.
#[derive(Debug)]
pub struct Follower {
    stop: Arc<AtomicBool>,
    workers: [Worker; 2],
    _watch: Option<Watch>,
}

/// A thread that does something again and again.
#[derive(Debug)]
struct Worker {
    /// One wake-up that waits is as good as many.
    wake: SyncSender<()>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    /// `work` is told whether it is done for the last time, and says how long to wait, unless woken, until the next.
    fn start(
        name: &str,
        stop: &Arc<AtomicBool>,
        mut work: impl FnMut(bool) -> Duration + Send + 'static,
    ) -> std::io::Result<Self> {
        let (wake, woken) = mpsc::sync_channel(1);
        let stopped = Arc::clone(stop);
        let run = move || {
            loop {
                let is_stopped = stopped.load(Ordering::Acquire);
                let pause = work(is_stopped);
                if is_stopped {
                    break;
                }
                // Woken, or the time is over.
                let _ = woken.recv_timeout(pause);
            }
        };
        let thread = thread::Builder::new().name(name.to_owned()).spawn(run)?;
        Ok(Self { wake, thread: Some(thread) })
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        for worker in &mut self.workers {
            // If a wake-up waits already, that one does.
            let _ = worker.wake.try_send(());
            if let Some(thread) = worker.thread.take() {
                drop(thread.join());
            }
        }
    }
}
