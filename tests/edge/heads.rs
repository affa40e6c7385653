//! Heads: request lines, targets, methods, `Host`, field lines, limits of size and number.

use crate::table::{Edge, Row, Then, malformed, refused, rows};

fn lines(edge: &Edge, lines: &[&str]) -> Vec<Vec<u8>> {
    lines.iter().map(|line| edge.fill(&format!("{line}\r\nHost: a\r\n$T\r\n"))).collect()
}

fn request_lines(edge: &Edge) -> Vec<Row> {
    let mut found = malformed(
        "request line",
        lines(
            edge,
            &[
                "GET /sources",
                "GET",
                "GET  /sources HTTP/1.1",
                "GET /sources  HTTP/1.1",
                " GET /sources HTTP/1.1",
                "\tGET /sources HTTP/1.1",
                "GET\t/sources HTTP/1.1",
                "GET /sources\tHTTP/1.1",
                "GET /sources HTTP/1.1 ",
                "GET /sources HTTP/1.1\t",
                "GET /sources HTTP/1.1 x",
                "GET /sources HTTP/2.0",
                "GET /sources HTTP/3.0",
                "GET /sources HTTP/1.2",
                "GET /sources HTTP/1.10",
                "GET /sources HTTP/0.9",
                "GET /sources HTTP/1.",
                "GET /sources HTTP/1",
                "GET /sources HTTP/11",
                "GET /sources HTTP/1,1",
                "GET /sources HTTP/ 1.1",
                "GET /sources http/1.1",
                "GET /sources Http/1.1",
                "GET /sources HTTPS/1.1",
                "GET /sources HTP/1.1",
                "GET /sources HTTP/1.1\0",
                "GET /sources\0 HTTP/1.1",
                "GET\0 /sources HTTP/1.1",
                "GET /a b HTTP/1.1",
                "GET /sources\u{b}HTTP/1.1",
                "GET /\u{7f} HTTP/1.1",
                "GET /\u{1} HTTP/1.1",
                "G@T /sources HTTP/1.1",
                "G(T /sources HTTP/1.1",
                "\"GET\" /sources HTTP/1.1",
                "GET sources HTTP/1.1",
                "GET ?x HTTP/1.1",
                "GET * HTTP/1.1",
                "GET a:80 HTTP/1.1",
                "GET /sources#x HTTP/1.1",
                "GET /sources?a#x HTTP/1.1",
                "GET http://a#x HTTP/1.1",
                "GET http://a?x HTTP/1.1",
                "GET ftp://a/sources HTTP/1.1",
                "GET //a/sources#y HTTP/1.1",
                "GET http:/sources HTTP/1.1",
                "GET http:///sources HTTP/1.1",
                "GET http://u@a/sources HTTP/1.1",
                "GET http://b/sources HTTP/1.1",
                "GET http://a:81/sources HTTP/1.1",
                "GET \\sources HTTP/1.1",
                "GET HTTP/1.1",
                "OPTIONS * HTTP/1.1",
            ],
        ),
    );
    let raw = [
        "\r\nGET /sources HTTP/1.1\r\nHost: a\r\n$T\r\n",
        "\nGET /sources HTTP/1.1\r\nHost: a\r\n$T\r\n",
        "GET /sources HTTP/1.1\nHost: a\n\n",
        "GET /sources HTTP/1.1\nHost: a\r\n$T\r\n",
        "GET /sources HTTP/1.1\rHost: a\r\n$T\r\n",
        "GET /sources HTTP/1.1\r\rHost: a\r\n$T\r\n",
        "GET /sources HTTP/1.1\r\n\r\n",
        "\0GET /sources HTTP/1.1\r\nHost: a\r\n$T\r\n",
        "\u{feff}GET / HTTP/1.1\r\nHost: a\r\n$T\r\n",
    ];
    found.extend(malformed("request line", raw.map(|text| edge.fill(text))));
    found
}

fn methods(edge: &Edge) -> Vec<Row> {
    let unknown = [
        "TRACE /sources HTTP/1.1",
        "TRACK /sources HTTP/1.1",
        "CONNECT a:443 HTTP/1.1",
        "CONNECT /sources HTTP/1.1",
        "get /sources HTTP/1.1",
        "Get /sources HTTP/1.1",
        "PROPFIND /sources HTTP/1.1",
        "BREW /sources HTTP/1.1",
        "DEBUG /sources HTTP/1.1",
        "PURGE /sources HTTP/1.1",
        "GETT /sources HTTP/1.1",
        "GE /sources HTTP/1.1",
        "X-GET /sources HTTP/1.1",
        "PRI /sources HTTP/1.1",
        "LOCK /sources HTTP/1.1",
    ];
    let mut found = refused("method", 501, "not_implemented", lines(edge, &unknown));
    let long = format!("{} /sources HTTP/1.1", "M".repeat(64 * 1024));
    found.extend(refused("method", 501, "not_implemented", lines(edge, &[&long])));
    found
}

