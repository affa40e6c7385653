//! Message framing: whatever two readers could take differently is refused, the connection closed, and nothing
//! of it reaches the upstream (RFC 9112, sections 6 and 7; request smuggling).

use crate::table::{Edge, Row, Then, malformed, refused, rows};

/// A request that would be read as such if a body were framed in another way.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";

/// POST requests with these field lines and this body.
fn posts(edge: &Edge, lines: &[&str], body: &str) -> Vec<Vec<u8>> {
    let post =
        |line: &&str| edge.fill(&format!("POST /sources HTTP/1.1\r\nHost: a\r\n$T{line}\r\n\r\n{body}"));
    lines.iter().map(post).collect()
}

fn content_length(edge: &Edge) -> Vec<Row> {
    let values = [
        "+5",
        "-5",
        "-0",
        "0x5",
        "5 5",
        "5,5",
        "5, 5",
        "5,6",
        "",
        "five",
        "5.0",
        "5e0",
        "\"5\"",
        "'5'",
        "5;x",
        "5\t5",
        "٥",
        "5a",
        "a5",
        "0b101",
        "0o5",
        "5_0",
        "99999999999999999999",
        "18446744073709551621",
        "00000000000000000005",
        "5\u{a0}",
        "NaN",
        "infinity",
    ];
    let lines: Vec<String> = values.iter().map(|value| format!("Content-Length: {value}")).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let mut found = malformed("length", posts(edge, &lines, "hello"));
    let pairs = [
        "Content-Length: 5\r\nContent-Length: 6",
        "Content-Length: 6\r\nContent-Length: 5",
        "Content-Length: 0\r\nContent-Length: 5",
        "Content-Length: 5\r\nX: y\r\ncontent-length: 4",
        "Content-Length: 5\r\nContent-Length: 5\r\nContent-Length: 4",
        "Content-Length: 5\r\nContent-Length:",
        "Content-Length: 5\r\nContent-Length: +5",
        "Content-Length : 5",
        "Content-Length\t: 5",
        " Content-Length: 5",
        "\tContent-Length: 5",
        "Content-Length: 5\r\n 0",
        "Content-Length:\r\n 5",
        "Content-Length\x0b: 5",
        "Content Length: 5",
        "Content-Length\0: 5",
    ];
    found.extend(malformed("length", posts(edge, &pairs, "hello")));
    found
}

fn transfer_encoding(edge: &Edge) -> Vec<Row> {
    let body = "0\r\n\r\n";
    let malformed_values = [
        "xchunked",
        "x-chunked",
        "chunked, chunked",
        "chunked,chunked",
        "chunked, identity",
        "identity, chunked",
        "gzip, chunked",
        "chunked, gzip",
        "chunked;q=1",
        "chunked; x",
        "chunked,",
        ",chunked",
        ", chunked",
        "chunked ,",
        "\"chunked\"",
        "'chunked'",
        "chun ked",
        "chunked x",
        "\u{b}chunked",
        "chunked\u{b}",
        "\u{c}chunked",
        "chunked\0",
        "\0chunked",
        "\u{a0}chunked",
        "chunked\u{a0}",
        "chunked\u{85}",
        "chunked\u{7f}",
        "(x)chunked",
        "[chunked]",
        "{chunked}",
        "chunked/1",
        "ｃhunked",
        "chunKed",
        "",
    ];
    let mut found = Vec::new();
    for value in malformed_values {
        let line = format!("Transfer-Encoding: {value}");
        // KELVIN SIGN folds to `k` in Unicode, and nowhere else.
        let line = line.replace("chunKed", "chun\u{212a}ed");
        found.extend(malformed("coding", posts(edge, &[&line], body)));
    }
    for value in
        ["gzip", "identity", "deflate", "compress", "cow", "chunke", "chunkedd", "x", "trailers", "br"]
    {
        let line = format!("Transfer-Encoding: {value}");
        found.extend(refused("coding", 501, "not_implemented", posts(edge, &[&line], body)));
    }
    let lines = [
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "Transfer-Encoding: chunked\r\ntransfer-encoding: x",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding:",
        "Transfer-Encoding : chunked",
        "Transfer-Encoding\t: chunked",
        "Transfer-Encoding\u{b}: chunked",
        "Transfer-Encoding\0: chunked",
        " Transfer-Encoding: chunked",
        "\tTransfer-Encoding: chunked",
        "X: y\r\n Transfer-Encoding: chunked",
        "Transfer Encoding: chunked",
        "Transfer-Encoding: chunked\r\n ",
        "Transfer-Encoding:\r\n chunked",
        "Transfer-Encoding:\n chunked",
        "Transfer-Encoding: chunked\nX: y",
        "Transfer-Encoding: chunked\rX: y",
        "X: y\rTransfer-Encoding: chunked",
        "X: y\nTransfer-Encoding: chunked",
    ];
    found.extend(malformed("coding", posts(edge, &lines, body)));
    found
}

