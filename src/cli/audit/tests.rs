use clap::Parser;

use super::*;
use crate::domain::{Plan, Problems, Region, Regions};
use crate::tokens::{self, Leak, NewWorkspace, Rules, Settings, TokenRequest};

const START: u64 = 1_700_000_000;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    args: AuditArgs,
}

struct Registry {
    folder: tempfile::TempDir,
    access: RegistryAccess,
    clock: Clock,
}

impl Registry {
    /// A workspace with a token that leaked, and another workspace.
    fn new() -> (Self, String) {
        let folder = tempfile::tempdir().unwrap();
        let settings = Settings { audit_key_file: "head.key".into(), ..Settings::default() };
        let rules = Rules::from_settings(&settings, folder.path(), &mut Problems::new()).unwrap();
        let region = Region { name: "eu".into(), letter: 'e', base_url: "https://x".into() };
        let access = RegistryAccess::new(rules, Regions::new(vec![region]), Some("ana"));
        let clock = Clock::manual(START);
        let mint = access.open(&clock).unwrap();
        let act = access.act(clock.now());
        for id in ["ws", "other"] {
            let new = NewWorkspace::ordinary(id, "eu");
            mint.create_workspace(act, &new).unwrap();
        }
        let request = TokenRequest::ordinary("ws");
        let id = mint.create_token(act, &request).unwrap().record.id;
        let leak = Leak::new("github-secret-scanning", "t", "https://github.com/o/r", "commit", START);
        mint.revoke_leaked(act, &id, leak).unwrap();
        (Self { folder, access, clock }, id)
    }

    fn audit(&self, words: &str) -> Result<String, Error> {
        let line = Line::try_parse_from(std::iter::once("audit").chain(words.split(' ')))
            .map_err(|error| Error::Usage(error.to_string()))?;
        let mut out = Vec::new();
        run(&line.args, &self.access, &self.clock, &mut out)?;
        Ok(String::from_utf8(out).unwrap())
    }

    fn sql(&self, sql: &str) {
        let connection = rusqlite::Connection::open(self.folder.path().join("tollgate.db")).unwrap();
        connection
            .execute_batch(
                "DROP TRIGGER IF EXISTS log_is_not_updated; DROP TRIGGER IF EXISTS log_is_not_deleted",
            )
            .unwrap();
        connection.execute_batch(sql).unwrap();
    }
}

#[test]
fn changes_are_listed_by_token_workspace_kind_and_time() {
    let (registry, id) = Registry::new();
    let count = |words: &str| registry.audit(words).unwrap().lines().count();
    assert_eq!(count("list --format jsonl"), 5);
    assert_eq!(count(&format!("list --format jsonl --token {id}")), 2);
    assert_eq!(count("list --format jsonl --workspace ws"), 3);
    assert_eq!(count("list --format jsonl --workspace other"), 1);
    assert_eq!(count("list --format jsonl --kind token.revoked"), 1);
    assert_eq!(count("list --format jsonl --until 2023-11-14"), 0);
    let text = registry.audit("list --kind token.revoked").unwrap();
    assert!(text.contains("API Token Revoked") && text.contains("at https://github.com/o/r"), "{text}");
    registry.clock.advance(std::time::Duration::from_hours(90 * 24 + 1));
    assert_eq!(count("list --format jsonl"), 0);
    assert_eq!(count("list --format jsonl --since 91d"), 5);
    assert!(registry.audit("list").unwrap().starts_with("There is no such change"));
}

#[test]
fn an_event_has_the_fields_of_the_apis_own() {
    let (registry, id) = Registry::new();
    let line = registry.audit("list --format jsonl --kind token.revoked").unwrap();
    let event: Value = serde_json::from_str(&line).unwrap();
    let expected = serde_json::json!({
        "id": "5", "timestamp": "2023-11-14T22:13:20Z", "type": "API Token Revoked", "actor": "cli:ana",
        "resourceId": id, "resourceType": "TOKEN", "resourceName": "ci"});
    for (key, value) in expected.as_object().unwrap() {
        assert_eq!(event[key], *value, "{key}");
    }
    assert_eq!(event["details"]["leak"]["source"], "commit");
}