fn hosts(edge: &Edge) -> Vec<Row> {
    let get = |hosts: &&str| edge.fill(&format!("GET /sources HTTP/1.1\r\n{hosts}$T\r\n"));
    let wrong = [
        "",
        "Host: a\r\nHost: a\r\n",
        "Host: a\r\nHost: b\r\n",
        "Host: a\r\nX: y\r\nhost: b\r\n",
        "Host:\r\n",
        "Host: \r\n",
        "Host: a b\r\n",
        "Host: a,b\r\n",
        "Host: a, a\r\n",
        "Host: a/x\r\n",
        "Host: a?x\r\n",
        "Host: a#x\r\n",
        "Host: u@a\r\n",
        "Host: u:p@a\r\n",
        "Host: a:x\r\n",
        "Host: a:-1\r\n",
        "Host: a:+80\r\n",
        "Host: a:80:80\r\n",
        "Host: a:123456\r\n",
        "Host: a:8 0\r\n",
        "Host: :80\r\n",
        "Host: [::1\r\n",
        "Host: ::1]\r\n",
        "Host: [::1]x\r\n",
        "Host: []\r\n",
        "Host: [g::1]\r\n",
        "Host: [::1]:x\r\n",
        "Host: a\\b\r\n",
        "Host: a\tb\r\n",
        "Host: \"a\"\r\n",
        "Host: <a>\r\n",
        "Host: a%00b\r\n",
        "Host: a;b\r\n",
        "Host: a|b\r\n",
        "Host: ä\r\n",
        "Host: http://a\r\n",
        "Host: a\0\r\n",
        "Host: a\u{b}\r\n",
        "Host: a\u{7f}\r\n",
        "Host: a\r\n b\r\n",
        "Host : a\r\n",
        " Host: a\r\n",
        "Host\t: a\r\n",
        "Ho st: a\r\n",
        "Host: {a}\r\n",
        "Host: a^b\r\n",
        "Host: a`b\r\n",
        "Host: a*\r\n",
    ];
    malformed("host", wrong.iter().map(get))
}

fn field_lines(edge: &Edge) -> Vec<Row> {
    let get = |line: &&str| edge.fill(&format!("GET /sources HTTP/1.1\r\nHost: a\r\n$T{line}\r\n\r\n"));
    let wrong = [
        "X",
        "X y",
        "X y: z",
        ": y",
        ":",
        " : y",
        "X : y",
        "X\t: y",
        " X: y",
        "\tX: y",
        "X: y\r\n z",
        "X: y\r\n\tz",
        "X: y\r\n ",
        "X: a\0b",
        "X: \0",
        "X: a\rb",
        "X: a\r",
        "\rX: y",
        "X\r: y",
        "X: a\nb",
        "X: y\n",
        "\nX: y",
        "X\0: y",
        "X: \u{1}",
        "X: \u{7f}",
        "X: \u{b}",
        "X: \u{c}",
        "X: \u{8}",
        "X: \u{1b}[0m",
        "X\u{7f}: y",
        "(X): y",
        "<X>: y",
        "X,Y: z",
        "X;Y: z",
        "X\\Y: z",
        "\"X\": y",
        "X/Y: z",
        "[X]: y",
        "X?: y",
        "X=Y: z",
        "{X}: y",
        "X@Y: z",
        "é: y",
        "X\u{a0}: y",
        "\u{a0}X: y",
    ];
    malformed("field line", wrong.iter().map(get))
}

fn expectations(edge: &Edge) -> Vec<Row> {
    let post = |line: &&str| {
        edge.fill(&format!("POST /sources HTTP/1.1\r\nHost: a\r\n$TContent-Length: 2\r\n{line}\r\n\r\n{{}}"))
    };
    let wrong = [
        "Expect: 200-ok",
        "Expect: 100",
        "Expect: continue",
        "Expect: 100-continue, 100-continue",
        "Expect: 100-continue;x",
        "Expect: 100-continue x",
        "Expect: x, 100-continue",
        "Expect:",
        "Expect: y 100-continue",
        "Expect: 100-continue,",
        "Expect: \"100-continue\"",
        "Expect: 100-continue\r\nExpect: x",
        "Expect: 101-continue",
        "Expect: 100 continue",
    ];
    refused("expect", 417, "expectation_failed", wrong.iter().map(post))
}

