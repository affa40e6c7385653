//! N replicas of the real limiter on a clock moved by hand, against a model of the central store: latency, loss,
//! partitions, outages, clock steps, flushes. Everything follows from a seed.

#![expect(
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    clippy::cast_possible_wrap,
    reason = "counts and times of a simulation are small"
)]

mod accuracy;
mod adversary;
mod all_or_nothing;
mod asking;
mod bounds;
mod calendar;
mod changes;
mod client;
mod costs;
mod crowded;
mod outages;
mod outdated;
mod overflow;
mod path;
mod retry_after;
mod storms;
mod tally;
mod together;
mod weather;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use self::client::Client;
use self::weather::Weather;
use super::world::{Ask, Dice, World};
use crate::clock::Now;
use crate::domain::{LimitPath, RegionId};
use crate::limits::shared::model::Model;
use crate::limits::shared::{Answer, Call, CentralStore, Outage, Question, StoreFault, TICK_NANOS, Wanted};
use crate::limits::{Admission, Attempt, Counters, Limits};

pub(super) const MILLI: u64 = 1_000_000;
pub(super) const SECOND: u64 = 1_000_000_000;

/// How long a client waits for an answer; how long between two probes; and how long for others that return. As the
/// central store's link has them.
const DEADLINE: u64 = 50 * MILLI;
const LONGEST_PROBE: u64 = 500 * MILLI;
const GRACE: u64 = 750 * MILLI;

struct Replica {
    limits: Limits,
    client: Arc<Client>,
    /// What its monotonic clock is ahead of the simulation's.
    offset: u64,
    waiting: Vec<Waiter>,
    timeouts: Vec<u64>,
    /// When the last question was sent that was answered.
    answered: u64,
    next_probe_after: u64,
}

struct Waiter {
    number: u64,
    ask: Ask,
    arrived: u64,
    wanted: Wanted,
}

enum Event {
    Arrives { replica: usize, ask: Box<Ask> },
    Wakes { replica: usize },
    Reaches { call: u64, question: Question },
    Returns { call: u64, answer: Answer },
    Expires { call: u64 },
    Probes { replica: usize },
    Resumes { replica: usize },
    Changes(Box<dyn FnOnce(&mut Fleet)>),
}

/// A request and how it ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ended {
    pub(super) replica: usize,
    pub(super) arrived: u64,
    /// When it was decided.
    pub(super) at: u64,
    /// How shared limits decided it.
    pub(super) path: Option<LimitPath>,
    /// How long to wait, if refused; `u64::MAX` if the store was not there and its policy is closed.
    pub(super) refused: Option<u64>,
}

pub(super) struct Fleet {
    pub(super) world: World,
    replicas: Vec<Replica>,
    pub(super) model: Model,
    pub(super) weather: Weather,
    pub(super) now: u64,
    pub(super) dice: Dice,
    events: BinaryHeap<Reverse<(u64, u64)>>,
    scheduled: HashMap<u64, Event>,
    /// Replicas, their questions, and when those were sent.
    calls: HashMap<u64, (usize, Call, u64)>,
    next: u64,
    /// When those go on that return from an outage.
    resume_at: u64,
    /// Questions sent.
    pub(super) asked: u64,
    /// When each bucket was asked of, and by which replica.
    pub(super) asked_of: Vec<(u64, usize, Arc<str>)>,
    pub(super) ended: Vec<Ended>,
}

impl Fleet {
    /// `replicas` replicas of the same configuration.
    pub(super) fn new(seed: u64, replicas: usize, toml: &str) -> Self {
        let world = World::new(toml);
        let mut dice = Dice(seed);
        let replica = |at: usize| {
            let client = Arc::new(Client::of(replicas as u32));
            let store: Arc<dyn CentralStore> = client.clone();
            let counters = Counters::new([at as u8; 32]);
            let limits = Limits::new(Arc::clone(world.limits.rules()), counters)
                .shared_through(vec![Some(store)], RegionId(0));
            let offset = 3_600 * SECOND + dice.below(1_000 * SECOND);
            Replica {
                limits,
                client,
                offset,
                waiting: Vec::new(),
                timeouts: Vec::new(),
                answered: 0,
                next_probe_after: 250 * MILLI,
            }
        };
        Self {
            replicas: (0..replicas).map(replica).collect(),
            world,
            model: Model::default(),
            weather: Weather::default(),
            now: 0,
            dice,
            events: BinaryHeap::new(),
            scheduled: HashMap::new(),
            calls: HashMap::new(),
            next: 0,
            resume_at: 0,
            asked: 0,
            asked_of: Vec::new(),
            ended: Vec::new(),
        }
    }

    /// Has a store that has been so for a while.
    pub(super) fn used_to(mut self, weather: Weather) -> Self {
        self.weather = weather;
        self.says_present();
        self
    }

    /// Every replica learns how long the store takes, as by its sign of life.
    pub(super) fn says_present(&self) {
        for replica in &self.replicas {
            replica.client.round_trip.fetch_max(self.weather.round_trip(), Ordering::SeqCst);
        }
    }

