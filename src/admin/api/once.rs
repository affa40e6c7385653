//! `Idempotency-Key`: a request that is repeated makes its change once
//! (draft-ietf-httpapi-idempotency-key-header-07).
//!
//! A key is remembered for a day with a hash of its request and what that was answered, less any token: a token's
//! plain text is never stored, so a repeated request is told everything but that. What makes something keeps its answer
//! in the transaction of the change, so that a request whose gateway was killed is answered, or carried out, when it is
//! repeated; what revokes changes nothing the second time. A request that was refused has changed nothing, and its key
//! may be used again.

use aws_lc_rs::digest::{Context, SHA256, digest};
use http::{HeaderMap, HeaderValue};

use super::route::Route;
use super::work::{Answer, Work};
use super::{tokens, workspaces};
use crate::clock::Now;
use crate::gateway::refuse_change::for_operator;
use crate::reply::Refusal;
use crate::tokens::store::idempotency::{Begun, IdempotencyKey, IdempotencyKeys, KeptAnswer, Made};

const FIELD: &str = "Idempotency-Key";
const LONGEST_BYTES: usize = 255;

/// A request's key, if it has one that its resource takes. The key is a string of RFC 9651, section 3.3.3; one without
/// quotation marks is taken too.
pub(super) fn key(
    route: &Route,
    headers: &HeaderMap,
    work: &Work,
) -> Result<Option<IdempotencyKey>, Refusal> {
    let mut fields = headers.get_all("idempotency-key").iter().map(HeaderValue::as_bytes);
    let Some(field) = fields.next().filter(|_| route.takes_key()) else { return Ok(None) };
    let key = field.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")).unwrap_or(field);
    let is_good = (1..=LONGEST_BYTES).contains(&key.len())
        && key.iter().all(|byte| byte.is_ascii_graphic() && !b"\"\\".contains(byte));
    if !is_good || fields.next().is_some() {
        let message = "`Idempotency-Key` is one text of 1 to 255 visible ASCII characters, such as a UUID.";
        return Err(Refusal::InputInvalid { field: FIELD.to_owned(), message: message.to_owned() });
    }
    let fingerprint = hashed(&[work.method.as_str().as_bytes(), work.target.as_bytes(), &work.body]);
    Ok(Some(IdempotencyKey { operator: work.operator.to_string(), key: hashed(&[key]), fingerprint }))
}

/// Does a request's work, once for each key.
pub(super) fn run(route: &Route, work: &Work) -> Result<Answer, Refusal> {
    let Some(key) = &work.once else { return (route.run)(work) };
    let store = work.mint().store();
    let begun = match store.begin_request(work.now, key) {
        // Nothing can be remembered, and nothing made twice: what this process refuses at once it refuses again.
        Err(error) if error.is_of_the_store() && route.revokes() => return (route.run)(work),
        begun => begun.map_err(|error| for_operator(&error))?,
    };
    match begun {
        // Of several that carry out the same, the store lets one keep its answer, and the others make nothing.
        Begun::First | Begun::Unanswered => carry_out(route, work, &**store, key),
        Begun::Answered(answer) => repeated(&answer),
        Begun::OtherRequest => {
            Err(Refusal::InputInvalid { field: FIELD.to_owned(), message: OTHER_REQUEST.to_owned() })
        }
    }
}

const OTHER_REQUEST: &str = "Another request was sent with this `Idempotency-Key` in the last 24 hours. Use a key of its own for each.";

fn carry_out(
    route: &Route,
    work: &Work,
    store: &(impl IdempotencyKeys + ?Sized),
    key: &IdempotencyKey,
) -> Result<Answer, Refusal> {
    let answer = (route.run)(work);
    let noted = match &answer {
        Ok(_) if route.keeps_answer() => Ok(()),
        Ok(answer) => store.answer_request(key, &written(answer)),
        Err(refusal) => match store.answered_request(key) {
            Ok(Some(kept)) => return repeated(&kept),
            // It may have made its change, whose answer a repeated request is then told.
            Ok(None) if matches!(refusal, Refusal::StoreUnsure) => Ok(()),
            Ok(None) => store.forget_request(key),
            Err(error) => Err(error),
        },
    };
    // A repeated request is carried out again, or told what was kept.
    if let Err(error) = noted {
        tracing::warn!(%error, "the answer for an idempotency key could not be kept");
    }
    answer
}

/// What is kept of the answer to a request that makes something.
pub(super) fn kept(made: Made<'_>, now: Now) -> Option<KeptAnswer> {
    let answer = match made {
        Made::Workspace(record) => workspaces::made(record),
        Made::Token(record) => tokens::made(record, None, now),
    };
    answer.ok().as_ref().map(written)
}

fn written(answer: &Answer) -> KeptAnswer {
    KeptAnswer { status: answer.status, body: answer.body.to_string() }
}

fn repeated(answer: &KeptAnswer) -> Result<Answer, Refusal> {
    let body = serde_json::from_str(&answer.body).map_err(|_| Refusal::Internal)?;
    Ok(Answer { status: answer.status, body, is_repeated: true })
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
