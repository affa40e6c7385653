use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::domain::{Forwarded, Outcome, Plan, Problems, Role, WorkspaceState};
use crate::message::{Head, Version};

fn replies(settings: &Settings) -> Replies {
    Replies::new(from_settings(settings, &mut Problems::new()).unwrap())
}

fn rendered(refusal: &Refusal, dialect: Dialect) -> Rendered {
    let mut out = Rendered::default();
    replies(&Settings::default()).render(refusal, dialect, "req-1", Forwarded::No, &mut out);
    out
}

fn envelope(refusal: &Refusal) -> Value {
    let body: Value = serde_json::from_slice(&rendered(refusal, Dialect::Envelope).body).unwrap();
    assert_eq!(body["errors"].as_array().unwrap().len(), 1);
    body["errors"][0].clone()
}

fn field(out: &Rendered, name: &str) -> Option<String> {
    let mut values = out
        .each_field()
        .filter(|(known, _)| known.eq_ignore_ascii_case(name.as_bytes()))
        .map(|(_, value)| String::from_utf8(value.to_vec()).unwrap());
    let value = values.next();
    assert_eq!(values.next(), None, "{name} is there twice");
    value
}

fn exhausted(wait: Duration) -> Exhausted {
    Exhausted { policy: "per-token".into(), wait, remaining: 0, consumed: 20 }
}

/// One refusal of every variant, with `text` wherever a text goes.
fn every_refusal(text: &str) -> Vec<Refusal> {
    let shared: Arc<str> = text.into();
    let limit =
        Exhausted { policy: text.into(), wait: Duration::from_millis(57_647), remaining: 0, consumed: 20 };
    vec![
        Refusal::BadRequest { what: "the request line has no target" },
        Refusal::AmbiguousPath { what: "it has an empty segment".to_owned() },
        Refusal::SeveralCredentials,
        Refusal::CredentialMissing,
        Refusal::CredentialInQuery,
        Refusal::CredentialMalformed,
        Refusal::TokenUnknown,
        Refusal::TokenRevoked,
        Refusal::TokenExpired,
        Refusal::JwtInvalid,
        Refusal::JwtExpired,
        Refusal::JwtRevoked,
        Refusal::AddressNotAllowed { address: text.to_owned() },
        Refusal::BrowserPreflight,
        Refusal::OwnerRequired,
        Refusal::Missing { message: text.to_owned() },
        Refusal::Conflict { message: text.to_owned() },
        Refusal::StoreUnavailable,
        Refusal::StoreUnsure,
        Refusal::ScopeMissing { scope: shared.clone() },
        Refusal::PlanRequired { has: Plan::Free, needs: vec![Plan::Team, Plan::Business] },
        Refusal::FeatureRequired { feature: shared.clone() },
        Refusal::RoleRequired { role: Role::Owner },
        Refusal::WorkspaceSuspended { state: WorkspaceState::Suspended },
        Refusal::WorkspaceUnknown,
        Refusal::NotFound,
        Refusal::MethodNotAllowed { allow: text.to_owned() },
        Refusal::VersionUnsupported { choices: vec![text.to_owned(), "b".to_owned()] },
        Refusal::MediaTypeUnsupported { choices: vec![text.to_owned()] },
        Refusal::RequestTimeout { limit: Duration::from_secs(10) },
        Refusal::BodyTooLarge { limit_bytes: 1_024 },
        Refusal::UriTooLong { limit_bytes: 1_024 },
        Refusal::ExpectationFailed,
        Refusal::HeadersTooLarge { limit: HeadersLimit::Bytes(1_024) },
        Refusal::HeadersTooLarge { limit: HeadersLimit::Fields(100) },
        Refusal::WrongRegion { region: shared.clone(), base_url: shared.clone() },
        Refusal::InputInvalid { field: text.to_owned(), message: text.to_owned() },
        Refusal::RateLimited(limit.clone()),
        Refusal::QuotaExceeded(limit),
        Refusal::TooManyInFlight { policy: shared, limit: 8 },
        Refusal::Internal,
        Refusal::NotImplemented { what: "the transfer coding" },
        Refusal::UpstreamUnreachable,
        Refusal::UpstreamBroken,
        Refusal::UpstreamOpen { wait: None },
        Refusal::UpstreamTimeout,
        Refusal::SignatureInvalid { what: "the signature is not that of these bytes" },
        Refusal::SignerUnavailable,
        Refusal::IssuerUnavailable,
        Refusal::RegistryUnavailable,
        Refusal::LimitsUnavailable,
        Refusal::Overloaded,
        Refusal::Draining,
    ]
}

