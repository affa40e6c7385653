//! What the upstream sees of a request, and the client of an answer: fields of one connection end here, and what
//! only the gateway may say is said by nobody else.

use crate::support::{Behaviour, Gateway, Upstream, config, request};
use crate::table::{Edge, Then, rows};

/// Sends a request with these lines, which has to pass, and shows what arrived: lower-case lines.
fn passed(edge: &Edge, lines: &str) -> Vec<String> {
    let text = format!("GET /sources HTTP/1.1\r\nHost: a\r\n$T{lines}\r\n");
    edge.answers(&rows("passes", 200, "", Then::GoesOn, [edge.fill(&text)]));
    let reached = edge.upstream.take();
    assert_eq!(reached.len(), 2, "{lines}: the request and the one that follows it: {reached:?}");
    reached[0].lines.iter().map(|line| line.to_lowercase()).collect()
}

#[test]
fn fields_of_one_connection_end_here() {
    let edge = Edge::start("");
    for line in [
        "Keep-Alive: timeout=5",
        "Proxy-Connection: keep-alive",
        "Proxy-Authorization: Basic eDp5",
        "Proxy-Authenticate: Basic",
        "TE: trailers",
        "TE: chunked",
        "Upgrade: h2c",
        "Upgrade: websocket",
        "Upgrade: TLS/1.0, HTTP/2.0",
        "HTTP2-Settings: AAMAAABkAAQAAP__",
        "Connection: keep-alive",
        "Connection: upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__",
        "Connection: TE\r\nTE: trailers",
        "Connection: X-Hop\r\nX-Hop: hop",
        "X-Hop: hop\r\nConnection: x-hop",
        "Connection: X-HOP , keep-alive\r\nx-hop: hop",
        "Connection: a\r\nX-Hop: hop\r\nConnection: b, X-Hop",
        "Connection: , ,X-Hop,,\r\nX-Hop: hop",
        "Connection:\tX-Hop\t\r\nX-Hop: hop",
        "Connection: X-Hop\r\nX-Hop: hop\r\nX-Hop: hop",
        "Proxy_Authorization: Basic eDp5",
        "Transfer_Encoding: chunked",
        "Expect: 100-continue",
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__",
    ] {
        let lines = passed(&edge, &format!("X-Kept: kept\r\n{line}\r\n"));
        assert!(lines.contains(&"x-kept: kept".to_owned()), "{line}: {lines:?}");
        for gone in [
            "connection",
            "keep-alive",
            "proxy-connection",
            "proxy-auth",
            "proxy_auth",
            "te:",
            "upgrade",
            "http2-settings",
            "x-hop",
            "transfer",
            "expect",
            "h2c",
            "trailers",
        ] {
            assert!(
                !lines.iter().any(|line| line.starts_with(gone) || line.contains(": h2c")),
                "{line}: {lines:?}"
            );
        }
    }
}

#[test]
fn nobody_else_says_who_the_caller_is() {
    let edge = Edge::start("");
    let clean = identity(&passed(&edge, ""));
    assert!(clean.len() >= 6, "{clean:?}");
    for name in [
        "X-Tollgate-Workspace",
        "X-Tollgate-Region",
        "X-Tollgate-Token-Id",
        "X-Tollgate-Plan",
        "X-Tollgate-Role",
        "X-Tollgate-Scopes",
        "X-Forwarded-For",
        "X-Forwarded-Proto",
        "X-Forwarded-Host",
        "X-Forwarded-Port",
        "X-Forwarded-Server",
        "X-Real-IP",
        "Forwarded",
    ] {
        let (lower, upper, under) = (name.to_lowercase(), name.to_uppercase(), name.replace('-', "_"));
        let mixed = name.replacen('-', "_", 1);
        for lines in [
            format!("{name}: forged\r\n"),
            format!("{lower}: forged\r\n"),
            format!("{upper}: forged\r\n{name}: forged\r\n"),
            format!("{under}: forged\r\n"),
            format!("{mixed}: forged\r\n"),
            format!("{}: forged\r\n", under.to_uppercase()),
            format!("Connection: {name}\r\n"),
            format!("Connection: close_, {lower}\r\n{name}: forged\r\n"),
            format!("Connection: x\r\nConnection: {upper}\r\n{under}: forged\r\n"),
            format!("{name}:\r\n"),
        ] {
            let reached = passed(&edge, &lines);
            assert!(!reached.iter().any(|line| line.contains("forged")), "{lines}: {reached:?}");
            assert_eq!(identity(&reached), clean, "{lines}");
        }
    }
}

