//! A bounded number of connections, and the transactions on them.

use std::cell::Cell;
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
    /// As [`Begin::Write`], for a change of the log: its head is locked in the same round trip.
    Change,
    /// As [`Begin::Write`], for a step of the schema.
    Schema,
}

impl Begin {
    fn sql(self) -> String {
        let (isolation, settings, statement) = match self {
            Self::Write | Self::Change => {
                ("ISOLATION LEVEL READ COMMITTED READ WRITE", DURABLE, STATEMENT_DEADLINE)
            }
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
                if !client.is_closed()
                    && let (Ok(()), head) = opened(&client, &sql, begin).await
                {
                    return Ok(Session {
                        client,
                        pool: self,
                        runtime,
                        head: Cell::new(head?),
                        _place: place,
                    });
                }
            }
            let (client, driver) = connector.open(self.purpose).await?;
            tokio::spawn(driver);
            let (opened, head) = opened(&client, &sql, begin).await;
            opened?;
            Ok(Session { client, pool: self, runtime, head: Cell::new(head?), _place: place })
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
            let (client, driver) = connector.open(self.purpose).await?;
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

/// Begins a transaction, and locks the log's head where that is wanted: both are sent before either is answered.
async fn opened(
    client: &Client,
    sql: &str,
    begin: Begin,
) -> (Result<(), Failure>, Result<Option<Row>, Failure>) {
    let opened = within(ANSWER_DEADLINE, client.batch_execute(sql));
    if !matches!(begin, Begin::Change) {
        return (opened.await, Ok(None));
    }
    let locked = within(ANSWER_DEADLINE, client.query_typed(LOCK_HEAD, &[]));
    let (opened, locked) = tokio::join!(biased; opened, locked);
    (opened, locked.map(|rows| rows.into_iter().next()))
}

/// Until the transaction ends, no other changes the log.
pub(super) const LOCK_HEAD: &str = "SELECT seq, hash FROM tollgate.head FOR UPDATE";

/// An open transaction. Dropping it closes its connection, with which the transaction is undone.
pub(crate) struct Session<'p> {
    client: Client,
    pool: &'p Pool,
    runtime: &'p Handle,
    /// The log's head, if it was locked when the transaction began.
    head: Cell<Option<Row>>,
    _place: SemaphorePermit<'p>,
}

impl Session<'_> {
    /// The log's head as it was locked when the transaction began, the first time that it is asked for.
    pub(super) fn locked_head(&self) -> Option<Row> {
        self.head.take()
    }

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
