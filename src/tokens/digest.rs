//! What stands for a token at rest: HMAC-SHA-256 under a pepper, or, for tokens imported as such, SHA-256.
//!
//! # Decision
//!
//! A token holds 339 random bits, so a slow password hash would cost every request and buy nothing. The
//! pepper lives outside the store: who reads the store cannot test candidates, who writes it cannot plant a
//! token that he knows. Several peppers can be live: new tokens get the one that the file has first, and look-ups try
//! each, the highest version first, since tokens only ever move to a higher one. Look-ups go by digest, so their timing
//! tells nothing about the token.

use aws_lc_rs::{digest, hmac};

use super::Error;

/// How a digest was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scheme {
    /// Plain SHA-256; only for tokens imported as such hashes.
    Sha256,
    /// HMAC-SHA-256 under the pepper of this version.
    Hmac(u16),
}

impl Scheme {
    /// The scheme of a pepper's version; 0 stands for plain SHA-256.
    pub const fn of(version: u16) -> Self {
        if version == 0 { Self::Sha256 } else { Self::Hmac(version) }
    }
}

/// What the store keeps of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Digest {
    /// How it was made.
    pub scheme: Scheme,
    /// All 256 bits.
    pub bytes: [u8; 32],
}

impl Digest {
    /// The plain SHA-256 of a token.
    pub fn sha256(token: &[u8]) -> Self {
        Self { scheme: Scheme::Sha256, bytes: array(digest::digest(&digest::SHA256, token).as_ref()) }
    }

    /// The first 128 bits, by which the registry looks up: a second preimage among 10^8 tokens costs 2^101.
    pub(super) fn key(&self) -> u128 {
        let mut first = [0; 16];
        first.copy_from_slice(&self.bytes[..16]);
        u128::from_be_bytes(first)
    }
}

/// The live peppers; there is always one.
#[derive(Clone, Debug)]
pub struct Peppers {
    /// What new tokens are hashed under.
    writing: Pepper,
    /// All of them, the highest version first.
    all: Vec<Pepper>,
}

#[derive(Clone, Debug)]
struct Pepper {
    version: u16,
    key: hmac::Key,
}

impl Peppers {
    /// Peppers by version, 1 and up, the one that new tokens are hashed under first; [`None`] without any, with version
    /// 0, or with a version twice.
    pub fn new(secrets: impl IntoIterator<Item = (u16, Vec<u8>)>) -> Option<Self> {
        let mut all: Vec<Pepper> = secrets
            .into_iter()
            .map(|(version, secret)| Pepper { version, key: hmac::Key::new(hmac::HMAC_SHA256, &secret) })
            .collect();
        let writing = all.first()?.clone();
        all.sort_unstable_by_key(|pepper| std::cmp::Reverse(pepper.version));
        let repeated = all.windows(2).any(|pair| pair[0].version == pair[1].version);
        if repeated || all.last().is_none_or(|oldest| oldest.version == 0) {
            return None;
        }
        Some(Self { writing, all })
    }

    /// The digest under which a new token is stored.
    pub fn digest(&self, token: &[u8]) -> Digest {
        self.writing.digest(token)
    }

    /// The digest under every live pepper, the highest version first.
    pub fn digests<'t>(&'t self, token: &'t [u8]) -> impl Iterator<Item = Digest> + 't {
        self.all.iter().map(move |pepper| pepper.digest(token))
    }

    /// Whether a token that is stored so is to be stored under the pepper of new ones when it is seen. Only upwards, so
    /// that two gateways whose files differ for a while do not move a token to and fro.
    pub fn outdates(&self, scheme: Scheme) -> bool {
        scheme < Scheme::Hmac(self.writing.version)
    }

    /// The version under which new tokens are stored.
    pub const fn writes(&self) -> u16 {
        self.writing.version
    }

    /// The live versions, the highest first.
    pub fn versions(&self) -> impl Iterator<Item = u16> {
        self.all.iter().map(|pepper| pepper.version)
    }

    /// A secret of its own for another purpose: HMAC-SHA-256 of the purpose's name under the lowest version, which
    /// changes only when that is retired.
    pub fn derive(&self, purpose: &[u8]) -> [u8; 32] {
        let lowest = self.all.last().unwrap_or(&self.writing);
        array(hmac::sign(&lowest.key, purpose).as_ref())
    }

    /// Such a secret from the pepper of new tokens, which lives longest.
    pub fn derive_written(&self, purpose: &[u8]) -> [u8; 32] {
        array(hmac::sign(&self.writing.key, purpose).as_ref())
    }

