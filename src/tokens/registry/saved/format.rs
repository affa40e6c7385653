//! The bytes of a saved registry.
//!
//! A line that names the format, then little-endian numbers: the stamp; what tokens may do and the workspaces, each a
//! count and so many JSON documents behind their lengths; tokens in batches, each behind its count, the last of them
//! empty; the rows of which there are few, as JSON again; and the SHA-256 of all that.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read as _, Write as _};
use std::num::NonZeroU32;
use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{Grants, NotTaken, PackedId, Scheme, TokenId, Values};
use crate::domain::{
    LimitOverride, Network, Plan, Quota, RegionId, Role, Subject, Workspace, WorkspaceState,
};
use crate::tokens::store::{Row, StoredOperator};
use crate::tokens::{Digest, JwtRevocation, JwtsRevoked, OperatorRecord};

const FORMAT: &[u8; 24] = b"tollgate saved registry3";
/// The longest JSON document and the longest id, with much room.
const LONGEST_BYTES: usize = 16 << 20;

/// Up to where a file is, and by which keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) seq: u64,
    /// The hash of that log entry.
    pub(super) hash: [u8; 32],
    pub(super) unix_millis: u64,
    /// Fingerprints of the peppers under which the tokens' digests are.
    pub(super) peppers: Vec<Digest>,
    pub(super) has_foreign: bool,
    pub(super) has_sha256: bool,
}

/// Requests, seconds and burst.
type SavedQuota = (NonZeroU32, u32, NonZeroU32);

const fn saved_quota(quota: Quota) -> SavedQuota {
    (quota.requests, quota.period_seconds, quota.burst)
}

const fn quota((requests, period_seconds, burst): SavedQuota) -> Quota {
    Quota::new(requests, period_seconds).with_burst(burst)
}

/// Policy, quota, and the second in which it ends.
type SavedOverride = (String, SavedQuota, u64);

fn saved_overrides(overrides: &[LimitOverride]) -> Vec<SavedOverride> {
    let saved =
        |one: &LimitOverride| (one.policy.to_string(), saved_quota(one.quota), one.until_unix_seconds);
    overrides.iter().map(saved).collect()
}

fn overrides(saved: Vec<SavedOverride>) -> Arc<[LimitOverride]> {
    let read = |(policy, saved, until_unix_seconds): SavedOverride| LimitOverride {
        policy: policy.into(),
        quota: quota(saved),
        until_unix_seconds,
    };
    saved.into_iter().map(read).collect()
}

/// What tokens may do.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SavedGrants {
    scopes: Vec<String>,
    role: Role,
    own_limit: Option<SavedQuota>,
    overrides: Vec<SavedOverride>,
    allowed_networks: Vec<String>,
    is_decoy: bool,
}

impl SavedGrants {
    pub(super) fn of(grants: &Grants) -> Self {
        let Grants { scopes, role, own_limit, overrides, allowed_networks, is_decoy } = grants;
        let networks = allowed_networks.as_deref().unwrap_or_default();
        Self {
            scopes: scopes.iter().map(ToString::to_string).collect(),
            role: *role,
            own_limit: own_limit.map(saved_quota),
            overrides: overrides.as_deref().map(saved_overrides).unwrap_or_default(),
            allowed_networks: networks.iter().map(Network::to_string).collect(),
            is_decoy: *is_decoy,
        }
    }

    /// [`None`] if a network is none: a token must never be usable from more places than it was.
    pub(super) fn grants(self, mut scope: impl FnMut(&str) -> Arc<str>) -> Option<Grants> {
        let networks = self.allowed_networks.iter().map(|text| Network::parse(text));
        let networks: Vec<Network> = networks.collect::<Option<_>>()?;
        Some(Grants {
            scopes: self.scopes.iter().map(|name| scope(name)).collect(),
            role: self.role,
            own_limit: self.own_limit.map(quota),
            overrides: (!self.overrides.is_empty()).then(|| overrides(self.overrides)),
            allowed_networks: (!networks.is_empty()).then(|| networks.into()),
            is_decoy: self.is_decoy,
        })
    }
}

