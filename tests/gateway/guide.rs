//! The printed guide does what it says, as it stands.

use std::process::Command;

use crate::support::{Process, tollgate, until};

/// Runs lines of the guide in a shell that has read the environment file.
fn shell(source: &str, line: &str) -> String {
    let output = Command::new("bash").args(["-c", &format!("{source}\n{line}")]).output().unwrap();
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn every_command_of_the_guide_runs_as_it_stands() {
    if Command::new("curl").arg("--version").output().is_err() {
        println!("skipped: curl is missing");
        return;
    }
    let demo = Process::start(tollgate(&["demo", "--port", "0", "--tls-port", "0", "--admin-port", "0"]));
    let guide = until("the guide", || {
        let text = demo.stdout.text();
        text.contains("console.error").then_some(text)
    });
    let commands: Vec<&str> = guide
        .lines()
        .filter_map(|line| line.strip_prefix("    "))
        .filter(|line| ["source ", "curl ", "for i "].iter().any(|start| line.starts_with(start)))
        .collect();
    let [source, us, eu, revoked, tiny, preflight, whoami, limits, owner, tokens] = commands[..] else {
        panic!("other commands: {commands:#?}")
    };
    let said = shell(source, us);
    assert!(said.starts_with("HTTP/1.1 200") && said.contains("x-sample-region: us"), "{said}");
    assert!(said.contains("\"sources\""), "{said}");
    let said = shell(source, eu);
    assert!(said.starts_with("HTTP/2 200") && said.contains("x-sample-region: eu"), "{said}");
    let said = shell(source, revoked);
    assert!(said.starts_with("HTTP/1.1 401") && said.contains("token_revoked"), "{said}");
    assert_eq!(shell(source, tiny), "200\n200\n200\n200\n200\n429\n");
    let said = shell(source, preflight);
    assert!(said.starts_with("HTTP/1.1 403") && said.contains("browser_preflight"), "{said}");
    let said = shell(source, whoami);
    assert!(said.contains("\"workspaceId\":\"demo-eu\"") && said.contains("\"region\":\"eu\""), "{said}");
    let said = shell(source, limits);
    assert!(said.contains("\"policy\":\"default\""), "{said}");
    let said = shell(source, owner);
    assert!(said.contains("\"token\":\"sgp_u") && said.contains("\"name\":\"ci\""), "{said}");
    let said = shell(source, tokens);
    assert!(said.contains("\"workspace\":\"demo-us\"") && said.contains("\"name\":\"demo us\""), "{said}");
    let page = guide.lines().find_map(|line| line.trim().strip_prefix("status page")).unwrap().trim();
    let said = shell(source, &format!("curl -s -o /dev/null -w '%{{http_code}}' {page}"));
    assert_eq!(said, "200");
}
