//! What a resource's function is given, and what it gives back.

use std::sync::Arc;

use bytes::Bytes;
use http::Method;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::audit::Verification;
use super::once;
use super::route::Route;
use crate::admin::Operator;
use crate::clock::Now;
use crate::gateway::decoded;
use crate::gateway::refuse_change::for_operator;
use crate::input::read_object;
use crate::reply::Refusal;
use crate::tokens::store::{IdempotencyKey, KeyedRequest};
use crate::tokens::{Act, Error, Mint, Registry};

/// One request, ready to be worked on.
pub(super) struct Work {
    pub(super) node: Arc<dyn Operator>,
    pub(super) verification: Arc<Verification>,
    pub(super) now: Now,
    /// Who acts, as the audit trail has it.
    pub(super) actor: String,
    pub(super) operator: Arc<str>,
    pub(super) method: Method,
    pub(super) target: String,
    pub(super) query: Vec<(&'static str, String)>,
    pub(super) parameters: Vec<String>,
    /// Its `Idempotency-Key`.
    pub(super) once: Option<IdempotencyKey>,
    pub(super) body: Bytes,
}

/// What a resource answers.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Value,
    pub(super) is_repeated: bool,
}

impl Answer {
    /// `{"data": {name: value}}`
    pub(super) fn of(status: u16, name: &str, value: &impl Serialize) -> Result<Self, Refusal> {
        let value = serde_json::to_value(value).map_err(|error| {
            tracing::error!(%error, "an answer of the admin API could not be written as JSON");
            Refusal::Internal
        })?;
        Ok(Self { status, body: json!({"data": {name: value}}), is_repeated: false })
    }
}

impl Work {
    pub(super) fn registry(&self) -> &Registry {
        self.node.registry()
    }

    pub(super) fn mint(&self) -> &Mint {
        self.node.mint()
    }

    pub(super) fn act(&self) -> Act<'_> {
        let request = self.once.as_ref().map(|key| KeyedRequest { key, answer: once::kept });
        Act { request, ..Act::by(&self.actor, self.now) }
    }

    /// A parameter of the path, by its place.
    pub(super) fn parameter(&self, place: usize) -> &str {
        self.parameters.get(place).map_or("", String::as_str)
    }

    pub(super) fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }

    /// Makes a change and has this process follow it before it is answered: a token that was made works, one that
    /// was revoked does not.
    pub(super) fn changed<T>(&self, change: Result<T, Error>) -> Result<T, Refusal> {
        let changed = change.map_err(|error| for_operator(&error))?;
        // The change is made; if it cannot be seen at once, it will be at the next look at the log.
        let _ = self.node.registry().sync(self.node.now());
        Ok(changed)
    }

    /// Reads the body strictly.
    pub(super) fn read<T: DeserializeOwned>(&self) -> Result<T, Refusal> {
        read_object(&self.body)
            .map_err(|wrong| Refusal::InputInvalid { field: wrong.field, message: wrong.message })
    }
}

/// The parameters of a query; what a resource does not have is refused by its name.
pub(super) fn query(
    route: &'static Route,
    query: Option<&str>,
) -> Result<Vec<(&'static str, String)>, Refusal> {
    let mut found: Vec<(&'static str, String)> = Vec::new();
    for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let invalid = |why: &str| {
            let field = decoded(name).unwrap_or_else(|| name.to_owned());
            Refusal::InputInvalid { message: format!("The parameter `{field}` {why}."), field }
        };
        let known = route.query.iter().find(|known| decoded(name).as_deref() == Some(known.name));
        let known = known.ok_or_else(|| invalid("is not known here; leave it out"))?.name;
        let value = decoded(value).ok_or_else(|| invalid("is not percent-encoded UTF-8"))?;
        if found.iter().any(|(name, _)| *name == known) {
            return Err(invalid("is there twice; name it once"));
        }
        found.push((known, value));
    }
    Ok(found)
}
