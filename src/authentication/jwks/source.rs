//! Where a key set comes from.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use http::Uri;

#[cfg(test)]
use super::FakeSource;
use super::{LoadFailed, MAX_SET_BYTES, fetch};

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
    /// Loads the bytes of the set, at most 256 KiB within 5 s.
    pub(super) async fn load(&self) -> Result<Vec<u8>, LoadFailed> {
        match self {
            Self::Url { url, ca_file } => fetch::get(url.uri(), ca_file.as_deref()).await,
            Self::File(path) => read(path.clone()).await,
            #[cfg(test)]
            Self::Fake(source) => source.load().await,
        }
    }

    /// When the file last changed; [`None`] for what is not a file or cannot be read.
    pub(super) async fn changed_at(&self) -> Option<SystemTime> {
        let Self::File(path) = self else { return None };
        let path = path.clone();
        let read = move || std::fs::metadata(path)?.modified();
        tokio::task::spawn_blocking(read).await.ok()?.ok()
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
