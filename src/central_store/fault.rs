//! Why a call had no answer, and what that says of the server.

use std::io;

use redis::{ErrorKind, RedisError, ServerErrorKind};

/// Why a call had no answer. It quotes what the server says, never what it was sent.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    /// No answer came in time.
    #[error("no answer came in time")]
    TimedOut,
    /// The server did nothing, because by its clock the call came after its deadline; again, with the deadline corrected.
    #[error("it says that the call came too late")]
    TooLate,
    /// The connection cannot be made or broke.
    #[error("{0}")]
    Connection(String),
    /// The server answers that it cannot do this now: it loads, is a replica, is full, or does not let us.
    #[error("it answered: {0}")]
    Unable(String),
    /// The server has a part of the keys.
    #[error(
        "it is a node of a Redis Cluster, which has a part of the keys: name a server that has all of them"
    )]
    Cluster,
    /// The server answers that this one call was wrong, for example because another program wrote under its key.
    #[error("it answered: {0}")]
    OneCall(String),
    /// The answer is none that the script gives.
    #[error("its answer is not understood")]
    Unintelligible,
}

/// Errors that say something of one call alone. Whatever else a server answers, it would answer to every call.
const OF_ONE_CALL: [&str; 5] = ["ERR", "WRONGTYPE", "CROSSSLOT", "EXECABORT", "NOSCRIPT"];

impl Fault {
    /// What went wrong with TLS.
    pub(super) fn tls(error: &dyn std::error::Error) -> Self {
        Self::Connection(error.to_string())
    }

    /// The other side has closed the connection.
    pub(super) fn closed() -> Self {
        Self::Connection("the connection was closed".to_owned())
    }

    /// Whether the server is not to be asked any more until it is found to work again.
    pub(super) const fn gives_up(&self) -> bool {
        matches!(self, Self::Connection(_) | Self::Unable(_) | Self::Cluster)
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Connection(error.to_string())
    }
}

impl From<RedisError> for Fault {
    fn from(error: RedisError) -> Self {
        let is_of_one_call = || error.code().is_some_and(|code| OF_ONE_CALL.contains(&code));
        match error.kind() {
            ErrorKind::Server(ServerErrorKind::ResponseError) => Self::OneCall(error.to_string()),
            ErrorKind::Server(_) | ErrorKind::Extension if is_of_one_call() => {
                Self::OneCall(error.to_string())
            }
            ErrorKind::Server(_) | ErrorKind::Extension | ErrorKind::AuthenticationFailed => {
                Self::Unable(error.to_string())
            }
            _ => Self::Connection(error.to_string()),
        }
    }
}
