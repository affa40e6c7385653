//! A bounded number of connections, and the transactions on them.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row};

use super::connector::Connector;
use super::failure::{silent, within};
use super::wait::wait;
use crate::tokens::store::failure::Failure;

/// How long the server may take for one statement, waiting for locks included.
const STATEMENT_DEADLINE: Duration = Duration::from_secs(5);
/// How long its answer is waited for: longer, so that the server's own word arrives where it can.
pub(super) const ANSWER_DEADLINE: Duration = Duration::from_secs(6);
/// How long the server may take for a step of the schema.
pub(super) const SCHEMA_DEADLINE: Duration = Duration::from_mins(10);

/// How a transaction begins. Everything is set for it alone, so that a pooler in between, which gives the
/// connection to somebody else afterwards, does no harm. The server ends a transaction whose client is gone.
#[derive(Clone, Copy)]
pub(super) enum Begin {
    /// Sees what is committed at each statement. Durable, also where the database's default is not.
    Write,
    /// Sees one moment.
    Read,
    /// As [`Begin::Write`], for a step of the schema.
    Schema,
}

impl Begin {
    fn sql(self) -> String {
        let (isolation, settings, statement) = match self {
            Self::Write => ("ISOLATION LEVEL READ COMMITTED READ WRITE", DURABLE, STATEMENT_DEADLINE),
            Self::Schema => ("ISOLATION LEVEL READ COMMITTED READ WRITE", DURABLE, SCHEMA_DEADLINE),
            Self::Read => ("ISOLATION LEVEL REPEATABLE READ READ ONLY", "", STATEMENT_DEADLINE),
        };
        let (statement, idle) = (statement.as_millis(), ANSWER_DEADLINE.as_millis());
        format!(
            "BEGIN {isolation}; SET LOCAL statement_timeout = {statement}; \
             SET LOCAL idle_in_transaction_session_timeout = {idle}; {settings}"
        )
    }
}

const DURABLE: &str = "SELECT set_config('synchronous_commit', \
    CASE current_setting('synchronous_commit') WHEN 'off' THEN 'on' ELSE current_setting('synchronous_commit') END, \
    true)";

/// A statement's parameters with their types, so that nothing has to be prepared.
pub(crate) type Parameters<'p> = &'p [(&'p (dyn ToSql + Sync), Type)];

/// Connections that are kept open, and how many more there may be.
pub(super) struct Pool {
    idle: Mutex<Vec<Client>>,
    places: Semaphore,
    purpose: &'static str,
}

impl Pool {
    pub(super) const fn new(connections: usize) -> Self {
        Self::for_purpose(connections, "tollgate")
    }

    /// A pool of connections that the server shows this purpose of.
    pub(super) const fn for_purpose(connections: usize, purpose: &'static str) -> Self {
        Self { idle: Mutex::new(Vec::new()), places: Semaphore::const_new(connections), purpose }
    }

    /// Begins a transaction on a connection that works, if need be on a new one. Waits for its turn where all
    /// are taken.
    pub(super) fn begin<'p>(
        &'p self,
        runtime: &'p Handle,
        connector: &Connector,
        begin: Begin,
    ) -> Result<Session<'p>, Failure> {
        let sql = begin.sql();
        wait(runtime, async {
            let place = tokio::time::timeout(ANSWER_DEADLINE, self.places.acquire()).await;
            let Ok(Ok(place)) = place else { return Err(silent(ANSWER_DEADLINE)) };
            while let Some(client) = self.take_idle() {
                // A connection that broke while nobody used it has done nothing yet.
                if !client.is_closed() && within(ANSWER_DEADLINE, client.batch_execute(&sql)).await.is_ok() {
                    return Ok(Session { client, pool: self, runtime, _place: place });
                }
            }
            let (client, driver) = connector.open(self.purpose).await?;
            tokio::spawn(driver);
            within(ANSWER_DEADLINE, client.batch_execute(&sql)).await?;
            Ok(Session { client, pool: self, runtime, _place: place })
        })
    }

    /// The rows of one statement that reads, a transaction of its own: one round trip.
    pub(super) fn ask(
        &self,
        runtime: &Handle,
        connector: &Connector,
        sql: &str,
        parameters: Parameters<'_>,
    ) -> Result<Vec<Row>, Failure> {
        wait(runtime, async {
            let place = tokio::time::timeout(ANSWER_DEADLINE, self.places.acquire()).await;
            let Ok(Ok(_place)) = place else { return Err(silent(ANSWER_DEADLINE)) };
            while let Some(client) = self.take_idle() {
                if !client.is_closed()
                    && let Ok(rows) = within(ANSWER_DEADLINE, client.query_typed(sql, parameters)).await
                {
                    self.keep_idle(client);
                    return Ok(rows);
                }
            }
            let (client, driver) = connector.open("tollgate").await?;
            tokio::spawn(driver);
            let rows = within(ANSWER_DEADLINE, client.query_typed(sql, parameters)).await?;
            self.keep_idle(client);
            Ok(rows)
        })
    }

    fn take_idle(&self) -> Option<Client> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    fn keep_idle(&self, client: Client) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(client);
    }
}

/// An open transaction. Dropping it closes its connection, with which the transaction is undone.
pub(crate) struct Session<'p> {
    client: Client,
    pool: &'p Pool,
    runtime: &'p Handle,
    _place: SemaphorePermit<'p>,
}

impl Session<'_> {
    pub(crate) fn query(&self, sql: &str, parameters: Parameters<'_>) -> Result<Vec<Row>, Failure> {
        wait(self.runtime, within(ANSWER_DEADLINE, self.client.query_typed(sql, parameters)))
    }

    /// The first row, if there is one.
    pub(crate) fn query_opt(&self, sql: &str, parameters: Parameters<'_>) -> Result<Option<Row>, Failure> {
        Ok(self.query(sql, parameters)?.into_iter().next())
    }

    /// How many rows were changed.
    pub(crate) fn execute(&self, sql: &str, parameters: Parameters<'_>) -> Result<u64, Failure> {
        wait(self.runtime, within(ANSWER_DEADLINE, self.client.execute_typed(sql, parameters)))
    }

    /// Statements without parameters.
    pub(super) fn batch(&self, sql: &str, deadline: Duration) -> Result<(), Failure> {
        wait(self.runtime, within(deadline, self.client.batch_execute(sql)))
    }

    /// Ends the transaction for good. After a failure it may have been committed or not.
    pub(super) fn commit(self) -> Result<(), Failure> {
        self.batch("COMMIT", ANSWER_DEADLINE)?;
        self.keep();
        Ok(())
    }

    /// Undoes the transaction and keeps the connection, if that still works.
    pub(super) fn roll_back(self) {
        if !self.client.is_closed() && self.batch("ROLLBACK", ANSWER_DEADLINE).is_ok() {
            self.keep();
        }
    }

    fn keep(self) {
        self.pool.keep_idle(self.client);
    }
}
