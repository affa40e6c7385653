//! What the read model of tokens costs: resident bytes for each, and the time of a look-up, by how many there are.
//!
//! ```text
//! cargo bench --bench registry                      10 thousand, 1, 1.3, 2.1 and 10 million tokens; some minutes
//! cargo bench --bench registry -- --quick           10 and 100 thousand
//! ```
//!
//! Every count is measured in a process of its own. A look-up is that of a request: format, hash, table, and a token
//! in ten workspaces of a hundred. Last it fills a store on disk and starts from that, and from the saved registry, at
//! last as a process of its own whose database is away. It ends with an error where a token costs more than 90 bytes at a
//! million or more.

#![expect(clippy::unwrap_used, reason = "a bench may panic")]
#![expect(clippy::print_stdout, reason = "a bench prints")]
#![expect(clippy::cast_precision_loss, reason = "figures are printed to three digits")]

use std::hint::black_box;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tollgate::clock::Clock;
use tollgate::domain::{Plan, Problems, Region, Regions, Role, WorkspaceState};
use tollgate::tokens::store::{Row, StoredToken};
use tollgate::tokens::{
    Act, Error, Format, ImportDefaults, Lookup, Mint, Peppers, Random, Registry, Rules, Settings,
    SystemRandom, TokenRecord, WorkspaceRecord,
};