#[test]
fn words_that_it_does_not_know_are_bad_usage() {
    let (registry, _) = Registry::new();
    for words in ["", "list --kind leaked", "list --since x", "list --format xml", "verify x"] {
        assert_eq!(registry.audit(words).unwrap_err().exit_code(), 2, "{words}");
    }
}

#[test]
fn whatever_is_altered_dropped_or_moved_is_found_at_its_place() {
    let (registry, _) = Registry::new();
    assert!(registry.audit("verify").unwrap().starts_with("5 entries follow"));
    for (sql, place) in [
        ("DELETE FROM log WHERE seq = 5", 5),
        ("DELETE FROM log WHERE seq = 1", 2),
        ("UPDATE log SET seq = -seq WHERE seq IN (2, 3); UPDATE log SET seq = 5 + seq WHERE seq < 0", 2),
    ] {
        let (registry, _) = Registry::new();
        registry.sql(sql);
        assert_eq!(found_at(registry.audit("verify")), place, "{sql}");
    }
}

/// Every byte of every column of one entry.
#[test]
fn any_flipped_byte_is_found_at_its_entry() {
    let (registry, _) = Registry::new();
    let connection = rusqlite::Connection::open(registry.folder.path().join("tollgate.db")).unwrap();
    registry.sql("SELECT 1");
    for column in ["actor", "kind", "subject", "body"] {
        let read = format!("SELECT {column} FROM log WHERE seq = 3");
        let good: String = connection.query_row(&read, [], |row| row.get(0)).unwrap();
        let write = format!("UPDATE log SET {column} = ?1 WHERE seq = 3");
        for at in 0..good.len() {
            let mut bytes = good.clone().into_bytes();
            bytes[at] ^= 1;
            connection.execute(&write, [String::from_utf8(bytes).unwrap()]).unwrap();
            assert_eq!(found_at(registry.audit("verify")), 3, "{column} {at}");
        }
        connection.execute(&write, [good]).unwrap();
    }
    for column in ["previous", "hash"] {
        let read = format!("SELECT {column} FROM log WHERE seq = 3");
        let good: Vec<u8> = connection.query_row(&read, [], |row| row.get(0)).unwrap();
        let write = format!("UPDATE log SET {column} = ?1 WHERE seq = 3");
        for at in 0..good.len() {
            let mut bytes = good.clone();
            bytes[at] ^= 1;
            connection.execute(&write, [bytes]).unwrap();
            assert_eq!(found_at(registry.audit("verify")), 3, "{column} {at}");
        }
        connection.execute(&write, [good]).unwrap();
    }
    assert!(registry.audit("verify").is_ok());
}

fn found_at(verified: Result<String, Error>) -> u64 {
    match verified {
        Err(Error::Tokens(tokens::Error::LogAltered(found) | tokens::Error::LogBroken { found, .. })) => {
            found
        }
        other => panic!("{other:?}"),
    }
}

impl Registry {
    /// Gives an entry another actor, and everything behind it the hashes that follow, as somebody could who may write
    /// the whole store.
    fn rewrite_from(&self, seq: u64) {
        let mint = self.access.open(&self.clock).unwrap();
        let mut log = mint.store().log(0, 100).unwrap();
        log.iter_mut().find(|entry| entry.seq == seq).unwrap().actor = "nobody".into();
        let mut sql = String::new();
        let mut hash = [0; 32];
        for entry in log {
            let previous = hash;
            hash = entry.hash_after(&previous);
            let (seq, actor) = (entry.seq, entry.actor);
            let (previous, hash) = (hexadecimal(&previous), hexadecimal(&hash));
            let statement = format!(
                "UPDATE log SET actor = '{actor}', previous = x'{previous}', hash = x'{hash}' WHERE seq = {seq}; \
                 UPDATE head SET hash = x'{hash}';"
            );
            sql.push_str(&statement);
        }
        self.sql(&sql);
    }

