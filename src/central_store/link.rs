//! One region's store: a connection while it works, and its recovery while it does not.
//!
//! Whoever asks uses the connection that is there or is told at once that there is none: nobody waits for one to be
//! made. One task ([`Link::run`]) makes it, says every two seconds that this replica is there, and tries again after
//! a failure.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::sync::{Notify, Semaphore, watch};

use super::breaker::{GRACE, NEXT_TRY, TimeOuts, probe_after};
use super::connect::{GRANT, Live, PRESENCE, within};
use super::counts::{CallEnd, Counts};
use super::fault::Fault;
use super::round_trips::RoundTrips;
use super::script::{self, Presence};
use super::settings::{MOST_REPLICAS, Server};
use crate::clock::{Clock, Now};
use crate::limits::shared::{
    Answer, Asked, Asking, Bucket, CentralStore, Held, Outage, Question, StoreFault, TICK_NANOS,
};
use crate::telemetry::Timings;

/// How often a replica says that it is there.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// How long a start goes on trying. A server that has not answered by then is away, and the gateway serves without.
const FIRST_TRIES: Duration = Duration::from_secs(1);
/// How soon again while a start waits.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// What the bucket of a proof holds, of which a token comes back with every tick.
const PROOF_BURST: u32 = 1_000_000;
/// Answers that a probe waits for once it is connected: two scripts are loaded and run, and it is asked what it is.
const CALLS_OF_A_PROBE: u32 = 5;
/// How long a replica counts that is not heard of.
const COUNTS_FOR: Duration = Duration::from_secs(6);

/// Where a link stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum LinkState {
    /// The store answers.
    Closed,
    /// The store failed, and is being tried; or it answers, and other replicas are waited for.
    HalfOpen,
    /// The store failed a moment ago, and is left alone.
    Open,
}

impl LinkState {
    /// The word in status and log.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::HalfOpen => "half_open",
            Self::Open => "open",
        }
    }
}

/// What operators are shown of a link.
#[derive(Clone, Debug)]
pub struct LinkStatus {
    /// The region.
    pub region: Arc<str>,
    /// Where the store is, without its password.
    pub address: String,
    /// The breaker.
    pub state: LinkState,
    /// Since when it is in that state or, if it does not work, has not worked.
    pub since: Now,
    /// Replicas that share it, by the last that is known.
    pub replicas: u32,
    /// Why it does not work, if it does not.
    pub last_error: Option<String>,
}

/// How it went so far.
struct Story {
    since: Now,
    last_error: Option<String>,
    last_outage: Option<Outage>,
}

/// The store of one region.
pub struct Link {
    server: Server,
    /// This replica, in the set of those that are there.
    replica: String,
    clock: Clock,
    live: ArcSwapOption<Live>,
    calls: Semaphore,
    time_outs: Mutex<TimeOuts>,
    /// Whether a call failed since the store was last proved to grant.
    is_doubted: AtomicBool,
    lost: Notify,
    replicas: AtomicU32,
    state: AtomicU8,
    was_tried: AtomicBool,
    /// When the last call was sent that was answered: the store worked then.
    answered_nanos: AtomicU64,
    round_trips: Mutex<RoundTrips>,
    /// The longest of those that count.
    round_trip_nanos: AtomicU64,
    story: Mutex<Story>,
    counts: Counts,
    timings: Arc<Timings>,
}

impl Link {
    /// A link that nothing was tried of. `replica` names this process among those that share the store.
    pub fn new(server: Server, replica: u64, clock: Clock) -> Arc<Self> {
        let since = clock.now();
        let story = Story {
            since,
            last_error: Some("it was not tried yet".to_owned()),
            last_outage: Some(Outage { began_nanos: since.monotonic_nanos, ended_nanos: None }),
        };
        Arc::new(Self {
            replica: format!("{replica:016x}"),
            clock,
            live: ArcSwapOption::empty(),
            calls: Semaphore::new(server.max_calls),
            time_outs: Mutex::new(TimeOuts::new(server.timeout)),
            is_doubted: AtomicBool::new(false),
            lost: Notify::new(),
            replicas: AtomicU32::new(server.min_replicas.get()),
            state: AtomicU8::new(LinkState::HalfOpen as u8),
            was_tried: AtomicBool::new(false),
            answered_nanos: AtomicU64::new(since.monotonic_nanos),
            round_trips: Mutex::default(),
            round_trip_nanos: AtomicU64::new(0),
            story: Mutex::new(story),
            counts: Counts::default(),
            timings: Arc::default(),
            server,
        })
    }

