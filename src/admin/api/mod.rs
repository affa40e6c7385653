//! The admin API: which resource a request is for, its body, and its work off the listener's thread.
//!
//! | file | holds |
//! |---|---|
//! | `route` | what a resource is, for requests and for the description alike |
//! | `work` | what a resource's function is given, and what it gives back |
//! | `once` | `Idempotency-Key` |
//! | `openapi` | the description at `/openapi.json` |
//! | the others | the resources |

mod audit;
mod jwts;
mod once;
mod openapi;
mod operators;
pub(super) mod overrides;
mod page;
mod requests;
mod route;
mod tokens;
mod work;
mod workspaces;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode, header};
use http_body::Body;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use self::route::{Found, Route};
use self::work::{Answer, Work};
use super::Operator;
use super::answer::document;
use crate::reply::Refusal;
use crate::telemetry::has_token;

/// What a body can end with.
pub(super) type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// How many requests work on the registry at the same time.
pub(super) const MOST_AT_WORK: usize = 8;
/// How long a request waits for its turn.
const TURN: Duration = Duration::from_secs(2);
/// How long the work itself is waited for: a store that hangs is answered 503, whatever becomes of the work.
const WORK: Duration = Duration::from_secs(20);
/// The longest body that is taken.
const MOST_BODY_BYTES: usize = 64 * 1024;

/// Every resource, in the order of the description.
fn routes() -> impl Iterator<Item = &'static Route> {
    [
        workspaces::ROUTES,
        tokens::ROUTES,
        requests::ROUTES,
        overrides::ROUTES,
        jwts::ROUTES,
        operators::ROUTES,
        audit::ROUTES,
    ]
    .into_iter()
    .flatten()
}

pub(super) struct Api {
    operator: Arc<dyn Operator>,
    turns: Arc<Semaphore>,
    description: Value,
    verification: Arc<audit::Verification>,
}

impl Api {
    pub(super) fn new(operator: Arc<dyn Operator>) -> Self {
        Self {
            operator,
            turns: Arc::new(Semaphore::new(MOST_AT_WORK)),
            description: openapi::description(routes()),
            verification: Arc::default(),
        }
    }

    /// The OpenAPI document.
    pub(super) const fn description(&self) -> &Value {
        &self.description
    }

    /// Answers an operator's request for a resource.
    pub(super) async fn answer<B>(
        &self,
        head: &Parts,
        body: B,
        operator: Arc<str>,
        body_timeout: Duration,
    ) -> Result<Response<Bytes>, Refusal>
    where
        B: Body<Data = Bytes, Error: Into<BodyError>> + Unpin,
    {
        let (route, parameters) = match route::find(routes(), &head.method, head.uri.path()) {
            Found::Route(route, parameters) => (route, parameters),
            Found::OtherMethods(allow) => return Err(Refusal::MethodNotAllowed { allow }),
            Found::Nothing => return Err(Refusal::NotFound),
        };
        let query = work::query(route, head.uri.query())?;
        let named = query.iter().filter(|(name, _)| *name != "cursor").map(|(_, value)| value);
        refuse_tokens(parameters.iter().chain(named))?;
        let body = if route.body.is_some() {
            read(head, body, body_timeout).await?
        } else if body.is_end_stream() {
            Bytes::new()
        } else {
            let message = "This request takes no body. Send it without one.".to_owned();
            return Err(Refusal::InputInvalid { field: String::new(), message });
        };
        let work = Work {
            node: Arc::clone(&self.operator),
            verification: Arc::clone(&self.verification),
            now: self.operator.now(),
            actor: format!("admin:{operator}"),
            operator,
            method: head.method.clone(),
            target: head.uri.path_and_query().map_or_else(String::new, ToString::to_string),
            query,
            parameters,
            once: None,
            body,
        };
        let once = once::key(route, &head.headers, &work)?;
        let work = Work { once, ..work };
        let turn = timeout(TURN, Arc::clone(&self.turns).acquire_owned()).await;
        let Ok(Ok(turn)) = turn else { return Err(Refusal::Overloaded) };
        let done = tokio::task::spawn_blocking(move || {
            let answer = once::run(route, &work);
            drop(turn);
            answer
        });
        let Ok(done) = timeout(WORK, done).await else {
            tracing::error!(operation = route.operation, "the token store has not answered in time");
            let reads = route.method == Method::GET;
            return Err(if reads { Refusal::StoreUnavailable } else { Refusal::StoreUnsure });
        };
        done.unwrap_or(Err(Refusal::Internal)).map(|answer| written(&answer))
    }
}

/// Refuses names that hold a token in place of its id: it would be in the answer, and in what is asked of a database,
/// which may log that.
fn refuse_tokens<'n>(mut names: impl Iterator<Item = &'n String>) -> Result<(), Refusal> {
    if !names.any(|name| has_token(name.as_bytes())) {
        return Ok(());
    }
    let message = "A token stands where an id belongs. Name a token by its id, which begins with `tok_`.";
    Err(Refusal::Missing { message: message.to_owned() })
}

fn written(answer: &Answer) -> Response<Bytes> {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::OK);
    let mut response = document(status, &answer.body);
    if answer.is_repeated {
        response.headers_mut().insert("idempotency-replayed", HeaderValue::from_static("true"));
    }
    response
}

/// Reads a JSON body.
async fn read<B>(head: &Parts, body: B, deadline: Duration) -> Result<Bytes, Refusal>
where
    B: Body<Data = Bytes, Error: Into<BodyError>> + Unpin,
{
    let mut types = head.headers.get_all(header::CONTENT_TYPE).iter();
    let named = types.next().map(HeaderValue::as_bytes).unwrap_or_default();
    let essence = named.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    if !essence.eq_ignore_ascii_case(b"application/json") || types.next().is_some() {
        return Err(Refusal::MediaTypeUnsupported { choices: vec!["application/json".to_owned()] });
    }
    let read = Limited::new(body, MOST_BODY_BYTES).collect();
    match timeout(deadline, read).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            Err(Refusal::BodyTooLarge { limit_bytes: MOST_BODY_BYTES as u64 })
        }
        Ok(Err(_)) => Err(Refusal::BadRequest { what: "the body ended early" }),
        Err(_) => Err(Refusal::RequestTimeout { limit: deadline }),
    }
}
