use std::sync::Arc;

use rcgen::CertifiedKey;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

const MAX_BYTES: usize = 1024;
const DEADLINE: Duration = Duration::from_secs(5);

fn url(text: &str) -> Url {
    Url::parse(text).unwrap()
}

fn fetch(url: &Url) -> Fetch<'_> {
    Fetch { url, ca_file: None, reach: Reach::Anywhere, deadline: DEADLINE, max_bytes: MAX_BYTES }
}

/// Asks a server on loopback that answers every connection with these bytes and closes; what it was sent, too.
async fn exchange(
    answer: Vec<u8>,
    ask: impl AsyncFnOnce(Fetch<'_>) -> Result<Answer, FetchFailed>,
) -> (Result<Answer, FetchFailed>, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = url(&format!("http://{}/jwks?a=b", listener.local_addr().unwrap()));
    let serve = async {
        let (stream, _) = listener.accept().await.unwrap();
        respond(stream, &answer).await
    };
    tokio::join!(ask(fetch(&url)), serve)
}

async fn get(answer: impl Into<Vec<u8>>) -> Result<Answer, FetchFailed> {
    exchange(answer.into(), async |fetch| fetch.get("application/json", None).await).await.0
}

/// Reads a request with its announced body and answers.
async fn respond<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, answer: &[u8]) -> String {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(stream.read_u8().await.unwrap());
    }
    let head = String::from_utf8(request.clone()).unwrap();
    let length = head.split("content-length: ").nth(1).and_then(|rest| rest.split('\r').next());
    for _ in 0..length.map_or(0, |length| length.parse().unwrap()) {
        request.push(stream.read_u8().await.unwrap());
    }
    // The client may leave before it has read everything.
    let _ = stream.write_all(answer).await;
    let _ = stream.shutdown().await;
    String::from_utf8(request).unwrap()
}

fn run<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

#[test]
fn a_good_answer_is_its_body_whichever_way_it_is_framed() {
    run(async {
        for answer in [
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\n\r\n{}",
            "HTTP/1.0 200 OK\r\n\r\n{}",
        ] {
            let ask = async |fetch: Fetch<'_>| fetch.get("application/json", None).await;
            let (answered, request) = exchange(answer.into(), ask).await;
            let answered = answered.unwrap();
            assert_eq!((answered.status, &answered.body[..]), (StatusCode::OK, &b"{}"[..]), "{answer}");
            assert!(!request.contains("if-none-match"), "{request}");
            assert!(request.starts_with("GET /jwks?a=b HTTP/1.1\r\n"), "{request}");
            assert!(request.contains("\r\nhost: 127.0.0.1:"), "{request}");
            assert!(request.contains("\r\naccept: application/json\r\n"), "{request}");
        }
    });
}

#[test]
fn every_status_is_told_and_no_redirect_followed() {
    run(async {
        for status in [204, 301, 302, 304, 307, 404, 500, 503] {
            let answer =
                format!("HTTP/1.1 {status} X\r\nlocation: http://127.0.0.1/x\r\ncontent-length: 0\r\n\r\n");
            assert_eq!(get(answer).await.unwrap().status.as_u16(), status);
        }
        let long = format!("HTTP/1.1 500 X\r\n\r\n{}", "x".repeat(MAX_BYTES + 1));
        assert_eq!(get(long).await.unwrap().body, "", "the body of a failure is not read");
    });
}

#[test]
fn floods_and_broken_answers_are_failures() {
    run(async {
        let body = "x".repeat(MAX_BYTES + 1);
        for head in [format!("content-length: {}", body.len()), "connection: close".to_owned()] {
            let failed = get(format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n{body}")).await;
            assert!(matches!(failed, Err(FetchFailed::TooLong(MAX_BYTES))), "{failed:?}");
        }
        let head = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "x".repeat(1_000_000));
        for cut in ["", "garbage\r\n\r\n", "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{}", &head] {
            let failed = get(cut).await;
            assert!(matches!(failed, Err(FetchFailed::Unreachable(_))), "{failed:?}");
        }
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let failed = fetch(&url(&format!("http://{closed}/"))).get("*/*", None).await;
        assert!(matches!(failed, Err(FetchFailed::Unreachable(_))), "{failed:?}");
    });
}

#[test]
fn a_validator_is_sent() {
    run(async {
        let ask = async |fetch: Fetch<'_>| {
            fetch.get("application/json", Some(&HeaderValue::from_static("\"1\""))).await
        };
        let same = "HTTP/1.1 304 X\r\ncache-control: max-age=90\r\n\r\n";
        let (answered, request) = exchange(same.into(), ask).await;
        assert!(request.contains("\r\nif-none-match: \"1\"\r\n"), "{request}");
        let answered = answered.unwrap();
        assert_eq!(answered.status, StatusCode::NOT_MODIFIED);
        assert_eq!(answered.fields[header::CACHE_CONTROL], "max-age=90");
    });
}

