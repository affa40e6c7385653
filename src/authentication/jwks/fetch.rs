//! A key set from its URL, and what the issuer says of its freshness.

use std::path::Path;
use std::time::Duration;

use http::{HeaderValue, StatusCode, header};

use super::{Freshness, LoadFailed, Loaded, MAX_SET_BYTES};
use crate::fetch::{Fetch, FetchFailed, Reach, Url};

const DEADLINE: Duration = Duration::from_secs(5);
/// The longest validator that is remembered.
const MAX_ETAG_BYTES: usize = 256;
const ACCEPT: &str = "application/jwk-set+json, application/json";

/// Gets a key set, unless it is still the one of `etag`.
pub(super) async fn get(
    url: &Url,
    ca_file: Option<&Path>,
    etag: Option<&HeaderValue>,
) -> Result<Loaded, LoadFailed> {
    let fetch = Fetch { url, ca_file, reach: Reach::Anywhere, deadline: DEADLINE, max_bytes: MAX_SET_BYTES };
    let answer = fetch.get(ACCEPT, etag).await?;
    let freshness = Freshness::of(&answer.fields);
    match answer.status {
        StatusCode::OK => {}
        StatusCode::NOT_MODIFIED if etag.is_some() => return Ok(Loaded::NotModified { freshness }),
        other => return Err(LoadFailed::Status(other.as_u16())),
    }
    let etag = answer.fields.get(header::ETAG).filter(|etag| etag.len() <= MAX_ETAG_BYTES).cloned();
    Ok(Loaded::Set { text: answer.body.to_vec(), etag, freshness })
}

impl From<FetchFailed> for LoadFailed {
    fn from(failed: FetchFailed) -> Self {
        match failed {
            FetchFailed::Certificates(origin) => Self::Certificates(origin),
            FetchFailed::Unreachable(_) | FetchFailed::Refused(_) => Self::Unreachable(failed.to_string()),
            FetchFailed::TimedOut(_) => Self::TimedOut,
            FetchFailed::TooLong(_) => Self::TooLong,
        }
    }
}

#[cfg(test)]
mod tests;
