//! What GitHub is answered when something takes too long, on tokio's clock.

use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use aws_lc_rs::rand::SystemRandom as Dice;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::*;
use crate::domain::{Problems, Role};
use crate::message::Version;
use crate::place::{self, RegionSettings};
use crate::secret_scanning::{Settings, from_settings};
use crate::tokens::{
    self, Act, Lookup, Mint, NewWorkspace, Rules, SqliteStore, Store, SystemRandom, TokenRequest,
};

const KEY: &str = "a1";
const GITHUB: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

struct World {
    folder: tempfile::TempDir,
    pair: EcdsaKeyPair,
    receiver: Arc<Receiver>,
    registry: Arc<Registry>,
    clock: Clock,
    mint: Mint,
    store: Arc<SqliteStore>,
    token: String,
}

impl World {
    fn new() -> Self {
        let (folder, clock) = (tempfile::tempdir().unwrap(), Clock::system());
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let document = json!({"public_keys": [{"key_identifier": KEY, "key": key.public_key_pem(), "is_current": true}]});
        let keys = folder.path().join("keys.json");
        std::fs::write(&keys, document.to_string()).unwrap();
        let region: RegionSettings = toml::from_str(
            "letter = \"u\"
upstreams = [\"http://127.0.0.1:9\"]",
        )
        .unwrap();
        let places = Places::from_settings(
            &[("us".to_owned(), region)],
            &place::Settings::default(),
            &mut Problems::new(),
        )
        .unwrap();
        let rules =
            Rules::from_settings(&tokens::Settings::default(), folder.path(), &mut Problems::new()).unwrap();
        let mint = Mint::open(&rules, places.regions(), Box::new(SystemRandom), clock.now()).unwrap();
        let act = Act::by("test", clock.now());
        mint.create_workspace(act, &NewWorkspace::ordinary("ws", "us")).unwrap();
        let token = minted(&mint, act);
        let registry = Registry::open(&mint, clock.now()).unwrap();
        let settings =
            Settings { path: Some("/alerts".into()), keys_file: Some(keys), ..Settings::default() };
        let checked = from_settings(&settings, Some(&places), folder.path(), &mut Problems::new()).unwrap();
        let relay = Relay::open(&checked, places.regions(), &[[7; 32]]).unwrap();
        let store = Arc::new(SqliteStore::open(&folder.path().join("tollgate.db")).unwrap());
        let used = Arc::clone(&store) as Arc<dyn Store>;
        let (receiver, refresher) =
            Receiver::new(checked, places, clock.clone(), Arc::clone(&registry), used, relay);
        tokio::spawn(refresher.run(clock.clone()));
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &key.serialize_der()).unwrap();
        Self { folder, pair, receiver: Arc::new(receiver), registry, clock, mint, store, token }
    }

    /// One more token.
    fn another(&self) -> String {
        let token = minted(&self.mint, Act::by("test", self.clock.now()));
        self.registry.sync(self.clock.now()).unwrap();
        token
    }

    fn alert(&self) -> Vec<u8> {
        alert(&self.token)
    }

    fn head(&self, body: &[u8]) -> Head {
        let signature = STANDARD.encode(self.pair.sign(&Dice::new(), body).unwrap());
        let fields = [
            (&b"github-public-key-identifier"[..], KEY.as_bytes()),
            (b"github-public-key-signature", signature.as_bytes()),
        ];
        Head::from_parts(Version::Http11, b"POST", b"/alerts", fields)
    }

    fn works(&self) -> bool {
        self.works_still(&self.token)
    }

    fn works_still(&self, token: &str) -> bool {
        matches!(self.registry.look_up(token.as_bytes(), self.clock.now()), Lookup::Found(_))
    }
}

fn alert(token: &str) -> Vec<u8> {
    json!([{"token": token, "type": "t", "url": "", "source": ""}]).to_string().into_bytes()
}

fn minted(mint: &Mint, act: Act<'_>) -> String {
    let request = TokenRequest { role: Role::Owner, ..TokenRequest::ordinary("ws") };
    mint.create_token(act, &request).unwrap().token.into_exposed()
}

/// A body of which nothing more comes.
struct Stuck;

impl BodyStream for Stuck {
    fn poll_part(&mut self, _cx: &mut Context<'_>) -> Poll<Option<Result<Part, BodyFault>>> {
        Poll::Pending
    }
}

fn run(test: impl AsyncFnOnce()) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(test());
}

#[test]
fn an_alert_that_does_not_arrive_is_left_after_15_s() {
    run(async || {
        let world = World::new();
        let body = world.alert();
        world.receiver.receive(&world.head(&body), RequestBody::Full(b"[]"), GITHUB).await.unwrap_err();
        tokio::time::pause();
        let begun = Instant::now();
        let stuck = RequestBody::Stream { stream: Box::new(Stuck), length: Some(body.len() as u64) };
        let refused = world.receiver.receive(&world.head(&body), stuck, GITHUB).await;
        assert_eq!(refused, Err(Fault::Body(BodyFault::Timeout { limit_seconds: 15 })));
        assert_eq!(begun.elapsed().as_secs(), 15);
        assert!(world.works());
    });
}

