//! Writing a refusal as fields and body, in either dialect.

use std::time::Duration;

use super::json::{push_escaped, push_member, push_number, push_string};
use super::table::{Challenge, Datum, Retry, Row};
use super::{Checked, Dialect, Refusal};
use crate::domain::{Forwarded, Outcome};
use crate::message::{Buffer, Head};

const SIX_HOURS: Duration = Duration::from_hours(6);

/// An answer of ours, ready to be framed. Reusable: rendering into it again keeps its memory.
#[derive(Debug, Default)]
pub struct Rendered {
    /// The status code.
    pub status: u16,
    /// Field lines, each `Name: value\r\n`: `Content-Type`, `Cache-Control`, `Vary`, `X-Request-Id` and what the
    /// outcome asks for. Without `Content-Length`, `Date` and `Connection`.
    pub fields: Buffer,
    /// The body, JSON.
    pub body: Buffer,
    /// Whether the connection must be closed after this answer.
    pub close: bool,
}

impl Rendered {
    /// An empty one with room for most answers.
    pub fn with_room() -> Self {
        Self { fields: Buffer::take(), body: Buffer::take(), ..Self::default() }
    }

    /// The field lines as names and values, for a protocol that does not send them as text.
    pub fn each_field(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.fields.split(|&byte| byte == b'\n').filter_map(|line| {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let colon = memchr::memchr(b':', line)?;
            Some((&line[..colon], line[colon + 1..].trim_ascii()))
        })
    }

    /// Starts an answer: status, and the fields that all of ours carry.
    pub(super) fn start(&mut self, status: u16, content_type: &str, request_id: &str) {
        self.status = status;
        self.close = false;
        self.body.clear();
        self.fields.clear();
        self.field("Content-Type", content_type);
        self.fields.extend_from_slice(b"Cache-Control: no-store\r\nVary: Accept\r\n");
        self.field("X-Request-Id", request_id);
    }

    /// Adds a field line; what cannot stand in a value (RFC 9110, section 5.5) becomes a question mark.
    fn field(&mut self, name: &str, value: &str) {
        self.fields.extend_from_slice(name.as_bytes());
        self.fields.extend_from_slice(b": ");
        push_printable(&mut self.fields, value, |byte| byte == b' ' || byte.is_ascii_graphic());
        self.fields.extend_from_slice(b"\r\n");
    }
}

/// Writes refusals as the settings say.
#[derive(Clone, Debug)]
pub struct Replies {
    settings: Checked,
    retry_after_ceiling: Duration,
}

impl Replies {
    /// Replies by checked settings, with the default ceiling of `Retry-After`, 6 hours.
    pub const fn new(settings: Checked) -> Self {
        Self { settings, retry_after_ceiling: SIX_HOURS }
    }

    /// The same with another ceiling: a longer wait is only told in the body, because clients sleep on
    /// `Retry-After` blindly.
    #[must_use]
    pub const fn with_retry_after_ceiling(mut self, ceiling: Duration) -> Self {
        self.retry_after_ceiling = ceiling;
        self
    }

    /// The shape in which this request wants to read errors.
    pub fn dialect(&self, head: &Head) -> Dialect {
        Dialect::of(head, self.settings.default_dialect)
    }

    /// The shape for a request whose head could not be read.
    pub const fn default_dialect(&self) -> Dialect {
        self.settings.default_dialect
    }

    /// Writes one refusal. `request_id` is repeated in field and body; `forwarded` says whether an upstream may
    /// have acted on the request.
    pub fn render(
        &self,
        refusal: &Refusal,
        dialect: Dialect,
        request_id: &str,
        forwarded: Forwarded,
        out: &mut Rendered,
    ) {
        let row = refusal.row();
        out.start(row.status, dialect.content_type(), request_id);
        out.close = row.close;
        self.fields(&row, out);
        match dialect {
            Dialect::Envelope => self.envelope(&row, request_id, forwarded, &mut out.body),
            Dialect::Problem => self.problem(&row, request_id, forwarded, &mut out.body),
        }
    }

