//! TLS 1.2 and 1.3 by rustls, several certificates chosen by SNI.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio_rustls::TlsAcceptor;

use super::CertificateFiles;

/// Why a listener's certificates cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {file}: {source}")]
    Read {
        /// Which.
        file: String,
        /// Why.
        source: std::io::Error,
    },
    /// A file holds no PEM of the wanted kind.
    #[error("{file} holds no {wanted} in PEM form")]
    Pem {
        /// Which.
        file: String,
        /// What it should hold.
        wanted: &'static str,
    },
    /// Key and certificate do not fit together, or the key is of an unknown kind.
    #[error("{file} cannot be used with its certificate: {source}")]
    Key {
        /// Which.
        file: String,
        /// Why.
        source: rustls::Error,
    },
    /// A certificate's names cannot be read.
    #[error("{file} holds a certificate that cannot be read: {source}")]
    Certificate {
        /// Which.
        file: String,
        /// Why.
        source: rustls::Error,
    },
}

/// A listener's certificates, which can be replaced while it listens. The first that is good for the name asked
/// for is used, else the first.
#[derive(Debug)]
pub struct Certificates(ArcSwap<Loaded>);

#[derive(Debug)]
struct Loaded {
    files: Vec<CertificateFiles>,
    folder: PathBuf,
    keys: Vec<Arc<CertifiedKey>>,
}

impl Certificates {
    /// Reads certificates and keys. File names are relative to `folder`.
    pub fn read(files: &[CertificateFiles], folder: &Path) -> Result<Self, TlsError> {
        Loaded::read(files, folder).map(|loaded| Self(ArcSwap::from_pointee(loaded)))
    }

    /// Reads the same files once more, for handshakes to come; after an error those in use stay.
    pub fn read_again(&self) -> Result<(), TlsError> {
        let loaded = self.0.load();
        self.0.store(Arc::new(Loaded::read(&loaded.files, &loaded.folder)?));
        Ok(())
    }

    /// Takes over what another configuration read for the same listener, for handshakes to come.
    pub fn replace_with(&self, other: &Self) {
        self.0.store(other.0.load_full());
    }

    /// The files of all certificates and keys.
    pub fn files(&self) -> Vec<PathBuf> {
        let loaded = self.0.load();
        let names = loaded.files.iter().flat_map(|files| [&files.chain_file, &files.key_file]);
        names.map(|file| loaded.folder.join(file)).collect()
    }

    /// TLS with these certificates, whichever they are at a handshake.
    pub fn acceptor(self: &Arc<Self>) -> Result<TlsAcceptor, TlsError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let versions = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|source| TlsError::Certificate { file: "TLS versions".to_owned(), source })?;
        let mut config = versions.with_no_client_auth().with_cert_resolver(Arc::<Self>::clone(self));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let wanted = hello
            .server_name()
            .and_then(|name| rustls::pki_types::ServerName::try_from(name.to_owned()).ok());
        let loaded = self.0.load();
        wanted
            .and_then(|name| loaded.keys.iter().find(|key| is_good_for(key, &name)))
            .or_else(|| loaded.keys.first())
            .cloned()
    }
}

fn is_good_for(key: &CertifiedKey, name: &rustls::pki_types::ServerName<'_>) -> bool {
    key.end_entity_cert()
        .ok()
        .and_then(|leaf| rustls::server::ParsedCertificate::try_from(leaf).ok())
        .is_some_and(|leaf| rustls::client::verify_server_name(&leaf, name).is_ok())
}

impl Loaded {
    fn read(files: &[CertificateFiles], folder: &Path) -> Result<Self, TlsError> {
        let keys = files.iter().map(|files| certified_key(files, folder)).collect::<Result<_, _>>()?;
        Ok(Self { files: files.to_owned(), folder: folder.to_owned(), keys })
    }
}

fn certified_key(files: &CertificateFiles, folder: &Path) -> Result<Arc<CertifiedKey>, TlsError> {
    let read = |file: &String| {
        fs::read(folder.join(file)).map_err(|source| TlsError::Read { file: file.clone(), source })
    };
    let chain = CertificateDer::pem_slice_iter(&read(&files.chain_file)?)
        .collect::<Result<Vec<_>, _>>()
        .ok()
        .filter(|chain| !chain.is_empty())
        .ok_or_else(|| TlsError::Pem { file: files.chain_file.clone(), wanted: "certificate" })?;
    let key = PrivateKeyDer::from_pem_slice(&read(&files.key_file)?)
        .map_err(|_| TlsError::Pem { file: files.key_file.clone(), wanted: "private key" })?;
    CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider())
        .map(Arc::new)
        .map_err(|source| TlsError::Key { file: files.key_file.clone(), source })
}
