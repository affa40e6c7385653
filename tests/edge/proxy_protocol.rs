//! The PROXY protocol: who the client is, according to a balancer that may say so.

use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};

use crate::certificate::Certificate;
use crate::frames::{Frames, PREFACE, SETTINGS, Said, block, frame, request_fields};
use crate::recorder::Recorder;
use crate::support::{Answer, Client, Gateway, config, request, until};

const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const V1: &[u8] = b"PROXY TCP4 192.0.2.1 198.51.100.1 54321 443\r\n";

fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    [V2, &[command, family], &(rest.len() as u16).to_be_bytes(), rest].concat()
}

fn v4() -> Vec<u8> {
    v2(0x21, 0x11, &[192, 0, 2, 1, 198, 51, 100, 1, 0xd4, 0x31, 0x01, 0xbb])
}

struct Balanced {
    gateway: Gateway,
    upstream: Recorder,
    token: String,
    /// The listener that wants a header.
    address: SocketAddr,
}

impl Balanced {
    /// Two plain listeners; the second wants a header from these networks.
    fn start(from: &str, more: &str) -> Self {
        let upstream = Recorder::start();
        let listeners = format!(
            "plain = [\"127.0.0.1:0\", {{ address = \"127.0.0.1:0\", proxy_protocol = \"require\", proxy_protocol_from = [{from:?}] }}]\nhead_timeout_seconds = 1\n"
        );
        let text = config(&upstream.url(), &upstream.url(), more);
        let gateway = Gateway::start(&text.replacen("plain = [\"127.0.0.1:0\"]\n", &listeners, 1));
        let second = || gateway.process.listening("listening (plain text)", 1);
        let address = until("the second listener", second);
        let (_, token) = gateway.token("ws-us", &[]);
        upstream.take();
        Self { gateway, upstream, token, address }
    }

    fn send(&self, header: &[u8]) -> Answer {
        let bytes = [header, &request("GET", "/sources", &self.token, "")].concat();
        Client::connect(self.address).send(&bytes)
    }

    /// Whom the upstream and the access log take for the client.
    fn client(&self, header: &[u8]) -> String {
        assert_eq!(self.send(header).status, 200);
        let reached = self.upstream.take();
        let forwarded = reached[0].all("x-forwarded-for").join(", ");
        until("the record", || {
            let text = self.gateway.process.stdout.text();
            text.lines().any(|line| line.contains(&forwarded)).then_some(())
        });
        forwarded
    }

    fn refused(&self, reason: &str) -> u64 {
        self.gateway.metrics().count("tollgate_connections_refused_total", &[("reason", reason)])
    }
}

#[test]
fn the_client_is_whom_the_balancer_names() {
    let balanced = Balanced::start("127.0.0.0/8", "");
    assert_eq!(balanced.client(V1), "192.0.2.1");
    assert_eq!(balanced.client(b"PROXY TCP6 2001:db8::1 2001:db8::2 1 443\r\n"), "2001:db8::1");
    assert_eq!(balanced.client(&v4()), "192.0.2.1");
    let mut v6 = [0_u8; 36];
    (v6[0], v6[1], v6[15]) = (0x20, 0x01, 9);
    assert_eq!(balanced.client(&v2(0x21, 0x21, &v6)), "2001::9");
    let vectors = [&[192, 0, 2, 7, 0, 0, 0, 0, 0, 1, 0, 2], &[0x01, 0, 2, b'h', b'2'][..]].concat();
    assert_eq!(balanced.client(&v2(0x21, 0x11, &vectors)), "192.0.2.7");
    for itself in
        [b"PROXY UNKNOWN\r\n".to_vec(), v2(0x20, 0x00, &[]), v2(0x20, 0x11, &[9; 12]), v2(0x21, 0x00, &[])]
    {
        assert_eq!(balanced.client(&itself), "127.0.0.1");
    }
    let mut client = Client::connect(balanced.address);
    client.write(V1);
    for _ in 0..3 {
        assert_eq!(client.send(&request("GET", "/sources", &balanced.token, "")).status, 200);
    }
    assert!(balanced.upstream.take().iter().all(|request| request.all("x-forwarded-for") == ["192.0.2.1"]));
    assert_eq!(
        balanced.gateway.ask(&balanced.token, "/sources").status,
        200,
        "the other listener wants none"
    );
}

#[test]
fn a_header_may_come_in_any_pieces_and_before_http_2() {
    let balanced = Balanced::start("127.0.0.0/8", "");
    for header in [V1.to_vec(), v4()] {
        let mut client = Client::connect(balanced.address);
        let bytes = [&header[..], &request("GET", "/sources", &balanced.token, "")].concat();
        for part in bytes.chunks(7) {
            client.write(part);
        }
        assert_eq!(client.read(false).status, 200);
        let mut frames = Frames::silent(balanced.address);
        frames.write(&[&header[..], PREFACE, &frame(SETTINGS, 0, 0, &[])].concat());
        frames.write(&frame(1, 5, 1, &block(&request_fields(&format!("Bearer {}", balanced.token)))));
        assert_eq!(frames.answer(1), Said::Status(200));
    }
    assert!(balanced.upstream.take().iter().all(|request| request.all("x-forwarded-for") == ["192.0.2.1"]));
}