    /// Keeps the connection until `stopped`, whatever it is at then. `tried` is told when it is made, or was tried for a
    /// second in vain; nothing may be asked before. `random` spreads the attempts of replicas.
    pub async fn run(
        self: Arc<Self>,
        tried: impl FnOnce(),
        random: impl FnMut() -> u32,
        mut stopped: watch::Receiver<bool>,
    ) {
        tokio::select! {
            () = self.keep(tried, random) => {}
            () = told(&mut stopped) => self.leave().await,
        }
    }

    /// What [`Link::run`] takes at most until `tried` is told.
    pub fn first_tries(&self) -> Duration {
        let Server { timeout, connect_timeout, .. } = self.server;
        FIRST_TRIES + FIRST_PAUSE + connect_timeout + timeout.saturating_mul(CALLS_OF_A_PROBE)
    }

    /// Keeps the connection for ever.
    async fn keep(&self, tried: impl FnOnce(), mut random: impl FnMut() -> u32) {
        let begun = self.clock.now();
        let mut probe = self.probe().await;
        while probe.is_err() && self.clock.now().since(begun) < FIRST_TRIES {
            tokio::time::sleep(FIRST_PAUSE).await;
            probe = self.probe().await;
        }
        if probe.is_ok() {
            // Nobody was answered without the store, so there is nothing to be settled.
            self.story().last_outage = None;
        }
        tried();
        let mut failures = 0;
        loop {
            match probe {
                Ok(()) => {
                    failures = 0;
                    self.stay().await;
                }
                Err(fault) => self.give_up(&fault, self.clock.now()),
            }
            tokio::time::sleep(probe_after(failures, random())).await;
            failures += 1;
            probe = self.probe().await;
        }
    }

    /// Connects, and proves that the store can be written.
    async fn probe(&self) -> Result<(), Fault> {
        self.state.store(LinkState::HalfOpen as u8, Ordering::Relaxed);
        let live = Arc::new(Live::connect(&self.server).await?);
        let grace = if self.was_tried.load(Ordering::Relaxed) { GRACE } else { Duration::ZERO };
        let presence = self.say_present(&live, COUNTS_FOR, grace).await?;
        self.grant_one(&live).await?;
        // A server that has forgotten the others enlarges no share while they come back.
        self.replicas.fetch_max(presence.replicas, Ordering::Relaxed);
        let resumes = live.server_time.until(presence.resume_ticks, self.clock.now().monotonic_nanos);
        tokio::select! {
            () = live.closed.notified() => return Err(Fault::closed()),
            () = tokio::time::sleep(resumes.min(grace)) => {}
        }
        *self.time_outs.lock().unwrap_or_else(PoisonError::into_inner) = TimeOuts::new(self.server.timeout);
        self.live.store(Some(live));
        self.recovered();
        Ok(())
    }

    /// Says that this replica is there for as long as the connection works.
    async fn stay(&self) {
        let Some(live) = self.live.load_full() else { return };
        let mut pause = HEARTBEAT;
        while self.live.load().is_some() {
            tokio::select! {
                () = self.lost.notified() => continue,
                () = live.closed.notified() => {
                    return self.failed(&live, &Fault::closed(), self.clock.now());
                }
                () = tokio::time::sleep(pause) => {}
            }
            let started = self.clock.now();
            let present = self.say_present(&live, COUNTS_FOR, Duration::ZERO);
            let grants = async {
                let is_doubted = self.is_doubted.swap(false, Ordering::Relaxed);
                if is_doubted { self.grant_one(&live).await } else { Ok(()) }
            };
            pause = match tokio::try_join!(present, grants) {
                Ok((presence, ())) => {
                    self.replicas.store(presence.replicas, Ordering::Relaxed);
                    HEARTBEAT
                }
                Err(fault) => {
                    self.failed_to_prove(&live, &fault, started);
                    NEXT_TRY
                }
            };
        }
    }

    /// Takes this replica out of those that are there.
    async fn leave(&self) {
        if let Some(live) = self.live.swap(None) {
            // It is not missed for long in any case.
            let _ = self.say_present(&live, Duration::ZERO, Duration::ZERO).await;
        }
    }

    /// Says so, for how long it counts, and, where it comes back, how long it waits for others that do.
    async fn say_present(
        &self,
        live: &Live,
        counts_for: Duration,
        grace: Duration,
    ) -> Result<Presence, Fault> {
        let (mut command, prefix) = (redis::cmd("EVALSHA"), &self.server.prefix);
        command.arg(&live.presence).arg(2);
        command.arg(format!("{prefix}:{{replicas}}")).arg(format!("{prefix}:{{replicas}}:resume"));
        command.arg(&self.replica).arg(counts_for.as_millis() as u64).arg(grace.as_millis() as u64);
        let sent_nanos = self.clock.now().monotonic_nanos;
        let reply = within(self.server.timeout, live.run(&command, PRESENCE)).await?;
        let reply = script::presence(&reply).ok_or(Fault::Unintelligible)?;
        self.answered(live, reply.server_ticks, sent_nanos);
        let replicas = reply.said.replicas.clamp(self.server.min_replicas.get(), MOST_REPLICAS);
        Ok(Presence { replicas, ..reply.said })
    }

