//! What owners of a workspace manage by themselves: `/tollgate/v1/tokens` and `/tollgate/v1/audit-events`.
//!
//! Only a person may, proven by a JWT whose role is Workspace Owner: an API token, whatever its role, could otherwise
//! make others after it leaked. Nothing here is forwarded. The store is asked off the request's thread, by a bounded
//! number at a time, and the registry follows before the answer leaves: a token that was made works, one that was
//! revoked does not.

mod events;
mod query;
mod resource;
mod view;
mod work;

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, RateLimiter};
use tokio::sync::Semaphore;
use tokio::time::timeout;

pub(crate) use query::decoded;
pub(super) use resource::Resource;

use self::work::Work;
use super::Snapshot;
use crate::authentication::Caller;
use crate::clock::Clock;
use crate::domain::Subject;
use crate::input::gathered;
use crate::journal::Journal;
use crate::message::{Head, RequestBody};
use crate::reply::{Exhausted, Refusal, Rendered};
use crate::tokens::{Mint, Registry};

/// How many changes, and how many other requests, work on the store at the same time, over all cores.
const MOST_AT_WORK: usize = 4;
/// How long a request waits for its turn.
const TURN: Duration = Duration::from_secs(2);
/// The longest body that is taken.
const MOST_BODY_BYTES: u64 = 16 * 1024;
/// Changes that a workspace's owners may make in a minute: each stays in the audit trail.
const CHANGES_PER_MINUTE: NonZeroU32 = NonZeroU32::new(60).unwrap();
/// What else they may ask for in a minute: each looks through the store and the journal.
const READS_PER_MINUTE: NonZeroU32 = NonZeroU32::new(600).unwrap();
/// From so many workspaces on, those that have asked for nothing lately are forgotten.
const MANY_WORKSPACES: usize = 10_000;

/// What owners' requests work on; shared by all cores.
pub struct Owners {
    mint: Arc<Mint>,
    registry: Arc<Registry>,
    journal: Option<Arc<dyn Journal>>,
    clock: Clock,
    changes: Lane,
    reads: Lane,
}

/// A kind of requests, bounded apart from the other: whoever reads keeps nobody from revoking a token.
struct Lane {
    policy: &'static str,
    per_minute: NonZeroU32,
    asked: DefaultKeyedRateLimiter<Subject>,
    turns: Arc<Semaphore>,
}

impl Owners {
    /// Over the registry and what changes it, and the journal of what tokens did, if one is kept.
    pub fn new(
        mint: Arc<Mint>,
        registry: Arc<Registry>,
        journal: Option<Arc<dyn Journal>>,
        clock: Clock,
    ) -> Self {
        let changes = Lane::new("token_changes", CHANGES_PER_MINUTE);
        Self { mint, registry, journal, clock, changes, reads: Lane::new("token_reads", READS_PER_MINUTE) }
    }

    /// Answers an owner's request.
    pub(super) async fn answer(
        self: &Arc<Self>,
        snapshot: &Snapshot,
        resource: Resource,
        caller: Option<Caller>,
        (head, body): (&Head, RequestBody<'_>),
        request_id: &str,
    ) -> Result<Rendered, Refusal> {
        let now = self.clock.now();
        let owner = resource.permit(caller)?;
        let lane = if resource.is_change() { &self.changes } else { &self.reads };
        lane.charge(owner.workspace().subject)?;
        let person = snapshot.authenticator.person(head, now);
        let work = Work {
            body: gathered(body, MOST_BODY_BYTES).await.map_err(super::refuse::body)?,
            query: head.query().map(<[u8]>::to_vec).unwrap_or_default(),
            scopes: work::scopes(snapshot, self.mint.rules()),
            limits: Arc::clone(snapshot.limits.rules()),
            actor: format!("owner:{}", work::printable(person.as_deref().unwrap_or(owner.token_id()))),
            workspace: Arc::clone(&owner.workspace().id),
            request_id: request_id.to_owned(),
            resource,
            now,
        };
        let turn = timeout(TURN, Arc::clone(&lane.turns).acquire_owned()).await;
        let Ok(Ok(turn)) = turn else { return Err(Refusal::Overloaded) };
        let owners = Arc::clone(self);
        let done = tokio::task::spawn_blocking(move || {
            let answer = work.run(&owners);
            drop(turn);
            answer
        });
        done.await.unwrap_or(Err(Refusal::Internal))
    }
}

impl Lane {
    fn new(policy: &'static str, per_minute: NonZeroU32) -> Self {
        let asked = RateLimiter::keyed(governor::Quota::per_minute(per_minute));
        Self { policy, per_minute, asked, turns: Arc::new(Semaphore::new(MOST_AT_WORK)) }
    }

    fn charge(&self, workspace: Subject) -> Result<(), Refusal> {
        if self.asked.len() > MANY_WORKSPACES {
            self.asked.retain_recent();
        }
        self.asked.check_key(&workspace).map_err(|exceeded| {
            Refusal::RateLimited(Exhausted {
                policy: self.policy.into(),
                wait: exceeded.wait_time_from(DefaultClock::default().now()),
                remaining: 0,
                consumed: u64::from(self.per_minute.get()),
            })
        })
    }
}
