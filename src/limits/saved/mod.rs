//! The live state in a file, so that a restart is no amnesty.
//!
//! Saved are the buckets and counts that are not full, and failed authentications by address: under numbers of the
//! registry and under keyed hashes with their key, so that the file names nobody and holds no credential. It is written
//! while requests go on, a small part of the cells at a time, to a file of its own that then takes the name.
//!
//! Invariants: after a clean end nothing that was used is forgotten; after a kill at most what was used since the last
//! file was begun; what passed meanwhile by the wall clock has come back and not more, and a clock that was set back
//! gives nothing. A part that is damaged is left out and told; a file of another installation is left out whole.
//!
//! It refuses to know policies: a cell is saved with the quota that it was counted under, and is carried over like after
//! any other change.

mod format;
mod saver;
mod settings;

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::Counters;
use crate::clock::Now;
use format::{Head, Kind, Part, Reader, Writer};

pub(super) use format::SavedCell;
pub use saver::Saver;
pub use settings::Saving;

const BUFFER_BYTES: usize = 1 << 18;
/// Steps in which the table of failed authentications is looked through.
const FAILURE_PARTS: usize = 64;

/// Why a saved state is not used, or not whole.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotRestored {
    #[error("it cannot be read: {0}")]
    Io(#[from] io::Error),
    #[error("it is no regular file, or others than its owner may write it")]
    Permissions,
    #[error("it is of another format")]
    Format,
    #[error("it is of another installation: its key comes from another pepper")]
    Foreign,
    #[error("it is damaged")]
    Damaged,
    #[error("it ends too early")]
    Truncated,
}

/// What came out of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Restored {
    /// Buckets and counts that are in force again.
    pub(super) cells: usize,
    /// Those that `limits.memory_bytes` has no room for.
    without_room: usize,
    /// Addresses with failed authentications.
    failures: usize,
    /// Parts that were left out.
    pub(super) damaged_parts: usize,
    /// By how much the wall clock stood before the file's time.
    clock_behind: Option<Duration>,
}

impl Counters {
    /// The state of a file, if there is such a file and it is good, or new counters under `secret`; says in the log what
    /// became of it. `keys` are those by which it may have been written, the newest first; `most` bounds the cells.
    pub fn restored(file: &Path, keys: &[[u8; 32]], secret: [u8; 32], most: usize, now: Now) -> Arc<Self> {
        match Self::read(file, keys, most, now) {
            Ok(None) => {}
            Ok(Some((counters, restored))) => {
                tell(file, &restored);
                return counters;
            }
            Err(reason) => {
                let file = file.display();
                tracing::warn!(%file, %reason, "the saved limits are not used; every bucket starts full");
            }
        }
        Self::with_room(secret, most)
    }

