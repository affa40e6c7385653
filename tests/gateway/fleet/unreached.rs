//! A gateway that starts while PostgreSQL is away, and a PostgreSQL that comes back as it was some time ago.

use super::Fleet;
use super::leak::{PATH, fleet};
use crate::support::{Gateway, GitHub, alert, run_json, until};

fn registry_error(replica: &Gateway) -> Option<String> {
    Fleet::registry(replica)["last_error"].as_str().map(str::to_owned)
}

fn said(replica: &Gateway, token: &str) -> (u16, String) {
    let answer = replica.ask(token, "/sources");
    if answer.status == 200 { (200, String::new()) } else { answer.said() }
}

fn refused(reason: &str) -> (u16, String) {
    (if reason == "registry_unavailable" { 503 } else { 401 }, reason.to_owned())
}

impl Fleet {
    /// A token that some replicas may not know.
    fn made(&self) -> (String, String) {
        let file = self.operators();
        let file = file.to_str().unwrap();
        let made = run_json(&["token", "--config", file, "create", "--json", "--workspace", "ws-us"]);
        let text = |name: &str| made[name].as_str().unwrap().to_owned();
        (text("id"), text("token"))
    }

    /// Lets nobody into the database, as if it were away.
    fn close_database(&self) {
        self.server.sql("postgres", "ALTER DATABASE test0 WITH ALLOW_CONNECTIONS false");
        self.server.sql(
            "postgres",
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'test0'",
        );
    }

    fn open_database(&self) {
        self.server.sql("postgres", "ALTER DATABASE test0 WITH ALLOW_CONNECTIONS true");
    }

    fn revoke(&self, id: &str) {
        assert!(self.command(&["token", "revoke", id]).status.success());
    }
}

#[test]
fn a_gateway_starts_from_its_saved_registry_and_catches_up() {
    let mut fleet = Fleet::start();
    let ((_, kept), (gone_id, gone), (ends_id, ends)) = (fleet.token(), fleet.token(), fleet.token());
    fleet.replicas[0].stop();
    fleet.revoke(&gone_id);
    let (_, new) = fleet.made();
    fleet.server.stop();
    fleet.replicas[0].go();
    let replica = &fleet.replicas[0];

    assert_eq!(said(replica, &kept).0, 200);
    assert_eq!(said(replica, &gone).0, 200, "what the file has not is not known");
    assert_eq!(said(replica, &new), refused("registry_unavailable"), "it may have been made since");
    assert_eq!(said(replica, &new[..new.len() - 1]), refused("token_unknown"), "it is no token");
    let status = Fleet::registry(replica);
    assert_eq!((&status["store_reached"], &status["tokens"]), (&false.into(), &3.into()));
    assert!(registry_error(replica).unwrap().contains("the token store postgres://"));
    assert_eq!(replica.metrics().count("tollgate_registry_store_reached", &[]), 0);
    let ready = crate::support::ask_admin(replica.admin, "/readyz");
    let told = String::from_utf8_lossy(&ready.body).into_owned();
    assert!(ready.status == 200 && told.contains("as the saved registry has them"), "{told}");
    assert!(!told.contains("postgres://"), "it is for everybody");
    assert!(replica.process.stderr.text().contains("the token store is away"));

    let change = r#"{"id":"ws-x","region":"us","plan":"team"}"#;
    assert_eq!(replica.operate("POST", "/v1/workspaces", change).status, 503);
    assert_eq!(replica.operate("POST", &format!("/v1/tokens/{ends_id}/revoke"), "{}").status, 503);
    assert_eq!(said(replica, &ends), refused("token_revoked"), "refused at once all the same");
    assert_eq!(replica.metrics().count("tollgate_revocations_unwritten", &[]), 1);
    assert_eq!(said(&fleet.replicas[1], &ends).0, 200, "nobody could tell the others");

    fleet.server.go();
    until("the store to be followed", || (said(replica, &gone) == refused("token_revoked")).then_some(()));
    until("the new token to be known", || (said(replica, &new).0 == 200).then_some(()));
    until("all to be well", || Fleet::registry(replica)["last_error"].is_null().then_some(()));
    assert_eq!(Fleet::registry(replica)["store_reached"], true);
    until("changes to be taken", || {
        (replica.operate("POST", "/v1/workspaces", change).status == 201).then_some(())
    });
    fleet.until_all("the revocation that waited", &ends, |answer| answer.status == 401);
}

/// What was revoked stays so on every replica, whether it followed the whole time or started without the database.
#[test]
fn a_database_that_was_put_back_is_noticed() {
    let mut fleet = Fleet::start();
    let ((_, kept), (gone_id, gone)) = (fleet.token(), fleet.token());
    fleet.close_database();
    fleet.server.sql("postgres", "CREATE DATABASE backup TEMPLATE test0");
    fleet.open_database();
    fleet.revoke(&gone_id);
    fleet.until_all("the revocation", &gone, |answer| answer.status == 401);
    fleet.replicas[0].stop();
    fleet.close_database();
    fleet.replicas[0].go();
    fleet.server.sql("postgres", "DROP DATABASE test0 WITH (FORCE)");
    fleet.server.sql("postgres", "ALTER DATABASE backup RENAME TO test0");
    fleet.open_database();
    let noticed = |replica: &Gateway, what: &str| {
        until(what, || registry_error(replica).filter(|error| error.contains(what)));
        assert_eq!(said(replica, &gone), refused("token_revoked"), "an older copy revived a token");
        assert_eq!(said(replica, &kept).0, 200);
    };
    for replica in &fleet.replicas {
        noticed(replica, "the change log went from entry");
    }
    // It grows beyond what they know.
    let (_, new) = fleet.made();
    fleet.made();
    for replica in &fleet.replicas {
        noticed(replica, "the change log has another entry");
        assert_eq!(said(replica, &new), refused("registry_unavailable"));
    }
    let change = r#"{"id":"ws-x","region":"us","plan":"team"}"#;
    assert_eq!(fleet.replicas[0].operate("POST", "/v1/workspaces", change).status, 503, "a stranger's store");

    // A restart takes the database as it is.
    fleet.replicas[0].stop();
    fleet.replicas[0].go();
    let replica = &fleet.replicas[0];
    assert!(registry_error(replica).is_none());
    assert!(replica.process.stderr.text().contains("of a state that the store no longer has"));
    assert_eq!((said(replica, &new).0, said(replica, &gone).0), (200, 200));
}

/// The gateway that takes the alert refuses the whole family at once, though nothing can be written.
#[test]
fn a_leak_while_the_database_is_away() {
    let github = GitHub::new();
    let (fleet, _keys) = fleet(&github);
    let (old_id, old) = fleet.token();
    let file = fleet.operators();
    let rotate =
        ["token", "--config", file.to_str().unwrap(), "rotate", &old_id, "--overlap", "1h", "--json"];
    let new = run_json(&rotate)["token"].as_str().unwrap().to_owned();
    fleet.until_all("the successor to be known", &new, |answer| answer.status == 200);
    fleet.server.stop();
    let answer = fleet.replicas[0].connect().send(&github.post(PATH, &alert([old.as_str()])));
    assert_eq!(answer.status, 503, "nothing is promised");
    for token in [&old, &new] {
        assert_eq!(said(&fleet.replicas[0], token), refused("token_revoked"));
        assert_eq!(said(&fleet.replicas[1], token).0, 200, "nobody could tell the others");
    }
    fleet.server.go();
    for token in [&old, &new] {
        fleet.until_all("the family to end everywhere", token, |answer| answer.status == 401);
    }
}
