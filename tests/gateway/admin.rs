//! The admin API: every refusal, then the ways through, over a socket of the real binary.

use std::collections::HashSet;

use serde_json::{Value, json};

use crate::support::{
    Answer, Behaviour, Demo, Gateway, Process, Upstream, ask_admin, config, run, run_json, send_admin,
    tollgate, until,
};

/// A gateway whose answers are held to its own description.
struct World {
    gateway: Gateway,
    description: Value,
    _upstream: Upstream,
}

impl World {
    fn new() -> Self {
        let upstream = Upstream::start(Behaviour::status(200, "us"));
        let gateway = Gateway::start(&config(&upstream.url(), &upstream.url(), POLICY));
        let description = gateway.operate("GET", "/openapi.json", "").json();
        Self { gateway, description, _upstream: upstream }
    }

    fn ask(&self, method: &str, path: &str, body: &Value) -> Answer {
        self.ask_with(method, path, "", body)
    }

    /// Asks, and holds the answer to the description: its status is named, its body is what it says.
    fn ask_with(&self, method: &str, path: &str, fields: &str, body: &Value) -> Answer {
        let text = if body.is_null() { String::new() } else { body.to_string() };
        let answer = self.gateway.operate_with(method, path, fields, &text);
        let described = self.operation(method, path);
        if let Some(operation) = described {
            let status = answer.status.to_string();
            let response = &operation["responses"][&status];
            assert!(response.is_object(), "{method} {path} may not answer {status}: {}", answer.json());
            let mut schema = response["content"]["application/json"]["schema"].clone();
            schema["components"] = self.description["components"].clone();
            let body = answer.json();
            let validator = jsonschema::validator_for(&schema).unwrap();
            let wrong: Vec<String> = validator.iter_errors(&body).map(|error| error.to_string()).collect();
            assert!(wrong.is_empty(), "{method} {path}: {wrong:?} in {body}");
        }
        answer
    }

    fn operation(&self, method: &str, path: &str) -> Option<&Value> {
        let path = path.split('?').next().unwrap();
        let fits = |template: &str| {
            let (template, path): (Vec<&str>, Vec<&str>) =
                (template.split('/').collect(), path.split('/').collect());
            let same = |(template, given): (&&str, &&str)| template.starts_with('{') || template == given;
            template.len() == path.len() && template.iter().zip(&path).all(same)
        };
        let paths = self.description["paths"].as_object().unwrap();
        let found = paths.iter().find(|(template, _)| fits(template))?.1;
        found.get(method.to_ascii_lowercase())
    }

    /// Status and outcome of a refusal, and the field that it names.
    fn refused(&self, method: &str, path: &str, body: &Value) -> (u16, String, String) {
        let answer = self.ask(method, path, body);
        let field = answer.error()["field"].as_str().unwrap_or_default().to_owned();
        (answer.status, answer.reason(), field)
    }

    fn events(&self) -> Vec<Value> {
        let events = self.ask("GET", "/v1/audit-events?count=1000", &Value::Null).json();
        events["data"]["audit_events"].as_array().unwrap().clone()
    }
}

