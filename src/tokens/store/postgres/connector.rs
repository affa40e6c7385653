//! Making connections, in plain text or over TLS.

use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
use tokio_postgres::{Client, Config, Connection, Socket};
use tokio_rustls::TlsConnector;

use super::address::{CONNECT_DEADLINE, PostgresAddress};
use super::failure::within;
use crate::tokens::Error;
use crate::tokens::store::failure::Failure;

/// What a connection of [`Connector`] is driven by.
pub(super) type Driver = Connection<Socket, Encrypted<Socket>>;

/// Makes connections to one database.
pub(super) struct Connector {
    config: Config,
    tls: Tls,
}

impl Connector {
    /// Reads the certificates that the server is checked against; [`Error::File`].
    pub(super) fn new(address: &PostgresAddress) -> Result<Self, Failure> {
        let tls = Tls(address.uses_tls().then(|| encryption(address.roots_file.as_deref())).transpose()?);
        Ok(Self { config: address.config.clone(), tls })
    }

    /// A new connection, and what must be polled for it to work. `purpose` is what the server shows of it.
    pub(super) async fn open(&self, purpose: &str) -> Result<(Client, Driver), Failure> {
        let mut config = self.config.clone();
        if config.get_application_name().is_none() {
            config.application_name(purpose);
        }
        within(CONNECT_DEADLINE, config.connect(self.tls.clone())).await
    }
}

fn encryption(roots_file: Option<&Path>) -> Result<TlsConnector, Failure> {
    let mut roots = RootCertStore::empty();
    let unusable = |source: io::Error| Error::File {
        file: roots_file.map_or_else(|| PathBuf::from("the system's certificates"), Path::to_owned),
        action: "use",
        source,
    };
    let found: Vec<CertificateDer<'static>> = match roots_file {
        Some(file) => CertificateDer::pem_file_iter(file)
            .and_then(Iterator::collect)
            .map_err(|error| unusable(io::Error::other(error)))?,
        None => rustls_native_certs::load_native_certs().certs,
    };
    roots.add_parsable_certificates(found);
    if roots.is_empty() {
        return Err(unusable(io::Error::other("there is no certificate in it")).into());
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(io::Error::other(error)))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// What speaks TLS; [`None`] where the address does not ask for it.
#[derive(Clone)]
struct Tls(Option<TlsConnector>);

/// TLS with one server.
pub(super) struct ToServer {
    connector: Option<TlsConnector>,
    name: String,
}

impl MakeTlsConnect<Socket> for Tls {
    type Stream = Encrypted<Socket>;
    type TlsConnect = ToServer;
    type Error = io::Error;

    fn make_tls_connect(&mut self, name: &str) -> io::Result<ToServer> {
        Ok(ToServer { connector: self.0.clone(), name: name.to_owned() })
    }
}

impl TlsConnect<Socket> for ToServer {
    type Stream = Encrypted<Socket>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Encrypted<Socket>>> + Send>>;

    fn connect(self, stream: Socket) -> Self::Future {
        Box::pin(async move {
            let connector = self.connector.ok_or_else(|| io::Error::other("TLS was not asked for"))?;
            let name = ServerName::try_from(self.name).map_err(io::Error::other)?;
            Ok(Encrypted(connector.connect(name, stream).await?))
        })
    }
}

/// An encrypted stream. It offers no channel binding: the server's certificate is checked instead.
pub(super) struct Encrypted<S>(tokio_rustls::client::TlsStream<S>);

impl<S: AsyncRead + AsyncWrite + Unpin> TlsStream for Encrypted<S> {
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Encrypted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, into)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Encrypted<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, from)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
