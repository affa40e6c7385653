//! Who may read what: operators, and no page of another origin.

use super::*;

#[test]
fn everything_but_probes_metrics_and_the_empty_page_needs_an_operators_token() {
    let (admin, operator) = admin("");
    let act = Act::by("test", operator.clock.now());
    let minted = |name: &str| operator.mint.create_operator(act, name, Some(60)).unwrap().token;
    let (revoked, expired) = (minted("ben"), minted("cleo"));
    operator.mint.revoke_operator(act, "ben").unwrap();
    operator.registry.sync(operator.clock.now()).unwrap();
    for path in ["/", "/metrics", "/livez", "/readyz"] {
        assert_eq!(send(&admin, "GET", path, &[("host", "localhost")], "").status(), 200, "{path}");
    }
    let bearer = |token: &Secret<String>| format!("Bearer {}", token.expose());
    let good = bearer(&operator.token);
    operator.clock.advance(Duration::from_mins(1));
    for (field, reason) in [
        (None, "credential_missing"),
        (Some("Basic YTpi".to_owned()), "credential_malformed"),
        (Some("Bearer".to_owned()), "credential_malformed"),
        (Some(format!("{good} x")), "credential_malformed"),
        (Some("Bearer sga_x".to_owned()), "token_unknown"),
        (Some(good[..good.len() - 1].to_owned()), "token_unknown"),
        (Some(bearer(&revoked)), "token_revoked"),
        (Some(bearer(&expired)), "token_expired"),
    ] {
        for path in ["/status.json", "/explain.json", "/openapi.json", "/v1/workspaces", "/v1/nothing"] {
            for method in ["GET", "POST", "DELETE"] {
                let mut fields = vec![("host", "localhost")];
                fields.extend(field.as_deref().map(|field| ("authorization", field)));
                let response = send(&admin, method, path, &fields, "");
                assert_eq!(response.status(), 401, "{method} {path} {field:?}");
                let body = body_of(&response);
                assert_eq!(body["errors"][0]["data"]["reason"], reason);
                let id = response.headers()["x-request-id"].to_str().unwrap();
                assert_eq!(body["errors"][0]["data"]["requestId"], id);
                assert!(response.headers()["www-authenticate"].to_str().unwrap().starts_with("Bearer"));
            }
        }
    }
    let twice = [("authorization", &*good), ("authorization", &*good)];
    assert_eq!(send(&admin, "GET", "/status.json", &twice, "").status(), 400);
}

#[test]
fn a_page_of_another_origin_is_refused_even_with_a_token() {
    let (admin, operator) = admin("");
    let bearer = format!("Bearer {}", operator.token.expose());
    let from = |origin| {
        let fields = [("authorization", &*bearer), ("host", "localhost:9901"), ("origin", origin)];
        send(&admin, "GET", "/v1/workspaces", &fields, "").status().as_u16()
    };
    for origin in ["https://evil.example", "null", "http://localhost", "http://localhost:9902", ""] {
        assert_eq!(from(origin), 403, "{origin}");
    }
    assert_eq!(from("http://localhost:9901"), 200);
}
