use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::clock::Clock;
use crate::domain::Problems;

pub(super) const START: u64 = 1_700_000_000;
const DAY: Duration = Duration::from_hours(24);

pub(super) fn bounds() -> Bounds {
    Bounds { retention: 90 * DAY, entries_per_token: 1_000, entries: 10_000, file_bytes: 1 << 30 }
}

pub(super) struct File(tempfile::TempDir);

impl File {
    pub(super) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("tollgate.journal")
    }

    pub(super) fn open(&self, bounds: Bounds) -> SqliteJournal {
        SqliteJournal::open(&self.path(), bounds).unwrap()
    }
}

pub(super) fn entry(token: &str, at_seconds: u64) -> Entry {
    Entry {
        at_unix_millis: at_seconds * 1_000,
        token_id: token.into(),
        workspace_id: "ws".into(),
        method: "POST".into(),
        operation: "createSource".into(),
        resource: "/sources".into(),
        outcome: "forwarded".into(),
        status: 201,
        forwarded: "yes".into(),
        address: "192.0.2.1:5000".into(),
        user_agent: "curl/8".into(),
        request_id: "req".into(),
    }
}

pub(super) fn all(token: &str) -> Question<'_> {
    Question {
        token_id: token,
        which: Which::All,
        from_unix_millis: 0,
        before_unix_millis: u64::MAX,
        after: None,
        count: 100_000,
    }
}

/// A journal of a kind, which may be opened several times.
pub(super) trait Fixture {
    fn open(&self, bounds: Bounds) -> Arc<dyn Journal>;
}

impl Fixture for File {
    fn open(&self, bounds: Bounds) -> Arc<dyn Journal> {
        Arc::new(Self::open(self, bounds))
    }
}

/// What every journal does, each proof on a new one.
pub(super) const PROOFS: [fn(&dyn Fixture); 8] = [
    a_tokens_entries_come_latest_first_in_pages,
    writes_are_found_behind_any_number_of_refusals,
    activity_tells_writes_refusals_and_where_from,
    old_entries_go,
    a_tokens_entries_are_bounded_and_others_keep_theirs,
    a_bound_that_was_lowered_is_reached_in_portions,
    refusals_do_not_wipe_out_writes,
    entries_in_all_are_bounded,
];

#[test]
fn a_file_keeps_the_contract() {
    for proof in PROOFS {
        proof(&File::new());
    }
}

fn a_tokens_entries_come_latest_first_in_pages(fixture: &dyn Fixture) {
    let journal = fixture.open(bounds());
    journal.append(&[]).unwrap();
    for at in 0..10 {
        journal.append(&[entry("a", START + at), entry("b", START + at)]).unwrap();
    }
    // A gateway hands on late what came early.
    journal.append(&[entry("a", START + 4), entry("a", START + 4)]).unwrap();
    assert!(journal.entries(&all("c")).unwrap().is_empty());
    let found = fixture.open(bounds()).entries(&all("a")).unwrap();
    assert_eq!((found.len(), &found[0].entry), (12, &entry("a", START + 9)));
    assert!(found.is_sorted_by_key(|kept| std::cmp::Reverse((kept.entry.at_unix_millis, kept.number))));
    let mut paged = Vec::new();
    loop {
        let after = paged.last().map(Kept::place);
        let page = journal.entries(&Question { after, count: 3, ..all("a") }).unwrap();
        if page.is_empty() {
            break;
        }
        paged.extend(page);
    }
    assert_eq!(paged, found);
    let part = Question {
        from_unix_millis: (START + 2) * 1_000,
        before_unix_millis: (START + 5) * 1_000,
        ..all("a")
    };
    assert_eq!(journal.entries(&part).unwrap().len(), 5);
    assert_eq!(journal.activity(&part).unwrap().writes, 5);
}

fn refused(token: &str, at_seconds: u64, outcome: &str) -> Entry {
    Entry { forwarded: "no".into(), status: 401, outcome: outcome.into(), ..entry(token, at_seconds) }
}

