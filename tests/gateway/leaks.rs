//! A leaked token's owners are told, and of everything that it did.

use std::collections::HashSet;
use std::path::Path;

use serde_json::Value;

use crate::support::{
    Behaviour, Encryption, Gateway, GitHub, Receiver, Sink, Upstream, alert, config, raw, request, run,
    run_json, tollgate, until,
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

fn attempts(gateway: &Gateway, channel: &str, end: &str) -> u64 {
    gateway.metrics().count("tollgate_notifications_total", &[("channel", channel), ("end", end)])
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
    const REFUSALS: usize = 2_000;
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
    // Reads are not listed; those beyond the limit are refusals, many more than a message lists.
    let reads = (0..REFUSALS + 100).map(|_| connection.send(&request("GET", "/sources", &token, "")).status);
    let refused = reads.filter(|status| *status == 429).count();
    assert!(refused > WRITES, "{refused}");
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
    // Of a flood of refusals the journal may drop some; of the writes none.
    let kept = activity["refusals"].as_u64().unwrap() as usize;
    assert!(kept <= refused, "{kept} of {refused}");
    assert_eq!((&activity["writes"], &activity["refusals"]), (&WRITES.into(), &kept.into()));
    assert_eq!(activity["addresses"], serde_json::json!(["127.0.0.1"]));
    let requests = activity["requests"].as_array().unwrap();
    let writes = requests.iter().filter(|line| line["forwarded"] != "no");
    let listed: HashSet<String> = writes.map(|line| line["requestId"].as_str().unwrap().to_owned()).collect();
    assert_eq!((requests.len(), listed), ((WRITES + kept).min(1_000), sent));
    assert!(requests.iter().all(|line| line["tokenId"] == *id));
    let replace = data["nextSteps"]["replace"]["command"].as_str().unwrap();
    assert!(
        replace.starts_with("tollgate token create --workspace ws-us --name 'ci'\\''s' --scope "),
        "{replace}"
    );
    assert_eq!(data["nextSteps"]["replace"]["request"]["url"], "https://us.example/tollgate/v1/tokens");

    let mail = until("the mail", || sink.mails().first().cloned());
    assert!(mail.to[0].contains("<owner@example.com>") && mail.from.contains("<tollgate@example.com>"));
    let text = mail.text();
    let counted = format!("500 writes, {kept} refused requests");
    for piece in [&*id, WHERE, replace, &counted, "Subject: Leaked and revoked"] {
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

#[test]
fn a_receiver_that_hangs_delays_nobody_else_and_is_left_after_its_time() {
    let (hanging, good, sink) =
        (Receiver::start(&["", "200 OK"]), Receiver::start(&["200 OK"]), Sink::start(0));
    let (gateway, _upstreams) = gateway(&sink, "allow_private_addresses = true");
    contacts(&gateway, "ws-us", &[&hanging.url()]);
    contacts(&gateway, "ws-eu", &[&good.url(), "owner@example.com"]);
    let (first, second) = (gateway.token("ws-us", &[]).0, gateway.token("ws-eu", &[]).0);
    leak(&gateway.file, &first);
    until("the hanging receiver to be called", || hanging.hooks().first().cloned());
    leak(&gateway.file, &second);
    until("the others to be told", || (good.hooks().len() == 1 && sink.mails().len() == 1).then_some(()));
    assert_eq!((hanging.hooks().len(), attempts(&gateway, "webhook", "failed")), (1, 0), "it still hangs");
    until("the attempt to end", || (attempts(&gateway, "webhook", "failed") == 1).then_some(()));
    let hooks = until("the next attempt", || Some(hanging.hooks()).filter(|hooks| hooks.len() == 2));
    assert_eq!(hooks[0].field("webhook-id"), hooks[1].field("webhook-id"));
    until("it to be counted", || (attempts(&gateway, "webhook", "delivered") == 2).then_some(()));
}

#[test]
fn a_kill_during_an_attempt_has_it_made_again_with_the_same_id() {
    let (receiver, sink) = (Receiver::start(&["", "200 OK"]), Sink::start(0));
    let (gateway, _upstreams) = gateway(&sink, "allow_private_addresses = true");
    contacts(&gateway, "ws-us", &[&receiver.url()]);
    let (id, _) = gateway.token("ws-us", &[]);
    leak(&gateway.file, &id);
    until("the first attempt", || receiver.hooks().first().cloned());
    let text = std::fs::read_to_string(&gateway.file).unwrap();
    gateway.process.signal("KILL");
    let folder = gateway.into_folder();
    let store = rusqlite::Connection::open(folder.path().join("tollgate.db")).unwrap();
    let left: (u32, Option<i64>) = store
        .query_row("SELECT attempts, settled_at_unix_millis FROM outbox", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .unwrap();
    assert_eq!(left, (1, None), "the message was taken, and nothing is known of its end");
    // A minute later.
    store.execute("UPDATE outbox SET due_at_unix_millis = due_at_unix_millis - 60000", []).unwrap();
    drop(store);
    let gateway = Gateway::start_in(folder, &text);
    let hooks = until("the second attempt", || Some(receiver.hooks()).filter(|hooks| hooks.len() == 2));
    assert_eq!(hooks[0].field("webhook-id"), hooks[1].field("webhook-id"));
    assert_eq!(hooks[0].json()["data"]["tokenId"], hooks[1].json()["data"]["tokenId"]);
    until("it to be counted", || (attempts(&gateway, "webhook", "delivered") == 1).then_some(()));
}

#[test]
fn what_nobody_takes_is_given_up_and_told_everywhere() {
    let (receiver, sink) = (Receiver::start(&["410 Gone"]), Sink::start(0));
    let (gateway, _upstreams) = gateway(&sink, "allow_private_addresses = true");
    contacts(&gateway, "ws-us", &[&receiver.url()]);
    let (id, _) = gateway.token("ws-us", &["--name", "ci"]);
    leak(&gateway.file, &id);
    let file = gateway.file.to_str().unwrap();
    let event: Value = until("the entry of the audit trail", || {
        let listed = run(&["audit", "-c", file, "list", "--kind", "token.leak_untold", "--format", "jsonl"]);
        serde_json::from_slice(&listed.stdout).ok()
    });
    assert_eq!((&event["resourceId"], &event["resourceName"]), (&Value::from(&*id), &"ci".into()));
    until("it to be counted", || {
        let status = gateway.operate("GET", "/status.json", "").json()["notifications"].clone();
        (status["given_up"] == 1 && status["waiting"] == 0).then_some(())
    });
    assert_eq!(attempts(&gateway, "webhook", "given_up"), 1);
    until("the log to say it", || {
        let log = gateway.process.stderr.text();
        (log.contains("owners could not be told; given up") && log.contains("410")).then_some(())
    });
    assert!(event["details"]["reason"].as_str().unwrap().contains("410"), "{event}");
    assert!(!event.to_string().contains("/hook"), "a receiver's address is a secret of its own");
    assert!(run(&["audit", "-c", file, "verify"]).status.success());
    assert_eq!(receiver.hooks().len(), 1);
}

#[test]
fn what_leaks_together_is_told_in_one_message_to_each_contact() {
    let (receiver, other, sink) =
        (Receiver::start(&["200 OK"]), Receiver::start(&["200 OK"]), Sink::start(0));
    let (github, folder) = (GitHub::new(), tempfile::tempdir().unwrap());
    let keys = folder.path().join("keys.json");
    std::fs::write(&keys, github.keys()).unwrap();
    let scanning = format!("[secret_scanning]\npath = \"/alerts\"\nkeys_file = {keys:?}");
    let (gateway, _upstreams) = gateway(&sink, &format!("allow_private_addresses = true\n{scanning}"));
    contacts(&gateway, "ws-us", &[&receiver.url(), "owner@example.com"]);
    contacts(&gateway, "ws-eu", &[&other.url()]);
    let tokens: Vec<(String, String)> = (0..3).map(|_| gateway.token("ws-us", &[])).collect();
    let foreign = gateway.token("ws-eu", &[]);
    let mut connection = gateway.connect();
    for (_, token) in &tokens[..2] {
        let fields = format!("Authorization: Bearer {token}\r\n");
        assert_eq!(connection.send(&raw("DELETE", "/sources/a", &fields, b"")).status, 201);
    }
    let all = tokens.iter().chain([&foreign]).map(|(_, token)| token.as_str());
    assert_eq!(connection.send(&github.post("/alerts", &alert(all))).status, 200);
    let hook = until("the webhook", || receiver.hooks().first().cloned()).json();
    assert_eq!((&hook["type"], &hook["data"]["leaks"]), (&"tokens.leaked".into(), &3.into()), "{hook}");
    let told: Vec<&str> = hook["data"]["tokens"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["tokenId"].as_str().unwrap())
        .collect();
    assert_eq!(told, tokens.iter().map(|(id, _)| id.as_str()).collect::<Vec<_>>());
    assert_eq!(hook["data"]["tokens"][0]["activity"]["writes"], 1);
    assert_eq!(hook["data"]["tokens"][2]["activity"]["writes"], 0);
    assert_eq!(hook["data"]["nextSteps"]["list"]["url"], "https://us.example/tollgate/v1/tokens");
    let mail = until("the mail", || sink.mails().first().cloned()).text();
    for piece in ["Subject: Leaked and revoked: 3 tokens of workspace ws-us", &tokens[2].0, "1 writes"] {
        assert!(mail.contains(piece), "{piece} is missing in {mail}");
    }
    let alone = until("the other workspace's webhook", || other.hooks().first().cloned()).json();
    assert_eq!((&alone["type"], &alone["data"]["tokenId"]), (&"token.leaked".into(), &foreign.0.into()));
}

/// A gateway whose mails go to a sink that asks for a login.
fn mailing(
    sink: &Sink,
    encryption: &str,
    password: &str,
    ca_file: &Path,
) -> (Gateway, [Upstream; 2], tempfile::TempDir) {
    let upstreams = ["us", "eu"].map(|region| Upstream::start(Behaviour::status(201, region)));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    std::fs::write(&file, format!("{password}\n")).unwrap();
    let port = sink.port();
    let more = format!(
        "[notifications.smtp]\nhost = \"localhost\"\nport = {port}\nencryption = {encryption:?}\n\
         from = \"tollgate@example.com\"\nuser = \"gateway\"\npassword_file = \"{}\"\nca_file = \"{}\"\n",
        file.display(),
        ca_file.display(),
    );
    let gateway = Gateway::start(&config(&upstreams[0].url(), &upstreams[1].url(), &more));
    contacts(&gateway, "ws-us", &["owner@example.com"]);
    (gateway, upstreams, folder)
}

#[test]
fn mails_are_handed_over_encrypted_and_by_login() {
    for (encryption, word) in [(Encryption::Starttls, "starttls"), (Encryption::Tls, "tls")] {
        let sink = Sink::guarded(encryption, "right-canary");
        let (gateway, _upstreams, _folder) = mailing(&sink, word, "right-canary", &sink.ca_file());
        let (id, _) = gateway.token("ws-us", &[]);
        leak(&gateway.file, &id);
        let mail = until(word, || sink.mails().first().cloned());
        assert!(mail.is_encrypted && mail.text().contains(&id), "{word}");
        assert_eq!(mail.login, Some(("gateway".to_owned(), "right-canary".to_owned())), "{word}");
        assert!(!gateway.process.output().contains("canary"));
    }
}

#[test]
fn a_mail_goes_to_no_server_that_refuses_the_login_or_does_not_prove_its_name() {
    let sink = Sink::guarded(Encryption::Starttls, "right-canary");
    let stranger = Sink::guarded(Encryption::Starttls, "right-canary");
    let plain = Sink::start(0);
    for (sink, password, ca_file, why) in [
        (&sink, "wrong-canary", sink.ca_file(), "535"),
        (&sink, "right-canary", stranger.ca_file(), "ertificate"),
        (&plain, "right-canary", sink.ca_file(), "STARTTLS"),
    ] {
        let (gateway, _upstreams, _folder) = mailing(sink, "starttls", password, &ca_file);
        let (id, _) = gateway.token("ws-us", &[]);
        leak(&gateway.file, &id);
        let log = until("the refusal", || {
            Some(gateway.process.stderr.text()).filter(|log| log.contains("owners were not told yet"))
        });
        assert!(log.to_lowercase().contains(&why.to_lowercase()), "{why}: {log}");
        assert!(!log.contains("canary"), "{log}");
        until("the attempt to be counted", || (attempts(&gateway, "email", "failed") >= 1).then_some(()));
    }
    assert!(sink.mails().is_empty() && plain.mails().is_empty());
}
