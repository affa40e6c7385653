//! The journal of what each credential did, and how it leaves this process.

use std::sync::Arc;

use super::StartError;
use super::operator::whole;
use crate::clock::Clock;
use crate::config::Config;
use crate::journal::{
    Bounds, Forwarded, Forwarder, Journal, Parts, PostgresJournal, SqliteJournal, StartFault, Writer,
};
use crate::telemetry::{Gauge, Telemetry};
use crate::tokens::StoreAddress;

/// The journal of a configuration.
pub(super) struct OpenJournal {
    /// What is asked; [`None`] where none is kept.
    pub(super) journal: Option<Arc<dyn Journal>>,
    /// What hands entries on, where several gateways share a journal.
    pub(super) forwarder: Option<Forwarder>,
}

/// Opens the journal that the configuration asks for, and has the cores write it.
pub(super) fn open(config: &Config, telemetry: &Telemetry, clock: &Clock) -> Result<OpenJournal, StartError> {
    let (Some(file), bounds) = (&config.journal.file, config.journal.bounds) else {
        return Ok(OpenJournal { journal: None, forwarder: None });
    };
    let address = match &config.tokens.store {
        StoreAddress::Postgres(address) if config.journal.is_shared => address,
        StoreAddress::Postgres(_) | StoreAddress::File(_) => {
            let journal: Arc<dyn Journal> = Arc::new(SqliteJournal::open(file, bounds)?);
            telemetry.keep_journal(Box::new(Writer::new(Arc::clone(&journal))))?;
            return Ok(OpenJournal { journal: Some(journal), forwarder: None });
        }
    };
    let shared = Arc::new(PostgresJournal::new(address, bounds)?);
    // A token's entries are counted where they end up.
    let spool = Arc::new(SqliteJournal::open(file, Bounds { entries_per_token: u64::MAX, ..bounds })?);
    let journal: Arc<dyn Journal> = Arc::clone(&spool) as _;
    telemetry.keep_journal(Box::new(Writer::new(journal)))?;
    let counts = Arc::new(Forwarded::default());
    add_gauges(telemetry, &counts);
    let flush = Box::new(telemetry.journal_flush());
    let parts = Parts { spool, shared: Arc::clone(&shared), flush, clock: clock.clone(), counts };
    let forwarder = Forwarder::start(parts).map_err(|fault| match fault {
        StartFault::Journal(error) => StartError::Journal(error),
        StartFault::Thread(error) => StartError::Thread(error),
    })?;
    Ok(OpenJournal { journal: Some(shared), forwarder: Some(forwarder) })
}

fn add_gauges(telemetry: &Telemetry, counts: &Arc<Forwarded>) {
    let read = Arc::clone(counts);
    let help = "Entries that were handed on to the journal that gateways share.";
    let gauge = Gauge::single("tollgate_journal_forwarded_total", help, move || whole(read.entries()));
    telemetry.add_gauge(gauge.counted());
    let read = Arc::clone(counts);
    let help = "Entries that wait in this gateway's file for the shared journal.";
    telemetry.add_gauge(Gauge::single("tollgate_journal_waiting", help, move || whole(read.waiting())));
    let read = Arc::clone(counts);
    let help = "Entries that waited for the shared journal until there were too many of them.";
    let gauge = Gauge::single("tollgate_journal_lost_total", help, move || whole(read.lost()));
    telemetry.add_gauge(gauge.counted());
}
