//! How loads of a key set end, and how often each way.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

/// Why a set could not be loaded.
#[derive(Debug, thiserror::Error)]
pub(in crate::authentication) enum LoadFailed {
    /// The file cannot be read.
    #[error("the file {path} cannot be read: {source}; check jwks_file")]
    File { path: PathBuf, source: std::io::Error },
    /// The certificates that the issuer's are checked against cannot be read.
    #[error("no usable certificate in {0}; check ca_file or the system's certificates")]
    Certificates(String),
    /// No connection, or it broke.
    #[error("the issuer's key server cannot be reached: {0}; check jwks_uri and the network")]
    Unreachable(String),
    /// Another status than 200, or 304 to a conditional request. Redirects are not followed.
    #[error(
        "the issuer's key server answered {0}; jwks_uri must answer 200 itself, redirects are not followed"
    )]
    Status(u16),
    /// The deadline passed.
    #[error("the issuer's key server did not answer within 5 s; check jwks_uri and the network")]
    TimedOut,
    /// Too long.
    #[error("the key set is longer than 256 KiB; check that jwks_uri or jwks_file names a key set")]
    TooLong,
    /// Too many keys.
    #[error("the key set lists more than 64 keys; check that jwks_uri or jwks_file names this issuer's own")]
    TooManyKeys,
    /// Not a key set.
    #[error("what was loaded is not a JSON Web Key Set; check jwks_uri or jwks_file")]
    NotAKeySet,
    /// A key set without a usable key.
    #[error("the key set has no usable key; the keys that were left out are logged beside this")]
    NoUsableKey,
}

impl LoadFailed {
    /// Under which word it is counted.
    pub(super) const fn result(&self) -> LoadResult {
        match self {
            Self::File { .. } => LoadResult::FileUnreadable,
            Self::Certificates(_) => LoadResult::NoCertificates,
            Self::Unreachable(_) => LoadResult::Unreachable,
            Self::Status(_) => LoadResult::BadStatus,
            Self::TimedOut => LoadResult::TimedOut,
            Self::TooLong => LoadResult::TooLong,
            Self::TooManyKeys => LoadResult::TooManyKeys,
            Self::NotAKeySet => LoadResult::NotAKeySet,
            Self::NoUsableKey => LoadResult::NoUsableKey,
        }
    }
}

/// How a load ended; the label of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::authentication) enum LoadResult {
    /// A set came.
    Loaded,
    /// The set is the one that is known (304).
    NotModified,
    FileUnreadable,
    NoCertificates,
    Unreachable,
    BadStatus,
    TimedOut,
    TooLong,
    TooManyKeys,
    NotAKeySet,
    NoUsableKey,
}

impl LoadResult {
    /// Every way, in the order of [`Loads`].
    pub(in crate::authentication) const ALL: [Self; 11] = [
        Self::Loaded,
        Self::NotModified,
        Self::FileUnreadable,
        Self::NoCertificates,
        Self::Unreachable,
        Self::BadStatus,
        Self::TimedOut,
        Self::TooLong,
        Self::TooManyKeys,
        Self::NotAKeySet,
        Self::NoUsableKey,
    ];

    /// Its word in metrics.
    pub(in crate::authentication) const fn name(self) -> &'static str {
        match self {
            Self::Loaded => "loaded",
            Self::NotModified => "not_modified",
            Self::FileUnreadable => "file_unreadable",
            Self::NoCertificates => "no_certificates",
            Self::Unreachable => "unreachable",
            Self::BadStatus => "bad_status",
            Self::TimedOut => "timed_out",
            Self::TooLong => "too_long",
            Self::TooManyKeys => "too_many_keys",
            Self::NotAKeySet => "not_a_key_set",
            Self::NoUsableKey => "no_usable_key",
        }
    }
}

/// Loads of one issuer's keys by how they ended, since the process began.
#[derive(Debug, Default)]
pub(in crate::authentication) struct Loads([AtomicU64; LoadResult::ALL.len()]);

impl Loads {
    pub(super) fn count(&self, result: LoadResult) {
        self.0[result as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Each way with its count.
    pub(in crate::authentication) fn counts(&self) -> impl Iterator<Item = (LoadResult, u64)> {
        LoadResult::ALL
            .into_iter()
            .zip(&self.0)
            .map(|(result, count)| (result, count.load(Ordering::Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_has_its_own_count() {
        let loads = Loads::default();
        for (times, result) in LoadResult::ALL.into_iter().enumerate() {
            (0..times).for_each(|_| loads.count(result));
        }
        let counts: Vec<_> = loads.counts().map(|(_, count)| count).collect();
        assert_eq!(counts, (0..LoadResult::ALL.len() as u64).collect::<Vec<_>>());
    }
}
