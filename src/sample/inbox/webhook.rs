//! A webhook over TLS that takes every post.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::{Channel, Inbox, MAX_MESSAGE_BYTES};

/// The longest a client may take.
const LONGEST_CONNECTION: Duration = Duration::from_mins(1);
/// The most clients at a time.
const MOST_CONNECTIONS: usize = 16;

impl Inbox {
    /// Takes posts until `stop`.
    pub async fn serve_webhook(
        self: Arc<Self>,
        listener: TcpListener,
        tls: TlsAcceptor,
        stop: impl Future<Output = ()>,
    ) {
        let places = Arc::new(tokio::sync::Semaphore::new(MOST_CONNECTIONS));
        let accept = async {
            while let Ok((stream, _)) = listener.accept().await {
                let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
                let (inbox, tls) = (Arc::clone(&self), tls.clone());
                tokio::spawn(async move {
                    // A client that breaks off has sent nothing.
                    let _ = tokio::time::timeout(LONGEST_CONNECTION, connection(stream, tls, inbox)).await;
                    drop(place);
                });
            }
        };
        tokio::select! {
            () = accept => {}
            () = stop => {}
        }
    }
}

async fn connection(stream: TcpStream, tls: TlsAcceptor, inbox: Arc<Inbox>) {
    let Ok(stream) = tls.accept(stream).await else { return };
    let answer = service_fn(move |request| {
        let inbox = Arc::clone(&inbox);
        async move { Ok::<_, Infallible>(take(request, &inbox).await) }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), answer);
    let _ = served.await;
}

/// Keeps a request as a text: its line, its fields, its body.
async fn take(request: Request<Incoming>, inbox: &Inbox) -> Response<Empty<Bytes>> {
    let (head, body) = request.into_parts();
    let mut message = format!("{} {}\r\n", head.method, head.uri.path()).into_bytes();
    for (name, value) in &head.headers {
        message.extend_from_slice(name.as_str().as_bytes());
        message.extend_from_slice(b": ");
        message.extend_from_slice(value.as_bytes());
        message.extend_from_slice(b"\r\n");
    }
    message.extend_from_slice(b"\r\n");
    let status = match Limited::new(body, MAX_MESSAGE_BYTES).collect().await {
        Ok(body) => {
            message.extend_from_slice(&body.to_bytes());
            if inbox.put(Channel::Webhook, &message).is_ok() {
                StatusCode::NO_CONTENT
            } else {
                StatusCode::INTERNAL_SERVER_ERROR
            }
        }
        Err(_) => StatusCode::PAYLOAD_TOO_LARGE,
    };
    let mut response = Response::new(Empty::new());
    *response.status_mut() = status;
    response
}
