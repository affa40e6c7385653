//! The header lines that tell a caller about its limits.
//!
//! `RateLimit-Policy` and `RateLimit` follow draft-ietf-httpapi-ratelimit-headers-11: lists (RFC 9651) of
//! strings with parameters, the tightest policy first, on a refusal the one that refused. `q` and `w` are the
//! quota and its period in seconds, of a calendar month that month's; `r` is what may still come at once, `t` the
//! seconds within which no more than that can: until one more comes back, by the calendar until the period ends. A
//! full bucket that refills all the time has no `t`. `Retry-After` is never less than the `t` of the policy that
//! refused. A burst other than the quota is told as `tollgate-burst`, since `r` then counts down from it.
//! `X-RateLimit-Consumed`, `-Remaining` and `-Reset` are Segment's and describe the tightest policy: the burst
//! less what remains, what remains, and the date when nothing is used any more.

use std::cell::Cell;
use std::time::{Duration, UNIX_EPOCH};

use super::admission::{Admission, Decision, Exceeded, Headroom};
use super::rules::Rules;
use crate::clock::Now;
use crate::domain::Quota;

/// Room for the lines of three policies or four.
const LINES_BYTES: usize = 384;

/// Whose `X-RateLimit-*` an answer carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strictest {
    /// Ours; the upstream's are to be removed.
    Ours,
    /// The upstream's, which are to be kept.
    Upstream,
}

impl Admission<'_> {
    /// Whether the upstream's own `X-RateLimit-*` leave less than we do. `remaining` is the value of its
    /// `X-RateLimit-Remaining`; one that is no number leaves the answer to us.
    pub fn strictest(&self, remaining: Option<&[u8]>) -> Strictest {
        let theirs = remaining.and_then(|value| str::from_utf8(value).ok()?.trim().parse::<u64>().ok());
        match (theirs, self.tightest()) {
            (Some(theirs), Some(ours)) if theirs >= u64::from(ours.remaining()) => Strictest::Ours,
            (None, _) => Strictest::Ours,
            (Some(_), _) => Strictest::Upstream,
        }
    }

    /// Appends the header lines of an answer, each with its line end: `RateLimit-Policy` and `RateLimit`, and
    /// `X-RateLimit-*` if they are to be ours. Nothing where every policy is hidden. `now` is the request's.
    pub fn write_headers(&self, out: &mut Vec<u8>, now: Now, whose: Strictest) {
        out.reserve(LINES_BYTES);
        let tightest = self.tightest();
        write_lists(out, self.rules(), tightest, self.headrooms());
        if let (Some(tightest), Strictest::Ours) = (tightest, whose) {
            write_segment(out, tightest, now);
        }
    }
}

impl Exceeded {
    /// Whole seconds for `Retry-After`, at least 1; [`None`] if the wait is above the configured ceiling.
    pub fn retry_after_seconds(&self) -> Option<u64> {
        let seconds = ceil_seconds(self.wait.as_nanos() as u64).max(1);
        (seconds <= self.rules.retry_after_ceiling_seconds).then_some(seconds)
    }

    /// Appends the header lines of a refusal, each with its line end: what [`Admission::write_headers`] writes,
    /// about the limit that refused. `Retry-After` is the reply's. A hidden limit is not described. `now` is the request's.
    pub fn write_headers(&self, out: &mut Vec<u8>, now: Now) {
        out.reserve(LINES_BYTES);
        match (self.quota, self.exposed) {
            (None, true) => self.write_in_flight(out),
            (None, false) => {}
            (Some(_), _) => write_lists(out, &self.rules, self.described(), self.headrooms()),
        }
        if let Some(described) = self.described() {
            write_segment(out, described, now);
        }
    }

    fn write_in_flight(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"RateLimit-Policy: \"");
        out.extend_from_slice(self.name.as_bytes());
        out.extend_from_slice(b"\";q=");
        number(out, self.burst);
        out.extend_from_slice(b";qu=\"concurrent-requests\"\r\nRateLimit: \"");
        out.extend_from_slice(self.name.as_bytes());
        out.extend_from_slice(b"\";r=0;t=");
        number(out, ceil_seconds(self.wait.as_nanos() as u64).max(1));
        out.extend_from_slice(b"\r\n");
    }
}

/// Appends one item of `RateLimit-Policy`. Names hold no `"` and no `\`, which would need an escape.
pub(super) fn announce(out: &mut Vec<u8>, name: &str, quota: &Quota) {
    out.push(b'"');
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\";q=");
    number(out, quota.requests.get());
    out.extend_from_slice(b";w=");
    number(out, quota.period_seconds);
    if quota.burst != quota.requests {
        out.extend_from_slice(b";tollgate-burst=");
        number(out, quota.burst.get());
    }
}

