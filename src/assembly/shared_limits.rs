//! The connections to the stores of shared limits, their thread, and what operators are shown of them.

use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use tokio::runtime::Builder as RuntimeBuilder;
use tokio::sync::watch;
use tokio::task::LocalSet;

use super::StartError;
use super::node::Node;
use super::operator::whole;
use crate::admin;
use crate::central_store::{CallEnd, Link, LinkState, Server, Store};
use crate::clock::{Clock, Now};
use crate::domain::{Region, Regions};
use crate::limits::SharedMode;
use crate::limits::shared::CentralStore;
use crate::telemetry::{Gauge, split_mix};

/// The thread that keeps the connections.
pub(super) type Running = JoinHandle<()>;

/// A link for each store; `seed` names this process among the replicas.
pub(super) fn links(servers: &[Server], seed: u64, clock: &Clock) -> Vec<Arc<Link>> {
    servers.iter().map(|server| Link::new(server.clone(), seed, clock.clone())).collect()
}

/// Each region's store, where it has one.
pub(super) fn stores(links: &[Arc<Link>], regions: &Regions) -> Vec<Option<Arc<dyn CentralStore>>> {
    let of_region = |region: &Region| {
        let link = links.iter().find(|link| *link.region() == region.name)?;
        Some(Arc::new(Store::new(Arc::clone(link))) as Arc<dyn CentralStore>)
    };
    if links.is_empty() { Vec::new() } else { regions.iter().map(|(_, region)| of_region(region)).collect() }
}

/// Starts the thread that keeps the links' connections, if there are any, and waits for their first answers, so that no
/// request is decided by a share while its store is there. It is one thread for all cores: refills go on while a core is
/// busy with requests, and a gateway has one connection for each store.
pub(super) fn start(
    links: &[Arc<Link>],
    seed: u64,
    stopped: watch::Receiver<bool>,
) -> Result<Option<Running>, StartError> {
    if links.is_empty() {
        return Ok(None);
    }
    let runtime = RuntimeBuilder::new_current_thread().enable_all().build().map_err(StartError::Thread)?;
    let (tried, answers) = mpsc::channel();
    let all = links.to_vec();
    let run = move || {
        let tasks = LocalSet::new();
        for (place, link) in all.into_iter().enumerate() {
            let tried = tried.clone();
            let random = randoms(seed ^ place as u64);
            let tried = move || {
                // Nobody waits any more if it took too long.
                let _ = tried.send(());
            };
            tasks.spawn_local(link.run(tried, random, stopped.clone()));
        }
        drop(tried);
        runtime.block_on(tasks);
        // A look-up of a host's name cannot be stopped, and is not waited for.
        runtime.shutdown_background();
    };
    let thread = Builder::new().name("tollgate-limits".to_owned()).spawn(run).map_err(StartError::Thread)?;
    // A store that is away is told by its link, after its own time-outs.
    let longest = links.iter().map(|link| link.first_tries()).max().unwrap_or_default();
    wait_for(&answers, links.len(), longest + SPARE);
    Ok(Some(thread))
}

/// How much later than it may take a link's first answer is waited for, on a machine that is busy.
const SPARE: Duration = Duration::from_secs(1);

/// Waits for so many answers, for each no longer than that, and for none any more when one has not come.
fn wait_for(answers: &mpsc::Receiver<()>, count: usize, longest: Duration) {
    let _all = (0..count).all(|_| answers.recv_timeout(longest).is_ok());
}

/// Numbers that spread, from a seed.
fn randoms(seed: u64) -> impl FnMut() -> u32 {
    let mut state = seed;
    move || (split_mix(&mut state) >> 32) as u32
}

