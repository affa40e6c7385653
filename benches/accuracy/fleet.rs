//! Eight gateways with a registry each, all alike, one Redis, and for each gateway a network of its own to it.

use std::fmt::Write as _;
use std::path::Path;
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

use crate::asked::Monitor;
use crate::failures::Failures;
use crate::offered::{Load, Offered, offer};
use crate::relay::Relay;
use crate::server::Server as Redis;
use crate::support::{Behaviour, Gateway, Upstream, run, until};
use crate::{Limit, QUOTAS};

pub(crate) const REPLICAS: usize = 8;
/// Parts of a run; each has its own token for each limit.
const PARTS: usize = 4;

/// What gateways may admit without Redis in a part in which some were cut off: others may give it up too, or get no answer
/// once, as happens on a busy machine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Apart {
    /// One each time that a gateway gives it up, and one for each gateway that decided a request without an answer.
    pub(crate) tokens: u64,
    /// For how long they had given it up, summed up over all gateways.
    pub(crate) seconds: f64,
    /// The part of that in which not all of them had.
    pub(crate) alone_seconds: f64,
    /// Requests that were decided without an answer.
    pub(crate) undecided: u64,
}

pub(crate) struct Fleet {
    replicas: Vec<Gateway>,
    relays: Vec<Relay>,
    redis: Redis,
    quotas: Vec<&'static str>,
    _upstream: Upstream,
}

