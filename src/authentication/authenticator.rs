//! The way from a request's head to its caller.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Refused;
use super::cache::VerifiedTokens;
use super::caller::{Caller, CredentialKind};
use super::credentials::{self, Credential};
use super::issuer::Issuer;
use super::jwks::{Arrival, Ask, IssuerKeys, Refresher, Selection, Trust};
use super::jwt::{Claims, InvalidJwt, Jws};
use super::registry::{TokenLookup, Tokens};
use super::settings::{Checked, CheckedIssuer};
use super::subject::SubjectKey;
use super::verified::Verified;
use crate::clock::Now;
use crate::message::Head;

/// The longest opaque token that is looked up.
const MAX_OPAQUE_BYTES: usize = 8 * 1024;

/// Identifies callers. Shared by every core; a reload makes a new one that keeps keys and verified tokens.
#[derive(Debug)]
pub struct Authenticator {
    issuers: Vec<(CheckedIssuer, Arc<Issuer>)>,
    verified: Option<Arc<VerifiedTokens>>,
    subjects: SubjectKey,
    verifications: Arc<AtomicU64>,
}

/// What can be said of a request without waiting.
#[derive(Debug)]
pub enum Attempt {
    /// Who it is, or why not.
    Decided(Result<Caller, Refused>),
    /// Its JWT names a key that is being fetched: await [`KeysWanted::arrived`], then call
    /// [`Authenticator::identify_after`].
    NeedsKeys(KeysWanted),
}

/// A fetch that is under way. Owns what it needs, so the head need not be kept borrowed.
#[derive(Debug)]
pub struct KeysWanted(Arrival);

impl KeysWanted {
    /// Waits for the end of the fetch, at most 2 s.
    pub async fn arrived(self) -> KeysArrived {
        KeysArrived { in_time: self.0.wait().await }
    }
}

/// Proof that a request has waited, so that it waits only once.
#[derive(Clone, Copy, Debug)]
pub struct KeysArrived {
    in_time: bool,
}

#[cfg(test)]
impl KeysArrived {
    pub(super) const TOO_LATE: Self = Self { in_time: false };
}

/// How an issuer's keys are, for readiness and metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuerStatus {
    /// Its name.
    pub issuer: Arc<str>,
    /// How many of its keys are known and understood.
    pub keys: usize,
    /// Whether its tokens can be verified.
    pub has_keys: bool,
    /// Seconds since its keys were last loaded; [`None`] before the first time.
    pub age_seconds: Option<u64>,
    /// Whether the last load failed.
    pub last_load_failed: bool,
}

/// What a token's verification came to.
enum Verification {
    Genuine(Arc<Verified>),
    /// All that can be checked without a key holds; the key is not in the set of this generation.
    KeyUnknown(Arc<IssuerKeys>, u64),
}

impl Authenticator {
    /// An authenticator, and the tasks that load its issuers' keys: spawn [`Refresher::run`] of each.
    pub fn new(checked: Checked, subjects: SubjectKey) -> (Self, Vec<Refresher>) {
        let empty = Self { issuers: Vec::new(), verified: None, subjects, verifications: Arc::default() };
        empty.reloaded(checked)
    }

    /// The same after a reload: an issuer whose settings did not change keeps its keys, its task and its
    /// verified tokens; clients keep their subjects. The tasks of issuers that are gone end by themselves.
    pub fn reloaded(&self, checked: Checked) -> (Self, Vec<Refresher>) {
        let mut refreshers = Vec::new();
        let issuers = checked.issuers.into_iter().map(|settings| {
            let known = self.issuers.iter().find(|(known, _)| *known == settings);
            let issuer = known.map_or_else(
                || {
                    let (issuer, refresher) = start(&settings);
                    refreshers.push(refresher);
                    issuer
                },
                |(_, issuer)| Arc::clone(issuer),
            );
            (settings, issuer)
        });
        let issuers = issuers.collect();
        let verified = match (&self.verified, checked.verified_tokens) {
            (_, 0) => None,
            (Some(verified), entries) if verified.entries() == entries => Some(Arc::clone(verified)),
            (_, entries) => Some(Arc::new(VerifiedTokens::new(entries))),
        };
        let (subjects, verifications) = (self.subjects.clone(), Arc::clone(&self.verifications));
        (Self { issuers, verified, subjects, verifications }, refreshers)
    }

