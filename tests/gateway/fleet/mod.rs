//! Gateways on one PostgreSQL database: three of them, or one alone.

#[path = "../../postgres/proxy.rs"]
mod proxy;
#[path = "../../postgres/server.rs"]
pub(crate) mod server;

mod away;
mod batch;
mod journal;
mod leak;
mod lost;
mod revocation;
mod strangers;
mod unreached;
mod writers;

use std::path::Path;
use std::process::Output;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{Answer, Behaviour, Gateway, Upstream, config, make_workspaces, run, run_json, until};
use proxy::Proxy;
use server::Server;

const REPLICAS: usize = 3;

/// The replicas, and an operator whose commands speak with the database themselves, over TLS.
pub(crate) struct Fleet {
    pub(crate) replicas: Vec<Gateway>,
    /// What stands between the replicas and the database.
    proxy: Proxy,
    pub(crate) server: Server,
    upstream: Upstream,
    shared: TempDir,
    /// What the configurations have besides.
    more: String,
}

impl Fleet {
    fn start() -> Self {
        Self::with("")
    }

    /// As [`Fleet::start`] with more in every configuration.
    pub(crate) fn with(more: &str) -> Self {
        let (server, shared) = (Server::start(), tempfile::tempdir().unwrap());
        let (proxy, upstream) = (Proxy::start(server.port()), Upstream::start(Behaviour::status(200, "us")));
        let url = server.database();
        let mut fleet = Self { replicas: Vec::new(), proxy, server, upstream, shared, more: more.to_owned() };
        let encrypted = url.replace("127.0.0.1", "localhost") + "?sslmode=verify-full&sslrootcert=";
        let encrypted = encrypted + fleet.server.roots_file().to_str().unwrap();
        write(fleet.shared.path(), &fleet.config(&encrypted));
        make_workspaces(&fleet.operators());
        let from = format!(":{}/", fleet.server.port());
        let url = url.replace(&from, &format!(":{}/", fleet.proxy.port()));
        for _ in 0..REPLICAS {
            let folder = tempfile::tempdir().unwrap();
            write(folder.path(), &fleet.config(&url));
            fleet.replicas.push(Gateway::serve_in(folder));
        }
        fleet
    }

    /// A replica's configuration: all of them have the same pepper.
    fn config(&self, url: &str) -> String {
        let pepper = self.shared.path().join("tollgate.pepper");
        let pepper = pepper.display();
        let tokens = format!("[tokens]\nstore = {url:?}\npepper_file = \"{pepper}\"\npoll_millis = 500\n");
        config(&self.upstream.url(), &self.upstream.url(), &(tokens + &self.more))
    }

    pub(crate) fn operators(&self) -> std::path::PathBuf {
        self.shared.path().join("tollgate.toml")
    }

    /// A command of the operator.
    fn command(&self, words: &[&str]) -> Output {
        let (room, rest) = words.split_first().unwrap();
        run(&[&[room, "--config", self.operators().to_str().unwrap()], rest].concat())
    }

    /// A token that every replica knows: its id and itself.
    pub(crate) fn token(&self) -> (String, String) {
        self.token_with(&[])
    }

    /// As [`Fleet::token`] with more words.
    fn token_with(&self, words: &[&str]) -> (String, String) {
        let file = self.operators();
        let create =
            ["token", "--config", file.to_str().unwrap(), "create", "--json", "--workspace", "ws-us"];
        let made = run_json(&[&create, words].concat());
        let text = |name: &str| made[name].as_str().unwrap().to_owned();
        let (id, token) = (text("id"), text("token"));
        self.until_all("the token to be known", &token, |answer| answer.status == 200);
        (id, token)
    }

    fn until_all(&self, what: &str, token: &str, is_so: impl Fn(&Answer) -> bool) {
        for replica in &self.replicas {
            until(what, || is_so(&replica.ask(token, "/sources")).then_some(()));
        }
    }

    /// What a replica tells of its registry.
    fn registry(replica: &Gateway) -> Value {
        replica.operate("GET", "/status.json", "").json()["registry"].clone()
    }
}

/// One gateway on a new database of a server, with its upstream.
fn alone(server: &Server, more: &str) -> (Gateway, Upstream) {
    let upstream = Upstream::start(Behaviour::status(200, "us"));
    let tokens = format!("[tokens]\nstore = {:?}\n", server.database());
    let gateway = Gateway::start(&config(&upstream.url(), &upstream.url(), &(tokens + more)));
    (gateway, upstream)
}

fn write(folder: &Path, config: &str) {
    std::fs::write(folder.join("tollgate.toml"), config).unwrap();
}
