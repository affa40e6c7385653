//! Upstreams that fail: each kind of failure has its outcome, what is safe goes elsewhere, what is not does not.

use std::net::TcpListener;

use crate::support::{Answer, Behaviour, Gateway, Upstream, config, request, run_json, until};

/// A gateway whose region `us` has these upstreams.
fn gateway(upstreams: &[&str], more: &str) -> Gateway {
    let (first, others) = upstreams.split_first().unwrap();
    let text = config(first, first, more);
    let list =
        std::iter::once(first).chain(others).map(|url| format!("{url:?}")).collect::<Vec<_>>().join(", ");
    Gateway::start(&text.replacen(&format!("upstreams = [{first:?}]"), &format!("upstreams = [{list}]"), 1))
}

fn forwarded(answer: &Answer) -> String {
    answer.error()["data"]["forwarded"].as_str().unwrap().to_owned()
}

fn ask(gateway: &Gateway, method: &str, token: &str) -> Answer {
    gateway.connect().send(&request(method, "/sources", token, ""))
}

/// How many requests of a method it got.
fn got(upstream: &Upstream, method: &str) -> usize {
    upstream.text().matches(&format!("{method} /sources HTTP/1.1\r\n")).count()
}

#[test]
fn each_kind_of_failure_has_its_outcome() {
    let (blackhole, _held) = Upstream::blackhole();
    let running: Vec<Upstream> = [
        Behaviour::Hang,
        Behaviour::Answer("no HTTP at all\r\n\r\n".to_owned()),
        Behaviour::Answer("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n".to_owned()),
        Behaviour::Reset,
        Behaviour::Close,
    ]
    .map(Upstream::start)
    .into();
    let urls: Vec<String> = running.iter().map(Upstream::url).collect();
    let refusing = Upstream::refusing();
    for (url, status, outcome, said) in [
        (&refusing, 502, "upstream_unreachable", "no"),
        (&blackhole, 504, "upstream_timeout", "no"),
        (&urls[0], 504, "upstream_timeout", "maybe"),
        (&urls[1], 502, "upstream_broken", "yes"),
        (&urls[2], 502, "upstream_broken", "yes"),
        (&urls[3], 502, "upstream_broken", "maybe"),
        (&urls[4], 502, "upstream_broken", "maybe"),
    ] {
        let bounds = "[upstream]\nfirst_byte_timeout_seconds = 1\nconnect_timeout_milliseconds = 300\n";
        let gateway = gateway(&[url], bounds);
        let (_, token) = gateway.token("ws-us", &[]);
        for method in ["GET", "POST"] {
            let answer = ask(&gateway, method, &token);
            assert_eq!(answer.said(), (status, outcome.to_owned()), "{method} {url}");
            assert_eq!(forwarded(&answer), said, "{method} {url}");
        }
    }
}

#[test]
fn what_is_safe_to_repeat_is_served_by_another_upstream() {
    let good = Upstream::start(Behaviour::status(200, "us"));
    let good_url = good.url();
    let off = "[upstream.ejection]\nafter_failures = 0\n[upstream.breaker]\nafter_failures = 0\n";
    let refusing = Upstream::refusing();
    let gateway_one = gateway(&[&refusing, &good_url], off);
    let (_, token) = gateway_one.token("ws-us", &[]);
    for method in ["GET", "POST", "DELETE"].iter().cycle().take(30) {
        assert_eq!(ask(&gateway_one, method, &token).status, 200, "{method}: nothing of it was written");
    }
    assert!(gateway_one.metrics().count("tollgate_upstream_retries_total", &[]) > 0);
    let (resetting, good) =
        (Upstream::start(Behaviour::Reset), Upstream::start(Behaviour::status(200, "us")));
    let (bad_url, good_url) = (resetting.url(), good.url());
    let gateway_two = gateway(&[&bad_url, &good_url], off);
    let (_, token) = gateway_two.token("ws-us", &[]);
    for _ in 0..30 {
        assert_eq!(ask(&gateway_two, "GET", &token).status, 200);
    }
    assert!(got(&resetting, "GET") > 0, "some went there first");
    let mut served = 0;
    for _ in 0..30 {
        let answer = ask(&gateway_two, "POST", &token);
        served += usize::from(answer.status == 200);
        if answer.status != 200 {
            assert_eq!(answer.said(), (502, "upstream_broken".to_owned()));
            assert_eq!(forwarded(&answer), "maybe");
        }
    }
    assert_eq!(got(&good, "POST"), served, "a POST that was written is never sent again");
    assert_eq!(got(&resetting, "POST") + served, 30);
}

