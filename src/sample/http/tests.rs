use bytes::BytesMut;

use super::request::{self, Ended, Framing};
use super::{Malformed, Request};

fn block<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn read(bytes: &[u8]) -> Result<Request, Ended> {
    block(async {
        let mut rest = &b""[..];
        let mut buffer = BytesMut::from(bytes);
        let Some(mut request) = request::take_head(&mut buffer)? else { return Err(Ended::Closed) };
        let framing = request.framing()?;
        request::read_body(&mut rest, &mut buffer, &mut request, framing).await?;
        Ok(request)
    })
}

fn malformed(bytes: &[u8]) -> Malformed {
    match read(bytes) {
        Err(Ended::Malformed(malformed)) => malformed,
        other => panic!("read as {other:?}"),
    }
}

#[test]
fn order_case_and_duplicates_of_fields_are_kept() {
    let request = read(b"GET /a?b HTTP/1.1\r\nhOsT: x\r\nB: 2\r\nA: 1\r\nb:  3 \r\n\r\n").unwrap();
    let fields: Vec<_> = request.fields.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    assert_eq!(fields, [("hOsT", "x"), ("B", "2"), ("A", "1"), ("b", "3")]);
    assert_eq!((request.path(), request.query(), request.version), ("/a", "b", "HTTP/1.1"));
}

#[test]
fn chunks_extensions_and_trailers_are_read() {
    let request = read(
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n4;x=1\r\nWiki\r\n5 \r\npedia\r\n0\r\nX-Sum: 9\r\n\r\n",
    )
    .unwrap();
    assert_eq!(&request.body[..], b"Wikipedia");
    assert_eq!(request.trailers, [("X-Sum".to_owned(), "9".to_owned())]);
}

#[test]
fn doubtful_framing_is_refused() {
    let head = |fields: &str| format!("POST / HTTP/1.1\r\n{fields}\r\n\r\nabc").into_bytes();
    for fields in [
        "Content-Length: 3\r\nTransfer-Encoding: chunked",
        "Content-Length: 3\r\nContent-Length: 3",
        "Content-Length: 3, 3",
        "Content-Length: +3",
        "Content-Length: ",
    ] {
        assert_eq!(malformed(&head(fields)), Malformed::Framing, "{fields}");
    }
    assert_eq!(malformed(&head("Transfer-Encoding: gzip, chunked")), Malformed::Coding);
    assert_eq!(malformed(&head("Content-Length: 16777217")), Malformed::BodyTooLong);
    let old = b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(malformed(old), Malformed::Framing);
    for chunk in ["x\r\n", "-1\r\n", "\r\n", "1\r\nab\r\n", "fffffffff\r\n"] {
        let bytes = format!("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}");
        assert_eq!(malformed(bytes.as_bytes()), Malformed::Syntax, "{chunk:?}");
    }
}

#[test]
fn long_heads_are_refused() {
    let many = "a: b\r\n".repeat(300);
    assert_eq!(malformed(format!("GET / HTTP/1.1\r\n{many}\r\n").as_bytes()), Malformed::HeadTooLong);
    let long = "x".repeat(300 * 1024);
    assert_eq!(malformed(format!("GET / HTTP/1.1\r\na: {long}").as_bytes()), Malformed::HeadTooLong);
}

#[test]
fn connections_close_when_asked_or_old() {
    let closes = |text: &str| read(text.as_bytes()).unwrap().closes();
    assert!(closes("GET / HTTP/1.1\r\nConnection: x, Close\r\n\r\n"));
    assert!(closes("GET / HTTP/1.0\r\n\r\n"));
    assert!(!closes("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"));
    assert!(!closes("GET / HTTP/1.1\r\n\r\n"));
}

#[test]
fn an_absolute_target_has_the_same_path() {
    let request = read(b"GET http://h:1/a/b?c HTTP/1.1\r\n\r\n").unwrap();
    assert_eq!((request.path(), request.query()), ("/a/b", "c"));
    assert_eq!(request.framing(), Ok(Framing::Length(0)));
}

proptest::proptest! {
    #[test]
    fn arbitrary_bytes_are_read_or_refused(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..400)) {
        let _ = read(&bytes);
    }

    #[test]
    fn arbitrary_chunks_are_read_or_refused(bytes in "[0-9a-f;\r\n x]{0,60}") {
        let _ = read(format!("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{bytes}").as_bytes());
    }
}
