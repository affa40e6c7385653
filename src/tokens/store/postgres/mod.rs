//! The store of a fleet: one PostgreSQL database for all replicas of a region.
//!
//! # Decision
//!
//! One row, `head`, orders all changes: each transaction locks it first, so the log is numbered without a gap in
//! the order of the commits, and what is checked cannot change before it is written. A statement brings its types
//! along instead of being prepared, and every setting is a transaction's own, so a pooler that hands connections
//! around between transactions may stand in between. Nothing here is waited for without a deadline. If the
//! connection is lost while a change is committed, the log itself tells whether it was.

mod address;
mod connector;
mod database;
mod failure;
mod idempotency;
mod import;
mod journal;
mod jwt_revocations;
mod listen;
mod operators;
mod outbox;
mod peppers;
mod pool;
mod reachable;
mod reads;
mod rows;
mod schema;
mod sightings;
mod subject_log;
mod tables;
mod wait;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Handle, Runtime};
use tokio_postgres::types::Type;

use super::failure::Failure;
use super::reachable::Reachable as _;
use super::writing::{Tables, Writing};
use super::{
    Act, Changes, Imported, ImportedToken, LeakRevocation, LeakedToken, Leaks, LogEntry, NewToken,
    NewWorkspace, Replacement, Row, Store, TokenChange, TokenChanges, Wake, WorkspaceChange,
};
use crate::domain::OverrideHolder;
use crate::tokens::{Digest, Error, HeldOverride, NewOverride, OverrideRecord, TokenRecord, WorkspaceRecord};
pub use address::{PostgresAddress, PostgresAddressError};
use connector::Connector;
pub(crate) use database::Database;
pub use listen::Watch;
pub(crate) use pool::Session;
use pool::{Begin, Parameters, Pool};

/// Connections for changes: they take their turns anyway, so a second one only saves the next one's beginning.
const WRITERS: usize = 2;
/// Connections for reading.
const READERS: usize = 2;
/// How long it is tried to learn what became of a change whose connection was lost.
const RESOLVE_DEADLINE: Duration = Duration::from_secs(10);
const RESOLVE_PAUSE: Duration = Duration::from_millis(100);

/// Workspaces, tokens and log in one PostgreSQL database, in the schema `tollgate`. At most six connections: two
/// for changes, two for reading, one that follows the log, so that no list of an operator's keeps a revocation waiting,
/// one that listens.
pub struct PostgresStore {
    place: String,
    connector: Arc<Connector>,
    readers: Pool,
    follower: Pool,
    /// [`None`] if the store is only read.
    writers: Option<Pool>,
    /// Whether the tables are known to be ours and up to date.
    is_reached: AtomicBool,
    /// Whether changes may be written.
    admits_changes: AtomicBool,
    runtime: Option<Runtime>,
    handle: Handle,
}

impl PostgresStore {
    /// Opens the database, and makes the tables or brings them up to date. [`Error::StoreNewer`],
    /// [`Error::StoreForeign`].
    pub fn open(address: &PostgresAddress) -> Result<Self, Error> {
        let store = Self::connected(address, Some(Pool::new(WRITERS)))?;
        store.admit_changes();
        let found = store.read_now(|session| schema::found(session, &store.place))?;
        if found < schema::SCHEMA {
            store.bring_up_to_date()?;
        }
        store.is_reached.store(true, Ordering::Release);
        Ok(store)
    }

    /// A database that cannot be reached at the moment: it is read from when it can be, and written to once
    /// [`admit_changes`](crate::tokens::store::Reachable::admit_changes) says that it is the right one.
    pub fn open_later(address: &PostgresAddress) -> Result<Self, Error> {
        Self::connected(address, Some(Pool::new(WRITERS)))
    }

    /// Opens a database that is there for reading; every change then fails. [`Error::StoreOlder`] beside the errors
    /// of [`PostgresStore::open`].
    pub fn open_read_only(address: &PostgresAddress) -> Result<Self, Error> {
        let store = Self::connected(address, None)?;
        let found = store.read_now(|session| schema::found(session, &store.place))?;
        store.is_reached.store(true, Ordering::Release);
        if found < schema::SCHEMA {
            return Err(Error::StoreOlder { place: store.place.clone(), found, known: schema::SCHEMA });
        }
        Ok(store)
    }

    fn connected(address: &PostgresAddress, writers: Option<Pool>) -> Result<Self, Error> {
        let place = address.to_string();
        let connector = Arc::new(Connector::new(address).map_err(|failure| failure.at(&place))?);
        let runtime = runtime(&place)?;
        let handle = runtime.handle().clone();
        Ok(Self {
            place,
            connector,
            readers: Pool::new(READERS),
            follower: Pool::new(1),
            writers,
            is_reached: AtomicBool::new(false),
            admits_changes: AtomicBool::new(false),
            runtime: Some(runtime),
            handle,
        })
    }

    fn writers(&self) -> Result<&Pool, Error> {
        let refused = |why: &str| Error::Store { place: self.place.clone(), source: why.into() };
        let writers = self.writers.as_ref().ok_or_else(|| refused("it was opened for reading"))?;
        if !self.admits_changes.load(Ordering::Acquire) {
            return Err(refused("it was not reached since the start"));
        }
        Ok(writers)
    }

