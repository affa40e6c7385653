//! Which cell a request is counted in: 128 bits.
//!
//! What the registry or the configuration numbers is packed, so two tenants never share a cell and a stored
//! cell can be named again after a restart. What a client chooses (an address, a path parameter's value) is
//! folded in by `SipHash` under a secret key, so nobody can aim at another's cell.
//!
//! ```text
//! 127            64 63   60 59  58 57     40 39      24 23     0
//! [ subject or hash ][ kind ][ plan ][ version ][ endpoint ][ policy ]    packed
//! [ hash                ][ kind ][ hash, 36 bits          ][ policy ]    hashed
//! ```

use std::hash::{BuildHasher, DefaultHasher, Hash, Hasher};

use super::address::Block;
use super::bucket::Scale;
use crate::domain::{ApiVersion, Plan, Stability, Subject};

/// Names one cell. Two halves, because a single number of 128 bits would align every cell to 16 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key {
    high: u64,
    low: u64,
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u128(u128::from(self.high) << 64 | u128::from(self.low));
    }
}

/// Whose cell a key names, and so which bound it counts against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A proven caller's.
    Tenant,
    /// Somebody's without a credential, on a public endpoint.
    Anonymous,
    /// Shared by every key of one policy that came after the cells were used up.
    Overflow,
}

const POLICY_BITS: u32 = 24;
/// Numbers of policies stay below this.
pub(super) const MOST_POLICIES: u32 = (1 << POLICY_BITS) - 1;
/// Numbers of endpoints stay below this; the number itself stands for no endpoint.
pub(super) const MOST_ENDPOINTS: u32 = u16::MAX as u32;
const KIND_SHIFT: u32 = 60;
const TENANT: u64 = 0;
const TENANT_HASHED: u64 = 1;
const ANONYMOUS: u64 = 2;
const OVERFLOW: u64 = 3;

/// What the packed part of a key is made of; parts that a policy does not count by keep their default.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parts {
    pub(super) policy: u32,
    pub(super) subject: Option<Subject>,
    pub(super) endpoint: u32,
    pub(super) version: Option<ApiVersion>,
    pub(super) plan: Option<Plan>,
    pub(super) anonymous: bool,
}

impl Parts {
    /// The cell of a policy that counts by nothing else.
    pub(super) const fn of_policy(policy: u32) -> Self {
        Self { policy, subject: None, endpoint: MOST_ENDPOINTS, version: None, plan: None, anonymous: false }
    }

    fn low(&self, kind: u64) -> u64 {
        let version = self.version.map_or(3, |version| {
            let stability = match version.stability {
                Stability::Alpha => 0,
                Stability::Beta => 1,
                Stability::Stable => 2,
            };
            u64::from(version.major) << 2 | stability
        });
        let plan = self.plan.map_or(3, |plan| match plan {
            Plan::Free => 0,
            Plan::Team => 1,
            Plan::Business => 2,
        });
        kind << KIND_SHIFT
            | plan << 58
            | version << 40
            | u64::from(self.endpoint) << POLICY_BITS
            | u64::from(self.policy)
    }

    fn high(&self) -> u64 {
        self.subject.map_or(0, |subject| subject.0)
    }
}

/// Takes in what a client chose.
pub(super) struct Chosen(DefaultHasher);

impl Chosen {
    /// The block that an address is counted in.
    pub(super) fn block(&mut self, (family, prefix): Block) {
        self.0.write_u8(family);
        self.0.write_u64(prefix);
    }

    /// A value of any length; its length is taken in too, so that no two lists of values read the same.
    pub(super) fn value(&mut self, value: &[u8]) {
        self.0.write_usize(value.len());
        self.0.write(value);
    }
}

impl Key {
    /// The key of parts that are all numbers of ours.
    pub(super) fn packed(parts: &Parts) -> Self {
        Self::of(parts.high(), parts.low(if parts.anonymous { ANONYMOUS } else { TENANT }))
    }

