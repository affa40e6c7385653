//! A quota as people write it: `60 per minute`.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

/// So many requests in so much time, and how many may come at once.
///
/// In any window W at most `burst + requests / period × W` are admitted (GCRA), so `60 per minute` with the
/// default burst of 60 can admit 120 in one minute once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Quota {
    /// Requests in one period.
    pub requests: NonZeroU32,
    /// Length of the period: 1, 60, 3,600, 86,400 (day) or 2,592,000 (month of 30 days) seconds.
    pub period_seconds: u32,
    /// Requests that may arrive at the same instant when the bucket is full; `requests` unless said.
    pub burst: NonZeroU32,
}

/// Why a text is no quota. The message says what would be one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a quota; write a number of at least 1, `per`, and second, minute, hour, day or month, for example `60 per minute`"
)]
pub struct QuotaError(String);

impl Quota {
    /// A quota of `requests` per `period_seconds` whose burst is the whole quota.
    pub const fn new(requests: NonZeroU32, period_seconds: u32) -> Self {
        Self { requests, period_seconds, burst: requests }
    }

    /// The same rate with another burst.
    #[must_use]
    pub const fn with_burst(self, burst: NonZeroU32) -> Self {
        Self { burst, ..self }
    }

    /// Time between two requests at the steady rate, rounded up so that the rate is never exceeded.
    pub const fn emission_interval_nanos(self) -> u64 {
        (self.period_seconds as u64 * 1_000_000_000).div_ceil(self.requests.get() as u64)
    }

    const fn period_name(self) -> &'static str {
        match self.period_seconds {
            1 => "second",
            60 => "minute",
            3_600 => "hour",
            86_400 => "day",
            _ => "month",
        }
    }
}

impl FromStr for Quota {
    type Err = QuotaError;

    fn from_str(text: &str) -> Result<Self, QuotaError> {
        let error = || QuotaError(text.to_owned());
        let mut words = text.split_whitespace();
        let number = words.next().ok_or_else(error)?;
        let requests =
            number.replace([',', '_'], "").parse().ok().and_then(NonZeroU32::new).ok_or_else(error)?;
        if words.next() != Some("per") {
            return Err(error());
        }
        let period_seconds = match words.next() {
            Some("second") => 1,
            Some("minute") => 60,
            Some("hour") => 3_600,
            Some("day") => 86_400,
            Some("month") => 2_592_000,
            _ => return Err(error()),
        };
        if words.next().is_some() {
            return Err(error());
        }
        Ok(Self::new(requests, period_seconds))
    }
}

impl fmt::Display for Quota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} per {}", self.requests, self.period_name())
    }
}

impl<'de> serde::Deserialize<'de> for Quota {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_is_no_quota() {
        for text in [
            "",
            "0 per minute",
            "60",
            "60 per",
            "60 per fortnight",
            "60 per minute now",
            "-1 per day",
            "x per day",
        ] {
            assert!(text.parse::<Quota>().is_err(), "{text}");
        }
    }

    #[test]
    fn reads_and_writes_the_same_words() {
        for text in ["60 per minute", "120 per day", "700 per month", "5 per second", "1 per hour"] {
            assert_eq!(text.parse::<Quota>().unwrap().to_string(), text);
        }
        assert_eq!("6,000 per minute".parse::<Quota>().unwrap().requests.get(), 6000);
    }
}