/// Of entries of one time too.
fn writes_are_found_behind_any_number_of_refusals(fixture: &dyn Fixture) {
    let journal = fixture.open(Bounds { entries_per_token: 10_000, ..bounds() });
    let unsure = Entry { forwarded: "maybe".into(), ..entry("a", START) };
    let writes: Vec<_> = (0..499).map(|at| entry("a", START + at / 10)).chain([unsure]).collect();
    let refusals: Vec<_> = (0..2_000).map(|at| refused("a", START + at, "token_revoked")).collect();
    journal.append(&[writes, refusals].concat()).unwrap();
    journal.append(&[entry("b", START)]).unwrap();
    let ask = |which, count| journal.entries(&Question { which, count, ..all("a") }).unwrap();
    let (written, refused) = (ask(Which::Writes, 1_000), ask(Which::Refusals, 100_000));
    assert_eq!((written.len(), refused.len()), (500, 2_000));
    assert!(written.iter().all(|kept| kept.entry.is_write()));
    assert!(refused.iter().all(|kept| !kept.entry.is_write()));
    let mut both = [written.clone(), refused].concat();
    both.sort_by_key(|kept| std::cmp::Reverse((kept.entry.at_unix_millis, kept.number)));
    assert_eq!(both, ask(Which::All, 100_000));
    assert_eq!(ask(Which::Writes, 7), written[..7]);
    let after = written.get(6).map(Kept::place);
    let rest = journal.entries(&Question { which: Which::Writes, after, ..all("a") }).unwrap();
    assert_eq!(rest, written[7..]);
    assert_eq!(journal.activity(&Question { which: Which::Writes, ..all("a") }).unwrap().refusals, 2_000);
}

fn activity_tells_writes_refusals_and_where_from(fixture: &dyn Fixture) {
    let journal = fixture.open(bounds());
    let limited = refused("a", START, "rate_limited");
    let elsewhere = Entry { address: "[2001:db8::1]:443".into(), ..entry("a", START) };
    let nowhere = Entry { address: String::new(), forwarded: "maybe".into(), ..entry("a", START) };
    let other_port = Entry { address: "192.0.2.1:6000".into(), ..refused("a", START, "token_revoked") };
    journal.append(&[entry("a", START), limited, elsewhere, nowhere, other_port, entry("b", START)]).unwrap();
    let expected = Activity {
        writes: 3,
        refusals: 2,
        refusals_after_revocation: 1,
        addresses: vec!["192.0.2.1".into(), "[2001:db8::1]".into()],
    };
    assert_eq!(journal.activity(&all("a")).unwrap(), expected);
    assert_eq!(journal.activity(&all("nobody")).unwrap(), Activity::default());
}

fn old_entries_go(fixture: &dyn Fixture) {
    let journal = fixture.open(bounds());
    let clock = Clock::manual(START);
    assert_eq!(journal.sweep(clock.now()).unwrap(), 0);
    let entries: Vec<_> = (0..100).map(|at| entry("a", START + at)).collect();
    journal.append(&[entry("b", START)]).unwrap();
    journal.append(&entries).unwrap();
    clock.advance(90 * DAY);
    assert_eq!(journal.sweep(clock.now()).unwrap(), 0);
    clock.advance(Duration::from_secs(50));
    assert_eq!(journal.sweep(clock.now()).unwrap(), 51);
    assert_eq!(journal.entries(&all("a")).unwrap().len(), 50);
    clock.advance(DAY);
    assert_eq!(journal.sweep(clock.now()).unwrap(), 50);
    assert!(journal.entries(&all("a")).unwrap().is_empty());
}

