//! An upstream's answer that breaks off: a clean refusal while nothing was written, a visible cut afterwards.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::mpsc;
use std::thread;

use crate::frames::{Frames, Said, request_fields};
use crate::support::{Behaviour, Client, Gateway, Upstream, config, request, until};

const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n";

fn start(answer: String) -> (Gateway, Upstream, String) {
    let upstream = Upstream::start(Behaviour::Answer(answer));
    let gateway = Gateway::start(&config(&upstream.url(), &upstream.url(), ""));
    let (_, token) = gateway.token("ws-us", &[]);
    (gateway, upstream, token)
}

#[test]
fn a_body_that_is_broken_before_anything_was_written_is_a_502() {
    let (gateway, upstream, token) = start(String::new());
    for body in ["5\r\nhelloX\r\n", "xyz\r\n", "5\nhello\r\n0\r\n\r\n", "0\r\nbad trailer\r\n\r\n"] {
        upstream.behave(Behaviour::Answer(format!("{HEAD}Transfer-Encoding: chunked\r\n\r\n{body}")));
        let mut client = gateway.connect();
        for _ in 0..2 {
            let answer = client.send(&request("GET", "/sources", &token, ""));
            assert_eq!(answer.said(), (502, "upstream_broken".to_owned()), "{body:?}");
            assert_eq!(answer.error()["data"]["forwarded"], "yes");
            assert!(answer.field("ratelimit").is_some(), "it was admitted and charged");
        }
    }
    let broken = || gateway.metrics().count("tollgate_requests_total", &[("outcome", "upstream_broken")]);
    until("the last record", || (broken() == 8).then_some(()));
}

#[test]
fn an_http_2_client_gets_a_502_or_sees_the_stream_reset() {
    let (gateway, upstream, token) = start(String::new());
    let credential = format!("Bearer {token}");
    upstream.behave(Behaviour::Answer(format!("{HEAD}Transfer-Encoding: chunked\r\n\r\n5\r\nhelloX\r\n")));
    let mut frames = Frames::connect(gateway.address);
    frames.get(1, &request_fields(&credential));
    assert_eq!(frames.answer(1), Said::Status(502));
    let (url, break_off) = breaking_off(format!("{HEAD}Content-Length: 10\r\n\r\nhalf"));
    let gateway = Gateway::start(&config(&url, &url, ""));
    let (_, token) = gateway.token("ws-us", &[]);
    let credential = format!("Bearer {token}");
    let mut frames = Frames::connect(gateway.address);
    frames.get(1, &request_fields(&credential));
    assert_eq!(frames.answer(1), Said::Status(200));
    assert_eq!(frames.answer(1), Said::Data(b"half".to_vec()));
    break_off.send(()).unwrap();
    assert!(matches!(frames.answer(1), Said::Reset(_)), "not an end");
}

/// An upstream that answers one request so and closes when it is told.
fn breaking_off(answer: String) -> (String, mpsc::Sender<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (break_off, told) = mpsc::channel::<()>();
    thread::spawn(move || {
        let mut stream = listener.accept().unwrap().0;
        assert!(stream.read(&mut [0; 4096]).unwrap() > 0);
        stream.write_all(answer.as_bytes()).unwrap();
        told.recv().unwrap();
    });
    (url, break_off)
}

/// Everything that a client gets up to the end of its connection, and whether that was a reset.
fn to_the_end(client: &mut Client) -> (String, bool) {
    let mut got = Vec::new();
    loop {
        match client.read_some(usize::MAX) {
            Ok(part) if part.is_empty() => return (String::from_utf8(got).unwrap(), false),
            Ok(part) => got.extend_from_slice(&part),
            Err(error) => {
                assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
                return (String::from_utf8(got).unwrap(), true);
            }
        }
    }
}

/// Sends a request, waits for the first half of its answer, and lets the upstream break off.
fn cut(answer: &str, version: &str) -> (String, bool) {
    let (url, break_off) = breaking_off(answer.to_owned());
    let gateway = Gateway::start(&config(&url, &url, ""));
    let (_, token) = gateway.token("ws-us", &[]);
    let bytes = request("GET", "/sources", &token, "");
    let text = String::from_utf8(bytes).unwrap().replacen("HTTP/1.1", version, 1);
    let mut client = gateway.connect();
    client.write(text.as_bytes());
    let mut got = String::new();
    while !got.ends_with("half") && !got.ends_with("half\r\n") {
        got += std::str::from_utf8(&client.read_some(usize::MAX).unwrap()).unwrap();
    }
    break_off.send(()).unwrap();
    let (tail, reset) = to_the_end(&mut client);
    until("its record", || {
        let metrics = gateway.metrics();
        let broken = metrics.count("tollgate_requests_total", &[("outcome", "upstream_broken")]);
        (broken == 1).then_some(())
    });
    (got + &tail, reset)
}

#[test]
fn a_cut_is_visible_however_the_body_was_delimited() {
    let (got, reset) = cut(&format!("{HEAD}Content-Length: 10\r\n\r\nhalf"), "HTTP/1.1");
    assert!(got.contains("content-length: 10\r\n") && got.ends_with("\r\n\r\nhalf") && !reset, "{got}");
    let (got, reset) = cut(&format!("{HEAD}Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"), "HTTP/1.1");
    assert!(got.ends_with("\r\n\r\n4\r\nhalf\r\n") && !reset, "{got}");
}

#[test]
fn an_old_client_that_only_the_end_of_the_connection_tells_sees_a_reset() {
    let (got, reset) = cut(&format!("{HEAD}Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"), "HTTP/1.0");
    assert!(got.ends_with("\r\n\r\nhalf") && reset, "{got}");
}

#[test]
fn an_old_client_sees_a_clean_end_of_a_whole_answer() {
    let chunked = format!("{HEAD}Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\n\r\n");
    let (gateway, _upstream, token) = start(chunked);
    let text = String::from_utf8(request("GET", "/sources", &token, "")).unwrap();
    let mut client = gateway.connect();
    client.write(text.replacen("HTTP/1.1", "HTTP/1.0", 1).as_bytes());
    let (got, reset) = to_the_end(&mut client);
    assert!(got.ends_with("\r\n\r\nhalf") && !reset, "{got}");
}
