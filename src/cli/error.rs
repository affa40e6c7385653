//! Why a command ended without doing its work, and with which exit code.

use crate::config::{Diagnostic, Severity};
use crate::{admin, assembly, limits, replay, scan, telemetry, tokens};

/// What a command ends with if not with success.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The command line asks for something that makes no sense. Exit code 2.
    #[error("{0}")]
    Usage(String),
    /// A configuration has mistakes, which are still to be told.
    #[error("the configuration has {}", counted(.0))]
    Config(Vec<Diagnostic>),
    /// One of two configurations has mistakes, which are still to be told, so that they cannot be compared.
    #[error("the configuration has {}", counted(.0))]
    Incomparable(Vec<Diagnostic>),
    /// Callers notice a difference of two configurations, which was told.
    #[error("{0}")]
    Differs(String),
    /// A configuration has mistakes that were told already.
    #[error("the configuration has {0}")]
    Told(String),
    /// The gateway cannot be started.
    #[error(transparent)]
    Start(#[from] assembly::StartError),
    /// Logs cannot be written.
    #[error(transparent)]
    Telemetry(#[from] telemetry::TelemetryError),
    /// Something that the demo needs cannot be had.
    #[error("{0}")]
    Demo(String),
    /// The registry refused or failed.
    #[error(transparent)]
    Tokens(#[from] tokens::Error),
    /// A signed head and the audit trail do not agree.
    #[error("the head of entry {seq}, signed {signed_at}, is not the trail's: {why}")]
    NotTheHead {
        /// The entry's number.
        seq: u64,
        /// When it was signed.
        signed_at: String,
        /// What is wrong.
        why: tokens::NotTheHead,
    },
    /// A limit cannot be overridden so.
    #[error(transparent)]
    NotOverridable(#[from] limits::NotOverridable),
    /// A log cannot be replayed.
    #[error(transparent)]
    Replay(#[from] replay::Error),
    /// Somebody would be refused; it was written who.
    #[error("{0} requests would newly be refused")]
    NewlyRefused(u64),
    /// Lines of an import were not taken; they were listed.
    #[error("{0} lines were not imported; mend them and import the file again, what is there stays as it is")]
    LinesRefused(u64),
    /// A request that was explained would be refused.
    #[error("the request would be refused")]
    WouldRefuse,
    /// Files cannot be searched.
    #[error(transparent)]
    Scan(#[from] scan::Error),
    /// Tokens were found in files, or files could not be read; they were told.
    #[error("{0}")]
    Leaks(String),
    /// A running node cannot be asked.
    #[error(transparent)]
    Ask(#[from] admin::AskFailed),
    /// The output cannot be written.
    #[error("a file or the output cannot be written: {0}")]
    Output(#[from] std::io::Error),
    /// The output cannot be put into JSON.
    #[error("the output cannot be put into JSON: {0}")]
    Json(#[from] serde_json::Error),
}

impl From<admin::OverrideRefused> for Error {
    fn from(refused: admin::OverrideRefused) -> Self {
        match refused {
            admin::OverrideRefused::Registry(error) => Self::Tokens(error),
            admin::OverrideRefused::NotOverridable(why) => Self::NotOverridable(why),
        }
    }
}

impl From<Vec<Diagnostic>> for Error {
    fn from(found: Vec<Diagnostic>) -> Self {
        Self::Config(found)
    }
}

/// How many mistakes and warnings there are, in words.
pub(super) fn counted(diagnostics: &[Diagnostic]) -> String {
    let warnings = diagnostics.iter().filter(|found| found.severity == Severity::Warning).count();
    let mistakes = diagnostics.len() - warnings;
    let words = |count: usize, word: &str| match count {
        1 => format!("1 {word}"),
        count => format!("{count} {word}s"),
    };
    match (mistakes, warnings) {
        (0, 0) => "no mistakes".to_owned(),
        (mistakes, 0) => words(mistakes, "mistake"),
        (0, warnings) => words(warnings, "warning"),
        (mistakes, warnings) => format!("{} and {}", words(mistakes, "mistake"), words(warnings, "warning")),
    }
}

impl Error {
    /// 1 for a problem that was found, 2 for bad usage.
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_)
            | Self::Incomparable(_)
            | Self::NotOverridable(_)
            | Self::Scan(scan::Error::Git { .. })
            | Self::Tokens(
                tokens::Error::Invalid { .. }
                | tokens::Error::RegionUnknown { .. }
                | tokens::Error::IssuerUnknown { .. },
            ) => 2,
            Self::Config(_)
            | Self::Told(_)
            | Self::Differs(_)
            | Self::Start(_)
            | Self::Telemetry(_)
            | Self::Demo(_)
            | Self::Tokens(_)
            | Self::NotTheHead { .. }
            | Self::Replay(_)
            | Self::NewlyRefused(_)
            | Self::LinesRefused(_)
            | Self::WouldRefuse
            | Self::Scan(scan::Error::Output(_))
            | Self::Leaks(_)
            | Self::Ask(_)
            | Self::Output(_)
            | Self::Json(_) => 1,
        }
    }
}