fn a_tokens_entries_are_bounded_and_others_keep_theirs(fixture: &dyn Fixture) {
    let journal = fixture.open(Bounds { entries_per_token: 10, ..bounds() });
    journal.append(&[entry("b", START)]).unwrap();
    let many: Vec<_> = (0..25).map(|at| entry("a", START + at)).collect();
    for batch in many.chunks(7) {
        journal.append(batch).unwrap();
    }
    let left = journal.entries(&all("a")).unwrap();
    assert_eq!(left.len(), 10);
    assert_eq!(
        (left[0].entry.at_unix_millis, left[9].entry.at_unix_millis),
        ((START + 24) * 1_000, (START + 15) * 1_000)
    );
    assert_eq!(journal.entries(&all("b")).unwrap().len(), 1);
}

/// A database gives up a statement that takes long, and with it whoever adds entries.
fn a_bound_that_was_lowered_is_reached_in_portions(fixture: &dyn Fixture) {
    let before = fixture.open(Bounds { entries_per_token: 100_000, ..bounds() });
    let many: Vec<Entry> = (0..7_000).map(|at| entry("a", START + at)).collect();
    many.chunks(2_000).for_each(|batch| before.append(batch).unwrap());
    let journal = fixture.open(bounds());
    for held in [2_001, 1_000, 1_000] {
        journal.append(&[entry("a", START + 8_000)]).unwrap();
        assert_eq!(journal.activity(&all("a")).unwrap().writes, held);
    }
}

/// Somebody goes on trying a token that was revoked after it did its harm.
fn refusals_do_not_wipe_out_writes(fixture: &dyn Fixture) {
    let journal = fixture.open(Bounds { entries_per_token: 10, ..bounds() });
    let writes: Vec<_> = (0..8).map(|at| entry("a", START + at)).collect();
    journal.append(&writes).unwrap();
    for at in 0..30 {
        journal.append(&[refused("a", START + 10 + at, "token_revoked")]).unwrap();
    }
    let activity = journal.activity(&all("a")).unwrap();
    assert_eq!((activity.writes, activity.refusals_after_revocation), (8, 2));
    let left = journal.entries(&all("a")).unwrap();
    assert_eq!(left[0].entry.at_unix_millis, (START + 39) * 1_000, "the latest refusals stay");
}

fn entries_in_all_are_bounded(fixture: &dyn Fixture) {
    let journal = fixture.open(Bounds { entries_per_token: 1 << 30, entries: 100, ..bounds() });
    let now = Clock::manual(START).now();
    journal.append(&many()).unwrap();
    assert_eq!(journal.sweep(now).unwrap(), 19_900);
    let left: usize = (0..7).map(|at| journal.entries(&all(&format!("t{at}"))).unwrap().len()).sum();
    assert_eq!(left, 100);
}

fn many() -> Vec<Entry> {
    (0..20_000).map(|at| entry(&format!("t{}", at % 7), START)).collect()
}

#[test]
fn tokens_without_entries_are_forgotten() {
    let file = File::new();
    let journal = file.open(bounds());
    journal.append(&[entry("a", START)]).unwrap();
    let clock = Clock::manual(START);
    clock.advance(91 * DAY);
    assert_eq!(journal.sweep(clock.now()).unwrap(), 1);
    let tokens = rusqlite::Connection::open(file.path()).unwrap();
    let tokens: i64 = tokens.query_row("SELECT count(*) FROM token", [], |row| row.get(0)).unwrap();
    assert_eq!(tokens, 0);
}

#[test]
fn the_files_bytes_are_bounded() {
    let file = File::new();
    let small = Bounds { entries_per_token: 1 << 30, ..bounds() };
    let (now, many) = (Clock::manual(START).now(), many());
    let journal = file.open(Bounds { file_bytes: 1 << 20, entries: 1 << 30, ..small });
    journal.append(&many).unwrap();
    assert!(journal.sweep(now).unwrap() > 1_000);
    let left: usize = (0..7).map(|at| journal.entries(&all(&format!("t{at}"))).unwrap().len()).sum();
    assert!(left > 1_000, "more than was asked for went: {left} are left");
    assert_eq!(journal.sweep(now).unwrap(), 0);
}

