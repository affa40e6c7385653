//! Making a connection that is known to work: logged in, with the scripts loaded, and able to write.

use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Cmd, RedisError, Value};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio_rustls::TlsConnector;

use super::fault::Fault;
use super::server_time::ServerTime;
use super::settings::Server;
use crate::fetch;

/// Grants tokens.
pub(super) const GRANT: &str = include_str!("grant.lua");
/// Counts replicas.
pub(super) const PRESENCE: &str = include_str!("presence.lua");

/// A server that forgets a script is given it so many times for one call.
const GIVEN_AGAIN: usize = 3;
/// Calls that wait to be written, beside those that wait for an answer.
const WRITE_QUEUE: usize = 256;

/// A connection that worked when it was made. Dropped, it is closed, and whoever waits on it is told.
pub(super) struct Live {
    connection: MultiplexedConnection,
    driver: AbortHandle,
    /// Told when the other side has closed it.
    pub(super) closed: Arc<Notify>,
    /// The digests by which the server knows the scripts.
    pub(super) grant: String,
    pub(super) presence: String,
    /// By the answers on this connection: another may lead to a server with another clock.
    pub(super) server_time: ServerTime,
}

impl Live {
    /// Connects. Bounded by the settings' connect time-out for the way there, and by their time-out for each answer.
    pub(super) async fn connect(server: &Server) -> Result<Self, Fault> {
        let address = &server.address;
        let all = async {
            let tcp = TcpStream::connect((&*address.host, address.port)).await?;
            tcp.set_nodelay(true)?;
            if !address.uses_tls {
                return Self::over(server, tcp).await;
            }
            let tls =
                fetch::client_tls(server.ca_file.as_deref()).await.map_err(|error| Fault::tls(&error))?;
            let name = ServerName::try_from(address.host.clone()).map_err(|error| Fault::tls(&error))?;
            Self::over(server, TlsConnector::from(tls).connect(name, tcp).await?).await
        };
        let mut live = within(server.connect_timeout, all).await?;
        live.grant = live.load(GRANT, server.timeout).await?;
        live.presence = live.load(PRESENCE, server.timeout).await?;
        if live.is_of_a_cluster(server.timeout).await? {
            return Err(Fault::Cluster);
        }
        Ok(live)
    }

    async fn over<S>(server: &Server, stream: S) -> Result<Self, Fault>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let config = AsyncConnectionConfig::new()
            .set_response_timeout(None)
            .set_connection_timeout(None)
            .set_pipeline_buffer_size(WRITE_QUEUE);
        let login = server.address.login();
        let (connection, driver) = MultiplexedConnection::new_with_config(&login, stream, config).await?;
        let closed = Arc::new(Notify::new());
        let tells = Arc::clone(&closed);
        let until_closed = async move {
            driver.await;
            tells.notify_one();
        };
        let driver = tokio::spawn(until_closed).abort_handle();
        let (grant, presence, server_time) = (String::new(), String::new(), ServerTime::default());
        Ok(Self { connection, driver, closed, grant, presence, server_time })
    }

    async fn load(&self, script: &str, timeout: Duration) -> Result<String, Fault> {
        let mut command = redis::cmd("SCRIPT");
        command.arg("LOAD").arg(script);
        match self.call(&command, timeout).await?.extract_error()? {
            Value::BulkString(digest) => String::from_utf8(digest).map_err(|_| Fault::Unintelligible),
            Value::SimpleString(digest) => Ok(digest),
            _ => Err(Fault::Unintelligible),
        }
    }

    /// Whether it has a part of the keys only. One that may not say so is found out by what it says of the other keys.
    async fn is_of_a_cluster(&self, timeout: Duration) -> Result<bool, Fault> {
        let mut command = redis::cmd("INFO");
        command.arg("cluster");
        let Ok(Value::BulkString(said)) = self.call(&command, timeout).await?.extract_error() else {
            return Ok(false);
        };
        Ok(String::from_utf8_lossy(&said).contains("cluster_enabled:1"))
    }

    /// Sends a command and waits for its answer, no longer than `timeout`.
    pub(super) async fn call(&self, command: &Cmd, timeout: Duration) -> Result<Value, Fault> {
        let mut connection = self.connection.clone();
        within(timeout, async { Ok(connection.send_packed_command(command).await?) }).await
    }

    /// Runs a script that was loaded, with no time-out of its own; a server that has forgotten it (restarted, failed over,
    /// flushed) is given it again, and a few times more if it forgets it before it has run it.
    pub(super) async fn run(&self, command: &Cmd, script: &str) -> Result<Value, Fault> {
        let mut connection = self.connection.clone();
        for _ in 0..GIVEN_AGAIN {
            match connection.send_packed_command(command).await?.extract_error() {
                Err(error) if is_forgotten(&error) => {
                    let mut load = redis::cmd("SCRIPT");
                    load.arg("LOAD").arg(script);
                    connection.send_packed_command(&load).await?.extract_error()?;
                }
                answer => return Ok(answer?),
            }
        }
        Ok(connection.send_packed_command(command).await?.extract_error()?)
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

fn is_forgotten(error: &RedisError) -> bool {
    error.code() == Some("NOSCRIPT")
}

/// What comes within a time.
pub(super) async fn within<T>(
    timeout: Duration,
    what: impl Future<Output = Result<T, Fault>>,
) -> Result<T, Fault> {
    tokio::time::timeout(timeout, what).await.unwrap_or(Err(Fault::TimedOut))
}
