//! The store of a single node: one SQLite file.
//!
//! # Decision
//!
//! No request reads the store, so its speed is no argument; its durability, its one fixed file format and
//! the tools around it are. WAL lets readers and one writer work side by side, also from several processes;
//! `synchronous=FULL` makes an acknowledged change survive a power cut. Every writing transaction takes the
//! write lock first (`BEGIN IMMEDIATE`), which gives the log its order.

mod idempotency;
mod import;
mod jwt_revocations;
mod operators;
mod outbox;
mod overrides;
mod peppers;
mod rows;
mod schema;
mod sightings;
mod subject_log;
mod turn;
mod write;

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, Transaction, TransactionBehavior, params};

use super::changed::BODY;
use super::failure::Failure;
use super::postgres::Watch;
use super::reachable::Reachable;
use super::writing::Tables;
use super::{
    Act, Changed, Changes, Imported, ImportedToken, LeakRevocation, LeakedToken, Leaks, LogEntry, NewToken,
    NewWorkspace, Replacement, Row, Store, StoredToken, TokenChange, TokenChanges, Wake, WorkspaceChange,
};
use crate::domain::OverrideHolder;
use crate::tokens::{Digest, Error, HeldOverride, NewOverride, OverrideRecord, TokenRecord, WorkspaceRecord};
use rows::{signed, unsigned};
use turn::Turn;
use write::Writing;

/// How long it is waited for whoever reads, or changes something, at the moment.
const PATIENCE: Duration = Duration::from_secs(5);

/// Workspaces, tokens and log in one SQLite file. Several stores, also of several processes, may have the
/// same file open.
#[derive(Debug)]
pub struct SqliteStore {
    place: String,
    reader: Turn<Connection>,
    writer: Turn<Connection>,
    #[cfg(test)]
    pub(crate) watched: Watched,
}

/// For tests: how often the store was asked, whether its disk is full, and what keeps changes from ending.
#[cfg(test)]
#[derive(Debug, Default)]
pub(crate) struct Watched {
    pub(crate) asked: std::sync::atomic::AtomicU64,
    pub(crate) is_full: std::sync::atomic::AtomicBool,
    pub(crate) hangs: std::sync::atomic::AtomicBool,
}

impl SqliteStore {
    /// Opens the file and makes it if it is not there; its folder must exist. [`Error::StoreNewer`],
    /// [`Error::StoreForeign`].
    pub fn open(path: &Path) -> Result<Self, Error> {
        let place = path.display().to_string();
        let open = || schema::open(path).map_err(|failure| failure.at(&place));
        let (writer, reader) = (Turn::new(open()?, PATIENCE), Turn::new(open()?, PATIENCE));
        Ok(Self {
            place,
            reader,
            writer,
            #[cfg(test)]
            watched: Watched::default(),
        })
    }

    /// Opens a file that is there for reading; every change then fails. [`Error::StoreOlder`] beside the errors of
    /// [`SqliteStore::open`].
    pub fn open_read_only(path: &Path) -> Result<Self, Error> {
        let place = path.display().to_string();
        let open = || schema::open_read_only(path).map_err(|failure| failure.at(&place));
        let (writer, reader) = (Turn::new(open()?, PATIENCE), Turn::new(open()?, PATIENCE));
        Ok(Self {
            place,
            reader,
            writer,
            #[cfg(test)]
            watched: Watched::default(),
        })
    }

    fn write<T>(
        &self,
        act: Act<'_>,
        work: impl FnOnce(&mut Writing<'_>) -> Result<T, Failure>,
    ) -> Result<T, Error> {
        let done = self.writer.take(|connection| {
            #[cfg(test)]
            self.watched.ask(true)?;
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let mut writing = Writing::begin(&transaction, act)?;
            let value = work(&mut writing)?;
            writing.end()?;
            transaction.commit()?;
            Ok(value)
        });
        done.map_err(|failure| failure.at(&self.place))
    }

    fn read<T>(&self, work: impl FnOnce(&Transaction<'_>) -> Result<T, Failure>) -> Result<T, Error> {
        let done = self.reader.take(|connection| {
            #[cfg(test)]
            self.watched.ask(false)?;
            let transaction = connection.transaction()?;
            work(&transaction)
        });
        done.map_err(|failure| failure.at(&self.place))
    }
}

#[cfg(test)]
impl Watched {
    fn ask(&self, writes: bool) -> Result<(), Failure> {
        use std::sync::atomic::Ordering;
        self.asked.fetch_add(1, Ordering::SeqCst);
        while writes && self.hangs.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(1));
        }
        if writes && self.is_full.load(Ordering::SeqCst) {
            let full = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_FULL);
            return Err(rusqlite::Error::SqliteFailure(full, None).into());
        }
        Ok(())
    }
}

