//! Who may listen where.

use crate::support::{Behaviour, Gateway, Process, Upstream, config, request, tollgate};

fn on(address: &str, upstream: &Upstream, more: &str) -> String {
    let text = config(&upstream.url(), &upstream.url(), "");
    text.replacen("plain = [\"127.0.0.1:0\"]", &format!("plain = [{address:?}]\n{more}"), 1)
}

/// Starts a second gateway on the configuration that `text` is.
fn second(folder: &std::path::Path, text: &str) -> Process {
    let file = folder.join("second.toml");
    std::fs::write(&file, text).unwrap();
    Process::start(tollgate(&["serve", "--config", file.to_str().unwrap()]))
}

#[test]
fn a_second_gateway_on_the_same_address_says_so_and_ends() {
    let upstream = Upstream::start(Behaviour::status(200, "us"));
    let first = Gateway::start(&on("127.0.0.1:0", &upstream, "workers = 2"));
    let address = first.address.to_string();
    let mut second = second(first.file.parent().unwrap(), &on(&address, &upstream, "workers = 2"));
    assert_eq!(second.wait().code(), Some(1));
    let said = second.stderr.text();
    assert!(said.contains(&address) && said.contains("share_port = true"), "{said}");
    let (_, token) = first.token("ws-us", &[]);
    assert_eq!(first.ask(&token, "/sources").status, 200);
}

#[test]
fn two_gateways_that_share_their_address_hand_it_over_without_a_gap() {
    let upstream = Upstream::start(Behaviour::status(200, "us"));
    let mut first = Gateway::start(&on("127.0.0.1:0", &upstream, "workers = 2\nshare_port = true"));
    let (_, token) = first.token("ws-us", &[]);
    let address = first.address.to_string();
    let text = on(&address, &upstream, "workers = 2\nshare_port = true");
    let second = second(first.file.parent().unwrap(), &text);
    crate::support::until("the second to listen", || {
        second.stderr.text().contains("listening (plain text)").then_some(())
    });
    first.process.signal("TERM");
    let bytes = request("GET", "/sources", &token, "");
    let mut cut = 0;
    while first.process.ended().is_none() {
        let mut client = first.connect();
        match client.try_write(&bytes).and_then(|()| client.try_read(false)) {
            Ok(answer) => assert_eq!(answer.status, 200),
            Err(_) => cut += 1,
        }
    }
    assert!(cut <= 1, "only what the system had queued while the old socket was closed: {cut}");
    assert_eq!(first.ask(&token, "/sources").status, 200, "the second serves alone");
}
