//! L9: however many keys there are, buckets take the memory that is configured, and nobody gets more than a limit.

use std::num::NonZeroU32;

use crate::clock::Now;
use crate::domain::{Quota, Subject};
use crate::limits::bucket::Scale;
use crate::limits::calendar::Refill;
use crate::limits::cells::{Cells, Debit, STEPS};
use crate::limits::key::{Key, Parts};
use crate::limits::settings::cells_in;

const START: u64 = 3_600_000_000_000;

/// What the process holds in memory. It tells of one test only where that has a process of its own, as nextest gives it.
fn resident_bytes() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * rustix::param::page_size()
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
    let quota = "2 per minute".parse::<Quota>().unwrap();
    let debit = Debit {
        scale: Scale::of(&quota),
        refill: Refill::Gradual,
        cost: NonZeroU32::MIN,
        revision: 1,
        own: false,
        unix_millis: 0,
    };
    let mut admitted = vec![u8::MAX; keys];
    admitted.fill(0);
    let cells = Cells::new(&[5; 32], cells_in(bound));
    let before = resident_bytes();
    let holds = |when: &str| {
        let taken = resident_bytes().saturating_sub(before);
        println!("{when}: {taken} of {bound} bytes, {} buckets", cells.len());
        let is_measured = std::env::var_os("NEXTEST").is_some();
        assert!(!is_measured || taken.abs_diff(bound) <= bound / 10, "{when}: {taken} of {bound} bytes");
    };

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
    holds("all at once");

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
        holds("others");
    }
}
