mod destinations;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use proptest::prelude::*;
use serde_json::Value;

use super::lines::Lines;
use super::series::Series;
use super::*;
use crate::clock::Clock;
use crate::domain::{ApiVersion, Forwarded, Outcome, Problems};

const SOON: Duration = Duration::from_secs(20);

/// A destination that keeps what is written.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Bench {
    telemetry: Telemetry,
    clock: Clock,
    kept: Kept,
}

impl Bench {
    fn new(settings: &Settings) -> Self {
        let checked = from_settings(settings, Path::new(""), &mut Problems::new()).unwrap();
        let kept = Kept::default();
        let lines = Arc::new(Lines::start("tollgate-test", Box::new(kept.clone()), None, 2).unwrap());
        let clock = Clock::manual(1_700_000_000);
        let build = Build { version: "1.2.3", commit: "abc" };
        let telemetry = Telemetry::with_lines(&checked, Some(lines), 2, &clock, 7, build).unwrap();
        Self { telemetry, clock, kept }
    }

    fn open(&self, path: &[u8], user_agent: &[u8]) -> Record {
        let core = self.telemetry.core(0);
        core.open(Arrival {
            request_id: core.request_id(None),
            trace: core.trace(None),
            now: self.clock.now(),
            method: b"GET",
            path,
            user_agent,
            accept: b"application/vnd.segment.v1+json",
            content_type: b"",
            peer: Some("192.0.2.7:4000".parse().unwrap()),
            protocol: "HTTP/1.1",
        })
    }

    /// Ends the log and gives its lines.
    fn lines(&self) -> Vec<String> {
        assert!(self.telemetry.stop(SOON));
        let text = String::from_utf8(self.kept.0.lock().unwrap().clone()).unwrap();
        assert!(text.is_empty() || text.ends_with('\n'));
        text.lines().map(str::to_owned).collect()
    }

    fn metric(&self, line_start: &str) -> Option<f64> {
        let text = self.telemetry.metrics_text();
        text.lines().find_map(|line| line.strip_prefix(line_start)?.trim().parse().ok())
    }
}

fn settings(text: &str) -> Settings {
    toml::from_str(text).unwrap()
}

#[test]
fn a_finished_record_is_counted_and_written_once() {
    let bench = Bench::new(&Settings::default());
    let mut record = bench.open(b"/sources", b"curl/8");
    let labels = bench.telemetry.labels();
    record.facts.operation = labels.operation("listSources");
    record.facts.region = labels.region("eu");
    record.facts.workspace_id = Some("ws_1".into());
    record.facts.token_id = Some("tok_1".into());
    record.facts.api_version = ApiVersion::by_name("v1beta");
    record.facts.upstream = Some("eu-a".into());
    record.facts.forwarded.set(Forwarded::Yes);
    record.facts.overhead = Some(Duration::from_micros(40));
    record.facts.upstream_time = Some(Duration::from_millis(3));
    record.facts.bytes_out = 512;
    assert_eq!(bench.metric("tollgate_in_flight "), Some(1.0));
    bench.clock.advance(Duration::from_millis(5));
    record.finish(Outcome::Forwarded, 200);

    assert_eq!(bench.metric("tollgate_in_flight "), Some(0.0));
    let series = "tollgate_requests_total{operation=\"listSources\",method=\"GET\",outcome=\"forwarded\",status=\"2xx\",region=\"eu\"}";
    assert_eq!(bench.metric(series), Some(1.0));
    assert_eq!(bench.metric("tollgate_request_seconds_sum{region=\"eu\"}"), Some(0.005));
    assert_eq!(bench.metric("tollgate_request_seconds_bucket{region=\"eu\",le=\"0.0025\"}"), Some(0.0));
    assert_eq!(bench.metric("tollgate_request_seconds_bucket{region=\"eu\",le=\"0.005\"}"), Some(1.0));
    assert_eq!(bench.metric("tollgate_upstream_seconds_count{region=\"eu\"}"), Some(1.0));
    assert_eq!(bench.metric("tollgate_overhead_seconds_bucket{le=\"0.00005\"}"), Some(1.0));
    assert_eq!(bench.metric("tollgate_response_bytes_total "), Some(512.0));

    let lines = bench.lines();
    assert_eq!(lines.len(), 1);
    let line: Value = serde_json::from_str(&lines[0]).unwrap();
    let expected = [
        ("time", "2023-11-14T22:13:20.000Z"),
        ("outcome", "forwarded"),
        ("method", "GET"),
        ("path", "/sources"),
        ("operation", "listSources"),
        ("api_version", "v1beta"),
        ("workspace_id", "ws_1"),
        ("token_id", "tok_1"),
        ("region", "eu"),
        ("upstream", "eu-a"),
        ("forwarded", "yes"),
        ("peer", "192.0.2.7:4000"),
        ("user_agent", "curl/8"),
        ("protocol", "HTTP/1.1"),
    ];
    for (name, value) in expected {
        assert_eq!(line[name], value, "{name}");
    }
    assert_eq!((line["status"].as_u64(), line["total_micros"].as_u64()), (Some(200), Some(5_000)));
    assert_eq!((line["overhead_micros"].as_u64(), line["upstream_micros"].as_u64()), (Some(40), Some(3_000)));
}

