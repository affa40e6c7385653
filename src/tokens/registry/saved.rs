//! The read model in a file, so that a restart reads one file and the end of the log instead of the whole store.
//!
//! The file has every row of the read model, and no token and no pepper: of each token the first 128 bits of its keyed
//! hash. It is stamped with the log entry up to which it is and with that entry's hash, which follows from all entries
//! before: another store's file, or one from before a store was put back, is not taken. A file that is damaged,
//! foreign, or of another format is told and passed over. It can be started from without the store: then the stamp is
//! held against the store's log once that can be read.
//!
//! # Decision
//!
//! It is written while changes go on. What changes meanwhile is in the log behind the stamp, and is applied again;
//! so it does not matter which of both states the file has, and no change waits for it.

mod format;
mod saver;

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::entry::Grants;
use super::record::{PackedId, Values};
use super::{Mint, Registry};
use crate::clock::Now;
use crate::domain::TokenId;
use crate::tokens::pepper_file::sync_folder_of;
use crate::tokens::store::Row;
use crate::tokens::{Error, Scheme};
use format::{Reader, SavedGrants, SavedRow, SavedWorkspace, Stamp, Writer};
pub use saver::Saver;

const WRITE_BUFFER_BYTES: usize = 1 << 20;

/// Why a file is not taken.
#[derive(Debug, thiserror::Error)]
enum NotTaken {
    #[error("it cannot be read: {0}")]
    Io(#[from] io::Error),
    #[error("it is of another format")]
    Format,
    #[error("it is damaged")]
    Damaged,
    #[error("it was made with another pepper")]
    Pepper,
    #[error("it names the region `{0}`, which the configuration does not have")]
    Region(String),
    #[error("it is of another store, or of a state that the store no longer has")]
    Foreign,
}

impl Registry {
    /// As [`Registry::open`], from a saved file and the log behind it if there is such a file and it is good.
    pub fn open_saved(mint: &Mint, file: Option<&Path>, now: Now) -> Result<Arc<Self>, Error> {
        let Some(file) = file else { return Self::open(mint, now) };
        match Self::restored(mint, file, now) {
            Ok(Some(registry)) => return Ok(Arc::new(registry)),
            Ok(None) => {}
            Err(reason) => {
                tracing::warn!(file = %file.display(), %reason, "the saved registry is not used, the store is read whole");
            }
        }
        Self::open(mint, now)
    }

    /// From a saved file alone, where the store is away and why is known; [`None`], which is told, if there is no good
    /// file. It follows the store once that can be read.
    pub(in crate::tokens) fn open_away(
        mint: &Mint,
        file: &Path,
        away: &Error,
        now: Now,
    ) -> Option<Arc<Self>> {
        let reason = match Self::unfollowed(mint, file) {
            Ok(Some((registry, stamp))) => {
                let age = Duration::from_millis(now.unix_millis.saturating_sub(stamp.unix_millis));
                registry.reached_store.store(false, Ordering::Release);
                registry.is_followed.store(false, Ordering::Release);
                registry.succeeded(Now { unix_millis: stamp.unix_millis, ..now });
                registry.age_at_start_nanos.store(age.as_nanos() as u64, Ordering::Release);
                registry.error.store(Some(Arc::new(away.to_string())));
                tracing::error!(
                    file = %file.display(), saved_seconds_ago = age.as_secs(), error = %away,
                    "the token store is away: the saved registry is all that is known, and nothing is changed until \
                     the store can be read"
                );
                return Some(Arc::new(registry));
            }
            Ok(None) => "there is none".to_owned(),
            Err(reason) => reason.to_string(),
        };
        tracing::error!(file = %file.display(), reason, "the saved registry cannot stand in for the token store");
        None
    }