#[test]
fn the_retry_budget_bounds_what_is_sent_again() {
    let (resetting, good) =
        (Upstream::start(Behaviour::Reset), Upstream::start(Behaviour::status(200, "us")));
    let (bad_url, good_url) = (resetting.url(), good.url());
    let rules = "[upstream.ejection]\nafter_failures = 0\n[upstream.breaker]\nafter_failures = 0\n\
                 [upstream.retries]\nbudget_percent = 0\nbudget_floor_per_second = 0\n";
    let gateway = gateway(&[&bad_url, &good_url], rules);
    let (_, token) = gateway.token("ws-us", &[]);
    let failed = (0..40).filter(|_| ask(&gateway, "GET", &token).status == 502).count();
    assert!(failed > 0);
    let metrics = gateway.metrics();
    let pairs = [("region", "us")];
    assert_eq!(metrics.count("tollgate_upstream_retry_budget_exhausted_total", &pairs), failed as u64);
    assert_eq!(metrics.count("tollgate_upstream_retries_total", &[]), 0);
}

#[test]
fn a_breaker_spares_an_upstream_and_lets_it_back() {
    let refusing = Upstream::refusing();
    let gateway = gateway(&[&refusing], "[upstream.breaker]\nafter_failures = 3\nseconds = 2\n");
    let (_, token) = gateway.token("ws-us", &[]);
    for _ in 0..3 {
        assert_eq!(ask(&gateway, "GET", &token).said(), (502, "upstream_unreachable".to_owned()));
    }
    let open = ask(&gateway, "POST", &token);
    assert_eq!(open.said(), (503, "upstream_open".to_owned()));
    assert_eq!(forwarded(&open), "no");
    let wait: u64 = open.field("retry-after").unwrap().parse().unwrap();
    assert!((1..=2).contains(&wait), "{wait}");
    let labels = [("region", "us"), ("upstream", refusing.as_str())];
    let metrics = gateway.metrics();
    assert_eq!(metrics.count("tollgate_upstream_breaker", &labels), 2);
    assert_eq!(metrics.count("tollgate_upstream_healthy", &labels), 0);
    let listener = TcpListener::bind(refusing.strip_prefix("http://").unwrap()).unwrap();
    let back = Upstream::on(listener, Behaviour::status(200, "us"));
    until("the breaker to let it back", || (ask(&gateway, "GET", &token).status == 200).then_some(()));
    assert_eq!(gateway.metrics().count("tollgate_upstream_breaker", &labels), 0);
    assert!(got(&back, "GET") >= 1);
}

#[test]
fn an_upstream_that_fails_its_checks_gets_no_requests_until_they_succeed() {
    let (one, two) =
        (Upstream::start(Behaviour::status(200, "us")), Upstream::start(Behaviour::status(200, "us")));
    let (one_url, two_url) = (one.url(), two.url());
    let check = "[upstream.health_check]\npath = \"/health\"\ninterval_seconds = 1\nunhealthy_after = 1\nhealthy_after = 1\n";
    let gateway = gateway(&[&one_url, &two_url], check);
    let (_, token) = gateway.token("ws-us", &[]);
    let healthy = |url: &str| {
        gateway.metrics().count("tollgate_upstream_healthy", &[("region", "us"), ("upstream", url)])
    };
    one.behave(Behaviour::status(500, "us"));
    until("the check to fail", || (healthy(&one_url) == 0).then_some(()));
    let before = got(&one, "GET");
    for _ in 0..20 {
        assert_eq!(ask(&gateway, "GET", &token).status, 200);
    }
    assert_eq!(got(&one, "GET"), before);
    two.behave(Behaviour::status(500, "us"));
    until("both checks to fail", || (healthy(&two_url) == 0).then_some(()));
    assert_eq!(ask(&gateway, "GET", &token).status, 500, "one that seems bad is better than none");
    one.behave(Behaviour::status(200, "us"));
    until("the check to succeed", || (healthy(&one_url) == 1).then_some(()));
    assert_eq!(ask(&gateway, "GET", &token).status, 200);
    assert!(one.text().contains("GET /health HTTP/1.1\r\n"));
}

#[test]
fn an_upstream_that_answers_5xx_is_left_out_for_a_while() {
    let (bad, good) =
        (Upstream::start(Behaviour::status(500, "us")), Upstream::start(Behaviour::status(200, "us")));
    let (bad_url, good_url) = (bad.url(), good.url());
    let gateway = gateway(&[&bad_url, &good_url], "[upstream.ejection]\nafter_failures = 2\n");
    let (_, token) = gateway.token("ws-us", &[]);
    until("the ejection", || {
        ask(&gateway, "GET", &token);
        let labels = [("region", "us"), ("upstream", bad_url.as_str())];
        (gateway.metrics().count("tollgate_upstream_ejections_total", &labels) == 1).then_some(())
    });
    let before = got(&bad, "GET");
    for _ in 0..20 {
        assert_eq!(ask(&gateway, "GET", &token).status, 200);
    }
    assert_eq!(got(&bad, "GET"), before);
    let page = gateway.operate("GET", "/status.json", "").json();
    let status = page["upstreams"].as_array().unwrap().iter().find(|one| one["address"] == *bad_url).unwrap();
    assert_eq!((&status["healthy"], &status["ejections"]), (&false.into(), &1.into()));
}

