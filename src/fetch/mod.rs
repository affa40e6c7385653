//! One bounded exchange with a server outside: an issuer's keys, GitHub's, a webhook.
//!
//! Decides which address of a name is connected to, and when an exchange is given up. Invariants: one request, one
//! answer, within one deadline for everything from the name's resolution to the last byte; no redirects, no cookies,
//! no retries; an answer is read up to a stated length and no further; the address that was checked is the one that
//! is connected to, so that a name which answers otherwise the second time leads nowhere else. It refuses to know
//! what is fetched and for whom.

mod exchange;
mod file;
mod reach;
mod tls;
mod url;

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};

pub use file::read as read_file;
pub use reach::Reach;
pub use tls::config as client_tls;
pub use url::Url;

/// With whom, and how much of it at most.
#[derive(Clone, Copy, Debug)]
pub struct Fetch<'a> {
    /// Where.
    pub url: &'a Url,
    /// The certificates that the server's is checked against; [`None`] takes the system's.
    pub ca_file: Option<&'a Path>,
    /// Which addresses may be connected to.
    pub reach: Reach,
    /// For everything together.
    pub deadline: Duration,
    /// The longest body that is read; 0 leaves it unread.
    pub max_bytes: usize,
}

/// What a server answered, whatever its status.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its status; a redirect is not followed.
    pub status: StatusCode,
    /// Its fields.
    pub fields: HeaderMap,
    /// Its body where the status is 2xx; empty otherwise.
    pub body: Bytes,
}

/// Why there is no answer. For a request with a body this does not say that the server did not act on it, except
/// where nothing was sent: [`FetchFailed::Refused`], [`FetchFailed::Certificates`].
#[derive(Debug, thiserror::Error)]
pub enum FetchFailed {
    /// The name has only addresses that may not be connected to.
    #[error("{0} is not an address of the public internet, and only those may be connected to")]
    Refused(IpAddr),
    /// The certificates that the server's is checked against cannot be read.
    #[error("there is no usable certificate in {0}")]
    Certificates(String),
    /// No connection, or it broke.
    #[error("{0}")]
    Unreachable(String),
    /// The deadline passed.
    #[error("there was no whole answer within {} s", .0.as_secs_f32())]
    TimedOut(Duration),
    /// The body is longer than is read.
    #[error("the answer is longer than {0} bytes")]
    TooLong(usize),
}

impl Fetch<'_> {
    /// Gets it, unless it is still what has this validator: then the status is 304.
    pub async fn get(&self, accept: &'static str, etag: Option<&HeaderValue>) -> Result<Answer, FetchFailed> {
        let mut fields = HeaderMap::new();
        fields.insert(header::ACCEPT, HeaderValue::from_static(accept));
        if let Some(etag) = etag {
            fields.insert(header::IF_NONE_MATCH, etag.clone());
        }
        self.exchange(Method::GET, fields, Bytes::new()).await
    }

    /// Posts a body with these fields; `Host`, `User-Agent` and the framing are ours.
    pub async fn post(&self, fields: HeaderMap, body: Bytes) -> Result<Answer, FetchFailed> {
        self.exchange(Method::POST, fields, body).await
    }
}

#[cfg(test)]
mod tests;