    fn not_the_head(&self, words: &str) -> (u64, tokens::NotTheHead) {
        match self.audit(words) {
            Err(Error::NotTheHead { seq, why, .. }) => (seq, why),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_signed_head_shows_what_hashes_cannot() {
    use tokens::NotTheHead::{Dropped, Rewritten, Signature};
    let (registry, id) = Registry::new();
    let heads = registry.folder.path().join("heads");
    let verify = format!("verify --heads {}", heads.display());
    std::fs::write(&heads, registry.audit("head").unwrap()).unwrap();
    let mint = registry.access.open(&registry.clock).unwrap();
    mint.revoke_token(registry.access.act(registry.clock.now()), &id, "again").unwrap();
    assert!(registry.audit(&verify).unwrap().contains("1 signed heads agree; the newest is that of entry 5"));

    registry.rewrite_from(5);
    assert!(registry.audit("verify").is_ok(), "hashes alone cannot show it");
    assert_eq!(registry.not_the_head(&verify), (5, Rewritten));

    let (registry, _) = Registry::new();
    let heads = registry.folder.path().join("heads");
    let verify = format!("verify --heads {}", heads.display());
    std::fs::write(&heads, registry.audit("head").unwrap()).unwrap();
    registry.sql(
        "DELETE FROM log WHERE seq = 5; \
         UPDATE head SET (seq, hash) = (SELECT seq, hash FROM log WHERE seq = 4)",
    );
    assert!(registry.audit("verify").is_ok(), "hashes alone cannot show it");
    assert_eq!(registry.not_the_head(&verify), (5, Dropped(4)));

    let (other, _) = Registry::new();
    assert_eq!(other.not_the_head(&verify), (5, Signature), "another key's");
}

#[test]
fn a_key_can_be_trusted_by_name_and_a_file_without_heads_proves_nothing() {
    let (registry, _) = Registry::new();
    let heads = registry.folder.path().join("heads");
    let head: SignedHead = serde_json::from_str(&registry.audit("head").unwrap()).unwrap();
    let of_log = serde_json::json!({"message": "x", "signed_head": serde_json::to_string(&head).unwrap()});
    std::fs::write(&heads, format!("a line of another kind\n{of_log}\n{of_log}\n")).unwrap();
    let (path, key) = (heads.display(), &head.public_key);
    let told = registry.audit(&format!("verify --heads {path} --public-key {key}")).unwrap();
    assert!(told.contains("2 signed heads agree"), "{told}");
    let other = registry.audit(&format!("verify --heads {path} --public-key AAAA"));
    assert!(matches!(other, Err(Error::NotTheHead { why: tokens::NotTheHead::Signature, .. })));
    std::fs::write(&heads, "nothing\n").unwrap();
    assert_eq!(registry.audit(&format!("verify --heads {path}")).unwrap_err().exit_code(), 2);
    assert_eq!(registry.audit("verify --public-key AAAA").unwrap_err().exit_code(), 2);
}

/// The search for where a time begins finds the same as reading everything.
#[test]
fn what_happened_since_is_found_wherever_it_begins() {
    let (registry, id) = Registry::new();
    let mint = registry.access.open(&registry.clock).unwrap();
    for day in 0_u64..40 {
        registry.clock.advance(std::time::Duration::from_hours(24));
        let plan = if day.is_multiple_of(2) { Plan::Free } else { Plan::Business };
        let change = tokens::WorkspaceChange { plan: Some(plan), ..tokens::WorkspaceChange::default() };
        mint.set_workspace(registry.access.act(registry.clock.now()), "ws", &change).unwrap();
    }
    let count = |words: &str| registry.audit(words).unwrap().lines().count();
    for days in [1, 2, 7, 39] {
        assert_eq!(count(&format!("list --format jsonl --since {days}d")), days + 1);
    }
    assert_eq!(count("list --format jsonl --since 41d"), 45);
    assert_eq!(count(&format!("list --format jsonl --token {id}")), 2, "oldest first, by the index");
    assert_eq!(count(&format!("list --format jsonl --token {id} --since 7d")), 0);
}
