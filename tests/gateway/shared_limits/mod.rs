//! Gateways that share limits in one Redis: what they admit together, whatever becomes of it and of them.
//!
//! Every load is far over the limit, and what was admitted is held to the bound in every window.

mod apart;
mod calendar;
mod calm;
mod changes;
mod cold;
mod default_timeout;
mod explained;
mod failures;
mod faults;
mod fleet;
mod hot;
mod killed;
mod load;
mod many_keys;
mod month;
mod operators;
#[path = "../../redis/relay.rs"]
mod relay;
mod reloads;
mod rolling;
#[path = "../../redis/server.rs"]
mod server;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::thread;

use tempfile::TempDir;

use crate::fleet::server::Server as Postgres;
use crate::support::{Behaviour, Gateway, Upstream, config, make_workspaces, run_json, until};
use load::Limit;
use relay::Relay;
use server::Server as Redis;

/// How Redis is waited for on a machine that may be busy.
const PATIENT: &str =
    "timeout_milliseconds = 1000\npatience_milliseconds = 1000\nconnect_timeout_milliseconds = 5000\n";

/// Replicas on one PostgreSQL and one Redis; each has a network of its own to Redis.
struct Fleet {
    replicas: Vec<Gateway>,
    relays: Vec<Relay>,
    redis: Redis,
    _postgres: Postgres,
    url: String,
    upstream: Upstream,
    shared: TempDir,
    /// What its policy says, beside its name and what it counts by.
    quota: String,
    /// What `[redis]` has besides.
    redis_settings: String,
}

impl Fleet {
    /// So many replicas with one limit for each token. Redis is waited for patiently, since the machine may be busy: so what
    /// is admitted is exact, however late it answers.
    fn start(replicas: usize, limit: Limit) -> Self {
        Self::with(replicas, limit, PATIENT)
    }

    fn with(replicas: usize, Limit { rate, burst }: Limit, redis_settings: &str) -> Self {
        Self::of_quota(replicas, &format!("quota = \"{rate} per second\"\nburst = {burst}\n"), redis_settings)
    }

    fn of_quota(replicas: usize, quota: &str, redis_settings: &str) -> Self {
        Self::on(Redis::start(), replicas, quota, redis_settings)
    }

    fn on(redis: Redis, replicas: usize, quota: &str, redis_settings: &str) -> Self {
        let (postgres, shared) = (Postgres::start(), tempfile::tempdir().unwrap());
        let url = postgres.database();
        let mut fleet = Self {
            replicas: Vec::new(),
            relays: Vec::new(),
            redis,
            _postgres: postgres,
            url,
            upstream: Upstream::start(Behaviour::status(200, "us")),
            shared,
            quota: quota.to_owned(),
            redis_settings: redis_settings.to_owned(),
        };
        std::fs::write(fleet.operators(), fleet.config(1, "")).unwrap();
        make_workspaces(&fleet.operators());
        fleet.add(replicas);
        fleet
    }

    /// Starts more replicas.
    fn add(&mut self, replicas: usize) {
        let started: Vec<(Relay, Gateway)> = thread::scope(|scope| {
            let fleet = &*self;
            let one = move || {
                let relay = Relay::start(fleet.redis.port());
                let folder = tempfile::tempdir().unwrap();
                std::fs::write(folder.path().join("tollgate.toml"), fleet.config(relay.port(), "")).unwrap();
                (relay, Gateway::serve_in(folder))
            };
            let all: Vec<_> = (0..replicas).map(|_| scope.spawn(one)).collect();
            all.into_iter().map(|one| one.join().unwrap()).collect()
        });
        let (relays, gateways): (Vec<_>, Vec<_>) = started.into_iter().unzip();
        self.relays.extend(relays);
        self.replicas.extend(gateways);
        let all = self.replicas.len();
        for replica in &self.replicas {
            until("every replica to know of all", || {
                (replica.metrics().count("tollgate_redis_replicas", &[("region", "us")]) == all as u64)
                    .then_some(())
            });
        }
    }

