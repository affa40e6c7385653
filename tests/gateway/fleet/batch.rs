//! GitHub's largest alert, on PostgreSQL: tokens of several workspaces, a third of them with a sibling that the alert
//! does not name.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use tollgate::tokens::{Format, SystemRandom};

use super::alone;
use super::leak::PATH;
use super::server::Server;
use crate::support::{GitHub, Hook, Receiver, alert, run, until};

const GITHUBS_PATIENCE: Duration = Duration::from_secs(30);
const WORKSPACES: [&str; 4] = ["ws-a", "ws-b", "ws-c", "ws-d"];

#[test]
fn ten_thousand_tokens_of_families_are_revoked_within_githubs_time() {
    const NAMED: usize = 9_000;
    const SIBLINGS: usize = 3_000;
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
    let tokens: Vec<String> = (0..NAMED + SIBLINGS + 1_000)
        .map(|_| format.mint('u', &SystemRandom).unwrap().into_exposed())
        .collect();
    let (named, rest) = tokens.split_at(NAMED);
    let (siblings, nobodys) = rest.split_at(SIBLINGS);
    for (number, workspace) in WORKSPACES.iter().enumerate() {
        let body = format!(r#"{{"id":"{workspace}","region":"us","plan":"business"}}"#);
        assert_eq!(gateway.operate("POST", "/v1/workspaces", &body).status, 201);
        let contact = format!(r#"{{"add_contacts":["{}"]}}"#, receiver.url());
        assert_eq!(gateway.operate("PATCH", &format!("/v1/workspaces/{workspace}"), &contact).status, 200);
        let list = folder.path().join("list");
        let mut text = String::new();
        for token in named.iter().chain(siblings).skip(number).step_by(WORKSPACES.len()) {
            writeln!(text, "{token}").unwrap();
        }
        std::fs::write(&list, text).unwrap();
        let (config, list) = (gateway.file.to_str().unwrap(), list.to_str().unwrap());
        let imported = run(&["token", "-c", config, "import", list, "--workspace", workspace]);
        assert!(imported.status.success(), "{}", String::from_utf8_lossy(&imported.stderr));
    }
    // As if each of the last ones had been rotated to by one of the first. Nobody follows the table meanwhile.
    gateway.stop();
    let join = format!(
        "WITH one AS (SELECT id, workspace, row_number() OVER (PARTITION BY workspace ORDER BY number) AS n
                      FROM tollgate.token)
         UPDATE tollgate.token SET family = first.id FROM one first, one last
         WHERE tollgate.token.id = last.id AND first.workspace = last.workspace AND last.n = first.n + {}",
        NAMED / WORKSPACES.len()
    );
    server.sql("test0", &join);
    gateway.go();
    for token in [&siblings[0], &siblings[SIBLINGS - 1], &named[NAMED - 1]] {
        assert_eq!(gateway.ask(token, "/sources").status, 200);
    }

    let alerted: Vec<&str> = named.iter().chain(nobodys).map(String::as_str).collect();
    assert_eq!(alerted.len(), 10_000);
    let bytes = github.post(PATH, &alert(alerted));
    let mut client = gateway.connect();
    client.tcp().set_read_timeout(Some(GITHUBS_PATIENCE)).unwrap();
    let posted = Instant::now();
    let answer = client.send(&bytes);
    println!("10,000 tokens were answered within {:?}", posted.elapsed());
    let answer = answer.json();
    let labels = answer.as_array().unwrap();
    let of = |label: &str| labels.iter().filter(|one| one["label"] == label).count();
    assert_eq!((of("true_positive"), of("false_positive")), (NAMED, 1_000));
    for token in named.iter().step_by(500).chain(siblings.iter().step_by(250)) {
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
            (told == (NAMED / WORKSPACES.len()) as u64).then_some(())
        });
    }
    let written = "SELECT count(*) FROM tollgate.log WHERE kind = 'token.revoked'";
    assert_eq!(server.sql("test0", written), (NAMED + SIBLINGS).to_string());
}
