//! One GET of one small document: no redirects, no cookies, no retries, 5 s in all.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::{Freshness, LoadFailed, Loaded, MAX_SET_BYTES};

const DEADLINE: Duration = Duration::from_secs(5);
/// The longest validator that is remembered.
const MAX_ETAG_BYTES: usize = 256;

/// Gets a checked URL, unless its content is still the one of `etag`.
pub(super) async fn get(
    uri: &Uri,
    ca_file: Option<&Path>,
    etag: Option<&HeaderValue>,
) -> Result<Loaded, LoadFailed> {
    let work = async {
        let host = uri.host().unwrap_or_default();
        let secure = uri.scheme_str() == Some("https");
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let bare_host = host.trim_start_matches('[').trim_end_matches(']');
        let stream = TcpStream::connect((bare_host, port)).await.map_err(unreachable)?;
        let request = request(uri, etag)?;
        if !secure {
            return exchange(stream, request).await;
        }
        let name = ServerName::try_from(bare_host.to_owned()).map_err(unreachable)?;
        let tls = tokio_rustls::TlsConnector::from(tls_config(ca_file).await?);
        exchange(tls.connect(name, stream).await.map_err(unreachable)?, request).await
    };
    tokio::time::timeout(DEADLINE, work).await.unwrap_or(Err(LoadFailed::TimedOut))
}

fn unreachable(error: impl std::fmt::Display) -> LoadFailed {
    LoadFailed::Unreachable(error.to_string())
}

async fn exchange<S>(stream: S, request: Request<Empty<Bytes>>) -> Result<Loaded, LoadFailed>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(unreachable)?;
    let is_conditional = request.headers().contains_key(header::IF_NONE_MATCH);
    let work = async move {
        let answer = sender.send_request(request).await.map_err(unreachable)?;
        let freshness = Freshness::of(answer.headers());
        match answer.status() {
            StatusCode::OK => {}
            StatusCode::NOT_MODIFIED if is_conditional => return Ok(Loaded::NotModified { freshness }),
            other => return Err(LoadFailed::Status(other.as_u16())),
        }
        let etag = answer.headers().get(header::ETAG).filter(|etag| etag.len() <= MAX_ETAG_BYTES).cloned();
        let body = Limited::new(answer.into_body(), MAX_SET_BYTES).collect().await;
        let text = body.map_err(|error| {
            if error.is::<LengthLimitError>() { LoadFailed::TooLong } else { unreachable(error) }
        })?;
        Ok(Loaded::Set { text: text.to_bytes().to_vec(), etag, freshness })
    };
    tokio::pin!(work);
    tokio::select! {
        biased;
        answer = &mut work => answer,
        // The connection may end before the last bytes of the body were taken from it.
        _ = connection => work.await,
    }
}

fn request(uri: &Uri, etag: Option<&HeaderValue>) -> Result<Request<Empty<Bytes>>, LoadFailed> {
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    let host = uri.authority().map_or("", |authority| authority.as_str());
    let mut request = Request::get(target)
        .header(header::HOST, host)
        .header(header::ACCEPT, "application/jwk-set+json, application/json")
        .header(header::USER_AGENT, concat!("tollgate/", env!("CARGO_PKG_VERSION")))
        .body(Empty::new())
        .map_err(unreachable)?;
    if let Some(etag) = etag {
        request.headers_mut().insert(header::IF_NONE_MATCH, etag.clone());
    }
    Ok(request)
}

async fn tls_config(ca_file: Option<&Path>) -> Result<Arc<ClientConfig>, LoadFailed> {
    let ca_file = ca_file.map(Path::to_owned);
    let roots =
        tokio::task::spawn_blocking(move || roots(ca_file.as_deref())).await.map_err(unreachable)??;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(unreachable)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// The trusted certificates, read anew for each fetch so that a renewed file is seen; fetches are rare.
fn roots(ca_file: Option<&Path>) -> Result<RootCertStore, LoadFailed> {
    let (certificates, origin) = match ca_file {
        Some(path) => {
            let read = CertificateDer::pem_file_iter(path).map(|all| all.filter_map(Result::ok).collect());
            (read.unwrap_or_default(), path.display().to_string())
        }
        None => (rustls_native_certs::load_native_certs().certs, "the system's certificates".to_owned()),
    };
    let mut roots = RootCertStore::empty();
    let (usable, _) = roots.add_parsable_certificates(certificates);
    if usable == 0 { Err(LoadFailed::Certificates(origin)) } else { Ok(roots) }
}

#[cfg(test)]
mod tests;