#[test]
fn every_outcome_that_is_not_served_has_a_refusal_and_none_has_two_meanings() {
    let refusals = every_refusal("x");
    for outcome in Outcome::ALL {
        let served = matches!(outcome, Outcome::Forwarded | Outcome::Answered | Outcome::ClientGone);
        let found = refusals.iter().any(|refusal| refusal.outcome() == *outcome);
        assert_eq!(found, !served, "{}", outcome.reason());
    }
}

#[test]
fn statuses_and_types_are_those_of_the_contract() {
    let contract: &[(u16, &str, &[&str])] = &[
        (400, "bad-request", &["bad_request", "ambiguous_path", "several_credentials", "signature_invalid"]),
        (
            401,
            "unauthorized",
            &[
                "credential_missing",
                "credential_in_query",
                "credential_malformed",
                "token_unknown",
                "token_revoked",
                "token_expired",
                "jwt_invalid",
                "jwt_expired",
                "jwt_revoked",
            ],
        ),
        (
            403,
            "forbidden",
            &[
                "address_not_allowed",
                "browser_preflight",
                "scope_missing",
                "plan_required",
                "feature_required",
                "role_required",
                "workspace_suspended",
                "workspace_unknown",
            ],
        ),
        (404, "not-found", &["not_found"]),
        (405, "method-not-allowed", &["method_not_allowed"]),
        (406, "not-acceptable", &["version_unsupported"]),
        (415, "unsupported-media-type", &["media_type_unsupported"]),
        (408, "bad-request", &["request_timeout"]),
        (413, "bad-request", &["body_too_large"]),
        (414, "bad-request", &["uri_too_long"]),
        (417, "bad-request", &["expectation_failed"]),
        (431, "bad-request", &["headers_too_large"]),
        (421, "wrong-region", &["wrong_region"]),
        (409, "conflict", &["conflict"]),
        (422, "input-validation", &["input_invalid"]),
        (429, "RequestError", &["rate_limited", "quota_exceeded", "too_many_in_flight"]),
        (500, "internal", &["internal"]),
        (501, "internal", &["not_implemented"]),
        (502, "upstream", &["upstream_unreachable", "upstream_broken"]),
        (503, "upstream", &["upstream_open"]),
        (504, "upstream", &["upstream_timeout"]),
        (
            503,
            "unavailable",
            &[
                "issuer_unavailable",
                "signer_unavailable",
                "registry_unavailable",
                "limits_unavailable",
                "overloaded",
                "draining",
            ],
        ),
    ];
    for refusal in every_refusal("x") {
        let error = envelope(&refusal);
        let reason = error["data"]["reason"].as_str().unwrap();
        let (status, kind, _) =
            contract.iter().find(|(_, _, reasons)| reasons.contains(&reason)).expect("is in the contract");
        assert_eq!(
            (error["status"].as_u64().unwrap(), error["type"].as_str().unwrap()),
            (u64::from(*status), *kind)
        );
        assert_eq!(refusal.status(), *status);
    }
}

#[test]
fn every_message_is_whole_and_speaks_of_no_internals() {
    for refusal in every_refusal("x") {
        let message = envelope(&refusal)["message"].as_str().unwrap().to_owned();
        assert!(!message.is_empty() && !message.contains(['{', '}']), "{message}");
        for inside in ["hyper", "tokio", "rust", "sqlite", "redis", "postgres", "upstream"] {
            assert!(!message.to_lowercase().contains(inside), "{message}");
        }
    }
}

#[test]
fn every_placeholder_of_a_message_has_its_datum() {
    for refusal in every_refusal("x") {
        let row = refusal.row();
        for piece in row.message.split('{').skip(1) {
            let name = piece.split_once('}').unwrap().0;
            assert!(
                name == "documentation"
                    || (name == "said" && !row.said.is_empty())
                    || row.datum(name).is_some(),
                "{name} of {}",
                row.outcome.reason()
            );
        }
        assert!(row.data.iter().flatten().count() < table::DATA, "a datum may have been lost");
    }
}