#[test]
fn a_header_may_come_before_tls() {
    let upstream = Recorder::start();
    let certificate = Certificate::make();
    let wants = "proxy_protocol = \"require\"\nproxy_protocol_from = [\"127.0.0.1\", \"::1\"]";
    let text = certificate.listens_in(&config(&upstream.url(), &upstream.url(), ""), wants);
    let gateway = Gateway::start(&text);
    let (_, token) = gateway.token("ws-us", &[]);
    let address = until("the TLS listener", || gateway.process.listening("listening (TLS)", 0));
    assert!(Client::connect_tls(address, "localhost", &certificate.chain).is_err(), "without a header");
    upstream.take();
    for header in [V1.to_vec(), v4()] {
        // The header and the handshake come in one piece.
        let mut session = Client::session("localhost", &certificate.chain);
        let mut first = header.clone();
        session.write_tls(&mut first).unwrap();
        let mut tcp = TcpStream::connect(address).unwrap();
        tcp.write_all(&first).unwrap();
        let mut client = Client::encrypted(tcp, session).unwrap();
        assert_eq!(client.send(&request("GET", "/sources", &token, "")).status, 200);
        let reached = upstream.take();
        assert_eq!(reached[0].all("x-forwarded-for"), ["192.0.2.1"]);
        assert_eq!(reached[0].all("x-forwarded-proto"), ["https"]);
    }
    let metrics = gateway.metrics();
    let malformed = [("reason", "malformed_proxy_header")];
    assert_eq!(metrics.count("tollgate_connections_refused_total", &malformed), 1);
}

#[test]
fn what_is_no_header_is_closed_and_counted() {
    let balanced = Balanced::start("127.0.0.0/8", "");
    let good = request("GET", "/sources", &balanced.token, "");
    let mut expected = 0;
    for header in [
        b"".to_vec(),
        b"PROXY TCP4 192.0.2.1 198.51.100.1 01 2\r\n".to_vec(),
        b"PROXY TCP4 192.0.2.1 198.51.100.1 1 2\n".to_vec(),
        b"PROXY\r\n".to_vec(),
        [b"PROXY UNKNOWN ".to_vec(), vec![b'x'; 200]].concat(),
        v2(0x21, 0x12, &[1; 12]),
        v2(0x21, 0x31, &[1; 216]),
        v2(0x22, 0x11, &[1; 12]),
        v2(0x21, 0x11, &[1; 11]),
        v2(0x21, 0x11, &[1; 9_000]),
        b"\r\n\r\n\0\r\nQUIX\n".to_vec(),
        PREFACE.to_vec(),
    ] {
        let mut client = Client::connect(balanced.address);
        // It may be closed before all of it was sent.
        let _ = client.try_write(&[&header[..], &good].concat());
        let end = client.read_to_end();
        assert!(end.as_ref().is_ok_and(Vec::is_empty) || end.is_err(), "{header:?}: {end:?}");
        expected += 1;
        assert_eq!(
            balanced.refused("malformed_proxy_header"),
            expected,
            "{:?}",
            String::from_utf8_lossy(&header)
        );
    }
    let mut half = Client::connect(balanced.address);
    half.write(&V1[..20]);
    assert_eq!(half.read_to_end().unwrap(), b"", "half a header in time");
    assert_eq!(balanced.refused("malformed_proxy_header"), expected + 1);
    assert_eq!(Client::connect(balanced.address).read_to_end().unwrap(), b"", "a silent connection");
    assert_eq!(balanced.refused("malformed_proxy_header"), expected + 1, "is no fault");
    assert!(balanced.upstream.take().is_empty());
}

#[test]
fn nobody_else_is_believed_or_served() {
    let balanced = Balanced::start("10.0.0.0/8", "");
    for bytes in [V1.to_vec(), v4(), request("GET", "/sources", &balanced.token, "")] {
        let before = balanced.refused("untrusted_balancer");
        let mut client = Client::connect(balanced.address);
        let _ = client.try_write(&bytes);
        let end = client.read_to_end();
        assert!(end.as_ref().is_ok_and(Vec::is_empty) || end.is_err(), "{end:?}");
        assert_eq!(balanced.refused("untrusted_balancer"), before + 1);
    }
    let header = [V1, &request("GET", "/sources", &balanced.token, "")].concat();
    let answer = Client::connect(balanced.gateway.address).send(&header);
    assert_eq!(answer.status, 400, "a listener that wants no header takes it for a broken request");
    assert!(balanced.upstream.take().is_empty());
}

/// Failed authentications are charged to the client, not to the balancer.
#[test]
fn limits_by_address_see_the_client() {
    let more = "[limits]\nfailed_authentications = { quota = \"2 per hour\" }\n";
    let balanced = Balanced::start("127.0.0.0/8", more);
    let guess = |header: &[u8]| {
        let bytes = [header, &request("GET", "/sources", "sgp_guess", "")].concat();
        Client::connect(balanced.address).send(&bytes).status
    };
    let others = b"PROXY TCP4 192.0.2.99 198.51.100.1 1 443\r\n";
    let mut statuses: Vec<u16> = (0..6).map(|_| guess(V1)).collect();
    statuses.dedup();
    assert_eq!(statuses, [401, 429]);
    assert_eq!(guess(others), 401, "another client behind the same balancer");
}
