use std::future::Future as _;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use serde_json::{Value, json};

use super::rule::{Rule, Violation};
use super::{InputFault, RuleSettings, Rules, Settings};
use crate::domain::{Endpoint, Method, Problems};
use crate::message::{BodyFault, BodyStream, Head, Part, RequestBody, Version};

fn endpoint(index: u16, operation: &str) -> Endpoint {
    Endpoint {
        index,
        operation: operation.into(),
        method: Some(Method::Patch),
        template: format!("/{operation}").into(),
        versions: Vec::new(),
        scope: None,
        plans: Vec::new(),
        feature: None,
        role: None,
        cost: std::num::NonZeroU32::MIN,
        limits: Vec::new(),
        public: false,
    }
}

/// The sample configuration's rule.
fn sample() -> Rules {
    let settings = Settings {
        rules: vec![RuleSettings {
            operation: "settings".to_owned(),
            schema_file: "updateSchemaSettingsInSource.json".into(),
        }],
        max_body_bytes: 1_024,
    };
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/config/schemas"));
    let mut problems = Problems::new();
    let endpoints = [endpoint(0, "other"), endpoint(1, "settings")];
    Rules::from_settings(&settings, &endpoints, folder, &mut problems)
        .unwrap_or_else(|| panic!("{problems:?}"))
}

fn head(fields: &[(&str, &str)]) -> Head {
    let mut head = Head::new();
    head.start(Version::Http11, b"PATCH", b"/settings");
    for (name, value) in fields {
        head.push(name.as_bytes(), value.as_bytes());
    }
    head
}

/// A body in pieces.
struct Pieces(Vec<Result<Part, BodyFault>>);

impl BodyStream for Pieces {
    fn poll_part(&mut self, _cx: &mut Context<'_>) -> Poll<Option<Result<Part, BodyFault>>> {
        Poll::Ready(if self.0.is_empty() { None } else { Some(self.0.remove(0)) })
    }
}

fn pieces(parts: Vec<Result<Part, BodyFault>>, length: Option<u64>) -> RequestBody<'static> {
    RequestBody::Stream { stream: Box::new(Pieces(parts)), length }
}

fn data(text: &'static str) -> Part {
    Part::Data(Bytes::from_static(text.as_bytes()))
}

fn hold<'c>(operation: &str, head: &Head, body: RequestBody<'c>) -> Result<RequestBody<'c>, InputFault> {
    let rules = sample();
    let endpoint = endpoint(u16::from(operation == "settings"), operation);
    let mut future = pin!(rules.hold(Some(&endpoint), head, body));
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(judged) => judged,
        Poll::Pending => panic!("nothing here waits"),
    }
}

