//! Tokens that are bound to networks, decoys, and tokens from new networks, by the real binary.

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::support::{
    Answer, Behaviour, Client, Demo, Gateway, Receiver, Signer, Upstream, claims, config, raw, request, run,
    run_json, until,
};

/// A gateway whose second listener is told by a balancer who the client is.
struct World {
    gateway: Gateway,
    balanced: SocketAddr,
    owner: Receiver,
    operator: Receiver,
    _upstreams: [Upstream; 2],
}

impl World {
    fn start() -> Self {
        let upstreams = ["us", "eu"].map(|region| Upstream::start(Behaviour::status(200, region)));
        let (owner, operator) = (Receiver::start(&["204 No Content"]), Receiver::start(&["204 No Content"]));
        let more = format!(
            "[tokens]\nnetwork_learning_hours = 0\n[notifications]\nallow_private_addresses = true\n\
             operator_contacts = [{:?}]\n",
            operator.url()
        );
        let listeners = "plain = [\"127.0.0.1:0\", { address = \"127.0.0.1:0\", proxy_protocol = \"require\", \
                         proxy_protocol_from = [\"127.0.0.1\"] }]\n";
        let text = config(&upstreams[0].url(), &upstreams[1].url(), &more);
        let gateway = Gateway::start(&text.replacen("plain = [\"127.0.0.1:0\"]\n", listeners, 1));
        let second = || gateway.process.listening("listening (plain text)", 1);
        let balanced = until("the second listener", second);
        let world = Self { gateway, balanced, owner, operator, _upstreams: upstreams };
        let contact = world.owner.url();
        world.command(&["workspace", "set", "ws-us", "--add-contact", &contact, "--json"]);
        world
    }

    fn command(&self, words: &[&str]) -> Value {
        let file = self.gateway.file.to_str().unwrap();
        run_json(&[&words[..1], &["--config", file], &words[1..]].concat())
    }

    /// A token that may not work from here.
    fn make(&self, more: &[&str]) -> (String, String) {
        let base = ["token", "create", "--json", "--workspace", "ws-us"];
        let made = self.command(&[&base[..], more].concat());
        let text = |name: &str| made[name].as_str().unwrap().to_owned();
        (text("id"), text("token"))
    }

    fn ask_from(&self, address: &str, token: &str, fields: &str) -> Answer {
        let family = if address.contains(':') { "TCP6" } else { "TCP4" };
        let to = if address.contains(':') { "2001:db8::9" } else { "198.51.100.9" };
        let header = format!("PROXY {family} {address} {to} 50000 443\r\n").into_bytes();
        let bytes = [header, request("GET", "/sources", token, fields)].concat();
        Client::connect(self.balanced).send(&bytes)
    }

    fn entries(&self, id: &str, kind: &str) -> Vec<Value> {
        let path = format!("/v1/audit-events?subject={id}&count=1000");
        let events = self.gateway.operate("GET", &path, "").json();
        let all = events["data"]["audit_events"].as_array().unwrap();
        all.iter().filter(|event| event["type"] == kind).cloned().collect()
    }
}

