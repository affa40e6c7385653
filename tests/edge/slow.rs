//! Silent, slow and stalling clients: each wait ends by its deadline, and nobody else notices.

use std::thread;

use crate::certificate::Certificate;
use crate::frames::{
    CONTINUATION, END_HEADERS, Frames, HEADERS, PREFACE, SETTINGS, Said, block, frame, request_fields,
};
use crate::support::{Behaviour, Client, Gateway, Upstream, config, request, until};
use crate::table::Edge;

const SHORT: &str = "head_timeout_seconds = 1\nbody_idle_timeout_seconds = 1\nkeep_alive_timeout_seconds = 1\nwrite_timeout_seconds = 1";

/// Sends a byte now and then until the gateway has had enough, and returns what it said.
fn drip(mut client: Client, bytes: &[u8]) -> Vec<u8> {
    let mut socket = client.tcp().try_clone().unwrap();
    let rest = bytes.to_vec();
    let dripping = thread::spawn(move || {
        for byte in rest {
            if std::io::Write::write_all(&mut socket, &[byte]).is_err() {
                return;
            }
            thread::sleep(std::time::Duration::from_millis(100));
        }
        panic!("it was never ended");
    });
    let said = client.read_to_end().unwrap();
    client.tcp().shutdown(std::net::Shutdown::Both).ok();
    drop(client);
    dripping.join().unwrap();
    said
}

#[test]
fn http_1_clients_are_ended_in_time() {
    let edge = Edge::start(SHORT);
    let head = edge.fill("POST /sources HTTP/1.1\r\nHost: a\r\n$TContent-Length: 100\r\n\r\n");
    thread::scope(|scope| {
        scope.spawn(|| assert_eq!(edge.gateway.connect().read_to_end().unwrap(), b"", "silent"));
        scope.spawn(|| {
            let mut idle = edge.gateway.connect();
            assert_eq!(idle.send(&request("GET", "/sources", &edge.token, "")).status, 200);
            assert_eq!(idle.read_to_end().unwrap(), b"", "idle between requests");
        });
        for length in [4, 30, head.len() - 2] {
            let mut begun = edge.gateway.connect();
            let head = &head;
            scope.spawn(move || {
                begun.write(&head[..length]);
                assert_eq!(begun.read(false).said(), (408, "request_timeout".to_owned()), "{length}");
                assert_eq!(begun.read_to_end().unwrap(), b"");
            });
        }
        scope.spawn(|| {
            let endless = format!("GET /sources HTTP/1.1\r\nHost: a\r\nX: {}", "y".repeat(600));
            let said = drip(edge.gateway.connect(), endless.as_bytes());
            assert!(said.starts_with(b"HTTP/1.1 408 "), "a head byte by byte");
        });
        for body in ["", "some"] {
            let mut stalled = edge.gateway.connect();
            let head = &head;
            scope.spawn(move || {
                stalled.write(head);
                stalled.write(body.as_bytes());
                assert_eq!(stalled.read(false).said(), (408, "request_timeout".to_owned()), "body {body:?}");
                assert_eq!(stalled.read_to_end().unwrap(), b"");
            });
        }
        scope.spawn(|| {
            let mut chunked = edge.gateway.connect();
            chunked
                .write(&edge.fill(
                    "POST /sources HTTP/1.1\r\nHost: a\r\n$TTransfer-Encoding: chunked\r\n\r\n5\r\nhe",
                ));
            assert_eq!(chunked.read(false).status, 408, "a chunk that stalls");
        });
    });
    assert!(edge.upstream.take().iter().all(|request| request.body.is_empty()), "no half of a body passed");
}

#[test]
fn http_2_clients_are_ended_in_time() {
    let edge = Edge::start(SHORT);
    let address = edge.gateway.address;
    let credential = format!("Bearer {}", edge.token);
    let post: Vec<(&[u8], &[u8])> = vec![
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", b"/sources"),
        (b":authority", b"a"),
        (b"authorization", credential.as_bytes()),
    ];
    let headers = block(&post);
    thread::scope(|scope| {
        for (name, bytes) in [
            ("half a preface", PREFACE[..10].to_vec()),
            ("a preface alone", PREFACE.to_vec()),
            ("half a frame", [PREFACE, &frame(SETTINGS, 0, 0, &[]), &[0, 0, 40, HEADERS]].concat()),
            (
                "half a header block",
                [PREFACE, &frame(SETTINGS, 0, 0, &[]), &frame(HEADERS, 0, 1, &headers[..20])].concat(),
            ),
            ("no request", [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()),
        ] {
            scope.spawn(move || {
                let mut silent = Frames::silent(address);
                silent.write(&bytes);
                assert!(matches!(silent.end(), Said::Closed | Said::GoAway(_)), "{name}");
            });
        }
        scope.spawn(|| {
            let mut dripping = Frames::connect(address);
            dripping.write(&frame(HEADERS, 0, 1, &headers[..20]));
            until("the end of a block without end", || {
                thread::sleep(std::time::Duration::from_millis(50));
                (!dripping.try_write(&frame(CONTINUATION, 0, 1, &[]))).then_some(())
            });
        });
        scope.spawn(|| {
            let mut stalled = Frames::connect(address);
            stalled.write(&frame(HEADERS, END_HEADERS, 1, &headers));
            assert_eq!(stalled.answer(1), Said::Status(408), "a body that stalls");
        });
        scope.spawn(|| {
            let mut idle = Frames::connect(address);
            idle.write(&frame(HEADERS, END_HEADERS | 1, 1, &headers));
            assert_eq!(idle.answer(1), Said::Status(200));
            assert_eq!(idle.end(), Said::GoAway(0), "idle between requests");
        });
    });
    assert!(edge.upstream.take().iter().all(|request| request.body.is_empty()), "no half of a body passed");
}

/// A client that takes nothing of a long answer is ended by `write_timeout_seconds`, plain, encrypted and HTTP/2.
#[test]
fn clients_that_stop_reading_are_ended_in_time() {
    let body = "x".repeat(16 * 1024 * 1024);
    let upstream = Upstream::start(Behaviour::Answer(format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )));
    let certificate = Certificate::make();
    let text = config(&upstream.url(), &upstream.url(), "");
    let text = text.replacen("[listen]\n", &format!("[listen]\n{SHORT}\n"), 1);
    let text = certificate.listens_in(&text, "");
    let gateway = Gateway::start(&text);
    let tls_address = until("the TLS listener", || gateway.process.listening("listening (TLS)", 0));
    let (_, token) = gateway.token("ws-us", &[]);
    let bytes = request("GET", "/sources", &token, "");
    let gone = |number: u64| {
        until("the stalled client to be given up", || {
            let metrics = gateway.metrics();
            (metrics.count("tollgate_requests_total", &[("outcome", "client_gone")]) == number).then_some(())
        });
    };
    let mut plain = gateway.connect();
    plain.write(&bytes);
    gone(1);
    let mut encrypted = Client::connect_tls(tls_address, "localhost", &certificate.chain).unwrap();
    encrypted.write(&bytes);
    gone(2);
    let credential = format!("Bearer {token}");
    let mut frames = Frames::connect(gateway.address);
    frames.get(1, &request_fields(&credential));
    gone(3);
}