    /// Other rules on one replica, as a reload does it.
    pub(super) fn reload(&mut self, replica: usize, toml: &str) {
        let known = &mut self.replicas[replica];
        let rules = super::world::checked(toml, &self.world.endpoints).unwrap();
        let store: Arc<dyn CentralStore> = known.client.clone();
        known.limits = Limits::new(Arc::new(rules), Arc::clone(known.limits.counters()))
            .shared_through(vec![Some(store)], RegionId(0));
    }

    /// Schedules a request.
    pub(super) fn request(&mut self, at: u64, replica: usize, ask: &Ask) {
        self.schedule(at, Event::Arrives { replica, ask: Box::new(ask.clone()) });
    }

    /// Schedules requests at random: `rate` a second in all, for each replica by its weight.
    pub(super) fn poisson(&mut self, (from, until): (u64, u64), rate: f64, weights: &[u64], ask: &Ask) {
        let total: u64 = weights.iter().sum();
        for (replica, weight) in weights.iter().enumerate().filter(|(_, weight)| **weight > 0) {
            let rate = rate * *weight as f64 / total as f64;
            let mut at = from as f64;
            loop {
                let unit = (self.dice.below(1 << 53) + 1) as f64 / (1_u64 << 53) as f64;
                at += -unit.ln() / rate * 1e9;
                if at >= until as f64 {
                    break;
                }
                self.request(at as u64, replica, ask);
            }
        }
    }

    /// Schedules a change of anything.
    pub(super) fn at(&mut self, at: u64, change: impl FnOnce(&mut Self) + 'static) {
        self.schedule(at, Event::Changes(Box::new(change)));
    }

    /// Runs until nothing is scheduled.
    pub(super) fn run(&mut self) {
        while let Some(Reverse((at, number))) = self.events.pop() {
            self.now = at;
            let Some(event) = self.scheduled.remove(&number) else { continue };
            self.happens(event);
        }
        assert!(self.replicas.iter().all(|replica| replica.waiting.is_empty()), "somebody waits for ever");
    }

    fn schedule(&mut self, at: u64, event: Event) {
        self.next += 1;
        self.events.push(Reverse((at, self.next)));
        self.scheduled.insert(self.next, event);
    }

    fn happens(&mut self, event: Event) {
        match event {
            Event::Arrives { replica, ask } => {
                let arrived = self.now;
                self.decide(replica, *ask, arrived, None);
            }
            Event::Wakes { replica } => self.wake(replica),
            Event::Reaches { call, question } => {
                let way = self.way();
                let lost = self.is_lost(self.calls.get(&call).map(|(replica, ..)| *replica));
                if self.weather.is_frozen || self.weather.is_dead {
                    return;
                }
                let clock = self.now.saturating_add_signed(self.weather.clock_ahead);
                let answer = self.model.answer(&question, clock / TICK_NANOS);
                if !lost {
                    self.schedule(self.now + way, Event::Returns { call, answer });
                }
            }
            Event::Returns { call, answer } => self.end(call, &Ok(answer)),
            Event::Expires { call } => {
                if let Some((replica, ..)) = self.calls.get(&call) {
                    self.timed_out(*replica);
                    self.end(call, &Err(StoreFault::TimedOut));
                }
            }
            Event::Probes { replica } => self.probe(replica),
            Event::Resumes { replica } => self.resume(replica),
            Event::Changes(change) => {
                change(self);
                let is_told =
                    |replica: &usize| self.weather.is_dead && !self.weather.cut_off.contains(replica);
                for replica in (0..self.replicas.len()).filter(is_told).collect::<Vec<_>>() {
                    self.goes_down(replica);
                }
            }
        }
    }

    fn way(&mut self) -> u64 {
        let Weather { least_way, most_way, .. } = self.weather;
        least_way + self.dice.below(most_way - least_way + 1)
    }

    fn is_lost(&mut self, replica: Option<usize>) -> bool {
        replica.is_some_and(|replica| self.weather.cut_off.contains(&replica))
            || self.dice.below(1_000) < self.weather.lost_permille
    }

    fn clock_of(&self, replica: usize) -> Now {
        let monotonic_nanos = self.now + self.replicas[replica].offset;
        Now { monotonic_nanos, unix_millis: 1_700_000_000_000 + self.now / MILLI }
    }

