//! What the commands that work on the registry have in common.

use crate::clock::{Clock, Now};
use crate::domain::{Plan, Quota, Regions, Role, WorkspaceState};
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
        Act { actor: &self.actor, now }
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

pub(super) fn plan(text: &str) -> Result<Plan, String> {
    Plan::by_name(text).ok_or_else(|| format!("`{text}` is no plan; write free, team or business"))
}

pub(super) fn role(text: &str) -> Result<Role, String> {
    Role::by_name(text).ok_or_else(|| format!("`{text}` is no role; write owner or restricted"))
}

pub(super) fn quota(text: &str) -> Result<Quota, String> {
    text.parse().map_err(|error: crate::domain::QuotaError| error.to_string())
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
    fn reads_times() {
        for (text, expected) in
            [("45s", 45), ("30m", 1_800), ("1h", 3_600), ("90d", 7_776_000), ("1d12h", 129_600), ("0s", 0)]
        {
            assert_eq!(seconds(text), Ok(expected), "{text}");
        }
    }
}
