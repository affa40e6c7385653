//! Strangers by address and by site, on a real connection each.

use std::net::SocketAddr;

use crate::support::{Answer, Behaviour, Client, Gateway, Upstream, config, raw, run, until};

const POLICIES: &str = r#"
[[endpoints.extra]]
operation = "openStatus"
method = "GET"
path = "/open/status"
public = true

[[limits.policies]]
name = "address"
per = ["address"]
quota = "3 per hour"

[[limits.policies]]
name = "site"
per = ["site"]
quota = "8 per hour"
"#;

fn ask(balanced: SocketAddr, address: &str) -> Answer {
    let (family, to) = if address.contains(':') { ("TCP6", "2001:db8::9") } else { ("TCP4", "198.51.100.9") };
    let header = format!("PROXY {family} {address} {to} 50000 443\r\n").into_bytes();
    Client::connect(balanced).send(&[header, raw("GET", "/open/status", "", b"")].concat())
}

#[test]
fn whoever_has_a_48_has_no_more_than_its_site_has() {
    let upstream = Upstream::start(Behaviour::status(200, "us"));
    let listeners = "plain = [\"127.0.0.1:0\", { address = \"127.0.0.1:0\", proxy_protocol = \"require\", \
                     proxy_protocol_from = [\"127.0.0.1\"] }]\n";
    let text = config(&upstream.url(), &upstream.url(), POLICIES);
    let gateway = Gateway::start(&text.replacen("plain = [\"127.0.0.1:0\"]\n", listeners, 1));
    let balanced = until("the second listener", || gateway.process.listening("listening (plain text)", 1));

    let mut refused_by = Vec::new();
    let mut served = 0;
    for block in 0..12 {
        for host in 1..=4 {
            let answer = ask(balanced, &format!("2001:db8:7:{block:x}::{host}"));
            served += usize::from(answer.status == 200);
            if answer.status != 200 {
                assert_eq!(answer.said(), (429, "rate_limited".to_owned()));
                refused_by.push(answer.json()["errors"][0]["data"]["policy"].as_str().unwrap().to_owned());
            }
        }
    }
    assert_eq!(served, 8, "of 36 that its addresses would have");
    assert_eq!(&refused_by[..2], ["address", "address"]);
    assert!(refused_by.len() == 40 && refused_by[6..].iter().all(|name| name == "site"), "{refused_by:?}");
    for (address, left) in [("2001:db8:8::1", 3), ("192.0.2.1", 3)] {
        let served = (0..5).filter(|_| ask(balanced, address).status == 200).count();
        assert_eq!(served, left, "{address} is another site");
    }

    let file = gateway.file.to_str().unwrap();
    let explained =
        run(&["explain", "--config", file, "GET", "/open/status", "--address", "2001:db8:7:1::1"]);
    let said = String::from_utf8_lossy(&explained.stdout).into_owned();
    assert!(said.contains("site by site=2001:db8:7::/48: 8 per hour"), "{said}");
}
