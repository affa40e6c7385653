//! What a leak report tells is what every replica saw.

use std::collections::HashSet;

use serde_json::Value;

use super::leak::{PATH, fleet_with};
use super::{Fleet, REPLICAS};
use crate::support::{Gateway, GitHub, Receiver, Sink, alert, raw, request, until};

const MORE: &str = "[notifications]\nallow_private_addresses = true\n";

/// Has a token write through every replica in turn; the requests' ids.
fn write(fleet: &Fleet, token: &str, writes: usize) -> HashSet<String> {
    let mut clients: Vec<_> = fleet.replicas.iter().map(Gateway::connect).collect();
    let fields = format!("Authorization: Bearer {token}\r\n");
    let mut sent = HashSet::new();
    for number in 0..writes {
        let place = number % clients.len();
        let answer = clients[place].send(&raw("PATCH", &format!("/sources/{number}"), &fields, b"{}"));
        assert_eq!(answer.status, 200);
        sent.insert(answer.field("x-request-id").unwrap().to_owned());
    }
    sent
}

fn leak(fleet: &Fleet, id: &str) {
    let told = fleet.command(&["token", "revoke", id, "--leaked-at", "https://example.com/paste"]);
    assert!(told.status.success(), "{told:?}");
}

fn add_contact(fleet: &Fleet, receiver: &Receiver) {
    let added = fleet.command(&["workspace", "set", "ws-us", "--add-contact", &receiver.url()]);
    assert!(added.status.success(), "{added:?}");
}

fn listed(message: &Value) -> HashSet<String> {
    let requests = message["data"]["activity"]["requests"].as_array().unwrap();
    requests.iter().map(|line| line["requestId"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_report_lists_every_write_of_every_replica() {
    const WRITES: usize = 500;
    let (fleet, receiver) = (Fleet::with(MORE), Receiver::start(&["204 No Content"]));
    add_contact(&fleet, &receiver);
    let (id, token) = fleet.token();
    let sent = write(&fleet, &token, WRITES);
    leak(&fleet, &id);
    let message = until("the webhook", || receiver.hooks().first().cloned()).json();
    let activity = &message["data"]["activity"];
    assert_eq!(listed(&message), sent, "{activity}");
    assert_eq!(
        (&activity["writes"], &activity["gatewaysMissing"]),
        (&WRITES.into(), &0.into()),
        "{activity}"
    );
    let counted = "SELECT count(*) || ' ' || count(DISTINCT request_id) FROM tollgate.journal_entry";
    assert_eq!(fleet.server.sql("test0", counted), format!("{WRITES} {WRITES}"));
    let refused = fleet.replicas[1].ask(&token, "/sources");
    assert_eq!(refused.said(), (401, "token_revoked".to_owned()));
    let tried = format!(
        "SELECT count(*) FROM tollgate.journal_entry WHERE token = '{id}' AND outcome = 'token_revoked'"
    );
    until("the refusal to be in the journal", || (fleet.server.sql("test0", &tried) == "1").then_some(()));
}

/// The alert comes to one replica while the others have just answered; webhook and e-mail tell the same.
#[test]
fn githubs_alert_has_every_write_of_every_replica_told_beside_the_refusals() {
    const WRITES: usize = 500;
    const REFUSALS: usize = 90;
    let (github, receiver, sink) = (GitHub::new(), Receiver::start(&["204 No Content"]), Sink::start(0));
    let port = sink.port();
    let smtp = format!(
        "{MORE}[notifications.smtp]\nhost = \"127.0.0.1\"\nport = {port}\nencryption = \"none\"\n\
         from = \"tollgate@example.com\"\n"
    );
    let (fleet, _keys) = fleet_with(&github, &smtp);
    add_contact(&fleet, &receiver);
    let added = fleet.command(&["workspace", "set", "ws-us", "--add-contact", "owner@example.com"]);
    assert!(added.status.success(), "{added:?}");
    let (_, token) = fleet.token_with(&["--limit", "200 per minute"]);
    let sent = write(&fleet, &token, WRITES);
    let mut clients: Vec<_> = fleet.replicas.iter().map(Gateway::connect).collect();
    let mut refused = HashSet::new();
    for (place, client) in clients.iter_mut().enumerate() {
        while refused.len() < REFUSALS / REPLICAS * (place + 1) {
            let answer = client.send(&request("GET", "/sources", &token, ""));
            if answer.status == 429 {
                refused.insert(answer.field("x-request-id").unwrap().to_owned());
            }
        }
    }
    let answer = clients[1].send(&github.post(PATH, &alert([token.as_str()])));
    assert_eq!((answer.status, &answer.json()[0]["label"]), (200, &"true_positive".into()));

    let message = until("the webhook", || receiver.hooks().first().cloned()).json();
    let activity = &message["data"]["activity"];
    let counts = [&activity["writes"], &activity["refusals"], &activity["gatewaysMissing"]];
    assert_eq!(
        counts.map(Value::as_u64),
        [Some(WRITES as u64), Some(REFUSALS as u64), Some(0)],
        "{activity}"
    );
    assert_eq!(listed(&message), sent.union(&refused).cloned().collect());
    let text = until("the mail", || sink.mails().first().cloned()).text();
    assert!(text.contains("500 writes, 90 refused requests"), "{text}");
    for request in &sent {
        assert!(text.contains(request), "the mail leaves out {request}");
    }
    assert_eq!((receiver.hooks().len(), sink.mails().len()), (1, 1), "told twice");
}

/// What a replica saw while the database was away, or before it was killed, is told as soon as both are back.
#[test]
fn what_could_not_be_handed_on_waits() {
    let (mut fleet, receiver) = (Fleet::with(MORE), Receiver::start(&["204 No Content"]));
    add_contact(&fleet, &receiver);
    let (id, token) = fleet.token();
    fleet.server.stop();
    let sent = write(&fleet, &token, 60);
    until("every write to reach its replica's file", || {
        let written: i64 = fleet.replicas.iter().map(in_file).sum();
        (written == 60).then_some(())
    });
    let killed = fleet.replicas.remove(0);
    killed.process.signal("KILL");
    let folder = killed.into_folder();
    fleet.server.go();
    fleet.replicas.push(Gateway::serve_in(folder));
    let counted = "SELECT count(*) || ' ' || count(DISTINCT request_id) FROM tollgate.journal_entry";
    until("all of it to be in the database", || {
        (fleet.server.sql("test0", counted) == "60 60").then_some(())
    });
    leak(&fleet, &id);
    let message = until("the webhook", || receiver.hooks().first().cloned()).json();
    assert_eq!(listed(&message), sent);
}

/// Entries in a replica's own file.
fn in_file(replica: &Gateway) -> i64 {
    let file = rusqlite::Connection::open(replica.file.with_file_name("tollgate.journal")).unwrap();
    file.query_row("SELECT count(*) FROM entry", [], |row| row.get(0)).unwrap()
}