    fn decide(
        &mut self,
        replica: usize,
        ask: Ask,
        arrived: u64,
        so_far: Option<crate::limits::shared::Waited>,
    ) {
        let now = self.clock_of(replica);
        let limits = &self.replicas[replica].limits;
        let attempt = self.world.attempt(limits, &ask, now, so_far);
        let (calls, wanted) = match attempt {
            Attempt::Decided(decided) => {
                let path = decided.as_ref().map_or_else(|exceeded| exceeded.path, Admission::path);
                let (refused, calls) = match decided {
                    Ok(mut admission) => (None, std::mem::take(&mut admission.ahead)),
                    Err(exceeded) if exceeded.quota.is_none() => (Some(u64::MAX), Vec::new()),
                    Err(exceeded) => (Some(exceeded.wait.as_nanos() as u64), Vec::new()),
                };
                self.ended.push(Ended { replica, arrived, at: self.now, path, refused });
                (calls, None)
            }
            Attempt::NeedsShared(_, mut wanted) => (wanted.take_calls(), Some(wanted)),
        };
        for call in calls {
            self.send(replica, call);
        }
        let Some(wanted) = wanted else { return };
        self.next += 1;
        let number = self.next;
        // At once if its question has failed already.
        let wait = wanted.due.map_or(0, |due| due.saturating_sub(now.monotonic_nanos));
        self.schedule(self.now + wait, Event::Wakes { replica });
        if let Some(ends) = wanted.patience_ends() {
            let wait = ends.saturating_sub(now.monotonic_nanos);
            self.schedule(self.now + wait, Event::Wakes { replica });
        }
        self.replicas[replica].waiting.push(Waiter { number, ask, arrived, wanted });
    }

    fn wake(&mut self, replica: usize) {
        let mut passed = 0;
        loop {
            let now = self.now;
            let known = &mut self.replicas[replica];
            let offset = known.offset;
            let found = known.waiting.iter().enumerate().find_map(|(place, waiter)| {
                (waiter.number > passed && waiter.wanted.is_over(now + offset)).then_some(place)
            });
            let Some(place) = found else { return };
            let Waiter { number, ask, arrived, wanted, .. } = known.waiting.remove(place);
            passed = number;
            self.decide(replica, ask, arrived, Some(wanted.over()));
        }
    }

    fn send(&mut self, replica: usize, call: Call) {
        self.asked += 1;
        self.next += 1;
        let number = self.next;
        let question = call.question().clone();
        let now = self.now;
        self.asked_of.extend(question.asked.iter().map(|asked| (now, replica, Arc::clone(&asked.name))));
        self.calls.insert(number, (replica, call, self.now));
        if self.weather.is_dead && !self.weather.cut_off.contains(&replica) {
            self.goes_down(replica);
            self.end(number, &Err(StoreFault::Broken));
            return;
        }
        let way = self.way();
        if !self.is_lost(Some(replica)) {
            self.schedule(self.now + way, Event::Reaches { call: number, question });
        }
        self.schedule(self.now + DEADLINE, Event::Expires { call: number });
    }

    fn end(&mut self, call: u64, answer: &Result<Answer, StoreFault>) {
        let Some((replica, call, sent)) = self.calls.remove(&call) else { return };
        let known = &mut self.replicas[replica];
        if answer.is_ok() {
            known.answered = known.answered.max(sent);
            known.client.round_trip.fetch_max(self.now - sent, Ordering::SeqCst);
        }
        call.end(answer, self.now + self.replicas[replica].offset);
        self.wake(replica);
    }

    fn timed_out(&mut self, replica: usize) {
        let now = self.now;
        let known = &mut self.replicas[replica];
        known.timeouts.retain(|at| at + SECOND > now);
        known.timeouts.push(now);
        if known.timeouts.len() >= 3 {
            self.goes_down(replica);
        }
    }

    fn goes_down(&mut self, replica: usize) {
        let now = self.now;
        let known = &mut self.replicas[replica];
        if known.client.is_up.swap(false, Ordering::SeqCst) {
            let began = known.answered + known.offset;
            *known.client.outage.lock().unwrap() = Some(Outage { began_nanos: began, ended_nanos: None });
            known.timeouts.clear();
            known.next_probe_after = 250 * MILLI;
            self.schedule(now + 250 * MILLI, Event::Probes { replica });
        }
    }

    /// Whoever reaches the store goes on with all others that do until the first that did has waited for them.
    fn probe(&mut self, replica: usize) {
        if self.reaches(replica) {
            if self.resume_at <= self.now {
                self.resume_at = self.now + GRACE;
            }
            return self.schedule(self.resume_at, Event::Resumes { replica });
        }
        let known = &mut self.replicas[replica];
        known.next_probe_after = (known.next_probe_after * 2).min(LONGEST_PROBE);
        let after = known.next_probe_after * 3 / 4 + self.dice.below(known.next_probe_after / 2);
        self.schedule(self.now + after, Event::Probes { replica });
    }

    fn resume(&mut self, replica: usize) {
        if !self.reaches(replica) {
            return self.schedule(self.now, Event::Probes { replica });
        }
        let known = &mut self.replicas[replica];
        known.answered = self.now;
        if let Some(outage) = &mut *known.client.outage.lock().unwrap() {
            outage.ended_nanos = Some(self.now + known.offset);
        }
        known.client.is_up.store(true, Ordering::SeqCst);
    }

    fn reaches(&self, replica: usize) -> bool {
        let weather = &self.weather;
        !weather.is_frozen && !weather.is_dead && !weather.cut_off.contains(&replica)
    }
}
