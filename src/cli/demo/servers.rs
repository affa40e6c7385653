//! What runs beside the demo's gateway: two sample APIs and an issuer, on a thread of their own.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use super::DemoArgs;
use super::data::{DataFolder, WORKSPACES};
use crate::cli::Error;
use crate::clock::Clock;
use crate::domain::Secret;
use crate::sample::{DemoIssuer, DemoWorkspaces, Inbox, SampleApi, Traffic, TrafficTarget};

/// What the issuer's tokens are for.
const AUDIENCE: &str = "https://api.tollgate.example";

/// The running servers.
pub(super) struct Servers {
    /// Base URL of the upstream of `us` and `eu`.
    pub(super) upstreams: [(String, String); 2],
    /// The issuer's URL.
    pub(super) issuer: String,
    /// Where its keys are.
    pub(super) jwks_uri: String,
    /// What its tokens are for.
    pub(super) audience: &'static str,
    /// Where messages to owners arrive.
    pub(super) inbox: InboxServers,
    /// The `jwt` object of the JSON line.
    pub(super) jwt: Value,
    /// A token of a Workspace Owner.
    pub(super) owner_jwt: Secret<String>,
    stop: watch::Sender<bool>,
    runtime: Option<Runtime>,
}

/// A mail server and a webhook that keep what they are sent.
pub(super) struct InboxServers {
    /// Where the mail server listens on loopback.
    pub(super) mail_port: u16,
    /// The webhook's address.
    pub(super) webhook: String,
}

impl InboxServers {
    fn start(runtime: &Runtime, folder: &DataFolder, stopped: &watch::Receiver<bool>) -> Result<Self, Error> {
        folder.write_certificate()?;
        let inbox = Arc::new(Inbox::open(&DataFolder::inbox(folder.path()))?);
        let (mail, webhook) = (listen(runtime)?, listen(runtime)?);
        let mail_port = mail.local_addr()?.port();
        let url = format!("https://{}/leaks", webhook.local_addr()?);
        let tls = acceptor(folder.path())?;
        runtime.spawn(Arc::clone(&inbox).serve_mail(mail, until(stopped.clone())));
        runtime.spawn(inbox.serve_webhook(webhook, tls, until(stopped.clone())));
        Ok(Self { mail_port, webhook: url })
    }
}

/// TLS with the demo's certificate.
fn acceptor(folder: &Path) -> Result<TlsAcceptor, Error> {
    let fault = |error: &dyn std::fmt::Display| Error::Demo(format!("the demo's certificate: {error}"));
    let chain = CertificateDer::pem_file_iter(folder.join("cert.pem")).map_err(|error| fault(&error))?;
    let chain = chain.collect::<Result<Vec<_>, _>>().map_err(|error| fault(&error))?;
    let key = PrivateKeyDer::from_pem_file(folder.join("key.pem")).map_err(|error| fault(&error))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| fault(&error))?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| fault(&error))?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Ends the traffic when dropped.
pub(super) struct Driving(watch::Sender<bool>);

impl Servers {
    /// Starts the sample APIs that are not replaced, and the issuer.
    pub(super) fn start(args: &DemoArgs, folder: &DataFolder, clock: &Clock) -> Result<Self, Error> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("tollgate-sample")
            .enable_all()
            .build()?;
        let (stop, stopped) = watch::channel(false);
        let mut upstreams = [("us".to_owned(), String::new()), ("eu".to_owned(), String::new())];
        for (region, url) in &mut upstreams {
            let replaced = args.upstream.iter().rev().find(|(named, _)| named == region);
            *url = if let Some((_, url)) = replaced {
                url.clone()
            } else {
                let listener = listen(&runtime)?;
                let address = listener.local_addr()?;
                let (region, stopped) = (region.clone(), stopped.clone());
                runtime.spawn(async move { SampleApi::serve(listener, &region, until(stopped)).await });
                format!("http://{address}")
            };
        }
        let inbox = InboxServers::start(&runtime, folder, &stopped)?;
        let listener = listen(&runtime)?;
        let issuer = format!("http://{}", listener.local_addr()?);
        let workspaces = DemoWorkspaces { us: WORKSPACES.us, eu: WORKSPACES.eu };
        let demo = DemoIssuer::prepare(folder.path(), &issuer, AUDIENCE, workspaces, clock.clone())
            .map_err(|error| Error::Demo(error.to_string()))?;
        let jwks_uri = demo.issuer.jwks_uri();
        runtime.spawn(Arc::clone(&demo.issuer).serve(listener, until(stopped)));
        Ok(Self {
            upstreams,
            issuer,
            jwks_uri,
            audience: AUDIENCE,
            inbox,
            jwt: demo.description,
            owner_jwt: demo.owner_jwt,
            stop,
            runtime: Some(runtime),
        })
    }

    /// Drives gentle traffic through the gateway until the result is dropped.
    pub(super) fn drive(&self, public: &str, tokens: Vec<Secret<String>>) -> Driving {
        let (stop, stopped) = watch::channel(false);
        let target = TrafficTarget { base_url: public.to_owned(), tokens };
        if let Some(runtime) = &self.runtime {
            runtime.spawn(async move {
                if let Err(error) = Traffic::new(vec![target]).run(until(stopped)).await {
                    tracing::warn!(%error, "the demo's traffic ended");
                }
            });
        }
        Driving(stop)
    }

    /// Ends the servers.
    pub(super) fn stop(mut self) {
        // A server that has ended already needs no telling.
        let _ = self.stop.send(true);
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(std::time::Duration::from_secs(1));
        }
    }
}

impl Drop for Driving {
    fn drop(&mut self) {
        let _ = self.0.send(true);
    }
}

fn listen(runtime: &Runtime) -> Result<TcpListener, Error> {
    Ok(runtime.block_on(TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))))?)
}

async fn until(mut stopped: watch::Receiver<bool>) {
    let _ = stopped.wait_for(|stopping| *stopping).await;
}
