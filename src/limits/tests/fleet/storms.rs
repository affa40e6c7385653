//! Weather at random: slow, stalling, lossy, frozen, dead and cut off stores, clocks that step and stores that forget, while
//! quotas change. What is admitted stays within what the room's bounds say of it, nobody waits longer than promised, and
//! afterwards the limit is there again.

use super::{DEADLINE, Dice, Fleet, MILLI, SECOND, Weather};
use crate::limits::tests::world::ASK;

/// When the last weather ends, and when the run does.
const CALM_AGAIN: u64 = 25 * SECOND;
const END: u64 = 105 * SECOND;
/// For how long replicas go on apart at an outage's begin and end.
const APART_SECONDS: f64 = 2.0;

/// Requests in a period: of one fill, so that the same part of each comes back in the same time.
const QUOTAS: [u64; 4] = [20, 60, 600, 6_000];

/// A kind of policies, in which quotas change.
struct Kind {
    replicas: usize,
    period: &'static str,
    /// Its seconds.
    fill: f64,
    cost: u64,
    windows: &'static [&'static str],
    /// What each counts by, how it is shared, and what it does without the store: one, or two of the same quota.
    ways: Vec<[&'static str; 3]>,
}

/// A run, and what it may admit beyond the limit.
struct Storm {
    kind: Kind,
    /// Requests that each replica admits as the store begins to fail it.
    begins: f64,
    /// Seconds of the rate.
    seconds: f64,
    /// Whole bursts.
    bursts: f64,
    story: Vec<String>,
}

impl Kind {
    fn at_random(dice: &mut Dice) -> Self {
        let replicas = [1, 2, 3, 8][dice.below(4) as usize];
        let cost = [1, 1, 1, 2, 5][dice.below(5) as usize];
        let mut pick = |among: &[&'static str]| among[dice.below(among.len() as u64) as usize];
        let period = pick(&["minute", "minute", "minute", "day"]);
        let mut way =
            |per| [per, pick(&["auto", "auto", "strict", "lease"]), pick(&["share", "share", "closed"])];
        let mut ways = vec![way("token"), way("workspace")];
        let is_day = period == "day";
        let windows: [&'static [&'static str]; 3] = [&["rolling"], &["calendar"], &["rolling", "calendar"]];
        let windows = if is_day { windows[dice.below(3) as usize] } else { windows[0] };
        ways.truncate(1 + dice.below(2) as usize);
        Self { replicas, period, fill: if is_day { 86_400.0 } else { 60.0 }, cost, windows, ways }
    }

    fn is_closed(&self) -> bool {
        self.ways.iter().any(|[.., on_store_failure]| *on_store_failure == "closed")
    }

    fn toml(&self, requests: u64, dice: &mut Dice) -> String {
        let Self { period, cost, windows, .. } = self;
        let policy = |[per, shared, on_store_failure]: &[&'static str; 3]| {
            let window = windows[dice.below(windows.len() as u64) as usize];
            format!(
                r#"{{ name = "by-{per}", per = ["{per}"], quota = "{requests} per {period}", cost = {cost}, window = "{window}", shared = "{shared}", on_store_failure = "{on_store_failure}" }}"#
            )
        };
        let policies: Vec<String> = self.ways.iter().map(policy).collect();
        format!("policies = [{}]", policies.join(", "))
    }
}

fn part(dice: &mut Dice, most: u64) -> u64 {
    1 + dice.below(most)
}

impl Storm {
    /// Schedules a kind of weather from one time to another.
    fn blow(&mut self, fleet: &mut Fleet, dice: &mut Dice, (from, until): (u64, u64)) {
        let replicas = fleet.replicas.len();
        let seconds = (until - from) as f64 / 1e9;
        let mut weather = Weather::default();
        let sort = dice.below(9);
        let (begins, lasts) = match sort {
            // It answers late, in time.
            0 => {
                weather.most_way = part(dice, DEADLINE / 2 - MILLI);
                weather.least_way = dice.below(weather.most_way);
                (1.0, 0.1)
            }
            // Some answers come in time.
            1 => {
                weather.most_way = DEADLINE / 2 + part(dice, DEADLINE);
                weather.least_way = dice.below(DEADLINE / 2);
                (1.0, seconds + APART_SECONDS)
            }
            2 => {
                weather.lost_permille = part(dice, 600);
                (1.0, seconds + APART_SECONDS)
            }
            3 => {
                weather.is_frozen = true;
                (1.0, APART_SECONDS)
            }
            4 => {
                weather.is_dead = true;
                (1.0, APART_SECONDS)
            }
            5 | 6 => {
                weather.cut_off = (0..replicas).filter(|_| dice.below(3) == 0).collect();
                let k = weather.cut_off.len() as f64 / replicas as f64;
                (k, k * (seconds + APART_SECONDS))
            }
            7 => {
                let step = dice.below(10 * SECOND) as i64 - 5 * SECOND as i64;
                fleet.at(from, move |fleet| fleet.weather.clock_ahead += step);
                self.story.push(format!("{from}: its clock steps by {step}"));
                self.seconds += (step.max(0) as f64) / 1e9;
                return;
            }
            _ => {
                fleet.at(from, |fleet| fleet.model.flush());
                self.story.push(format!("{from}: it forgets"));
                self.bursts += 1.0;
                return;
            }
        };
        self.story.push(format!(
            "{from} to {until}: {sort} {} to {} {:?}",
            weather.least_way, weather.most_way, weather.cut_off
        ));
        if !self.kind.is_closed() {
            self.begins += begins;
            self.seconds += lasts;
        }
        fleet.at(from, move |fleet| {
            let clock_ahead = fleet.weather.clock_ahead;
            fleet.weather = Weather { clock_ahead, ..weather };
        });
        fleet.at(until, |fleet| {
            let clock_ahead = fleet.weather.clock_ahead;
            fleet.weather = Weather { clock_ahead, ..Weather::default() };
        });
    }
}