    /// Proves that the store grants, on a bucket that is never empty: a server that lets nobody do so fails every question,
    /// each of which says nothing of the others.
    async fn grant_one(&self, live: &Live) -> Result<(), Fault> {
        let bucket = Bucket::Gcra { interval_nanos: TICK_NANOS, burst: PROOF_BURST, lease_nanos: 0 };
        let asked = Asked { name: "proof".into(), bucket, need: 1, want: 1, held: Held::default() };
        let question = Question { group: "replicas".into(), asked: vec![asked], outage: None };
        within(self.server.timeout, self.ask(live, &question, self.clock.now())).await.map(|_| ())
    }

    /// Notes an answer to what was sent then.
    fn answered(&self, live: &Live, server_ticks: u64, sent_nanos: u64) {
        let now_nanos = self.clock.now().monotonic_nanos;
        live.server_time.observe(server_ticks, sent_nanos, now_nanos);
        let mut round_trips = self.round_trips.lock().unwrap_or_else(PoisonError::into_inner);
        let longest = round_trips.note(now_nanos.saturating_sub(sent_nanos), now_nanos);
        self.round_trip_nanos.store(longest, Ordering::Relaxed);
        drop(round_trips);
        self.answered_nanos.fetch_max(sent_nanos, Ordering::Relaxed);
    }

    async fn call(&self, question: &Question) -> Result<Answer, StoreFault> {
        let live = self.live.load_full().ok_or(StoreFault::Open)?;
        let Ok(_place) = self.calls.try_acquire() else {
            self.counts.add(CallEnd::Busy);
            return Err(StoreFault::TimedOut);
        };
        let started = self.clock.now();
        let answer = within(self.server.timeout, self.ask(&live, question, started)).await;
        self.timings.observe(self.clock.now().since(started));
        answer.inspect(|_| self.counts.add(CallEnd::Answered)).map_err(|fault| {
            self.counts.add(CallEnd::of(&fault));
            self.failed(&live, &fault, started);
            match fault {
                Fault::TimedOut | Fault::TooLate => StoreFault::TimedOut,
                _ => StoreFault::Broken,
            }
        })
    }

    /// Asks; once more if the server says that it is too late when it is not, because its clock has jumped ahead.
    async fn ask(&self, live: &Live, question: &Question, started: Now) -> Result<Answer, Fault> {
        let deadline_nanos = started.monotonic_nanos.saturating_add(self.server.timeout.as_nanos() as u64);
        for _ in 0..2 {
            let not_after = live.server_time.at(deadline_nanos);
            let command = script::command(&live.grant, &self.server.prefix, question, not_after);
            let command = command.ok_or(Fault::Unintelligible)?;
            let sent_nanos = self.clock.now().monotonic_nanos;
            let reply = live.run(&command, GRANT).await?;
            let reply = script::answer(&reply, question).ok_or(Fault::Unintelligible)?;
            self.answered(live, reply.server_ticks, sent_nanos);
            if let Some(answer) = reply.said {
                return Ok(answer);
            }
        }
        Err(Fault::TooLate)
    }

    /// Notes that a call on a connection failed, and gives the connection up if that was enough.
    fn failed(&self, live: &Arc<Live>, fault: &Fault, started: Now) {
        let began = match fault {
            Fault::TimedOut | Fault::TooLate => {
                let mut time_outs = self.time_outs.lock().unwrap_or_else(PoisonError::into_inner);
                time_outs.note(started.monotonic_nanos)
            }
            _ => fault.gives_up().then_some(started.monotonic_nanos),
        };
        if let Some(began_nanos) = began {
            return self.let_go(live, fault, Now { monotonic_nanos: began_nanos, ..started });
        }
        self.is_doubted.store(true, Ordering::Relaxed);
        tracing::debug!(region = %self.server.region, %fault, "shared limits: a call of Redis failed");
    }

    /// The same of a call that every server answers that works.
    fn failed_to_prove(&self, live: &Arc<Live>, fault: &Fault, started: Now) {
        match fault {
            Fault::TimedOut | Fault::TooLate => self.failed(live, fault, started),
            _ => self.let_go(live, fault, started),
        }
    }