/// A file is there when it is opened.
impl Reachable for SqliteStore {}

impl Leaks for SqliteStore {
    fn revoke_leaked(&self, act: Act<'_>, found: &[LeakedToken]) -> Result<Vec<LeakRevocation>, Error> {
        self.write(act, |writing| writing.revoke_leaked(found))
    }
}

impl TokenChanges for SqliteStore {
    fn set_token(&self, act: Act<'_>, id: &str, change: &TokenChange) -> Result<TokenRecord, Error> {
        self.write(act, |writing| writing.set_token(id, change))
    }
}

impl Store for SqliteStore {
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
        self.read(|on| Ok(rows::workspace_by_id(on, id)?))
    }

    fn workspaces(&self, after: &str, count: u32) -> Result<Vec<WorkspaceRecord>, Error> {
        let sql = format!("{} WHERE id > ?1 ORDER BY id LIMIT ?2", rows::WORKSPACE);
        self.read(|on| {
            Ok(on
                .prepare_cached(&sql)?
                .query_map(params![after, count], rows::workspace)?
                .collect::<Result<_, _>>()?)
        })
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
        self.read(|on| Ok(overrides::listed(on, after, count)?))
    }

    fn import(&self, act: Act<'_>, batch: &[ImportedToken]) -> Result<Vec<Imported>, Error> {
        let made = self.writer.take(|connection| Ok(import::make_room(connection)?));
        made.map_err(|failure| failure.at(&self.place))?;
        self.write(act, |writing| writing.import(batch))
    }

    fn token(&self, id: &str) -> Result<Option<TokenRecord>, Error> {
        self.read(|on| Ok(rows::token_by_id(on, id)?.map(|stored| stored.record)))
    }

    fn token_by_digest(&self, digests: &[Digest]) -> Result<Option<TokenRecord>, Error> {
        self.read(|on| Ok(Tables::token_by_digest(&**on, digests)?.map(|stored| stored.record)))
    }

    fn tokens(&self, workspace: Option<&str>, after: &str, count: u32) -> Result<Vec<TokenRecord>, Error> {
        let condition = match workspace {
            Some(_) => "t.workspace = ?3 AND t.id > ?1",
            None => "t.id > ?1 AND ?3 IS NULL",
        };
        let sql = format!("{} WHERE {condition} ORDER BY t.id LIMIT ?2", rows::TOKEN);
        self.read(|on| {
            let mut statement = on.prepare_cached(&sql)?;
            let found = statement.query_map(params![after, count, workspace], rows::token)?;
            Ok(found.map(|stored| stored.map(|stored| stored.record)).collect::<Result<_, _>>()?)
        })
    }

    fn snapshot(&self, load: &mut dyn FnMut(Row)) -> Result<(u64, [u8; 32]), Error> {
        self.read(|on| {
            let head = head(on)?;
            for workspace in on.prepare(rows::WORKSPACE)?.query_map([], rows::workspace)? {
                load(Row::Workspace(workspace?));
            }
            for token in on.prepare(rows::TOKEN)?.query_map([], rows::token)? {
                load(Row::Token(Box::new(token?)));
            }
            few(on, load)?;
            Ok(head)
        })
    }

    fn few(&self, load: &mut dyn FnMut(Row)) -> Result<(), Error> {
        self.read(|on| few(on, load))
    }

    fn changes(&self, after: u64, count: u32) -> Result<Changes, Error> {
        self.read(|on| {
            let (head, hash) = head(on)?;
            let none =
                Changes { head, hash_before: hash, hash_after: hash, seqs: Vec::new(), rows: Vec::new() };
            if head <= after { Ok(none) } else { changed_rows(on, none, after, count) }
        })
    }

    fn watch(&self, _: Wake) -> Option<Watch> {
        None
    }

    fn log(&self, after: u64, count: u32) -> Result<Vec<LogEntry>, Error> {
        let sql = format!("{} WHERE seq > ?1 ORDER BY seq LIMIT ?2", rows::LOG);
        self.read(|on| {
            let mut statement = on.prepare_cached(&sql)?;
            let mut entries = statement.query(params![signed(after), count])?;
            let mut found = Vec::new();
            while let Some(row) = entries.next()? {
                found.push(rows::audited(row)?);
            }
            Ok(found)
        })
    }

    fn head(&self) -> Result<(u64, [u8; 32]), Error> {
        self.read(|on| Ok(head(on)?))
    }

    fn record_uses(&self, uses: &[(&str, u64)]) -> Result<(), Error> {
        let done = self.writer.take(|connection| {
            #[cfg(test)]
            self.watched.ask(true)?;
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            {
                let mut statement = transaction.prepare_cached(
                    "INSERT INTO token_use (token, at) SELECT id, ?2 FROM token WHERE id = ?1 \
                     ON CONFLICT (token) DO UPDATE SET at = max(at, excluded.at)",
                )?;
                for (id, at) in uses {
                    statement.execute(params![id, signed(*at)])?;
                }
            }
            Ok(transaction.commit()?)
        });
        done.map_err(|failure| failure.at(&self.place))
    }

    fn fingerprints(&self) -> Result<Vec<Digest>, Error> {
        self.read(|on| {
            let mut statement = on.prepare_cached("SELECT version, fingerprint FROM pepper")?;
            let all = statement.query_map([], |row| Ok(rows::digest(row.get(0)?, row.get(1)?)))?;
            Ok(all.collect::<Result<_, _>>()?)
        })
    }

    fn add_fingerprints(&self, act: Act<'_>, fingerprints: &[Digest]) -> Result<(), Error> {
        self.write(act, |writing| writing.add_fingerprints(fingerprints))
    }
}

