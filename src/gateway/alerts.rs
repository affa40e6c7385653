//! Alerts of leaked tokens: public, never forwarded, charged to nobody but the address of a forged one.

use std::net::IpAddr;

use super::refuse;
use crate::message::{FieldName, Head, RequestBody};
use crate::reply::{Refusal, Rendered, json_page};
use crate::secret_scanning::{Fault, Receiver};

/// Takes an alert. A second value of `true` in the error is a forgery, which counts against its address.
pub(super) async fn take(
    receiver: &Receiver,
    head: &Head,
    body: RequestBody<'_>,
    (from, request_id): (IpAddr, &str),
) -> Result<Rendered, (Refusal, bool)> {
    check(head).map_err(|refusal| (refusal, false))?;
    match receiver.receive(head, body, from).await {
        Ok(answer) => {
            let mut page = Rendered::default();
            json_page(answer, request_id, &mut page);
            Ok(page)
        }
        Err(fault) => {
            let is_forged = matches!(fault, Fault::Signature(_));
            Err((refuse::alert(&fault), is_forged))
        }
    }
}

/// What the head alone shows.
pub(super) fn check(head: &Head) -> Result<(), Refusal> {
    if head.method() != b"POST" {
        return Err(Refusal::MethodNotAllowed { allow: "POST".to_owned() });
    }
    if !is_json(head) {
        return Err(Refusal::MediaTypeUnsupported { choices: vec!["application/json".to_owned()] });
    }
    Ok(())
}

/// Whether the body is said to be JSON, or nothing is said of it.
fn is_json(head: &Head) -> bool {
    let Some(value) = head.first(FieldName::ContentType) else { return true };
    let essence = value.split(|byte| *byte == b';').next().unwrap_or_default();
    essence.trim_ascii().eq_ignore_ascii_case(b"application/json")
}
