//! When a set that was loaded is loaded again: ahead of the end of its freshness (RFC 9111, section 4.2).

use std::time::Duration;

use http::{HeaderMap, header};

use super::Pace;
use crate::clock::Now;

/// The range that an issuer's own word is brought into.
const SHORTEST: Duration = Duration::from_mins(1);
const LONGEST: Duration = Duration::from_hours(1);

/// For how long an issuer says that its answer is fresh.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::authentication) enum Freshness {
    /// It does not say.
    #[default]
    Unsaid,
    /// For so many seconds; 0 where it may not be stored.
    Seconds(u64),
}

impl Freshness {
    /// Reads `Cache-Control` and `Age` of an answer. `s-maxage` is for caches that several share, `Expires` for
    /// clients older than both.
    pub(super) fn of(fields: &HeaderMap) -> Self {
        let mut found = Self::Unsaid;
        let values = fields.get_all(header::CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
        for directive in values.flat_map(|value| value.split(',')) {
            let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
            match name.trim().to_ascii_lowercase().as_str() {
                "no-store" | "no-cache" => return Self::Seconds(0),
                // A value that is no number makes the answer stale, as the section asks; the first one counts.
                "max-age" if found == Self::Unsaid => {
                    let seconds = value.trim().trim_matches('"');
                    found = Self::Seconds(seconds.parse().unwrap_or(0));
                }
                _ => {}
            }
        }
        let age = fields.get(header::AGE).and_then(|age| age.to_str().ok()?.trim().parse().ok());
        match found {
            Self::Unsaid => Self::Unsaid,
            Self::Seconds(seconds) => Self::Seconds(seconds.saturating_sub(age.unwrap_or(0))),
        }
    }

    /// The wait until the next load: 80 % of the stated time within its range, or the configured pace; in both
    /// cases well before the set would be too old to be used.
    pub(super) fn wait(self, pace: &Pace) -> Duration {
        let wait = match self {
            Self::Unsaid => pace.refresh,
            Self::Seconds(seconds) => Duration::from_secs(seconds / 5 * 4 + seconds % 5 * 4 / 5),
        };
        let wait = if self == Self::Unsaid { wait } else { wait.clamp(SHORTEST, LONGEST) };
        wait.min(pace.max_stale / 5 * 4)
    }
}

/// Shortens a wait by up to a tenth, so that replicas that started together do not stay in step. The clock's last
/// digits, which differ between them, decide by how much.
pub(super) fn spread(wait: Duration, now: Now) -> Duration {
    // The finalizer of MurmurHash3.
    let mut mixed = now.monotonic_nanos ^ now.unix_millis.rotate_left(32);
    mixed = (mixed ^ (mixed >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    mixed = (mixed ^ (mixed >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    let thousandths = ((mixed ^ (mixed >> 33)) % 101) as u32;
    wait / 1000 * (1000 - thousandths)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: Pace = Pace {
        refresh: Duration::from_mins(10),
        cool_down: Duration::from_secs(5),
        max_stale: Duration::from_hours(24),
        removal_overlap: Duration::from_mins(10),
    };

    fn of(fields: &[(&'static str, &'static str)]) -> Freshness {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(*name, value.parse().unwrap());
        }
        Freshness::of(&map)
    }

    #[test]
    fn what_the_issuer_says_is_read() {
        use Freshness::{Seconds, Unsaid};
        for (value, said) in [
            ("max-age=300", Seconds(300)),
            ("public, Max-Age = 300 , must-revalidate", Seconds(300)),
            ("max-age=\"300\"", Seconds(300)),
            ("max-age=300, max-age=600", Seconds(300)),
            ("s-maxage=10, max-age=300", Seconds(300)),
            ("s-maxage=10", Unsaid),
            ("public", Unsaid),
            ("", Unsaid),
            ("max-age=600, no-store", Seconds(0)),
            ("no-cache", Seconds(0)),
            ("max-age=soon", Seconds(0)),
            ("max-age", Seconds(0)),
            ("max-age=-1", Seconds(0)),
        ] {
            assert_eq!(of(&[("cache-control", value)]), said, "{value}");
        }
        assert_eq!(of(&[]), Unsaid);
        assert_eq!(of(&[("cache-control", "public"), ("cache-control", "max-age=7")]), Seconds(7));
        assert_eq!(of(&[("cache-control", "max-age=300"), ("age", "100")]), Seconds(200));
        assert_eq!(of(&[("cache-control", "max-age=300"), ("age", "900")]), Seconds(0));
        assert_eq!(of(&[("cache-control", "max-age=300"), ("age", "old")]), Seconds(300));
    }

    #[test]
    fn the_next_load_is_at_four_fifths_within_a_range() {
        let wait = |freshness: Freshness| freshness.wait(&PACE).as_secs();
        assert_eq!(wait(Freshness::Unsaid), 600);
        for (said, seconds) in [(0, 60), (60, 60), (75, 60), (76, 60), (100, 80), (1_000, 800)] {
            assert_eq!(wait(Freshness::Seconds(said)), seconds, "{said}");
        }
        for said in [4_500, 86_400, u64::MAX] {
            assert_eq!(wait(Freshness::Seconds(said)), 3_600, "{said}");
        }
        let short = Pace { max_stale: Duration::from_secs(700), ..PACE };
        assert_eq!(Freshness::Seconds(86_400).wait(&short).as_secs(), 560);
        assert_eq!(Freshness::Unsaid.wait(&short).as_secs(), 560);
    }

    #[test]
    fn waits_are_spread_over_a_tenth() {
        let wait = Duration::from_mins(10);
        let spreads: Vec<_> = (0..1_000)
            .map(|nanos| spread(wait, Now { monotonic_nanos: nanos, unix_millis: 1_800_000_000_000 }))
            .collect();
        assert!(spreads.iter().all(|spread| (wait / 10 * 9..=wait).contains(spread)));
        let early = spreads.iter().filter(|spread| **spread < wait / 20 * 19).count();
        assert!((400..=600).contains(&early), "{early}");
    }
}