fn storm(seed: u64, changes: bool) {
    let mut dice = Dice(seed);
    let kind = Kind::at_random(&mut dice);
    let requests = QUOTAS[dice.below(4) as usize];
    let mut fleet = Fleet::new(seed ^ 0x5eed, kind.replicas, &kind.toml(requests, &mut dice));
    let mut storm = Storm { kind, begins: 0.0, seconds: 0.0, bursts: 0.0, story: Vec::new() };
    let mut at = 3 * SECOND;
    for _ in 0..part(&mut dice, 3) {
        let from = at + dice.below(4 * SECOND);
        at = from + part(&mut dice, 6 * SECOND);
        if at > CALM_AGAIN {
            break;
        }
        storm.blow(&mut fleet, &mut dice, (from, at));
    }
    let kind = &storm.kind;
    let mut in_force = vec![vec![(0, requests)]; kind.replicas];
    if changes {
        let mut times: Vec<u64> =
            (0..part(&mut dice, 12)).map(|_| 2 * SECOND + dice.below(CALM_AGAIN)).collect();
        times.sort_unstable();
        for at in times {
            let requests = QUOTAS[dice.below(4) as usize];
            let toml = kind.toml(requests, &mut dice);
            for (replica, in_force) in in_force.iter_mut().enumerate() {
                let at = at.max(in_force.last().map_or(0, |(at, _)| *at)) + dice.below(300 * MILLI);
                let toml = toml.clone();
                fleet.at(at, move |fleet| fleet.reload(replica, &toml));
                in_force.push((at, requests));
            }
        }
    }
    let weights: Vec<u64> = (0..kind.replicas).map(|_| part(&mut dice, 5)).collect();
    let times = [1.0, 3.0, 8.0][dice.below(3) as usize];
    let rate = (requests as f64 / 60.0 / kind.cost as f64 * times).min(150.0);
    fleet.poisson((SECOND, END), rate, &weights, &ASK);
    fleet.run();
    let what =
        || format!("seed {seed}, {}\n{:#?}\n{in_force:?}", kind.toml(requests, &mut Dice(0)), storm.story);
    judge(&fleet, &storm, &in_force, &what);
    if kind.period == "minute" {
        let last = in_force.iter().map(|times| times.last().map_or(0, |(_, requests)| *requests)).max();
        is_there_again(&fleet, kind, last.unwrap_or(0) as f64 / 60.0, rate, &what);
    }
}

/// What is admitted is counted in parts of the burst that it was admitted under.
fn judge(fleet: &Fleet, storm: &Storm, in_force: &[Vec<(u64, u64)>], what: &dyn Fn() -> String) {
    let Kind { replicas, fill, cost, .. } = storm.kind;
    let burst_at = |replica: usize, at: u64| {
        in_force[replica].iter().rfind(|(from, _)| *from <= at).map_or(1.0, |(_, requests)| *requests as f64)
    };
    let mut admitted: Vec<(u64, f64)> =
        fleet.admitted().map(|ended| (ended.at, cost as f64 / burst_at(ended.replica, ended.at))).collect();
    admitted.sort_by_key(|(at, _)| *at);
    let (mut worst, mut base, mut before) = (0.0_f64, f64::INFINITY, 0.0);
    for (at, parts) in admitted {
        let refilled = at as f64 / 1e9 / fill;
        base = base.min(before - refilled);
        before += parts;
        worst = worst.max(before - refilled - base);
    }
    let least = in_force.iter().flatten().map(|(_, requests)| *requests).min().unwrap_or(1) as f64;
    let begins = storm.begins * (replicas as u64 * cost) as f64 / least;
    let most = 1.0 + storm.bursts + begins + storm.seconds / fill;
    assert!(worst <= most + 1e-6, "{worst} bursts, at most {most}; {}", what());
    let closed = if storm.kind.is_closed() { 2.0 * DEADLINE as f64 / 1e6 } else { 0.0 };
    let (longest, patience) = (fleet.longest_wait_millis(), fleet.patience_millis() + closed);
    assert!(longest <= patience, "{longest} ms of {patience}; {}", what());
}

/// Long after the last storm nearly all of the rate is used, where so much is asked for.
fn is_there_again(fleet: &Fleet, kind: &Kind, rate: f64, offered: f64, what: &dyn Fn() -> String) {
    let begins = (kind.replicas as u64 * kind.cost) as f64;
    // Until then whatever is owed is paid.
    if offered * (kind.cost as f64) < rate * 2.0 || rate * 50.0 < begins {
        return;
    }
    let tokens =
        kind.cost as f64 * fleet.admitted().filter(|ended| ended.at >= END - 20 * SECOND).count() as f64;
    let least = rate * 20.0 * 0.9 - 2.0 * kind.cost as f64;
    assert!(tokens >= least, "{tokens} at the end, at least {least}; {}", what());
}

#[test]
fn storms_break_no_bound() {
    for seed in seeds(8) {
        storm(seed, false);
    }
}

#[test]
fn storms_break_no_bound_while_quotas_change() {
    for seed in seeds(8) {
        storm(seed, true);
    }
}

/// `STORMS=1000 STORMS_FROM=20` tries others.
fn seeds(few: u64) -> std::ops::Range<u64> {
    let number = |name: &str| std::env::var(name).ok().and_then(|value| value.parse().ok());
    let first = number("STORMS_FROM").unwrap_or(0);
    first..first + number("STORMS").unwrap_or(few)
}
