//! How values are written into columns, the same in every database.

use std::num::NonZeroU32;

use crate::domain::{Network, Quota};
use crate::tokens::{Digest, JwtsRevoked, OverrideRecord, Scheme};

/// How a scheme is stored: the pepper's version, 0 for plain SHA-256.
pub(super) const fn pepper_number(scheme: Scheme) -> u16 {
    match scheme {
        Scheme::Sha256 => 0,
        Scheme::Hmac(version) => version,
    }
}

pub(super) const fn digest(pepper: u16, bytes: [u8; 32]) -> Digest {
    Digest { scheme: Scheme::of(pepper), bytes }
}

/// A time or number for databases, whose integers are signed.
pub(super) fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

pub(super) fn quota_text(quota: Quota) -> String {
    format!("{}/{}/{}", quota.requests, quota.period_seconds, quota.burst)
}

pub(super) fn quota(text: &str) -> Option<Quota> {
    let mut numbers = text.split('/').map(|part| part.parse::<u32>().ok());
    let requests = NonZeroU32::new(numbers.next()??)?;
    let period_seconds = numbers.next()??;
    let burst = NonZeroU32::new(numbers.next()??)?;
    Some(Quota::new(requests, period_seconds).with_burst(burst))
}

pub(super) fn networks(texts: &[String]) -> Option<Vec<Network>> {
    texts.iter().map(|text| Network::parse(text)).collect()
}

pub(super) fn network_texts(networks: &[Network]) -> Vec<String> {
    networks.iter().map(Network::to_string).collect()
}

/// Reads a JSON array of overrides, each an array of policy, quota, end, reason and when it was set; by policy.
pub(super) fn overrides(text: &str) -> Option<Vec<OverrideRecord>> {
    if text == "[]" {
        return Some(Vec::new());
    }
    let written: Vec<(String, String, u64, String, u64)> = serde_json::from_str(text).ok()?;
    let record =
        |(policy, quota_text, until_unix_seconds, reason, set_at_unix_seconds): (String, String, _, _, _)| {
            let quota = quota(&quota_text)?;
            Some(OverrideRecord { policy, quota, until_unix_seconds, reason, set_at_unix_seconds })
        };
    let mut all: Vec<OverrideRecord> = written.into_iter().map(record).collect::<Option<_>>()?;
    all.sort_unstable_by(|left, right| left.policy.cmp(&right.policy));
    Some(all)
}

/// Kind, issuer, name and time of what is revoked: the issuer is empty for a workspace, the time 0 for one token.
pub(super) fn jwts_columns(jwts: &JwtsRevoked) -> (&'static str, &str, &str, u64) {
    match jwts {
        JwtsRevoked::Token { issuer, jti } => ("token", issuer, jti, 0),
        JwtsRevoked::Subject { issuer, subject, issued_before_unix_seconds } => {
            ("subject", issuer, subject, *issued_before_unix_seconds)
        }
        JwtsRevoked::Workspace { workspace, issued_before_unix_seconds } => {
            ("workspace", "", workspace, *issued_before_unix_seconds)
        }
    }
}

/// What the columns of [`jwts_columns`] say.
pub(super) fn jwts(kind: &str, issuer: String, name: String, issued_before: u64) -> Option<JwtsRevoked> {
    Some(match kind {
        "token" => JwtsRevoked::Token { issuer, jti: name },
        "subject" => {
            JwtsRevoked::Subject { issuer, subject: name, issued_before_unix_seconds: issued_before }
        }
        "workspace" => JwtsRevoked::Workspace { workspace: name, issued_before_unix_seconds: issued_before },
        _ => return None,
    })
}