#[test]
fn a_dropped_record_says_that_the_client_has_gone() {
    let bench = Bench::new(&Settings::default());
    drop(bench.open(b"/", b""));
    let lines = bench.lines();
    assert_eq!(lines.len(), 1);
    assert_eq!(serde_json::from_str::<Value>(&lines[0]).unwrap()["outcome"], "client_gone");
    assert_eq!(bench.metric("tollgate_in_flight "), Some(0.0));
    assert!(!bench.telemetry.metrics_text().contains("tollgate_refusals_total{reason=\"client_gone\"}"));
}

#[test]
fn a_record_dropped_by_a_panic_blames_us() {
    let bench = Bench::new(&Settings::default());
    let record = bench.open(b"/", b"");
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
        let _record = record;
        panic!("for this test");
    }));
    assert!(caught.is_err());
    assert_eq!(bench.metric("tollgate_refusals_total{reason=\"internal\"}"), Some(1.0));
}

#[test]
fn no_label_comes_from_a_client() {
    let bench = Bench::new(&Settings::default());
    let core = bench.telemetry.core(1);
    for number in 0..50 {
        let name = format!("INVENTED{number}");
        let mut record = core.open(Arrival {
            request_id: core.request_id(Some(name.as_bytes())),
            trace: core.trace(None),
            now: bench.clock.now(),
            method: name.as_bytes(),
            path: name.as_bytes(),
            user_agent: name.as_bytes(),
            accept: name.as_bytes(),
            content_type: name.as_bytes(),
            peer: None,
            protocol: "HTTP/1.1",
        });
        core.preflight(name.as_bytes(), bench.clock.now());
        record.finish(Outcome::CredentialMissing, 401);
    }
    let text = bench.telemetry.metrics_text();
    assert!(!text.contains("INVENTED"));
    assert_eq!(
        bench.metric(
            "tollgate_requests_total{operation=\"unmatched\",method=\"OTHER\",outcome=\"credential_missing\",status=\"4xx\",region=\"none\"}"
        ),
        Some(50.0)
    );
}

#[test]
fn every_promised_metric_is_there_and_gauges_are_read_at_scrape_time() {
    let bench = Bench::new(&Settings::default());
    bench.open(b"/", b"").finish(Outcome::RateLimited, 429);
    let core = bench.telemetry.core(0);
    let policy = bench.telemetry.labels().policy("per-token");
    core.limit_decision(policy, Decision::Admit, Mode::Enforce);
    core.limit_decision(policy, Decision::Refuse, Mode::Shadow);
    let (connection, _other) = (core.connection(), bench.telemetry.core(1).connection());
    core.token_exposed("tok_1", bench.clock.now());
    core.panicked();
    let tokens = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&tokens);
    bench.telemetry.add_gauge(Gauge::single("tollgate_tokens", "Live tokens", move || {
        if seen.load(Ordering::SeqCst) { 2.0 } else { 1.0 }
    }));
    bench.telemetry.add_gauge(Gauge::family(
        "tollgate_upstream_healthy",
        "1 if it takes requests",
        &["region", "upstream"],
        || vec![(vec!["us".to_owned(), "us-a".to_owned()], 1.0)],
    ));
    assert_eq!(bench.metric("tollgate_tokens "), Some(1.0));
    tokens.store(true, Ordering::SeqCst);
    let expected = [
        ("tollgate_tokens ", 2.0),
        ("tollgate_upstream_healthy{region=\"us\",upstream=\"us-a\"}", 1.0),
        ("tollgate_limit_decisions_total{policy=\"per-token\",decision=\"admit\",mode=\"enforce\"}", 1.0),
        ("tollgate_limit_decisions_total{policy=\"per-token\",decision=\"refuse\",mode=\"shadow\"}", 1.0),
        ("tollgate_refusals_total{reason=\"rate_limited\"}", 1.0),
        ("tollgate_refusals_total{reason=\"draining\"}", 0.0),
        ("tollgate_connections ", 2.0),
        ("tollgate_exposed_tokens_total ", 1.0),
        ("tollgate_panics_total ", 1.0),
        ("tollgate_log_lines_dropped_total ", 0.0),
        ("tollgate_build_info{version=\"1.2.3\",commit=\"abc\"}", 1.0),
    ];
    for (name, value) in expected {
        assert_eq!(bench.metric(name), Some(value), "{name}");
    }
    drop(connection);
    assert_eq!(bench.metric("tollgate_connections "), Some(1.0));
    assert_eq!(bench.metric("tollgate_connections_opened_total "), Some(2.0));
}