const POLICY: &str = "
[[limits.policies]]
name = \"default\"
per = [\"token\"]
quota = \"6000 per minute\"
";

fn token_of(answer: &Answer) -> (String, String) {
    let token = &answer.json()["data"]["token"];
    (token["id"].as_str().unwrap().to_owned(), token["token"].as_str().unwrap().to_owned())
}

#[test]
fn nobody_without_an_operators_token_gets_in() {
    let world = World::new();
    let gateway = &world.gateway;
    let (_, public) = gateway.token("ws-us", &["--role", "owner"]);
    let bearer = |token: &str| format!("Authorization: Bearer {token}\r\n");
    for (fields, reason) in [
        (String::new(), "credential_missing"),
        (bearer("sga_nobody"), "token_unknown"),
        (bearer(&public), "token_unknown"),
        (format!("Authorization: {}\r\n", gateway.operator), "credential_malformed"),
    ] {
        for (method, path, body) in [
            ("GET", "/status.json", ""),
            ("GET", "/explain.json?target=/", ""),
            ("GET", "/openapi.json", ""),
            ("GET", "/v1/workspaces", ""),
            ("POST", "/v1/workspaces", "{}"),
            ("POST", "/v1/tokens", "{}"),
            ("DELETE", "/v1/nothing", ""),
        ] {
            let answer = send_admin(gateway.admin, method, path, &fields, body);
            assert_eq!(answer.said(), (401, reason.to_owned()), "{method} {path}");
            assert!(answer.field("www-authenticate").unwrap().starts_with("Bearer"));
        }
    }
    let operator = bearer(&gateway.operator);
    let from = send_admin(
        gateway.admin,
        "GET",
        "/v1/tokens",
        &format!("{operator}Origin: https://a.example\r\n"),
        "",
    );
    assert_eq!(from.said(), (403, "browser_preflight".to_owned()));
    let rebound = format!("GET /v1/tokens HTTP/1.1\r\nHost: evil.example\r\n{operator}\r\n");
    assert_eq!(crate::support::Client::connect(gateway.admin).send(rebound.as_bytes()).status, 421);
    assert_eq!(ask_admin(gateway.admin, "/readyz").status, 200);
    // The operator's token is none of the API's.
    assert_eq!(gateway.ask(&gateway.operator, "/sources").said(), (401, "token_unknown".to_owned()));
}

#[test]
fn an_operator_who_is_revoked_is_out_within_a_second() {
    let world = World::new();
    let file = world.gateway.file.to_str().unwrap();
    let made = run_json(&["operator", "--config", file, "create", "ana", "--expires", "90d", "--json"]);
    let fields = format!("Authorization: Bearer {}\r\n", made["token"].as_str().unwrap());
    let ask = || send_admin(world.gateway.admin, "GET", "/v1/workspaces", &fields, "").status;
    until("the operator to be known", || (ask() == 200).then_some(()));
    run_json(&["operator", "--config", file, "revoke", "ana", "--json"]);
    until("the operator to be out", || (ask() == 401).then_some(()));
    let again = run(&["operator", "--config", file, "create", "ana"]);
    assert_eq!(again.status.code(), Some(1), "a name was given twice");
    let listed = run_json(&["operator", "--config", file, "list", "--json"]);
    assert_eq!((&listed[0]["name"], &listed[0]["state"]), (&json!("ana"), &json!("revoked")));
    let listed = String::from_utf8(run(&["operator", "--config", file, "list"]).stdout).unwrap();
    assert!(listed.contains("ana") && !listed.contains("sga_"), "{listed}");
}

#[test]
fn what_is_no_request_is_refused_by_its_field() {
    let world = World::new();
    let no = |field: &str| (422, "input_invalid".to_owned(), field.to_owned());
    let (id, _) = world.gateway.token("ws-us", &[]);
    for (method, path, body, expected) in [
        ("POST", "/v1/workspaces", json!({"id": "a", "region": "us", "colour": 1}), no("colour")),
        ("POST", "/v1/workspaces", json!({"region": "us"}), no("id")),
        ("POST", "/v1/workspaces", json!({"id": 5, "region": "us"}), no("id")),
        ("POST", "/v1/workspaces", json!({"id": "a b", "region": "us"}), no("id")),
        ("POST", "/v1/workspaces", json!({"id": "a"}), no("region")),
        ("POST", "/v1/workspaces", json!({"id": "a", "region": "mars"}), no("region")),
        ("POST", "/v1/workspaces", json!({"id": "a", "region": "us", "plan": "gold"}), no("plan")),
        ("POST", "/v1/workspaces", json!({"id": "a", "region": "us", "contacts": ["x"]}), no("contacts")),
        ("POST", "/v1/workspaces", json!({"id": "a", "region": "us", "features": [1]}), no("features[0]")),
        ("POST", "/v1/workspaces", json!(["a", "us", "free", [], []]), no("")),
        ("PATCH", "/v1/workspaces/ws-us", json!({"state": "gone"}), no("state")),
        ("POST", "/v1/tokens", json!({"workspace": "ws-us", "scopes": ["a b"]}), no("scopes")),
        ("POST", "/v1/tokens", json!({"workspace": "ws-us", "own_limit": "lots"}), no("own_limit")),
        ("POST", "/v1/tokens", json!({"workspace": "ws-us", "lifetime_seconds": 0}), no("lifetime_seconds")),
        ("POST", "/v1/tokens", json!({"workspace": "ws-us", "lifetime_seconds": -1}), no("lifetime_seconds")),
        ("POST", &format!("/v1/tokens/{id}/rotate"), json!({"overlap": 1}), no("overlap")),
        ("GET", "/v1/tokens?count=0", Value::Null, no("count")),
        ("GET", "/v1/tokens?count=1&count=2", Value::Null, no("count")),
        ("GET", "/v1/tokens?cursor=*", Value::Null, no("cursor")),
        ("GET", "/v1/tokens?page=2", Value::Null, no("page")),
        ("GET", "/v1/overrides?cursor=YQ", Value::Null, no("cursor")),
        ("GET", "/v1/audit-events?cursor=YQ", Value::Null, no("cursor")),
        ("DELETE", &format!("/v1/tokens/{id}/overrides/x"), json!({}), no("")),
    ] {
        assert_eq!(world.refused(method, path, &body), expected, "{method} {path} {body}");
    }
    let raw = |fields: &str, body: &str| {
        let fields = format!("Authorization: Bearer {}\r\n{fields}", world.gateway.operator);
        send_admin(world.gateway.admin, "POST", "/v1/tokens", &fields, body)
    };
    for broken in ["{", "{\"workspace\":\"ws-us\"} x", "{\"workspace\":\"a\",\"workspace\":\"b\"}", "null"] {
        assert_eq!(raw("", broken).said(), (422, "input_invalid".to_owned()), "{broken}");
    }
    let plain = format!(
        "POST /v1/tokens HTTP/1.1\r\nHost: {0}\r\nAuthorization: Bearer {1}\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\n{{}}",
        world.gateway.admin, world.gateway.operator
    );
    let answer = crate::support::Client::connect(world.gateway.admin).send(plain.as_bytes());
    assert_eq!(answer.said(), (415, "media_type_unsupported".to_owned()));
    let long = json!({"workspace": "x".repeat(70_000)}).to_string();
    assert_eq!(raw("", &long).said(), (413, "body_too_large".to_owned()));
    let events = world.events();
    assert!(events.iter().all(|event| event["actor"] != "admin:test-0"), "something was changed: {events:?}");
}

#[test]
fn what_is_not_there_is_not_found_and_what_cannot_be_is_a_conflict() {
    let world = World::new();
    let (id, _) = world.gateway.token("ws-us", &[]);
    let override_of = json!({"quota": "5 per minute", "until": "2099-01-01T00:00:00Z"});
    for (method, path, body) in [
        ("GET", "/v1/workspaces/none".to_owned(), Value::Null),
        ("PATCH", "/v1/workspaces/none".to_owned(), json!({"plan": "free"})),
        ("POST", "/v1/tokens".to_owned(), json!({"workspace": "none"})),
        ("GET", "/v1/tokens?workspace=none".to_owned(), Value::Null),
        ("GET", "/v1/tokens/tok_none".to_owned(), Value::Null),
        ("POST", "/v1/tokens/tok_none/rotate".to_owned(), json!({})),
        ("POST", "/v1/tokens/tok_none/revoke".to_owned(), json!({})),
        ("PUT", "/v1/tokens/tok_none/overrides/default".to_owned(), override_of.clone()),
        ("GET", format!("/v1/tokens/{id}/overrides/default"), Value::Null),
        ("DELETE", format!("/v1/tokens/{id}/overrides/default"), Value::Null),
        ("DELETE", "/v1/workspaces/none/overrides/default".to_owned(), Value::Null),
        ("GET", "/v1/nothing".to_owned(), Value::Null),
        ("GET", "/v1/tokens//".to_owned(), Value::Null),
    ] {
        let said = world.ask(method, &path, &body).said();
        assert_eq!(said, (404, "not_found".to_owned()), "{method} {path}");
    }
    let answer = world.ask("DELETE", "/v1/workspaces", &Value::Null);
    assert_eq!((answer.status, answer.field("allow")), (405, Some("POST, GET, HEAD")));
    let conflict = (409, "conflict".to_owned());
    let twice = json!({"id": "ws-us", "region": "us"});
    assert_eq!(world.ask("POST", "/v1/workspaces", &twice).said(), conflict);
    assert_eq!(world.ask("POST", &format!("/v1/tokens/{id}/rotate"), &json!({})).status, 201);
    assert_eq!(world.ask("POST", &format!("/v1/tokens/{id}/rotate"), &json!({})).said(), conflict);
    let unknown = world.refused("PUT", &format!("/v1/tokens/{id}/overrides/nothing"), &override_of);
    assert_eq!(unknown, (422, "input_invalid".to_owned(), "policy".to_owned()));
}

#[test]
fn workspaces_and_tokens_are_made_and_work_when_the_answer_leaves() {
    let world = World::new();
    let new = json!({"id": "acme", "region": "eu", "plan": "team", "features": ["Spaces"],
                     "contacts": ["ops@acme.example"]});
    let made = world.ask("POST", "/v1/workspaces", &new);
    assert_eq!((made.status, &made.json()["data"]["workspace"]["state"]), (201, &json!("active")));
    let made = world.ask("POST", "/v1/tokens", &json!({"workspace": "acme", "name": "ci", "role": "owner"}));
    assert_eq!(made.status, 201);
    let (id, token) = token_of(&made);
    assert!(token.starts_with("sgp_e"), "a token of the workspace's region");
    let who = world.gateway.ask(&token, "/tollgate/v1/whoami");
    assert_eq!((who.status, &who.json()["data"]["workspaceId"]), (200, &json!("acme")));
    let shown = world.ask("GET", &format!("/v1/tokens/{id}"), &Value::Null);
    assert!(!String::from_utf8_lossy(&shown.body).contains(&token[8..30]), "shown again");
    let rotated = world.ask("POST", &format!("/v1/tokens/{id}/rotate"), &json!({"overlap_seconds": 0}));
    let (successor, second) = token_of(&rotated);
    assert_eq!(world.gateway.ask(&token, "/sources").said(), (401, "token_revoked".to_owned()));
    assert_eq!(world.gateway.ask(&second, "/sources").status, 200);
    let change = json!({"plan": "free", "enable": ["Functions"], "disable": ["Spaces"]});
    let changed = world.ask("PATCH", "/v1/workspaces/acme", &change).json();
    let workspace = &changed["data"]["workspace"];
    assert_eq!((&workspace["plan"], &workspace["features"]), (&json!("free"), &json!(["Functions"])));
    assert_eq!(world.gateway.ask(&second, "/sources").reason(), "plan_required");
    let revoke = format!("/v1/tokens/{successor}/revoke");
    assert_eq!(world.ask("POST", &revoke, &json!({"reason": "no use"})).status, 200);
    assert_eq!(world.gateway.ask(&second, "/sources").reason(), "token_revoked");
    assert_eq!(world.ask("POST", &revoke, &json!({})).json()["data"]["token"]["revoked_reason"], "no use");
    let mine: Vec<Value> =
        world.events().into_iter().filter(|event| event["actor"] == "admin:test-0").collect();
    let kinds: Vec<&str> = mine.iter().map(|event| event["kind"].as_str().unwrap()).collect();
    let expected = [
        "workspace.created",
        "token.created",
        "token.created",
        "token.rotated",
        "token.revoked",
        "workspace.modified",
        "token.revoked",
    ];
    assert_eq!(kinds, expected);
    let of_token = world.ask("GET", &format!("/v1/audit-events?subject={successor}"), &Value::Null).json();
    assert_eq!(of_token["data"]["audit_events"][0]["details"]["reason"], "no use", "newest first");
}

#[test]
fn lists_are_paged_in_one_shape() {
    let world = World::new();
    for number in 0..5 {
        let new = json!({"id": format!("page-{number}"), "region": "us"});
        assert_eq!(world.ask("POST", "/v1/workspaces", &new).status, 201);
        assert_eq!(world.ask("POST", "/v1/tokens", &json!({"workspace": "page-0"})).status, 201);
        let path = format!("/v1/workspaces/page-{number}/overrides/default");
        let body = json!({"quota": "5 per minute", "until": "2099-01-01T00:00:00Z"});
        assert_eq!(world.ask("PUT", &path, &body).status, 200);
    }
    for (path, list, key, all) in [
        ("/v1/workspaces?count=3", "workspaces", "id", 7),
        ("/v1/tokens?workspace=page-0&count=2", "tokens", "id", 5),
        ("/v1/overrides?count=2", "overrides", "workspace", 5),
        ("/v1/audit-events?count=4", "audit_events", "id", 19),
        ("/v1/jwt-revocations?count=1", "jwt_revocations", "id", 0),
    ] {
        let (mut seen, mut next) = (HashSet::new(), String::new());
        loop {
            let page = world.ask("GET", &format!("{path}{next}"), &Value::Null).json();
            for item in page["data"][list].as_array().unwrap() {
                assert!(seen.insert(item[key].to_string()), "{path} showed one twice");
            }
            let Some(cursor) = page["data"]["pagination"]["next"].as_str() else { break };
            next = format!("&cursor={cursor}");
        }
        assert_eq!(seen.len(), all, "{path}");
    }
}

#[test]
fn a_repeated_request_makes_its_change_once_and_is_never_told_the_token() {
    let world = World::new();
    let create = |key: &str, name: &str| {
        let fields = format!("Idempotency-Key: {key}\r\n");
        world.ask_with("POST", "/v1/tokens", &fields, &json!({"workspace": "ws-us", "name": name}))
    };
    for bad in ["\"\"", "a b", &"x".repeat(256)] {
        assert_eq!(create(bad, "n").error()["field"], "Idempotency-Key", "{bad}");
    }
    let first = create("\"key-1\"", "n");
    let (id, token) = token_of(&first);
    let again = create("\"key-1\"", "n");
    assert_eq!((again.status, again.field("idempotency-replayed")), (201, Some("true")));
    let body = again.json();
    assert_eq!((&body["data"]["token"]["id"], &body["data"]["token"]["token"]), (&json!(id), &Value::Null));
    let other = create("\"key-1\"", "other");
    assert_eq!((other.status, &other.error()["field"]), (422, &json!("Idempotency-Key")));
    let listed = world.ask("GET", "/v1/tokens?workspace=ws-us", &Value::Null).json();
    assert_eq!(listed["data"]["tokens"].as_array().unwrap().len(), 1);
    // A refused request may be sent again, mended, under the same key.
    let fields = "Idempotency-Key: key-2\r\n";
    let path = "/v1/workspaces";
    assert_eq!(world.ask_with("POST", path, fields, &json!({"id": "late", "region": "mars"})).status, 422);
    assert_eq!(world.ask_with("POST", path, fields, &json!({"id": "late", "region": "us"})).status, 201);
    let folder = world.gateway.file.parent().unwrap();
    for file in ["tollgate.db", "tollgate.db-wal"] {
        let bytes = std::fs::read(folder.join(file)).unwrap_or_default();
        let part = &token.as_bytes()[8..40];
        assert!(!bytes.windows(part.len()).any(|window| window == part), "a token's text is in {file}");
    }
}

#[test]
fn overrides_are_set_shown_and_ended() {
    let world = World::new();
    let (id, token) = world.gateway.token("ws-us", &[]);
    let path = format!("/v1/tokens/{id}/overrides/default");
    let body = json!({"quota": "7 per minute", "until": "2099-01-01T00:00:00Z", "reason": "test"});
    let past = json!({"quota": "7 per minute", "until": "2001-01-01T00:00:00Z"});
    assert_eq!(world.refused("PUT", &path, &past), (422, "input_invalid".to_owned(), "until".to_owned()));
    let set = world.ask("PUT", &path, &body);
    assert_eq!((set.status, &set.json()["data"]["override"]["quota"]), (200, &json!("7 per minute")));
    assert_eq!(world.gateway.ask(&token, "/sources").field("x-ratelimit-remaining"), Some("6"));
    assert_eq!(world.ask("GET", &path, &Value::Null).json()["data"]["override"]["token"], json!(id));
    assert_eq!(world.ask("DELETE", &path, &Value::Null).status, 200);
    assert_eq!(world.ask("GET", &path, &Value::Null).status, 404);
    let left = world.gateway.ask(&token, "/sources").field("x-ratelimit-remaining").unwrap().to_owned();
    assert!(left.parse::<u32>().unwrap() > 5_000, "a seventh was used: {left}");
}

#[test]
fn the_audit_trail_is_verified_on_demand() {
    let world = World::new();
    let state =
        || world.ask("GET", "/v1/audit-verification", &Value::Null).json()["data"]["verification"].clone();
    assert_eq!(state()["state"], "not_started");
    assert_eq!(world.ask("POST", "/v1/audit-verification", &Value::Null).status, 202);
    let ended = until("the verification", || Some(state()).filter(|state| state["state"] != "running"));
    assert_eq!((&ended["state"], ended["verified"].as_u64() > Some(2)), (&json!("intact"), true), "{ended}");
}

#[test]
fn a_store_that_is_away_is_told_as_ours_and_tokens_go_on_working() {
    let world = World::new();
    let (_, token) = world.gateway.token("ws-us", &[]);
    let folder = world.gateway.file.parent().unwrap().to_owned();
    let locked = rusqlite::Connection::open(folder.join("tollgate.db")).unwrap();
    locked.execute_batch("BEGIN IMMEDIATE").unwrap();
    let answer = world.ask("POST", "/v1/tokens", &json!({"workspace": "ws-us"}));
    assert_eq!(answer.said(), (503, "registry_unavailable".to_owned()));
    assert!(answer.field("retry-after").is_some());
    assert!(!String::from_utf8_lossy(&answer.body).contains("tollgate.db"), "the store's place is told");
    assert_eq!(world.gateway.ask(&token, "/sources").status, 200);
    locked.execute_batch("ROLLBACK").unwrap();
    assert_eq!(world.ask("POST", "/v1/tokens", &json!({"workspace": "ws-us"})).status, 201);
}

#[test]
fn the_demo_has_an_operator_and_its_page_asks_for_one() {
    let demo = Demo::start();
    let operator = demo.text("/operator_token").to_owned();
    let page = ask_admin(demo.admin(), "/");
    let page = String::from_utf8(page.body).unwrap();
    assert!(page.contains("sessionStorage") && !page.contains("cookie") && !page.contains(&operator));
    let fields = format!("Authorization: Bearer {operator}\r\n");
    let status = send_admin(demo.admin(), "GET", "/status.json", &fields, "");
    assert_eq!((status.status, &status.json()["registry"]["store"]), (200, &json!("sqlite")));
    let listed = send_admin(demo.admin(), "GET", "/v1/workspaces", &fields, "").json();
    assert_eq!(listed["data"]["workspaces"].as_array().unwrap().len(), 4);
}

#[test]
fn a_live_node_explains_only_to_an_operator() {
    let world = World::new();
    let live = format!("http://{}", world.gateway.admin);
    let explain = |operator: Option<&str>| {
        let mut command = tollgate(&["explain", "GET", "/sources", "--workspace", "ws-us", "--live", &live]);
        command.env_remove("TOLLGATE_OPERATOR_TOKEN");
        if let Some(operator) = operator {
            command.env("TOLLGATE_OPERATOR_TOKEN", operator);
        }
        let mut process = Process::start(command);
        let status = process.wait();
        (status.code(), process.output())
    };
    let (code, said) = explain(None);
    assert!(code == Some(2) && said.contains("TOLLGATE_OPERATOR_TOKEN"), "{said}");
    let (code, said) = explain(Some("sga_wrong"));
    assert!(code == Some(1) && said.contains("refuses") && !said.contains("sga_wrong"), "{said}");
    let (code, said) = explain(Some(&world.gateway.operator));
    assert!(code == Some(0) && said.contains("forwarded"), "{said}");
}