    /// The registry of a file, brought up to date; [`None`] if there is no file.
    fn restored(mint: &Mint, file: &Path, now: Now) -> Result<Option<Self>, NotTaken> {
        let Some((registry, stamp)) = Self::unfollowed(mint, file)? else { return Ok(None) };
        let known = registry.store.log(stamp.seq.saturating_sub(1), 1).map_err(io::Error::other)?;
        if !known.first().is_some_and(|entry| entry.seq == stamp.seq && entry.hash == stamp.hash) {
            return Err(NotTaken::Foreign);
        }
        registry.sync(now).map_err(io::Error::other)?;
        Ok(Some(registry))
    }

    /// The registry of a file as it was saved; [`None`] if there is no file.
    fn unfollowed(mint: &Mint, file: &Path) -> Result<Option<(Self, Stamp)>, NotTaken> {
        let opened = match File::open(file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        let registry = Self::empty(mint);
        let stamp =
            registry.read_saved(&mut Reader::new(BufReader::with_capacity(WRITE_BUFFER_BYTES, opened)))?;
        Ok(Some((registry, stamp)))
    }

    fn read_saved(&self, reader: &mut Reader) -> Result<Stamp, NotTaken> {
        let mut loader = self.loader();
        let stamp = reader.stamp()?;
        for known in &stamp.peppers {
            if !self.peppers.fingerprints().any(|ours| ours == *known) {
                return Err(NotTaken::Pepper);
            }
        }
        self.has_foreign.store(stamp.has_foreign, Ordering::Relaxed);
        self.has_sha256.store(stamp.has_sha256, Ordering::Relaxed);
        let mut numbers = Vec::new();
        for _ in 0..reader.count()? {
            let grants = reader.json::<SavedGrants>()?.grants(|scope| loader.scope(scope));
            let grants = grants.ok_or(NotTaken::Damaged)?;
            numbers.push(loader.grants.hold(grants, &self.grants));
        }
        for number in 0..reader.count()? {
            let saved: SavedWorkspace = reader.json()?;
            let region = self.regions.by_name(&saved.region);
            let region = region.ok_or_else(|| NotTaken::Region(saved.region.clone()))?;
            let workspace = saved.workspace(region);
            if self.workspace_number(&workspace.id) != number {
                return Err(NotTaken::Damaged);
            }
            self.workspaces.set(number, Some(Arc::new(workspace)));
        }
        loop {
            let batch = reader.count()?;
            if batch == 0 {
                break;
            }
            for _ in 0..batch {
                let (id, values) = reader.token()?;
                let grants = *numbers.get(values.grants as usize).ok_or(NotTaken::Damaged)?;
                loader.grants.hold_again(grants, &self.grants);
                let id = PackedId::of(&id).unwrap_or_else(|| self.list_id(&mut loader, &id));
                let put = self.tokens.put(&mut loader.writer, Values { id, grants, ..values });
                if put != Ok(None) {
                    return Err(NotTaken::Damaged);
                }
            }
        }
        let mut few = Vec::new();
        for _ in 0..reader.count()? {
            few.push(reader.json::<SavedRow>()?.row());
        }
        reader.end()?;
        for row in few {
            self.apply(&mut loader, row);
        }
        for number in numbers {
            loader.grants.release(number, &self.grants);
        }
        self.followed_to(stamp.seq, stamp.hash);
        self.head_seq.store(stamp.seq, Ordering::Release);
        Ok(stamp)
    }

    /// Writes the read model to a file, for [`Registry::open_saved`]; answers with the log entry up to which it
    /// is, [`None`] if nothing was written, because there is nothing or a workspace has no configured region. Takes
    /// seconds where there are millions of tokens, and holds nobody up. Blocks.
    pub fn save(&self, file: &Path, now: Now) -> Result<Option<u64>, Error> {
        let (seq, hash) = self.followed_head();
        if seq == 0 || self.loader().all_placed().is_err() {
            return Ok(None);
        }
        // Those that changed after the stamp are in the log behind it, and are applied again.
        let mut few = Vec::new();
        self.store.few(&mut |row| few.push(row))?;
        let stamp = Stamp {
            seq,
            hash,
            unix_millis: now.unix_millis,
            peppers: self.peppers.fingerprints().collect(),
            has_foreign: self.has_foreign.load(Ordering::Relaxed),
            has_sha256: self.has_sha256.load(Ordering::Relaxed),
        };
        let unfinished = unfinished(file);
        let written = self.write_saved(&unfinished, &stamp, &few).and_then(|()| {
            fs::rename(&unfinished, file)?;
            sync_folder_of(file)
        });
        if written.is_err() {
            drop(fs::remove_file(&unfinished));
        }
        written.map(|()| Some(seq)).map_err(|source| Error::file(file, "write", source))
    }

    fn write_saved(&self, file: &Path, stamp: &Stamp, few: &[Row]) -> io::Result<()> {
        drop(fs::remove_file(file));
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)?;
        let mut writer = Writer::new(BufWriter::with_capacity(WRITE_BUFFER_BYTES, file));
        writer.stamp(stamp)?;
        let grants = self.write_grants(&mut writer)?;
        let workspaces = self.write_workspaces(&mut writer)?;
        // How many there are is known at the end: tokens come and go meanwhile.
        let mut rows: Vec<(TokenId, Values)> = Vec::with_capacity(1_024);
        self.tokens.try_for_each(|_, values| {
            let number = self.grants.get(values.grants).and_then(|held| grants.get(&held).copied());
            // What is new since the stamp is in the log behind it.
            if let (Some(number), Some(id)) = (number, self.id_of(values.id))
                && values.workspace < workspaces
            {
                rows.push((id, Values { grants: number, used_minute: values.written_minute, ..*values }));
            }
            if rows.len() == rows.capacity() { writer.tokens(&mut rows) } else { Ok(()) }
        })?;
        writer.tokens(&mut rows)?;
        writer.count(0)?;
        let few: Vec<SavedRow> = few.iter().filter_map(SavedRow::of).collect();
        writer.count(few.len() as u32)?;
        for row in &few {
            writer.json(row)?;
        }
        let mut file = writer.end()?.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.flush()?;
        file.sync_all()
    }

