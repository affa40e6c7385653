//! Changes to workspaces and tokens, checked before they reach the store.
//!
//! The only place where a new token exists in plain text; it is handed out once, as a
//! [`Secret`], and kept nowhere.

use std::path::Path;
use std::sync::Arc;

use crate::clock::Now;
use crate::domain::{Network, Quota, Regions, Role, Secret};
use crate::telemetry::has_token;

use super::random::{push_base62, push_base62_number};
use super::store::{
    Act, Leak, LeakedToken, MOST_NETWORKS, MOST_WORDS, NewToken, NewWorkspace, Replacement, Store,
    TokenChange, WorkspaceChange,
};
use super::{
    Digest, Error, Format, Peppers, Random, Rules, Scheme, TokenRecord, WorkspaceRecord, pepper_file,
};

const ID_CHARACTERS: usize = 16;
const ID_TIME_CHARACTERS: usize = 7;

/// Makes, rotates, revokes and imports tokens, and makes and changes workspaces. Its methods block; the
/// gateway calls them off the request threads.
pub struct Mint {
    pub(super) store: Arc<dyn Store>,
    pub(super) peppers: Peppers,
    pub(super) rules: Rules,
    pub(super) regions: Regions,
    pub(super) random: Box<dyn Random>,
}

/// What a new token is to be.
#[derive(Clone, Debug)]
pub struct TokenRequest {
    /// Its workspace's id.
    pub workspace: String,
    /// A name for people, up to 128 characters.
    pub name: String,
    /// What it may do; empty takes the configured scopes.
    pub scopes: Vec<String>,
    /// Its role.
    pub role: Role,
    /// A limit of its own.
    pub own_limit: Option<Quota>,
    /// How long it lives; [`None`] is for ever.
    pub lifetime_seconds: Option<u64>,
    /// Where it may be used from, up to 16 networks; from everywhere if there are none.
    pub allowed_networks: Vec<Network>,
    /// Whether it is a decoy.
    pub decoy: bool,
}

/// A new token, in plain text for the only time.
#[derive(Debug)]
pub struct Minted {
    /// What is known of it from now on.
    pub record: TokenRecord,
    /// The token itself.
    pub token: Secret<String>,
}

impl Mint {
    /// Opens the store and the peppers, and makes both on first use.
    ///
    /// A pepper file that is missing, or is not the one that the store's tokens were made with, is an error:
    /// with another pepper every valid token would be refused.
    pub fn open(rules: &Rules, regions: &Regions, random: Box<dyn Random>, now: Now) -> Result<Self, Error> {
        let store = rules.store.open()?;
        let known = store.fingerprints()?;
        let peppers = match pepper_file::read(&rules.pepper_file) {
            Err(Error::PepperMissing(_)) if known.is_empty() => {
                pepper_file::create(&rules.pepper_file, &*random)?;
                pepper_file::read(&rules.pepper_file)?
            }
            read => read?,
        };
        peppers.check(&known, &rules.pepper_file)?;
        check_complete(&*store, &peppers, &known, &rules.pepper_file, now)?;
        let ours: Vec<_> = peppers.fingerprints().collect();
        if ours.iter().any(|fingerprint| !known.contains(fingerprint)) {
            store.add_fingerprints(Act::by("tollgate", now), &ours)?;
            peppers.check(&store.fingerprints()?, &rules.pepper_file)?;
        }
        Ok(Self { store, peppers, rules: rules.clone(), regions: regions.clone(), random })
    }

    /// As [`Mint::open`] where the store is away and cannot be asked: the peppers are those of the file, which must be
    /// there.
    pub(super) fn open_away(
        rules: &Rules,
        regions: &Regions,
        random: Box<dyn Random>,
        store: Arc<dyn Store>,
    ) -> Result<Self, Error> {
        let peppers = pepper_file::read(&rules.pepper_file)?;
        Ok(Self { store, peppers, rules: rules.clone(), regions: regions.clone(), random })
    }

    /// The store, for reading.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// The live peppers.
    pub const fn peppers(&self) -> &Peppers {
        &self.peppers
    }

    /// The rules that it was opened with.
    pub const fn rules(&self) -> &Rules {
        &self.rules
    }

    /// The regions of the configuration.
    pub const fn regions(&self) -> &Regions {
        &self.regions
    }

