//! Which connections a drain may close: only those on which nothing has come.

use std::io::Write as _;
use std::net::TcpStream;

use crate::certificate::Certificate;
use crate::support::{Behaviour, Client, Gateway, PATIENCE, Upstream, config, request, until};

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

#[test]
fn a_handshake_that_has_begun_is_finished_and_a_silent_one_is_not_waited_for() {
    let upstream = Upstream::start(Behaviour::status(200, "us"));
    let certificate = Certificate::make();
    let text = config(&upstream.url(), &upstream.url(), "");
    let text = text.replacen("[listen]\n", "[listen]\ntls_handshake_timeout_seconds = 600\n", 1);
    let mut gateway = Gateway::start(&certificate.listens_in(&text, ""));
    let (_, token) = gateway.token("ws-us", &[]);
    let address = until("the TLS listener", || gateway.process.listening("listening (TLS)", 0));
    let mut session = Client::session("localhost", &certificate.chain);
    let mut hello = Vec::new();
    session.write_tls(&mut hello).unwrap();
    let mut begun = TcpStream::connect(address).unwrap();
    begun.set_read_timeout(Some(PATIENCE)).unwrap();
    begun.write_all(&hello[..5]).unwrap();
    let mut silent = Client::connect(address);
    until("both", || (gateway.metrics().count("tollgate_connections", &[]) == 2).then_some(()));
    gateway.process.signal("TERM");
    assert_eq!(silent.read_to_end().unwrap(), b"", "a silent connection is closed");
    begun.write_all(&hello[5..]).unwrap();
    let mut client = Client::encrypted(begun, session).unwrap();
    let answer = client.send(&request("GET", "/sources", &token, ""));
    assert_eq!((answer.status, answer.field("connection")), (200, Some("close")));
    drop(client);
    assert_eq!(gateway.process.wait().code(), Some(0));
}
