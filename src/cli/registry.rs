//! What the commands that work on the registry have in common.

use crate::clock::{Clock, Now};
use crate::domain::{Network, Plan, Quota, Regions, Role, WorkspaceState};
use crate::tokens::{Act, Mint, Rules, SystemRandom, TokenState};

use super::Error;

/// The registry that a configuration names, not yet opened.
#[derive(Clone, Debug)]
pub struct RegistryAccess {
    rules: Rules,
    regions: Regions,
    actor: String,
}

impl RegistryAccess {
    /// The registry of a checked `[tokens]` and its regions; `user` is the person's name for the audit trail.
    pub fn new(rules: Rules, regions: Regions, user: Option<&str>) -> Self {
        Self { rules, regions, actor: user.map_or_else(|| "cli".to_owned(), |user| format!("cli:{user}")) }
    }

    pub(super) const fn rules(&self) -> &Rules {
        &self.rules
    }

    pub(super) fn open(&self, clock: &Clock) -> Result<Mint, Error> {
        Ok(Mint::open(&self.rules, &self.regions, Box::new(SystemRandom), clock.now())?)
    }

    pub(super) fn act(&self, now: Now) -> Act<'_> {
        Act::by(&self.actor, now)
    }

    /// The region that was named, or the only one that there is.
    pub(super) fn region(&self, named: Option<&str>) -> Result<String, Error> {
        let mut regions = self.regions.iter().map(|(_, region)| region.name.to_string());
        match (named, regions.next(), regions.next()) {
            (Some(name), _, _) => Ok(name.to_owned()),
            (None, Some(only), None) => Ok(only),
            (None, first, second) => {
                let all: Vec<String> = first.into_iter().chain(second).chain(regions).collect();
                Err(Error::Usage(format!(
                    "say where the data lives: --region with one of {}",
                    all.join(", ")
                )))
            }
        }
    }
}

/// Reads a time such as `90d`, `12h`, `30m` or `45s`, or a sum of them such as `1d12h`, in seconds.
pub(super) fn seconds(text: &str) -> Result<u64, String> {
    let error = || format!("`{text}` is no time; write for example 90d, 12h, 30m or 45s");
    let mut total = 0_u64;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number: u64 = rest[..digits].parse().map_err(|_| error())?;
        let unit = rest[digits..].chars().next().ok_or_else(error)?;
        let unit_seconds = match unit {
            's' => 1,
            'm' => 60,
            'h' => 3_600,
            'd' => 86_400,
            'w' => 604_800,
            _ => return Err(error()),
        };
        total =
            number.checked_mul(unit_seconds).and_then(|part| total.checked_add(part)).ok_or_else(error)?;
        rest = &rest[digits + 1..];
    }
    if text.is_empty() { Err(error()) } else { Ok(total) }
}

/// When something ends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// At a time, in seconds since 1970.
    At(u64),
    /// So many seconds from now.
    In(u64),
}

impl Until {
    pub(super) const fn unix_seconds(self, now: Now) -> u64 {
        match self {
            Self::At(seconds) => seconds,
            Self::In(seconds) => now.unix_seconds().saturating_add(seconds),
        }
    }
}

/// Reads a day (`2026-12-01`, when it begins in UTC), a time (RFC 3339), or a time from now such as `7d`.
pub(super) fn until(text: &str) -> Result<Until, String> {
    let day = || {
        // A date and a time of day without an offset would be read as the day alone.
        let text = Some(text).filter(|text| text.len() == "2026-12-01".len())?;
        let date: jiff::civil::Date = text.parse().ok()?;
        jiff::tz::TimeZone::UTC.to_timestamp(date.at(0, 0, 0, 0)).ok()
    };
    let at = text.parse::<jiff::Timestamp>().ok().or_else(day);
    if let Some(seconds) = at.and_then(|at| u64::try_from(at.as_second()).ok()) {
        return Ok(Until::At(seconds));
    }
    seconds(text).map(Until::In).map_err(|_| {
        format!("`{text}` is no time; write a day such as 2026-12-01, 2026-12-01T12:00:00Z, or 7d from now")
    })
}

pub(super) fn plan(text: &str) -> Result<Plan, String> {
    Plan::by_name(text).ok_or_else(|| format!("`{text}` is no plan; write free, team or business"))
}

pub(super) fn role(text: &str) -> Result<Role, String> {
    Role::by_name(text).ok_or_else(|| format!("`{text}` is no role; write owner or restricted"))
}

pub(super) fn quota(text: &str) -> Result<Quota, String> {
    text.parse().map_err(|error: crate::domain::QuotaError| error.to_string())
}

pub(super) fn network(text: &str) -> Result<Network, String> {
    Network::parse(text).ok_or_else(|| {
        format!("`{text}` is no network; write for example 203.0.113.0/24 or 2001:db8::/32, with zeros after the prefix")
    })
}

pub(super) fn workspace_state(text: &str) -> Result<WorkspaceState, String> {
    WorkspaceState::by_name(text)
        .ok_or_else(|| format!("`{text}` is no state; write active, suspended or deleted"))
}

pub(super) fn token_state(text: &str) -> Result<TokenState, String> {
    TokenState::by_name(text).ok_or_else(|| format!("`{text}` is no state; write active, expired or revoked"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_is_no_time() {
        for text in
            ["", "d", "1", "1y", "-1d", "1.5h", "1d ", "99999999999999999999d", "18446744073709551615w"]
        {
            assert!(seconds(text).is_err(), "{text}");
        }
    }

    #[test]
    fn reads_ends() {
        for (text, expected) in [
            ("2023-11-15", Until::At(1_700_006_400)),
            ("2023-11-14T22:13:20Z", Until::At(1_700_000_000)),
            ("2023-11-14T23:13:20+01:00", Until::At(1_700_000_000)),
            ("7d", Until::In(604_800)),
        ] {
            assert_eq!(until(text), Ok(expected), "{text}");
        }
        for text in ["", "tomorrow", "2023-13-01", "1960-01-01", "2023-11-14T22:13:20"] {
            assert!(until(text).is_err(), "{text}");
        }
    }

    #[test]
    fn reads_times() {
        for (text, expected) in
            [("45s", 45), ("30m", 1_800), ("1h", 3_600), ("90d", 7_776_000), ("1d12h", 129_600), ("0s", 0)]
        {
            assert_eq!(seconds(text), Ok(expected), "{text}");
        }
    }
}