impl Fleet {
    pub(crate) fn start(quotas: &[&'static str]) -> Self {
        let (redis, upstream) = (Redis::start(), Upstream::start(Behaviour::status(200, "us")));
        let first = tempfile::tempdir().unwrap();
        write(&first, &configuration(quotas, &upstream, 1));
        import(first.path());
        let relays: Vec<Relay> = (0..REPLICAS).map(|_| Relay::start(redis.port())).collect();
        let one = |relay: &Relay| {
            let folder = tempfile::tempdir().unwrap();
            for entry in std::fs::read_dir(first.path()).unwrap().flatten() {
                std::fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
            }
            write(&folder, &configuration(quotas, &upstream, relay.port()));
            Gateway::serve_in(folder)
        };
        let replicas: Vec<Gateway> = relays.iter().map(one).collect();
        for replica in &replicas {
            until("every gateway to know of all", || {
                let known = replica.metrics().count("tollgate_redis_replicas", &[("region", "us")]);
                (known == REPLICAS as u64).then_some(())
            });
        }
        Self { replicas, relays, redis, quotas: quotas.to_vec(), _upstream: upstream }
    }

    /// Offers every limit its load at the same time, evenly to all gateways, and says what became of each. `change` is told
    /// when the middle half of the time begins, and when it ends.
    pub(crate) fn offer(
        &self,
        part: usize,
        time: Duration,
        per_second: impl Fn(Limit) -> f64,
        change: impl Fn(bool),
    ) -> Vec<Offered> {
        let addresses: Vec<_> = self.replicas.iter().map(|replica| replica.address).collect();
        let loads: Vec<Load> = (0..)
            .zip(&self.quotas)
            .map(|(place, quota)| Load {
                path: format!("/v1/limit{place}"),
                token: token(part, place),
                per_second: per_second(Limit::of(quota)),
            })
            .collect();
        let monitor = Monitor::start(self.redis.port());
        let mut offered = offer(&addresses, &loads, time, || {
            thread::sleep(time / 4);
            change(true);
            thread::sleep(time / 2);
            change(false);
        });
        let asked = monitor.stop(self.quotas.len());
        for (offered, asked) in offered.iter_mut().zip(asked) {
            offered.asked = asked;
        }
        offered
    }

    /// Of each gateway, once it has found Redis again.
    pub(crate) fn failures(&self) -> Vec<Failures> {
        let has_redis =
            |replica: &Gateway| replica.metrics().count("tollgate_redis_breaker", &[("region", "us")]) == 0;
        let of = |replica: &Gateway| {
            until("every gateway to find Redis again", || has_redis(replica).then_some(()));
            Failures::of(replica)
        };
        self.replicas.iter().map(of).collect()
    }

    /// What they may have admitted without Redis since.
    pub(crate) fn apart_since(&self, before: &[Failures], part: &str) -> Apart {
        let mut apart = Apart { tokens: 0, seconds: 0.0, alone_seconds: 0.0, undecided: 0 };
        let (mut together, mut unanswered) = (f64::INFINITY, 0);
        for (before, after) in before.iter().zip(self.failures()) {
            let away = after.away.saturating_sub(before.away).as_secs_f64();
            apart.tokens += after.given_up - before.given_up;
            apart.tokens += u64::from(after.undecided > before.undecided);
            unanswered += after.unanswered - before.unanswered;
            apart.undecided += after.undecided - before.undecided;
            apart.seconds += away;
            together = together.min(away);
        }
        apart.alone_seconds = apart.seconds - together * REPLICAS as f64;
        let Apart { tokens, seconds, undecided, .. } = apart;
        println!(
            "{part}, without Redis: {tokens} tokens, and shares for {seconds:.1} s; {undecided} requests without an answer, \
             {unanswered} questions"
        );
        apart
    }

    /// Cuts so many gateways off from Redis, or lets them reach it again.
    pub(crate) fn cut(&self, replicas: usize, is_cut: bool) {
        for relay in &self.relays[..replicas] {
            if is_cut { relay.cut() } else { relay.mend() }
        }
    }
}

fn write(folder: &TempDir, text: &str) {
    std::fs::write(folder.path().join("tollgate.toml"), text).unwrap();
}

/// A token in no format of ours, as an older system would have made it.
fn token(part: usize, place: usize) -> String {
    format!("tk_{:040x}", (part * QUOTAS.len() + place + 1) as u128 * 0x9e37_79b9_7f4a_7c15_f39c)
}

/// Makes the registry that all have a copy of.
fn import(folder: &Path) {
    let mut lines = String::new();
    for part in 0..PARTS {
        for place in 0..QUOTAS.len() {
            let _ = writeln!(lines, "{}\tws-{part}-{place}\tus", token(part, place));
        }
    }
    let (file, tokens) = (folder.join("tollgate.toml"), folder.join("tokens.tsv"));
    std::fs::write(&tokens, lines).unwrap();
    let imported = run(&["token", "import", tokens.to_str().unwrap(), "--config", file.to_str().unwrap()]);
    assert!(imported.status.success(), "{}", String::from_utf8_lossy(&imported.stderr));
}

fn configuration(quotas: &[&str], upstream: &Upstream, redis_port: u16) -> String {
    let mut text = format!(
        r#"
[listen]
plain = ["127.0.0.1:0"]
workers = 1
[admin]
address = "127.0.0.1:0"
[logs]
access = "off"
[journal]
enabled = false
[tokens]
scopes = ["bench"]
[redis]
min_replicas = {REPLICAS}
[regions.us]
letter = "u"
base_url = "https://us.example"
upstreams = ["{}"]
redis = "redis://127.0.0.1:{redis_port}"
[endpoints]
scope = ""
plans = ["free", "team", "business"]
"#,
        upstream.url()
    );
    for place in 0..quotas.len() {
        let row = format!("operation = \"limit{place}\"\nmethod = \"GET\"\npath = \"/v1/limit{place}\"\n");
        let _ = write!(text, "[[endpoints.extra]]\n{row}");
    }
    for (place, quota) in quotas.iter().enumerate() {
        let policy = format!("name = \"limit{place}\"\nper = [\"token\"]\nendpoints = [\"limit{place}\"]\n");
        let _ = write!(text, "[[limits.policies]]\n{policy}quota = \"{quota}\"\n");
    }
    text
}