fn violation(body: &[u8]) -> Violation {
    match hold("settings", &head(&[]), RequestBody::Full(body)).err() {
        Some(InputFault::Violation(violation)) => violation,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_forwarding_field_that_names_nothing_is_told_to_be_left_out() {
    for field in ["forwardingViolationsTo", "forwardingBlockedEventsTo"] {
        for nothing in ["null", "\"\"", "5"] {
            let body = format!("{{\"track\":{{}},\"{field}\":{nothing}}}");
            let Violation { field: named, message } = violation(body.as_bytes());
            assert_eq!(named, field, "{body}");
            assert!(message.contains("leave the field out"), "{message}");
        }
    }
}

#[test]
fn what_cannot_be_judged_is_refused() {
    for body in ["", "  ", "{", "{\"a\":1}}", "\u{0}", "[1,2", "{\"a\":nul}"] {
        let Violation { field, message } = violation(body.as_bytes());
        assert_eq!(field, "", "{body}");
        assert!(message.contains("JSON"), "{message}");
    }
    let deep = "[".repeat(10_000);
    assert!(matches!(
        hold("settings", &head(&[]), RequestBody::Full(deep.as_bytes())),
        Err(InputFault::Body(BodyFault::TooLarge { limit_bytes: 1_024 }))
    ));
    violation("[".repeat(1_000).as_bytes());
    let coded = head(&[("Content-Encoding", "gzip")]);
    let Err(InputFault::Violation(told)) = hold("settings", &coded, RequestBody::Full(b"{}")) else {
        panic!()
    };
    assert!(told.message.contains("compressed"));
    assert!(matches!(hold("settings", &head(&[]), RequestBody::Empty), Err(InputFault::Violation(_))));
}

#[test]
fn a_body_that_does_not_arrive_is_the_clients_fault() {
    for fault in [BodyFault::Gone, BodyFault::Malformed("x"), BodyFault::Timeout { limit_seconds: 1 }] {
        let held = hold("settings", &head(&[]), pieces(vec![Ok(data("{")), Err(fault)], None));
        assert_eq!(held.err(), Some(InputFault::Body(fault)));
    }
}

#[test]
fn length_is_bounded_announced_or_not() {
    let too_large = Some(InputFault::Body(BodyFault::TooLarge { limit_bytes: 1_024 }));
    let announced = hold("settings", &head(&[]), pieces(Vec::new(), Some(1_025)));
    assert_eq!(announced.err(), too_large);
    let part: &'static str = Box::leak("1".repeat(600).into_boxed_str());
    let chunked = hold("settings", &head(&[]), pieces(vec![Ok(data(part)), Ok(data(part))], None));
    assert_eq!(chunked.err(), too_large);
}

#[test]
fn what_the_api_takes_loosely_passes_byte_for_byte() {
    let body = "{\"track\": {\"allowUnplannedEvents\":false },\n\"group\":{}, \"identify\":{\"commonEventOnViolations\":\"Block\"}, \"new\":1}";
    let held = hold("settings", &head(&[]), RequestBody::Full(body.as_bytes()))
        .unwrap_or_else(|fault| panic!("{fault}"));
    assert!(matches!(held, RequestBody::Full(passed) if passed == body.as_bytes()));
    let (first, second) = body.split_at(20);
    let trailers = b"x-sum: 1\r\n".to_vec();
    let parts = vec![Ok(data(first)), Ok(data(second)), Ok(Part::Trailers(trailers.clone()))];
    let Ok(RequestBody::Stream { mut stream, length: None }) =
        hold("settings", &head(&[]), pieces(parts, None))
    else {
        panic!("a chunked body stays one");
    };
    let mut cx = Context::from_waker(Waker::noop());
    let whole = Part::Data(Bytes::copy_from_slice(body.as_bytes()));
    assert_eq!(stream.poll_part(&mut cx), Poll::Ready(Some(Ok(whole))));
    assert_eq!(stream.poll_part(&mut cx), Poll::Ready(Some(Ok(Part::Trailers(trailers)))));
    assert_eq!(stream.poll_part(&mut cx), Poll::Ready(None));
}

#[test]
fn other_operations_are_left_alone() {
    let held = hold("other", &head(&[]), RequestBody::Full(b"not json"));
    assert!(matches!(held, Ok(RequestBody::Full(b"not json"))));
}

#[test]
fn violations_are_told_in_the_words_of_the_api() {
    let told = |schema: Value, body: Value| {
        let rule = Rule::compile(schema, 1_024).unwrap();
        let Violation { field, message } = rule.judge(body.to_string().as_bytes()).unwrap_err();
        (field, message)
    };
    let says = |field: &str, message: &str| (field.to_owned(), message.to_owned());
    let in_list = json!({"properties": {"a": {"items": {"required": ["id"]}}}});
    assert_eq!(told(in_list, json!({"a": [{"id": 1}, {}]})), says("a[1].id", "\"a[1].id\" is required"));
    let closed = json!({"additionalProperties": false, "properties": {"a": {}}});
    assert_eq!(told(closed, json!({"b": "secret"})), says("b", "\"b\" is not allowed"));
    let typed = json!({"properties": {"a": {"type": "string"}}});
    assert_eq!(told(typed, json!({"a": 5})), says("a", "\"a\" must be of type string"));
    let chosen = json!({"properties": {"a": {"enum": ["X", 2]}}});
    assert_eq!(told(chosen, json!({"a": "secret"})), says("a", "\"a\" must be one of X, 2"));
    let referred = json!({"$defs": {"n": {"maximum": 3}}, "properties": {"a": {"$ref": "#/$defs/n"}}});
    assert_eq!(told(referred, json!({"a": 4})), says("a", "\"a\" must be at most 3"));
    let other = json!({"properties": {"a": {"not": {}}}});
    assert_eq!(told(other, json!({"a": "secret"})), says("a", "\"a\" does not keep the rule `not`"));
    let own = json!({"properties": {"a": {"const": 1, "x-message": "One, please."}}});
    assert_eq!(told(own, json!({"a": "secret"})), says("a", "One, please."));
}

#[test]
fn no_schema_reaches_beyond_its_file() {
    assert!(Rule::compile(json!({"$ref": "https://schemas.example/a.json"}), 1).is_err());
    assert!(Rule::compile(json!({"$ref": "other.json"}), 1).is_err());
    assert!(Rule::compile(json!({"pattern": "(?=a)b"}), 1).is_err(), "look-around is not linear");
}

#[test]
fn rules_are_shared_by_clones() {
    let rules = sample();
    let endpoint = endpoint(1, "settings");
    let rule = |rules: &Rules| std::ptr::from_ref(rules.of(Some(&endpoint)).unwrap());
    assert!(std::ptr::eq(rule(&rules), rule(&Arc::new(rules.clone()))));
}
