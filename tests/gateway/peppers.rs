//! Peppers rotate on two gateways of one store, under load, and no token is refused.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::fleet::server::Server;
use crate::support::{Behaviour, Gateway, PATIENCE, Upstream, config, request, run, run_json, until};

/// What the clients know: where a gateway is at the moment, and the tokens.
#[derive(Default)]
struct Load {
    addresses: [Mutex<Option<SocketAddr>>; 2],
    tokens: Mutex<Vec<String>>,
    served: AtomicU64,
    refused: Mutex<Vec<String>>,
    is_over: AtomicBool,
}

impl Load {
    /// Uses every token at one gateway over and over. Whoever finds nobody there comes back.
    fn run(&self, at: usize) {
        while !self.is_over.load(Ordering::SeqCst) {
            let tokens = self.tokens.lock().unwrap().clone();
            for token in tokens {
                // Gently: a hundred a second is a token's limit.
                thread::sleep(Duration::from_millis(10));
                let address = *self.addresses[at].lock().unwrap();
                match address.map(|address| status(address, &token)) {
                    Some(Ok(200)) => drop(self.served.fetch_add(1, Ordering::SeqCst)),
                    // A gateway that ends says so, and asks to come back.
                    Some(Ok(503) | Err(_)) | None => thread::sleep(Duration::from_millis(5)),
                    Some(Ok(status)) => self.refused.lock().unwrap().push(format!("{status} at {at}")),
                }
            }
        }
    }

    /// Waits until every gateway has served the tokens a few times more.
    fn go_on(&self) {
        let from = self.served.load(Ordering::SeqCst);
        until("the load to go on", || (self.served.load(Ordering::SeqCst) > from + 150).then_some(()));
        assert_eq!(*self.refused.lock().unwrap(), Vec::<String>::new());
    }
}

fn status(address: SocketAddr, token: &str) -> std::io::Result<u16> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(&request("GET", "/sources", token, "Connection: close\r\n"))?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    status.ok_or_else(|| std::io::ErrorKind::UnexpectedEof.into())
}

struct Fleet {
    gateways: [Option<Gateway>; 2],
    load: Arc<Load>,
}

impl Fleet {
    fn file(&self, at: usize) -> &Path {
        &self.gateways[at].as_ref().unwrap().file
    }

    fn pepper_file(&self, at: usize) -> std::path::PathBuf {
        self.file(at).with_file_name("tollgate.pepper")
    }

    fn peppers(&self, words: &[&str]) -> Vec<Value> {
        let file = self.file(0).to_str().unwrap();
        let all = run_json(&[&["token", "--config", file, "--json", "peppers"][..], words].concat());
        all.as_array().unwrap().clone()
    }

    fn left_under(&self, version: u64) -> u64 {
        let all = self.peppers(&[]);
        let found = all.iter().find(|pepper| pepper["version"] == version).unwrap();
        found["working_tokens"].as_u64().unwrap()
    }

    /// A token made by one gateway's command that both gateways know.
    fn make(&self, at: usize) -> String {
        let token = self.gateways[at].as_ref().unwrap().token("ws-us", &[]).1;
        for gateway in self.gateways.iter().flatten() {
            let is_known = || status(gateway.address, &token).is_ok_and(|status| status == 200);
            until("every gateway to know the token", || is_known().then_some(()));
        }
        token
    }

    /// Ends a gateway as an upgrade does, and starts it again.
    fn restart(&mut self, at: usize) {
        let mut gateway = self.gateways[at].take().unwrap();
        *self.load.addresses[at].lock().unwrap() = None;
        gateway.process.signal("TERM");
        gateway.process.wait();
        let gateway = Gateway::serve_in(gateway.into_folder());
        *self.load.addresses[at].lock().unwrap() = Some(gateway.address);
        self.gateways[at] = Some(gateway);
    }
}

#[test]
fn a_fleet_on_sqlite_rotates_its_pepper_under_load_and_refuses_no_token() {
    rotates("tollgate.db", |first| first.with_file_name("tollgate.db").to_str().unwrap().to_owned());
}

#[test]
fn a_fleet_on_postgresql_rotates_its_pepper_under_load_and_refuses_no_token() {
    let server = Server::start();
    let url = server.database();
    rotates(&url, |_| url.clone());
}