#[test]
fn a_used_up_limit_has_segments_three_numbers_and_retry_after() {
    let error = envelope(&Refusal::RateLimited(exhausted(Duration::from_micros(57_646_001))));
    assert_eq!(error["type"], "RequestError");
    assert_eq!(error["status"], 429);
    let data = &error["data"];
    assert_eq!(data["remainingPoints"], 0);
    assert_eq!(data["consumedPoints"], 20);
    assert_eq!(data["msBeforeNext"], 57_647);
    assert_eq!(data["policy"], "per-token");
    assert_eq!(data["forwarded"], "no");
    assert_eq!(data["requestId"], "req-1");
}

#[test]
fn retry_after_is_rounded_up_and_left_out_beyond_the_ceiling() {
    let retry_after =
        |wait| field(&rendered(&Refusal::RateLimited(exhausted(wait)), Dialect::Envelope), "retry-after");
    assert_eq!(retry_after(Duration::ZERO).as_deref(), Some("1"));
    assert_eq!(retry_after(Duration::from_nanos(1)).as_deref(), Some("1"));
    assert_eq!(retry_after(Duration::from_nanos(1_000_000_001)).as_deref(), Some("2"));
    assert_eq!(retry_after(Duration::from_hours(6)).as_deref(), Some("21600"));
    assert_eq!(retry_after(Duration::from_secs(21_601)), None);
    let error = envelope(&Refusal::QuotaExceeded(exhausted(Duration::from_hours(24))));
    assert_eq!(error["data"]["msBeforeNext"], 86_400_000);
    let mut out = Rendered::default();
    replies(&Settings::default()).with_retry_after_ceiling(Duration::from_secs(10)).render(
        &Refusal::RateLimited(exhausted(Duration::from_secs(11))),
        Dialect::Envelope,
        "r",
        Forwarded::No,
        &mut out,
    );
    assert_eq!(field(&out, "retry-after"), None);
}

#[test]
fn every_503_says_when_to_come_back_and_no_401_does() {
    for refusal in every_refusal("x") {
        let out = rendered(&refusal, Dialect::Envelope);
        let told = field(&out, "retry-after").is_some();
        assert_eq!(told, matches!(out.status, 503 | 429), "{}", refusal.outcome().reason());
    }
    let open = rendered(&Refusal::UpstreamOpen { wait: Some(Duration::from_secs(7)) }, Dialect::Envelope);
    assert_eq!(field(&open, "retry-after").as_deref(), Some("7"));
}

#[test]
fn challenges_follow_rfc_6750() {
    let challenge = |refusal: &Refusal| field(&rendered(refusal, Dialect::Envelope), "www-authenticate");
    assert_eq!(challenge(&Refusal::CredentialMissing).as_deref(), Some("Bearer realm=\"tollgate\""));
    assert_eq!(
        challenge(&Refusal::TokenUnknown).as_deref(),
        Some("Bearer realm=\"tollgate\", error=\"invalid_token\"")
    );
    assert_eq!(
        challenge(&Refusal::SeveralCredentials).as_deref(),
        Some("Bearer realm=\"tollgate\", error=\"invalid_request\"")
    );
    assert_eq!(
        challenge(&Refusal::ScopeMissing { scope: "public_api:read_write".into() }).as_deref(),
        Some("Bearer realm=\"tollgate\", error=\"insufficient_scope\", scope=\"public_api:read_write\"")
    );
    for refusal in every_refusal("x") {
        assert!(refusal.status() != 401 || challenge(&refusal).is_some(), "{}", refusal.outcome().reason());
    }
}

#[test]
fn allow_names_the_methods() {
    let out = rendered(&Refusal::MethodNotAllowed { allow: "GET, HEAD".to_owned() }, Dialect::Envelope);
    assert_eq!(field(&out, "allow").as_deref(), Some("GET, HEAD"));
}

#[test]
fn only_doubtful_framing_and_endings_close_the_connection() {
    let closing = [
        "bad_request",
        "request_timeout",
        "body_too_large",
        "uri_too_long",
        "expectation_failed",
        "headers_too_large",
        "internal",
        "not_implemented",
        "draining",
    ];
    for refusal in every_refusal("x") {
        let reason = refusal.outcome().reason();
        assert_eq!(rendered(&refusal, Dialect::Envelope).close, closing.contains(&reason), "{reason}");
    }
}

