//! GitHub's largest alert, on PostgreSQL: tokens of several workspaces, a third of them with a sibling that the alert
//! does not name.
//!
//! The short form has 2,000 tokens; with `TOLLGATE_LONG=1` it is the 10,000 that GitHub sends at most.

use std::time::{Duration, Instant};

use tollgate::tokens::{Format, SystemRandom};

use super::alone;
use super::leak::PATH;
use super::server::Server;
use crate::support::{Gateway, GitHub, Hook, Receiver, alert, run, until};

const GITHUBS_PATIENCE: Duration = Duration::from_secs(30);
const WORKSPACES: [&str; 4] = ["ws-a", "ws-b", "ws-c", "ws-d"];

/// Has a workspace take over tokens.
fn import<'t>(gateway: &Gateway, workspace: &str, tokens: impl Iterator<Item = &'t String>) {
    let list = gateway.folder.path().join("list");
    let text = tokens.fold(String::new(), |text, token| text + token + "\n");
    std::fs::write(&list, text).unwrap();
    let (config, list) = (gateway.file.to_str().unwrap(), list.to_str().unwrap());
    let imported = run(&["token", "-c", config, "import", list, "--workspace", workspace]);
    assert!(imported.status.success(), "{}", String::from_utf8_lossy(&imported.stderr));
}

/// As if each token of a workspace after the first so many had taken the place of one of those. No gateway follows the
/// table meanwhile.
fn join_families(server: &Server, first: usize) {
    let join = format!(
        "WITH one AS (SELECT id, workspace, row_number() OVER (PARTITION BY workspace ORDER BY number) AS n
                      FROM tollgate.token)
         UPDATE tollgate.token SET family = first.id FROM one first, one last
         WHERE tollgate.token.id = last.id AND first.workspace = last.workspace AND last.n = first.n + {first}"
    );
    server.sql("test0", &join);
}

#[test]
fn a_large_alert_of_families_is_answered_within_githubs_time() {
    let is_long = std::env::var("TOLLGATE_LONG").is_ok_and(|long| long == "1");
    let alerted = if is_long { 10_000 } else { 2_000 };
    let (named_count, siblings_count) = (alerted / 10 * 9, alerted / 10 * 3);
    let (server, github, folder) = (Server::start(), GitHub::new(), tempfile::tempdir().unwrap());
    let keys = folder.path().join("keys.json");
    std::fs::write(&keys, github.keys()).unwrap();
    let section = format!(
        "[secret_scanning]\npath = {PATH:?}\nkeys_file = \"{}\"\n[notifications]\nallow_private_addresses = true\n",
        keys.display()
    );
    let receiver = Receiver::start(&["204 No Content"]);
    let (mut gateway, _upstream) = alone(&server, &section);
    let format = Format::new("sgp_");
    let tokens: Vec<String> = (0..named_count + siblings_count + alerted / 10)
        .map(|_| format.mint('u', &SystemRandom).unwrap().into_exposed())
        .collect();
    let (named, rest) = tokens.split_at(named_count);
    let (siblings, nobodys) = rest.split_at(siblings_count);
    for (number, workspace) in WORKSPACES.iter().enumerate() {
        let body = format!(r#"{{"id":"{workspace}","region":"us","plan":"business"}}"#);
        assert_eq!(gateway.operate("POST", "/v1/workspaces", &body).status, 201);
        let contact = format!(r#"{{"add_contacts":["{}"]}}"#, receiver.url());
        assert_eq!(gateway.operate("PATCH", &format!("/v1/workspaces/{workspace}"), &contact).status, 200);
        import(&gateway, workspace, named.iter().chain(siblings).skip(number).step_by(WORKSPACES.len()));
    }
    gateway.stop();
    join_families(&server, named.len() / WORKSPACES.len());
    gateway.go();
    for token in [&siblings[0], &siblings[siblings.len() - 1], &named[named.len() - 1]] {
        assert_eq!(gateway.ask(token, "/sources").status, 200);
    }

    let bytes = github.post(PATH, &alert(named.iter().chain(nobodys).map(String::as_str)));
    let mut client = gateway.connect();
    client.tcp().set_read_timeout(Some(GITHUBS_PATIENCE)).unwrap();
    let posted = Instant::now();
    let answer = client.send(&bytes);
    println!("{alerted} tokens were answered within {:?}", posted.elapsed());
    let answer = answer.json();
    let labels = answer.as_array().unwrap();
    let of = |label: &str| labels.iter().filter(|one| one["label"] == label).count();
    assert_eq!((of("true_positive"), of("false_positive")), (named.len(), nobodys.len()));
    for token in named.iter().step_by(200).chain(siblings.iter().step_by(100)) {
        assert_eq!(gateway.ask(token, "/sources").said(), (401, "token_revoked".to_owned()));
    }
    assert_eq!(
        server.sql("test0", "SELECT count(*) FROM tollgate.token WHERE revoked_at IS NULL"),
        "0",
        "a sibling was left"
    );
    for workspace in WORKSPACES {
        let leaks = |hook: &Hook| {
            let data = hook.json()["data"].clone();
            if data["workspaceId"] == workspace { data["leaks"].as_u64().unwrap_or(1) } else { 0 }
        };
        until("the workspace to be told of each of its tokens", || {
            let told: u64 = receiver.hooks().iter().map(leaks).sum();
            (told == (named.len() / WORKSPACES.len()) as u64).then_some(())
        });
    }
    let written = "SELECT count(*) FROM tollgate.log WHERE kind = 'token.revoked'";
    assert_eq!(server.sql("test0", written), (named.len() + siblings.len()).to_string());
}
