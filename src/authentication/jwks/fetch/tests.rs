use rcgen::CertifiedKey;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

/// Gets from a server on loopback that answers every connection with these bytes and closes.
async fn get_answer(answer: Vec<u8>) -> (Result<Vec<u8>, LoadFailed>, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("http://{}/jwks?a=b", listener.local_addr().unwrap());
    let serve = async {
        let (stream, _) = listener.accept().await.unwrap();
        respond(stream, &answer).await
    };
    let uri = uri.parse().unwrap();
    tokio::join!(get(&uri, None), serve)
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
            let (body, request) = get_answer(answer.into()).await;
            assert_eq!(body.unwrap(), b"{}", "{answer}");
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
            let (failed, _) = get_answer(answer.into()).await;
            assert!(matches!(failed, Err(LoadFailed::Status(found)) if found == status), "{failed:?}");
        }
        let body = "x".repeat(MAX_SET_BYTES + 1);
        for head in [format!("content-length: {}", body.len()), "connection: close".to_owned()] {
            let (failed, _) = get_answer(format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n{body}").into()).await;
            assert!(matches!(failed, Err(LoadFailed::TooLong)), "{failed:?}");
        }
        for cut in ["", "garbage\r\n\r\n", "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{}"] {
            let (failed, _) = get_answer(cut.into()).await;
            assert!(matches!(failed, Err(LoadFailed::Unreachable(_))), "{cut}: {failed:?}");
        }
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let failed = get(&format!("http://{closed}/").parse().unwrap(), None).await;
        assert!(matches!(failed, Err(LoadFailed::Unreachable(_))), "{failed:?}");
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
                got = get(&uri, ca_file.map(std::path::PathBuf::as_path)) => got,
                () = async { serve.await; std::future::pending().await } => unreachable!(),
            };
            assert_eq!(got.is_ok(), good, "{got:?}");
        }
        let missing = folder.path().join("missing");
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri = format!("https://localhost:{}/", listener.local_addr().unwrap().port()).parse().unwrap();
        let failed = get(&uri, Some(&missing)).await;
        assert!(matches!(failed, Err(LoadFailed::Certificates(_))), "{failed:?}");
    });
}