#[test]
fn text_lines_are_pairs() {
    let bench = Bench::new(&settings("format = \"text\""));
    let mut record = bench.open(b"/a b", b"a \"b\"\n=c");
    record.facts.policy = Some(bench.telemetry.labels().policy("per-token"));
    record.finish(Outcome::RateLimited, 429);
    let line = &bench.lines()[0];
    assert!(
        line.starts_with("time=2023-11-14T22:13:20.000Z outcome=rate_limited status=429 method=GET"),
        "{line}"
    );
    assert!(line.contains(" path=\"/a b\" operation=unmatched "), "{line}");
    assert!(line.contains(" policy=per-token "), "{line}");
    assert!(line.contains(" user_agent=\"a \\\"b\\\"\\x0a=c\" "), "{line}");
}

#[test]
fn request_ids_are_unique_well_formed_and_kept_if_the_caller_sent_a_good_one() {
    let cores = [RequestIds::new(1, 0), RequestIds::new(1, 1), RequestIds::new(2, 0)];
    let ids: HashSet<String> =
        cores.iter().flat_map(|core| (0..1_000).map(|_| core.next().to_string())).collect();
    assert_eq!(ids.len(), 3_000);
    for id in &ids {
        assert_eq!(id.len(), 26);
        assert_eq!(RequestId::kept(id.as_bytes()).unwrap().as_str(), id);
    }
    let long = "a".repeat(128);
    for good in ["a", "A.b_c-9", "0190c2f7-6f0e-7c65-b2f5-8f7f5f2f5f2f", &long] {
        assert_eq!(RequestId::kept(good.as_bytes()).unwrap().as_str(), good);
    }
    for bad in ["", "a b", "a\r\nx: y", "ä", "a\"", "a/b", &"a".repeat(129)] {
        assert!(RequestId::kept(bad.as_bytes()).is_none(), "{bad}");
    }
    let core = Bench::new(&Settings::default()).telemetry.core(0);
    assert_eq!(core.request_id(Some(b"mine")).as_str(), "mine");
    assert_eq!(core.request_id(Some(b"not mine")).as_str().len(), 26);
}

#[test]
fn labels_outlive_a_reload_and_end_in_other() {
    let labels = Labels::default();
    let first = labels.operation("a");
    assert_ne!(labels.operation("b"), first);
    assert_eq!(labels.operation("a"), first);
    assert_eq!(labels.with_operation(first, str::to_owned), "a");
    assert_eq!(labels.with_operation(OperationLabel::default(), str::to_owned), "unmatched");
    for number in 0..40 {
        let name = format!("r{number}");
        let told = labels.with_region(labels.region(&name), str::to_owned);
        assert_eq!(told, if number < 14 { &name } else { "other" });
    }
    assert_eq!(labels.with_region(labels.region("r3"), str::to_owned), "r3");
}

#[test]
fn a_full_table_keeps_counting_under_its_overflow() {
    let series = Series::new(64);
    for key in 1..=1_000 {
        series.add(key, u64::MAX);
        series.add(key, u64::MAX);
    }
    let mut sums = BTreeMap::new();
    series.sum_into(&mut sums);
    assert_eq!(sums.values().sum::<u64>(), 2_000);
    assert_eq!(sums.len(), 49);
    assert_eq!(sums[&u64::MAX], 2_000 - 48 * 2);
}

