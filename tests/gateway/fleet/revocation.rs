//! A token that one process revokes is refused by every replica within a second.

use std::time::{Duration, Instant};

use super::Fleet;
use crate::support::{Client, request};

const PROMISE: Duration = Duration::from_secs(1);

/// Revokes a token that every replica has served many times, and measures until each of them refuses it.
fn revoke(fleet: &Fleet) {
    let (id, token) = fleet.token();
    let bytes = request("GET", "/sources", &token, "");
    let mut clients: Vec<Client> =
        fleet.replicas.iter().flat_map(|replica| [replica.connect(), replica.connect()]).collect();
    for client in &mut clients {
        for _ in 0..20 {
            assert_eq!(client.send(&bytes).status, 200);
        }
    }
    assert!(fleet.command(&["token", "revoke", &id]).status.success());
    let done = Instant::now();
    loop {
        let said: Vec<_> = clients.iter_mut().map(|client| client.send(&bytes).said()).collect();
        if said.iter().all(|said| *said == (401, "token_revoked".to_owned())) {
            break;
        }
        assert!(done.elapsed() < 10 * PROMISE, "still served: {said:?}");
    }
    let took = done.elapsed();
    assert!(took <= PROMISE, "{took:?}");
    assert!(clients.iter_mut().all(|client| client.send(&bytes).status == 401), "and it stays so");
}

#[test]
fn a_revoked_token_ends_everywhere() {
    revoke(&Fleet::start());
}

/// The connections on which the replicas are notified stay open, and nothing arrives on them any more.
#[test]
fn a_revoked_token_ends_everywhere_also_without_notifications() {
    let fleet = Fleet::start();
    let listeners = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'tollgate listen'";
    crate::support::until("every replica to listen", || {
        (fleet.server.sql("postgres", listeners) == "3").then_some(())
    });
    fleet.proxy.silence("tollgate listen");
    for _ in 0..3 {
        revoke(&fleet);
    }
    assert_eq!(fleet.server.sql("postgres", listeners), "3");
}
