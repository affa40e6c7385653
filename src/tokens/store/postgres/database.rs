//! A way into the same database for what is kept there beside the store, on connections of its own: nobody who
//! changes a token waits for it.

use tokio::runtime::{Handle, Runtime};

use super::connector::Connector;
use super::pool::{Begin, Pool, Session};
use super::{PostgresAddress, runtime};
use crate::tokens::Error;
use crate::tokens::store::failure::Failure;

/// Transactions on up to so many connections.
pub(crate) struct Database {
    place: String,
    connector: Connector,
    pool: Pool,
    runtime: Option<Runtime>,
    handle: Handle,
}

impl Database {
    /// For a purpose, which the server shows of its connections. Connects to nobody yet; [`Error::File`].
    pub(crate) fn new(
        address: &PostgresAddress,
        connections: usize,
        purpose: &'static str,
    ) -> Result<Self, Error> {
        let place = address.to_string();
        let connector = Connector::new(address).map_err(|failure| failure.at(&place))?;
        let runtime = runtime(&place)?;
        let handle = runtime.handle().clone();
        let pool = Pool::for_purpose(connections, purpose);
        Ok(Self { place, connector, pool, runtime: Some(runtime), handle })
    }

    /// Reads as of one moment.
    pub(crate) fn read<T>(&self, work: impl FnOnce(&Session<'_>) -> Result<T, Failure>) -> Result<T, Error> {
        let done = || {
            let session = self.pool.begin(&self.handle, &self.connector, Begin::Read)?;
            let value = work(&session);
            session.roll_back();
            value
        };
        done().map_err(|failure: Failure| failure.at(&self.place))
    }

    /// Writes in one transaction. After an error it may have been committed or not.
    pub(crate) fn write<T>(&self, work: impl FnOnce(&Session<'_>) -> Result<T, Failure>) -> Result<T, Error> {
        let done = || {
            let session = self.pool.begin(&self.handle, &self.connector, Begin::Write)?;
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
}

impl Drop for Database {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Database").field("place", &self.place).finish_non_exhaustive()
    }
}