fn both(edge: &Edge) -> Vec<Row> {
    let lines = [
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 5",
        "Content-Length: 0\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 0",
        "Content-Length: 5\r\nX: y\r\ntransfer-encoding: CHUNKED",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\nContent-Length: 5",
    ];
    let body = format!("0\r\n\r\n{SMUGGLED}");
    let mut found = malformed("both", posts(edge, &lines, &body));
    let old =
        |lines: &str| edge.fill(&format!("POST /sources HTTP/1.0\r\nHost: a\r\n$T{lines}\r\n\r\n{body}"));
    found.extend(malformed(
        "HTTP/1.0",
        ["Transfer-Encoding: chunked", "Connection: keep-alive\r\nTransfer-Encoding: chunked"].map(old),
    ));
    found
}

fn chunks(edge: &Edge) -> Vec<Row> {
    let bodies = [
        "5\nhello\r\n0\r\n\r\n",
        "5\rhello\r\n0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5\r\nhello\r0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        "5\r\nhelloX\r\n0\r\n\r\n",
        "5\r\nhell\r\n0\r\n\r\n",
        "4\r\nhello\r\n0\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        " 5\r\nhello\r\n0\r\n\r\n",
        "5 \r\nhello\r\n0\r\n\r\n",
        "5\t\r\nhello\r\n0\r\n\r\n",
        "5 ;x\r\nhello\r\n0\r\n\r\n",
        "\r\n5\r\nhello\r\n0\r\n\r\n",
        "\n5\r\nhello\r\n0\r\n\r\n",
        ";x\r\nhello\r\n0\r\n\r\n",
        "g\r\nhello\r\n0\r\n\r\n",
        "5h\r\nhello\r\n0\r\n\r\n",
        "5,5\r\nhello\r\n0\r\n\r\n",
        "5_\r\nhello\r\n0\r\n\r\n",
        "5.\r\nhello\r\n0\r\n\r\n",
        "\r\n",
        "\r\n\r\n",
        "10000000000000005\r\nhello\r\n0\r\n\r\n",
        "0000000000000005\r\nhello\r\n0\r\n\r\n",
        "ffffffffffffffff\r\nhello\r\n0\r\n\r\n",
        "5;x\nhello\r\n0\r\n\r\n",
        "5;x\rhello\r\n0\r\n\r\n",
        "5;\0\r\nhello\r\n0\r\n\r\n",
        "5;\u{7f}\r\nhello\r\n0\r\n\r\n",
        "5;x\n\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello\r\n0\n\r\n",
        "5\r\nhello\r\n0\r\r\n",
        "5\r\nhello\r\n0\r\nX: y\n\r\n",
        "5\r\nhello\r\n0\r\nX y\r\n\r\n",
        "5\r\nhello\r\n0\r\n: y\r\n\r\n",
        "5\r\nhello\r\n0\r\nX : y\r\n\r\n",
        "5\r\nhello\r\n0\r\n X: y\r\n\r\n",
        "5\r\nhello\r\n0\r\nX: y\r\n z\r\n\r\n",
        "5\r\nhello\r\n0\r\nX: \0\r\n\r\n",
        "5\r\nhello\r\n0\r\n\n",
        "5\r\nhello\r\n0\r\nX: y\r\n\n",
        "5\r\nhello\r\n 0\r\n\r\n",
        "5\r\nhello\r\nXX\r\n\r\n",
        "٥\r\nhello\r\n0\r\n\r\n",
    ];
    let post = |body: &&str| {
        edge.fill(&format!(
            "POST /sources HTTP/1.1\r\nHost: a\r\n$TTransfer-Encoding: chunked\r\n\r\n{body}{SMUGGLED}"
        ))
    };
    let mut found = malformed("chunks", bodies.iter().map(post));
    let long = [
        format!("5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(17_000)),
        format!("0\r\nX: {}\r\n\r\n", "y".repeat(17_000)),
    ];
    found.extend(malformed("chunks", long.iter().map(|body| post(&&**body))));
    found
}

#[test]
fn what_is_framed_in_two_ways_is_refused() {
    let edge = Edge::start("");
    edge.refuses(
        &[content_length(&edge), transfer_encoding(&edge), both(&edge), chunks(&edge)].concat_rows(),
    );
}

/// Joins lists of rows.
trait Concat {
    fn concat_rows(self) -> Vec<Row>;
}

impl<const N: usize> Concat for [Vec<Row>; N] {
    fn concat_rows(self) -> Vec<Row> {
        self.into_iter().flatten().collect()
    }
}

#[test]
fn what_is_framed_well_passes_with_one_framing_of_ours() {
    let edge = Edge::start("");
    for (lines, body, content, trailers) in [
        ("Content-Length: 5", "hello", "hello", ""),
        ("Content-Length: 5\r\nContent-Length: 5", "hello", "hello", ""),
        ("Content-Length: 005", "hello", "hello", ""),
        ("content-length:5", "hello", "hello", ""),
        ("Content-Length: \t 5 \t", "hello", "hello", ""),
        ("Content-Length: 5\r\nContent_Length: 6", "hello", "hello", ""),
        ("Content-Length: 5\r\nTransfer_Encoding: chunked", "hello", "hello", ""),
        ("Content-Length: 5\r\nTransfer-Encodings: chunked", "hello", "hello", ""),
        ("Content-Length: 5\r\nTE: chunked", "hello", "hello", ""),
        ("Transfer-Encoding: chunked", "5\r\nhello\r\n0\r\n\r\n", "hello", ""),
        ("transfer-encoding:CHUNKED", "5\r\nhello\r\n0\r\n\r\n", "hello", ""),
        ("Transfer-Encoding: \tChunked ", "5\r\nhello\r\n0\r\n\r\n", "hello", ""),
        ("Transfer-Encoding: chunked", "5;a=b;c=\"d\";e\r\nhello\r\n0;f\r\n\r\n", "hello", ""),
        ("Transfer-Encoding: chunked", "005\r\nhello\r\n000\r\n\r\n", "hello", ""),
        ("Transfer-Encoding: chunked", "2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n", "hello", ""),
        ("Transfer-Encoding: chunked", "A\r\n0123456789\r\n0\r\n\r\n", "0123456789", ""),
        ("Transfer-Encoding: chunked", "5\r\n0\r\n\r\n\r\n0\r\n\r\n", "0\r\n\r\n", ""),
        ("Transfer-Encoding: chunked", "0\r\n\r\n", "", ""),
        ("Transfer-Encoding: chunked", "5\r\nhello\r\n0\r\nX-Sum: 9\r\n\r\n", "hello", "X-Sum: 9"),
    ] {
        let bytes = edge.fill(&format!("POST /sources HTTP/1.1\r\nHost: a\r\n$T{lines}\r\n\r\n{body}"));
        edge.answers(&rows("good", 200, "", Then::GoesOn, [bytes]));
        let reached = edge.upstream.take();
        let [request, follow_up] = &reached[..] else { panic!("{lines}: {reached:?}") };
        assert_eq!(request.body, content.as_bytes(), "{lines} {body:?}");
        assert_eq!(request.trailers.join("\n"), trailers, "{lines} {body:?}");
        let names = request.lines[1..].iter().filter_map(|line| line.split(':').next());
        assert!(names.into_iter().all(|name| !name.contains('_')), "{request:?}");
        assert!(follow_up.lines[0].starts_with("GET /sources "));
    }
}

/// Trailers come late: what framing, routing, identity and credentials depend on must not come in one.
#[test]
fn trailers_bring_nothing_that_had_to_come_before_the_body() {
    let edge = Edge::start("");
    let refused = [
        "Content-Length: 9",
        "Transfer-Encoding: chunked",
        "Host: b",
        "Authorization: Bearer x",
        "Trailer: x",
        "Connection: close",
        "X-Tollgate-Workspace: other",
        "x_tollgate_workspace: other",
        "X-Forwarded-For: 1.2.3.4",
        "X-Request-Id: mine",
        "Cookie: a=b",
        "Content-Type: text/html",
        "Upgrade: h2c",
        "Content-Encoding: gzip",
        "X-Tollgate-Plan: business",
        "Proxy-Authorization: x",
        "Keep-Alive: 5",
        "TE: trailers",
    ];
    for line in refused {
        let text = format!(
            "POST /sources HTTP/1.1\r\nHost: a\r\n$TTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n{line}\r\nX-Sum: 9\r\n\r\n"
        );
        edge.answers(&rows("trailer", 200, "", Then::GoesOn, [edge.fill(&text)]));
        let reached = edge.upstream.take();
        assert_eq!(reached[0].trailers, ["X-Sum: 9"], "{line}");
    }
}
