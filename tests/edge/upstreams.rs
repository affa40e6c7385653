//! Hostile and broken upstreams: an answer that two readers could take differently is a 502, and the connection
//! that it came on serves nobody else.

use crate::support::{Behaviour, Gateway, Upstream, config, request, until};

struct Case {
    gateway: Gateway,
    upstream: Upstream,
    token: String,
}

impl Case {
    fn start() -> Self {
        let upstream = Upstream::start(Behaviour::Hang);
        // One worker, so that there is one pool whose connections can be counted.
        let text = config(&upstream.url(), &upstream.url(), "");
        let gateway = Gateway::start(&text.replacen("[listen]\n", "[listen]\nworkers = 1\n", 1));
        let (_, token) = gateway.token("ws-us", &[]);
        Self { gateway, upstream, token }
    }

    /// The status and reason of a request that the upstream answers so.
    fn said(&self, answer: &str) -> (u16, String) {
        self.upstream.behave(Behaviour::Answer(answer.to_owned()));
        self.gateway.connect().send(&request("GET", "/sources", &self.token, "")).said()
    }

    /// That the next request gets its own answer, on another connection.
    fn goes_on(&self, after: &str) {
        let before = self.upstream.connections();
        let own = "HTTP/1.1 200 OK\r\nX-Own: own\r\nContent-Length: 2\r\n\r\n{}";
        self.upstream.behave(Behaviour::Answer(own.to_owned()));
        let answer = self.gateway.connect().send(&request("GET", "/sources", &self.token, ""));
        assert_eq!((answer.status, answer.field("x-own")), (200, Some("own")), "after {after:?}");
        assert_eq!(self.upstream.connections(), before + 1, "{after:?}: its connection is not used again");
    }
}

