//! A restart is no amnesty: limits are as they were before, and after a kill within what was used since the last saving.

use std::time::Duration;

use tempfile::TempDir;

use crate::support::{Answer, Behaviour, Gateway, Upstream, config, request, until};

const POLICIES: &str = r#"
[limits]
snapshot_seconds = 1
[[limits.policies]]
name = "small"
per = ["token"]
quota = "8 per day"
[[limits.policies]]
name = "monthly"
per = ["workspace"]
quota = "700 per month"
window = "calendar"
"#;

struct World {
    gateway: Gateway,
    upstream: Upstream,
    token: String,
    policies: String,
}

impl World {
    fn new(policies: &str) -> Self {
        let upstream = Upstream::start(Behaviour::status(200, "us"));
        let gateway = Gateway::start(&config(&upstream.url(), &upstream.url(), policies));
        let (_, token) = gateway.token("ws-us", &[]);
        Self { gateway, upstream, token, policies: policies.to_owned() }
    }

    fn ask(&self) -> Answer {
        self.gateway.connect().send(&request("GET", "/sources", &self.token, ""))
    }

    /// What is left of a policy, by the page that is not charged.
    fn left(&self, policy: &str) -> u64 {
        let page = self.gateway.ask(&self.token, "/tollgate/v1/limits").json();
        let rows = page["data"]["limits"].as_array().unwrap().clone();
        rows.iter().find(|row| row["policy"] == policy).unwrap()["remaining"].as_u64().unwrap()
    }

    /// Ends the process by a signal, unless it has ended, and starts another one in its folder.
    fn restarted(self, signal: &str, policies: &str) -> Self {
        let Self { mut gateway, upstream, token, .. } = self;
        if gateway.process.ended().is_none() {
            gateway.process.signal(signal);
        }
        gateway.process.wait();
        let folder: TempDir = gateway.into_folder();
        let gateway = Gateway::start_in(folder, &config(&upstream.url(), &upstream.url(), policies));
        Self { gateway, upstream, token, policies: policies.to_owned() }
    }

    fn restart(self, signal: &str) -> Self {
        let policies = self.policies.clone();
        self.restarted(signal, &policies)
    }

    /// Waits until a file was begun after everything so far, which two further ones show.
    fn until_saved(&self) {
        let file = self.gateway.file.with_file_name("tollgate.limits");
        let written = || std::fs::metadata(&file).and_then(|metadata| metadata.modified()).ok();
        for _ in 0..2 {
            let before = written();
            until("a further saving", || (written() != before).then_some(()));
        }
    }
}

#[test]
fn after_a_clean_end_exactly_as_much_is_left() {
    let world = World::new(POLICIES);
    for _ in 0..8 {
        assert_eq!(world.ask().status, 200);
    }
    assert_eq!(world.ask().said(), (429, "quota_exceeded".to_owned()));
    let world = world.restart("TERM");
    assert_eq!((world.left("small"), world.left("monthly")), (0, 692));
    let refused = world.ask();
    assert_eq!(refused.said(), (429, "quota_exceeded".to_owned()));
    assert_eq!(refused.error()["data"]["policy"], "small");
    let (_, other) = world.gateway.token("ws-us", &[]);
    assert_eq!(world.gateway.ask(&other, "/sources").status, 200);
    let world = world.restart("TERM");
    assert_eq!((world.left("small"), world.left("monthly")), (0, 691), "and once more");
    assert_eq!(world.upstream.text().matches("GET /sources").count(), 9);
    assert!(world.gateway.process.stderr.text().contains("the saved limits are in force again"));
    let file = std::fs::read(world.gateway.file.with_file_name("tollgate.limits")).unwrap();
    let text = String::from_utf8_lossy(&file);
    assert!(!text.contains(&world.token) && !text.contains("ws-us"), "it names nobody");
}

