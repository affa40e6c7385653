//! Many write at once.

use std::collections::BTreeSet;
use std::thread;

use super::Fleet;
use crate::support::run_json;

const WRITERS: usize = 64;

/// Every command succeeds, and every replica knows every token that was made.
#[test]
fn sixty_four_concurrent_writers_are_all_seen_by_every_replica() {
    let fleet = Fleet::start();
    let file = fleet.operators();
    let file = file.to_str().unwrap();
    let create = || {
        let made = run_json(&["token", "--config", file, "create", "--json", "--workspace", "ws-us"]);
        made["token"].as_str().unwrap().to_owned()
    };
    let tokens: BTreeSet<String> = thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS).map(|_| scope.spawn(create)).collect();
        writers.into_iter().map(|writer| writer.join().unwrap()).collect()
    });
    assert_eq!(tokens.len(), WRITERS);
    for token in &tokens {
        fleet.until_all("every token to be known", token, |answer| answer.status == 200);
    }
    for replica in &fleet.replicas {
        let registry = Fleet::registry(replica);
        assert_eq!(registry["tokens"], WRITERS);
        assert!(registry["last_error"].is_null(), "{registry}");
    }
    let numbers = "SELECT count(*) || ' ' || min(seq) || ' ' || max(seq) || ' ' || (SELECT seq FROM tollgate.head) \
                   FROM tollgate.log";
    // Two workspaces, one pepper, and the tokens.
    let all = WRITERS + 3;
    assert_eq!(fleet.server.sql("test0", numbers), format!("{all} 1 {all} {all}"));
}