#[test]
fn broken_answers_are_502() {
    let case = Case::start();
    let ok = |lines: &str, body: &str| format!("HTTP/1.1 200 OK\r\n{lines}\r\n{body}");
    let chunked = |body: &str| ok("Transfer-Encoding: chunked\r\n", body);
    let answers = [
        ok("Content-Length: 2\r\nContent-Length: 3\r\n", "{}x"),
        ok("Content-Length: 2, 2\r\n", "{}"),
        ok("Content-Length: +2\r\n", "{}"),
        ok("Content-Length: 0x2\r\n", "{}"),
        ok("Content-Length: -2\r\n", "{}"),
        ok("Content-Length:\r\n", "{}"),
        ok("Content-Length: 99999999999999999999\r\n", "{}"),
        ok("Content-Length: 2\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
        ok("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "0\r\n\r\n"),
        ok("Transfer-Encoding: gzip\r\n", "x"),
        ok("Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n"),
        ok("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
        ok("Transfer-Encoding: identity\r\n", "x"),
        ok("Transfer-Encoding: xchunked\r\n", "0\r\n\r\n"),
        ok("Content-Length : 2\r\n", "{}"),
        ok(" Content-Length: 2\r\n", "{}"),
        ok("X: y\r\n z\r\nContent-Length: 2\r\n", "{}"),
        ok("X\r\nContent-Length: 2\r\n", "{}"),
        ok(": y\r\nContent-Length: 2\r\n", "{}"),
        ok("X: a\0b\r\nContent-Length: 2\r\n", "{}"),
        ok("X: a\rb\r\nContent-Length: 2\r\n", "{}"),
        ok("X y: z\r\nContent-Length: 2\r\n", "{}"),
        ok("X: y\nContent-Length: 2\r\n", "{}"),
        "HTTP/1.1 200 OK\nContent-Length: 2\r\n\r\n{}".to_owned(),
        ok(&format!("Connection: {}\r\nContent-Length: 2\r\n", "x,".repeat(65)), "{}"),
        chunked("5\nhello\r\n0\r\n\r\n"),
        chunked("5\r\nhello\n0\r\n\r\n"),
        chunked("5\r\nhelloX\r\n0\r\n\r\n"),
        chunked("+5\r\nhello\r\n0\r\n\r\n"),
        chunked("0x5\r\nhello\r\n0\r\n\r\n"),
        chunked("5 \r\nhello\r\n0\r\n\r\n"),
        chunked("g\r\n"),
        chunked("0\r\nX y\r\n\r\n"),
        chunked("0\r\nX: y\n\r\n"),
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n".to_owned(),
        "HTTP/1.1 101 Switching Protocols\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}".to_owned(),
        "HTTP/1.1 099 Low\r\nContent-Length: 2\r\n\r\n{}".to_owned(),
        "HTTP/1.1 600 High\r\nContent-Length: 2\r\n\r\n{}".to_owned(),
        "HTTP/1.1 20 OK\r\nContent-Length: 2\r\n\r\n{}".to_owned(),
        "HTTP/1.1 2000 OK\r\nContent-Length: 2\r\n\r\n{}".to_owned(),
        "HTTP/1.1 2x0 OK\r\nContent-Length: 2\r\n\r\n{}".to_owned(),
        "HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}".to_owned(),
        "HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\n{}".to_owned(),
        "HTTP/1.2 200 OK\r\nContent-Length: 2\r\n\r\n{}".to_owned(),
        "http/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}".to_owned(),
        "ICY 200 OK\r\nContent-Length: 2\r\n\r\n{}".to_owned(),
        "SSH-2.0-OpenSSH_9.2\r\n\r\n".to_owned(),
        "{\"no\":\"http\"}\r\n\r\n".to_owned(),
        "\0\0\0\0\r\n\r\n".to_owned(),
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_owned(),
        format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "y".repeat(70_000)),
        format!("HTTP/1.1 200 OK\r\n{}Content-Length: 2\r\n\r\n{{}}", "X: y\r\n".repeat(1_000)),
        "HTTP/1.1 100 Continue\r\n\r\n".repeat(20),
    ];
    for answer in &answers {
        let shown: String = answer.chars().take(120).collect();
        assert_eq!(case.said(answer), (502, "upstream_broken".to_owned()), "{shown:?}");
        case.goes_on(&shown);
    }
}

/// Bytes behind an answer are nobody's answer (response splitting, queue poisoning).
#[test]
fn what_stands_behind_an_answer_is_nobodys() {
    let case = Case::start();
    let split = "HTTP/1.1 200 OK\r\nX-Split: split\r\nContent-Length: 2\r\n\r\n{}";
    for first in [
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    ] {
        let answer = case.said(&[first, split].concat());
        assert!(matches!(answer.0, 200 | 204 | 304), "{first:?}: {answer:?}");
        case.goes_on(first);
    }
}

/// Interim answers are the upstream's business with us.
#[test]
fn interim_answers_are_not_passed_on() {
    let case = Case::start();
    for interim in [
        "HTTP/1.1 100 Continue\r\n\r\n",
        "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n",
        "HTTP/1.1 102 Processing\r\n\r\n",
    ] {
        let answer = format!("{interim}HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{{}}");
        case.upstream.behave(Behaviour::Answer(answer));
        let mut client = case.gateway.connect();
        client.write(&request("GET", "/sources", &case.token, ""));
        assert_eq!(client.read_head().status, 200, "{interim:?}");
    }
}

/// A length that describes a body which is not sent leaves the client's connection in step.
#[test]
fn answers_without_a_body_leave_the_client_in_step() {
    let case = Case::start();
    for (method, answer, length) in [
        ("GET", "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", None),
        ("GET", "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n", None),
        ("GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", Some("5")),
        ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", Some("5")),
        ("HEAD", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", None),
        ("HEAD", "HTTP/1.1 200 OK\r\n\r\n", None),
    ] {
        case.upstream.behave(Behaviour::Answer(answer.to_owned()));
        let mut client = case.gateway.connect();
        for _ in 0..2 {
            client.write(&request(method, "/sources", &case.token, ""));
            let head = client.read_head();
            assert_eq!(
                (head.field("content-length"), head.field("transfer-encoding")),
                (length, None),
                "{answer}"
            );
        }
        case.upstream.behave(Behaviour::status(200, "us"));
        let last = client.send(&request("GET", "/sources", &case.token, ""));
        assert_eq!((last.status, &*last.body), (200, &b"{\"data\":{}}"[..]), "{answer}");
    }
}

#[test]
fn an_upstream_that_closes_or_resets_is_a_502_and_counted() {
    let case = Case::start();
    for behaviour in [Behaviour::Close, Behaviour::Reset] {
        case.upstream.behave(behaviour);
        let answer =
            case.gateway.connect().send(&request("POST", "/sources", &case.token, "Content-Length: 0\r\n"));
        assert_eq!(answer.said(), (502, "upstream_broken".to_owned()));
        assert_eq!(answer.error()["data"]["forwarded"], "maybe");
    }
    until("both records", || {
        let broken = [("outcome", "upstream_broken")];
        (case.gateway.metrics().count("tollgate_requests_total", &broken) == 2).then_some(())
    });
}
