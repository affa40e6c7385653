//! A certificate for `localhost`, in a folder of its own.

use std::path::PathBuf;

use tempfile::TempDir;

pub(crate) struct Certificate {
    pub(crate) chain: PathBuf,
    key: PathBuf,
    _folder: TempDir,
}

impl Certificate {
    pub(crate) fn make() -> Self {
        let certified = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let (chain, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
        std::fs::write(&chain, certified.cert.pem()).unwrap();
        std::fs::write(&key, certified.signing_key.serialize_pem()).unwrap();
        Self { chain, key, _folder: folder }
    }

    /// A configuration with a TLS listener on it, and more lines of that listener.
    pub(crate) fn listens_in(&self, config: &str, more: &str) -> String {
        let (chain, key) = (self.chain.to_str().unwrap(), self.key.to_str().unwrap());
        let listener = format!(
            "[[listen.tls]]\naddress = \"127.0.0.1:0\"\ncertificates = [{{ chain_file = {chain:?}, key_file = {key:?} }}]\n{more}\n[admin]\n"
        );
        config.replacen("[admin]\n", &listener, 1)
    }
}
