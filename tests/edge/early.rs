//! Answers that are given before the request's body was read: its bytes are never read as a request (CL.0).

use crate::table::{Edge, Then, rows};

const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";

fn post(line: &str, credential: &str, body: &str) -> Vec<u8> {
    format!("{line} HTTP/1.1\r\nHost: a\r\n{credential}Content-Length: {}\r\n\r\n{body}", body.len())
        .into_bytes()
}

#[test]
fn the_body_of_a_refused_request_is_no_request() {
    let edge = Edge::start("");
    let token = edge.credential();
    let long = SMUGGLED.repeat(3_000);
    for (line, credential, status, reason) in [
        ("POST /sources", "", 401, "credential_missing"),
        ("GET /sources", "", 401, "credential_missing"),
        ("DELETE /sources", "Authorization: Bearer x\r\n", 401, "token_unknown"),
        ("POST /sources", "Authorization: Basic eDp5\r\n", 401, "credential_malformed"),
        ("POST /sources/../x", &*token, 400, "ambiguous_path"),
        ("POST /tollgate/v1/whoami", &*token, 405, "method_not_allowed"),
        ("POST /tollgate/nothing", &*token, 404, "not_found"),
        (
            "OPTIONS /sources",
            "Origin: https://a\r\nAccess-Control-Request-Method: POST\r\n",
            403,
            "browser_preflight",
        ),
    ] {
        edge.refuses(&rows("short body", status, reason, Then::GoesOn, [post(line, credential, SMUGGLED)]));
        edge.refuses(&rows("long body", status, reason, Then::Closes, [post(line, credential, &long)]));
        let chunked = format!(
            "{line} HTTP/1.1\r\nHost: a\r\n{credential}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{SMUGGLED}\r\n0\r\n\r\n",
            SMUGGLED.len()
        );
        edge.refuses(&rows("chunked body", status, reason, Then::Closes, [chunked.into_bytes()]));
        let waiting = format!(
            "{line} HTTP/1.1\r\nHost: a\r\n{credential}Content-Length: 36\r\nExpect: 100-continue\r\n\r\n"
        );
        edge.refuses(&rows("body that waits", status, reason, Then::Closes, [waiting.into_bytes()]));
    }
}

/// 0.CL: a body behind a request that announces none is the next request, and refused if it is none.
#[test]
fn a_request_without_a_length_has_no_body() {
    let edge = Edge::start("");
    for lines in [
        "",
        "Content-Length: 0\r\n",
        "Expect: 100-continue\r\n",
        "Content-Length: 0\r\nExpect: 100-continue\r\n",
    ] {
        let mut client = edge.gateway.connect();
        client.write(&edge.fill(&format!("POST /sources HTTP/1.1\r\nHost: a\r\n$T{lines}\r\nx=1&y=2")));
        assert_eq!(client.read(false).status, 200, "{lines}");
        client.write(b"GET /sources HTTP/1.1\r\nHost: a\r\n\r\n");
        let answer = client.read(false);
        assert_eq!(answer.status, 400, "{lines}: {}", answer.status);
        assert_eq!(client.read_to_end().unwrap(), b"");
        assert_eq!(edge.upstream.take().len(), 1, "{lines}");
    }
}
