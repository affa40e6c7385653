//! Alerts on disk that wait for another region or for our own store. They hold tokens, so they are encrypted with
//! AES-256-GCM under a key of the registry's pepper; each is a file of its own, whole or not there.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::error::Unspecified;
use serde::{Deserialize, Serialize};

use super::hex;
use super::receiver::Signed;

/// The longest file: an alert of the greatest length that can be configured, and its head.
const MAX_FILE_BYTES: u64 = 32 * 1024 * 1024 + 4096;
const SUFFIX: &str = ".alert";

/// An alert that is to be kept.
pub(super) struct Spooled<'b> {
    pub(super) signed: Signed,
    /// When it arrived, in seconds since 1970.
    pub(super) received: u64,
    pub(super) body: &'b [u8],
}

/// What a file is called: region, time of arrival, and the first bits of SHA-256 of the body, so that the same alert is
/// kept once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Name {
    pub(super) region: String,
    pub(super) received: u64,
    pub(super) digest: String,
}

/// The folder, and what its files are encrypted with.
pub(super) struct Folder {
    path: PathBuf,
    /// The first encrypts, any decrypts.
    keys: Vec<RandomizedNonceKey>,
}

#[derive(Deserialize, Serialize)]
struct FileHead {
    key_identifier: String,
    signature: String,
}

impl Name {
    pub(super) fn of(region: &str, spooled: &Spooled<'_>) -> Self {
        let hash = digest(&SHA256, spooled.body);
        let digest = hex(&hash.as_ref()[..16]);
        Self { region: region.to_owned(), received: spooled.received, digest }
    }

    fn file(&self) -> String {
        let Self { region, received, digest } = self;
        format!("{region}.{received}.{digest}{SUFFIX}")
    }

    fn parse(file: &str) -> Option<Self> {
        let mut parts = file.strip_suffix(SUFFIX)?.split('.');
        let (region, received, digest) = (parts.next()?, parts.next()?.parse().ok()?, parts.next()?);
        let is_whole = parts.next().is_none() && !region.is_empty();
        is_whole.then(|| Self { region: region.to_owned(), received, digest: digest.to_owned() })
    }
}

impl Folder {
    /// A folder whose files are encrypted under the first key, and decrypted under any.
    pub(super) fn new(path: PathBuf, keys: &[[u8; 32]]) -> Result<Self, Unspecified> {
        let keys =
            keys.iter().map(|key| RandomizedNonceKey::new(&AES_256_GCM, key)).collect::<Result<_, _>>()?;
        Ok(Self { path, keys })
    }

    /// What is kept, the oldest first.
    pub(super) fn list(&self) -> io::Result<Vec<Name>> {
        let files = match fs::read_dir(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            files => files?,
        };
        let mut names: Vec<Name> =
            files.filter_map(|file| Name::parse(file.ok()?.file_name().to_str()?)).collect();
        names.sort_by_key(|name| name.received);
        Ok(names)
    }