    /// Such a secret from every live pepper, the newest first.
    pub fn derive_each(&self, purpose: &[u8]) -> impl Iterator<Item = [u8; 32]> {
        self.all.iter().map(move |pepper| array(hmac::sign(&pepper.key, purpose).as_ref()))
    }

    /// Whether a version is live.
    pub fn holds(&self, version: u16) -> bool {
        self.all.iter().any(|pepper| pepper.version == version)
    }

    /// A value for each version that proves which pepper it is without giving it away; the store keeps it,
    /// so that a lost or exchanged pepper is an error at start and not a 401 for every token.
    pub fn fingerprints(&self) -> impl Iterator<Item = Digest> + '_ {
        self.digests(b"tollgate pepper fingerprint v1")
    }

    /// Refuses peppers that are not those of the store.
    pub(super) fn check(&self, known: &[Digest], file: &std::path::Path) -> Result<(), Error> {
        for ours in self.fingerprints() {
            if let Some(theirs) = known.iter().find(|known| known.scheme == ours.scheme)
                && theirs.bytes != ours.bytes
            {
                return Err(Error::PepperMismatch { scheme: ours.scheme, file: file.to_owned() });
            }
        }
        Ok(())
    }
}

impl Pepper {
    fn digest(&self, token: &[u8]) -> Digest {
        Digest { scheme: Scheme::Hmac(self.version), bytes: array(hmac::sign(&self.key, token).as_ref()) }
    }
}

fn array(bytes: &[u8]) -> [u8; 32] {
    let mut array = [0; 32];
    array.copy_from_slice(&bytes[..32]);
    array
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02x}").unwrap();
            text
        })
    }

    #[test]
    fn refuses_peppers_that_cannot_be_told_apart() {
        assert!(Peppers::new([]).is_none());
        assert!(Peppers::new([(0, vec![1; 32])]).is_none());
        assert!(Peppers::new([(1, vec![1; 32]), (1, vec![2; 32])]).is_none());
    }

    /// RFC 4231, test case 2, and FIPS 180-2, appendix B.1.
    #[test]
    fn agrees_with_the_published_vectors() {
        let peppers = Peppers::new([(1, b"Jefe".to_vec())]).unwrap();
        assert_eq!(
            hex(&peppers.digest(b"what do ya want for nothing?").bytes),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
        assert_eq!(
            hex(&Digest::sha256(b"abc").bytes),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    #[test]
    fn new_tokens_get_the_first_pepper_and_look_ups_try_each() {
        let peppers = Peppers::new([(3, vec![3; 32]), (1, vec![1; 32]), (7, vec![7; 32])]).unwrap();
        let schemes: Vec<Scheme> = peppers.digests(b"t").map(|digest| digest.scheme).collect();
        assert_eq!(schemes, [Scheme::Hmac(7), Scheme::Hmac(3), Scheme::Hmac(1)]);
        assert_eq!(peppers.digest(b"t").scheme, Scheme::Hmac(3));
        assert!(peppers.holds(3) && !peppers.holds(2));
    }

    #[test]
    fn tokens_only_move_to_a_higher_version() {
        let peppers = Peppers::new([(3, vec![3; 32]), (1, vec![1; 32]), (7, vec![7; 32])]).unwrap();
        assert!(peppers.outdates(Scheme::Sha256) && peppers.outdates(Scheme::Hmac(1)));
        assert!(!peppers.outdates(Scheme::Hmac(3)) && !peppers.outdates(Scheme::Hmac(7)));
    }

    #[test]
    fn what_is_derived_stays_while_peppers_are_added_and_change_places() {
        let derived = |peppers: &[(u16, u8)]| {
            let secrets = peppers.iter().map(|(version, byte)| (*version, vec![*byte; 32]));
            Peppers::new(secrets).unwrap().derive(b"purpose")
        };
        assert_eq!(derived(&[(1, 1)]), derived(&[(1, 1), (2, 2)]));
        assert_eq!(derived(&[(1, 1)]), derived(&[(2, 2), (1, 1)]));
    }

    #[test]
    fn an_exchanged_pepper_is_noticed_and_an_added_one_is_not_an_error() {
        let file = std::path::Path::new("pepper");
        let known: Vec<Digest> = Peppers::new([(1, vec![1; 32])]).unwrap().fingerprints().collect();
        assert!(Peppers::new([(1, vec![9; 32])]).unwrap().check(&known, file).is_err());
        assert!(Peppers::new([(1, vec![1; 32]), (2, vec![2; 32])]).unwrap().check(&known, file).is_ok());
    }
}
