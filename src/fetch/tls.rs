//! What a server's certificate is checked against.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use super::FetchFailed;

/// A client's side of TLS that trusts the certificates of a file, or the system's.
pub async fn config(ca_file: Option<&Path>) -> Result<Arc<ClientConfig>, FetchFailed> {
    let ca_file = ca_file.map(Path::to_owned);
    let roots = tokio::task::spawn_blocking(move || roots(ca_file.as_deref()));
    let roots = roots.await.map_err(FetchFailed::unreachable)??;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(FetchFailed::unreachable)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// The trusted certificates, read anew for each fetch so that a renewed file is seen; fetches are rare.
fn roots(ca_file: Option<&Path>) -> Result<RootCertStore, FetchFailed> {
    let (certificates, origin) = match ca_file {
        Some(path) => {
            let read = CertificateDer::pem_file_iter(path).map(|all| all.filter_map(Result::ok).collect());
            (read.unwrap_or_default(), path.display().to_string())
        }
        None => (rustls_native_certs::load_native_certs().certs, "the system's certificates".to_owned()),
    };
    let mut roots = RootCertStore::empty();
    let (usable, _) = roots.add_parsable_certificates(certificates);
    if usable == 0 { Err(FetchFailed::Certificates(origin)) } else { Ok(roots) }
}