#[test]
fn a_token_is_refused_from_outside_its_networks_and_they_are_not_told() {
    let world = World::start();
    let (id, token) = world.make(&["--from", "192.0.2.0/24", "--from", "2001:db8:7::/48"]);
    let served = |address: &str| world.ask_from(address, &token, "").said();
    until("the gateway to know the token", || (served("192.0.2.7").0 == 200).then_some(()));
    for (address, status) in [
        ("192.0.2.255", 200),
        ("192.0.3.0", 403),
        ("2001:db8:7:ffff::1", 200),
        ("2001:db8:8::1", 403),
        ("::ffff:192.0.2.9", 200),
        ("::ffff:198.51.100.1", 403),
        ("127.0.0.1", 403),
    ] {
        let reason = if status == 200 { "" } else { "address_not_allowed" };
        assert_eq!(served(address), (status, reason.to_owned()), "{address}");
    }
    let refused = world.ask_from("::ffff:198.51.100.1", &token, "X-Forwarded-For: 192.0.2.7\r\n");
    let (error, text) = (refused.error(), String::from_utf8_lossy(&refused.body).into_owned());
    assert_eq!((&error["type"], &error["data"]["address"]), (&"forbidden".into(), &"198.51.100.1".into()));
    assert!(!text.contains("192.0.2") && !text.contains("2001:db8:7"), "a stranger is told: {text}");
    assert!(world.gateway.ask(&token, "/sources").status == 403, "the connection's own address");
    let page = world.ask_from("192.0.3.1", &token, "Accept: application/problem+json\r\n");
    assert_eq!(page.json()["status"], 403);

    let metrics =
        || world.gateway.metrics().count("tollgate_refusals_total", &[("reason", "address_not_allowed")]);
    until("the refusals to be counted", || (metrics() >= 6).then_some(()));
    let file = world.gateway.file.to_str().unwrap();
    let question = ["explain", "--config", file, "GET", "/sources", "--token-id", &id];
    let explained = |address: &str| {
        let output = run(&[&question[..], &["--address", address, "--format", "json"]].concat());
        serde_json::from_slice::<Value>(&output.stdout).unwrap()["outcome"].as_str().unwrap().to_owned()
    };
    assert_eq!(explained("203.0.113.1"), "address_not_allowed");
    assert_eq!(explained("192.0.2.1"), "forwarded");

    world.command(&["token", "set", &id, "--from-anywhere", "--json"]);
    until("the change", || (served("203.0.113.1").0 == 200).then_some(()));
    let rotated = world.command(&["token", "set", &id, "--from", "127.0.0.1", "--json"]);
    assert_eq!(rotated["allowed_networks"], json!(["127.0.0.1/32"]));
    until("the change", || (served("203.0.113.1").0 == 403).then_some(()));
    let successor = world.command(&["token", "rotate", &id, "--json"]);
    assert_eq!(successor["allowed_networks"], json!(["127.0.0.1/32"]), "rotation widened it");
    assert_eq!(world.entries(&id, "API Token Modified").len(), 2);
    for wrong in ["10.0.0.1/8", "localhost", "10.0.0.0/33"] {
        let output = run(&["token", "--config", file, "create", "--workspace", "ws-us", "--from", wrong]);
        assert_eq!(output.status.code(), Some(2), "{wrong}");
    }
}

