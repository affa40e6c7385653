//! `[logs]`: what is written of requests and of the gateway itself, and where.

use std::path::{Path, PathBuf};

use tracing_subscriber::EnvFilter;

use super::Destination;
use crate::domain::Problems;

/// How a line is written.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, serde::Serialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// One JSON object a line.
    #[default]
    Json,
    /// `key=value` pairs.
    Text,
}

/// Which requests are written down.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, serde::Serialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Access {
    /// Every one.
    #[default]
    All,
    /// Those that the gateway refused or could not serve.
    Refused,
    /// None.
    Off,
}

/// The `[logs]` table.
#[derive(Clone, Debug, serde::Deserialize, serde::Serialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// `json` (the default) or `text`; for the access log and the gateway's own log.
    pub format: Format,
    /// What of the gateway's own log is written, to standard error: `error`, `warn`, `info` (the default),
    /// `debug`, `trace`, or directives by module such as `info,tollgate::limits=debug`.
    pub level: String,
    /// Which requests are written to the access log: `all` (the default), `refused` or `off`.
    pub access: Access,
    /// Of the requests that were served, one in so many is written; refused ones always are. Default: 1.
    pub access_sample: u32,
    /// Where the access log goes: `stdout` (the default), `stderr`, or the path of a file, which is appended to; a
    /// relative path starts at the configuration file.
    pub destination: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            format: Format::Json,
            level: "info".to_owned(),
            access: Access::All,
            access_sample: 1,
            destination: "stdout".to_owned(),
        }
    }
}

/// `[logs]` without mistakes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// How lines are written.
    pub format: Format,
    /// Directives of the gateway's own log.
    pub level: String,
    /// Which requests are written.
    pub access: Access,
    /// One in so many of those that were served.
    pub access_sample: u32,
    /// Where the access log goes.
    pub destination: Destination,
}

/// Checks `[logs]`; every mistake goes to `problems`, and then there is no result. A relative path starts at
/// `folder`, where the configuration file is.
pub fn from_settings(settings: &Settings, folder: &Path, problems: &mut Problems) -> Option<Checked> {
    let before = problems.0.len();
    if let Some(word) = not_a_level(&settings.level) {
        problems.add(
            "logs.level",
            "level_invalid",
            format!("`{word}` is not a level"),
            "write error, warn, info, debug, trace or off, or directives such as `info,tollgate::limits=debug`",
        );
    } else if let Err(error) = EnvFilter::try_new(&settings.level) {
        problems.add(
            "logs.level",
            "level_invalid",
            format!("`{}` is not a level: {error}", settings.level),
            "write error, warn, info, debug or trace, or directives such as `info,tollgate::limits=debug`",
        );
    }
    if settings.access_sample == 0 {
        problems.add(
            "logs.access_sample",
            "sample_invalid",
            "one request in 0 cannot be written",
            "write 1 for every request, or `access = \"off\"` for none",
        );
    }
    let destination = match settings.destination.as_str() {
        "stdout" => Destination::Stdout,
        "stderr" => Destination::Stderr,
        "" => Destination::File(PathBuf::new()),
        path => Destination::File(folder.join(path)),
    };
    if let Destination::File(path) = &destination
        && (path.as_os_str().is_empty() || path.is_dir())
    {
        problems.add(
            "logs.destination",
            "destination_invalid",
            format!("`{}` is not a file", settings.destination),
            "write `stdout`, `stderr` or the path of a file, for example `/var/log/tollgate/access.log`",
        );
    }
    (problems.0.len() == before).then(|| Checked {
        format: settings.format,
        level: settings.level.clone(),
        access: settings.access,
        access_sample: settings.access_sample,
        destination,
    })
}

/// A directive without `=` that is no level. `EnvFilter` takes such a word for a module's name and everything else
/// would be silent.
fn not_a_level(directives: &str) -> Option<&str> {
    const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];
    let bare = |directive: &&str| !directive.contains(['=', '[']);
    let known = |directive: &&str| LEVELS.iter().any(|level| directive.eq_ignore_ascii_case(level));
    directives.split(',').filter(bare).find(|directive| !known(directive))
}
