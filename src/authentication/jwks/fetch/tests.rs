use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

/// Gets from a server on loopback that answers one connection with these bytes and closes.
async fn get_answer(answer: String, etag: Option<&'static str>) -> Result<Loaded, LoadFailed> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = Url::parse(&format!("http://{}/jwks", listener.local_addr().unwrap())).unwrap();
    let serve = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            request.push(stream.read_u8().await.unwrap());
        }
        // The client may leave before it has read everything.
        let _ = stream.write_all(answer.as_bytes()).await;
        let _ = stream.shutdown().await;
    };
    let etag = etag.map(HeaderValue::from_static);
    tokio::join!(get(&url, None, etag.as_ref()), serve).0
}

fn run<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

#[test]
fn only_200_is_a_set() {
    run(async {
        for status in [204, 301, 302, 304, 307, 404, 500, 503] {
            let failed = get_answer(format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\n\r\n"), None).await;
            assert!(matches!(failed, Err(LoadFailed::Status(found)) if found == status), "{failed:?}");
        }
        let body = "x".repeat(MAX_SET_BYTES + 1);
        let failed = get_answer(format!("HTTP/1.1 200 OK\r\n\r\n{body}"), None).await;
        assert!(matches!(failed, Err(LoadFailed::TooLong)), "{failed:?}");
        let failed = get_answer("garbage\r\n\r\n".to_owned(), None).await;
        assert!(matches!(failed, Err(LoadFailed::Unreachable(_))), "{failed:?}");
    });
}

#[test]
fn an_unchanged_set_is_believed_only_where_a_validator_was_sent() {
    run(async {
        let changed =
            "HTTP/1.1 200 OK\r\netag: W/\"2\"\r\ncache-control: max-age=90\r\ncontent-length: 2\r\n\r\n{}";
        let loaded = get_answer(changed.to_owned(), Some("\"1\"")).await;
        let Ok(Loaded::Set { text, etag: Some(etag), freshness: Freshness::Seconds(90) }) = loaded else {
            panic!("{loaded:?}")
        };
        assert_eq!((&text[..], etag.as_bytes()), (&b"{}"[..], &b"W/\"2\""[..]));
        let same = "HTTP/1.1 304 X\r\ncache-control: max-age=90\r\n\r\n".to_owned();
        let loaded = get_answer(same.clone(), Some("\"1\"")).await;
        let unchanged = matches!(loaded, Ok(Loaded::NotModified { freshness: Freshness::Seconds(90) }));
        assert!(unchanged, "{loaded:?}");
        let loaded = get_answer(same, None).await;
        assert!(matches!(loaded, Err(LoadFailed::Status(304))), "{loaded:?}");
        let long =
            format!("HTTP/1.1 200 OK\r\netag: \"{}\"\r\ncontent-length: 2\r\n\r\n{{}}", "x".repeat(300));
        let loaded = get_answer(long, None).await;
        assert!(matches!(loaded, Ok(Loaded::Set { etag: None, .. })), "{loaded:?}");
    });
}
