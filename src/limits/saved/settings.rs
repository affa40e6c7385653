//! Where and how often the state is saved.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::domain::Problems;
use crate::limits::Settings;

/// Checked `limits.snapshot_file` and `limits.snapshot_seconds`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saving {
    /// The file; [`None`] saves nothing.
    pub file: Option<PathBuf>,
    /// Time between two savings.
    pub every: Duration,
}

impl Saving {
    /// Checks the settings and adds every mistake to `problems`. A relative path starts at `folder`, where the
    /// configuration file is; `taken` are other files that the gateway writes, by their keys.
    pub fn from_settings(
        settings: &Settings,
        folder: &Path,
        taken: &[(&str, &Path)],
        problems: &mut Problems,
    ) -> Option<Self> {
        let before = problems.0.len();
        let file = &settings.snapshot_file;
        if *file != Path::new("") && file.file_name().is_none() {
            let fix = "write the path of a file, or \"\" to save nothing";
            problems.add("limits.snapshot_file", "path_invalid", "the path names no file", fix);
        }
        if let Some((key, _)) = taken.iter().find(|(_, other)| *other == *file && *file != Path::new("")) {
            problems.add(
                "limits.snapshot_file",
                "limits_snapshot_taken",
                format!("`{key}` is that file already"),
                "give the state of limits a file of its own, for example \"tollgate.limits\"",
            );
        }
        if !(1..=3_600).contains(&settings.snapshot_seconds) {
            problems.add(
                "limits.snapshot_seconds",
                "out_of_range",
                format!("{} is not from 1 to 3600", settings.snapshot_seconds),
                "write a number from 1 to 3600",
            );
        }
        let file = file.file_name().map(|_| folder.join(file));
        let every = Duration::from_secs(settings.snapshot_seconds);
        (problems.0.len() == before).then_some(Self { file, every })
    }
}