    /// Work in a transaction that is no change of the log.
    fn in_transaction<T>(
        &self,
        pool: &Pool,
        begin: Begin,
        work: impl FnOnce(&Session<'_>) -> Result<T, Failure>,
    ) -> Result<T, Error> {
        let done = || {
            let session = pool.begin(&self.handle, &self.connector, begin)?;
            match work(&session) {
                Ok(value) => session.commit().map(|()| value),
                Err(failure) => {
                    session.roll_back();
                    Err(failure)
                }
            }
        };
        done().map_err(|failure: Failure| failure.at(&self.place))
    }

    fn read<T>(&self, work: impl FnOnce(&Session<'_>) -> Result<T, Failure>) -> Result<T, Error> {
        self.reach()?;
        self.read_now(work)
    }

    fn read_now<T>(&self, work: impl FnOnce(&Session<'_>) -> Result<T, Failure>) -> Result<T, Error> {
        let done = || {
            let session = self.readers.begin(&self.handle, &self.connector, Begin::Read)?;
            let value = work(&session);
            session.roll_back();
            value
        };
        done().map_err(|failure: Failure| failure.at(&self.place))
    }

    /// Work in a writing transaction that is no change of the log.
    fn note<T>(&self, work: impl FnOnce(&Session<'_>) -> Result<T, Failure>) -> Result<T, Error> {
        self.in_transaction(self.writers()?, Begin::Write, work)
    }

    fn write<T>(
        &self,
        act: Act<'_>,
        work: impl FnOnce(&mut Writing<'_, Session<'_>>) -> Result<T, Failure>,
    ) -> Result<T, Error> {
        let failed = |failure: Failure| failure.at(&self.place);
        let session = self.writers()?.begin(&self.handle, &self.connector, Begin::Change).map_err(failed)?;
        let done = || {
            let mut writing = Writing::begin(&session, act)?;
            let value = work(&mut writing)?;
            Ok((value, writing.end()?))
        };
        match done() {
            Ok((value, end)) => match (session.commit(), end) {
                (Ok(()), _) | (Err(_), None) => Ok(value),
                (Err(failure), Some(end)) => self.committed(end, failed(failure)).map(|()| value),
            },
            Err(failure) => {
                session.roll_back();
                Err(failed(failure))
            }
        }
    }

    /// Whether a change whose commit was not answered is in the log, by the number and hash of its last entry. While
    /// the head is locked no transaction that is still open can add it.
    fn committed(&self, (seq, hash): (u64, [u8; 32]), lost: Error) -> Result<(), Error> {
        let until = Instant::now() + RESOLVE_DEADLINE;
        loop {
            let found = self.note(|session| {
                session.head("FOR UPDATE")?;
                let sql = "SELECT hash FROM tollgate.log WHERE seq = $1";
                let row = session.query_opt(sql, &[(&super::columns::signed(seq), Type::INT8)])?;
                row.map(|row| rows::hash(&row, 0)).transpose()
            });
            match found {
                Ok(found) if found == Some(hash) => return Ok(()),
                Ok(_) => return Err(lost),
                Err(error) if Instant::now() >= until => return Err(unsure(error)),
                Err(_) => std::thread::sleep(RESOLVE_PAUSE),
            }
        }
    }
}

/// What connections are driven by.
fn runtime(place: &str) -> Result<Runtime, Error> {
    let mut builder = Builder::new_multi_thread();
    let builder = builder.worker_threads(1).thread_name("tollgate-postgres").enable_all();
    builder.build().map_err(|source| Error::Store { place: place.to_owned(), source: source.into() })
}

fn unsure(error: Error) -> Error {
    match error {
        Error::Store { place, source } => Error::StoreUnsure { place, source },
        other => other,
    }
}

impl Drop for PostgresStore {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl std::fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PostgresStore").field("place", &self.place).finish_non_exhaustive()
    }
}

impl Leaks for PostgresStore {
    fn revoke_leaked(&self, act: Act<'_>, found: &[LeakedToken]) -> Result<Vec<LeakRevocation>, Error> {
        self.write(act, |writing| writing.revoke_leaked(found))
    }
}

impl TokenChanges for PostgresStore {
    fn set_token(&self, act: Act<'_>, id: &str, change: &TokenChange) -> Result<TokenRecord, Error> {
        self.write(act, |writing| writing.set_token(id, change))
    }
}

impl Store for PostgresStore {
    fn create_workspace(&self, act: Act<'_>, new: &NewWorkspace) -> Result<WorkspaceRecord, Error> {
        self.write(act, |writing| writing.create_workspace(new))
    }

    fn set_workspace(
        &self,
        act: Act<'_>,
        id: &str,
        change: &WorkspaceChange,
    ) -> Result<WorkspaceRecord, Error> {
        self.write(act, |writing| writing.set_workspace(id, change))
    }

    fn workspace(&self, id: &str) -> Result<Option<WorkspaceRecord>, Error> {
        self.read(|on| on.workspace(id))
    }

    fn workspaces(&self, after: &str, count: u32) -> Result<Vec<WorkspaceRecord>, Error> {
        self.read(|on| reads::workspaces(on, after, count))
    }

    fn create_token(&self, act: Act<'_>, new: &NewToken, cap: u32) -> Result<TokenRecord, Error> {
        self.write(act, |writing| writing.create_token(new, cap))
    }

    fn rotate_token(&self, act: Act<'_>, id: &str, by: &Replacement) -> Result<TokenRecord, Error> {
        self.write(act, |writing| writing.rotate_token(id, by))
    }

    fn revoke_token(&self, act: Act<'_>, id: &str, reason: &str) -> Result<TokenRecord, Error> {
        self.write(act, |writing| writing.revoke_token(id, reason))
    }

    fn set_override(
        &self,
        act: Act<'_>,
        holder: &OverrideHolder,
        new: &NewOverride,
    ) -> Result<OverrideRecord, Error> {
        self.write(act, |writing| writing.set_override(holder, new))
    }

    fn remove_override(
        &self,
        act: Act<'_>,
        holder: &OverrideHolder,
        policy: &str,
    ) -> Result<OverrideRecord, Error> {
        self.write(act, |writing| writing.remove_override(holder, policy))
    }

    fn overrides(
        &self,
        after: Option<(&OverrideHolder, &str)>,
        count: u32,
    ) -> Result<Vec<HeldOverride>, Error> {
        self.read(|on| reads::overrides(on, after, count))
    }

    fn import(&self, act: Act<'_>, batch: &[ImportedToken]) -> Result<Vec<Imported>, Error> {
        self.write(act, |writing| writing.import(batch))
    }

    fn token(&self, id: &str) -> Result<Option<TokenRecord>, Error> {
        self.read(|on| Ok(on.token(id)?.map(|stored| stored.record)))
    }

    fn token_by_digest(&self, digests: &[Digest]) -> Result<Option<TokenRecord>, Error> {
        self.read(|on| Ok(on.token_by_digest(digests)?.map(|stored| stored.record)))
    }

    fn tokens(&self, workspace: Option<&str>, after: &str, count: u32) -> Result<Vec<TokenRecord>, Error> {
        self.read(|on| reads::tokens(on, workspace, after, count))
    }

    fn snapshot(&self, load: &mut dyn FnMut(Row)) -> Result<(u64, [u8; 32]), Error> {
        self.read(|on| reads::snapshot(on, load))
    }

    fn few(&self, load: &mut dyn FnMut(Row)) -> Result<(), Error> {
        self.read(|on| reads::few(on, load))
    }

    fn changes(&self, after: u64, count: u32) -> Result<Changes, Error> {
        self.reach()?;
        let failed = |failure: Failure| failure.at(&self.place);
        let ask = |sql: &str, parameters: Parameters<'_>| {
            self.follower.ask(&self.handle, &self.connector, sql, parameters).map_err(failed)
        };
        let (after, most) = (super::columns::signed(after), i64::from(count));
        let found = ask(&reads::look(), &[(&after, Type::INT8), (&most, Type::INT8)])?;
        let (mut changes, about) = reads::looked(&found, count).map_err(failed)?;
        // A revocation has no rows but its tokens', which are in force a few round trips earlier so.
        if let Some(tokens) = about.tokens_alone() {
            let sql = format!("{} WHERE t.id = ANY($1) ORDER BY t.id", rows::CHANGED_TOKEN);
            for row in &ask(&sql, &[(&tokens, Type::TEXT_ARRAY)])? {
                changes.rows.push(Row::Token(Box::new(rows::changed_token(row).map_err(failed)?)));
            }
        } else if !changes.seqs.is_empty() {
            changes.rows =
                self.in_transaction(&self.follower, Begin::Read, |on| reads::changed_rows(on, &about))?;
        }
        Ok(changes)
    }

    fn watch(&self, wake: Wake) -> Option<Watch> {
        let task = self.handle.spawn(listen::listen(Arc::clone(&self.connector), wake));
        Some(Watch(task.abort_handle()))
    }

    fn log(&self, after: u64, count: u32) -> Result<Vec<LogEntry>, Error> {
        self.read(|on| reads::log(on, after, count))
    }

    fn head(&self) -> Result<(u64, [u8; 32]), Error> {
        self.read(|on| on.head(""))
    }

    fn record_uses(&self, uses: &[(&str, u64)]) -> Result<(), Error> {
        self.note(|on| reads::record_uses(on, uses))
    }

    fn fingerprints(&self) -> Result<Vec<Digest>, Error> {
        self.read(reads::fingerprints)
    }

    fn add_fingerprints(&self, act: Act<'_>, fingerprints: &[Digest]) -> Result<(), Error> {
        self.write(act, |writing| writing.add_fingerprints(fingerprints))
    }
}

#[cfg(test)]
#[path = "../../../../tests/postgres/proxy.rs"]
mod proxy;
#[cfg(test)]
#[path = "../../../../tests/postgres/server.rs"]
pub(crate) mod server;
#[cfg(test)]
mod tests;
