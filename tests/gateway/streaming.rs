//! Bodies of any length, in both directions at once, in constant memory and at the slower side's pace.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use base64::Engine as _;

use crate::support::{Behaviour, Client, Demo, Gateway, Process, Upstream, config, request, until};

const MIB: usize = 1024 * 1024;
/// How much more memory a large body may take than a small one: buffers of sockets are not ours.
const MEMORY: u64 = 24 * 1024 * 1024;

/// Bytes that differ at every place, so that nothing can be lost, doubled or reordered unseen.
fn pattern(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(length);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// The most memory that a process has while this runs.
fn peak_while<T>(process: &Process, what: impl FnOnce() -> T) -> (T, u64) {
    let id = process.id();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let watching = scope.spawn(|| {
            let mut peak = 0;
            while !done.load(Ordering::SeqCst) {
                peak = peak.max(resident(id));
                thread::sleep(Duration::from_millis(5));
            }
            peak
        });
        let result = catch_unwind(AssertUnwindSafe(what));
        done.store(true, Ordering::SeqCst);
        let peak = watching.join().unwrap();
        (result.unwrap_or_else(|panic| resume_unwind(panic)), peak)
    })
}

fn resident(id: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.map_or(0, |line| line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024)
}

#[test]
fn sixty_four_mebibytes_go_up_and_come_down_at_once() {
    let upstream = Upstream::start(Behaviour::Echo);
    let gateway = Gateway::start(&config(&upstream.url(), &upstream.url(), ""));
    let (_, token) = gateway.token("ws-us", &[]);
    let body = pattern(64 * MIB);
    let before = gateway.process.resident_bytes();
    let ((), peak) = peak_while(&gateway.process, || {
        let mut client = gateway.connect();
        let fields = format!("Content-Length: {}\r\n", body.len());
        client.write(&request("PUT", "/sample/raw/x", &token, &fields));
        let mut writing = client.tcp().try_clone().unwrap();
        thread::scope(|scope| {
            scope.spawn(|| std::io::Write::write_all(&mut writing, &body).unwrap());
            let head = client.read_head();
            assert_eq!(head.status, 200);
            let mut at = 0;
            while at < body.len() {
                let part = client.read_some(body.len() - at).unwrap();
                assert!(!part.is_empty(), "broken off at {at}");
                assert!(body[at..].starts_with(&part), "not what was sent at {at}");
                at += part.len();
            }
        });
    });
    println!("{before} bytes before, {peak} at most");
    assert!(peak < before + MEMORY, "{before} before, {peak} at most");
}

#[test]
fn a_chunked_upload_arrives_whole() {
    let demo = Demo::start();
    let body = pattern(2 * MIB);
    let mut client = demo.connect();
    let mut bytes = request("POST", "/sample/raw/x", demo.token("eu"), "Transfer-Encoding: chunked\r\n");
    for chunk in body.chunks(7_919) {
        bytes.extend_from_slice(format!("{:x};ext=1\r\n", chunk.len()).as_bytes());
        bytes.extend_from_slice(chunk);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"0\r\n\r\n");
    let answer = client.send(&bytes);
    let encoded = base64::engine::general_purpose::STANDARD.encode(&body);
    assert!(answer.json()["body_base64"] == *encoded, "{}", answer.status);
}

#[test]
fn a_long_answer_is_streamed_in_constant_memory() {
    let demo = Demo::start();
    let length = 256 * MIB;
    let before = demo.process.resident_bytes();
    let (received, peak) = peak_while(&demo.process, || {
        let mut client = demo.connect();
        let target = format!("/sample/raw/x?bytes={length}");
        client.write(&request("GET", &target, demo.token("us"), ""));
        let head = client.read_head();
        assert_eq!((head.status, head.field("content-length")), (200, Some(length.to_string().as_str())));
        count(&mut client, length)
    });
    assert_eq!(received, length);
    println!("{before} bytes before, {peak} at most");
    assert!(peak < before + MEMORY, "{before} before, {peak} at most");
}

fn count(client: &mut Client, length: usize) -> usize {
    let mut received = 0;
    while received < length {
        let part = client.read_some(usize::MAX).unwrap();
        assert!(!part.is_empty(), "broken off at {received}");
        received += part.len();
    }
    received
}

