//! A quota as people write it: `60 per minute`.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use super::Problems;

/// How the period of a quota runs.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    Hash,
    serde::Deserialize,
    serde::Serialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Window {
    /// From any moment on: what was used comes back bit by bit (GCRA).
    #[default]
    Rolling,
    /// The day or month of the calendar (UTC): what was used comes back when the next one begins.
    Calendar,
}

/// So many requests in so much time, and how many may come at once.
///
/// In any window W at most `burst + requests / period × W` are admitted (GCRA), so `60 per minute` with the
/// default burst of 60 can admit 120 in one minute once. By the calendar, a day or month admits `requests`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Quota {
    /// Requests in one period.
    pub requests: NonZeroU32,
    /// Length of the period: 1, 60, 3,600, 86,400 (day) or 2,592,000 (month of 30 days) seconds.
    pub period_seconds: u32,
    /// Requests that may arrive at the same instant when the bucket is full; `requests` unless said.
    pub burst: NonZeroU32,
    /// How the period runs.
    pub window: Window,
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
        Self { requests, period_seconds, burst: requests, window: Window::Rolling }
    }

    /// Whether its period is one of the calendar's.
    pub const fn is_of_the_calendar(self) -> bool {
        self.period_seconds >= 86_400
    }

    /// The same number in a window that runs so. By the calendar the whole number may come at once; a period
    /// that the calendar does not have stays as it is.
    #[must_use]
    pub const fn in_window(self, window: Window) -> Self {
        match window {
            Window::Calendar if self.is_of_the_calendar() => Self { burst: self.requests, window, ..self },
            Window::Calendar | Window::Rolling => self,
        }
    }

    /// The same rate with another burst.
    #[must_use]
    pub const fn with_burst(self, burst: NonZeroU32) -> Self {
        Self { burst, ..self }
    }

    /// As [`Quota::in_window`], for what is written under `key`: a window that does not fit the quota or has a burst is
    /// told.
    #[must_use]
    pub fn checked_in_window(
        self,
        window: Window,
        burst: Option<u32>,
        key: &str,
        problems: &mut Problems,
    ) -> Self {
        if window == Window::Calendar && !self.is_of_the_calendar() {
            problems.add(
                format!("{key}.window"),
                "limit_window_period",
                format!("`{self}` has no period of the calendar"),
                "write the quota per day or per month, or leave `window` out",
            );
        } else if let (Window::Calendar, Some(burst)) = (window, burst) {
            problems.add(
                format!("{key}.burst"),
                "limit_window_burst",
                format!("a burst of {burst} means nothing where a whole period's quota may come at once"),
                "leave `burst` out, or leave `window` out",
            );
        }
        self.in_window(window)
    }

    /// The most that one period can admit, when nothing was used before it.
    pub const fn worst_window(self) -> u64 {
        match self.window {
            Window::Rolling => self.requests.get() as u64 + self.burst.get() as u64,
            Window::Calendar => self.requests.get() as u64,
        }
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
        let calendar = if self.window == Window::Calendar { "calendar " } else { "" };
        write!(f, "{} per {calendar}{}", self.requests, self.period_name())
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
        let by_calendar = |text: &str| text.parse::<Quota>().unwrap().in_window(Window::Calendar).to_string();
        assert_eq!(by_calendar("700 per month"), "700 per calendar month");
        assert_eq!(by_calendar("700 per hour"), "700 per hour", "no hours in a calendar");
    }
}