    /// Identifies the caller of a request, waiting at most 2 s for a key that is being fetched.
    pub async fn identify<T: Tokens>(&self, head: &Head, tokens: &T, now: Now) -> Result<Caller, Refused> {
        match self.try_identify(head, tokens, now) {
            Attempt::Decided(result) => result,
            Attempt::NeedsKeys(wanted) => {
                let arrived = wanted.arrived().await;
                self.identify_after(arrived, head, tokens, now)
            }
        }
    }

    /// Identifies the caller without waiting; all but first uses of a new key are decided at once.
    pub fn try_identify<T: Tokens>(&self, head: &Head, tokens: &T, now: Now) -> Attempt {
        match credentials::read(head, |value| tokens.recognises(value)) {
            Ok(Credential::Opaque(token)) => Attempt::Decided(opaque(token, tokens, now)),
            Ok(Credential::Jwt(token)) => self.jwt(token, tokens, now),
            Err(refused) => Attempt::Decided(Err(refused)),
        }
    }

    /// Identifies the caller of a request that has waited for its key.
    pub fn identify_after<T: Tokens>(
        &self,
        arrived: KeysArrived,
        head: &Head,
        tokens: &T,
        now: Now,
    ) -> Result<Caller, Refused> {
        match credentials::read(head, |value| tokens.recognises(value))? {
            Credential::Opaque(token) => opaque(token, tokens, now),
            Credential::Jwt(token) => match self.recall_or_verify(token, now)? {
                Verification::Genuine(verified) => verified.caller(tokens, now),
                // Only an answer of the issuer proves that a key does not exist.
                Verification::KeyUnknown(keys, _) if arrived.in_time && !keys.last_load_failed() => {
                    Err(InvalidJwt::KeyUnknown.into())
                }
                Verification::KeyUnknown(keys, _) => Err(unavailable(&keys)),
            },
        }
    }

    /// Whose a credential is that came where none should be, if it is in force: a live one is to be reported as
    /// exposed. Costs a signature check for a JWT and never asks an issuer.
    pub fn exposed<T: Tokens>(&self, value: &[u8], tokens: &T, now: Now) -> Option<Caller> {
        match Credential::of(value) {
            Credential::Opaque(token) => opaque(token, tokens, now).ok(),
            Credential::Jwt(token) => match self.recall_or_verify(token, now) {
                Ok(Verification::Genuine(verified)) => verified.caller(tokens, now).ok(),
                Ok(Verification::KeyUnknown(..)) | Err(_) => None,
            },
        }
    }

    /// Every issuer's keys.
    pub fn issuers(&self, now: Now) -> impl Iterator<Item = IssuerStatus> {
        self.issuers.iter().map(move |(_, issuer)| IssuerStatus {
            issuer: Arc::clone(&issuer.rules.issuer),
            keys: issuer.keys.current(now).1.map_or(0, |set| set.len()),
            has_keys: issuer.keys.has_keys(now),
            age_seconds: issuer.keys.age_seconds(now),
            last_load_failed: issuer.keys.last_load_failed(),
        })
    }

    /// How many signatures were checked since the process began.
    pub fn verifications(&self) -> u64 {
        self.verifications.load(Ordering::Relaxed)
    }

    /// How many verified tokens are remembered.
    pub fn verified_tokens(&self) -> usize {
        self.verified.as_ref().map_or(0, |verified| verified.len())
    }

    fn jwt<T: Tokens>(&self, token: &[u8], tokens: &T, now: Now) -> Attempt {
        loop {
            let (keys, generation) = match self.recall_or_verify(token, now) {
                Ok(Verification::Genuine(verified)) => return Attempt::Decided(verified.caller(tokens, now)),
                Ok(Verification::KeyUnknown(keys, generation)) => (keys, generation),
                Err(refused) => return Attempt::Decided(Err(refused)),
            };
            return match keys.ask(generation, now) {
                Ask::Wait(arrival) => Attempt::NeedsKeys(KeysWanted(arrival)),
                Ask::LookAgain => continue,
                Ask::Refused => Attempt::Decided(Err(InvalidJwt::KeyUnknown.into())),
                Ask::Unavailable => Attempt::Decided(Err(unavailable(&keys))),
            };
        }
    }