/// The store is held by somebody else for longer than GitHub waits.
#[test]
fn an_alert_that_takes_too_long_is_answered_after_25_s_with_what_is_done_and_done_all_the_same() {
    run(async || {
        let world = World::new();
        let body = world.alert();
        // So that the key is there when the clock stands still.
        world.receiver.receive(&world.head(&body), RequestBody::Full(b"[]"), GITHUB).await.unwrap_err();
        let other = rusqlite::Connection::open(world.folder.path().join("tollgate.db")).unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        tokio::time::pause();
        let begun = Instant::now();
        let head = world.head(&body);
        let answered = {
            let receiving = world.receiver.receive(&head, RequestBody::Full(&body), GITHUB);
            tokio::pin!(receiving);
            loop {
                tokio::select! {
                    biased;
                    answered = &mut receiving => break answered,
                    // Nothing passes before the store is asked.
                    () = tokio::task::yield_now(), if world.works() => {}
                    () = tokio::task::yield_now() => tokio::time::advance(Duration::from_millis(500)).await,
                }
            }
        };
        assert_eq!(answered, Ok(b"[]".to_vec()), "nothing is done yet, and nothing is said of it");
        assert_eq!(begun.elapsed().as_secs(), 25);
        assert!(!world.works(), "it is refused before the store is asked");
        other.execute_batch("ROLLBACK").unwrap();
        let end = std::time::Instant::now() + Duration::from_secs(20);
        let revoked = "SELECT count(*) FROM token WHERE revoked_at IS NOT NULL";
        while other.query_row(revoked, [], |row| row.get::<_, i64>(0)) != Ok(1) {
            assert!(std::time::Instant::now() < end, "the rest of it is not done");
            tokio::task::yield_now().await;
        }
    });
}

/// More alerts than work at once, and none of them ends.
#[test]
fn a_store_that_hangs_keeps_no_token_in_force() {
    run(async || tokio::task::LocalSet::new().run_until(hangs()).await);
}

async fn hangs() {
    let world = World::new();
    let tokens: Vec<String> = (0..=2 * MOST_WORKING).map(|_| world.another()).collect();
    world.store.watched.hangs.store(true, Ordering::SeqCst);
    let alerts: Vec<_> = tokens
        .iter()
        .map(|token| {
            let (body, receiver) = (alert(token), Arc::clone(&world.receiver));
            let head = world.head(&body);
            tokio::task::spawn_local(async move {
                receiver.receive(&head, RequestBody::Full(&body), GITHUB).await
            })
        })
        .collect();
    let begun = std::time::Instant::now();
    while tokens.iter().any(|token| world.works_still(token)) {
        assert!(begun.elapsed() < Duration::from_secs(20), "an alert waits for those that hang");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(alerts.iter().all(|alert| !alert.is_finished()), "the store did not hang");
    assert!(world.works(), "and no other");
    world.store.watched.hangs.store(false, Ordering::SeqCst);
    for answered in alerts {
        let answered = answered.await.unwrap();
        assert!(matches!(answered, Ok(_) | Err(Fault::StoreUnavailable)), "{answered:?}");
    }
    assert!(!tokens.iter().any(|token| world.works_still(token)));
}

#[test]
fn beyond_what_may_hang_tokens_are_refused_in_memory_and_written_later() {
    run(async || {
        let world = World::new();
        let writing = Arc::clone(&world.receiver.shared.writing);
        let all = writing.try_acquire_many_owned(MOST_WRITING as u32).unwrap();
        let body = world.alert();
        let answered = world.receiver.receive(&world.head(&body), RequestBody::Full(&body), GITHUB).await;
        assert_eq!(answered, Err(Fault::StoreUnavailable));
        assert!(!world.works());
        assert_eq!(world.registry.unwritten_revocations(), 1, "it is written when that can be done");
        drop(all);
        let answered = world.receiver.receive(&world.head(&body), RequestBody::Full(&body), GITHUB).await;
        assert!(answered.is_ok(), "{answered:?}");
        assert!(!world.works());
    });
}

#[test]
fn an_alert_gives_its_room_back_when_it_ends_and_after_10_s_of_a_store_that_hangs() {
    run(async || tokio::task::LocalSet::new().run_until(holds_room()).await);
}

async fn holds_room() {
    let world = World::new();
    let (body, other) = (world.alert(), alert(&world.another()));
    let room = Arc::clone(&world.receiver.shared.room);
    // One that ends. By then the key is there, and the clock may stand still.
    world.receiver.receive(&world.head(&other), RequestBody::Full(&other), GITHUB).await.unwrap();
    settled(|| room.held_kib() == 0).await;

    world.store.watched.hangs.store(true, Ordering::SeqCst);
    tokio::time::pause();
    let (receiver, head) = (Arc::clone(&world.receiver), world.head(&body));
    let hanging =
        tokio::task::spawn_local(
            async move { receiver.receive(&head, RequestBody::Full(&body), GITHUB).await },
        );
    settled(|| !world.works()).await;
    tokio::time::advance(HOLD_ROOM.saturating_sub(Duration::from_millis(10))).await;
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(room.held_kib(), 1, "its bytes are held");
    tokio::time::advance(Duration::from_millis(20)).await;
    settled(|| room.held_kib() == 0).await;
    assert!(!hanging.is_finished(), "the store does not hang");
    world.store.watched.hangs.store(false, Ordering::SeqCst);
    assert!(hanging.await.unwrap().is_ok(), "it is done to its end all the same");
    assert_eq!(room.held_kib(), 0);
}

/// Waits for what other threads and tasks bring about, without the clock.
async fn settled(is_so: impl Fn() -> bool) {
    let begun = std::time::Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(20), "it does not come about");
        tokio::task::yield_now().await;
    }
}
