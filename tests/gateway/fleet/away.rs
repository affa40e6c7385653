//! PostgreSQL goes away and comes back.

use std::thread::sleep;
use std::time::{Duration, Instant};

use super::proxy::Commit;
use super::{Fleet, write};
use crate::support::{Process, run, tollgate, until};

/// Tokens go on working from memory, changes are refused, and what was missed is caught up with.
#[test]
fn while_the_database_is_away_tokens_work_and_changes_are_refused() {
    let fleet = Fleet::start();
    let ((kept, kept_token), (_, other_token)) = (fleet.token(), fleet.token());
    fleet.server.stop();
    let refused = fleet.command(&["token", "revoke", &kept]);
    assert_eq!(refused.status.code(), Some(1));
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("the token store postgres://") && said.contains("nothing was changed"), "{said}");
    for replica in &fleet.replicas {
        until("the failure to be told", || (!Fleet::registry(replica)["last_error"].is_null()).then_some(()));
        until("staleness to grow", || {
            (replica.metrics().sum("tollgate_registry_staleness_seconds", &[]) > 1.0).then_some(())
        });
        for token in [&kept_token, &other_token] {
            assert_eq!(replica.ask(token, "/sources").status, 200);
        }
    }
    fleet.server.go();
    assert!(fleet.command(&["token", "revoke", &kept]).status.success());
    fleet.until_all("the revocation to be caught up with", &kept_token, |answer| answer.status == 401);
    let (_, new) = fleet.token();
    for replica in &fleet.replicas {
        assert_eq!(replica.ask(&other_token, "/sources").status, 200);
        assert_eq!(replica.ask(&new, "/sources").status, 200);
        until("all to be well", || Fleet::registry(replica)["last_error"].is_null().then_some(()));
        assert_eq!(Fleet::registry(replica)["store"], "postgresql");
    }
}

/// Nothing passes any more on connections that stay open, as when the server's disk hangs.
#[test]
fn a_database_that_hangs_keeps_no_gateway_from_ending() {
    let mut fleet = Fleet::with("[journal]\nshared = true\n");
    let (_, token) = fleet.token();
    for purpose in ["tollgate", "tollgate listen", "tollgate journal"] {
        fleet.proxy.silence(purpose);
    }
    let replica = &mut fleet.replicas[0];
    assert_eq!(replica.ask(&token, "/sources").status, 200);
    replica.process.signal("TERM");
    // The time that it may take is longer than others are waited for.
    let begun = Instant::now();
    while replica.process.ended().is_none() {
        assert!(
            begun.elapsed() < Duration::from_mins(1),
            "it does not end: {}",
            replica.process.stderr.text()
        );
        sleep(Duration::from_millis(20));
    }
    assert_eq!(replica.process.wait().code(), Some(0), "{}", replica.process.stderr.text());
    let said = replica.process.stderr.text();
    assert!(said.contains("postgres://"), "what failed is told: {said}");
}

/// A command whose connection is lost at the worst moment tells the truth.
#[test]
fn a_lost_commit_is_answered_truly() {
    let fleet = Fleet::start();
    let file = fleet.replicas[0].file.to_str().unwrap();
    let create =
        || run(&["token", "--config", file, "create", "--json", "--workspace", "ws-us", "--name", "x"]);
    let made = "SELECT count(*) FROM tollgate.token";
    for (fate, is_done) in [(Commit::IsLost, false), (Commit::LosesItsAnswer, true), (Commit::Passes, true)] {
        let before: u64 = fleet.server.sql("test0", made).parse().unwrap();
        fleet.proxy.next_commit(fate);
        let answered = create();
        let after: u64 = fleet.server.sql("test0", made).parse().unwrap();
        assert_eq!((answered.status.success(), after > before), (is_done, is_done), "{fate:?}: {answered:?}");
    }
}

#[test]
fn a_start_without_the_database_ends_with_a_word_on_it() {
    let fleet = Fleet::start();
    let folder = tempfile::tempdir().unwrap();
    fleet.server.stop();
    write(folder.path(), &std::fs::read_to_string(fleet.operators()).unwrap());
    let file = folder.path().join("tollgate.toml");
    let mut process = Process::start(tollgate(&["serve", "--config", file.to_str().unwrap()]));
    assert_eq!(process.wait().code(), Some(1));
    let said = process.stderr.text();
    assert!(said.contains("the token registry cannot be opened: the token store postgres://"), "{said}");
}

/// Another pepper would refuse every token.
#[test]
fn a_replica_with_another_pepper_does_not_start() {
    let fleet = Fleet::start();
    let folder = tempfile::tempdir().unwrap();
    let text = std::fs::read_to_string(fleet.operators()).unwrap();
    let shared = fleet.shared.path().join("tollgate.pepper");
    let own = folder.path().join("own.pepper");
    write(folder.path(), &text.replace(shared.to_str().unwrap(), own.to_str().unwrap()));
    let start = || {
        let file = folder.path().join("tollgate.toml");
        let mut process = Process::start(tollgate(&["serve", "--config", file.to_str().unwrap()]));
        assert_eq!(process.wait().code(), Some(1));
        process.stderr.text()
    };
    assert!(start().contains("is missing"), "there is none");
    std::fs::write(&own, "1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n").unwrap();
    assert!(start().contains("is not the one that this store was made with"), "it is another");
}
