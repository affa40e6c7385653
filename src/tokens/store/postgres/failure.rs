//! What PostgreSQL says of a failure, and waiting with a deadline.

use std::error::Error as _;
use std::time::Duration;

use tokio_postgres::error::SqlState;

use crate::tokens::Error;
use crate::tokens::store::failure::Failure;

/// What went wrong on the way to PostgreSQL or there. The server's details are left out: they quote rows.
#[derive(Debug, thiserror::Error)]
enum Cause {
    #[error("{0}")]
    Server(String),
    #[error("{0}")]
    Connection(String),
    #[error("it did not answer within {0:?}")]
    Silent(Duration),
    #[error("column {0} was not written by tollgate")]
    Unreadable(usize),
}

/// What the server says of a text that no database of its encoding can keep: the text's fault, and nothing that goes
/// away when it is tried again.
const KEEPS_NOT: [SqlState; 2] = [SqlState::CHARACTER_NOT_IN_REPERTOIRE, SqlState::UNTRANSLATABLE_CHARACTER];

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        if let Some(server) = error.as_db_error() {
            if KEEPS_NOT.contains(server.code()) {
                let (what, fix) =
                    ("text that PostgreSQL keeps", "leave out NUL, and what its encoding lacks");
                return Self::Refused(Error::Invalid {
                    what,
                    value: "a text of the request".to_owned(),
                    fix,
                });
            }
            let told = format!("{} (SQLSTATE {})", server.message(), server.code().code());
            return Self::Database(Cause::Server(told).into());
        }
        let mut told = error.to_string();
        let mut source = error.source();
        while let Some(inner) = source {
            told = format!("{told}: {inner}");
            source = inner.source();
        }
        Self::Database(Cause::Connection(told).into())
    }
}

/// A value that is not one that a store writes.
pub(super) fn unreadable(column: usize) -> Failure {
    Failure::Database(Cause::Unreadable(column).into())
}

/// What was read; [`None`], and `tell` is called, where the row is there and no store wrote it so.
pub(super) fn unless_altered<T>(read: Result<T, Failure>, tell: impl FnOnce()) -> Result<Option<T>, Failure> {
    match read {
        Ok(read) => Ok(Some(read)),
        Err(Failure::Database(cause)) if matches!(cause.downcast_ref(), Some(Cause::Unreadable(_))) => {
            tell();
            Ok(None)
        }
        Err(failure) => Err(failure),
    }
}

/// A connection that the server has ended without a word.
pub(super) fn closed() -> Failure {
    Failure::Database(Cause::Connection("the connection was closed".to_owned()).into())
}

/// No answer within a time.
pub(super) fn silent(deadline: Duration) -> Failure {
    Failure::Database(Cause::Silent(deadline).into())
}

/// Waits, but not for ever.
pub(super) async fn within<T>(
    deadline: Duration,
    answer: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T, Failure> {
    match tokio::time::timeout(deadline, answer).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(silent(deadline)),
    }
}