/// A workspace as requests see it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SavedWorkspace {
    id: String,
    subject: u64,
    pub(super) region: String,
    plan: Plan,
    features: Vec<String>,
    state: WorkspaceState,
    overrides: Vec<SavedOverride>,
}

impl SavedWorkspace {
    pub(super) fn of(workspace: &Workspace, region: &str) -> Self {
        let Workspace { id, subject, region: _, plan, features, state, overrides } = workspace;
        Self {
            id: id.to_string(),
            subject: subject.0,
            region: region.to_owned(),
            plan: *plan,
            features: features.iter().map(ToString::to_string).collect(),
            state: *state,
            overrides: saved_overrides(overrides),
        }
    }

    pub(super) fn workspace(self, region: RegionId) -> Workspace {
        Workspace {
            id: self.id.into(),
            subject: Subject(self.subject),
            region,
            plan: self.plan,
            features: self.features.into_iter().map(Arc::from).collect(),
            state: self.state,
            overrides: overrides(self.overrides),
        }
    }
}

/// A row of a kind of which there are few.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) enum SavedRow {
    Operator {
        name: String,
        created: u64,
        expires: Option<u64>,
        revoked: Option<u64>,
        pepper: u16,
        digest: [u8; 32],
    },
    JwtRevocation {
        id: String,
        jwts: SavedJwts,
        reason: String,
        revoked: u64,
        ends: u64,
    },
}

/// Which JWTs are revoked.
#[derive(Serialize, Deserialize)]
pub(super) enum SavedJwts {
    Token { issuer: String, jti: String },
    Subject { issuer: String, subject: String, issued_before: u64 },
    Workspace { workspace: String, issued_before: u64 },
}

impl SavedRow {
    /// [`None`] for the kinds of which there are many: these have parts of the file of their own.
    pub(super) fn of(row: &Row) -> Option<Self> {
        match row {
            Row::Workspace(_) | Row::Token(_) => None,
            Row::Operator(StoredOperator { record, digest }) => {
                let OperatorRecord {
                    name,
                    created_at_unix_seconds,
                    expires_at_unix_seconds,
                    revoked_at_unix_seconds,
                } = record;
                Some(Self::Operator {
                    name: name.clone(),
                    created: *created_at_unix_seconds,
                    expires: *expires_at_unix_seconds,
                    revoked: *revoked_at_unix_seconds,
                    pepper: pepper_number(digest.scheme),
                    digest: digest.bytes,
                })
            }
            Row::JwtRevocation(revocation) => {
                let JwtRevocation { id, jwts, reason, revoked_at_unix_seconds, ends_at_unix_seconds } =
                    revocation;
                Some(Self::JwtRevocation {
                    id: id.clone(),
                    jwts: SavedJwts::of(jwts.clone()),
                    reason: reason.clone(),
                    revoked: *revoked_at_unix_seconds,
                    ends: *ends_at_unix_seconds,
                })
            }
        }
    }

    pub(super) fn row(self) -> Row {
        match self {
            Self::Operator { name, created, expires, revoked, pepper, digest } => {
                let record = OperatorRecord {
                    name,
                    created_at_unix_seconds: created,
                    expires_at_unix_seconds: expires,
                    revoked_at_unix_seconds: revoked,
                };
                Row::Operator(StoredOperator { record, digest: saved_digest(pepper, digest) })
            }
            Self::JwtRevocation { id, jwts, reason, revoked, ends } => Row::JwtRevocation(JwtRevocation {
                id,
                jwts: jwts.jwts(),
                reason,
                revoked_at_unix_seconds: revoked,
                ends_at_unix_seconds: ends,
            }),
        }
    }
}

