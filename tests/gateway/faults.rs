//! Exchanges that go wrong half-way: whose fault it was, what may have been done, and what is never reused.

use serde_json::Value;

use crate::support::{Behaviour, Gateway, Upstream, config, request, until};

fn gateway(upstream: &Upstream, listen: &str, more: &str) -> Gateway {
    let text = config(&upstream.url(), &upstream.url(), more);
    Gateway::start(&text.replacen("[listen]\n", &format!("[listen]\n{listen}\n"), 1))
}

/// The access line with this outcome.
fn line(gateway: &Gateway, outcome: &str) -> Value {
    let word = format!("\"outcome\":\"{outcome}\"");
    until(&word, || {
        let text = gateway.process.stdout.text();
        text.lines().find(|line| line.contains(&word)).map(|line| serde_json::from_str(line).unwrap())
    })
}

/// Answers with a head at once and then only reads.
fn early() -> Behaviour {
    Behaviour::Early("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n".to_owned())
}

#[test]
fn an_endless_answer_is_ended_at_the_total_deadline() {
    for behaviour in [Behaviour::Endless, Behaviour::Drip] {
        let upstream = Upstream::start(behaviour);
        let gateway = gateway(&upstream, "", "[upstream]\ntotal_timeout_seconds = 1\n");
        let (_, token) = gateway.token("ws-us", &[]);
        let mut client = gateway.connect();
        client.write(&request("GET", "/sources", &token, ""));
        assert_eq!(client.read_head().status, 200);
        let end = until("the end of the answer", || match client.read_some(usize::MAX) {
            Ok(part) if part.is_empty() => Some("closed"),
            Ok(_) => None,
            Err(_) => Some("reset"),
        });
        assert_eq!(line(&gateway, "upstream_timeout")["forwarded"], "yes", "{end}");
    }
}

#[test]
fn a_body_where_none_may_be_ends_the_connection() {
    for (method, answer) in [
        ("GET", "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n"),
        ("GET", "HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n"),
        ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"),
    ] {
        let upstream = Upstream::start(Behaviour::Answer(answer.to_owned()));
        let gateway = gateway(&upstream, "workers = 1", "");
        let (_, token) = gateway.token("ws-us", &[]);
        let mut client = gateway.connect();
        for asked in 1..=3 {
            client.send(&request(method, "/sources", &token, ""));
            assert_eq!(upstream.connections(), asked, "{answer}");
        }
    }
}

#[test]
fn a_fault_of_the_request_is_not_the_upstreams() {
    let upstream = Upstream::start(early());
    let gateway = gateway(&upstream, "body_idle_timeout_seconds = 1\nmax_body_bytes = 1000", "");
    let (_, token) = gateway.token("ws-us", &[]);
    let start = |fields: &str, body: &[u8]| {
        let mut client = gateway.connect();
        client.write(&[&request("PUT", "/sample/raw/x", &token, fields)[..], body].concat());
        assert_eq!(client.read_head().status, 200);
        client
    };
    let chunked = "Transfer-Encoding: chunked\r\n";
    let mut malformed = start(chunked, b"3\r\nabc\r\n");
    malformed.write(b"no size\r\n");
    assert_eq!(line(&gateway, "bad_request")["forwarded"], "yes");
    let mut long = start(chunked, b"3\r\nabc\r\n");
    long.write(&[b"fff\r\n", &[b'x'; 0xfff][..], b"\r\n"].concat());
    assert_eq!(line(&gateway, "body_too_large")["forwarded"], "yes");
    let slow = start("Content-Length: 50\r\n", b"abc");
    assert_eq!(line(&gateway, "request_timeout")["forwarded"], "yes");
    drop(slow);
    drop(start("Content-Length: 50\r\n", b"abc"));
    assert_eq!(line(&gateway, "client_gone")["forwarded"], "yes");
    assert_eq!(gateway.metrics().count("tollgate_refusals_total", &[("reason", "upstream_broken")]), 0);
}

#[test]
fn a_client_that_leaves_is_told_of_as_far_as_its_request_went() {
    let upstream = Upstream::start(Behaviour::Hang);
    let gateway = gateway(&upstream, "", "");
    let (_, token) = gateway.token("ws-us", &[]);
    let mut client = gateway.connect();
    client.write(&request("POST", "/sources", &token, ""));
    until("the request upstream", || upstream.text().contains("POST /sources").then_some(()));
    drop(client);
    let line = line(&gateway, "client_gone");
    assert_eq!((&line["forwarded"], &line["region"]), (&"maybe".into(), &"us".into()));
}

#[test]
fn fields_that_we_set_leave_once_and_ours_are_right() {
    let answer = "HTTP/1.1 200 OK\r\nVary: Origin\r\nRateLimit: \"theirs\";r=1;t=1\r\nRateLimit-Policy: \"theirs\";q=1;w=1\r\n\
                  X-RateLimit-Remaining: 999999999\r\nContent-Length: 0\r\n\r\n";
    let upstream = Upstream::start(Behaviour::Answer(answer.to_owned()));
    let policy = "[[limits.policies]]\nname = \"default\"\nper = [\"token\"]\nquota = \"100 per day\"\n";
    let gateway = gateway(&upstream, "", policy);
    let (_, token) = gateway.token("ws-us", &[]);
    let answer = gateway.ask(&token, "/sources");
    let all = |name: &str| -> Vec<&str> {
        let named = answer.fields.iter().filter(|(field, _)| field.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.as_str()).collect()
    };
    assert_eq!(all("vary"), ["Origin", "Accept"]);
    assert_eq!(all("ratelimit").len(), 1);
    assert!(all("ratelimit")[0].starts_with("\"default\""), "{answer:?}");
    assert_eq!(all("ratelimit-policy"), ["\"default\";q=100;w=86400"]);
    assert_eq!(all("x-ratelimit-remaining"), ["99"]);
}

#[test]
fn every_request_belongs_to_one_trace() {
    let upstream = Upstream::start(Behaviour::status(200, "us"));
    let gateway = gateway(&upstream, "", "");
    let (_, token) = gateway.token("ws-us", &[]);
    let sent_on = |target: &str, fields: &str| {
        gateway.connect().send(&request("GET", target, &token, fields));
        let text = upstream.text();
        let head = text.split("\r\n\r\n").find(|head| head.contains(&format!("GET {target} "))).unwrap();
        let parents: Vec<&str> = head.lines().filter_map(|line| line.strip_prefix("traceparent: ")).collect();
        assert_eq!(parents.len(), 1, "{head}");
        let logged = until("its line", || {
            let text = gateway.process.stdout.text();
            text.lines().find(|line| line.contains(&format!("\"{target}\""))).map(str::to_owned)
        });
        let logged: Value = serde_json::from_str(&logged).unwrap();
        assert_eq!(logged["trace_id"], parents[0][3..35], "{logged}");
        (parents[0].to_owned(), head.contains("tracestate"))
    };
    let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
    let given = sent_on("/sources/good", &format!("traceparent: {good}\r\ntracestate: a=1\r\n"));
    assert_eq!(given, (good.to_owned(), true));
    let mut started = vec![sent_on("/sources/none", "")];
    started.push(sent_on("/sources/bad", "traceparent: 00-0-0-01\r\ntracestate: a=1\r\n"));
    let twice = format!("traceparent: {good}\r\ntraceparent: {good}\r\n");
    started.push(sent_on("/sources/twice", &twice));
    for (parent, has_state) in &started {
        assert!(parent.len() == 55 && parent != good && !has_state, "{parent}");
    }
    assert_ne!(started[0], started[1]);
}
