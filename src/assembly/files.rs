//! Whether files are other than they were.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

/// What tells one state of a file from another; a link is followed, so that one that is turned counts too.
type Stamp = Option<(u64, u64, i64, i64, i64, i64)>;

/// Some files, and how they were when they were last read.
pub(super) struct FileWatch {
    files: Vec<PathBuf>,
    read: Vec<Stamp>,
    seen: Vec<Stamp>,
}

impl FileWatch {
    /// Takes the files as they are now for read.
    pub(super) fn new(files: Vec<PathBuf>) -> Self {
        let read = stamps(&files);
        Self { seen: read.clone(), read, files }
    }

    /// Whether the files are other than those that were read, and the same as at the last look: whoever
    /// writes them has finished. True once for each change.
    pub(super) fn has_changed(&mut self) -> bool {
        let now = stamps(&self.files);
        let is_settled = now == self.seen;
        self.seen = now;
        let changed = is_settled && self.seen != self.read;
        if changed {
            self.read.clone_from(&self.seen);
        }
        changed
    }

    /// Watches these files from now on. What is known of those that were watched before stays, so that a change
    /// while they were read is seen.
    pub(super) fn watch(&mut self, files: Vec<PathBuf>) {
        let known = |file: &PathBuf| self.files.iter().position(|watched| watched == file);
        let stamp = |file: &PathBuf| known(file).map_or_else(|| stamp(file), |at| self.read[at]);
        self.read = files.iter().map(stamp).collect();
        self.seen.clone_from(&self.read);
        self.files = files;
    }

    /// Takes the files as they are now for read.
    pub(super) fn look(&mut self) {
        self.read = stamps(&self.files);
        self.seen.clone_from(&self.read);
    }
}

fn stamps(files: &[PathBuf]) -> Vec<Stamp> {
    files.iter().map(stamp).collect()
}

fn stamp(file: &PathBuf) -> Stamp {
    let found = fs::metadata(file).ok()?;
    let changed = (found.ctime(), found.ctime_nsec());
    Some((found.ino(), found.size(), found.mtime(), found.mtime_nsec(), changed.0, changed.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_counts_once_and_only_when_it_has_settled() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a");
        fs::write(&file, "1").unwrap();
        let mut watch = FileWatch::new(vec![file.clone(), folder.path().join("missing")]);
        assert!(!watch.has_changed());
        fs::write(&file, "22").unwrap();
        assert!(!watch.has_changed(), "it may still be written");
        fs::write(&file, "333").unwrap();
        assert!(!watch.has_changed(), "it was still written");
        assert!(watch.has_changed());
        assert!(!watch.has_changed(), "told already");
        fs::remove_file(&file).unwrap();
        assert!(!watch.has_changed());
        assert!(watch.has_changed());
    }

    #[test]
    fn a_change_while_files_are_read_is_seen_later() {
        let folder = tempfile::tempdir().unwrap();
        let (kept, new) = (folder.path().join("kept"), folder.path().join("new"));
        fs::write(&kept, "1").unwrap();
        let mut watch = FileWatch::new(vec![kept.clone()]);
        watch.look();
        fs::write(&kept, "22").unwrap();
        watch.watch(vec![kept, new]);
        assert!(!watch.has_changed());
        assert!(watch.has_changed());
    }
}