const COUNTS: [u64; 5] = [10_000, 1_000_000, 1_300_000, 2_100_000, 10_000_000];
const QUICK_COUNTS: [u64; 2] = [10_000, 100_000];
/// Tokens of the store that is started from.
const STARTED: u64 = 1_000_000;
const QUICK_STARTED: u64 = 10_000;
const WORKSPACES: u64 = 10_000;
const SAMPLE: u64 = 50_000;
const LOOK_UPS: u64 = 1_000_000;
const MOST_BYTES: f64 = 90.0;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [word, count] = &arguments[..] {
        let count = count.parse().unwrap();
        let is_good = match word.as_str() {
            "--count" => measure(count),
            "--start" => start(count),
            _ => false,
        };
        return if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    let is_quick = arguments.iter().any(|word| word == "--quick" || word == "--test");
    println!(
        "{:>12}  {:>12}  {:>14}  {:>14}  {:>8}",
        "tokens", "bytes each", "known, ns", "unknown, ns", "load, s"
    );
    let counts: &[u64] = if is_quick { &QUICK_COUNTS } else { &COUNTS };
    let again = |word: &str, count: u64| {
        let again = std::env::current_exe().unwrap();
        Command::new(again).args([word, &count.to_string()]).status().unwrap().success()
    };
    let started = if is_quick { QUICK_STARTED } else { STARTED };
    let is_good = counts.iter().all(|count| again("--count", *count)) && again("--start", started);
    if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Fills a store, and starts from it and from the registry's saved file as a gateway does.
fn start(count: u64) -> bool {
    let (folder, clock) = (tempfile::tempdir().unwrap(), Clock::system());
    let mint = mint(folder.path(), &clock);
    let mut texts: String = (0..count).flat_map(|index| [plain(index, mint.format()), "\n".into()]).collect();
    let defaults = ImportDefaults {
        workspace: Some("ws".to_owned()),
        region: Some("main".to_owned()),
        plan: Plan::Business,
        scopes: vec!["public_api:read_write".to_owned()],
        role: Role::Owner,
        lifetime_seconds: None,
        allowed_networks: Vec::new(),
    };
    let act = Act::by("bench", clock.now());
    let seconds = |begun: Instant| begun.elapsed().as_secs_f64();
    let begun = Instant::now();
    let counts = mint.import(act, &mut texts.as_bytes(), &defaults, &mut |_, _| {}).unwrap();
    let imported = seconds(begun);
    texts.clear();
    assert_eq!(counts.added, count);
    let begun = Instant::now();
    let registry = Registry::open(&mint, clock.now()).unwrap();
    let from_store = seconds(begun);
    let file = folder.path().join("saved");
    let begun = Instant::now();
    assert!(registry.save(&file, clock.now()).unwrap().is_some());
    let saved = seconds(begun);
    drop(registry);
    let begun = Instant::now();
    let registry = Registry::open_saved(&mint, Some(&file), clock.now()).unwrap();
    let from_file = seconds(begun);
    let known = plain(count / 2, mint.format());
    println!(
        "{count:>12}  imported {imported:.1} s, started from the store {from_store:.1} s, saved {saved:.1} s, \
         started from the saved registry {from_file:.1} s"
    );
    let is_found = matches!(registry.find(known.as_bytes(), clock.now()), Lookup::Found(_));
    drop((registry, mint));
    let (ready, serves) = start_away(folder.path(), &file, &known);
    println!(
        "{count:>12}  a gateway was ready {ready:.1} s after its start from that file, its database away"
    );
    is_found && serves
}

/// A gateway as a process of its own, started from the saved registry while its database is away: seconds until
/// `/readyz` says so, and whether it then knows a token.
fn start_away(folder: &Path, saved: &Path, known: &str) -> (f64, bool) {
    let config = folder.join("tollgate.toml");
    let text = format!(
        "[listen]\nplain = [\"127.0.0.1:0\"]\nworkers = 1\n[admin]\naddress = \"127.0.0.1:0\"\n\
         [upstream]\nservers = [\"http://127.0.0.1:9\"]\n\
         [tokens]\nstore = \"postgres://nobody@127.0.0.1:9/tollgate\"\nsnapshot_file = \"{}\"\n",
        saved.display()
    );
    std::fs::write(&config, text).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
    command.args(["serve", "--config"]).arg(&config).stdin(Stdio::null()).env_remove("RUST_LOG");
    let begun = Instant::now();
    let mut gateway = Process(command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap());
    let mut lines = BufReader::new(gateway.0.stderr.take().unwrap()).lines().map_while(Result::ok);
    let (mut admin, mut public) = (None, None);
    let (admin, public) = loop {
        let line = lines.next().unwrap();
        let at = |what: &str| -> Option<SocketAddr> {
            let record: serde_json::Value =
                serde_json::from_str(&line).ok().filter(|_| line.contains(what))?;
            record.get("fields").unwrap_or(&record)["address"].as_str()?.parse().ok()
        };
        admin = admin.or_else(|| at("operators' listener"));
        public = public.or_else(|| at("listening (plain text)"));
        if let (Some(admin), Some(public)) = (admin, public) {
            break (admin, public);
        }
    };
    std::thread::spawn(move || lines.for_each(drop));
    while !asked(admin, "/readyz", "").starts_with("HTTP/1.1 200") {
        assert!(begun.elapsed() < Duration::from_mins(1), "the gateway does not get ready");
        std::thread::sleep(Duration::from_millis(10));
    }
    let ready = begun.elapsed().as_secs_f64();
    let whoami = asked(public, "/tollgate/v1/whoami", &format!("Authorization: Bearer {known}\r\n"));
    (ready, whoami.starts_with("HTTP/1.1 200"))
}

/// The beginning of an answer.
fn asked(address: SocketAddr, path: &str, fields: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{fields}\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn mint(folder: &Path, clock: &Clock) -> Mint {
    let rules = Rules::from_settings(&Settings::default(), folder, &mut Problems::new()).unwrap();
    let region = Region { name: "main".into(), letter: 'm', base_url: "https://x".into() };
    Mint::open(&rules, &Regions::new(vec![region]), Box::new(SystemRandom), clock.now()).unwrap()
}

/// Measures one count; false if a token is too large.
fn measure(count: u64) -> bool {
    let (folder, clock) = (tempfile::tempdir().unwrap(), Clock::system());
    let mint = mint(folder.path(), &clock);
    let before = resident_bytes();
    let begun = Instant::now();
    let workspaces = (0..WORKSPACES).map(workspace);
    let tokens = (0..count).map(|index| token(index, mint.format(), mint.peppers()));
    let registry = Registry::open_with(&mint, workspaces.chain(tokens), clock.now()).unwrap();
    let loading = begun.elapsed();
    let bytes = (resident_bytes() - before) as f64 / count as f64;
    let step = (count / SAMPLE).max(1);
    let known: Vec<String> = (0..SAMPLE).map(|index| plain(index * step % count, mint.format())).collect();
    let unknown: Vec<String> = (0..SAMPLE).map(|index| plain(count + 1 + index, mint.format())).collect();
    let nanos = |texts: &[String], is_known: bool| {
        let (now, begun) = (clock.now(), Instant::now());
        for index in 0..LOOK_UPS {
            // A stride that is prime to the sample, so that neighbours in memory do not follow each other.
            let text = &texts[(index * 7_919 % SAMPLE) as usize];
            let found = black_box(registry.find(text.as_bytes(), now));
            assert_eq!(matches!(found, Lookup::Found(_)), is_known);
        }
        begun.elapsed().as_nanos() as f64 / LOOK_UPS as f64
    };
    let (found, missed) = (nanos(&known, true), nanos(&unknown, false));
    println!("{count:>12}  {bytes:>12.1}  {found:>14.0}  {missed:>14.0}  {:>8.1}", loading.as_secs_f64());
    count < 1_000_000 || bytes <= MOST_BYTES
}

fn workspace(index: u64) -> Row {
    Row::Workspace(WorkspaceRecord {
        id: format!("ws-{index}"),
        number: index + 1,
        region: "main".to_owned(),
        plan: Plan::Business,
        features: Vec::new(),
        state: WorkspaceState::Active,
        contacts: Vec::new(),
        created_at_unix_seconds: 0,
        overrides: Vec::new(),
    })
}

fn token(index: u64, format: &Format, peppers: &Peppers) -> Row {
    let id = format!("tok_{index:016}");
    Row::Token(Box::new(StoredToken {
        record: TokenRecord {
            family: id.clone(),
            id,
            number: WORKSPACES + index + 1,
            workspace: format!("ws-{}", index % WORKSPACES),
            name: String::new(),
            scopes: vec!["public_api:read_write".to_owned()],
            role: Role::Owner,
            own_limit: None,
            overrides: Vec::new(),
            created_at_unix_seconds: 0,
            expires_at_unix_seconds: None,
            revoked_at_unix_seconds: None,
            revoked_reason: None,
            overlap_until_unix_seconds: None,
            replaced_by: None,
            last_used_unix_seconds: None,
            allowed_networks: Vec::new(),
            is_decoy: false,
        },
        digest: peppers.digest(plain(index, format).as_bytes()),
        former: Vec::new(),
        foreign: false,
    }))
}

/// The token of a number: the same in every run.
fn plain(index: u64, format: &Format) -> String {
    format.mint('m', &Counted(AtomicU64::new(index << 8))).unwrap().into_exposed()
}

/// `SplitMix64` from a number.
struct Counted(AtomicU64);

impl Random for Counted {
    fn fill(&self, into: &mut [u8]) -> Result<(), Error> {
        for chunk in into.chunks_mut(8) {
            let mut z = self.0.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            chunk.copy_from_slice(&(z ^ (z >> 31)).to_le_bytes()[..chunk.len()]);
        }
        Ok(())
    }
}

/// Pages of this process in memory (proc(5), `statm`), in bytes.
fn resident_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = text.split(' ').nth(1).unwrap().parse().unwrap();
    pages * rustix::param::page_size() as u64
}
