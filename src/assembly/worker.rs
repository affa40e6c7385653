//! The threads: one per core for requests, one for everything that no request waits for.

use std::rc::Rc;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use tokio::runtime::{Builder as RuntimeBuilder, LocalOptions, Runtime};
use tokio::sync::watch;
use tokio::task::LocalSet;
use tokio::time::MissedTickBehavior;

use super::StartError;
use super::node::Node;
use crate::authentication::Refresher;
use crate::gateway::{Gateway, Parts};
use crate::listen::{Edge, run_worker};
use crate::telemetry::Core;
use crate::upstream::{Pools, care};

/// How long calls to store and journal may last that the end of a thread finds under way: one that hangs keeps nobody from
/// ending.
pub(super) const LAST_CALLS: Duration = Duration::from_secs(2);
/// How often idle upstream connections are looked through.
const POOL_SWEEP: Duration = Duration::from_secs(5);
/// How often a part of the limits' buckets is looked through.
const LIMIT_SWEEP: Duration = Duration::from_millis(20);

/// Starts one core's thread.
pub(super) fn start(
    index: usize,
    edge: Edge,
    parts: Parts,
    core: Arc<Core>,
    seed: u64,
    stopped: watch::Receiver<bool>,
) -> Result<JoinHandle<()>, StartError> {
    let runtime = RuntimeBuilder::new_current_thread();
    let run = move || {
        let mut runtime = runtime;
        let runtime = match runtime.enable_all().build_local(LocalOptions::default()) {
            Ok(runtime) => runtime,
            Err(error) => return tracing::error!(%error, "a worker's runtime cannot be started"),
        };
        runtime.block_on(async move {
            let pools = Pools::new(parts.clock.clone(), seed);
            let gateway = Rc::new(Gateway::new(parts, core, pools));
            tokio::task::spawn_local(sweep_pools(Rc::clone(&gateway)));
            if let Err(error) = run_worker(edge, gateway, stopped).await {
                tracing::error!(%error, "a worker's sockets cannot be used");
            }
        });
        runtime.shutdown_timeout(LAST_CALLS);
    };
    Builder::new().name(format!("tollgate-{index}")).spawn(run).map_err(StartError::Thread)
}

async fn sweep_pools(gateway: Rc<Gateway>) {
    let mut ticks = tokio::time::interval(POOL_SWEEP);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        ticks.tick().await;
        gateway.pools().sweep();
    }
}

/// Starts the thread for what no request waits for: issuers' keys, the sweep of full buckets, and the care of
/// whichever upstreams are in force.
pub(super) fn background(
    runtime: Runtime,
    refreshers: Vec<Refresher>,
    node: Arc<Node>,
    mut stopped: watch::Receiver<bool>,
) -> Result<JoinHandle<()>, StartError> {
    let run = move || {
        LocalSet::new().block_on(&runtime, async move {
            let (clock, counters) = (node.clock.clone(), Arc::clone(&node.counters));
            for refresher in refreshers {
                tokio::spawn(refresher.run(clock.clone()));
            }
            let upstreams = move || Arc::clone(&node.snapshot.load().upstreams);
            tokio::task::spawn_local(care(upstreams, clock.clone()));
            let mut ticks = tokio::time::interval(LIMIT_SWEEP);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
            loop {
                tokio::select! {
                    _ = ticks.tick() => drop(counters.sweep(clock.now())),
                    _ = stopped.wait_for(|stopping| *stopping) => break,
                }
            }
        });
        runtime.shutdown_timeout(LAST_CALLS);
    };
    Builder::new().name("tollgate-background".to_owned()).spawn(run).map_err(StartError::Thread)
}
