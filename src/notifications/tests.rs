//! Deliveries on a manual clock: what is tried until its time is over, and the end of a message.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::LocalSet;

use super::*;
use crate::clock::Clock;
use crate::domain::{Plan, Problems, Region, Regions, Role};
use crate::journal::{self, Journal, SqliteJournal};
use crate::tokens::store::{Leak, LeakedToken, NewToken, NewWorkspace};
use crate::tokens::{Act, Digest, Peppers, Scheme, SqliteStore, Store, SystemRandom};

const START: u64 = 1_700_000_000;
const HOUR: Duration = Duration::from_hours(1);

/// A receiver that answers everything with one status, and counts.
fn receiver(status: &'static str) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut bytes = [0; 16 * 1024];
            let _ = stream.read(&mut bytes);
            counted.fetch_add(1, SeqCst);
            let _ = stream.write_all(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").as_bytes());
        }
    });
    (url, count)
}

struct World {
    _folder: tempfile::TempDir,
    store: Arc<dyn Store>,
    clock: Clock,
    counts: Arc<Counts>,
    parts: Parts,
}

impl World {
    fn new(contact: &str) -> Self {
        Self::with(vec![contact.to_owned()], vec![])
    }

    fn with(contacts: Vec<String>, operator_contacts: Vec<String>) -> Self {
        let (folder, clock) = (tempfile::tempdir().unwrap(), Clock::manual(START));
        let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&folder.path().join("tollgate.db")).unwrap());
        let act = Act::by("test", clock.now());
        let workspace = NewWorkspace {
            id: "ws".into(),
            region: "main".into(),
            plan: Plan::Team,
            features: vec![],
            contacts,
        };
        store.create_workspace(act, &workspace).unwrap();
        let token = NewToken {
            id: "tok_1".into(),
            workspace: "ws".into(),
            name: "ci".into(),
            scopes: vec![],
            role: Role::Owner,
            own_limit: None,
            allowed_networks: Vec::new(),
            is_decoy: false,
            expires_at_unix_seconds: None,
            digest: Digest { scheme: Scheme::Hmac(1), bytes: [7; 32] },
            foreign: false,
        };
        store.create_token(act, &token, 10).unwrap();
        let leak = Leak::new("test", "token", "https://example.com", "commit", START);
        store.revoke_leaked(act, &[LeakedToken { token_id: "tok_1".into(), leak }]).unwrap();
        let settings = Settings { allow_private_addresses: true, operator_contacts, ..Settings::default() };
        let settings = from_settings(&settings, Path::new(""), &mut Problems::new()).unwrap();
        let kept = journal::from_settings(&journal::Settings::default(), folder.path(), &mut Problems::new());
        let kept = kept.unwrap();
        let journal: Arc<dyn Journal> =
            Arc::new(SqliteJournal::open(&kept.file.unwrap(), kept.bounds).unwrap());
        let counts = Arc::new(Counts::default());
        let region = Region { name: "main".into(), letter: 'm', base_url: "https://api.example".into() };
        let parts = Parts {
            store: Arc::clone(&store),
            journal: Some(journal),
            flush_journal: Arc::new(|_| true),
            settings: Box::new(move || settings.clone()),
            keys: SigningKeys::of(&Peppers::new([(1, vec![7; 32])]).unwrap()),
            regions: Regions::new(vec![region]),
            clock: clock.clone(),
            random: Box::new(SystemRandom),
            counts: Arc::clone(&counts),
        };
        Self { _folder: folder, store, clock, counts, parts }
    }

    /// Delivers while `then` goes on.
    fn run<F: Future<Output = ()>>(self, then: impl FnOnce(Told) -> F) {
        let told = Told { store: self.store, clock: self.clock, counts: self.counts };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (stop, stopped) = watch::channel(false);
        let all = LocalSet::new();
        all.block_on(&runtime, async {
            let delivering = tokio::task::spawn_local(Notifier::new(self.parts).run(stopped));
            then(told).await;
            stop.send(true).unwrap();
            delivering.await.unwrap();
        });
    }
}

/// What a test sees of the deliveries.
struct Told {
    store: Arc<dyn Store>,
    clock: Clock,
    counts: Arc<Counts>,
}

impl Told {
    fn attempts(&self) -> u64 {
        End::ALL.iter().map(|end| self.counts.attempts(Channel::Webhook, *end)).sum()
    }

    /// Lets time pass, and waits for the attempt that is due then.
    async fn attempt_after(&self, time: Duration) {
        let before = self.attempts();
        self.clock.advance(time);
        let made = async {
            while self.attempts() == before {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), made).await.unwrap();
    }

    fn untold(&self) -> Vec<String> {
        let log = self.store.log(0, 100).unwrap();
        log.into_iter().filter(|entry| entry.kind == "token.leak_untold").map(|entry| entry.body).collect()
    }
}

#[test]
fn a_message_is_tried_again_for_three_days_and_then_given_up_for_all_to_see() {
    let (url, received) = receiver("500 Oops");
    World::new(&url).run(async |told| {
        told.attempt_after(Duration::from_secs(1)).await;
        // Whatever a wait is drawn as, it is over after six hours.
        for attempt in 2.. {
            assert!(attempt <= 40, "it does not end");
            told.attempt_after(6 * HOUR).await;
            if told.counts.attempts(Channel::Webhook, End::GivenUp) == 1 {
                break;
            }
            assert!(told.untold().is_empty());
        }
        let waited = told.clock.now().unix_seconds() - START;
        assert!((66 * 3_600..80 * 3_600).contains(&waited), "{waited}");
        let untold = told.untold();
        assert_eq!(untold.len(), 1);
        assert!(
            untold[0].contains("the receiver answered 500") && !untold[0].contains("/hook"),
            "{untold:?}"
        );
        assert_eq!(told.store.backlog().unwrap().messages, 0);
        assert_eq!(received.load(SeqCst) as u64, told.attempts());
        told.clock.advance(48 * HOUR);
        assert!(told.store.claim(told.clock.now(), HOUR, 10).unwrap().is_empty(), "it is over");
    });
}

#[test]
fn a_message_that_was_taken_is_not_given_up() {
    let (url, received) = receiver("204 No Content");
    World::new(&url).run(async |told| {
        told.attempt_after(Duration::from_secs(1)).await;
        assert_eq!(told.counts.attempts(Channel::Webhook, End::Delivered), 1);
        assert_eq!((received.load(SeqCst), told.untold().len()), (1, 0));
    });
}

#[test]
fn one_of_the_operators_contacts_that_hears_is_enough() {
    let (url, received) = receiver("204 No Content");
    let (deaf, _) = receiver("500 Oops");
    World::with(vec![], vec![url, deaf]).run(async |told| {
        told.attempt_after(Duration::from_secs(1)).await;
        for attempt in 2.. {
            assert!(attempt <= 40, "it does not end");
            told.attempt_after(6 * HOUR).await;
            if told.store.backlog().unwrap().messages == 0 {
                break;
            }
        }
        assert_eq!((received.load(SeqCst), told.untold()), (1, vec![]));
        assert_eq!(told.counts.attempts(Channel::Webhook, End::Delivered), 1);
    });
}
