//! HTTP/2: malformed requests are refused or reset, and nothing of them becomes an HTTP/1.1 request (RFC 9113,
//! section 8; downgrade attacks).

use crate::frames::{CONTINUATION, DATA, END_HEADERS, END_STREAM, Frames, HEADERS, Said, block, frame};
use crate::table::Edge;

type Fields<'a> = Vec<(&'a [u8], &'a [u8])>;

/// What must come of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Must {
    /// An answer of this status.
    Say(u16),
    /// A stream error or the end of the connection, or 400: refused in any way, and never forwarded.
    Refuse,
}

impl Must {
    fn is(self, said: &Said) -> bool {
        match (self, said) {
            (Self::Say(wanted), Said::Status(status)) => wanted == *status,
            (Self::Refuse, Said::Status(status)) => *status == 400,
            (Self::Refuse, Said::Reset(_) | Said::GoAway(_) | Said::Closed) => true,
            _ => false,
        }
    }
}

/// A good request with these fields instead of, or beside, its own.
fn with<'a>(credential: &'a str, changes: &[(&'a str, &'a str)]) -> Fields<'a> {
    let mut fields: Fields<'a> = Vec::new();
    for (name, value) in [
        (":method", "GET"),
        (":scheme", "http"),
        (":path", "/sources"),
        (":authority", "a"),
        ("authorization", credential),
    ] {
        match changes.iter().find(|(other, _)| *other == name) {
            Some((_, "-")) => {}
            Some((_, value)) => fields.push((name.as_bytes(), value.as_bytes())),
            None => fields.push((name.as_bytes(), value.as_bytes())),
        }
    }
    for (name, value) in changes {
        if !matches!(*name, ":method" | ":scheme" | ":path" | ":authority" | "authorization") {
            fields.push((name.as_bytes(), value.as_bytes()));
        }
    }
    fields
}

/// Cases by what has to come of them: changed fields; `-` leaves one out.
#[expect(clippy::type_complexity, reason = "a table")]
const HEADS: &[(Must, &[&[(&str, &str)]])] = &[
    (
        Must::Refuse,
        &[
            // Pseudo-fields.
            &[(":method", "-")],
            &[(":path", "-")],
            &[(":scheme", "-")],
            &[(":method", "")],
            &[(":path", "")],
            &[(":path", "sources")],
            &[(":path", "http://a/sources")],
            &[(":path", "*")],
            &[(":path", "/a b")],
            &[(":path", "/a\0")],
            &[(":path", "/a\r\nX: y")],
            &[(":path", "/a HTTP/1.1\r\nX: y\r\n\r\nGET /b")],
            &[(":path", "/a\n")],
            &[(":path", "?a")],
            &[(":method", "GET / HTTP/1.1\r\nX: y")],
            &[(":method", "G ET")],
            &[(":method", "GET\r\n")],
            &[(":status", "200")],
            &[(":unknown", "x")],
            &[(":protocol", "websocket")],
            &[("x", "y"), (":late", "x")],
            // Authority and Host.
            &[(":authority", "a b")],
            &[(":authority", "a,b")],
            &[(":authority", "a/x")],
            &[(":authority", "u@a")],
            &[(":authority", "")],
            &[(":authority", "a\r\nX: y")],
            &[(":authority", "a:x")],
            &[(":authority", "[::1")],
            &[(":authority", "-")],
            &[("host", "b")],
            &[("host", "a"), ("host", "a")],
            &[("host", "a"), ("host", "b")],
            &[(":authority", "-"), ("host", "a"), ("host", "b")],
            &[(":authority", "-"), ("host", "a b")],
            &[(":authority", "-"), ("host", "")],
            // Names and values.
            &[("X", "y")],
            &[("x y", "z")],
            &[("x:", "y")],
            &[("", "y")],
            &[("x\0", "y")],
            &[("x\r\ny", "z")],
            &[("x\n", "y")],
            &[("x", "a\r\nb: c")],
            &[("x", "a\nb")],
            &[("x", "a\rb")],
            &[("x", "a\0b")],
            &[("\u{e9}", "x")],
            &[("x(", "y")],
            &[("Authorization", "x")],
            &[("Transfer-Encoding", "chunked")],
            // Fields of a connection.
            &[("connection", "close")],
            &[("connection", "x-a")],
            &[("keep-alive", "5")],
            &[("proxy-connection", "x")],
            &[("transfer-encoding", "chunked")],
            &[("transfer-encoding", "identity")],
            &[("upgrade", "h2c")],
            &[("te", "chunked")],
            &[("te", "trailers, chunked")],
            &[("te", "gzip")],
            // Lengths.
            &[("content-length", "5")],
            &[("content-length", "-1")],
            &[("content-length", "+0")],
            &[("content-length", "x")],
            &[("content-length", "")],
            &[("content-length", "0, 0")],
            &[("content-length", "0"), ("content-length", "1")],
            &[("content-length", "99999999999999999999")],
            &[("content-length", "0x0")],
        ],
    ),
    (
        Must::Say(501),
        &[&[(":method", "TRACE")], &[(":method", "get")], &[(":method", "BREW")], &[(":method", "PRI")]],
    ),
    (Must::Say(417), &[&[("expect", "200-ok")], &[("expect", "100-continue, x")]]),
    (
        Must::Say(400),
        &[
            &[(":path", "//sources")],
            &[(":path", "/../sources")],
            &[(":path", "/sources/%2e%2e")],
            &[(":path", "/a%00")],
        ],
    ),
    (
        Must::Say(401),
        &[
            &[("authorization", "-")],
            &[("authorization", "Basic eDp5")],
            &[("authorization", "")],
            &[("authorization", "Bearer  x")],
        ],
    ),
    (
        Must::Say(200),
        &[
            &[],
            &[("te", "trailers")],
            &[("host", "a")],
            &[(":authority", "-"), ("host", "a")],
            &[("content-length", "0")],
            &[("x", "")],
            &[("x", " y")],
            &[("x", "y\t")],
            &[(":scheme", "https")],
            &[("expect", "100-continue")],
            &[(":authority", "A")],
            &[("http2-settings", "AAAA")],
            &[("x", "\u{e9}")],
        ],
    ),
];