fn write_lists<'h>(
    out: &mut Vec<u8>,
    rules: &Rules,
    first: Option<&'h Headroom>,
    headrooms: impl Iterator<Item = &'h Headroom> + Clone,
) {
    let Some(first) = first else { return };
    let others = headrooms.filter(|headroom| headroom.exposed && headroom.policy != first.policy);
    out.extend_from_slice(b"RateLimit-Policy: ");
    write_policy(out, rules, first);
    for other in others.clone() {
        out.extend_from_slice(b", ");
        write_policy(out, rules, other);
    }
    out.extend_from_slice(b"\r\nRateLimit: ");
    write_left(out, rules, first);
    for other in others {
        out.extend_from_slice(b", ");
        write_left(out, rules, other);
    }
    out.extend_from_slice(b"\r\n");
}

fn write_policy(out: &mut Vec<u8>, rules: &Rules, headroom: &Headroom) {
    match rules.policies.get(usize::from(headroom.policy.0)) {
        Some(policy) if policy.quota == headroom.quota => out.extend_from_slice(&policy.announced),
        Some(_) | None => announce(out, rules.name(headroom.policy), &headroom.quota),
    }
}

fn write_left(out: &mut Vec<u8>, rules: &Rules, headroom: &Headroom) {
    out.push(b'"');
    out.extend_from_slice(rules.name(headroom.policy).as_bytes());
    out.extend_from_slice(b"\";r=");
    let (left, more_after) = match headroom.decision {
        Decision::Refused => (0, headroom.wait()),
        Decision::Admitted | Decision::WouldRefuse => (headroom.remaining(), headroom.until_next()),
    };
    number(out, left);
    let seconds = ceil_seconds(more_after.as_nanos() as u64);
    if seconds > 0 {
        out.extend_from_slice(b";t=");
        number(out, seconds);
    }
}

fn write_segment(out: &mut Vec<u8>, described: &Headroom, now: Now) {
    out.extend_from_slice(b"X-RateLimit-Consumed: ");
    number(out, described.consumed());
    out.extend_from_slice(b"\r\nX-RateLimit-Remaining: ");
    number(out, described.remaining());
    out.extend_from_slice(b"\r\nX-RateLimit-Reset: ");
    let full_after_nanos = described.until_full().as_nanos() as u64;
    let full_at_millis = now.unix_millis + full_after_nanos.div_ceil(1_000_000);
    out.extend_from_slice(&http_date(full_at_millis.div_ceil(1_000)));
    out.extend_from_slice(b"\r\n");
}

fn number(out: &mut Vec<u8>, number: impl itoa::Integer) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

const fn ceil_seconds(nanos: u64) -> u64 {
    nanos.div_ceil(1_000_000_000)
}

const DAY_SECONDS: u64 = 86_400;
/// The last second of the year 9999, beyond which the format ends.
const LAST_SECOND: u64 = 253_402_300_799;

thread_local! {
    /// The day that was written last, and the date's part that says it.
    static DAY: Cell<(u64, [u8; 29])> = const { Cell::new((u64::MAX, [0; 29])) };
}

/// An HTTP date (RFC 9110, section 5.6.7) of seconds since 1970.
fn http_date(unix_seconds: u64) -> [u8; 29] {
    let seconds = unix_seconds.min(LAST_SECOND);
    let (day, of_day) = (seconds / DAY_SECONDS, seconds % DAY_SECONDS);
    let (known, mut text) = DAY.get();
    if known != day {
        let midnight = UNIX_EPOCH + Duration::from_secs(day * DAY_SECONDS);
        let written = httpdate::HttpDate::from(midnight).to_string();
        text = *written.as_bytes().first_chunk().unwrap_or(&text);
        DAY.set((day, text));
    }
    for (place, value) in [(17, of_day / 3_600), (20, of_day / 60 % 60), (23, of_day % 60)] {
        text[place] = b'0' + (value / 10) as u8;
        text[place + 1] = b'0' + (value % 10) as u8;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_httpdates() {
        for seconds in [0, 1, 86_399, 86_400, 951_782_399, 1_735_689_599, 1_735_689_600, LAST_SECOND] {
            let expected = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(seconds));
            assert_eq!(str::from_utf8(&http_date(seconds)).unwrap(), expected);
        }
        assert_eq!(&http_date(1_735_689_599), b"Tue, 31 Dec 2024 23:59:59 GMT");
        assert_eq!(http_date(u64::MAX), http_date(LAST_SECOND));
    }

    proptest::proptest! {
        #[test]
        fn any_date_is_an_httpdate(seconds in 0..=LAST_SECOND) {
            let expected = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(seconds));
            let written = http_date(seconds);
            proptest::prop_assert_eq!(str::from_utf8(&written).unwrap(), expected);
        }
    }
}
