//! The listener itself: a small HTTP/1.1 server on a thread of its own.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::pin::pin;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::{Admin, Checked, Operator};

/// Why the operator's listener cannot run.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// The address is taken or not to be had.
    #[error("the operator's listener cannot bind {0}: {1}; free the port or set `admin.address` to another")]
    Bind(SocketAddr, #[source] io::Error),
    /// The thread or its runtime cannot be started.
    #[error("the operator's listener cannot start: {0}; raise the limit of threads or open files")]
    Start(#[source] io::Error),
}

/// The running listener; dropping it stops it without waiting.
#[derive(Debug)]
pub struct Running {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops it and waits for its thread, which lets answers in progress end for a second at most.
    pub fn stop(mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Starts the listener on a thread of its own.
pub fn start(settings: &Checked, operator: Arc<dyn Operator>) -> Result<Running, AdminError> {
    let bound = StdListener::bind(settings.address).and_then(|listener| {
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        Ok((listener, address))
    });
    let (listener, address) = bound.map_err(|error| AdminError::Bind(settings.address, error))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(super::api::MOST_AT_WORK)
        .build()
        .map_err(AdminError::Start)?;
    let (stop, stopped) = oneshot::channel::<()>();
    let settings = settings.clone();
    let run = move || {
        runtime.block_on(async move {
            match TcpListener::from_std(listener) {
                Ok(listener) => {
                    serve(listener, &settings, operator, async { drop(stopped.await) }).await;
                }
                Err(error) => tracing::error!(%error, "the operator's listener cannot be used"),
            }
        });
        // What changes something may end. Its answer reaches nobody, so that one that hangs is not waited for.
        runtime.shutdown_timeout(LAST_ANSWERS);
    };
    let thread = std::thread::Builder::new()
        .name("tollgate-admin".to_owned())
        .spawn(run)
        .map_err(AdminError::Start)?;
    Ok(Running { address, stop: Some(stop), thread: Some(thread) })
}

/// How long answers in progress may take once the listener stops.
const LAST_ANSWERS: Duration = Duration::from_secs(1);
/// How long a connection may be used, so that none is held for ever.
const CONNECTION_LIFE: Duration = Duration::from_mins(10);
/// How long accepting pauses when the process has no file descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until `stop` completes. For those who bring a runtime of their own; [`start`] brings one.
pub async fn serve(
    listener: TcpListener,
    settings: &Checked,
    operator: Arc<dyn Operator>,
    stop: impl Future<Output = ()>,
) {
    let admin = Arc::new(Admin::new(settings, operator));
    let mut stop = pin!(stop);
    let mut connections = JoinSet::new();
    let (ending, end) = watch::channel(());
    let mut seconds = interval(Duration::from_secs(1));
    seconds.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            biased;
            () = &mut stop => break,
            _ = seconds.tick() => admin.each_second(),
            Some(_) = connections.join_next() => {}
            accepted = listener.accept(), if connections.len() < settings.max_connections => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection(stream, Arc::clone(&admin), settings.header_timeout, end.clone()));
                }
                Err(error) => {
                    tracing::warn!(%error, "the operator's listener cannot accept");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    drop(ending);
    let _ = timeout(LAST_ANSWERS, async { while connections.join_next().await.is_some() {} }).await;
}

async fn connection(
    stream: TcpStream,
    admin: Arc<Admin>,
    header_timeout: Duration,
    mut end: watch::Receiver<()>,
) {
    let answer =
        service_fn(|request| async { Ok::<_, Infallible>(admin.answer(request).await.map(Full::new)) });
    let mut served = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(header_timeout)
            .max_buf_size(MOST_HEADER_BYTES)
            .max_headers(64)
            .serve_connection(TokioIo::new(stream), answer)
    );
    let served = async {
        tokio::select! {
            served = served.as_mut() => return served,
            _ = end.changed() => served.as_mut().graceful_shutdown(),
        }
        served.await
    };
    if let Ok(Err(error)) = timeout(CONNECTION_LIFE, served).await {
        tracing::debug!(%error, "a connection of the operator's listener broke off");
    }
}

const MOST_HEADER_BYTES: usize = 16 * 1_024;
