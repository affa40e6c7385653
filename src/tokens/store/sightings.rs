//! What requests met that somebody is to be told of: a decoy that was used, a token from a network where it was never
//! seen.
//!
//! Both are noted beside requests and told here, in the transaction that says whether it is news: so a fleet tells once,
//! and neither the trail nor an inbox grows by what a stranger sends.

use std::net::IpAddr;

use super::Act;
use crate::domain::Network;
use crate::tokens::Error;

/// Bits of an IPv4 address that name its network: what the smallest block of the public routing table has.
pub const NETWORK_V4_BITS: u32 = 24;
/// The same of IPv6: what one site is given (RFC 6177); an address in it may change every day (RFC 8981).
pub const NETWORK_V6_BITS: u32 = 48;
/// How many networks are known of a family of tokens. One that is at home in more, as on a cloud's runners or on
/// phones, says nothing by one more, and nobody is told any more of it.
pub const MOST_KNOWN_NETWORKS: usize = 32;
/// A network that was not seen for so long makes room for another.
const FORGOTTEN_AFTER_SECONDS: u64 = 90 * 86_400;
/// Time between two messages of one kind about one token.
pub const QUIET_SECONDS: u64 = 3_600;
/// How exactly it is known when a network was last seen.
pub const SEEN_GRANULARITY_SECONDS: u64 = 86_400;

/// One use of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// The token's public id.
    pub token_id: String,
    /// Where it came from.
    pub address: IpAddr,
    /// The user agent as it was sent; masked and cut before it is kept.
    pub user_agent: String,
    /// The request's id.
    pub request_id: String,
    /// When.
    pub at_unix_seconds: u64,
}

impl Sighting {
    /// The network that it came from.
    pub const fn network(&self) -> Network {
        Network::around(self.address, NETWORK_V4_BITS, NETWORK_V6_BITS)
    }
}

/// Uses of one decoy that were not told yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecoyUses {
    /// The last of them.
    pub last: Sighting,
    /// How many.
    pub count: u64,
    /// When the first of them was.
    pub first_at_unix_seconds: u64,
}

/// What became of uses of a decoy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecoyTold {
    /// They are in the log, and a message is owed.
    Told,
    /// Somebody told of this decoy a short while ago; to be told later.
    NotBefore {
        /// From when on.
        unix_seconds: u64,
    },
    /// There is no such decoy.
    Unknown,
}

/// What became of a sighting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NetworkNoted {
    /// The token was seen from there before.
    Known,
    /// It is known from now on, and nobody is told: the token is being learnt.
    Learnt,
    /// It is known from now on, and in the log.
    Told,
    /// The token is at home in as many networks as are kept.
    Roaming,
    /// There is no such token.
    Unknown,
}

/// A network that a family of tokens was seen from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownNetwork {
    /// Which.
    pub network: Network,
    /// When it was seen first.
    pub first_seen_unix_seconds: u64,
    /// When it was seen last, to a day.
    pub seen_unix_seconds: u64,
}

impl KnownNetwork {
    /// Whether it makes room for another.
    pub(super) const fn is_forgotten(&self, unix_seconds: u64) -> bool {
        self.seen_unix_seconds + FORGOTTEN_AFTER_SECONDS <= unix_seconds
    }

    /// Whether it is to be noted that it was seen again.
    pub(super) const fn is_stale(&self, unix_seconds: u64) -> bool {
        self.seen_unix_seconds + SEEN_GRANULARITY_SECONDS <= unix_seconds
    }
}

/// The part of a store that tells of uses.
pub trait Sightings {
    /// Tells of uses of decoys, each decoy once in the list: an entry of the log, and a message to the workspace's
    /// contacts and the operator. At most once an hour for each decoy, whoever asks.
    fn decoys_used(&self, act: Act<'_>, uses: &[DecoyUses]) -> Result<Vec<DecoyTold>, Error>;

    /// Notes networks, each token and network once in the list. One that is new to a token's family is told: an entry of
    /// the log, and at most once an hour a message to the workspace's contacts. Not told are those of the first
    /// `learning_seconds` after the family was first seen anywhere. What is known already costs one read.
    fn note_networks(
        &self,
        act: Act<'_>,
        sightings: &[Sighting],
        learning_seconds: u64,
    ) -> Result<Vec<NetworkNoted>, Error>;

    /// The networks that a token's family was seen from, by network; [`Error::TokenUnknown`].
    fn known_networks(&self, token_id: &str) -> Result<Vec<KnownNetwork>, Error>;
}

#[cfg(test)]
pub(crate) mod contract;
