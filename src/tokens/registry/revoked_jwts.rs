//! Revoked JWTs in memory: what every use of a JWT is checked against.
//!
//! A revocation takes one entry of 32 bytes in a map, under 128 bits of two keyed hashes of what it names: with
//! 100,000 of them a token that none names is taken for a named one with a chance of 2^-111. Nothing is hashed
//! while there is none of a kind.

use std::hash::{BuildHasher, RandomState};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use dashmap::DashMap;

use super::Registry;
use crate::clock::Now;
use crate::tokens::{JwtRevocation, JwtsRevoked};

const BY_TOKEN: u8 = 1;
const BY_SUBJECT: u8 = 2;
const BY_WORKSPACE: u8 = 4;

/// How often ended revocations are looked for.
const SWEEP_SECONDS: u64 = 60;

/// What a genuine JWT is named by.
#[derive(Clone, Copy, Debug)]
pub struct JwtNames<'j> {
    /// `iss`
    pub issuer: &'j str,
    /// `jti`
    pub jti: Option<&'j str>,
    /// `sub`
    pub subject: &'j str,
    /// `iat`; a token without one counts as issued before any time.
    pub issued_at_unix_seconds: Option<u64>,
    /// The workspace's id.
    pub workspace: &'j str,
}

/// Tokens that were issued before a time are revoked until no such token can live.
#[derive(Debug)]
struct Cut {
    issued_before: u64,
    ends_at: u64,
}

#[derive(Debug, Default)]
pub(super) struct RevokedJwts {
    cuts: DashMap<u128, Cut>,
    /// Which kinds there are.
    kinds: AtomicU8,
    hashers: [RandomState; 2],
    swept_at: AtomicU64,
    /// When it was first swept.
    since: OnceLock<Now>,
}

impl RevokedJwts {
    pub(super) fn put(&self, revocation: &JwtRevocation) {
        let (kind, key, issued_before) = match &revocation.jwts {
            JwtsRevoked::Token { issuer, jti } => (BY_TOKEN, self.key(BY_TOKEN, issuer, jti), u64::MAX),
            JwtsRevoked::Subject { issuer, subject, issued_before_unix_seconds } => {
                (BY_SUBJECT, self.key(BY_SUBJECT, issuer, subject), *issued_before_unix_seconds)
            }
            JwtsRevoked::Workspace { workspace, issued_before_unix_seconds } => {
                (BY_WORKSPACE, self.key(BY_WORKSPACE, "", workspace), *issued_before_unix_seconds)
            }
        };
        let ends_at = revocation.ends_at_unix_seconds;
        let mut cut = self.cuts.entry(key).or_insert(Cut { issued_before, ends_at });
        (cut.issued_before, cut.ends_at) = (cut.issued_before.max(issued_before), cut.ends_at.max(ends_at));
        drop(cut);
        self.kinds.fetch_or(kind, Ordering::Release);
    }

    pub(super) fn holds(&self, jwt: &JwtNames<'_>) -> bool {
        let kinds = self.kinds.load(Ordering::Acquire);
        if kinds == 0 {
            return false;
        }
        let issued_at = jwt.issued_at_unix_seconds.unwrap_or(0);
        let is_cut = |kind: u8, issuer: &str, name: &str| {
            kinds & kind != 0
                && self
                    .cuts
                    .get(&self.key(kind, issuer, name))
                    .is_some_and(|cut| issued_at < cut.issued_before)
        };
        jwt.jti.is_some_and(|jti| is_cut(BY_TOKEN, jwt.issuer, jti))
            || is_cut(BY_SUBJECT, jwt.issuer, jwt.subject)
            || is_cut(BY_WORKSPACE, "", jwt.workspace)
    }

