//! Where a key set comes from.

use std::path::PathBuf;
use std::time::SystemTime;

use http::HeaderValue;

#[cfg(test)]
use super::FakeSource;
use super::{Freshness, LoadFailed, MAX_SET_BYTES, fetch};
use crate::fetch::{Url, read_file};

/// What a load brought.
#[derive(Debug)]
pub(in crate::authentication) enum Loaded {
    /// A text that should be a key set, with its validator.
    Set { text: Vec<u8>, etag: Option<HeaderValue>, freshness: Freshness },
    /// The set is still the one with the validator that was sent.
    NotModified { freshness: Freshness },
}

impl Loaded {
    /// A text without a word on its freshness.
    pub(super) fn text(text: Vec<u8>) -> Self {
        Self::Set { text, etag: None, freshness: Freshness::Unsaid }
    }
}

/// A key set's place.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::authentication) enum Source {
    /// Fetched over HTTP; TLS is checked against `ca_file`, or the system's certificates.
    Url { url: Url, ca_file: Option<PathBuf> },
    /// Read from a file, whenever it changes.
    File(PathBuf),
    /// Scripted by a test.
    #[cfg(test)]
    Fake(FakeSource),
}

impl Source {
    /// Loads the bytes of the set, at most 256 KiB within 5 s. `etag` is the validator of the set that is known.
    pub(super) async fn load(&self, etag: Option<&HeaderValue>) -> Result<Loaded, LoadFailed> {
        match self {
            Self::Url { url, ca_file } => fetch::get(url, ca_file.as_deref(), etag).await,
            Self::File(path) => read(path.clone()).await.map(Loaded::text),
            #[cfg(test)]
            Self::Fake(source) => source.load(etag).await,
        }
    }

    /// When the file last changed; [`None`] for what is not a file or cannot be read.
    pub(super) async fn changed_at(&self) -> Option<SystemTime> {
        let Self::File(path) = self else { return None };
        let path = path.clone();
        let read = move || std::fs::metadata(path)?.modified();
        tokio::task::spawn_blocking(read).await.ok()?.ok()
    }

    /// The address, where it is one.
    pub(in crate::authentication) const fn url(&self) -> Option<&Url> {
        match self {
            Self::Url { url, .. } => Some(url),
            Self::File(_) => None,
            #[cfg(test)]
            Self::Fake(_) => None,
        }
    }

    /// Whether it is watched for changes between refreshes.
    pub(super) const fn is_file(&self) -> bool {
        matches!(self, Self::File(_))
    }
}

async fn read(path: PathBuf) -> Result<Vec<u8>, LoadFailed> {
    match read_file(path.clone(), MAX_SET_BYTES).await {
        Ok(bytes) => bytes.ok_or(LoadFailed::TooLong),
        Err(source) => Err(LoadFailed::File { path, source }),
    }
}
