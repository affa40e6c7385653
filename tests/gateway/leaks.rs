//! A leaked token's owners are told, and of everything that it did.

use std::collections::HashSet;
use std::path::Path;

use serde_json::Value;

use crate::support::{
    Behaviour, Gateway, Receiver, Sink, Upstream, config, raw, run, run_json, tollgate, until,
};

const WHERE: &str = "https://github.com/octo/repo/blob/main/.env";

fn gateway(sink: &Sink, more: &str) -> (Gateway, [Upstream; 2]) {
    let upstreams = ["us", "eu"].map(|region| Upstream::start(Behaviour::status(201, region)));
    let port = sink.port();
    let more = format!(
        "[notifications]\n{more}\n[notifications.smtp]\nhost = \"127.0.0.1\"\nport = {port}\nencryption = \"none\"\n\
         from = \"tollgate@example.com\"\n"
    );
    let gateway = Gateway::start(&config(&upstreams[0].url(), &upstreams[1].url(), &more));
    (gateway, upstreams)
}

fn contacts(gateway: &Gateway, workspace: &str, contacts: &[&str]) {
    let file = gateway.file.to_str().unwrap();
    for contact in contacts {
        run_json(&["workspace", "-c", file, "set", workspace, "--add-contact", contact, "--json"]);
    }
}

fn leak(file: &Path, id: &str) -> Value {
    run_json(&["token", "-c", file.to_str().unwrap(), "revoke", id, "--leaked-at", WHERE, "--json"])
}

fn secret(gateway: &Gateway, whose: &str) -> String {
    let file = gateway.file.to_str().unwrap();
    let shown = run_json(&["workspace", "-c", file, "webhook-secret", whose, "--json"]);
    shown["webhook_secret"].as_str().unwrap().to_owned()
}

/// Everything that is on disk in a folder, files in which SQLite has not yet cleaned up too.
fn on_disk(folder: &Path) -> Vec<u8> {
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.is_file()).flat_map(|path| std::fs::read(path).unwrap()).collect()
}

fn holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

#[test]
fn owners_are_told_by_webhook_and_mail_of_every_write() {
    const WRITES: usize = 500;
    let (receiver, sink) = (Receiver::start(&["204 No Content"]), Sink::start(0));
    let (gateway, _upstreams) = gateway(&sink, "allow_private_addresses = true");
    contacts(&gateway, "ws-us", &[&receiver.url(), "owner@example.com"]);
    let (id, token) = gateway.token("ws-us", &["--name", "ci's", "--limit", "600 per minute"]);
    let mut connection = gateway.connect();
    let mut sent = HashSet::new();
    for _ in 0..WRITES {
        // The token in path and user agent is masked wherever it is kept.
        let fields = format!("Authorization: Bearer {token}\r\nUser-Agent: curl {token}\r\n");
        let answer =
            connection.send(&raw("PATCH", &format!("/sources/{token}"), &fields, b"{\"a\":\"canary\"}"));
        assert_eq!(answer.status, 201);
        sent.insert(answer.field("x-request-id").unwrap().to_owned());
    }
    gateway.ask(&token, "/sources");
    let shown = leak(&gateway.file, &id);
    assert_eq!(shown["state"], "revoked");
    leak(&gateway.file, &id);

    let hook = until("the webhook", || receiver.hooks().first().cloned());
    assert!(hook.is_signed_by(&secret(&gateway, "ws-us")));
    assert!(!hook.is_signed_by(&secret(&gateway, "ws-eu")));
    assert!(hook.field("webhook-id").starts_with("msg_"));
    let message = hook.json();
    assert_eq!(message["type"], "token.leaked");
    let data = &message["data"];
    assert_eq!((&data["tokenId"], &data["workspaceId"]), (&Value::from(&*id), &"ws-us".into()));
    assert_eq!((&data["found"]["url"], &data["tokenName"]), (&WHERE.into(), &"ci's".into()));
    let activity = &data["activity"];
    assert_eq!((&activity["writes"], &activity["refusals"]), (&WRITES.into(), &0.into()));
    assert_eq!(activity["addresses"], serde_json::json!(["127.0.0.1"]));
    let requests = activity["requests"].as_array().unwrap();
    let listed: HashSet<String> =
        requests.iter().map(|line| line["requestId"].as_str().unwrap().to_owned()).collect();
    assert_eq!((requests.len(), listed), (WRITES, sent));
    let replace = data["nextSteps"]["replace"]["command"].as_str().unwrap();
    assert!(
        replace.starts_with("tollgate token create --workspace ws-us --name 'ci'\\''s' --scope "),
        "{replace}"
    );
    assert_eq!(data["nextSteps"]["replace"]["request"]["url"], "https://us.example/tollgate/v1/tokens");

    let mail = until("the mail", || sink.mails().first().cloned());
    assert!(mail.to[0].contains("<owner@example.com>") && mail.from.contains("<tollgate@example.com>"));
    let text = mail.text();
    for piece in [&*id, WHERE, replace, "500 writes, 0 refused requests", "Subject: Leaked and revoked"] {
        assert!(text.contains(piece), "{piece} is missing");
    }
    until("both to be counted", || {
        let metrics = gateway.metrics();
        let count = |channel| {
            metrics.count("tollgate_notifications_total", &[("channel", channel), ("end", "delivered")])
        };
        (count("webhook") == 1 && count("email") == 1).then_some(())
    });
    assert_eq!((receiver.hooks().len(), sink.mails().len()), (1, 1), "told twice");

    let disk = on_disk(gateway.file.parent().unwrap());
    assert!(holds(&disk, &id), "the search is blind");
    let told = [hook.body, text.into_bytes(), gateway.process.output().into_bytes(), disk];
    for (place, bytes) in told.iter().enumerate() {
        assert!(!holds(bytes, &token[..40]), "the token is in place {place}");
        assert!(!holds(bytes, "canary"), "a body is in place {place}");
    }
}