    fn recall_or_verify(&self, token: &[u8], now: Now) -> Result<Verification, Refused> {
        match self.cached(token, now) {
            Some(verified) => Ok(Verification::Genuine(verified)),
            None => self.verify(token, now),
        }
    }

    /// A token that was verified before, whose issuer and key are still what they were.
    fn cached(&self, token: &[u8], now: Now) -> Option<Arc<Verified>> {
        let cache = self.verified.as_ref()?;
        let verified = cache.find(token)?;
        let is_current = self.issuers.iter().any(|(_, issuer)| Arc::ptr_eq(issuer, &verified.issuer));
        if is_current && verified.trust(now) == Trust::Trusted {
            return Some(verified);
        }
        cache.remove(token);
        None
    }

    /// Verifies a token. Everything that needs no key is checked first, so that only a token that would
    /// otherwise hold can make us ask its issuer.
    fn verify(&self, token: &[u8], now: Now) -> Result<Verification, Refused> {
        let jws = Jws::parse(token)?;
        let claims = Claims::parse(&jws.payload)?;
        let found = self.issuers.iter().find(|(_, issuer)| *issuer.rules.issuer == *claims.issuer);
        let (_, issuer) = found.ok_or(InvalidJwt::IssuerUnknown)?;
        issuer.rules.check_header(&jws.header)?;
        issuer.rules.check_claims(&claims, now)?;
        let (generation, set) = issuer.keys.current(now);
        let key = match set.as_ref().map(|set| set.select(&jws.header)) {
            Some(Selection::Key(key)) => Arc::clone(key),
            Some(Selection::Ambiguous) => return Err(InvalidJwt::KeyAmbiguous.into()),
            Some(Selection::Unknown) | None if issuer.rules.is_past(claims.expires_at, now) => {
                return Err(InvalidJwt::ExpiredUnverified.into());
            }
            Some(Selection::Unknown) | None => {
                return Ok(Verification::KeyUnknown(Arc::clone(&issuer.keys), generation));
            }
        };
        self.verifications.fetch_add(1, Ordering::Relaxed);
        jws.verify(&key)?;
        let identity = issuer.rules.identity(claims, &self.subjects)?;
        let generation = AtomicU64::new(generation);
        let verified = Arc::new(Verified { issuer: Arc::clone(issuer), key, generation, identity });
        if let Some(cache) = &self.verified
            && !issuer.rules.is_past(verified.identity.expires_at, now)
        {
            cache.insert(token, Arc::clone(&verified));
        }
        Ok(Verification::Genuine(verified))
    }
}

fn start(settings: &CheckedIssuer) -> (Arc<Issuer>, Refresher) {
    let CheckedIssuer { rules, source, pace } = settings.clone();
    let (keys, refresher) =
        IssuerKeys::new(Arc::clone(&rules.issuer), source, rules.algorithms.clone(), pace);
    (Arc::new(Issuer { rules, keys }), refresher)
}

fn opaque<T: Tokens>(token: &[u8], tokens: &T, now: Now) -> Result<Caller, Refused> {
    if token.len() > MAX_OPAQUE_BYTES {
        return Err(Refused::TokenUnknown);
    }
    match tokens.find(token, now) {
        TokenLookup::Found(entry) => Ok(Caller {
            kind: CredentialKind::Opaque,
            token_id: entry.id,
            issuer: None,
            subject: entry.subject,
            workspace: entry.workspace,
            role: entry.role,
            scopes: entry.scopes,
            own_limit: entry.own_limit,
            overrides: entry.overrides,
            expires_at_unix_seconds: entry.expires_at_unix_seconds,
        }),
        TokenLookup::Unknown if !tokens.available() => Err(Refused::RegistryUnavailable),
        TokenLookup::Unknown => Err(Refused::TokenUnknown),
        TokenLookup::Unplaced => Err(Refused::RegistryUnavailable),
        TokenLookup::Revoked => Err(Refused::TokenRevoked),
        TokenLookup::Expired => Err(Refused::TokenExpired),
        TokenLookup::Elsewhere(region) => Err(Refused::WrongRegion(region)),
    }
}

fn unavailable(keys: &IssuerKeys) -> Refused {
    Refused::IssuerUnavailable { issuer: Arc::clone(keys.issuer()) }
}
