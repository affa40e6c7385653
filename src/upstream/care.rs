//! What is done for the upstreams beside the request path: names are resolved, health is checked, and ejections
//! are forgiven.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::spawn_local;
use tokio::time::MissedTickBehavior;

use super::groups::{Group, Groups, Member};
use super::health_check;
use crate::clock::{Clock, Now};

/// How often it is looked whether something is due.
const TICK: Duration = Duration::from_millis(100);

/// Cares for whichever groups are `current`, for ever; runs on a local runtime.
pub async fn care(current: impl Fn() -> Arc<Groups>, clock: Clock) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        ticks.tick().await;
        let groups = current();
        for group in &groups.by_region {
            tend(group, clock.now());
        }
    }
}

/// Starts what is due for one group. Each name and each server has one task at a time.
fn tend(group: &Group, now: Now) {
    for name in group.names().filter(|name| name.start(now, group.rules.resolve_nanos)) {
        name.resolve(|| {});
    }
    group.follow_names();
    for member in group.members().iter() {
        member.server.outlier.settle(now, &group.rules.ejection);
        if let Some(rules) = &group.rules.check
            && member.server.checked.start(now, rules)
        {
            spawn_local(check(member.clone(), Rc::new(rules.clone())));
        }
    }
}

async fn check(member: Member, rules: Rc<super::rules::CheckRules>) {
    let is_healthy = health_check::ask(&member, &rules).await;
    if member.server.checked.learn(is_healthy, &rules) {
        let upstream = &*member.server.label;
        if is_healthy {
            tracing::info!(upstream, "its health checks succeed: it gets requests again");
        } else {
            tracing::warn!(upstream, "its health checks fail: it gets no requests");
        }
    }
}
