//! What a resource is: enough to serve it and to describe it, so that the two cannot differ.

use http::Method;
use schemars::{Schema, SchemaGenerator};

use super::work::{Answer, Work};
use crate::gateway::decoded;
use crate::reply::Refusal;

/// Makes a type's schema, known to a generator.
pub(super) type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

/// A parameter of the query.
pub(super) struct QueryParameter {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    pub(super) schema: SchemaOf,
}

/// One method of one resource.
pub(super) struct Route {
    pub(super) method: Method,
    /// The path, with `{name}` for a segment that is a parameter.
    pub(super) path: &'static str,
    /// The operation's id in the description.
    pub(super) operation: &'static str,
    pub(super) about: &'static str,
    pub(super) query: &'static [QueryParameter],
    pub(super) body: Option<SchemaOf>,
    /// The status of success.
    pub(super) status: u16,
    pub(super) answer: SchemaOf,
    /// The statuses of refusals that this resource has beside those that all have.
    pub(super) refusals: &'static [u16],
    pub(super) run: fn(&Work) -> Result<Answer, Refusal>,
}

impl Route {
    /// Whether it takes an `Idempotency-Key`: what is no idempotent method (RFC 9110, section 9.2.2).
    pub(super) fn takes_key(&self) -> bool {
        self.method == Method::POST
    }

    /// Whether what it asks for is in force in this process whatever the store does.
    pub(super) fn revokes(&self) -> bool {
        matches!(self.operation, "revokeToken" | "revokeJwts" | "revokeOperator")
    }

    /// Whether what it is answered is kept in the transaction of its change.
    pub(super) fn keeps_answer(&self) -> bool {
        matches!(self.operation, "createWorkspace" | "createToken" | "rotateToken")
    }

    /// The names of its path's parameters, in order.
    pub(super) fn parameters(&self) -> impl Iterator<Item = &'static str> {
        self.path.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'))
    }

    /// The values of its path's parameters, if a path is one of its.
    fn matches(&self, path: &str) -> Option<Vec<String>> {
        let mut parameters = Vec::new();
        let (mut template, mut given) = (self.path.split('/'), path.split('/'));
        loop {
            match (template.next(), given.next()) {
                (None, None) => return Some(parameters),
                (Some(name), Some(value)) if name.starts_with('{') => {
                    parameters.push(decoded(value).filter(|value| !value.is_empty())?);
                }
                (Some(fixed), Some(segment)) if fixed == segment => {}
                _ => return None,
            }
        }
    }
}

/// What a method and a path come to.
pub(super) enum Found {
    /// A resource, and the values of its path's parameters.
    Route(&'static Route, Vec<String>),
    /// A resource without this method: the value of `Allow`.
    OtherMethods(String),
    /// No resource.
    Nothing,
}

/// Finds a resource; HEAD matches as GET.
pub(super) fn find(routes: impl Iterator<Item = &'static Route>, method: &Method, path: &str) -> Found {
    let mut allow: Vec<&str> = Vec::new();
    for route in routes {
        let Some(parameters) = route.matches(path) else { continue };
        if route.method == *method || (route.method == Method::GET && *method == Method::HEAD) {
            return Found::Route(route, parameters);
        }
        allow.push(route.method.as_str());
        if route.method == Method::GET {
            allow.push("HEAD");
        }
    }
    if allow.is_empty() { Found::Nothing } else { Found::OtherMethods(allow.join(", ")) }
}
