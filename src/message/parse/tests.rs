use super::*;

const LIMITS: HeadLimits = HeadLimits { head_bytes: 4096, fields: 10, target_bytes: 256 };

fn parse(input: &[u8]) -> Result<Option<(Parsed, Head)>, HeadFault> {
    let mut head = Head::new();
    request_head(input, &LIMITS, &mut head).map(|parsed| parsed.map(|parsed| (parsed, head)))
}

fn fault(input: &[u8]) -> HeadFault {
    match parse(input) {
        Err(fault) => fault,
        other => panic!("{:?} was read as {other:?}", String::from_utf8_lossy(input)),
    }
}

fn request(lines: &str) -> Vec<u8> {
    format!("GET / HTTP/1.1\r\n{lines}\r\n").into_bytes()
}

#[test]
fn framing_that_could_be_read_in_two_ways_is_refused() {
    let malformed = [
        "Host: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n",
        "Host: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n",
        "Host: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n",
        "Host: a\r\nContent-Length: 5, 5\r\n",
        "Host: a\r\nContent-Length: +5\r\n",
        "Host: a\r\nContent-Length: -5\r\n",
        "Host: a\r\nContent-Length: 0x5\r\n",
        "Host: a\r\nContent-Length: 5 5\r\n",
        "Host: a\r\nContent-Length:\r\n",
        "Host: a\r\nContent-Length: 99999999999999999999\r\n",
        "Host: a\r\nTransfer-Encoding: xchunked\r\n",
        "Host: a\r\nTransfer-Encoding: chunked, chunked\r\n",
        "Host: a\r\nTransfer-Encoding: gzip, chunked\r\n",
        "Host: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Host: a\r\nTransfer-Encoding: \"chunked\"\r\n",
        "Host: a\r\nTransfer-Encoding:\r\n",
        "Host: a\r\nTransfer-Encoding : chunked\r\n",
        "Host: a\r\n Transfer-Encoding: chunked\r\n",
        "Host: a\r\nTransfer-Encoding\t: chunked\r\n",
        "Host: a\r\nTransfer-Encoding: \x0bchunked\r\n",
        "Host: a\r\nX: a\r\n b\r\n",
        "Host: a\r\nX: a\0b\r\n",
        "Host: a\r\nX: a\rb\r\n",
        "Host: a\r\nX\r\n",
        "Host: a\r\n: x\r\n",
        "Host: a\nX: y\r\n",
        " Host: a\r\n",
    ];
    for lines in malformed {
        assert!(matches!(fault(&request(lines)), HeadFault::Malformed(_)), "{lines:?}");
    }
    assert_eq!(fault(&request("Host: a\r\nTransfer-Encoding: gzip\r\n")), HeadFault::UnknownTransferCoding);
    let old = b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert!(matches!(fault(old), HeadFault::Malformed(_)));
}

