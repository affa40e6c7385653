//! L9: however many keys there are, buckets take the memory that is configured, and nobody gets more than a limit.

use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::sync::Arc;

use super::store_faults::shared_by;
use super::world::{checked, endpoints};
use crate::clock::Now;
use crate::domain::{Quota, Subject};
use crate::limits::Counters;
use crate::limits::bucket::Scale;
use crate::limits::calendar::Refill;
use crate::limits::cells::{Cells, Debit, STEPS};
use crate::limits::key::{Key, Parts};
use crate::limits::settings::cells_in;
use crate::limits::shared::cell::BucketName;

const START: u64 = 3_600_000_000_000;

/// What the process holds in memory beside the pages of its files, of which the program's text grows by some 5 MB with
/// what of it has run. It tells of one test only where that has a process of its own, as nextest gives it.
fn anonymous_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: Vec<usize> = statm.split_whitespace().map(|pages| pages.parse().unwrap()).collect();
    (pages[1] - pages[2]) * rustix::param::page_size()
}

/// Asserts what was taken since there were `before` bytes.
fn assert_taken(before: usize, allowed: RangeInclusive<usize>, when: &str) {
    let taken = anonymous_bytes().saturating_sub(before);
    println!("{when}: {taken} of {} bytes", allowed.end());
    let is_measured = std::env::var_os("NEXTEST").is_some();
    assert!(!is_measured || allowed.contains(&taken), "{when}: {taken} bytes, not {allowed:?}");
}

fn debit(quota: &str) -> Debit {
    Debit {
        scale: Scale::of(&quota.parse::<Quota>().unwrap()),
        refill: Refill::Gradual,
        cost: NonZeroU32::MIN,
        revision: 1,
        own: false,
        unix_millis: 0,
    }
}

/// One of nine is somebody without a credential.
fn key(number: usize) -> Key {
    let subject = Some(Subject(number as u64));
    Key::packed(&Parts { subject, anonymous: number.is_multiple_of(9), ..Parts::of_policy(0) })
}

/// The short form offers a million keys to 32 MiB, `TOLLGATE_LONG=1` ten million to 100 MiB.
#[test]
fn millions_of_keys_take_the_configured_memory_and_none_gets_more_than_its_limit() {
    let is_long = std::env::var("TOLLGATE_LONG").is_ok_and(|long| long == "1");
    let (keys, bound) = if is_long { (10_000_000, 100 << 20) } else { (1_000_000, 32 << 20) };
    let debit = debit("2 per minute");
    let mut admitted = vec![u8::MAX; keys];
    admitted.fill(0);
    let cells = Cells::new(&[5; 32], cells_in(bound));
    let before = anonymous_bytes();
    let a_tenth_around = bound / 10 * 9..=bound / 10 * 11;

    for _ in 0..3 {
        for (number, admitted) in admitted.iter_mut().enumerate() {
            let verdict = cells.take(key(number), &debit, START).verdict;
            *admitted += u8::from(verdict.wait_nanos.is_none());
        }
    }
    assert!(admitted.iter().all(|admitted| *admitted <= 2));
    assert!(cells.len() <= cells_in(bound));
    assert!(cells.len() >= cells_in(bound) / 10 * 9, "{} have buckets of their own", cells.len());
    // Whoever shared a bucket before has none of their own that is fuller.
    let in_full: usize = admitted.iter().map(|admitted| usize::from(*admitted == 2)).sum();
    assert!(in_full >= cells_in(bound) / 10 * 9 && in_full <= cells.len() + 2, "{in_full}");
    assert_taken(before, a_tenth_around.clone(), "all at once");

    // Others come as these leave.
    for round in 1..=2 {
        let now = START + round * 80_000_000_000;
        for _ in 0..STEPS {
            cells.sweep(Now { monotonic_nanos: now, unix_millis: 0 });
        }
        assert_eq!(cells.len(), 0);
        for number in 0..keys / 2 {
            cells.take(key(round as usize * keys + number), &debit, now);
        }
        assert_taken(before, a_tenth_around.clone(), "others");
    }
}

/// Both kinds as many as there may be. Half of the bound is one at which the maps of shared buckets have just doubled, where
/// such a bucket takes the most.
#[test]
fn shared_buckets_and_others_take_the_configured_memory_together() {
    let bound = 42 << 20;
    let (most, debit) = (cells_in(bound), debit("2 per minute"));
    let rules = checked(&format!("memory_bytes = {bound}"), &endpoints()).unwrap();
    let counters = Counters::with_room([5; 32], most);
    let _limits = shared_by(Arc::new(rules), &counters, 2);
    let before = anonymous_bytes();
    for number in 0..most {
        let name = |_| BucketName {
            group: format!("w{number:012x}").into(),
            name: format!("requests:t{number:012x}").into(),
        };
        counters.shared.make(key(number), &debit, START, &name);
        counters.cells.take(key(number), &debit, START);
    }
    let (shared, others) = (counters.shared.len(), counters.cells.len());
    assert!(shared.abs_diff(bound / 2 / 750) <= 2, "{shared} shared");
    assert!((most / 20 * 9..=most.div_ceil(2)).contains(&others), "{others} others");
    assert!(counters.cells() <= most);
    assert_taken(before, bound / 10 * 6..=bound / 10 * 11, "both");
}