#[test]
fn operators_and_owners_bind_tokens_too() {
    let demo = Demo::start();
    let owner = Signer::issuer(&demo, "RS256").sign(&claims(&demo, "owner"));
    let ask = |method: &str, path: &str, body: &Value| {
        let text = if body.is_null() { String::new() } else { body.to_string() };
        let fields = format!("Authorization: Bearer {owner}\r\n");
        demo.connect().send(&raw(method, &format!("/tollgate/v1/{path}"), &fields, text.as_bytes()))
    };
    let too_many: Vec<String> = (0..17).map(|n| format!("10.0.{n}.0/24")).collect();
    for (body, field) in [
        (json!({"allowedNetworks": ["everywhere"]}), "allowedNetworks"),
        (json!({"allowedNetworks": ["10.0.0.1/8"]}), "allowedNetworks"),
        (json!({"allowedNetworks": too_many}), "allowedNetworks"),
        (json!({"decoy": "yes"}), "decoy"),
    ] {
        let refused = ask("POST", "tokens", &body);
        assert_eq!((refused.status, &refused.error()["field"]), (422, &field.into()), "{body}");
    }
    let made = ask("POST", "tokens", &json!({"allowedNetworks": ["192.0.2.0/24"]})).json();
    let token = &made["data"]["token"];
    assert_eq!((&token["allowedNetworks"], &token["decoy"]), (&json!(["192.0.2.0/24"]), &json!(false)));
    let (id, secret) = (token["id"].as_str().unwrap(), token["token"].as_str().unwrap());
    let served = || demo.connect().send(&request("GET", "/sources", secret, "")).said();
    assert_eq!(served(), (403, "address_not_allowed".to_owned()));
    let foreign = demo.text("/tokens/eu/id");
    let home = ask("PATCH", &format!("tokens/{foreign}"), &json!({"name": "x"}));
    let mine = ask("PATCH", &format!("tokens/{id}"), &json!({"allowedNetworks": ["127.0.0.0/8"]}));
    assert_eq!((home.status, mine.status), (404, 200), "another workspace's token");
    assert_eq!(served().0, 200);
    let wrong = ask("PATCH", &format!("tokens/{id}"), &json!({"scopes": []}));
    assert_eq!((wrong.status, &wrong.error()["field"]), (422, &"scopes".into()));

    let operator = format!("Authorization: Bearer {}\r\n", demo.text("/operator_token"));
    let operate = |method: &str, path: &str, body: &Value| {
        crate::support::send_admin(demo.admin(), method, path, &operator, &body.to_string())
    };
    let path = format!("/v1/tokens/{id}");
    let bad = operate("PATCH", &path, &json!({"allowed_networks": ["x"]}));
    assert_eq!((bad.status, &bad.error()["field"]), (422, &"allowed_networks".into()));
    let set = operate("PATCH", &path, &json!({"allowed_networks": [], "name": "ci"}));
    assert_eq!((set.status, &set.json()["data"]["token"]["name"]), (200, &"ci".into()));
    operate("POST", &format!("{path}/revoke"), &json!({}));
    assert_eq!(operate("PATCH", &path, &json!({"name": "x"})).said(), (409, "conflict".to_owned()));
    assert_eq!(operate("PATCH", "/v1/tokens/tok_x", &json!({"name": "x"})).status, 404);
    let request = json!({"workspace": demo.text("/tokens/us/workspace"), "decoy": true});
    let decoy = operate("POST", "/v1/tokens", &request).json();
    assert_eq!(decoy["data"]["token"]["decoy"], true);
}

/// An answer less what is of one request alone.
fn told(answer: &Answer) -> (u16, Vec<(String, String)>, Value) {
    let mut body = answer.json();
    body["errors"][0]["data"]["requestId"] = Value::Null;
    let is_of_one = |name: &str| ["x-request-id", "date", "traceparent"].contains(&name);
    let fields = answer.fields.iter().filter(|(name, _)| !is_of_one(&name.to_lowercase())).cloned();
    (answer.status, fields.collect(), body)
}