    /// Writes everything that tokens may do, and answers with the numbers that it has in the file.
    fn write_grants(&self, writer: &mut Writer) -> io::Result<HashMap<Arc<Grants>, u32>> {
        let mut all: Vec<Arc<Grants>> = Vec::new();
        let mut numbers = HashMap::new();
        let collected: Result<(), io::Error> = self.tokens.try_for_each(|_, values| {
            if let Some(grants) = self.grants.get(values.grants)
                && !numbers.contains_key(&grants)
            {
                numbers.insert(Arc::clone(&grants), all.len() as u32);
                all.push(grants);
            }
            Ok(())
        });
        collected?;
        writer.count(all.len() as u32)?;
        for grants in &all {
            writer.json(&SavedGrants::of(grants))?;
        }
        Ok(numbers)
    }

    /// Writes every workspace by its number, and answers with how many there are.
    fn write_workspaces(&self, writer: &mut Writer) -> io::Result<u32> {
        let known = self.workspace_numbers.len();
        let mut all = Vec::new();
        while let Some(workspace) = self.workspaces.get(all.len() as u32) {
            all.push(workspace);
        }
        if all.len() < known {
            return Err(io::Error::other("a workspace has no configured region at the moment"));
        }
        writer.count(all.len() as u32)?;
        for workspace in &all {
            writer.json(&SavedWorkspace::of(workspace, self.regions.name(workspace.region)))?;
        }
        Ok(all.len() as u32)
    }
}

/// Where a file is written before it takes its name.
fn unfinished(file: &Path) -> PathBuf {
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(".unfinished");
    file.with_file_name(name)
}

#[cfg(test)]
mod tests;