#[test]
fn the_field_at_fault_stands_beside_the_message() {
    let refusal =
        Refusal::InputInvalid { field: "name".to_owned(), message: "\"name\" is required".to_owned() };
    let error = envelope(&refusal);
    assert_eq!(
        (error["field"].as_str(), error["message"].as_str()),
        (Some("name"), Some("\"name\" is required"))
    );
}

#[test]
fn problem_details_have_their_members_and_the_registered_type() {
    let out = rendered(&Refusal::RateLimited(exhausted(Duration::from_secs(1))), Dialect::Problem);
    assert_eq!(field(&out, "content-type").as_deref(), Some("application/problem+json"));
    let problem: Value = serde_json::from_slice(&out.body).unwrap();
    assert_eq!(problem["type"], "https://iana.org/assignments/http-problem-types#quota-exceeded");
    assert_eq!(problem["title"], "Too Many Requests");
    assert_eq!(problem["violated-policies"], serde_json::json!(["per-token"]));
    assert_eq!(problem["msBeforeNext"], 1_000);
    let blank: Value =
        serde_json::from_slice(&rendered(&Refusal::TokenRevoked, Dialect::Problem).body).unwrap();
    assert_eq!(
        (blank["type"].as_str(), blank["reason"].as_str()),
        (Some("about:blank"), Some("token_revoked"))
    );
}

#[test]
fn links_of_the_settings_are_named() {
    let settings = Settings {
        documentation_url: "https://docs.example.com/api".to_owned(),
        outcomes_url: "https://docs.example.com/outcomes".to_owned(),
        ..Settings::default()
    };
    let mut out = Rendered::default();
    replies(&settings).render(&Refusal::BrowserPreflight, Dialect::Problem, "r", Forwarded::No, &mut out);
    let problem: Value = serde_json::from_slice(&out.body).unwrap();
    assert!(problem["detail"].as_str().unwrap().ends_with(" See https://docs.example.com/api"));
    assert_eq!(problem["type"], "https://docs.example.com/outcomes#browser_preflight");
    assert!(!String::from_utf8(out.fields.to_vec()).unwrap().to_lowercase().contains("access-control"));
}

#[test]
fn the_dialect_follows_accept() {
    let cases = [
        ("", Dialect::Envelope, Dialect::Problem),
        ("*/*", Dialect::Envelope, Dialect::Problem),
        ("application/json", Dialect::Envelope, Dialect::Envelope),
        ("application/vnd.segment.v1+json", Dialect::Envelope, Dialect::Envelope),
        ("application/problem+json", Dialect::Problem, Dialect::Problem),
        ("APPLICATION/Problem+JSON;q=0.3", Dialect::Problem, Dialect::Problem),
        ("application/json, application/problem+json", Dialect::Problem, Dialect::Problem),
        ("application/json, application/problem+json;q=0.5", Dialect::Envelope, Dialect::Envelope),
        ("application/json;q=0.5,application/problem+json ; q=0.6", Dialect::Problem, Dialect::Problem),
        ("application/problem+json;q=0", Dialect::Envelope, Dialect::Problem),
        ("application/problem+xml", Dialect::Envelope, Dialect::Problem),
    ];
    for (accept, by_default, with_problem_default) in cases {
        let head = Head::from_parts(Version::Http11, b"GET", b"/", [(&b"Accept"[..], accept.as_bytes())]);
        assert_eq!(Dialect::of(&head, Dialect::Envelope), by_default, "{accept}");
        assert_eq!(Dialect::of(&head, Dialect::Problem), with_problem_default, "{accept}");
    }
}

#[test]
fn settings_tell_every_mistake_at_once() {
    let settings = Settings {
        documentation_url: "docs".to_owned(),
        outcomes_url: "ftp://x".to_owned(),
        realm: "a\"b".to_owned(),
        retry_after_seconds: 0,
        ..Settings::default()
    };
    let mut problems = Problems::new();
    assert!(from_settings(&settings, &mut problems).is_none());
    let keys: Vec<_> = problems.0.iter().map(|problem| problem.key.as_str()).collect();
    assert_eq!(
        keys,
        ["replies.documentation_url", "replies.outcomes_url", "replies.realm", "replies.retry_after_seconds"]
    );
    assert!(toml::from_str::<Settings>("relm = \"x\"").is_err());
    assert!(toml::from_str::<Settings>("default_dialect = \"problem\"").is_ok());
}

