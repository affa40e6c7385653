//! `Idempotency-Key`: a request that is repeated makes its change once
//! (draft-ietf-httpapi-idempotency-key-header-07).
//!
//! A key is remembered for a day with a hash of its request and what that was answered, less any token: a token's
//! plain text is never stored, so a repeated request is told everything but that. A request that was refused has
//! changed nothing, and its key may be used again.

use aws_lc_rs::digest::{Context, SHA256, digest};
use http::{HeaderMap, HeaderValue};

use super::route::Route;
use super::work::{Answer, Work};
use crate::gateway::refuse_change::for_operator;
use crate::reply::Refusal;
use crate::tokens::store::idempotency::{Begun, IdempotencyKey, IdempotencyKeys, KeptAnswer};

const FIELD: &str = "Idempotency-Key";
const LONGEST_BYTES: usize = 255;

/// The hash of a request's key, if it has one that its resource takes. The key is a string of RFC 9651, section 3.3.3;
/// one without quotation marks is taken too.
pub(super) fn key(route: &Route, headers: &HeaderMap) -> Result<Option<[u8; 32]>, Refusal> {
    let mut fields = headers.get_all("idempotency-key").iter().map(HeaderValue::as_bytes);
    let Some(field) = fields.next().filter(|_| route.takes_key()) else { return Ok(None) };
    let key = field.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")).unwrap_or(field);
    let is_good = (1..=LONGEST_BYTES).contains(&key.len())
        && key.iter().all(|byte| byte.is_ascii_graphic() && !b"\"\\".contains(byte));
    if !is_good || fields.next().is_some() {
        let message = "`Idempotency-Key` is one text of 1 to 255 visible ASCII characters, such as a UUID.";
        return Err(Refusal::InputInvalid { field: FIELD.to_owned(), message: message.to_owned() });
    }
    Ok(Some(hashed(&[key])))
}

/// Does a request's work, once for each key.
pub(super) fn run(route: &Route, work: &Work) -> Result<Answer, Refusal> {
    let Some(key) = work.once else { return (route.run)(work) };
    let fingerprint = hashed(&[work.method.as_str().as_bytes(), work.target.as_bytes(), &work.body]);
    let key = IdempotencyKey { operator: work.operator.to_string(), key, fingerprint };
    let store = work.mint().store();
    let begun = match store.begin_request(work.now, &key) {
        // Nothing can be remembered, and nothing made twice: what this process refuses at once it refuses again.
        Err(error) if error.is_of_the_store() && route.revokes() => return (route.run)(work),
        begun => begun.map_err(|error| for_operator(&error))?,
    };
    match begun {
        Begun::First => first(route, work, &**store, &key),
        Begun::Answered(answer) => repeated(&answer),
        Begun::Unanswered => Err(Refusal::Conflict { message: UNANSWERED.to_owned() }),
        Begun::OtherRequest => {
            Err(Refusal::InputInvalid { field: FIELD.to_owned(), message: OTHER_REQUEST.to_owned() })
        }
    }
}

const UNANSWERED: &str = "The first request with this `Idempotency-Key` is being worked on, or its gateway ended before \
                          it was answered. Look whether the change was made, then use another key.";
const OTHER_REQUEST: &str = "Another request was sent with this `Idempotency-Key` in the last 24 hours. Use a key of its own for each.";

fn first(
    route: &Route,
    work: &Work,
    store: &(impl IdempotencyKeys + ?Sized),
    key: &IdempotencyKey,
) -> Result<Answer, Refusal> {
    let answer = (route.run)(work);
    let noted = match &answer {
        Ok(Answer { status, body, kept, .. }) => {
            let body = kept.as_ref().unwrap_or(body).to_string();
            store.answer_request(key, &KeptAnswer { status: *status, body })
        }
        // It may have made its change: a repeated request is told that it is unanswered.
        Err(Refusal::StoreUnsure) => Ok(()),
        Err(_) => store.forget_request(key),
    };
    // The work is done either way; a repeated request is then told that the first is unanswered.
    if let Err(error) = noted {
        tracing::warn!(%error, "the answer for an idempotency key could not be kept");
    }
    answer
}

fn repeated(answer: &KeptAnswer) -> Result<Answer, Refusal> {
    let body = serde_json::from_str(&answer.body).map_err(|_| Refusal::Internal)?;
    Ok(Answer { status: answer.status, body, kept: None, is_repeated: true })
}

fn hashed(parts: &[&[u8]]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(digest(&SHA256, part).as_ref());
    }
    let mut hash = [0; 32];
    hash.copy_from_slice(context.finish().as_ref());
    hash
}
