//! A small HTTP/1.1 server that keeps what it was sent.
//!
//! Decides how bytes become a [`Request`] and an [`Answer`] becomes bytes. It reads the socket itself because
//! hyper hides the order and the case of field names, which `/sample/raw` must show. Invariants: heads, bodies,
//! trailers and waits are bounded; a request whose framing is in doubt is refused and its connection closed.
//! It refuses to know paths, regions and tokens.

mod answer;
mod connection;
mod request;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

pub(super) use answer::{Answer, Break, Content};
pub(super) use request::{Malformed, Request};

/// Connections served at once; more wait in the listen queue.
const MOST_CONNECTIONS: usize = 4_096;
/// What an answer in progress gets after the shutdown.
const GRACE: Duration = Duration::from_secs(2);
/// Pause after a failed accept, which is nearly always a lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What stands behind the server.
pub(super) trait Service: Send + Sync + 'static {
    /// Answers one request.
    fn answer(&self, request: Request) -> impl Future<Output = Answer> + Send;

    /// Answers what could not be read as a request; the connection is closed afterwards.
    fn refuse(&self, malformed: Malformed) -> Answer;
}

/// Accepts connections until `shutdown` completes, then lets answers in progress end within two seconds.
pub(super) async fn serve<S: Service>(
    listener: TcpListener,
    service: Arc<S>,
    shutdown: impl Future<Output = ()> + Send,
) {
    let (stop, stopping) = watch::channel(false);
    let slots = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let mut connections = JoinSet::new();
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let accepted = async {
            let slot = slots.clone().acquire_owned().await.ok()?;
            listener.accept().await.ok().map(|(stream, _)| (slot, stream))
        };
        tokio::select! {
            () = &mut shutdown => break,
            Some(_) = connections.join_next() => {}
            accepted = accepted => {
                let Some((slot, stream)) = accepted else {
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                };
                let (service, stopping) = (service.clone(), stopping.clone());
                connections.spawn(async move {
                    connection::serve(stream, &*service, stopping).await;
                    drop(slot);
                });
            }
        }
    }
    drop(listener);
    stop.send_replace(true);
    let ended = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(GRACE, ended).await.is_err() {
        tracing::debug!("answers of the sample servers were cut off by the shutdown");
    }
}

#[cfg(test)]
mod tests;