    /// Makes a workspace in a configured region.
    pub fn create_workspace(&self, act: Act<'_>, new: &NewWorkspace) -> Result<WorkspaceRecord, Error> {
        check_workspace_id(&new.id)?;
        self.region_letter(&new.region)?;
        check_features(&new.features)?;
        check_contacts(&new.contacts)?;
        self.store.create_workspace(act, new)
    }

    /// Changes a workspace.
    pub fn set_workspace(
        &self,
        act: Act<'_>,
        id: &str,
        change: &WorkspaceChange,
    ) -> Result<WorkspaceRecord, Error> {
        self.check_workspace_change(change)?;
        self.store.set_workspace(act, id, change)
    }

    pub(super) fn check_workspace_change(&self, change: &WorkspaceChange) -> Result<(), Error> {
        if let Some(region) = &change.region {
            self.region_letter(region)?;
        }
        check_features(&change.enable)?;
        check_contacts(&change.add_contacts)
    }

    /// One workspace; [`Error::WorkspaceUnknown`].
    pub fn workspace(&self, id: &str) -> Result<WorkspaceRecord, Error> {
        self.store.workspace(id)?.ok_or_else(|| Error::WorkspaceUnknown(id.to_owned()))
    }

    /// One token; [`Error::TokenUnknown`].
    pub fn token(&self, id: &str) -> Result<TokenRecord, Error> {
        self.store.token(id)?.ok_or_else(|| Error::TokenUnknown(id.to_owned()))
    }

    /// Makes a token for a workspace.
    pub fn create_token(&self, act: Act<'_>, request: &TokenRequest) -> Result<Minted, Error> {
        check_name(&request.name)?;
        check_scopes(&request.scopes)?;
        self.check_pepper()?;
        let workspace = self.workspace(&request.workspace)?;
        let token = self.plain(&workspace)?;
        let scopes = if request.scopes.is_empty() { &self.rules.scopes } else { &request.scopes };
        let new = NewToken {
            id: self.token_id(act.now.unix_millis)?,
            workspace: workspace.id,
            name: request.name.clone(),
            scopes: scopes.clone(),
            role: request.role,
            own_limit: request.own_limit,
            allowed_networks: networks(&request.allowed_networks)?,
            is_decoy: request.decoy,
            expires_at_unix_seconds: end(act, request.lifetime_seconds)?,
            digest: self.peppers.digest(token.expose().as_bytes()),
            foreign: false,
        };
        let record = self.store.create_token(act, &new, self.rules.tokens_per_workspace)?;
        Ok(Minted { record, token })
    }

    /// Changes a token; [`Error::TokenUnknown`], [`Error::Ended`].
    pub fn set_token(&self, act: Act<'_>, id: &str, change: &TokenChange) -> Result<TokenRecord, Error> {
        if let Some(name) = &change.name {
            check_name(name)?;
        }
        let allowed_networks = change.allowed_networks.as_deref().map(networks).transpose()?;
        self.store.set_token(act, id, &TokenChange { allowed_networks, ..change.clone() })
    }

    /// Replaces a token by a new one of the same family, scopes, role, limit and networks. The old one goes on working
    /// for the overlap. Without `lifetime_seconds` the new one lives as long as the old one was made for.
    pub fn rotate_token(
        &self,
        act: Act<'_>,
        id: &str,
        overlap_seconds: u64,
        lifetime_seconds: Option<u64>,
    ) -> Result<Minted, Error> {
        if overlap_seconds > LONGEST_LIFETIME_SECONDS {
            return Err(invalid("overlap", &overlap_seconds.to_string(), "write at most 100 years"));
        }
        self.check_pepper()?;
        let token = self.plain(&self.workspace(&self.token(id)?.workspace)?)?;
        let replacement = Replacement {
            id: self.token_id(act.now.unix_millis)?,
            digest: self.peppers.digest(token.expose().as_bytes()),
            expires_at_unix_seconds: end(act, lifetime_seconds)?,
            overlap_seconds,
            cap: self.rules.tokens_per_workspace,
        };
        let record = self.store.rotate_token(act, id, &replacement)?;
        Ok(Minted { record, token })
    }

    /// Revokes a token and those of its predecessors that still work. Doing it again changes nothing.
    pub fn revoke_token(&self, act: Act<'_>, id: &str, reason: &str) -> Result<TokenRecord, Error> {
        check_text("reason", reason, 256)?;
        self.store.revoke_token(act, id, reason)
    }