/// The lines that say who the client is, without those that differ for each request.
fn identity(lines: &[String]) -> Vec<String> {
    let says = |line: &&String| {
        line.starts_with("x-tollgate") || line.contains("forwarded") || line.contains("real")
    };
    lines.iter().filter(says).cloned().collect()
}

#[test]
fn the_scheme_is_the_clients_own() {
    for (listen, proto) in [("", "http"), ("tls_ends_in_front = true", "https")] {
        let edge = Edge::start(listen);
        let reached = passed(&edge, "X-Forwarded-Proto: ftp\r\n");
        let said: Vec<&String> =
            reached.iter().filter(|line| line.starts_with("x-forwarded-proto")).collect();
        assert_eq!(said, [&format!("x-forwarded-proto: {proto}")]);
    }
}

#[test]
fn the_callers_credential_and_ids_are_ours() {
    let edge = Edge::start("");
    let reached = passed(&edge, "X-Request-Id: good-id-1\r\ntraceparent: junk\r\nX_Request_Id: other\r\n");
    assert!(
        !reached
            .iter()
            .any(|line| line.contains("authorization") || line.contains(&edge.token.to_lowercase()))
    );
    let ids: Vec<&String> =
        reached.iter().filter(|line| line.starts_with("x-request-id") || line.contains("other")).collect();
    assert_eq!(ids, ["x-request-id: good-id-1"]);
    assert!(!reached.iter().any(|line| line.contains("junk")));
    let reached = passed(
        &edge,
        "X-HTTP-Method-Override: DELETE\r\nX-Original-URL: /admin\r\nX-Rewrite-URL: /admin\r\n",
    );
    assert_eq!(reached[0], "get /sources http/1.1", "overrides route nothing");
}

#[test]
fn an_absolute_target_is_sent_on_in_origin_form() {
    let edge = Edge::start("");
    for (target, expected) in [
        ("http://a/sources?x=1", "get /sources?x=1 http/1.1"),
        ("HTTP://A/sources", "get /sources http/1.1"),
        ("https://a/sources", "get /sources http/1.1"),
    ] {
        let text = format!("GET {target} HTTP/1.1\r\nHost: a\r\n$T\r\n");
        edge.answers(&rows("absolute", 200, "", Then::GoesOn, [edge.fill(&text)]));
        let reached = edge.upstream.take();
        assert_eq!(reached[0].lines[0].to_lowercase(), expected);
        assert_eq!(reached[0].all("host"), ["a"]);
    }
}

/// `100 Continue` is ours to send, once, when the body is wanted.
#[test]
fn an_expectation_is_met_by_us() {
    let edge = Edge::start("");
    for expect in ["100-continue", "100-Continue", " \t100-CONTINUE "] {
        let mut client = edge.gateway.connect();
        let head =
            format!("POST /sources HTTP/1.1\r\nHost: a\r\n$TContent-Length: 5\r\nExpect: {expect}\r\n\r\n");
        client.write(&edge.fill(&head));
        assert_eq!(client.read_head().status, 100);
        client.write(b"hello");
        assert_eq!(client.read(false).status, 200);
        assert_eq!(edge.upstream.take()[0].body, b"hello");
    }
    let early = edge.fill(
        "POST /sources HTTP/1.1\r\nHost: a\r\n$TContent-Length: 5\r\nExpect: 100-continue\r\n\r\nhello",
    );
    edge.answers(&rows("the body did not wait", 200, "", Then::GoesOn, [early]));
    assert_eq!(edge.upstream.take()[0].body, b"hello");
    let old = edge.fill(
        "POST /sources HTTP/1.0\r\nHost: a\r\n$TContent-Length: 5\r\nExpect: 100-continue\r\n\r\nhello",
    );
    edge.answers(&rows("HTTP/1.0 knows none", 200, "", Then::Closes, [old]));
}