    /// A replica's configuration; `listen` is more of that section.
    fn config(&self, redis_port: u16, listen: &str) -> String {
        self.config_of(&self.quota, redis_port, listen)
    }

    fn config_of(&self, quota: &str, redis_port: u16, listen: &str) -> String {
        let pepper = self.shared.path().join("tollgate.pepper");
        let pepper = pepper.display();
        let (url, redis) = (&self.url, &self.redis_settings);
        let more = format!(
            "[endpoints]\nunmatched = \"forward\"\n[tokens]\nstore = {url:?}\npepper_file = \"{pepper}\"\n\
             poll_millis = 500\n[journal]\nenabled = false\n[redis]\n{redis}\n\
             [[limits.policies]]\nname = \"shared\"\nper = [\"token\"]\n{quota}"
        );
        let text = config(&self.upstream.url(), &self.upstream.url(), &more);
        let server = format!("redis = \"redis://127.0.0.1:{redis_port}\"\n[regions.eu]");
        text.replacen("[regions.eu]", &server, 1).replacen(
            "[listen]\n",
            &format!("[listen]\nworkers = 1\n{listen}"),
            1,
        )
    }

    /// Where the replicas listen.
    fn addresses(&self) -> Vec<SocketAddr> {
        self.replicas.iter().map(|replica| replica.address).collect()
    }

    /// Writes what a replica's policy says from now on, and has it reload; ends when it has.
    fn reload_one(&self, replica: usize, quota: &str) {
        let (gateway, relay) = (&self.replicas[replica], &self.relays[replica]);
        let text = self.config_of(quota, relay.port(), "");
        std::fs::write(&gateway.file, text).unwrap();
        let before = gateway.metrics().count("tollgate_config_generation", &[]);
        gateway.process.signal("HUP");
        until("the reload", || {
            (gateway.metrics().count("tollgate_config_generation", &[]) > before).then_some(())
        });
    }

    /// As [`Fleet::reload_one`], all replicas one after the other.
    fn reload(&mut self, quota: &str) {
        (0..self.replicas.len()).for_each(|replica| self.reload_one(replica, quota));
        quota.clone_into(&mut self.quota);
    }

    /// Ends every replica as an operator would, and starts another on its folder.
    fn restart_all(&mut self) {
        for _ in 0..self.replicas.len() {
            let mut old = self.replicas.remove(0);
            old.stop();
            self.replicas.push(Gateway::serve_in(old.into_folder()));
        }
    }

    fn operators(&self) -> PathBuf {
        self.shared.path().join("tollgate.toml")
    }

    /// A token that every replica knows, and none has counted yet.
    fn token(&self) -> String {
        let file = self.operators();
        let made = run_json(&[
            "token",
            "--config",
            file.to_str().unwrap(),
            "create",
            "--json",
            "--workspace",
            "ws-us",
        ]);
        let token = made["token"].as_str().unwrap().to_owned();
        for replica in &self.replicas {
            until("the token to be known", || {
                (replica.ask(&token, "/tollgate/v1/whoami").status == 200).then_some(())
            });
        }
        token
    }

    /// Questions that Redis was asked of limits, by its own count. Each replica's sign of life is two more: another script, and
    /// a question that proves that Redis grants.
    fn questions(&self) -> u64 {
        let counts = self.redis.ask("INFO commandstats");
        let calls = |command: &str| {
            let line = counts.lines().find_map(|line| line.strip_prefix(command));
            line.and_then(|line| line.split(',').next()?.parse::<u64>().ok()).unwrap_or(0)
        };
        calls("cmdstat_evalsha:calls=").saturating_sub(2 * calls("cmdstat_zadd:calls="))
    }

    /// Waits until every replica's breaker stands so.
    fn until_breakers(&self, state: u64) {
        for replica in &self.replicas {
            until("the breakers", || {
                (replica.metrics().count("tollgate_redis_breaker", &[("region", "us")]) == state)
                    .then_some(())
            });
        }
    }
}

/// Whether the long forms are asked for.
fn is_long() -> bool {
    std::env::var("TOLLGATE_LONG").is_ok_and(|value| value == "1")
}