#[test]
fn a_decoy_is_like_any_unknown_token_and_its_use_is_told() {
    let world = World::start();
    let (id, decoy) = world.make(&["--decoy", "--name", "in the wiki"]);
    let stranger = format!("{}{}", &decoy[..60], "0000000");
    let question = |token: &str| world.ask_from("192.0.2.7", token, "User-Agent: thief/1\r\n");
    let unknown = told(&question(&stranger));
    until("the gateway to know the decoy", || {
        assert_eq!(told(&question(&decoy)), unknown, "a decoy can be told from an unknown token");
        (world.gateway.metrics().count("tollgate_decoy_uses_total", &[]) > 0).then_some(())
    });
    let hook = until("the owner to be told", || world.owner.hooks().first().cloned());
    let told = until("the operator to be told", || world.operator.hooks().first().cloned());
    for hook in [&hook.json(), &told.json()] {
        let data = &hook["data"];
        assert_eq!((&hook["type"], &data["tokenId"]), (&"token.decoy_used".into(), &json!(id)));
        assert_eq!((&data["address"], &data["userAgent"]), (&"192.0.2.7".into(), &"thief/1".into()));
        assert_eq!(data["tokenName"], "in the wiki");
    }
    // In the query it is one, too.
    let target = format!("/sources?access_token={decoy}");
    let answer = world.gateway.connect().send(&raw("GET", &target, "", b""));
    assert_eq!(answer.said(), (401, "credential_in_query".to_owned()));
    let before = world.gateway.metrics().count("tollgate_decoy_uses_total", &[]);
    for _ in 0..50 {
        assert_eq!(question(&decoy).status, 401);
    }
    until("the uses to be counted", || {
        (world.gateway.metrics().count("tollgate_decoy_uses_total", &[]) == before + 50).then_some(())
    });
    assert_eq!(world.entries(&id, "Decoy Token Used").len(), 1, "told again within the hour");
    assert_eq!((world.owner.hooks().len(), world.operator.hooks().len()), (1, 1));
    let line = until("the record of a use", || {
        let text = world.gateway.process.stdout.text();
        text.lines().rfind(|line| line.contains(&id)).map(str::to_owned)
    });
    assert!(line.contains("token_unknown") && line.contains("192.0.2.7"), "{line}");
    let output = until("the log to tell of it", || {
        Some(world.gateway.process.output()).filter(|output| output.contains("a decoy was used"))
    });
    assert!(!output.contains(&decoy[..40]), "the decoy is in a log");

    let file = world.gateway.file.to_str().unwrap();
    let words = ["explain", "--config", file, "GET", "/sources", "--token-id", &id, "--format", "json"];
    let explained: Value = serde_json::from_slice(&run(&words).stdout).unwrap();
    assert_eq!(explained["outcome"], "token_unknown");
    assert!(explained["notes"][0].as_str().unwrap().contains("a decoy of workspace ws-us"), "{explained}");

    // A leak of it is no leak, and a revoked one tells nobody.
    let leaked = world.command(&["token", "revoke", &id, "--leaked-at", "https://example.com/x", "--json"]);
    assert_eq!(leaked["state"], "active");
    assert_eq!(world.entries(&id, "Decoy Token Found").len(), 1);
    world.command(&["token", "revoke", &id, "--json"]);
    let uses = || world.gateway.metrics().count("tollgate_decoy_uses_total", &[]);
    until("the decoy to be disarmed", || {
        let before = uses();
        assert_eq!(self::told(&question(&decoy)), unknown);
        (uses() == before).then_some(())
    });
}

#[test]
fn the_first_use_from_a_new_network_is_told_once() {
    let world = World::start();
    let (id, token) = world.make(&["--name", "ci"]);
    let served = |address: &str| world.ask_from(address, &token, "User-Agent: ci/2\r\n").status;
    until("the gateway to know the token", || (served("192.0.2.7") == 200).then_some(()));
    let known = || world.command(&["token", "show", &id, "--json"])["known_networks"].clone();
    until("the first network to be learnt", || {
        (known().as_array().is_some_and(|all| all.len() == 1)).then_some(())
    });
    for address in ["192.0.2.8", "192.0.2.9", "2001:db8:7:1::1", "2001:db8:7:2::1"] {
        assert_eq!(served(address), 200);
    }
    let hook = until("the message", || world.owner.hooks().first().cloned()).json();
    let data = &hook["data"];
    assert_eq!((&hook["type"], &data["network"]), (&"token.new_network".into(), &"2001:db8:7::/48".into()));
    assert_eq!((&data["tokenId"], &data["userAgent"]), (&json!(id), &"ci/2".into()));
    assert_eq!(data["knownNetworks"], json!(["192.0.2.0/24"]));
    assert_eq!(served("198.51.100.1"), 200);
    until("the second network", || {
        (world.entries(&id, "API Token Used From New Network").len() == 2).then_some(())
    });
    assert!(world.operator.hooks().is_empty(), "the workspace has contacts");
    assert_eq!(world.owner.hooks().len(), 1, "a second message in one hour");
    assert_eq!(known().as_array().unwrap().len(), 3);
}