#[test]
fn after_a_kill_at_most_the_last_savings_time_is_forgotten() {
    let world = World::new(POLICIES);
    for _ in 0..5 {
        assert_eq!(world.ask().status, 200);
    }
    world.until_saved();
    assert_eq!(world.ask().status, 200);
    let world = world.restart("KILL");
    let left = world.left("small");
    assert!((2..=3).contains(&left), "five were saved, {left} of 8 are left");
    assert_eq!(world.left("monthly"), 692 + left);
}

#[test]
fn what_changed_in_the_configuration_meanwhile_keeps_the_used_share() {
    let world = World::new(POLICIES);
    for _ in 0..4 {
        assert_eq!(world.ask().status, 200);
    }
    let world = world.restarted("TERM", &POLICIES.replace("8 per day", "80 per day"));
    assert_eq!(world.left("small"), 40);
    let renamed = POLICIES.replace("name = \"small\"", "name = \"tiny\"\nformerly = \"small\"");
    let world = world.restarted("TERM", &renamed);
    assert_eq!(world.left("tiny"), 4);
}

#[test]
fn a_damaged_file_is_told_and_stops_nothing() {
    let world = World::new(POLICIES);
    assert_eq!(world.ask().status, 200);
    let mut world = world.restart("TERM");
    let file = world.gateway.file.with_file_name("tollgate.limits");
    let mut bytes = std::fs::read(&file).unwrap();
    for byte in bytes.iter_mut().skip(30) {
        *byte ^= 0x55;
    }
    world.gateway.process.signal("KILL");
    world.gateway.process.wait();
    std::fs::write(&file, &bytes).unwrap();
    let world = world.restart("KILL");
    assert!(world.gateway.process.stderr.text().contains("every bucket starts full"));
    assert_eq!((world.left("small"), world.ask().status), (8, 200));
}

/// The short form takes two seconds of reloads at 10 a second, `TOLLGATE_LONG=1` a minute.
#[test]
fn reloads_at_10_hz_with_changing_quotas_admit_nothing_extra_and_lock_nobody_out() {
    let is_long = std::env::var("TOLLGATE_LONG").is_ok_and(|long| long == "1");
    let rounds = if is_long { 600 } else { 20 };
    let quotas = ["60 per minute", "600 per minute"];
    let policies = |quota: &str| {
        format!("[[limits.policies]]\nname = \"small\"\nper = [\"token\"]\nquota = \"{quota}\"\n")
    };
    let world = World::new(&policies(quotas[0]));
    let stop = std::sync::atomic::AtomicBool::new(false);
    let started = std::time::Instant::now();
    let admitted: usize = std::thread::scope(|scope| {
        let asking: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    let mut client = world.gateway.connect();
                    let mut admitted = 0;
                    while !stop.load(std::sync::atomic::Ordering::SeqCst) {
                        let answer = client.send(&request("GET", "/sources", &world.token, ""));
                        assert!(matches!(answer.status, 200 | 429), "{answer:?}");
                        admitted += usize::from(answer.status == 200);
                    }
                    admitted
                })
            })
            .collect();
        for round in 1..=rounds {
            let text = config(&world.upstream.url(), &world.upstream.url(), &policies(quotas[round % 2]));
            std::fs::write(&world.gateway.file, text).unwrap();
            world.gateway.process.signal("HUP");
            std::thread::sleep(Duration::from_millis(100));
        }
        stop.store(true, std::sync::atomic::Ordering::SeqCst);
        asking.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    let took = started.elapsed().as_secs_f64() + 1.0;
    let share = f64::from(u32::try_from(admitted).unwrap()) / 600.0;
    assert!(share <= 1.0 + took / 60.0, "{admitted} in {took} s are more than the wider quota admits");
    // Nobody is locked out: at either quota one comes back within a second.
    let last = world.ask();
    let wait: u64 = last.field("retry-after").map_or(0, |wait| wait.parse().unwrap());
    assert!(wait <= 1, "{last:?}");
    until("an admitted request", || (world.ask().status == 200).then_some(()));
}