#[test]
fn heads_are_refused_or_pass_as_one_request() {
    let edge = Edge::start("");
    let credential = format!("Bearer {}", edge.token);
    let mut wrong = Vec::new();
    let mut number = 0;
    for (must, cases) in HEADS {
        for changes in *cases {
            number += 1;
            edge.upstream.take();
            let mut frames = Frames::connect(edge.gateway.address);
            frames.get(1, &with(&credential, changes));
            let said = frames.answer(1);
            let reached = edge.upstream.take();
            let passes = *must == Must::Say(200);
            if !must.is(&said) || reached.len() != usize::from(passes) {
                wrong.push(format!("{changes:?}: {said:?} instead of {must:?}, {} upstream", reached.len()));
            }
            for line in reached.iter().flat_map(|request| &request.lines[1..]) {
                let (name, value) = line.split_once(": ").unwrap_or((line, ""));
                if value.trim() != value || matches!(name, "te" | "http2-settings" | "expect" | "connection")
                {
                    wrong.push(format!("{changes:?}: the upstream got {line:?}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {number}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(number > 90, "{number} rows");
}

#[test]
fn pseudo_fields_twice_or_behind_others_are_refused() {
    let edge = Edge::start("");
    let credential = format!("Bearer {}", edge.token);
    let good = with(&credential, &[]);
    let mut cases: Vec<Fields<'_>> = good[..4].iter().map(|field| [&good[..], &[*field]].concat()).collect();
    cases.extend(good[..4].iter().map(|field| [&[*field], &good[..]].concat()));
    cases.push([&good[4..], &good[..4]].concat());
    cases.push([&good[..3], &good[4..], &good[3..4]].concat());
    for fields in cases {
        let mut frames = Frames::connect(edge.gateway.address);
        frames.get(1, &fields);
        let said = frames.answer(1);
        let shown: Vec<_> = fields.iter().map(|(name, _)| String::from_utf8_lossy(name)).collect();
        assert!(Must::Refuse.is(&said), "{shown:?}: {said:?}");
        assert!(edge.upstream.take().is_empty(), "{shown:?}");
    }
}

/// H2.CL: `content-length` must be the length of the data, or no request becomes complete upstream.
#[test]
fn a_length_that_is_not_the_datas_is_refused() {
    let edge = Edge::start("");
    let credential = format!("Bearer {}", edge.token);
    let cases: [(&str, &[&str]); 8] = [
        ("5", &["hell"]),
        ("5", &["hello!"]),
        ("5", &["hello", "!"]),
        ("0", &["x"]),
        ("5", &[""]),
        ("5", &["he", "ll"]),
        ("5", &["GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"]),
        ("40", &["GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"]),
    ];
    for (length, parts) in cases {
        let mut frames = Frames::connect(edge.gateway.address);
        let fields = with(&credential, &[(":method", "POST"), ("content-length", length)]);
        frames.write(&frame(HEADERS, END_HEADERS, 1, &block(&fields)));
        for (at, part) in parts.iter().enumerate() {
            let flags = if at + 1 == parts.len() { END_STREAM } else { 0 };
            frames.try_write(&frame(DATA, flags, 1, part.as_bytes()));
        }
        let said = frames.answer(1);
        assert!(Must::Refuse.is(&said), "{length} {parts:?}: {said:?}");
        assert!(edge.upstream.take().is_empty(), "{length} {parts:?}");
    }
    for (length, parts) in [("5", &["hello"][..]), ("5", &["he", "llo"]), ("5", &["hello", ""]), ("0", &[""])]
    {
        let mut frames = Frames::connect(edge.gateway.address);
        let fields = with(&credential, &[(":method", "POST"), ("content-length", length)]);
        frames.write(&frame(HEADERS, END_HEADERS, 1, &block(&fields)));
        for (at, part) in parts.iter().enumerate() {
            let flags = if at + 1 == parts.len() { END_STREAM } else { 0 };
            frames.write(&frame(DATA, flags, 1, part.as_bytes()));
        }
        assert_eq!(frames.answer(1), Said::Status(200), "{length} {parts:?}");
        assert_eq!(edge.upstream.take()[0].body, parts.concat().as_bytes());
    }
}

#[test]
fn heads_over_the_limits_are_refused() {
    let edge = Edge::start("");
    let credential = format!("Bearer {}", edge.token);
    let long = format!("/{}", "x".repeat(8_192));
    let wide = "y".repeat(12_000);
    let many: Vec<(&str, &str)> = vec![("x", "y"); 100];
    let crumbs: Vec<(&str, &str)> = vec![("cookie", "a=b"); 200];
    let cases: [(u16, Vec<(&str, &str)>); 4] = [
        (414, vec![(":path", &long)]),
        (431, vec![("x", &wide), ("y", &wide), ("z", &wide)]),
        (431, many),
        (431, crumbs),
    ];
    for (status, changes) in cases {
        let mut frames = Frames::connect(edge.gateway.address);
        let whole = block(&with(&credential, &changes));
        let (first, rest) = whole.split_at(whole.len().min(16_000));
        let last = if rest.is_empty() { END_HEADERS } else { 0 };
        frames.write(&frame(HEADERS, END_STREAM | last, 1, first));
        for (at, part) in rest.chunks(16_000).enumerate() {
            let flags = if (at + 1) * 16_000 >= rest.len() { END_HEADERS } else { 0 };
            frames.write(&frame(CONTINUATION, flags, 1, part));
        }
        assert_eq!(frames.answer(1), Said::Status(status), "{status}");
        assert!(edge.upstream.take().is_empty(), "{status}");
    }
}

/// A body longer than allowed is 413 where it is announced, and where it is only found out.
#[test]
fn bodies_over_the_limit_are_refused() {
    let edge = Edge::start("max_body_bytes = 1000");
    let credential = format!("Bearer {}", edge.token);
    for length in [Some("1001"), None] {
        let mut frames = Frames::connect(edge.gateway.address);
        let mut changes = vec![(":method", "POST")];
        changes.extend(length.map(|length| ("content-length", length)));
        frames.write(&frame(HEADERS, END_HEADERS, 1, &block(&with(&credential, &changes))));
        frames.try_write(&frame(DATA, END_STREAM, 1, &[b'x'; 1_001]));
        assert_eq!(frames.answer(1), Said::Status(413), "{length:?}");
        assert!(edge.upstream.take().is_empty(), "{length:?}");
    }
}

/// Trailers bring no framing, identity or pseudo-field to the upstream.
#[test]
fn trailers_bring_nothing_that_had_to_come_before_the_body() {
    let edge = Edge::start("");
    let credential = format!("Bearer {}", edge.token);
    for (name, value) in [
        ("content-length", "9"),
        ("host", "b"),
        ("authorization", "x"),
        ("x-tollgate-workspace", "other"),
        ("x_tollgate_workspace", "other"),
        ("x-forwarded-for", "1.2.3.4"),
        ("cookie", "a=b"),
        (":path", "/other"),
        (":authority", "b"),
        ("x-request-id", "x"),
    ] {
        let mut frames = Frames::connect(edge.gateway.address);
        frames.write(&frame(HEADERS, END_HEADERS, 1, &block(&with(&credential, &[(":method", "POST")]))));
        frames.write(&frame(DATA, 0, 1, b"hello"));
        let trailers = block(&[(name.as_bytes(), value.as_bytes()), (b"x-sum", b"9")]);
        frames.write(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &trailers));
        let said = frames.answer(1);
        let reached = edge.upstream.take();
        if said == Said::Status(200) {
            assert_eq!(reached[0].trailers, ["x-sum: 9"], "{name}");
        } else {
            assert!(Must::Refuse.is(&said) && reached.is_empty(), "{name}: {said:?}");
        }
    }
}
