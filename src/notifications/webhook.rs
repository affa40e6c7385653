//! A message as a signed POST.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::Checked;
use crate::fetch::{Fetch, Url};

/// For one attempt, from the name's resolution to the head of the answer.
const DEADLINE: Duration = Duration::from_secs(10);

/// Why a webhook was not taken.
#[derive(Debug)]
pub(super) enum Refusal {
    /// It may be tried again.
    Failed(String),
    /// The receiver wants no more.
    Gone,
}

/// What is posted, signed.
pub(super) struct Signed<'m> {
    pub(super) message_id: &'m str,
    pub(super) unix_seconds: u64,
    pub(super) signatures: String,
    pub(super) body: Bytes,
}

/// Posts a message once. Any answer but 2xx is a failure, a redirect too; 410 says not to try again (Standard
/// Webhooks, "Response status codes").
pub(super) async fn post(address: &str, signed: Signed<'_>, settings: &Checked) -> Result<(), Refusal> {
    let failed = |why: &dyn std::fmt::Display| Refusal::Failed(why.to_string());
    let url = Url::parse(address).map_err(|why| failed(&why))?;
    let fetch = Fetch {
        url: &url,
        ca_file: settings.webhook_ca_file.as_deref(),
        reach: settings.reach(),
        deadline: DEADLINE,
        max_bytes: 0,
    };
    let fields = fields(&signed).map_err(|why| failed(&why))?;
    let answer = fetch.post(fields, signed.body).await.map_err(|why| failed(&why))?;
    match answer.status {
        status if status.is_success() => Ok(()),
        StatusCode::GONE => Err(Refusal::Gone),
        status => Err(Refusal::Failed(format!("the receiver answered {}", status.as_u16()))),
    }
}

fn fields(signed: &Signed<'_>) -> Result<HeaderMap, header::InvalidHeaderValue> {
    let mut fields = HeaderMap::new();
    fields.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    fields.insert("webhook-id", HeaderValue::from_str(signed.message_id)?);
    fields.insert("webhook-timestamp", HeaderValue::from(signed.unix_seconds));
    fields.insert("webhook-signature", HeaderValue::from_str(&signed.signatures)?);
    Ok(fields)
}