#[test]
fn a_post_carries_its_fields_and_its_body_and_leaves_the_answer_unread_if_asked() {
    run(async {
        let ask = async |fetch: Fetch<'_>| {
            let mut fields = HeaderMap::new();
            fields.insert("webhook-id", HeaderValue::from_static("msg_1"));
            fields.insert(header::HOST, HeaderValue::from_static("elsewhere.example"));
            Fetch { max_bytes: 0, ..fetch }.post(fields, Bytes::from_static(b"{\"a\":1}")).await
        };
        let flood = format!("HTTP/1.1 202 OK\r\n\r\n{}", "x".repeat(100_000));
        let (answered, request) = exchange(flood.into(), ask).await;
        let answered = answered.unwrap();
        assert_eq!((answered.status.as_u16(), &answered.body[..]), (202, &b""[..]));
        assert!(request.starts_with("POST /jwks?a=b HTTP/1.1\r\n"), "{request}");
        assert!(request.contains("\r\nwebhook-id: msg_1\r\n"), "{request}");
        assert!(request.contains("\r\nhost: 127.0.0.1:") && !request.contains("elsewhere"), "{request}");
        assert!(request.contains("\r\ncontent-length: 7\r\n") && request.ends_with("{\"a\":1}"), "{request}");
    });
}

#[test]
fn an_address_inside_is_not_connected_to_where_somebody_else_wrote_the_url() {
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        for host in ["127.0.0.1", "localhost", "[::1]"] {
            let url = url(&format!("https://{host}:{port}/"));
            let refused = Fetch { reach: Reach::PublicInternet, ..fetch(&url) };
            let refused = refused.post(HeaderMap::new(), Bytes::from_static(b"x")).await;
            assert!(
                matches!(refused, Err(FetchFailed::Refused(address)) if address.is_loopback()),
                "{refused:?}"
            );
        }
        let nobody = tokio::time::timeout(Duration::from_millis(10), listener.accept()).await;
        assert!(nobody.is_err(), "nothing was connected");
    });
}

#[test]
fn a_file_is_read_up_to_a_length() {
    run(async {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "12345").unwrap();
        assert_eq!(read_file(file.path().to_owned(), 5).await.unwrap().unwrap(), b"12345");
        assert!(read_file(file.path().to_owned(), 4).await.unwrap().is_none());
        assert!(read_file(file.path().join("x"), 4).await.is_err());
    });
}

#[test]
fn an_answer_that_drips_or_never_ends_is_given_up() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    runtime.unwrap().block_on(async {
        for start in ["HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 200 OK\r\nx: "] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = url(&format!("http://{}/", listener.local_addr().unwrap()));
            let drip = async {
                let (mut stream, _) = listener.accept().await.unwrap();
                let _ = stream.write_all(start.as_bytes()).await;
                loop {
                    let _ = stream.write_all(b"x").await;
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            };
            let before = tokio::time::Instant::now();
            let got = tokio::select! {
                got = async { fetch(&url).get("*/*", None).await } => got,
                () = drip => unreachable!(),
            };
            assert!(matches!(got, Err(FetchFailed::TimedOut(DEADLINE))), "{start}: {got:?}");
            assert!(before.elapsed() < DEADLINE + Duration::from_secs(1));
        }
    });
}

#[test]
fn a_certificate_is_checked_against_the_file_and_the_name() {
    let folder = tempfile::tempdir().unwrap();
    let certificate = |name: &str| {
        let CertifiedKey { cert, signing_key } =
            rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, cert.pem()).unwrap();
        let key = rustls::pki_types::PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key)
            .unwrap();
        (path, tokio_rustls::TlsAcceptor::from(Arc::new(config)))
    };
    let (right, wrong) = (certificate("localhost"), certificate("other.test"));
    run(async {
        for (ca_file, acceptor, good) in [
            (Some(&right.0), &right.1, true),
            (Some(&wrong.0), &right.1, false),
            (Some(&wrong.0), &wrong.1, false),
            (None, &right.1, false),
        ] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = url(&format!("https://localhost:{}/", listener.local_addr().unwrap().port()));
            let serve = async {
                let (stream, _) = listener.accept().await.unwrap();
                if let Ok(stream) = acceptor.accept(stream).await {
                    respond(stream, b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").await;
                }
            };
            let ca_file = ca_file.map(std::path::PathBuf::as_path);
            let got = tokio::select! {
                got = async { Fetch { ca_file, ..fetch(&url) }.get("*/*", None).await } => got,
                () = async { serve.await; std::future::pending().await } => unreachable!(),
            };
            assert_eq!(got.is_ok(), good, "{got:?}");
        }
        let missing = folder.path().join("missing");
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = url(&format!("https://localhost:{}/", listener.local_addr().unwrap().port()));
        let failed = Fetch { ca_file: Some(&missing), ..fetch(&url) }.get("*/*", None).await;
        assert!(matches!(failed, Err(FetchFailed::Certificates(_))), "{failed:?}");
    });
}