#[test]
fn request_lines_that_are_not_one_are_refused() {
    for line in [
        "GET  / HTTP/1.1",
        "GET / HTTP/2.0",
        "GET / HTTP/1.2",
        "GET /",
        "GET / http/1.1",
        "GET\t/ HTTP/1.1",
        "GET / HTTP/1.1 ",
        "GET /a b HTTP/1.1",
        "GET a HTTP/1.1",
        "GET * HTTP/1.1",
        "GET /#x HTTP/1.1",
        "GET http://a?x HTTP/1.1",
        "GET /\0 HTTP/1.1",
        "G@T / HTTP/1.1",
        " GET / HTTP/1.1",
    ] {
        let input = format!("{line}\r\nHost: a\r\n\r\n");
        assert!(matches!(fault(input.as_bytes()), HeadFault::Malformed(_)), "{line:?}");
    }
    for method in ["TRACE", "CONNECT", "get", "BREW", "PROPFIND"] {
        let input = format!("{method} / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(fault(input.as_bytes()), HeadFault::UnknownMethod, "{method}");
    }
    assert!(matches!(fault(b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"), HeadFault::Malformed(_)));
    assert!(matches!(fault(b"GET / HTTP/1.1\nHost: a\n\n"), HeadFault::Malformed(_)));
}

#[test]
fn a_host_is_needed_once_and_well_formed() {
    for lines in [
        "",
        "Host: a\r\nHost: a\r\n",
        "Host: a b\r\n",
        "Host: a,b\r\n",
        "Host: a/x\r\n",
        "Host:\r\n",
        "Host: u@a\r\n",
        "Host: a:x\r\n",
        "Host: a:123456\r\n",
        "Host: [::1\r\n",
        "Host: []\r\n",
        "Host: [::1]x\r\n",
        "Host: a\\b\r\n",
    ] {
        assert!(matches!(fault(&request(lines)), HeadFault::Malformed(_)), "{lines:?}");
    }
    for host in ["a", "api.example.com:443", "127.0.0.1:1", "[::1]:80", "[::1]", "a_b", "a:"] {
        assert!(parse(&request(&format!("Host: {host}\r\n"))).unwrap().is_some(), "{host}");
    }
    assert!(matches!(fault(b"GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n"), HeadFault::Malformed(_)));
    assert!(parse(b"GET / HTTP/1.0\r\n\r\n").unwrap().is_some());
}

#[test]
fn limits_are_told_apart() {
    let long_target = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(300));
    assert_eq!(fault(long_target.as_bytes()), HeadFault::TargetTooLong { limit_bytes: 256 });
    assert_eq!(fault(&vec![b'A'; 5000]), HeadFault::TargetTooLong { limit_bytes: 256 });
    let wide = request(&format!("Host: a\r\nX: {}\r\n", "x".repeat(5000)));
    assert!(matches!(fault(&wide), HeadFault::TooLarge { .. }));
    assert!(matches!(fault(&wide[..4096]), HeadFault::TooLarge { .. }));
    let many = request(&format!("Host: a\r\n{}", "X: y\r\n".repeat(10)));
    assert!(matches!(fault(&many), HeadFault::TooManyFields { limit_fields: 10 }));
    assert!(matches!(
        fault(&request(&format!("Host: a\r\n{}", "X: y\r\n".repeat(140)))),
        HeadFault::TooManyFields { .. }
    ));
    assert_eq!(fault(&request("Host: a\r\nExpect: 200-ok\r\n")), HeadFault::UnknownExpectation);
}

#[test]
fn what_connection_may_name_is_bounded() {
    let named =
        |number: usize| request(&format!("Host: a\r\nConnection: {}\r\n", vec!["x"; number].join(",")));
    assert!(parse(&named(64)).unwrap().is_some());
    assert!(matches!(fault(&named(65)), HeadFault::Malformed("Connection names more than 64 options")));
    let several = "Connection: x, y\r\n".repeat(5);
    assert!(parse(&request(&format!("Host: a\r\n{several}"))).unwrap().is_some());
    let empty = request(&format!("Host: a\r\nConnection: {}\r\n", ",".repeat(64)));
    assert!(matches!(fault(&empty), HeadFault::Malformed(_)), "empty members count");
    let long = request(&format!("Host: a\r\nConnection: {}\r\nConnection: y\r\n", "x".repeat(2048)));
    assert!(matches!(fault(&long), HeadFault::Malformed("Connection is longer than 2 KiB")));
}

#[test]
fn a_good_request_is_read_whole_or_not_at_all() {
    let input = b"POST http://API.example/a%2Fb?c=[1] HTTP/1.1\r\nHost: api.example\r\nContent-Length: 3\r\nContent-Length: 3\r\nExpect: 100-continue\r\nX: \t a b \r\n\r\nabc";
    for end in 0..input.len() - 3 {
        assert!(parse(&input[..end]).unwrap().is_none(), "{end}");
    }
    let (parsed, head) = parse(input).unwrap().unwrap();
    assert_eq!(
        parsed,
        Parsed {
            length: input.len() - 3,
            framing: Framing::Length(3),
            keep_alive: true,
            expects_continue: true
        }
    );
    assert_eq!(head.target(), b"/a%2Fb?c=[1]");
    assert!(head.fields().any(|field| field.name == b"X" && field.value == b"a b"));
}

#[test]
fn keep_alive_follows_version_and_connection() {
    let keep = |line: &str, field: &str| {
        parse(format!("GET / {line}\r\nHost: a\r\n{field}\r\n").as_bytes()).unwrap().unwrap().0.keep_alive
    };
    assert!(keep("HTTP/1.1", ""));
    assert!(!keep("HTTP/1.1", "Connection: x, Close\r\n"));
    assert!(!keep("HTTP/1.0", ""));
    assert!(keep("HTTP/1.0", "Connection: Keep-Alive\r\n"));
}

proptest::proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(input in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..600)) {
        let _ = parse(&input);
    }

    #[test]
    fn every_field_value_survives(value in "[!-~]([ -~]{0,40}[!-~])?") {
        let input = request(&format!("Host: a\r\nX-Any: {value}\r\n"));
        let (_, head) = parse(&input).unwrap().unwrap();
        proptest::prop_assert!(head.fields().any(|field| field.value == value.as_bytes()));
    }
}