#[test]
fn pages_have_the_success_envelope() {
    let mut out = Rendered::default();
    let scopes: [Arc<str>; 1] = ["public_api:read_write".into()];
    let who = WhoAmI {
        workspace_id: "ws_1",
        token_id: "tok_1",
        region: "eu",
        base_url: "https://eu1.api.example.com",
        plan: Plan::Business,
        role: Role::Owner,
        scopes: &scopes,
        features: &[],
        expires_at_unix_seconds: Some(1_700_000_000),
    };
    whoami_page(&who, "req-1", &mut out);
    let page: Value = serde_json::from_slice(&out.body).unwrap();
    assert_eq!(page["data"]["workspaceId"], "ws_1");
    assert_eq!(page["data"]["expiresAt"], "2023-11-14T22:13:20Z");
    assert_eq!(page["data"]["plan"], "business");
    assert_eq!(field(&out, "cache-control").as_deref(), Some("no-store"));

    let limit = LimitView {
        policy: "default",
        per: "token",
        quota: 6_000,
        window_seconds: 60,
        window: crate::domain::Window::Rolling,
        burst: 6_000,
        remaining: 5_999,
        resets_at_unix_seconds: None,
    };
    limits_page(&[limit], "req-2", &mut out);
    let page: Value = serde_json::from_slice(&out.body).unwrap();
    assert_eq!(page["data"]["limits"][0]["remaining"], 5_999);
    assert_eq!(page["data"]["limits"][0]["window"], "rolling");
    assert_eq!(page["data"]["limits"][0]["resetsAt"], Value::Null);
    assert_eq!(field(&out, "x-request-id").as_deref(), Some("req-2"));
}

#[test]
fn every_outcome_has_a_paragraph_and_no_paragraph_is_of_none() {
    let page = include_str!("../../config/docs/outcomes.md");
    let mut explained: Vec<&str> = page.lines().filter_map(|line| line.strip_prefix("### ")).collect();
    let mut outcomes: Vec<&str> = Outcome::ALL.iter().map(|outcome| outcome.reason()).collect();
    explained.sort_unstable();
    outcomes.sort_unstable();
    assert_eq!(explained, outcomes);
    for section in page.split("\n### ").skip(1) {
        assert!(section.lines().skip(1).map(str::len).sum::<usize>() > 60, "too short: {section}");
    }
}

proptest! {
    #[test]
    fn any_text_renders_as_valid_json_and_clean_fields(text in any::<String>(), id in any::<String>()) {
        let replies = replies(&Settings { documentation_url: "https://x.example".to_owned(), ..Settings::default() });
        let mut out = Rendered::default();
        for refusal in every_refusal(&text) {
            for dialect in [Dialect::Envelope, Dialect::Problem] {
                replies.render(&refusal, dialect, &id, Forwarded::Maybe, &mut out);
                let body: Value = serde_json::from_slice(&out.body).unwrap();
                let data = if dialect == Dialect::Envelope { &body["errors"][0]["data"] } else { &body };
                prop_assert_eq!(data["reason"].as_str(), Some(refusal.outcome().reason()));
                prop_assert_eq!(data["requestId"].as_str(), Some(id.as_str()));
                prop_assert_eq!(data["forwarded"].as_str(), Some("maybe"));
                if let Some(policy) = data.get("policy") {
                    prop_assert_eq!(policy.as_str(), Some(text.as_str()));
                }
                let lines = out.fields.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()).count();
                prop_assert_eq!(lines, out.each_field().count());
                prop_assert!(out.fields.iter().all(|&byte| byte == b'\r' || byte == b'\n' || (0x20..0x7f).contains(&byte)));
            }
        }
    }

    #[test]
    fn any_accept_field_is_read(accept in any::<Vec<u8>>()) {
        let head = Head::from_parts(Version::Http11, b"GET", b"/", [(&b"Accept"[..], &accept[..])]);
        let _ = Dialect::of(&head, Dialect::Problem);
    }
}
