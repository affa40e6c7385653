//! An issuer's last good set on disk, so that a restart needs no issuer.
//!
//! A file for each issuer and URL, readable and writable by its owner alone, replaced whole. What it says is
//! believed as far as an answer of the issuer would be: it is read with the same care, and it is as old as the
//! load that brought it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use super::{LoadFailed, MAX_SET_BYTES};
use crate::clock::Now;
use crate::fetch::Url;

/// The longest file: a set whose every byte is escaped in JSON, and its head.
const MAX_FILE_BYTES: u64 = 2 * MAX_SET_BYTES as u64 + 16 * 1024;
/// The most seconds by which a file may be newer than the clock.
const CLOCK_SKEW_SECONDS: u64 = 60;
const FORMAT: u32 = 1;

/// Where one issuer's set is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::authentication) struct SavedSet {
    folder: PathBuf,
    name: String,
    issuer: String,
    jwks_uri: String,
}

/// What the file says.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Content {
    format: u32,
    issuer: String,
    jwks_uri: String,
    loaded_unix_seconds: u64,
    key_set: String,
}

/// Why a file is not used. The keys are then loaded as on a first start.
#[derive(Debug, thiserror::Error)]
pub(in crate::authentication) enum NotRestored {
    #[error("the file cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    #[error("the file is no regular file, or others than its owner may write it")]
    Permissions,
    #[error("the file is longer than a saved set can be")]
    TooLong,
    #[error("the file is not a saved set of this issuer and jwks_uri")]
    Content,
    #[error("the file was written at a time that is yet to come; check the clock")]
    FromTheFuture,
    #[error("{0}")]
    Set(LoadFailed),
}

impl SavedSet {
    pub(in crate::authentication) fn new(folder: PathBuf, issuer: &str, url: &Url) -> Self {
        let jwks_uri = url.to_string();
        let hash = digest(&SHA256, format!("{issuer}\n{jwks_uri}").as_bytes());
        let name = URL_SAFE_NO_PAD.encode(&hash.as_ref()[..16]);
        Self { folder, name, issuer: issuer.to_owned(), jwks_uri }
    }

    fn path(&self) -> PathBuf {
        self.folder.join(format!("{}.jwks", self.name))
    }

    /// The set's text and when it was loaded, in seconds since 1970; [`None`] where nothing was saved.
    pub(super) fn load(&self, now: Now) -> Result<Option<(Vec<u8>, u64)>, NotRestored> {
        let file = match File::open(self.path()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        let metadata = file.metadata()?;
        if !metadata.is_file() || metadata.permissions().mode() & 0o022 != 0 {
            return Err(NotRestored::Permissions);
        }
        let mut bytes = Vec::new();
        file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > MAX_FILE_BYTES {
            return Err(NotRestored::TooLong);
        }
        let content: Content = serde_json::from_slice(&bytes).map_err(|_| NotRestored::Content)?;
        if (content.format, &content.issuer, &content.jwks_uri) != (FORMAT, &self.issuer, &self.jwks_uri) {
            return Err(NotRestored::Content);
        }
        if content.loaded_unix_seconds > now.unix_seconds() + CLOCK_SKEW_SECONDS {
            return Err(NotRestored::FromTheFuture);
        }
        Ok(Some((content.key_set.into_bytes(), content.loaded_unix_seconds)))
    }

    /// Replaces the file. Whatever fails or ends the process meanwhile, the file is the old or the new one.
    pub(in crate::authentication) fn save(&self, text: &[u8], loaded_unix_seconds: u64) -> io::Result<()> {
        let key_set = std::str::from_utf8(text).map_err(io::Error::other)?.to_owned();
        let (issuer, jwks_uri) = (self.issuer.clone(), self.jwks_uri.clone());
        let content = Content { format: FORMAT, issuer, jwks_uri, loaded_unix_seconds, key_set };
        let bytes = serde_json::to_vec(&content)?;
        match fs::DirBuilder::new().mode(0o700).create(&self.folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let unfinished = self.folder.join(format!("{}.{}.new", self.name, std::process::id()));
        let replaced = write_whole(&unfinished, &bytes).and_then(|()| fs::rename(&unfinished, self.path()));
        if replaced.is_err() {
            drop(fs::remove_file(&unfinished));
        }
        replaced?;
        File::open(&self.folder)?.sync_all()
    }
}

fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    // One that a process of the same id left behind.
    drop(fs::remove_file(path));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests;