#[test]
fn a_client_that_reads_slowly_slows_the_upstream() {
    let demo = Demo::start();
    let length = 128 * MIB;
    let mut client = demo.connect();
    let target = format!("/sample/raw/x?bytes={length}");
    let before = demo.process.resident_bytes();
    client.write(&request("GET", &target, demo.token("us"), ""));
    assert_eq!(client.read_head().status, 200);
    // Nobody reads: memory settles far below the answer's length.
    let (mut last, mut calm) = (0, 0);
    until("the stream to stand still", || {
        thread::sleep(Duration::from_millis(20));
        let now = demo.process.resident_bytes();
        calm = if now == last { calm + 1 } else { 0 };
        last = now;
        (calm >= 10).then_some(())
    });
    assert!(last < before + MEMORY, "{before} before, {last} now");
    assert_eq!(count(&mut client, length), length, "and it goes on");
}

#[test]
fn an_upstream_that_reads_slowly_slows_the_client() {
    let upstream = Upstream::start(Behaviour::Pause);
    let gateway = Gateway::start(&config(&upstream.url(), &upstream.url(), ""));
    let (_, token) = gateway.token("ws-us", &[]);
    let length = 64 * MIB;
    let mut client = gateway.connect();
    let before = gateway.process.resident_bytes();
    client.write(&request("PUT", "/sample/raw/x", &token, &format!("Content-Length: {length}\r\n")));
    let part = pattern(MIB);
    let mut socket = client.tcp();
    socket.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    let mut sent = 0;
    while sent < length {
        match std::io::Write::write(&mut socket, &part[..(length - sent).min(MIB)]) {
            Ok(written) => sent += written,
            Err(_) => break,
        }
    }
    assert!(sent < 40 * MIB, "{sent} bytes were taken although nobody reads them");
    let held = gateway.process.resident_bytes();
    assert!(held < before + MEMORY, "{before} before, {held} now");
    upstream.go_on();
    socket.set_write_timeout(Some(crate::support::PATIENCE)).unwrap();
    while sent < length {
        sent += std::io::Write::write(&mut socket, &part[..(length - sent).min(MIB)]).unwrap();
    }
    assert_eq!(client.read(false).status, 200);
}

#[test]
fn an_answer_that_breaks_off_is_not_mended() {
    let demo = Demo::start();
    let mut client = demo.connect();
    client.write(&request("GET", "/sample/raw/x?bytes=1000000&drop=body", demo.token("us"), ""));
    let head = client.read_head();
    assert_eq!(head.status, 200);
    let got = client.read_to_end().unwrap_or_default();
    assert!(got.len() < 1_000_000, "the client sees that it is not whole");
    until("its record", || {
        let broken = [("outcome", "upstream_broken")];
        (demo.metrics().count("tollgate_requests_total", &broken) == 1).then_some(())
    });
    let answer = demo.ask("us", "GET", "/sample/raw/x?drop=headers");
    assert_eq!(answer.said(), (502, "upstream_broken".to_owned()));
}

/// A request that was admitted is finished, whatever becomes of its token.
#[test]
fn a_revocation_ends_no_transfer_that_is_under_way() {
    let (down, up) = (Upstream::start(Behaviour::Drip), Upstream::start(Behaviour::Echo));
    let gateway = Gateway::start(&config(&down.url(), &up.url(), ""));
    let ((down_id, down_token), (up_id, up_token)) =
        (gateway.token("ws-us", &[]), gateway.token("ws-eu", &[]));
    let body = pattern(2 * MIB);
    let (first, rest) = body.split_at(MIB);

    let mut download = gateway.connect();
    download.write(&request("GET", "/sample/raw/x", &down_token, ""));
    assert_eq!(download.read_head().status, 200);
    let mut upload = gateway.connect();
    upload.write(&request("PUT", "/sample/raw/x", &up_token, &format!("Content-Length: {}\r\n", body.len())));
    upload.write(first);
    assert_eq!(upload.read_head().status, 200);

    for (id, token) in [(&down_id, &down_token), (&up_id, &up_token)] {
        assert_eq!(gateway.operate("POST", &format!("/v1/tokens/{id}/revoke"), "{}").status, 200);
        assert_eq!(gateway.ask(token, "/sources").said(), (401, "token_revoked".to_owned()));
    }

    // Four bytes come every 50 ms: most of these come after the revocation.
    let mut received = 0;
    while received < 200 {
        let part = download.read_some(usize::MAX).unwrap();
        assert!(!part.is_empty(), "the download was cut after {received} bytes");
        received += part.len();
    }
    upload.write(rest);
    let mut echoed = Vec::new();
    while echoed.len() < body.len() {
        let part = upload.read_some(body.len() - echoed.len()).unwrap();
        assert!(!part.is_empty(), "the upload was cut after {} bytes came back", echoed.len());
        echoed.extend(part);
    }
    assert!(echoed == body, "not what was sent");
    upload.write(&request("GET", "/sources", &up_token, ""));
    assert_eq!(upload.read(false).said(), (401, "token_revoked".to_owned()), "the same connection's next");
}
