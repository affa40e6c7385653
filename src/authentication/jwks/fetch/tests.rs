use rcgen::CertifiedKey;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

/// Gets from a server on loopback that answers every connection with these bytes and closes.
async fn get_answer(answer: Vec<u8>, etag: Option<&'static str>) -> (Result<Loaded, LoadFailed>, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("http://{}/jwks?a=b", listener.local_addr().unwrap());
    let serve = async {
        let (stream, _) = listener.accept().await.unwrap();
        respond(stream, &answer).await
    };
    let uri = uri.parse().unwrap();
    let etag = etag.map(HeaderValue::from_static);
    tokio::join!(get(&uri, None, etag.as_ref()), serve)
}

async fn respond<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, answer: &[u8]) -> String {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let byte = stream.read_u8().await.unwrap();
        request.push(byte);
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
            let (loaded, request) = get_answer(answer.into(), None).await;
            let Ok(Loaded::Set { text, etag: None, freshness: Freshness::Unsaid }) = loaded else {
                panic!("{answer}: {loaded:?}")
            };
            assert_eq!(text, b"{}", "{answer}");
            assert!(!request.contains("if-none-match"), "{request}");
            assert!(request.starts_with("GET /jwks?a=b HTTP/1.1\r\nhost: 127.0.0.1:"), "{request}");
        }
    });
}

#[test]
fn redirects_errors_and_floods_are_failures() {
    run(async {
        for status in [204, 301, 302, 304, 307, 404, 500, 503] {
            let answer =
                format!("HTTP/1.1 {status} X\r\nlocation: http://127.0.0.1/x\r\ncontent-length: 0\r\n\r\n");
            let (failed, _) = get_answer(answer.into(), None).await;
            assert!(matches!(failed, Err(LoadFailed::Status(found)) if found == status), "{failed:?}");
        }
        let body = "x".repeat(MAX_SET_BYTES + 1);
        for head in [format!("content-length: {}", body.len()), "connection: close".to_owned()] {
            let (failed, _) =
                get_answer(format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n{body}").into(), None).await;
            assert!(matches!(failed, Err(LoadFailed::TooLong)), "{failed:?}");
        }
        for cut in ["", "garbage\r\n\r\n", "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{}"] {
            let (failed, _) = get_answer(cut.into(), None).await;
            assert!(matches!(failed, Err(LoadFailed::Unreachable(_))), "{cut}: {failed:?}");
        }
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let failed = get(&format!("http://{closed}/").parse().unwrap(), None, None).await;
        assert!(matches!(failed, Err(LoadFailed::Unreachable(_))), "{failed:?}");
    });
}

#[test]
fn a_validator_is_sent_and_an_unchanged_set_is_believed_only_then() {
    run(async {
        let changed =
            "HTTP/1.1 200 OK\r\netag: W/\"2\"\r\ncache-control: max-age=90\r\ncontent-length: 2\r\n\r\n{}";
        let (loaded, request) = get_answer(changed.into(), Some("\"1\"")).await;
        assert!(request.contains("\r\nif-none-match: \"1\"\r\n"), "{request}");
        let Ok(Loaded::Set { etag: Some(etag), freshness: Freshness::Seconds(90), .. }) = loaded else {
            panic!("{loaded:?}")
        };
        assert_eq!(etag, "W/\"2\"");
        let same = "HTTP/1.1 304 X\r\ncache-control: max-age=90\r\n\r\n";
        let (loaded, _) = get_answer(same.into(), Some("\"1\"")).await;
        assert!(
            matches!(loaded, Ok(Loaded::NotModified { freshness: Freshness::Seconds(90) })),
            "{loaded:?}"
        );
        let (loaded, _) = get_answer(same.into(), None).await;
        assert!(matches!(loaded, Err(LoadFailed::Status(304))), "{loaded:?}");
        let long =
            format!("HTTP/1.1 200 OK\r\netag: \"{}\"\r\ncontent-length: 2\r\n\r\n{{}}", "x".repeat(300));
        let (loaded, _) = get_answer(long.into(), None).await;
        assert!(matches!(loaded, Ok(Loaded::Set { etag: None, .. })), "{loaded:?}");
    });
}

#[test]
fn an_answer_that_drips_or_never_ends_is_given_up() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    runtime.unwrap().block_on(async {
        for start in ["HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 200 OK\r\nx: "] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let uri = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
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
                got = get(&uri, None, None) => got,
                () = drip => unreachable!(),
            };
            assert!(matches!(got, Err(LoadFailed::TimedOut)), "{start}: {got:?}");
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
            let uri =
                format!("https://localhost:{}/", listener.local_addr().unwrap().port()).parse().unwrap();
            let serve = async {
                let (stream, _) = listener.accept().await.unwrap();
                if let Ok(stream) = acceptor.accept(stream).await {
                    respond(stream, b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").await;
                }
            };
            let got = tokio::select! {
                got = get(&uri, ca_file.map(std::path::PathBuf::as_path), None) => got,
                () = async { serve.await; std::future::pending().await } => unreachable!(),
            };
            assert_eq!(got.is_ok(), good, "{got:?}");
        }
        let missing = folder.path().join("missing");
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri = format!("https://localhost:{}/", listener.local_addr().unwrap().port()).parse().unwrap();
        let failed = get(&uri, Some(&missing), None).await;
        assert!(matches!(failed, Err(LoadFailed::Certificates(_))), "{failed:?}");
    });
}
