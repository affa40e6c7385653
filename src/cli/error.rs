//! Why a command ended without doing its work, and with which exit code.

use crate::tokens;

/// What a command ends with if not with success.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The command line asks for something that makes no sense. Exit code 2.
    #[error("{0}")]
    Usage(String),
    /// The registry refused or failed.
    #[error(transparent)]
    Tokens(#[from] tokens::Error),
    /// Lines of an import were not taken; they were listed.
    #[error("{0} lines were not imported; mend them and import the file again, what is there stays as it is")]
    LinesRefused(u64),
    /// The output cannot be written.
    #[error("the output cannot be written: {0}")]
    Output(#[from] std::io::Error),
    /// The output cannot be put into JSON.
    #[error("the output cannot be put into JSON: {0}")]
    Json(#[from] serde_json::Error),
}

impl Error {
    /// 1 for a problem that was found, 2 for bad usage.
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_)
            | Self::Tokens(tokens::Error::Invalid { .. } | tokens::Error::RegionUnknown { .. }) => 2,
            Self::Tokens(_) | Self::LinesRefused(_) | Self::Output(_) | Self::Json(_) => 1,
        }
    }
}
