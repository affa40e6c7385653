//! `[journal]`: how much of what tokens do is kept.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::domain::Problems;

/// The `[journal]` table.
#[derive(Clone, Debug, serde::Deserialize, serde::Serialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Whether each token's writes and refusals are written down. Default true.
    pub enabled: bool,
    /// The SQLite file that they are written to; made on first use. A relative path starts at the configuration
    /// file. Default `tollgate.journal`.
    pub file: PathBuf,
    /// Whether entries go on to the database of a token store in PostgreSQL, so that reports tell what every gateway
    /// saw; the file then holds what waits for it. Default true; without such a store it means nothing.
    pub shared: bool,
    /// Days that an entry is kept, 1 to 3,650. Default 90.
    pub retention_days: u32,
    /// Entries of one token, 1,000 to 10,000,000; the oldest go first. Default 100,000.
    pub entries_per_token: u64,
    /// Entries in all, 1,000 to 1,000,000,000. Default 2,000,000.
    pub entries: u64,
    /// Bytes of the file, and of the entries in a shared journal, 1 MiB to 1 TiB. Default 1 GiB.
    pub file_bytes: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            enabled: true,
            file: PathBuf::from("tollgate.journal"),
            shared: true,
            retention_days: 90,
            entries_per_token: 100_000,
            entries: 2_000_000,
            file_bytes: 1 << 30,
        }
    }
}

/// How much is kept at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// How old an entry gets.
    pub retention: Duration,
    /// Entries of one token.
    pub entries_per_token: u64,
    /// Entries in all.
    pub entries: u64,
    /// Bytes of the file, or of the entries in a database.
    pub file_bytes: u64,
}

/// Checked `[journal]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// The file; [`None`] if nothing is written down.
    pub file: Option<PathBuf>,
    /// Whether entries go on to the token store's database, if it is one of PostgreSQL.
    pub is_shared: bool,
    /// How much is kept at most.
    pub bounds: Bounds,
}

/// Checks the settings and adds every mistake to `problems`. Relative paths start at `folder`.
pub fn from_settings(settings: &Settings, folder: &Path, problems: &mut Problems) -> Option<Checked> {
    let before = problems.0.len();
    if settings.file.file_name().is_none() {
        problems.add("journal.file", "path_invalid", "the path names no file", "write the path of a file");
    }
    for (key, value, least, most) in [
        ("retention_days", u64::from(settings.retention_days), 1, 3_650),
        ("entries_per_token", settings.entries_per_token, 1_000, 10_000_000),
        ("entries", settings.entries, 1_000, 1_000_000_000),
        ("file_bytes", settings.file_bytes, 1 << 20, 1 << 40),
    ] {
        if !(least..=most).contains(&value) {
            problems.add(
                format!("journal.{key}"),
                "out_of_range",
                format!("{value} is out of range"),
                format!("write a number from {least} to {most}"),
            );
        }
    }
    (problems.0.len() == before).then(|| Checked {
        file: settings.enabled.then(|| folder.join(&settings.file)),
        is_shared: settings.shared,
        bounds: Bounds {
            retention: Duration::from_secs(u64::from(settings.retention_days) * 86_400),
            entries_per_token: settings.entries_per_token,
            entries: settings.entries,
            file_bytes: settings.file_bytes,
        },
    })
}