/// Registers the metrics of the stores.
pub(super) fn add_gauges(node: &Arc<Node>) {
    if node.links.is_empty() {
        return;
    }
    let decided = Arc::clone(node);
    let help = "Policies by how their limits are decided at the moment.";
    node.telemetry.add_gauge(Gauge::family("tollgate_limiter_mode", help, &["region", "mode"], move || {
        let of_region = |(region, counts): (String, [usize; MODES])| {
            let mode = move |mode: SharedMode| {
                let labels = vec![region.clone(), mode.name().to_owned()];
                (labels, whole(counts[mode as usize] as u64))
            };
            SharedMode::ALL.map(mode)
        };
        modes(&decided).into_iter().flat_map(of_region).collect()
    }));
    let of_links = |name, help, value: fn(&Link) -> f64| {
        let node = Arc::clone(node);
        Gauge::family(name, help, &["region"], move || {
            node.links.iter().map(|link| (vec![link.region().to_string()], value(link))).collect()
        })
    };
    node.telemetry.add_gauge(of_links(
        "tollgate_redis_breaker",
        "The breaker of a region's Redis: 0 closed, 1 half open, 2 open.",
        |link| match link.status().state {
            LinkState::Closed => 0.0,
            LinkState::HalfOpen => 1.0,
            LinkState::Open => 2.0,
        },
    ));
    node.telemetry.add_gauge(of_links(
        "tollgate_redis_replicas",
        "Gateways that share limits in a region's Redis, by the last that is known.",
        |link| f64::from(link.status().replicas),
    ));
    let counted = Arc::clone(node);
    let help = "Calls of a region's Redis by how they ended.";
    let calls = Gauge::family("tollgate_redis_calls_total", help, &["region", "result"], move || {
        let ends = |link: &'_ Arc<Link>| {
            let link = Arc::clone(link);
            CallEnd::ALL.map(move |end| {
                (vec![link.region().to_string(), end.name().to_owned()], whole(link.calls(end)))
            })
        };
        counted.links.iter().flat_map(ends).collect()
    });
    node.telemetry.add_gauge(calls.counted());
    let timings = node.links.iter().map(|link| (vec![link.region().to_string()], Arc::clone(link.timings())));
    let help = "Time from a call of a region's Redis to its end.";
    let timings = Gauge::timings("tollgate_redis_call_seconds", help, &["region"], timings.collect());
    node.telemetry.add_gauge(timings);
}

const MODES: usize = SharedMode::ALL.len();

/// How many policies are decided how, by the regions that have a store.
fn modes(node: &Node) -> Vec<(String, [usize; MODES])> {
    let config = node.configuration.config();
    let snapshot = node.snapshot.load();
    let regions = config.places.regions().iter();
    let shared = regions.filter(|(_, region)| node.links.iter().any(|link| *link.region() == region.name));
    shared.map(|(id, region)| (region.name.to_string(), snapshot.limits.shared_modes(id))).collect()
}

/// Tells in the log when policies come to be decided otherwise. Call it every second.
#[derive(Default)]
pub(super) struct ModeLog(Mutex<Vec<(String, [usize; MODES])>>);

impl ModeLog {
    pub(super) fn tell(&self, node: &Node) {
        let now = modes(node);
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (region, [lease, strict, share, open, closed]) in now.iter().filter(|one| !told.contains(one)) {
            tracing::info!(
                %region, lease, strict, share, open, closed,
                "shared limits: so many policies are decided so from now on"
            );
        }
        *told = now;
    }
}

/// Every store.
pub(super) fn status(node: &Node, now: Now) -> Vec<admin::SharedLimitsStatus> {
    let modes = modes(node);
    let row = |link: &Arc<Link>| {
        let status = link.status();
        let counts = modes.iter().find(|(region, _)| **region == *status.region);
        let modes = SharedMode::ALL.into_iter().zip(counts.map_or([0; MODES], |(_, counts)| *counts));
        admin::SharedLimitsStatus {
            region: status.region.to_string(),
            address: status.address,
            breaker: status.state.name(),
            since_seconds: now.since(status.since).as_secs(),
            replicas: status.replicas,
            modes: modes.filter(|(_, count)| *count > 0).map(|(mode, count)| (mode.name(), count)).collect(),
            last_error: status.last_error,
        }
    };
    node.links.iter().map(row).collect()
}

/// Stores that are away. They make the node no less ready: limits never cost availability.
pub(super) fn notes(node: &Node) -> Vec<String> {
    let away = |link: &Arc<Link>| {
        let status = link.status();
        let error = status.last_error?;
        Some(format!("limits of {} are not shared, because Redis is away: {error}", status.region))
    };
    node.links.iter().filter_map(away).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_that_says_nothing_is_not_waited_for_for_ever() {
        let (tried, answers) = mpsc::channel();
        tried.send(()).unwrap();
        wait_for(&answers, 3, Duration::from_millis(1));
        drop(tried);
        wait_for(&answers, 3, Duration::MAX);
    }
}
