//! Where a key set comes from.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use http::{HeaderValue, Uri};

#[cfg(test)]
use super::FakeSource;
use super::{Freshness, LoadFailed, MAX_SET_BYTES, fetch};

/// A checked address of a key set: `https`, or `http` on loopback.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::authentication) struct JwksUrl(Uri);

impl JwksUrl {
    /// Checks an address; the error says what is wrong with it.
    pub(in crate::authentication) fn parse(text: &str) -> Result<Self, &'static str> {
        let uri: Uri = text.parse().map_err(|_| "it is not an absolute URL")?;
        let host = uri.host().ok_or("it names no host")?;
        if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err("it carries a user name");
        }
        match uri.scheme_str() {
            Some("https") => Ok(Self(uri)),
            Some("http") if is_loopback(host) => Ok(Self(uri)),
            Some("http") => Err("it is plain http to another machine, where keys can be replaced on the way"),
            Some(_) | None => Err("its scheme is neither https nor http"),
        }
    }

    pub(super) const fn uri(&self) -> &Uri {
        &self.0
    }
}

impl fmt::Display for JwksUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || address.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

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
    Url { url: JwksUrl, ca_file: Option<PathBuf> },
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
            Self::Url { url, ca_file } => fetch::get(url.uri(), ca_file.as_deref(), etag).await,
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
    pub(in crate::authentication) const fn url(&self) -> Option<&JwksUrl> {
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
    let shown = path.clone();
    let failed = |source| LoadFailed::File { path: shown, source };
    match tokio::task::spawn_blocking(move || read_bounded(&path)).await {
        Ok(Ok(bytes)) if bytes.len() > MAX_SET_BYTES => Err(LoadFailed::TooLong),
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) => Err(failed(error)),
        Err(stopped) => Err(failed(std::io::Error::other(stopped))),
    }
}

fn read_bounded(path: &Path) -> std::io::Result<Vec<u8>> {
    use std::io::Read;
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(MAX_SET_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}