/// No tunnel: what follows an upgrade that was asked for is read as HTTP/1.1 like everything else.
#[test]
fn an_upgrade_is_never_taken_up() {
    let edge = Edge::start("");
    for upgrade in ["h2c", "websocket", "HTTP/2.0", "TLS/1.3", "x"] {
        let mut client = edge.gateway.connect();
        let head = format!(
            "GET /sources HTTP/1.1\r\nHost: a\r\n$TConnection: Upgrade, HTTP2-Settings\r\nUpgrade: {upgrade}\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n"
        );
        client.write(&edge.fill(&head));
        client.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        assert_eq!(client.read(false).status, 200, "{upgrade}");
        let refused = client.read(false);
        assert!(refused.status == 400 || refused.status == 501, "{upgrade}: {}", refused.status);
        assert_eq!(client.read_to_end().unwrap(), b"");
        assert_eq!(edge.upstream.take().len(), 1);
    }
}

#[test]
fn pipelined_requests_are_answered_in_order_and_a_bad_one_ends_them() {
    let edge = Edge::start("");
    let one = |path: &str| {
        String::from_utf8(edge.fill(&format!("GET {path} HTTP/1.1\r\nHost: a\r\n$T\r\n"))).unwrap()
    };
    let mut client = edge.gateway.connect();
    let all = [one("/sources?1"), one("/sources?2"), "GET / HTTP/1.1\r\n\r\n".to_owned(), one("/sources?3")]
        .concat();
    client.write(all.as_bytes());
    let statuses = [client.read(false).status, client.read(false).status, client.read(false).status];
    assert_eq!(statuses, [200, 200, 400]);
    assert_eq!(client.read_to_end().unwrap(), b"", "what stands behind a bad request is never read as one");
    let reached: Vec<String> = edge.upstream.take().iter().map(|request| request.lines[0].clone()).collect();
    assert_eq!(reached, ["GET /sources?1 HTTP/1.1", "GET /sources?2 HTTP/1.1"]);
}

#[test]
fn fields_of_the_upstreams_connection_end_here() {
    let upstream = Upstream::start(Behaviour::Hang);
    let gateway = Gateway::start(&config(&upstream.url(), &upstream.url(), ""));
    let (_, token) = gateway.token("ws-us", &[]);
    for line in [
        "Keep-Alive: timeout=5",
        "Proxy-Connection: keep-alive",
        "Proxy-Authenticate: Basic",
        "TE: trailers",
        "Upgrade: h2c",
        "Connection: X-Hop\r\nX-Hop: hop",
        "X-Hop: hop\r\nConnection: x-hop, keep-alive",
        "Connection: a\r\nConnection: X-HOP\r\nx-hop: hop",
        "Access-Control-Allow-Origin: *",
        "access-control-allow-credentials: true",
        "X-Request-Id: theirs",
        "Connection: X-Request-Id\r\nX-Request-Id: theirs",
        "Connection: keep-alive",
        "HTTP2-Settings: AAAA",
    ] {
        upstream.behave(Behaviour::Answer(format!(
            "HTTP/1.1 200 OK\r\nX-Kept: kept\r\n{line}\r\nContent-Length: 2\r\n\r\n{{}}"
        )));
        let answer = gateway.connect().send(&request("GET", "/sources", &token, ""));
        assert_eq!((answer.status, answer.field("x-kept")), (200, Some("kept")), "{line}");
        for name in [
            "connection",
            "keep-alive",
            "proxy-connection",
            "proxy-authenticate",
            "te",
            "upgrade",
            "x-hop",
            "http2-settings",
            "access-control-allow-origin",
            "access-control-allow-credentials",
        ] {
            assert_eq!(answer.field(name), None, "{line}");
        }
        let ids: Vec<_> =
            answer.fields.iter().filter(|(name, _)| name.eq_ignore_ascii_case("x-request-id")).collect();
        assert!(ids.len() == 1 && ids[0].1 != "theirs", "{line}: {ids:?}");
    }
}