impl SavedJwts {
    fn of(jwts: JwtsRevoked) -> Self {
        match jwts {
            JwtsRevoked::Token { issuer, jti } => Self::Token { issuer, jti },
            JwtsRevoked::Subject { issuer, subject, issued_before_unix_seconds: issued_before } => {
                Self::Subject { issuer, subject, issued_before }
            }
            JwtsRevoked::Workspace { workspace, issued_before_unix_seconds: issued_before } => {
                Self::Workspace { workspace, issued_before }
            }
        }
    }

    fn jwts(self) -> JwtsRevoked {
        match self {
            Self::Token { issuer, jti } => JwtsRevoked::Token { issuer, jti },
            Self::Subject { issuer, subject, issued_before: issued_before_unix_seconds } => {
                JwtsRevoked::Subject { issuer, subject, issued_before_unix_seconds }
            }
            Self::Workspace { workspace, issued_before: issued_before_unix_seconds } => {
                JwtsRevoked::Workspace { workspace, issued_before_unix_seconds }
            }
        }
    }
}

/// How a scheme is saved: the pepper's version, 0 for plain SHA-256.
const fn pepper_number(scheme: Scheme) -> u16 {
    match scheme {
        Scheme::Sha256 => 0,
        Scheme::Hmac(version) => version,
    }
}

const fn saved_digest(pepper: u16, bytes: [u8; 32]) -> Digest {
    let scheme = if pepper == 0 { Scheme::Sha256 } else { Scheme::Hmac(pepper) };
    Digest { scheme, bytes }
}

/// Writes and hashes what it writes.
pub(super) struct Writer {
    to: BufWriter<File>,
    hash: Context,
}

impl Writer {
    pub(super) fn new(to: BufWriter<File>) -> Self {
        Self { to, hash: Context::new(&SHA256) }
    }

    fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hash.update(bytes);
        self.to.write_all(bytes)
    }

    pub(super) fn stamp(&mut self, stamp: &Stamp) -> io::Result<()> {
        self.bytes(FORMAT)?;
        self.bytes(&stamp.seq.to_le_bytes())?;
        self.bytes(&stamp.hash)?;
        self.bytes(&stamp.unix_millis.to_le_bytes())?;
        self.bytes(&[u8::from(stamp.has_foreign), u8::from(stamp.has_sha256)])?;
        self.count(stamp.peppers.len() as u32)?;
        for Digest { scheme, bytes } in &stamp.peppers {
            self.bytes(&pepper_number(*scheme).to_le_bytes())?;
            self.bytes(bytes)?;
        }
        Ok(())
    }

    pub(super) fn count(&mut self, count: u32) -> io::Result<()> {
        self.bytes(&count.to_le_bytes())
    }

    fn text(&mut self, text: &[u8]) -> io::Result<()> {
        self.count(text.len() as u32)?;
        self.bytes(text)
    }

    pub(super) fn json(&mut self, value: &impl Serialize) -> io::Result<()> {
        self.text(&serde_json::to_vec(value)?)
    }

    /// Writes a batch of tokens, if it has any, and empties it.
    pub(super) fn tokens(&mut self, tokens: &mut Vec<(TokenId, Values)>) -> io::Result<()> {
        if tokens.is_empty() {
            return Ok(());
        }
        self.count(tokens.len() as u32)?;
        for (id, values) in tokens.drain(..) {
            let Values {
                key,
                id: _,
                number,
                grants,
                workspace,
                expires,
                ends,
                used_minute: _,
                written_minute,
            } = values;
            let mut row = [0; ROW_BYTES];
            let numbers = [grants, workspace, expires, ends, written_minute];
            row[..16].copy_from_slice(&key.to_le_bytes());
            row[16..24].copy_from_slice(&number.to_le_bytes());
            for (place, number) in row[24..].chunks_exact_mut(4).zip(numbers) {
                place.copy_from_slice(&number.to_le_bytes());
            }
            self.bytes(&row)?;
            self.text(id.as_bytes())?;
        }
        Ok(())
    }

    /// Ends the file with its hash.
    pub(super) fn end(mut self) -> io::Result<BufWriter<File>> {
        let hash = self.hash.finish();
        self.to.write_all(hash.as_ref())?;
        Ok(self.to)
    }
}