#[test]
fn a_file_of_something_else_is_refused() {
    let file = File::new();
    rusqlite::Connection::open(file.path()).unwrap().execute_batch("CREATE TABLE mine (id)").unwrap();
    assert!(matches!(SqliteJournal::open(&file.path(), bounds()), Err(JournalError::Foreign { .. })));
    let nowhere = file.0.path().join("missing").join("x");
    assert!(matches!(SqliteJournal::open(&nowhere, bounds()), Err(JournalError::Failed { .. })));
}

#[test]
fn a_file_of_the_first_schema_is_brought_up_to_date() {
    let file = File::new();
    file.open(bounds()).append(&[entry("a", START), entry("a", START + 1)]).unwrap();
    let raw = rusqlite::Connection::open(file.path()).unwrap();
    let back = "DROP TABLE spool; DROP INDEX refusal_by_token; DROP INDEX entry_by_token; \
                CREATE INDEX entry_by_token ON entry (token, number); PRAGMA user_version = 1";
    raw.execute_batch(back).unwrap();
    let journal = file.open(bounds());
    assert_eq!(journal.entries(&all("a")).unwrap().len(), 2);
    let name = journal.spool_id().unwrap();
    assert_eq!((name.len(), file.open(bounds()).spool_id().unwrap()), (32, name));
}

#[test]
fn a_writer_reads_the_access_logs_lines_and_counts_on_failure() {
    let file = File::new();
    let journal = Arc::new(file.open(bounds()));
    let mut writer = Writer::new(Arc::clone(&journal) as Arc<dyn Journal>);
    let line = "{\"time\":\"2023-11-14T22:13:20.000Z\",\"outcome\":\"forwarded\",\"status\":201,\"method\":\"POST\",\
                \"path\":\"/sources\",\"operation\":\"createSource\",\"workspace_id\":\"ws\",\"token_id\":\"a\",\
                \"forwarded\":\"yes\",\"bytes_in\":1,\"peer\":\"192.0.2.1:5000\",\"user_agent\":\"curl/8\",\
                \"request_id\":\"req\"}\n";
    writer.write_all(format!("{line}no line of ours\n{line}").as_bytes()).unwrap();
    let found = journal.entries(&all("a")).unwrap();
    assert_eq!(found.len(), 2);
    assert_eq!(found[0].entry, entry("a", START));
    let jwt =
        line.replace("\"forwarded\":\"yes\"", "\"issuer\":\"https://id.example\",\"forwarded\":\"yes\"");
    writer.write_all(jwt.as_bytes()).unwrap();
    assert_eq!(journal.entries(&all("a")).unwrap().len(), 2, "a client of that name is no token");
    assert_eq!(journal.entries(&all("https://id.example a")).unwrap().len(), 1);
    let broken = rusqlite::Connection::open(file.path()).unwrap();
    broken.execute_batch("DROP TABLE entry").unwrap();
    assert!(writer.write_all(line.as_bytes()).is_err());
}

#[test]
fn every_mistake_of_the_settings_is_told() {
    let text = "file = \"/\"\nretention_days = 0\nentries_per_token = 1\nentries = 1\nfile_bytes = 1";
    let settings: Settings = toml::from_str(text).unwrap();
    let mut problems = Problems::new();
    assert!(from_settings(&settings, Path::new("/etc"), &mut problems).is_none());
    let keys: Vec<_> = problems.0.into_iter().map(|problem| problem.key).collect();
    let expected = ["file", "retention_days", "entries_per_token", "entries", "file_bytes"];
    assert_eq!(keys, expected.map(|key| format!("journal.{key}")));
    let off = Settings { enabled: false, ..Settings::default() };
    let off = from_settings(&off, Path::new("/etc"), &mut Problems::new()).unwrap();
    assert!(off.file.is_none());
}
