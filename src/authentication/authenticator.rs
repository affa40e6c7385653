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

/// A load that is under way or about to begin. Owns what it needs, so the head need not be kept borrowed.
#[derive(Debug)]
pub struct KeysWanted(Arrival);

impl KeysWanted {
    /// Waits for the end of the load, at most 7 s.
    pub async fn arrived(self) -> KeysArrived {
        KeysArrived { issuer_answered: self.0.wait().await }
    }
}

/// Proof that a request has waited, so that it waits only once.
#[derive(Clone, Copy, Debug)]
pub struct KeysArrived {
    issuer_answered: bool,
}

#[cfg(test)]
impl KeysArrived {
    pub(super) const TOO_LATE: Self = Self { issuer_answered: false };
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
    /// Seconds since its keys were last loaded or confirmed; [`None`] before the first time.
    pub age_seconds: Option<u64>,
    /// Why the last load failed, if it did.
    pub last_failure: Option<Arc<String>>,
    /// How often loads ended in each way since the process began.
    pub loads: Vec<(&'static str, u64)>,
}

/// What a token's verification came to.
enum Verification {
    Genuine(Arc<Verified>),
    /// All that can be checked without a key holds; the key is unknown.
    KeyUnknown(UnknownKey),
}

/// A key that is not in its issuer's set of a generation.
struct UnknownKey {
    keys: Arc<IssuerKeys>,
    generation: u64,
    /// The second in which the token was made at the latest, if it says so.
    made_by: Option<i64>,
}

impl Authenticator {
    /// An authenticator, and the tasks that load its issuers' keys: spawn [`Refresher::run`] of each.
    ///
    /// Reads the sets that an earlier process saved, at most 64 keys each: do it before requests are served.
    pub fn new(checked: Checked, subjects: SubjectKey, now: Now) -> (Self, Vec<Refresher>) {
        let empty = Self { issuers: Vec::new(), verified: None, subjects, verifications: Arc::default() };
        empty.reloaded(checked, now)
    }

    /// The same after a reload; clients keep their subjects. An issuer that stays as it was keeps its verified
    /// tokens. One whose keys come from where they came keeps these and their task, whatever else of it changed;
    /// its tokens are then verified anew. The tasks of issuers that are gone end by themselves.
    pub fn reloaded(&self, checked: Checked, now: Now) -> (Self, Vec<Refresher>) {
        let mut refreshers = Vec::new();
        let issuers = checked.issuers.into_iter().map(|settings| {
            let known = self.issuers.iter().find(|(known, _)| known.rules.issuer == settings.rules.issuer);
            let (issuer, refresher) = issuer(&settings, known, now);
            refreshers.extend(refresher);
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

    /// Identifies the caller of a request, waiting at most 7 s for a key that is not known yet.
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
                Verification::KeyUnknown(_) if arrived.issuer_answered => Err(InvalidJwt::KeyUnknown.into()),
                Verification::KeyUnknown(unknown) => Err(unavailable(&unknown.keys)),
            },
        }
    }

    /// Whose a credential is that came where none should be, if it is in force: a live one is to be reported as
    /// exposed, a decoy as used. Costs a signature check for a JWT and never asks an issuer.
    pub fn exposed<T: Tokens>(&self, value: &[u8], tokens: &T, now: Now) -> Result<Caller, Refused> {
        match Credential::of(value) {
            Credential::Opaque(token) => opaque(token, tokens, now),
            Credential::Jwt(token) => match self.recall_or_verify(token, now)? {
                Verification::Genuine(verified) => verified.caller(tokens, now),
                Verification::KeyUnknown(_) => Err(InvalidJwt::KeyUnknown.into()),
            },
        }
    }

    /// The `sub` of the genuine JWT that a request carries: the person, where limits count the client. For changes
    /// that are put down to somebody.
    pub fn person(&self, head: &Head, now: Now) -> Option<String> {
        match credentials::read(head, |_| false) {
            Ok(Credential::Jwt(token)) => match self.recall_or_verify(token, now) {
                Ok(Verification::Genuine(verified)) => Some(verified.identity.sub.clone()),
                Ok(Verification::KeyUnknown(_)) | Err(_) => None,
            },
            Ok(Credential::Opaque(_)) | Err(_) => None,
        }
    }

    /// Whom an opaque token would prove of which the registry says this. For explanations: a request is identified
    /// by its own credential alone.
    pub fn as_if(lookup: TokenLookup) -> Result<Caller, Refused> {
        proven(lookup)
    }