/// Two gateways on one store, which the second finds by the first one's configuration.
fn rotates(store: &str, second_store: impl FnOnce(&Path) -> String) {
    let upstreams = ["us", "eu"].map(|region| Upstream::start(Behaviour::status(200, region)));
    let text = |store: &str| {
        config(&upstreams[0].url(), &upstreams[1].url(), &format!("[tokens]\nstore = {store:?}\n"))
    };
    let first = Gateway::start(&text(store));
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("tollgate.toml"), text(&second_store(&first.file))).unwrap();
    fs::copy(first.file.with_file_name("tollgate.pepper"), folder.path().join("tollgate.pepper")).unwrap();
    let second = Gateway::serve_in(folder);
    let load = Arc::new(Load::default());
    for (place, gateway) in load.addresses.iter().zip([&first, &second]) {
        *place.lock().unwrap() = Some(gateway.address);
    }
    let mut fleet = Fleet { gateways: [Some(first), Some(second)], load: Arc::clone(&load) };
    let tokens: Vec<String> = (0..6).map(|at| fleet.make(at % 2)).collect();
    *load.tokens.lock().unwrap() = tokens;
    let clients: Vec<_> = [0, 1, 0, 1]
        .map(|at| {
            let load = Arc::clone(&load);
            thread::spawn(move || load.run(at))
        })
        .into();
    load.go_on();

    // Every gateway learns the new pepper before anything is written under it.
    fleet.peppers(&["add"]);
    fs::copy(fleet.pepper_file(0), fleet.pepper_file(1)).unwrap();
    for at in [0, 1] {
        fleet.restart(at);
    }
    load.go_on();
    assert_eq!((fleet.left_under(1), fleet.left_under(2)), (6, 0), "a new pepper is used at once");
    let file = fleet.file(0).to_str().unwrap().to_owned();
    let needed = run(&["token", "--config", &file, "peppers", "retire", "2", "--force"]);
    assert!(needed.status.success(), "one that nobody uses can be taken back");
    fleet.peppers(&["add"]);
    fs::copy(fleet.pepper_file(0), fleet.pepper_file(1)).unwrap();
    for at in [0, 1] {
        fleet.restart(at);
    }

    // One after the other writes under it; in between, both see each other's tokens.
    fleet.peppers(&["use", "3"]);
    fleet.restart(0);
    let made = fleet.make(0);
    load.tokens.lock().unwrap().push(made);
    load.go_on();
    fs::copy(fleet.pepper_file(0), fleet.pepper_file(1)).unwrap();
    fleet.restart(1);
    until("every token that is seen to move", || (fleet.left_under(1) == 0).then_some(()));
    assert_eq!(fleet.left_under(3), 7);
    load.go_on();

    // The old one is refused its retirement while operators have it.
    let refused = run(&["token", "--config", &file, "peppers", "retire", "1"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("--force"), "{said}");
    let operators = run_json(&["operator", "--config", &file, "list", "--json"]);
    for operator in operators.as_array().unwrap() {
        let name = operator["name"].as_str().unwrap();
        run_json(&["operator", "--config", &file, "revoke", name, "--json"]);
    }
    fleet.peppers(&["retire", "1"]);
    fs::copy(fleet.pepper_file(0), fleet.pepper_file(1)).unwrap();
    for at in [0, 1] {
        fleet.restart(at);
    }
    load.go_on();
    load.is_over.store(true, Ordering::SeqCst);
    for client in clients {
        client.join().unwrap();
    }
    assert!(!fs::read_to_string(fleet.pepper_file(0)).unwrap().contains("\n1:"));
    let verified = run(&["audit", "--config", &file, "verify"]);
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stderr));
}

#[test]
fn a_gateway_without_a_pepper_that_tokens_need_does_not_start() {
    let upstreams = ["us", "eu"].map(|region| Upstream::start(Behaviour::status(200, region)));
    let gateway = Gateway::start(&config(&upstreams[0].url(), &upstreams[1].url(), ""));
    gateway.token("ws-us", &[]);
    let name = gateway.file.to_str().unwrap().to_owned();
    let pepper = gateway.file.with_file_name("tollgate.pepper");
    run_json(&["token", "--config", &name, "--json", "peppers", "add"]);
    run_json(&["token", "--config", &name, "--json", "peppers", "use", "2"]);
    let refused = run(&["token", "--config", &name, "peppers", "use", "9"]);
    assert!(!refused.status.success());
    let folder = gateway.into_folder();
    let text = fs::read_to_string(&pepper).unwrap();
    let without: Vec<&str> = text.lines().filter(|line| !line.starts_with("1:")).collect();
    fs::write(&pepper, without.join("\n")).unwrap();
    let started = run(&["serve", "--config", &name]);
    let said = String::from_utf8_lossy(&started.stderr).into_owned();
    assert!(!started.status.success() && said.contains("lacks version 1"), "{said}");
    assert!(said.contains("peppers retire 1 --force"), "{said}");
    drop(folder);
}
