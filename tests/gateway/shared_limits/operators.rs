//! What operators are shown of Redis: metrics, the status page, the log, and that a gateway stays ready.

use super::server::Server as Redis;
use crate::support::{Behaviour, Gateway, Upstream, ask_admin, config, until};

const REGION: [(&str, &str); 1] = [("region", "us")];

/// A gateway whose region `us` has a Redis with a password.
fn gateway(redis: &Redis, upstream: &Upstream) -> Gateway {
    let text = config(&upstream.url(), &upstream.url(), "");
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("word"), "hunter22\n").unwrap();
    let server = format!("redis = \"redis://:${{file:word}}@127.0.0.1:{}/2\"\n[regions.eu]", redis.port());
    Gateway::start_in(folder, &text.replacen("[regions.eu]", &server, 1))
}

#[test]
fn redis_goes_and_comes_and_operators_see_it() {
    let redis = Redis::with(&["--requirepass", "hunter22"]);
    let upstream = Upstream::start(Behaviour::status(200, "us"));
    let gateway = gateway(&redis, &upstream);
    let (_, token) = gateway.token("ws-us", &[]);
    let store = || gateway.operate("GET", "/status.json", "").json()["shared_limits"][0].clone();
    let breaker = || gateway.metrics().count("tollgate_redis_breaker", &REGION);
    let ready = || {
        let answer = ask_admin(gateway.admin, "/readyz");
        (answer.status, String::from_utf8(answer.body).unwrap())
    };
    assert_eq!((breaker(), gateway.metrics().count("tollgate_redis_replicas", &REGION)), (0, 1));
    assert_eq!((store()["breaker"].as_str(), store()["last_error"].as_str()), (Some("closed"), None));
    assert!(!ready().1.contains("Redis"));
    let mode = |mode| gateway.metrics().count("tollgate_limiter_mode", &[("region", "us"), ("mode", mode)]);
    let path = |path| gateway.metrics().count("tollgate_limit_path_total", &[("path", path)]);
    let (policies, asked) = (mode("lease") + mode("strict"), path("store") + path("lease"));
    assert!(policies > 0 && asked > 0, "{policies} {asked}");
    assert_eq!((mode("share"), path("share")), (0, 0));

    redis.kill();
    until("the breaker to open", || (breaker() > 0).then_some(()));
    assert!(store()["last_error"].is_string());
    assert_eq!((mode("share"), mode("lease"), mode("strict")), (policies, 0, 0));
    assert_eq!(store()["modes"], serde_json::json!({ "share": policies }));
    let (status, body) = ready();
    assert!(status == 200 && body.contains("limits of us are not shared"), "{status} {body}");
    assert_eq!(gateway.ask(&token, "/sources").status, 200);
    assert!(path("share") > 0);
    let told = |words: &str| gateway.process.stderr.text().contains(words);
    until("the mode to be told", || told(&format!("\"share\":{policies}")).then_some(()));

    redis.go();
    until("the breaker to close", || (breaker() == 0).then_some(()));
    let count = |words: &str| gateway.process.stderr.text().matches(words).count();
    until("the change to be told", || (count("shared limits: Redis answers") == 2).then_some(()));
    assert_eq!(count("shared limits: Redis is away"), 1);
    let shown = [gateway.process.output(), gateway.metrics().text, store().to_string()].concat();
    assert!(!shown.contains("hunter22"), "{shown}");
}

/// A gateway starts without it, and finds it later.
#[test]
fn a_gateway_starts_while_redis_is_away() {
    let redis = Redis::with(&["--requirepass", "hunter22"]);
    redis.kill();
    let upstream = Upstream::start(Behaviour::status(200, "us"));
    let gateway = gateway(&redis, &upstream);
    let (_, token) = gateway.token("ws-us", &[]);
    assert_eq!(gateway.ask(&token, "/sources").status, 200);
    assert_eq!(gateway.process.stderr.text().matches("shared limits: Redis is away").count(), 1);
    redis.go();
    until("it to be found", || {
        (gateway.metrics().count("tollgate_redis_breaker", &REGION) == 0).then_some(())
    });
}
