//! Errors of the sample servers, in the API's envelope.

use serde_json::{Value, json};

use super::http::{Answer, Malformed};

/// One error as a caller sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// HTTP status.
    pub status: u16,
    /// The API's word for it.
    pub kind: &'static str,
    /// What is wrong.
    pub message: String,
    /// The input field at fault.
    pub field: Option<String>,
}

impl Fault {
    /// 422 for one field; the message begins with its name, as the API's own do.
    pub(super) fn input(field: &str, problem: &str) -> Self {
        Self {
            status: 422,
            kind: "input-validation",
            message: format!("\"{field}\" {problem}"),
            field: Some(field.to_owned()),
        }
    }

    /// 404 for one object.
    pub(super) fn missing(label: &str, id: &str) -> Self {
        Self::plain(404, "not-found", format!("{label} with id '{id}' not found."))
    }

    /// Any other error.
    pub(super) fn plain(status: u16, kind: &'static str, message: impl Into<String>) -> Self {
        Self { status, kind, message: message.into(), field: None }
    }

    /// The error object.
    pub(super) fn value(&self) -> Value {
        let mut value =
            json!({"type": self.kind, "message": self.message, "status": self.status, "data": null});
        if let Some(field) = &self.field {
            value["field"] = field.as_str().into();
        }
        value
    }

    /// The answer.
    pub(super) fn answer(&self) -> Answer {
        Answer::json(self.status, &json!({"errors": [self.value()]}))
    }
}

impl From<Malformed> for Fault {
    fn from(malformed: Malformed) -> Self {
        let (status, kind) = match malformed {
            Malformed::Syntax | Malformed::Framing => (400, "bad-request"),
            Malformed::HeadTooLong => (431, "bad-request"),
            Malformed::BodyTooLong => (413, "bad-request"),
            Malformed::Coding => (501, "not-implemented"),
            Malformed::Version => (505, "bad-request"),
        };
        Self::plain(status, kind, malformed.to_string())
    }
}