    /// The key of parts and of what a client chose, which `chosen` adds.
    pub(super) fn hashed(secret: &[u8; 32], parts: &Parts, chosen: impl FnOnce(&mut Chosen)) -> Self {
        let kind = if parts.anonymous { ANONYMOUS } else { TENANT_HASHED };
        let mut everything = Chosen(DefaultHasher::new());
        everything.0.write(secret);
        everything.0.write_u64(parts.high());
        everything.0.write_u64(parts.low(kind));
        chosen(&mut everything);
        let Chosen(mut hasher) = everything;
        let high = hasher.finish();
        hasher.write_u8(1);
        let rest = hasher.finish() >> (64 - KIND_SHIFT) >> POLICY_BITS << POLICY_BITS;
        Self::of(high, kind << KIND_SHIFT | rest | u64::from(parts.policy))
    }

    /// The cell that stands in for this one when there is no room: one for each policy, and for callers with
    /// limits of their own one for each quota.
    pub(super) fn overflow(self, own: Option<Scale>) -> Self {
        let policy = u64::from(self.policy());
        let anonymous = u64::from(self.kind() == Kind::Anonymous);
        let quota = own.map_or(0, Scale::number);
        Self::of(quota, OVERFLOW << KIND_SHIFT | anonymous << POLICY_BITS | policy)
    }

    /// The number of the policy whose cell it names.
    pub(super) const fn policy(self) -> u32 {
        self.low as u32 & MOST_POLICIES
    }

    /// Whose cell it names.
    pub(super) const fn kind(self) -> Kind {
        match self.low >> KIND_SHIFT {
            ANONYMOUS => Kind::Anonymous,
            OVERFLOW => Kind::Overflow,
            _ => Kind::Tenant,
        }
    }

    /// The key as it is saved; it stays valid as long as numbers and secret do.
    pub(super) const fn halves(self) -> (u64, u64) {
        (self.high, self.low)
    }

    /// A saved key.
    pub(super) const fn of_halves(high: u64, low: u64) -> Self {
        Self::of(high, low)
    }

    const fn of(high: u64, low: u64) -> Self {
        Self { high, low }
    }
}

/// Spreads keys over the map: a folded multiplication under a random seed. Keys are numbers of ours or already
/// hashed under a secret, so no client can choose them.
#[derive(Clone, Copy)]
pub(super) struct Spread([u64; 2]);

impl Spread {
    /// A spread by the process's random bytes.
    pub(super) fn new(secret: &[u8; 32]) -> Self {
        let word = |of: u8| {
            let mut hasher = DefaultHasher::new();
            hasher.write(secret);
            hasher.write_u8(of);
            hasher.finish()
        };
        Self([word(0), word(1) | 1])
    }
}

impl BuildHasher for Spread {
    type Hasher = Folded;

    fn build_hasher(&self) -> Folded {
        Folded { seed: self.0, hash: 0 }
    }
}

/// The hasher of [`Spread`].
pub(super) struct Folded {
    seed: [u64; 2],
    hash: u64,
}

impl Hasher for Folded {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(16) {
            let word = chunk.iter().fold(0_u128, |word, byte| word << 8 | u128::from(*byte));
            self.write_u128(word);
        }
    }

    fn write_u64(&mut self, word: u64) {
        self.write_u128(u128::from(word));
    }

    fn write_u128(&mut self, word: u128) {
        let fold = |left: u64, right: u64| {
            let product = u128::from(left) * u128::from(right);
            product as u64 ^ (product >> 64) as u64
        };
        let mixed = fold(word as u64 ^ self.seed[0] ^ self.hash, 0x9e37_79b9_7f4a_7c15);
        self.hash = fold(mixed ^ (word >> 64) as u64, self.seed[1]);
    }

    fn finish(&self) -> u64 {
        self.hash
    }
}
