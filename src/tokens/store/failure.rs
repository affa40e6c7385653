//! What ends a transaction early.

use crate::tokens::Error;

/// A refusal of ours, or the database's failure, which still lacks its place.
#[derive(Debug)]
pub(crate) enum Failure {
    Refused(Error),
    Database(Box<dyn std::error::Error + Send + Sync>),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error.into())
    }
}

impl Failure {
    /// The error of the store at a place.
    pub(crate) fn at(self, place: &str) -> Error {
        match self {
            Self::Refused(error) => error,
            Self::Database(source) => Error::Store { place: place.to_owned(), source },
        }
    }
}