    /// [`None`] if there is no file.
    pub(super) fn read(
        file: &Path,
        keys: &[[u8; 32]],
        most: usize,
        now: Now,
    ) -> Result<Option<(Arc<Self>, Restored)>, NotRestored> {
        let opened = match File::open(file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        let metadata = opened.metadata()?;
        if !metadata.is_file() || metadata.permissions().mode() & 0o022 != 0 {
            return Err(NotRestored::Permissions);
        }
        let (mut reader, head) = Reader::open(BufReader::with_capacity(BUFFER_BYTES, opened), keys)?;
        let counters = Self::with_room(head.secret, most);
        if !(counters.policies.restore(head.policies) && counters.endpoints.restore(head.endpoints)) {
            return Err(NotRestored::Damaged);
        }
        let restored = counters.restore(&mut reader, head.unix_millis, now);
        Ok(Some((counters, restored)))
    }

    fn restore(&self, reader: &mut Reader<impl io::Read>, unix_millis: u64, now: Now) -> Restored {
        // Readings of the wall clock are whole milliseconds, so that what passed may be one less than they say.
        let passed_millis = now.unix_millis.saturating_sub(unix_millis).saturating_sub(1);
        let passed_nanos = passed_millis.saturating_mul(1_000_000);
        let behind = unix_millis.saturating_sub(now.unix_millis);
        let clock_behind = (behind > 0).then(|| Duration::from_millis(behind));
        let mut restored = Restored { clock_behind, ..Restored::default() };
        loop {
            match reader.part() {
                Ok(Some(Part::Cells(cells))) => {
                    for (key, cell) in cells.into_iter().filter_map(|saved| saved.after(passed_nanos, now)) {
                        let kept = self.cells.put_back(key, cell);
                        restored.cells += usize::from(kept);
                        restored.without_room += usize::from(!kept);
                    }
                }
                Ok(Some(Part::Failures(failures))) => {
                    for (holder, debt) in failures.into_iter().filter(|(_, debt)| *debt > passed_nanos) {
                        let tat = now.monotonic_nanos.saturating_add(debt - passed_nanos);
                        restored.failures += usize::from(self.failures.put_back(holder, tat));
                    }
                }
                Ok(None) => return restored,
                Err(NotRestored::Damaged) => restored.damaged_parts += 1,
                // Where the next part begins is not known; what was read is as good as ever.
                Err(_) => {
                    restored.damaged_parts += 1;
                    return restored;
                }
            }
        }
    }

    /// Writes the state to a file, for [`Counters::restored`]. `pause` is called between small parts of the work, with how
    /// many of how many are done.
    /// Whatever fails or ends the process meanwhile, the file is the old or the new one. Blocks.
    pub(super) fn save(
        &self,
        file: &Path,
        key: &[u8; 32],
        now: Now,
        mut pause: impl FnMut(usize, usize),
    ) -> io::Result<()> {
        let unfinished = unfinished(file);
        let written = self.write(&unfinished, key, now, &mut pause).and_then(|()| {
            fs::rename(&unfinished, file)?;
            let folder = file.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."));
            File::open(folder)?.sync_all()
        });
        if written.is_err() {
            drop(fs::remove_file(&unfinished));
        }
        written
    }

    fn write(
        &self,
        file: &Path,
        key: &[u8; 32],
        now: Now,
        pause: &mut impl FnMut(usize, usize),
    ) -> io::Result<()> {
        // One that a process of the same id left behind.
        drop(fs::remove_file(file));
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)?;
        let mut writer = Writer::new(BufWriter::with_capacity(BUFFER_BYTES, file), key);
        writer.head(&Head {
            secret: self.secret,
            unix_millis: now.unix_millis,
            policies: self.policies.all(),
            endpoints: self.endpoints.all(),
        })?;
        let (mut done, mut cells) = (0, Vec::new());
        while done < self.cells.parts() {
            self.cells.copy_part(done, now, &mut cells);
            writer.part(Kind::Cells, &cells)?;
            cells.clear();
            done += 1;
            pause(done, self.cells.parts() + FAILURE_PARTS);
        }
        let mut failures = Vec::new();
        for part in 0..FAILURE_PARTS {
            self.failures.copy_part(part, FAILURE_PARTS, now.monotonic_nanos, &mut failures);
            writer.part(Kind::Failures, &failures)?;
            failures.clear();
            pause(done + part + 1, done + FAILURE_PARTS);
        }
        let mut file = writer.end()?.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.flush()?;
        file.sync_all()
    }
}

fn tell(file: &Path, restored: &Restored) {
    let Restored { cells, without_room, failures, damaged_parts, clock_behind } = *restored;
    let file = file.display();
    tracing::info!(%file, cells, failures, "the saved limits are in force again");
    if damaged_parts > 0 {
        tracing::warn!(%file, damaged_parts, "the saved limits are damaged in part; buckets of that part start full");
    }
    if without_room > 0 {
        tracing::warn!(
            without_room,
            "the saved limits have more buckets than `limits.memory_bytes` has room for; raise it"
        );
    }
    if let Some(behind) = clock_behind {
        let seconds = behind.as_secs_f64();
        tracing::warn!(
            seconds,
            "the clock was set back since the limits were saved; nothing has come back meanwhile"
        );
    }
}

/// Where a file is written before it takes its name.
pub(super) fn unfinished(file: &Path) -> PathBuf {
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.unfinished", std::process::id()));
    file.with_file_name(name)
}