    fn let_go(&self, live: &Arc<Live>, fault: &Fault, began: Now) {
        // Only whoever takes this very connection away says so.
        let previous = self.live.compare_and_swap(live, None);
        if previous.as_ref().is_some_and(|previous| Arc::ptr_eq(previous, live)) {
            self.give_up(fault, began);
            self.lost.notify_one();
        }
    }

    /// Notes that the store is away, and since when; says so in the log if it was there or was never tried.
    fn give_up(&self, fault: &Fault, began: Now) {
        let mut story = self.story();
        let was_up = self.state.load(Ordering::Relaxed) == LinkState::Closed as u8;
        if was_up {
            story.since = began;
            let began_nanos = self.answered_nanos.load(Ordering::Relaxed);
            story.last_outage = Some(Outage { began_nanos, ended_nanos: None });
        }
        // Whoever sees this sees the begin of the outage too.
        self.state.store(LinkState::Open as u8, Ordering::Release);
        let is_news = was_up || !self.was_tried.swap(true, Ordering::Relaxed);
        story.last_error = Some(fault.to_string());
        drop(story);
        if is_news {
            let Server { region, address, .. } = &self.server;
            let replicas = self.replicas.load(Ordering::Relaxed);
            tracing::warn!(
                %region, %address, replicas, %fault,
                "shared limits: Redis is away; each policy goes on by its `on_store_failure`"
            );
        }
    }

    /// Notes that the store answers.
    fn recovered(&self) {
        let now = self.clock.now();
        self.was_tried.store(true, Ordering::Relaxed);
        let mut story = self.story();
        let away = now.since(story.since);
        story.since = now;
        story.last_error = None;
        if let Some(outage) = &mut story.last_outage {
            outage.ended_nanos = Some(now.monotonic_nanos);
        }
        drop(story);
        // Whoever sees this sees the end of the outage too.
        self.state.store(LinkState::Closed as u8, Ordering::Release);
        let Server { region, address, .. } = &self.server;
        let replicas = self.replicas.load(Ordering::Relaxed);
        tracing::info!(
            %region, %address, replicas, away_seconds = away.as_secs_f64(),
            "shared limits: Redis answers, and limits are counted there"
        );
    }

    fn story(&self) -> MutexGuard<'_, Story> {
        self.story.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What operators are shown.
    pub fn status(&self) -> LinkStatus {
        let Story { since, ref last_error, .. } = *self.story();
        let last_error = last_error.clone();
        let state = match self.state.load(Ordering::Relaxed) {
            0 => LinkState::Closed,
            1 => LinkState::HalfOpen,
            _ => LinkState::Open,
        };
        LinkStatus {
            region: Arc::clone(&self.server.region),
            address: self.server.address.to_string(),
            state,
            since,
            replicas: self.replicas.load(Ordering::Relaxed),
            last_error,
        }
    }

    /// The region.
    pub const fn region(&self) -> &Arc<str> {
        &self.server.region
    }

    /// Calls that ended so.
    pub fn calls(&self, end: CallEnd) -> u64 {
        self.counts.of(end)
    }

    /// How long calls took.
    pub const fn timings(&self) -> &Arc<Timings> {
        &self.timings
    }
}

/// Waits until it is said to stop.
async fn told(stopped: &mut watch::Receiver<bool>) {
    // If nobody can say it any more, it is over too.
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

/// A link as limits ask it.
#[derive(Clone)]
pub struct Store(Arc<Link>);

impl Store {
    /// The store of a link.
    pub const fn new(link: Arc<Link>) -> Self {
        Self(link)
    }

    /// Its link.
    #[cfg(test)]
    pub(super) const fn link(&self) -> &Arc<Link> {
        &self.0
    }
}

impl CentralStore for Store {
    fn ask(&self, question: Question) -> Asking {
        let link = Arc::clone(&self.0);
        Box::pin(async move { link.call(&question).await })
    }

    fn is_up(&self) -> bool {
        self.0.state.load(Ordering::Acquire) == LinkState::Closed as u8
    }

    fn last_outage(&self) -> Option<Outage> {
        self.0.story().last_outage
    }

    fn deadline_nanos(&self) -> u64 {
        u64::try_from(self.0.server.timeout.as_nanos()).unwrap_or(u64::MAX)
    }

    fn round_trip_nanos(&self) -> u64 {
        self.0.round_trip_nanos.load(Ordering::Relaxed)
    }

    fn patience_nanos(&self) -> u64 {
        u64::try_from(self.0.server.patience.as_nanos()).unwrap_or(u64::MAX)
    }

    fn replicas(&self) -> NonZeroU32 {
        NonZeroU32::new(self.0.replicas.load(Ordering::Relaxed)).unwrap_or(NonZeroU32::MIN)
    }
}