    /// Revokes a token that was found where strangers can read it, and every token of its family, and owes its
    /// workspace's contacts a message. A token that does not work any more stays as it is. [`Error::TokenUnknown`].
    pub fn revoke_leaked(&self, act: Act<'_>, id: &str, leak: Leak) -> Result<TokenRecord, Error> {
        self.store.revoke_leaked(act, &[LeakedToken { token_id: id.to_owned(), leak }])?;
        self.token(id)
    }

    /// Refuses to hash anything under a pepper that was retired since its file was read: it would work until the next
    /// start and no longer.
    pub(super) fn check_pepper(&self) -> Result<(), Error> {
        let version = self.peppers.writes();
        if self.store.retired_peppers()?.contains(&version) {
            return Err(Error::PepperRetired(version));
        }
        Ok(())
    }

    /// A public id, 7 characters of the time in milliseconds before 9 of chance: what is made at about the same time lies
    /// together in every index, and lists are in the order of making.
    pub(super) fn token_id(&self, unix_millis: u64) -> Result<String, Error> {
        let mut id = String::from("tok_");
        push_base62_number(&mut id, ID_TIME_CHARACTERS, unix_millis);
        push_base62(&mut id, ID_CHARACTERS - ID_TIME_CHARACTERS, &*self.random)?;
        Ok(id)
    }

    pub(super) fn region_letter(&self, name: &str) -> Result<char, Error> {
        let id = self.regions.by_name(name).ok_or_else(|| Error::RegionUnknown {
            region: name.to_owned(),
            known: self.regions.iter().map(|(_, region)| &*region.name).collect::<Vec<_>>().join(", "),
        })?;
        Ok(self.regions.region(id).letter)
    }

    fn plain(&self, workspace: &WorkspaceRecord) -> Result<Secret<String>, Error> {
        let letter = self.region_letter(&workspace.region)?;
        self.rules.format.mint(letter, &*self.random)
    }

    /// The format of its tokens.
    pub const fn format(&self) -> &Format {
        &self.rules.format
    }
}

impl std::fmt::Debug for Mint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mint").field("store", &self.store).finish_non_exhaustive()
    }
}

/// Refuses peppers among which one is missing that working tokens are hashed under, and warns of one that was retired.
/// What is stored is counted only if a version is missing.
fn check_complete(
    store: &dyn Store,
    peppers: &Peppers,
    known: &[Digest],
    file: &Path,
    now: Now,
) -> Result<(), Error> {
    let retired = store.retired_peppers()?;
    for version in retired.iter().filter(|version| peppers.holds(**version)) {
        tracing::warn!(version, file = %file.display(), "the pepper file holds a version that was retired");
    }
    let is_missing = |scheme: Scheme| match scheme {
        Scheme::Hmac(version) => !peppers.holds(version) && !retired.contains(&version),
        Scheme::Sha256 => false,
    };
    if !known.iter().any(|known| is_missing(known.scheme)) {
        return Ok(());
    }
    let seen = store.under_peppers(now)?;
    match seen.iter().find(|found| found.is_needed() && is_missing(found.scheme)).map(|found| found.scheme) {
        Some(Scheme::Hmac(version)) => Err(Error::PepperGone { version, file: file.to_owned() }),
        Some(Scheme::Sha256) | None => Ok(()),
    }
}

/// The longest lifetime and overlap, 100 years. The read model takes an end from the year 2106 on for none.
pub(super) const LONGEST_LIFETIME_SECONDS: u64 = 100 * 366 * 86_400;

pub(super) fn end(act: Act<'_>, lifetime_seconds: Option<u64>) -> Result<Option<u64>, Error> {
    match lifetime_seconds {
        None => Ok(None),
        Some(0) => Err(invalid("lifetime", "0", "write at least one second")),
        Some(lifetime) if lifetime > LONGEST_LIFETIME_SECONDS => {
            Err(invalid("lifetime", &lifetime.to_string(), "write at most 100 years, or leave it out"))
        }
        Some(lifetime) => Ok(Some(act.now.unix_seconds().saturating_add(lifetime))),
    }
}