#[test]
fn traffic_tells_outcomes_tops_and_history() {
    let bench = Bench::new(&Settings::default());
    let policy = bench.telemetry.labels().policy("per-token");
    for _ in 0..3 {
        let mut record = bench.open(b"/", b"");
        record.facts.token_id = Some("tok_1".into());
        record.facts.workspace_id = Some("ws_1".into());
        record.facts.policy = Some(policy);
        record.finish(Outcome::RateLimited, 429);
    }
    bench.open(b"/", b"").finish(Outcome::Forwarded, 200);
    bench.telemetry.core(1).preflight(b"https://page.example", bench.clock.now());
    bench.telemetry.sample(bench.clock.now());
    bench.open(b"/", b"").finish(Outcome::UpstreamOpen, 503);
    bench.telemetry.sample(bench.clock.now());
    let traffic = bench.telemetry.traffic();
    let count = |reason| traffic.outcomes.iter().find(|outcome| outcome.reason == reason).unwrap().count;
    assert_eq!((count("rate_limited"), count("forwarded")), (3, 1));
    assert_eq!(traffic.tokens, [Top { name: "tok_1".to_owned(), count: 3, marked: 3 }]);
    assert_eq!(traffic.limits[0].name, "per-token · ws_1");
    assert_eq!(traffic.origins[0].name, "https://page.example");
    assert_eq!(
        (traffic.history[0].served, traffic.history[0].caller, traffic.history[0].upstream),
        (1, 3, 0)
    );
    assert_eq!((traffic.history[1].caller, traffic.history[1].upstream), (0, 1));
    assert_eq!(traffic.status_classes, [0, 0, 1, 0, 3, 1]);
    assert_eq!((traffic.operations[0].requests, traffic.operations[0].refused), (5, 4));
    assert_eq!(traffic.latency[0].counts.iter().sum::<u64>(), 5);
    serde_json::to_string(&traffic).unwrap();
}

#[test]
fn deprecated_versions_tell_who_still_calls_them() {
    let bench = Bench::new(&Settings::default());
    let tried = bench.telemetry.labels().policy("tried");
    for (workspace, version, outcome) in [
        (Some("ws_1"), "v1alpha", Outcome::Forwarded),
        (Some("ws_1"), "v1alpha", Outcome::RateLimited),
        (Some("ws_2"), "v1alpha", Outcome::Forwarded),
        (Some("ws_2"), "v2beta", Outcome::Forwarded),
        (None, "v1alpha", Outcome::TokenUnknown),
    ] {
        let mut record = bench.open(b"/", b"");
        record.facts.operation = bench.telemetry.labels().operation("listSources");
        record.facts.workspace_id = workspace.map(Into::into);
        record.facts.api_version = ApiVersion::by_name(version);
        record.facts.deprecated = true;
        record.facts.would_refuse = Some(tried);
        record.finish(outcome, 200);
        bench.clock.advance(Duration::from_hours(10));
    }
    let found = bench.telemetry.traffic().deprecated;
    let top = |name: &str, count, marked| Top { name: name.to_owned(), count, marked };
    assert_eq!(found[0].workspaces, [top("ws_1", 2, 1), top("ws_2", 1, 0)], "strangers are not told apart");
    assert_eq!((&*found[0].operation, &*found[0].version, found[0].requests), ("listSources", "v1alpha", 4));
    assert_eq!((&*found[1].version, found[1].requests), ("v2beta", 1));
    let metric = "tollgate_deprecated_requests_total{operation=\"listSources\",version=\"v1alpha\"}";
    assert_eq!(bench.metric(metric), Some(4.0));
    let line: Value = serde_json::from_str(&bench.lines()[0]).unwrap();
    assert_eq!([&line["deprecated"], &line["would_refuse"]], ["yes", "tried"]);
    assert_eq!(line["accept"], "application/vnd.segment.v1+json");
}

#[test]
fn old_counts_fade() {
    let clock = Clock::manual(0);
    let mut tops = TopK::default();
    for _ in 0..8 {
        tops.add("old", false, clock.now());
    }
    clock.advance(Duration::from_secs(121));
    tops.add("new", true, clock.now());
    let mut sums = HashMap::new();
    tops.sum_into(&mut sums);
    assert_eq!((sums["old"], sums["new"]), ((2, 0), (1, 1)));
}