    /// Every issuer's keys.
    pub fn issuers(&self, now: Now) -> impl Iterator<Item = IssuerStatus> {
        self.issuers.iter().map(move |(_, issuer)| IssuerStatus {
            issuer: Arc::clone(&issuer.rules.issuer),
            keys: issuer.keys.current(now).1.map_or(0, |set| set.len()),
            has_keys: issuer.keys.has_keys(now),
            age_seconds: issuer.keys.age_seconds(now),
            last_failure: issuer.keys.last_failure(),
            loads: issuer.keys.loads().counts().map(|(result, count)| (result.name(), count)).collect(),
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
            let unknown = match self.recall_or_verify(token, now) {
                Ok(Verification::Genuine(verified)) => return Attempt::Decided(verified.caller(tokens, now)),
                Ok(Verification::KeyUnknown(unknown)) => unknown,
                Err(refused) => return Attempt::Decided(Err(refused)),
            };
            return match unknown.keys.ask(unknown.generation, unknown.made_by, now) {
                Ask::Wait(arrival) => Attempt::NeedsKeys(KeysWanted(arrival)),
                Ask::LookAgain => continue,
                Ask::Refused => Attempt::Decided(Err(InvalidJwt::KeyUnknown.into())),
                Ask::Unavailable => Attempt::Decided(Err(unavailable(&unknown.keys))),
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
        let key = match set.as_ref().map(|set| set.select(&jws.header, now.monotonic_nanos)) {
            Some(Selection::Key(key)) => Arc::clone(key),
            Some(Selection::Ambiguous) => return Err(InvalidJwt::KeyAmbiguous.into()),
            Some(Selection::Unknown) | None if issuer.rules.is_past(claims.expires_at, now) => {
                return Err(InvalidJwt::ExpiredUnverified.into());
            }
            Some(Selection::Unknown) | None => {
                let keys = Arc::clone(&issuer.keys);
                let made_by = claims.issued_at.map(|at| at.saturating_add(issuer.rules.leeway_seconds));
                return Ok(Verification::KeyUnknown(UnknownKey { keys, generation, made_by }));
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

/// An issuer with as much as may be taken over of what is `known` of it, and the task that loads its keys if that
/// is a new one.
fn issuer(
    settings: &CheckedIssuer,
    known: Option<&(CheckedIssuer, Arc<Issuer>)>,
    now: Now,
) -> (Arc<Issuer>, Option<Refresher>) {
    if let Some((_, known)) = known.filter(|(known, _)| known == settings) {
        return (Arc::clone(known), None);
    }
    let CheckedIssuer { rules, source, pace, saved } = settings.clone();
    // What a key without an algorithm of its own is used for depends on those that are allowed.
    let same_keys =
        known.filter(|(known, _)| known.source == source && known.rules.algorithms == rules.algorithms);
    if let Some((_, issuer)) = same_keys.filter(|(known, _)| known.pace == pace && known.saved == saved) {
        let keys = Arc::clone(&issuer.keys);
        return (Arc::new(Issuer { rules, keys }), None);
    }
    let (name, allowed) = (Arc::clone(&rules.issuer), rules.algorithms.clone());
    let (keys, refresher) = IssuerKeys::new(name, source, allowed, pace, saved.clone());
    match (same_keys, saved) {
        (Some((_, issuer)), _) => keys.begin_with(&issuer.keys),
        (None, Some(saved)) => keys.restore(&saved, now),
        (None, None) => {}
    }
    (Arc::new(Issuer { rules, keys }), Some(refresher))
}

fn opaque<T: Tokens>(token: &[u8], tokens: &T, now: Now) -> Result<Caller, Refused> {
    if token.len() > MAX_OPAQUE_BYTES {
        return Err(Refused::TokenUnknown);
    }
    match proven(tokens.find(token, now)) {
        // A damaged one is refused whatever is known. A decoy must be told what any unknown token is.
        Err(Refused::TokenUnknown | Refused::Decoy(_))
            if tokens.recognises(token) && !tokens.is_current(now) =>
        {
            Err(Refused::RegistryUnavailable)
        }
        Ok(_) if !tokens.may_answer(now) => Err(Refused::RegistryUnavailable),
        decided => decided,
    }
}

/// What the registry's word on a token comes to.
fn proven(lookup: TokenLookup) -> Result<Caller, Refused> {
    match lookup {
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
            allowed_networks: entry.allowed_networks,
            expires_at_unix_seconds: entry.expires_at_unix_seconds,
        }),
        TokenLookup::Decoy(whose) => Err(Refused::Decoy(whose)),
        TokenLookup::Unknown => Err(Refused::TokenUnknown),
        TokenLookup::Unplaced => Err(Refused::RegistryUnavailable),
        TokenLookup::Revoked(whose) => Err(Refused::TokenRevoked(whose)),
        TokenLookup::Expired(whose) => Err(Refused::TokenExpired(whose)),
        TokenLookup::Elsewhere(region) => Err(Refused::WrongRegion(region)),
    }
}

fn unavailable(keys: &IssuerKeys) -> Refused {
    Refused::IssuerUnavailable { issuer: Arc::clone(keys.issuer()) }
}