    /// The message alone, as a caller's JSON reader shows it.
    pub fn message_of(&self, refusal: &Refusal) -> String {
        let mut quoted = vec![b'"'];
        self.message(&refusal.row(), &mut quoted);
        quoted.push(b'"');
        serde_json::from_slice(&quoted).unwrap_or_default()
    }

    fn fields(&self, row: &Row<'_>, out: &mut Rendered) {
        match row.challenge {
            Challenge::None => {}
            Challenge::Bare => self.challenge("", None, out),
            Challenge::InvalidRequest => self.challenge("invalid_request", None, out),
            Challenge::InvalidToken => self.challenge("invalid_token", None, out),
            Challenge::InsufficientScope(scope) => self.challenge("insufficient_scope", Some(scope), out),
        }
        if let Some(allow) = row.allow {
            out.field("Allow", allow);
        }
        let wait = match row.retry {
            Retry::Unsaid => None,
            Retry::Soon => Some(self.settings.retry_after),
            Retry::After(wait) => (wait <= self.retry_after_ceiling).then_some(wait),
        };
        if let Some(wait) = wait {
            let seconds = wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0));
            out.fields.extend_from_slice(b"Retry-After: ");
            push_number(&mut out.fields, seconds.max(1));
            out.fields.extend_from_slice(b"\r\n");
        }
    }

    fn challenge(&self, error: &str, scope: Option<&str>, out: &mut Rendered) {
        let fields = &mut out.fields;
        fields.extend_from_slice(b"WWW-Authenticate: Bearer realm=\"");
        fields.extend_from_slice(self.settings.realm.as_bytes());
        if !error.is_empty() {
            fields.extend_from_slice(b"\", error=\"");
            fields.extend_from_slice(error.as_bytes());
        }
        if let Some(scope) = scope {
            fields.extend_from_slice(b"\", scope=\"");
            push_printable(fields, scope, is_scope_byte);
        }
        fields.extend_from_slice(b"\"\r\n");
    }

    fn envelope(&self, row: &Row<'_>, request_id: &str, forwarded: Forwarded, body: &mut Vec<u8>) {
        body.extend_from_slice(b"{\"errors\":[{\"type\":\"");
        body.extend_from_slice(row.kind.as_bytes());
        body.extend_from_slice(b"\",\"message\":\"");
        self.message(row, body);
        body.push(b'"');
        if let Some(field) = row.field {
            body.extend_from_slice(b",\"field\":");
            push_string(body, field);
        }
        body.extend_from_slice(b",\"status\":");
        push_number(body, u64::from(row.status));
        body.extend_from_slice(b",\"data\":{");
        members(row, request_id, forwarded, body);
        body.extend_from_slice(b"}}]}");
    }

    fn problem(&self, row: &Row<'_>, request_id: &str, forwarded: Forwarded, body: &mut Vec<u8>) {
        body.extend_from_slice(b"{\"type\":\"");
        let limited = matches!(row.outcome, Outcome::RateLimited | Outcome::QuotaExceeded);
        if limited {
            body.extend_from_slice(QUOTA_EXCEEDED_TYPE.as_bytes());
        } else if self.settings.outcomes_url.is_empty() {
            body.extend_from_slice(b"about:blank");
        } else {
            push_escaped(body, &self.settings.outcomes_url);
            body.push(b'#');
            body.extend_from_slice(row.outcome.reason().as_bytes());
        }
        body.extend_from_slice(b"\",\"title\":\"");
        let phrase = http::StatusCode::from_u16(row.status).ok().and_then(|status| status.canonical_reason());
        body.extend_from_slice(phrase.unwrap_or_default().as_bytes());
        body.extend_from_slice(b"\",\"status\":");
        push_number(body, u64::from(row.status));
        body.extend_from_slice(b",\"detail\":\"");
        self.message(row, body);
        body.extend_from_slice(b"\",");
        members(row, request_id, forwarded, body);
        if let Some(field) = row.field {
            push_member(body, "field", |body| push_string(body, field));
        }
        if limited && let Some(Datum::Text(policy)) = row.datum("policy") {
            push_member(body, "violated-policies", |body| {
                body.push(b'[');
                push_string(body, policy);
                body.push(b']');
            });
        }
        body.push(b'}');
    }

    /// Writes the message of a row with what it quotes, as the inside of a JSON string.
    fn message(&self, row: &Row<'_>, body: &mut Vec<u8>) {
        let mut rest = row.message;
        while let Some((before, name, after)) = next_quote(rest) {
            body.extend_from_slice(before.as_bytes());
            rest = after;
            match name {
                "said" => push_escaped(body, row.said),
                "documentation" if self.settings.documentation_url.is_empty() => {}
                "documentation" => {
                    body.extend_from_slice(b" See ");
                    push_escaped(body, &self.settings.documentation_url);
                }
                name => quote(row.datum(name), body),
            }
        }
        body.extend_from_slice(rest.as_bytes());
    }
}

