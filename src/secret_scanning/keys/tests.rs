use std::sync::atomic::AtomicUsize;

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;
use crate::fetch::Url;

const PACE: Pace = Pace { refresh: Duration::from_hours(1), cool_down: Duration::from_mins(2) };

/// A document with current keys of these ids.
fn document(ids: &[&str]) -> String {
    let pem = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap().public_key_pem();
    let key = |id: &&str| json!({"key_identifier": id, "key": pem, "is_current": true});
    json!({"public_keys": ids.iter().map(key).collect::<Vec<_>>()}).to_string()
}

/// A server of one document, [`None`] for 500, that counts who asks and who still had it.
#[derive(Default)]
struct Server {
    document: ArcSwapOption<String>,
    asked: AtomicUsize,
    unchanged: AtomicUsize,
}

impl Server {
    async fn start(document: Option<String>) -> (Arc<Self>, KeySource) {
        let server = Arc::new(Self { document: ArcSwapOption::from_pointee(document), ..Self::default() });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = Url::parse(&format!("http://{}/keys", listener.local_addr().unwrap())).unwrap();
        tokio::spawn(Arc::clone(&server).serve(listener));
        (server, KeySource::Url { url, ca_file: None })
    }

    async fn serve(self: Arc<Self>, listener: TcpListener) {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                request.push(stream.read_u8().await.unwrap());
            }
            self.asked.fetch_add(1, Ordering::SeqCst);
            let request = String::from_utf8(request).unwrap();
            let answer = match self.document.load_full() {
                None => "HTTP/1.1 500 X\r\ncontent-length: 0\r\n\r\n".to_owned(),
                Some(document) => {
                    let etag = format!("\"{}\"", document.len());
                    if request.contains(&format!("if-none-match: {etag}\r\n")) {
                        self.unchanged.fetch_add(1, Ordering::SeqCst);
                        "HTTP/1.1 304 X\r\n\r\n".to_owned()
                    } else {
                        let length = document.len();
                        format!(
                            "HTTP/1.1 200 X\r\netag: {etag}\r\ncontent-length: {length}\r\n\r\n{document}"
                        )
                    }
                }
            };
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

async fn until(what: &str, reached: impl Fn() -> bool) {
    let reached = async {
        while !reached() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), reached).await.unwrap_or_else(|_| panic!("{what}"));
}

fn run<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn start(source: KeySource) -> Arc<SignerKeys> {
    let (keys, refresher) = SignerKeys::new(source, PACE);
    tokio::spawn(refresher.run(Clock::system()));
    keys
}

#[test]
fn an_alert_that_comes_before_the_first_load_waits_for_it() {
    run(async {
        let (server, source) = Server::start(Some(document(&["a", "b"]))).await;
        let (keys, clock) = (start(source), Clock::system());
        assert!(keys.find(b"a", &clock).await.is_ok());
        assert_eq!(server.asked(), 1);
        assert_eq!(keys.status(clock.now()).unwrap().1, 2);
    });
}

#[test]
fn unknown_ids_cause_one_load_in_a_cool_down_whatever_is_asked() {
    run(async {
        let (server, source) = Server::start(Some(document(&["a"]))).await;
        let (keys, clock) = (start(source), Clock::manual(1_800_000_000));
        assert!(keys.find(b"a", &clock).await.is_ok());
        let asks = (0..200).map(|number| {
            let (keys, clock) = (Arc::clone(&keys), clock.clone());
            tokio::spawn(async move { keys.find(format!("x{number}").as_bytes(), &clock).await.map(|_| ()) })
        });
        let asks: Vec<_> = asks.collect();
        for ask in asks {
            let said = ask.await.unwrap();
            // Beyond those that may wait, it cannot be said.
            assert!(matches!(said, Err(KeyFault::Unknown | KeyFault::Unavailable)), "{said:?}");
        }
        assert_eq!((server.asked(), server.unchanged.load(Ordering::SeqCst)), (2, 1), "with its validator");
        assert_eq!(keys.find(b"x", &clock).await.map(|_| ()), Err(KeyFault::Unknown));
        assert_eq!(server.asked(), 2, "within the cool-down nobody is asked");
        server.document.store(Some(Arc::new(document(&["a", "new"]))));
        assert_eq!(keys.find(b"new", &clock).await.map(|_| ()), Err(KeyFault::Unknown));
        clock.advance(PACE.cool_down);
        assert!(keys.find(b"new", &clock).await.is_ok(), "a key that was published since is found");
        assert_eq!(server.asked(), 3);
    });
}

#[test]
fn keys_that_cannot_be_had_are_never_called_unknown() {
    run(async {
        let (server, source) = Server::start(None).await;
        let (keys, clock) = (start(source), Clock::manual(1_800_000_000));
        for _ in 0..3 {
            assert_eq!(keys.find(b"a", &clock).await.map(|_| ()), Err(KeyFault::Unavailable));
        }
        assert!(keys.last_failure().unwrap().contains("500"), "{:?}", keys.last_failure());
        server.document.store(Some(Arc::new(document(&["a"]))));
        clock.advance(PACE.cool_down);
        assert!(keys.find(b"a", &clock).await.is_ok());
        server.document.store(None);
        clock.advance(PACE.cool_down);
        let unknown = keys.find(b"new", &clock).await.map(|_| ());
        assert_eq!(unknown, Err(KeyFault::Unavailable), "it may be a key that was published since");
        assert!(keys.find(b"a", &clock).await.is_ok(), "the last good one is kept");
        for bad in ["garbage", "{\"public_keys\":[]}"] {
            server.document.store(Some(Arc::new(bad.to_owned())));
            clock.advance(PACE.cool_down);
            assert_eq!(keys.find(b"new", &clock).await.map(|_| ()), Err(KeyFault::Unavailable));
            assert!(keys.find(b"a", &clock).await.is_ok(), "{bad}");
        }
        clock.advance(MAX_STALE + Duration::from_secs(1));
        server.document.store(None);
        assert_eq!(keys.find(b"a", &clock).await.map(|_| ()), Err(KeyFault::Unavailable), "too old");
    });
}

#[test]
fn a_file_is_read_again_when_it_changes() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("keys.json");
        let (keys, clock) = (start(KeySource::File(file.clone())), Clock::system());
        assert_eq!(keys.find(b"a", &clock).await.map(|_| ()), Err(KeyFault::Unavailable));
        std::fs::write(&file, document(&["a"])).unwrap();
        until("the file is read", || keys.status(clock.now()).is_some()).await;
        assert!(keys.find(b"a", &clock).await.is_ok());
        std::fs::write(&file, document(&["b"])).unwrap();
        until("the file is read again", || keys.known(b"b", clock.now()).is_ok()).await;
        assert_eq!(keys.known(b"a", clock.now()).map(|_| ()), Err(KeyFault::Unknown));
    });
}

#[test]
fn the_loads_end_with_the_last_user() {
    run(async {
        let (_server, source) = Server::start(Some(document(&["a"]))).await;
        let (keys, refresher) = SignerKeys::new(source, PACE);
        let task = tokio::spawn(refresher.run(Clock::system()));
        keys.find(b"a", &Clock::system()).await.unwrap();
        drop(keys);
        tokio::time::timeout(Duration::from_secs(20), task).await.unwrap().unwrap();
    });
}
