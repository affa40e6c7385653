//! A limit in place of a policy's: for one token or one workspace, until a date.

use std::fmt;
use std::sync::Arc;

use super::Quota;

/// Whose limit is overridden.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum OverrideHolder {
    /// A token, by its id; the override belongs to its family and outlives rotation.
    Token(String),
    /// A workspace, by its id: each of its tokens, or all together, as the policy counts.
    Workspace(String),
}

impl OverrideHolder {
    /// `token` or `workspace`: the word in the store and in output.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Token(_) => "token",
            Self::Workspace(_) => "workspace",
        }
    }

    /// The holder's id.
    pub fn id(&self) -> &str {
        match self {
            Self::Token(id) | Self::Workspace(id) => id,
        }
    }

    /// The holder of a stored kind and id.
    pub fn of(kind: &str, id: String) -> Option<Self> {
        match kind {
            "token" => Some(Self::Token(id)),
            "workspace" => Some(Self::Workspace(id)),
            _ => None,
        }
    }
}

impl fmt::Display for OverrideHolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} `{}`", self.kind(), self.id())
    }
}

/// An override as a request meets it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LimitOverride {
    /// The name of the policy whose quota it stands in place of.
    pub policy: Arc<str>,
    /// How much instead.
    pub quota: Quota,
    /// The second since 1970 in which it is no longer in force.
    pub until_unix_seconds: u64,
}

impl LimitOverride {
    /// The quota in place of a policy's at a time, if one of these overrides is in force.
    pub fn in_force(overrides: &[Self], policy: &str, unix_seconds: u64) -> Option<Quota> {
        overrides
            .iter()
            .find(|one| *one.policy == *policy && unix_seconds < one.until_unix_seconds)
            .map(|one| one.quota)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_ends_at_its_second_and_speaks_of_its_policy_alone() {
        let quota = "5 per minute".parse().unwrap();
        let all = [LimitOverride { policy: "default".into(), quota, until_unix_seconds: 100 }];
        assert_eq!(LimitOverride::in_force(&all, "default", 99), Some(quota));
        assert_eq!(LimitOverride::in_force(&all, "default", 100), None);
        assert_eq!(LimitOverride::in_force(&all, "defaul", 0), None);
        assert_eq!(LimitOverride::in_force(&[], "default", 0), None);
    }

    #[test]
    fn kinds_read_and_write_the_same() {
        for holder in [OverrideHolder::Token("t".into()), OverrideHolder::Workspace("w".into())] {
            assert_eq!(OverrideHolder::of(holder.kind(), holder.id().to_owned()), Some(holder));
        }
        assert_eq!(OverrideHolder::of("plan", "x".into()), None);
    }
}