#[test]
fn a_receiver_that_fails_is_tried_again_and_a_redirect_is_a_failure() {
    let elsewhere = Receiver::start(&["200 OK"]);
    let redirect = format!("307 Temporary Redirect\r\nLocation: {}", elsewhere.url());
    let (failing, redirecting) =
        (Receiver::start(&["500 Oops", "200 OK"]), Receiver::start(&[&redirect, "200 OK"]));
    let sink = Sink::start(1);
    let (gateway, _upstreams) = gateway(&sink, "allow_private_addresses = true");
    contacts(&gateway, "ws-us", &[&failing.url(), &redirecting.url(), "owner@example.com"]);
    let (id, _) = gateway.token("ws-us", &[]);
    leak(&gateway.file, &id);
    for receiver in [&failing, &redirecting] {
        let hooks = until("the second attempt", || Some(receiver.hooks()).filter(|hooks| hooks.len() == 2));
        assert_eq!(hooks[0].field("webhook-id"), hooks[1].field("webhook-id"));
        assert!(hooks[1].is_signed_by(&secret(&gateway, "ws-us")));
    }
    until("the mail", || sink.mails().first().cloned());
    assert!(elsewhere.hooks().is_empty(), "a redirect was followed");
}

#[test]
fn a_contact_leads_to_no_address_inside() {
    let (receiver, sink) = (Receiver::start(&["200 OK"]), Sink::start(0));
    let (gateway, _upstreams) = gateway(&sink, "");
    contacts(&gateway, "ws-us", &[&receiver.url()]);
    let (id, _) = gateway.token("ws-us", &[]);
    leak(&gateway.file, &id);
    let log = until("the refusal", || {
        Some(gateway.process.stderr.text())
            .filter(|log| log.contains("not an address of the public internet"))
    });
    assert!(log.contains("owners were not told yet") && !log.contains("/hook"));
    assert!(receiver.hooks().is_empty());
}

#[test]
fn the_operator_is_told_for_workspaces_without_contacts() {
    let (receiver, sink) = (Receiver::start(&["200 OK"]), Sink::start(0));
    let more = format!("allow_private_addresses = true\noperator_contacts = [\"{}\"]", receiver.url());
    let (gateway, _upstreams) = gateway(&sink, &more);
    let (id, _) = gateway.token("ws-eu", &[]);
    leak(&gateway.file, &id);
    let hook = until("the webhook", || receiver.hooks().first().cloned());
    assert_eq!(hook.json()["data"]["tokenId"], *id);
    assert!(hook.is_signed_by(&secret(&gateway, "--operator")));
    assert!(!hook.is_signed_by(&secret(&gateway, "ws-eu")));
}

/// One that wants no more and one that is away keep none of the others from being told, and these are told once.
#[test]
fn every_contact_of_the_operator_is_told_whichever_fails() {
    let (gone, receiver) = (Receiver::start(&["410 Gone"]), Receiver::start(&["200 OK"]));
    let (away, sink) = (Receiver::start(&["500 Oops", "200 OK"]), Sink::start(0));
    let contacts = [gone.url(), receiver.url(), "ops@example.com".to_owned(), away.url()];
    let more = format!("allow_private_addresses = true\noperator_contacts = {contacts:?}");
    let (gateway, _upstreams) = gateway(&sink, &more);
    let (id, _) = gateway.token("ws-eu", &[]);
    leak(&gateway.file, &id);
    let hook = until("the webhook", || receiver.hooks().first().cloned());
    assert_eq!(hook.json()["data"]["tokenId"], *id);
    until("the mail", || sink.mails().first().cloned());
    let hooks = until("the second attempt", || Some(away.hooks()).filter(|hooks| hooks.len() == 2));
    assert_eq!(hooks[1].field("webhook-id"), hook.field("webhook-id"));
    assert_eq!((receiver.hooks().len(), sink.mails().len()), (1, 1), "told again");
}

#[test]
fn a_kill_between_the_revocation_and_its_message_loses_nothing() {
    let (receiver, sink) = (Receiver::start(&["200 OK"]), Sink::start(0));
    let (gateway, _upstreams) = gateway(&sink, "allow_private_addresses = true");
    contacts(&gateway, "ws-us", &[&receiver.url()]);
    let (id, _) = gateway.token("ws-us", &[]);
    let text = std::fs::read_to_string(&gateway.file).unwrap();
    gateway.process.signal("KILL");
    let folder = gateway.into_folder();
    leak(&folder.path().join("tollgate.toml"), &id);
    assert!(receiver.hooks().is_empty());
    let gateway = Gateway::start_in(folder, &text);
    let hook = until("the webhook", || receiver.hooks().first().cloned());
    assert_eq!(hook.json()["data"]["tokenId"], *id);
    let verified = run(&["audit", "-c", gateway.file.to_str().unwrap(), "verify"]);
    assert!(verified.status.success(), "{verified:?}");
    let listed = tollgate(&["audit", "-c", gateway.file.to_str().unwrap(), "list", "--token", &id]).output();
    assert!(String::from_utf8(listed.unwrap().stdout).unwrap().contains(WHERE));
}