    /// Forgets those whose end has come, once a minute. Time goes no faster here than the monotonic clock: a wall clock
    /// that jumps ahead and back would bring revoked tokens back.
    pub(super) fn sweep(&self, now: Now) {
        let since = *self.since.get_or_init(|| now);
        let seconds = now.unix_seconds().min(since.unix_seconds().saturating_add(now.since(since).as_secs()));
        if self.cuts.is_empty() || seconds < self.swept_at.load(Ordering::Relaxed) + SWEEP_SECONDS {
            return;
        }
        self.swept_at.store(seconds, Ordering::Relaxed);
        self.cuts.retain(|_, cut| seconds < cut.ends_at);
        if self.cuts.is_empty() {
            self.kinds.store(0, Ordering::Release);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.cuts.len()
    }

    fn key(&self, kind: u8, issuer: &str, name: &str) -> u128 {
        let [high, low] = self.hashers.each_ref().map(|hasher| hasher.hash_one((kind, issuer, name)));
        u128::from(high) << 64 | u128::from(low)
    }
}

impl Registry {
    /// Whether a genuine JWT was revoked. Costs two looks at a word while none was.
    pub fn jwt_revoked(&self, jwt: &JwtNames<'_>) -> bool {
        self.revoked_jwts.holds(jwt) || self.unwritten.refuses_jwt(jwt)
    }

    /// How many revocations of JWTs are in memory.
    pub fn jwt_revocations(&self) -> usize {
        self.revoked_jwts.len()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock::Clock;

    const JWT: JwtNames<'static> = JwtNames {
        issuer: "i",
        jti: Some("j"),
        subject: "s",
        issued_at_unix_seconds: Some(100),
        workspace: "w",
    };

    fn revoked(jwts: JwtsRevoked) -> RevokedJwts {
        let all = RevokedJwts::default();
        all.put(&JwtRevocation {
            id: "jwr_1".into(),
            jwts,
            reason: String::new(),
            revoked_at_unix_seconds: 90,
            ends_at_unix_seconds: 200,
        });
        all
    }

    #[test]
    fn one_token_is_revoked_and_no_other() {
        assert!(!RevokedJwts::default().holds(&JWT));
        let all = revoked(JwtsRevoked::Token { issuer: "i".into(), jti: "j".into() });
        assert!(all.holds(&JWT));
        for other in [
            JwtNames { jti: Some("k"), ..JWT },
            JwtNames { jti: None, subject: "j", ..JWT },
            JwtNames { issuer: "other", ..JWT },
        ] {
            assert!(!all.holds(&other), "{other:?}");
        }
    }

    #[test]
    fn a_subjects_and_a_workspaces_tokens_are_revoked_up_to_a_time() {
        let before = |time| JwtsRevoked::Subject {
            issuer: "i".into(),
            subject: "s".into(),
            issued_before_unix_seconds: time,
        };
        assert!(revoked(before(101)).holds(&JWT));
        assert!(!revoked(before(100)).holds(&JWT), "issued in that second is not before it");
        assert!(revoked(before(1)).holds(&JwtNames { issued_at_unix_seconds: None, ..JWT }));
        assert!(!revoked(before(101)).holds(&JwtNames { issuer: "other", ..JWT }));
        let workspace =
            |time| JwtsRevoked::Workspace { workspace: "w".into(), issued_before_unix_seconds: time };
        assert!(revoked(workspace(101)).holds(&JwtNames { issuer: "any", subject: "any", ..JWT }));
        assert!(!revoked(workspace(100)).holds(&JWT));
        assert!(!revoked(workspace(101)).holds(&JwtNames { workspace: "s", ..JWT }));
    }

    #[test]
    fn ended_ones_are_forgotten() {
        let all = revoked(JwtsRevoked::Token { issuer: "i".into(), jti: "j".into() });
        let clock = Clock::manual(199);
        all.sweep(clock.now());
        assert_eq!(all.len(), 1);
        clock.advance(Duration::from_mins(1));
        all.sweep(clock.now());
        assert_eq!((all.len(), all.kinds.load(Ordering::Acquire)), (0, 0));
    }
}
