//! Many write at once.

use std::collections::BTreeSet;
use std::thread;

use serde_json::Value;

use super::Fleet;
use crate::support::until;

const WRITERS: usize = 64;

/// Every command succeeds, and every replica knows every token that was made. A command that says that nothing was
/// changed, because the busy server did not answer in time, is given again.
#[test]
fn sixty_four_concurrent_writers_are_all_seen_by_every_replica() {
    let fleet = Fleet::start();
    let create = || {
        let made = until("a token to be made", || {
            let output = fleet.command(&["token", "create", "--json", "--workspace", "ws-us"]);
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success() || said.contains("nothing was changed"), "{said}");
            serde_json::from_slice::<Value>(&output.stdout).ok()
        });
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
    // Two workspaces, one pepper, an operator of each replica, and the tokens.
    let all = WRITERS + 6;
    assert_eq!(fleet.server.sql("test0", numbers), format!("{all} 1 {all} {all}"));
}