/// Networks in their canonical order.
pub(super) fn networks(given: &[Network]) -> Result<Vec<Network>, Error> {
    let mut all = given.to_vec();
    all.sort_unstable();
    all.dedup();
    if all.len() <= MOST_NETWORKS {
        return Ok(all);
    }
    let value = format!("{} of them", all.len());
    Err(invalid("allowed network", &value, "a token has at most 16; write wider ones"))
}

pub(super) fn check_workspace_id(id: &str) -> Result<(), Error> {
    let good = (1..=64).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
    good.then_some(()).ok_or_else(|| invalid("workspace id", id, "write 1 to 64 of A-Z a-z 0-9 _ -"))
}

pub(super) fn check_name(name: &str) -> Result<(), Error> {
    check_text("name", name, 128)
}

/// A line for people. It is kept for ever and shown to many, so it must hold no secret.
pub(super) fn check_text(what: &'static str, text: &str, most: usize) -> Result<(), Error> {
    if has_token(text.as_bytes()) {
        return Err(invalid(
            what,
            text,
            "it holds what looks like a token or a JWT; write an id in its place",
        ));
    }
    if text.chars().count() > most || text.chars().any(char::is_control) {
        return Err(invalid(what, text, "write one short line: 128 characters for a name, 256 for a reason"));
    }
    Ok(())
}

/// A scope as RFC 6749, section 3.3 has it, up to 128 characters, without the comma that lists need.
pub(super) fn is_scope(text: &str) -> bool {
    (1..=128).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\' | b','))
}

pub(super) fn check_scopes(scopes: &[String]) -> Result<(), Error> {
    const FIX: &str =
        "write up to 64 of up to 128 visible ASCII characters without quote, comma and backslash";
    check_words("scope", scopes, is_scope, FIX)
}

fn check_features(features: &[String]) -> Result<(), Error> {
    const FIX: &str = "write up to 64 of up to 128 characters without quote, comma and backslash";
    let is_feature = |text: &str| {
        (1..=128).contains(&text.chars().count())
            && !text.chars().any(|c| c.is_control() || matches!(c, '"' | '\\' | ','))
    };
    check_words("feature", features, is_feature, FIX)
}

/// How the address of a webhook on this machine begins. Whether one is ever called is the configuration's say.
const LOOPBACK: [&str; 3] = ["http://127.0.0.1:", "http://localhost:", "http://[::1]:"];

fn check_contacts(contacts: &[String]) -> Result<(), Error> {
    const FIX: &str =
        "write an e-mail address, or a webhook address that starts with https:// (http:// on loopback)";
    let is_contact = |text: &str| {
        let plain = text.len() <= 254 && !text.chars().any(|c| c.is_control() || c.is_whitespace());
        plain && if text.contains("://") { is_webhook(text) } else { is_mail(text) }
    };
    check_words("contact", contacts, is_contact, FIX)
}

/// Without a user name: what is checked of the host would otherwise be said of the name.
fn is_webhook(text: &str) -> bool {
    let Ok(uri) = text.parse::<http::Uri>() else { return false };
    let names_host = uri.host().is_some_and(|host| !host.is_empty());
    let names_user = uri.authority().is_none_or(|authority| authority.as_str().contains('@'));
    let secure = uri.scheme_str() == Some("https");
    names_host && !names_user && (secure || LOOPBACK.iter().any(|start| text.starts_with(start)))
}

/// What a mail can be addressed to.
fn is_mail(text: &str) -> bool {
    text.parse::<lettre::Address>().is_ok_and(|address| {
        let domain = address.domain();
        domain.contains('.') && !domain.starts_with('[')
    })
}

fn check_words(
    what: &'static str,
    words: &[String],
    is_good: impl Fn(&str) -> bool,
    fix: &'static str,
) -> Result<(), Error> {
    match words.iter().find(|word| !is_good(word)) {
        Some(word) => Err(invalid(what, word, fix)),
        None if words.len() > MOST_WORDS => Err(invalid(what, &format!("{} of them", words.len()), fix)),
        None => Ok(()),
    }
}

/// A value that cannot be taken, quoted unless it holds a token.
pub(super) fn invalid(what: &'static str, value: &str, fix: &'static str) -> Error {
    let value = if has_token(value.as_bytes()) { "***" } else { value };
    Error::Invalid { what, value: value.chars().take(80).collect(), fix }
}

#[cfg(test)]
mod tests;