/// The rows of which there are few.
fn few(on: &Connection, load: &mut dyn FnMut(Row)) -> Result<(), Failure> {
    for operator in operators::all(on)? {
        load(Row::Operator(operator));
    }
    jwt_revocations::each(on, &mut |revocation| load(Row::JwtRevocation(revocation)))?;
    Ok(())
}

fn head(on: &Connection) -> rusqlite::Result<(u64, [u8; 32])> {
    on.prepare_cached("SELECT seq, hash FROM head")?.query_row([], |row| Ok((unsigned(row, 0)?, row.get(1)?)))
}

fn changed_rows(on: &Connection, mut changes: Changes, after: u64, count: u32) -> Result<Changes, Failure> {
    let mut statement = on.prepare_cached(&format!(
        "SELECT seq, kind, subject, {BODY}, previous, hash FROM log WHERE seq > ?1 ORDER BY seq LIMIT ?2"
    ))?;
    let mut entries = statement.query(params![signed(after), count])?;
    let mut about = Changed::default();
    while let Some(row) = entries.next()? {
        if changes.seqs.is_empty() {
            changes.hash_before = row.get(4)?;
        }
        changes.hash_after = row.get(5)?;
        changes.seqs.push(unsigned(row, 0)?);
        let (kind, subject): (String, String) = (row.get(1)?, row.get(2)?);
        let body: Option<String> = row.get(3)?;
        about.note(&kind, subject, body.as_deref());
        if about.is_enough(count) {
            break;
        }
    }
    let Changed { mut workspaces, mut tokens, families, operators: mut operator_names, mut revocations } =
        about;
    for family in &families {
        rows::ids_of_family(on, family, &mut tokens)?;
    }
    for ids in [&mut workspaces, &mut tokens, &mut operator_names, &mut revocations] {
        ids.sort_unstable();
        ids.dedup();
    }
    for id in &workspaces {
        changes.rows.extend(rows::workspace_by_id(on, id)?.map(Row::Workspace));
    }
    for id in &tokens {
        if let Some(stored) = rows::token_by_id(on, id)? {
            let former = peppers::former_of(on, id)?;
            changes.rows.push(Row::Token(Box::new(StoredToken { former, ..stored })));
        }
    }
    for name in &operator_names {
        changes.rows.extend(operators::by_name(on, name)?.map(Row::Operator));
    }
    for id in &revocations {
        changes.rows.extend(jwt_revocations::by_id(on, id)?.map(Row::JwtRevocation));
    }
    Ok(changes)
}

#[cfg(test)]
mod tests;
