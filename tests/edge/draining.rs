//! Which connections a drain may close: only those on which nothing has come.

use crate::support::{Behaviour, Gateway, Upstream, config, request, until};

#[test]
fn a_connection_on_which_a_byte_has_come_is_served() {
    let upstream = Upstream::start(Behaviour::status(200, "us"));
    let mut gateway = Gateway::start(&config(&upstream.url(), &upstream.url(), ""));
    let (_, token) = gateway.token("ws-us", &[]);
    let bytes = request("POST", "/sources", &token, "Content-Length: 2\r\n");
    // After one byte it may still become the preface of HTTP/2.
    let mut begun: Vec<_> = [1, 2, 4, 30].map(|length| (length, gateway.connect())).into();
    for (length, client) in &mut begun {
        client.write(&bytes[..*length]);
    }
    let mut silent = gateway.connect();
    until("five connections", || (gateway.metrics().count("tollgate_connections", &[]) == 5).then_some(()));
    gateway.process.signal("TERM");
    assert_eq!(silent.read_to_end().unwrap(), b"", "a silent connection is closed");
    for (length, client) in &mut begun {
        client.write(&bytes[*length..]);
        client.write(b"{}");
        let answer = client.read(false);
        assert_eq!((answer.status, answer.field("connection")), (200, Some("close")), "after {length} bytes");
    }
    assert_eq!(gateway.process.wait().code(), Some(0));
}

#[test]
fn a_silent_connection_may_still_begin_while_the_drain_begins() {
    let upstream = Upstream::start(Behaviour::status(200, "us"));
    let mut gateway = Gateway::start(&config(&upstream.url(), &upstream.url(), ""));
    let (_, token) = gateway.token("ws-us", &[]);
    let mut client = gateway.connect();
    until("the connection", || (gateway.metrics().count("tollgate_connections", &[]) == 1).then_some(()));
    gateway.process.signal("TERM");
    until("the drain", || gateway.process.stderr.text().contains("draining").then_some(()));
    // The request and the drain cross.
    let answer = client.send(&request("GET", "/sources", &token, ""));
    assert_eq!((answer.status, answer.field("connection")), (200, Some("close")));
    assert_eq!(gateway.process.wait().code(), Some(0));
}