fn sizes(edge: &Edge) -> Vec<Row> {
    let get = |target: &str, fields: &str| {
        edge.fill(&format!("GET {target} HTTP/1.1\r\nHost: a\r\n$T{fields}\r\n"))
    };
    let target = |length: usize| format!("/{}", "x".repeat(length - 1));
    let wide = |length: usize| format!("X: {}\r\n", "y".repeat(length));
    let mut found = Vec::new();
    for length in [8_193, 9_000, 31_000, 33_000, 70_000] {
        found.extend(refused("target", 414, "uri_too_long", [get(&target(length), "")]));
    }
    for length in [32_768, 40_000, 100_000, 500_000] {
        found.extend(refused("head", 431, "headers_too_large", [get("/sources", &wide(length))]));
    }
    for number in [99, 127, 128, 1_000] {
        found.extend(refused(
            "fields",
            431,
            "headers_too_large",
            [get("/sources", &"X: y\r\n".repeat(number))],
        ));
    }
    let unfinished = edge.fill(&format!("GET /sources HTTP/1.1\r\nHost: a\r\n$TX: {}", "y".repeat(33_000)));
    found.extend(refused("unfinished head", 431, "headers_too_large", [unfinished]));
    found.extend(refused(
        "unfinished target",
        414,
        "uri_too_long",
        [vec![b'/'; 9_000]].map(|rest| [b"GET /".to_vec(), rest].concat()),
    ));
    for length in ["104857601", "9999999999", "9223372036854775807"] {
        let post = format!("POST /sources HTTP/1.1\r\nHost: a\r\n$TContent-Length: {length}\r\n\r\n");
        found.extend(refused("body", 413, "body_too_large", [edge.fill(&post)]));
        let expecting = post.replace("\r\n\r\n", "\r\nExpect: 100-continue\r\n\r\n");
        found.extend(refused("body", 413, "body_too_large", [edge.fill(&expecting)]));
    }
    found
}

/// Each option that `Connection` names is compared with each field.
fn connection_options(edge: &Edge) -> Vec<Row> {
    let get = |line: String| edge.fill(&format!("GET /sources HTTP/1.1\r\nHost: a\r\n$T{line}\r\n\r\n"));
    let lines = [
        format!("Connection: {}", vec!["x"; 65].join(",")),
        format!("Connection: {}", vec!["x-a"; 5_000].join(", ")),
        format!("Connection: {}", "x".repeat(29_000)),
        format!("Connection: {}", ",".repeat(20_000)),
        vec!["Connection: x"; 65].join("\r\n"),
        format!("Connection: keep-alive\r\nConnection: {}", vec!["close"; 64].join(",")),
    ];
    malformed("connection", lines.map(get))
}

#[test]
fn heads_that_are_none_are_refused() {
    let edge = Edge::start("");
    let all = [request_lines, methods, hosts, field_lines, expectations, sizes, connection_options];
    edge.refuses(&all.iter().flat_map(|rows| rows(&edge)).collect::<Vec<_>>());
}

#[test]
fn heads_up_to_the_limits_pass() {
    let edge = Edge::start("");
    let get = |target: &str, fields: &str| {
        edge.fill(&format!("GET {target} HTTP/1.1\r\nHost: a\r\n$T{fields}\r\n"))
    };
    let target = format!("/sources?{}", "x".repeat(8_192 - 9));
    edge.answers(&rows(
        "limits",
        200,
        "",
        Then::GoesOn,
        [
            get(&target, ""),
            get("/sources", &"X: y\r\n".repeat(98)),
            get("/sources", &format!("X: {}\r\n", "y".repeat(32_000))),
            get("/sources", "X: \u{e9}\r\n"),
            get("/sources", "X:\r\nY: \t \r\nZ:z\r\n"),
            get("/sources", "X!#$%&'*+-.^_`|~9: y\r\n"),
        ],
    ));
    for host in ["a", "A", "a.example:443", "127.0.0.1:1", "[::1]:80", "[::1]", "a_b", "a-b", "a:", "xn--4ca"]
    {
        let bytes = edge.fill(&format!("GET /sources HTTP/1.1\r\nHost: {host}\r\n$T\r\n"));
        edge.answers(&rows("host", 200, "", Then::GoesOn, [bytes]));
        assert_eq!(edge.upstream.take()[0].all("host"), [host]);
    }
}