    /// Keeps an alert; it is on disk when this returns.
    pub(super) fn put(&self, name: &Name, spooled: &Spooled<'_>) -> io::Result<()> {
        let Signed { key_identifier, signature } = spooled.signed.clone();
        let mut sealed = serde_json::to_vec(&FileHead { key_identifier, signature })?;
        sealed.push(b'\n');
        sealed.extend_from_slice(spooled.body);
        let file = name.file();
        let seal = |key: &RandomizedNonceKey| {
            key.seal_in_place_append_tag(Aad::from(file.as_bytes()), &mut sealed).ok()
        };
        let nonce = self.keys.first().and_then(seal);
        let nonce = nonce.ok_or_else(|| io::Error::other("the alert cannot be encrypted"))?;
        match fs::DirBuilder::new().mode(0o700).create(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let unfinished = self.path.join(format!("{file}.{}.new", std::process::id()));
        let written = write_whole(&unfinished, nonce.as_ref(), &sealed)
            .and_then(|()| fs::rename(&unfinished, self.path.join(&file)));
        if written.is_err() {
            drop(fs::remove_file(&unfinished));
        }
        written?;
        File::open(&self.path)?.sync_all()
    }

    /// An alert's fields and body.
    pub(super) fn get(&self, name: &Name) -> io::Result<(Signed, Vec<u8>)> {
        let file = name.file();
        let mut bytes = Vec::new();
        File::open(self.path.join(&file))?.take(MAX_FILE_BYTES).read_to_end(&mut bytes)?;
        let opened = |key: &RandomizedNonceKey| {
            // What was opened in vain is no longer what it was.
            let mut bytes = bytes.clone();
            let (nonce, sealed) = bytes.split_at_mut_checked(NONCE_LEN)?;
            let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
            let plain = key.open_in_place(nonce, Aad::from(file.as_bytes()), sealed).ok()?;
            let end = memchr::memchr(b'\n', plain)?;
            let head: FileHead = serde_json::from_slice(&plain[..end]).ok()?;
            let signed = Signed { key_identifier: head.key_identifier, signature: head.signature };
            Some((signed, plain[end + 1..].to_vec()))
        };
        self.keys.iter().find_map(opened).ok_or_else(|| {
            io::Error::other("the file was written under none of these peppers, or was altered")
        })
    }

    pub(super) fn remove(&self, name: &Name) -> io::Result<()> {
        fs::remove_file(self.path.join(name.file()))
    }
}

fn write_whole(path: &Path, nonce: &[u8], sealed: &[u8]) -> io::Result<()> {
    // One that a process of the same id left behind.
    drop(fs::remove_file(path));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(nonce)?;
    file.write_all(sealed)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spooled(body: &[u8]) -> Spooled<'_> {
        let signed = Signed { key_identifier: "id".into(), signature: "sig".into() };
        Spooled { signed, received: 1_700_000_000, body }
    }

    #[test]
    fn what_is_kept_comes_back_and_cannot_be_read_by_others() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("queue");
        let spool = Folder::new(path.clone(), &[[1; 32]]).unwrap();
        assert_eq!(spool.list().unwrap(), []);
        let alert = spooled(b"[{\"token\":\"canary\n\"}]");
        let name = Name::of("eu", &alert);
        spool.put(&name, &alert).unwrap();
        spool.put(&name, &alert).unwrap();
        assert_eq!(spool.list().unwrap(), std::slice::from_ref(&name));
        let (signed, body) = spool.get(&name).unwrap();
        assert_eq!((&*signed.key_identifier, &*signed.signature, &body[..]), ("id", "sig", alert.body));
        let stored = fs::read(path.join(name.file())).unwrap();
        assert!(memchr::memmem::find(&stored, b"canary").is_none());
        let other = Folder::new(path.clone(), &[[2; 32]]).unwrap();
        assert!(other.get(&name).is_err(), "another pepper");
        let rotated = Folder::new(path.clone(), &[[2; 32], [1; 32]]).unwrap();
        assert_eq!(rotated.get(&name).unwrap().1, alert.body, "an older pepper");
        rotated.put(&name, &alert).unwrap();
        assert!(spool.get(&name).is_err(), "the first one encrypts");
        assert_eq!(other.get(&name).unwrap().1, alert.body);
        spool.put(&name, &alert).unwrap();
        let renamed = Name { region: "us".into(), ..name.clone() };
        fs::rename(path.join(name.file()), path.join(renamed.file())).unwrap();
        assert!(spool.get(&renamed).is_err(), "a file is not taken for another");
        spool.remove(&renamed).unwrap();
        assert_eq!(spool.list().unwrap(), []);
    }

    #[test]
    fn files_of_others_are_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        for file in ["x.alert", "eu.1.aa.alert.7.new", "eu.soon.aa.alert", ".1.aa.alert", "eu.2.bb.alert"] {
            fs::write(folder.path().join(file), "").unwrap();
        }
        let spool = Folder::new(folder.path().to_owned(), &[[1; 32]]).unwrap();
        let found = spool.list().unwrap();
        assert_eq!(found, [Name { region: "eu".into(), received: 2, digest: "bb".into() }]);
        assert!(spool.get(&found[0]).is_err());
    }
}
