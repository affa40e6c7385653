//! The thread that tells owners of leaks.

use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use tokio::runtime::Builder as RuntimeBuilder;
use tokio::sync::watch;
use tokio::task::LocalSet;

use super::StartError;
use super::node::Node;
use super::operator::whole;
use super::worker::LAST_CALLS;
use crate::admin::NotificationStatus;
use crate::clock::Now;
use crate::notifications::{Channel, Counts, End, Notifier, Parts, SigningKeys};
use crate::telemetry::Gauge;
use crate::tokens::SystemRandom;

/// Starts the thread that delivers what the outbox holds.
pub(super) fn start(node: &Arc<Node>, stopped: watch::Receiver<bool>) -> Result<JoinHandle<()>, StartError> {
    let counts = Arc::clone(&node.notifications);
    add_gauges(node, &counts);
    let settings = Arc::clone(node);
    let notifier = Notifier::new(Parts {
        store: Arc::clone(node.mint.store()),
        journal: node.journal.clone(),
        flush_journal: Arc::new(node.telemetry.journal_flush()),
        settings: Box::new(move || settings.configuration.config().notifications.clone()),
        keys: SigningKeys::of(node.mint.peppers()),
        regions: node.mint.regions().clone(),
        clock: node.clock.clone(),
        random: Box::new(SystemRandom),
        counts,
    });
    let runtime = RuntimeBuilder::new_current_thread().enable_all().build().map_err(StartError::Thread)?;
    let run = move || {
        LocalSet::new().block_on(&runtime, notifier.run(stopped));
        // A call to the store that hangs keeps nobody from ending.
        runtime.shutdown_timeout(LAST_CALLS);
    };
    Builder::new().name("tollgate-notify".to_owned()).spawn(run).map_err(StartError::Thread)
}

/// What operators are shown of it.
pub(super) fn status(counts: &Counts, now: Now) -> NotificationStatus {
    let all = |end| Channel::ALL.iter().map(|channel| counts.attempts(*channel, end)).sum();
    NotificationStatus {
        waiting: counts.waiting(),
        oldest_seconds: counts.oldest_millis(now.unix_millis) / 1_000,
        delivered: all(End::Delivered),
        failed: all(End::Failed),
        given_up: all(End::GivenUp),
    }
}

fn add_gauges(node: &Arc<Node>, counts: &Arc<Counts>) {
    let read = Arc::clone(counts);
    let attempts = move || {
        let all = Channel::ALL.into_iter().flat_map(|channel| End::ALL.map(|end| (channel, end)));
        let labelled = |(channel, end): (Channel, End)| {
            (vec![channel.name().to_owned(), end.name().to_owned()], whole(read.attempts(channel, end)))
        };
        all.map(labelled).collect()
    };
    let help = "Attempts to tell owners of leaks.";
    let gauge = Gauge::family("tollgate_notifications_total", help, &["channel", "end"], attempts);
    node.telemetry.add_gauge(gauge.counted());
    let read = Arc::clone(counts);
    let help = "Messages to owners that are neither delivered nor given up.";
    let gauge = Gauge::single("tollgate_notifications_waiting", help, move || whole(read.waiting()));
    node.telemetry.add_gauge(gauge);
    let (read, clock) = (Arc::clone(counts), node.clock.clone());
    let help = "How long the oldest message to owners waits.";
    let gauge = Gauge::single("tollgate_notification_oldest_seconds", help, move || {
        whole(read.oldest_millis(clock.now().unix_millis) / 1_000)
    });
    node.telemetry.add_gauge(gauge);
}