/// The registered type of a used-up quota (draft-ietf-httpapi-ratelimit-headers, section on problem types).
const QUOTA_EXCEEDED_TYPE: &str = "https://iana.org/assignments/http-problem-types#quota-exceeded";

/// The members that both dialects have.
fn members(row: &Row<'_>, request_id: &str, forwarded: Forwarded, body: &mut Vec<u8>) {
    body.extend_from_slice(b"\"reason\":\"");
    body.extend_from_slice(row.outcome.reason().as_bytes());
    body.extend_from_slice(b"\",\"requestId\":");
    push_string(body, request_id);
    body.extend_from_slice(b",\"forwarded\":\"");
    body.extend_from_slice(forwarded.name().as_bytes());
    body.push(b'"');
    for (name, datum) in row.data.iter().flatten() {
        push_member(body, name, |body| match datum {
            Datum::Text(text) => push_string(body, text),
            Datum::Number(number) => push_number(body, *number),
            Datum::Texts(texts) => push_strings(body, texts.iter().map(String::as_str)),
            Datum::Plans(plans) => push_strings(body, plans.iter().map(|plan| plan.name())),
        });
    }
}

fn push_strings<'t>(body: &mut Vec<u8>, texts: impl Iterator<Item = &'t str>) {
    body.push(b'[');
    for (at, text) in texts.enumerate() {
        if at > 0 {
            body.push(b',');
        }
        push_string(body, text);
    }
    body.push(b']');
}

/// The first `{name}` of a message: what stands before it, the name, and what follows.
fn next_quote(message: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = message.split_at(memchr::memchr(b'{', message.as_bytes())?);
    let (quote, after) = rest.split_at(memchr::memchr(b'}', rest.as_bytes())? + 1);
    Some((before, &quote[1..quote.len() - 1], after))
}

/// A datum as words in a message.
fn quote(datum: Option<Datum<'_>>, body: &mut Vec<u8>) {
    match datum {
        None => {}
        Some(Datum::Text(text)) => push_escaped(body, text),
        Some(Datum::Number(number)) => push_number(body, number),
        Some(Datum::Texts(texts)) => push_joined(body, texts.iter().map(String::as_str), ", "),
        Some(Datum::Plans(plans)) => push_joined(body, plans.iter().map(|plan| plan.name()), "` or `"),
    }
}

fn push_joined<'t>(body: &mut Vec<u8>, texts: impl Iterator<Item = &'t str>, between: &str) {
    for (at, text) in texts.enumerate() {
        if at > 0 {
            body.extend_from_slice(between.as_bytes());
        }
        push_escaped(body, text);
    }
}

/// A scope-token's bytes and the space between two (RFC 6749, section 3.3).
const fn is_scope_byte(byte: u8) -> bool {
    (byte == b' ' || byte.is_ascii_graphic()) && byte != b'"' && byte != b'\\'
}

fn push_printable(out: &mut Vec<u8>, text: &str, allowed: impl Fn(u8) -> bool) {
    if text.bytes().fold(true, |all, byte| all & allowed(byte)) {
        out.extend_from_slice(text.as_bytes());
    } else {
        out.extend(text.bytes().map(|byte| if allowed(byte) { byte } else { b'?' }));
    }
}