/// A token's numbers, before its id.
const ROW_BYTES: usize = 16 + 8 + 5 * 4;

/// Reads and hashes what it reads. Whatever it answers counts only once [`Reader::end`] has found the hash right.
pub(super) struct Reader {
    from: BufReader<File>,
    hash: Context,
    buffer: Vec<u8>,
}

impl Reader {
    pub(super) fn new(from: BufReader<File>) -> Self {
        Self { from, hash: Context::new(&SHA256), buffer: Vec::new() }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], NotTaken> {
        let mut array = [0; N];
        self.from.read_exact(&mut array).map_err(cut)?;
        self.hash.update(&array);
        Ok(array)
    }

    pub(super) fn stamp(&mut self) -> Result<Stamp, NotTaken> {
        if self.array()? != *FORMAT {
            return Err(NotTaken::Format);
        }
        let (seq, hash) = (u64::from_le_bytes(self.array()?), self.array()?);
        let unix_millis = u64::from_le_bytes(self.array()?);
        let [has_foreign, has_sha256] = self.array()?.map(|flag: u8| flag != 0);
        let mut peppers = Vec::new();
        for _ in 0..self.count()? {
            let version = u16::from_le_bytes(self.array()?);
            peppers.push(saved_digest(version, self.array()?));
        }
        Ok(Stamp { seq, hash, unix_millis, peppers, has_foreign, has_sha256 })
    }

    pub(super) fn count(&mut self) -> Result<u32, NotTaken> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn text(&mut self) -> Result<&[u8], NotTaken> {
        let length = self.count()? as usize;
        if length > LONGEST_BYTES {
            return Err(NotTaken::Damaged);
        }
        self.buffer.resize(length, 0);
        self.from.read_exact(&mut self.buffer).map_err(cut)?;
        self.hash.update(&self.buffer);
        Ok(&self.buffer)
    }

    pub(super) fn json<T: DeserializeOwned>(&mut self) -> Result<T, NotTaken> {
        serde_json::from_slice(self.text()?).map_err(|_| NotTaken::Damaged)
    }

    /// The next token of a batch: its id, and its values but for that.
    pub(super) fn token(&mut self) -> Result<(TokenId, Values), NotTaken> {
        let row: [u8; ROW_BYTES] = self.array()?;
        let (mut key, mut number) = ([0; 16], [0; 8]);
        key.copy_from_slice(&row[..16]);
        number.copy_from_slice(&row[16..24]);
        let mut numbers = [0; 5];
        for (number, bytes) in numbers.iter_mut().zip(row[24..].chunks_exact(4)) {
            *number = bytes.iter().rev().fold(0, |value, byte| value << 8 | u32::from(*byte));
        }
        let [grants, workspace, expires, ends, written_minute] = numbers;
        let id = TokenId::from(str::from_utf8(self.text()?).map_err(|_| NotTaken::Damaged)?);
        let values = Values {
            key: u128::from_le_bytes(key),
            id: PackedId::listed(0),
            number: u64::from_le_bytes(number),
            grants,
            workspace,
            expires,
            ends,
            used_minute: written_minute,
            written_minute,
        };
        Ok((id, values))
    }

    /// Checks the hash and that nothing follows it.
    pub(super) fn end(&mut self) -> Result<(), NotTaken> {
        let hash = self.hash.clone().finish();
        let mut written = [0; 32];
        self.from.read_exact(&mut written).map_err(cut)?;
        let ends = self.from.read(&mut [0])? == 0;
        if hash.as_ref() == written && ends { Ok(()) } else { Err(NotTaken::Damaged) }
    }
}

/// A file that is too short is damaged; any other failure is the system's.
fn cut(error: io::Error) -> NotTaken {
    if error.kind() == io::ErrorKind::UnexpectedEof { NotTaken::Damaged } else { NotTaken::Io(error) }
}
