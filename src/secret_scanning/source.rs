//! Where GitHub's keys come from.

use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderValue, StatusCode, header};

use super::key_set::MAX_DOCUMENT_BYTES;
use crate::fetch::{Fetch, FetchFailed, Reach, Url, read_file};

const DEADLINE: Duration = Duration::from_secs(5);
/// The longest validator that is remembered.
const MAX_ETAG_BYTES: usize = 256;

/// A document's place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum KeySource {
    /// Fetched; TLS is checked against `ca_file`, or the system's certificates.
    Url { url: Url, ca_file: Option<PathBuf> },
    /// Read from a file.
    File(PathBuf),
}

/// What a load brought.
#[derive(Debug)]
pub(super) enum Loaded {
    /// A text that should be a document, with its validator.
    Document { text: Vec<u8>, etag: Option<HeaderValue> },
    /// The document is still the one with the validator that was sent.
    NotModified,
}

/// Why nothing was loaded.
#[derive(Debug, thiserror::Error)]
pub(super) enum LoadFailed {
    #[error("the file {path} cannot be read: {source}; check secret_scanning.keys_file")]
    File { path: PathBuf, source: std::io::Error },
    #[error("GitHub's keys cannot be fetched: {0}; check secret_scanning.keys_url and the network")]
    Fetch(#[from] FetchFailed),
    #[error("the server of GitHub's keys answered {0}; check secret_scanning.keys_url")]
    Status(u16),
    #[error("the document of GitHub's keys cannot be used: {0}")]
    Document(String),
}

impl KeySource {
    /// Loads the document, at most 256 KiB within 5 s. `etag` is the validator of the one that is known.
    pub(super) async fn load(&self, etag: Option<&HeaderValue>) -> Result<Loaded, LoadFailed> {
        match self {
            Self::Url { url, ca_file } => {
                let fetch = Fetch {
                    url,
                    ca_file: ca_file.as_deref(),
                    reach: Reach::Anywhere,
                    deadline: DEADLINE,
                    max_bytes: MAX_DOCUMENT_BYTES,
                };
                let answer = fetch.get("application/json", etag).await?;
                match answer.status {
                    StatusCode::OK => {}
                    StatusCode::NOT_MODIFIED if etag.is_some() => return Ok(Loaded::NotModified),
                    other => return Err(LoadFailed::Status(other.as_u16())),
                }
                let etag = answer.fields.get(header::ETAG).filter(|etag| etag.len() <= MAX_ETAG_BYTES);
                Ok(Loaded::Document { text: answer.body.to_vec(), etag: etag.cloned() })
            }
            Self::File(path) => match read_file(path.clone(), MAX_DOCUMENT_BYTES).await {
                Ok(Some(text)) => Ok(Loaded::Document { text, etag: None }),
                Ok(None) => {
                    Err(LoadFailed::Document(format!("it is longer than {MAX_DOCUMENT_BYTES} bytes")))
                }
                Err(source) => Err(LoadFailed::File { path: path.clone(), source }),
            },
        }
    }
}