#[test]
fn a_connection_with_more_than_was_asked_for_serves_nobody_else() {
    let answer = |body: &str| format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let upstream = Upstream::start(Behaviour::Answer(answer("mine") + &answer("somebody else's")));
    let url = upstream.url();
    let gateway = gateway(&[&url], "");
    let (_, token) = gateway.token("ws-us", &[]);
    let mut client = gateway.connect();
    for _ in 0..100 {
        let answer = client.send(&request("POST", "/sources", &token, ""));
        assert_eq!((answer.status, &*answer.body), (200, &b"mine"[..]));
    }
}

#[test]
fn one_workspace_whose_requests_hang_leaves_room_for_others() {
    let whole = Behaviour::status(200, "us");
    let Behaviour::Answer(answer) = whole else { panic!() };
    let upstream = Upstream::start(Behaviour::HangOn("/slow", answer));
    let url = upstream.url();
    let rules = "[upstream.in_flight]\nmost = 8\nleast = 8\n\
                 [[limits.policies]]\nname = \"default\"\nper = [\"token\"]\nquota = \"100 per day\"\n";
    let gateway = gateway(&[&url], rules);
    let (_, greedy) = gateway.token("ws-us", &[]);
    let file = gateway.file.to_str().unwrap();
    run_json(&["workspace", "--config", file, "create", "ws-other", "--region", "us", "--json"]);
    let (_, other) = gateway.token("ws-other", &[]);
    let mut hanging = Vec::new();
    for count in 1..=4 {
        let mut client = gateway.connect();
        client.write(&request("GET", "/sources/slow", &greedy, ""));
        hanging.push(client);
        until("it upstream", || (upstream.text().matches("/slow").count() == count).then_some(()));
    }
    for _ in 0..10 {
        let answer = gateway.ask(&greedy, "/sources/slow");
        assert_eq!(answer.said(), (429, "too_many_in_flight".to_owned()));
        assert_eq!(answer.error()["data"]["forwarded"], "no");
        assert!(answer.field("retry-after").is_some());
    }
    for _ in 0..20 {
        assert_eq!(gateway.ask(&other, "/sources").status, 200);
    }
    assert_eq!(upstream.text().matches("/slow").count(), 4);
    let admitted = [("policy", "default"), ("decision", "admit")];
    let count = gateway.metrics().count("tollgate_limit_decisions_total", &admitted);
    assert_eq!(count, 24, "a refused request consumes nothing");
    drop(hanging);
    until("the places to come back", || (gateway.ask(&greedy, "/sources").status == 200).then_some(()));
}

#[test]
fn names_are_resolved_and_one_that_cannot_be_does_not_stop_the_start() {
    let upstream = Upstream::start(Behaviour::status(200, "us"));
    let port = upstream.url().rsplit(':').next().unwrap().to_owned();
    let named = gateway(&[&format!("http://localhost:{port}")], "");
    let (_, token) = named.token("ws-us", &[]);
    for _ in 0..10 {
        assert_eq!(ask(&named, "POST", &token).status, 200);
    }
    let lost = gateway(&["http://upstream.invalid:80"], "");
    let (_, token) = lost.token("ws-us", &[]);
    let answer = ask(&lost, "GET", &token);
    assert_eq!(answer.said(), (502, "upstream_unreachable".to_owned()));
    assert_eq!(forwarded(&answer), "no");
}

#[test]
fn upstreams_change_while_the_gateway_runs() {
    let (one, two) =
        (Upstream::start(Behaviour::status(200, "us")), Upstream::start(Behaviour::status(200, "us")));
    let (one_url, two_url) = (one.url(), two.url());
    let gateway = gateway(&[&one_url], "");
    let (_, token) = gateway.token("ws-us", &[]);
    let mut client = gateway.connect();
    let bytes = request("GET", "/sources", &token, "");
    assert_eq!(client.send(&bytes).status, 200);
    let text = std::fs::read_to_string(&gateway.file).unwrap();
    std::fs::write(&gateway.file, text.replace(&one_url, &two_url)).unwrap();
    gateway.process.signal("HUP");
    until("the other upstream", || {
        assert_eq!(client.send(&bytes).status, 200, "on one connection all the time");
        (got(&two, "GET") > 0).then_some(())
    });
    let before = got(&one, "GET");
    for _ in 0..10 {
        assert_eq!(client.send(&bytes).status, 200);
    }
    assert_eq!(got(&one, "GET"), before);
    let page = gateway.operate("GET", "/status.json", "").json();
    assert!(page["upstreams"].as_array().unwrap().iter().all(|one| one["address"] == *two_url), "{page}");
}