#[test]
fn settings_tell_every_mistake_at_once() {
    let wrong = settings("level = \"lo=ud=x\"\naccess_sample = 0\ndestination = \"/\"");
    let mut problems = Problems::new();
    assert!(from_settings(&wrong, Path::new(""), &mut problems).is_none());
    let keys: Vec<_> = problems.0.iter().map(|problem| problem.key.as_str()).collect();
    assert_eq!(keys, ["logs.level", "logs.access_sample", "logs.destination"]);
    assert!(toml::from_str::<Settings>("formt = \"text\"").is_err());
    let folder = Path::new("/etc/tollgate");
    let told = |text: &str| from_settings(&settings(text), folder, &mut Problems::new());
    for (text, file) in [("/tmp/x.log", "/tmp/x.log"), ("x.log", "/etc/tollgate/x.log")] {
        let checked = told(&format!("destination = {text:?}")).unwrap();
        assert_eq!(checked.destination, Destination::File(file.into()));
    }
    for word in ["inof", "tollgate", "info,limits"] {
        assert!(told(&format!("level = {word:?}")).is_none(), "{word} would silence everything else");
    }
    for word in ["off", "WARN", "info,tollgate::limits=debug"] {
        assert!(told(&format!("level = {word:?}")).is_some(), "{word}");
    }
}

proptest! {
    #[test]
    fn no_bytes_of_a_client_forge_a_line(path in any::<Vec<u8>>(), agent in any::<Vec<u8>>(), id in any::<String>()) {
        for format in ["json", "text"] {
            let bench = Bench::new(&settings(&format!("format = \"{format}\"")));
            let mut record = bench.open(&path, &agent);
            record.facts.workspace_id = Some(id.as_str().into());
            record.finish(Outcome::NotFound, 404);
            let lines = bench.lines();
            prop_assert_eq!(lines.len(), 1);
            prop_assert!(lines[0].bytes().all(|byte| (0x20..0x7f).contains(&byte)));
            if format == "json" {
                let line: Value = serde_json::from_str(&lines[0]).unwrap();
                prop_assert_eq!(line["outcome"].as_str(), Some("not_found"));
                prop_assert_eq!(line["status"].as_u64(), Some(404));
            } else {
                prop_assert_eq!(lines[0].matches(" request_id=").count() >= 1, true);
            }
        }
    }

    #[test]
    fn addresses_are_written_as_the_standard_library_does(peer in any::<std::net::SocketAddr>()) {
        let mut expected = peer;
        if let std::net::SocketAddr::V6(v6) = &mut expected {
            v6.set_scope_id(0);
        }
        let written = access_line::Address::new(peer);
        prop_assert_eq!(written.as_str(), expected.to_string());
    }

    #[test]
    fn times_are_those_of_the_calendar(unix_millis in 0_u64..253_402_300_800_000) {
        let expected = jiff::Timestamp::from_millisecond(unix_millis.cast_signed()).unwrap();
        let text = access_line::Timestamp::new(unix_millis);
        prop_assert_eq!(text.as_str().parse::<jiff::Timestamp>().unwrap(), expected);
    }

    #[test]
    fn frequent_names_are_never_lost_and_memory_is_bounded(rare in proptest::collection::vec("[a-z]{1,12}", 0..500)) {
        let now = Clock::manual(0).now();
        let mut tops = TopK::default();
        for (at, name) in rare.iter().enumerate() {
            tops.add(name, false, now);
            if at % 10 == 0 {
                tops.add("FREQUENT", true, now);
            }
        }
        let mut sums = HashMap::new();
        tops.sum_into(&mut sums);
        prop_assert!(sums.len() <= 64);
        let came = rare.len().div_ceil(10) as u64;
        if came > 0 {
            prop_assert!(sums["FREQUENT"].0 >= came);
        }
    }

    #[test]
    fn sums_are_those_of_a_plain_map(keys in proptest::collection::vec(1_u64..200, 0..600)) {
        let series = Series::new(1_024);
        let mut plain = BTreeMap::new();
        for key in keys {
            series.add(key, u64::MAX);
            *plain.entry(key).or_insert(0) += 1;
        }
        let mut sums = BTreeMap::new();
        series.sum_into(&mut sums);
        prop_assert_eq!(sums, plain);
    }
}
