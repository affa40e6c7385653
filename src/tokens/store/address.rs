//! Which store a configuration names, and opening it.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use super::{PostgresAddress, PostgresStore, SqliteStore, Store};
use crate::tokens::Error;

/// A store, not yet opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreAddress {
    /// A SQLite file.
    File(PathBuf),
    /// A PostgreSQL database.
    Postgres(Box<PostgresAddress>),
}

impl StoreAddress {
    /// Opens it, and makes it or brings it up to date if need be.
    pub fn open(&self) -> Result<Arc<dyn Store>, Error> {
        Ok(match self {
            Self::File(path) => Arc::new(SqliteStore::open(path)?),
            Self::Postgres(address) => Arc::new(PostgresStore::open(address)?),
        })
    }

    /// A database that cannot be reached at the moment, to be read from and written to when it can be
    /// ([`reach`](super::Reachable::reach), [`admit_changes`](super::Reachable::admit_changes)); [`None`] for a file,
    /// which is there or is not.
    pub fn open_later(&self) -> Result<Option<Arc<dyn Store>>, Error> {
        Ok(match self {
            Self::File(_) => None,
            Self::Postgres(address) => Some(Arc::new(PostgresStore::open_later(address)?)),
        })
    }

    /// Opens what is there for reading; every change then fails.
    pub fn open_read_only(&self) -> Result<Arc<dyn Store>, Error> {
        Ok(match self {
            Self::File(path) => Arc::new(SqliteStore::open_read_only(path)?),
            Self::Postgres(address) => Arc::new(PostgresStore::open_read_only(address)?),
        })
    }

    /// The database's name, in words of the status page.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::File(_) => "sqlite",
            Self::Postgres(_) => "postgresql",
        }
    }

    /// Whether there is a file; of a database it is only known once it is opened.
    pub fn may_exist(&self) -> bool {
        match self {
            Self::File(path) => path.exists(),
            Self::Postgres(_) => true,
        }
    }
}

impl fmt::Display for StoreAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Postgres(address) => address.fmt(f),
        }
    }
}
