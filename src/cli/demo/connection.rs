//! One connection to the demo's gateway, as a client's script has it.

use bytes::Bytes;
use http::{HeaderValue, Method, Request, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::cli::Error;

/// The longest answer that is read, in bytes.
const MAX_BODY_BYTES: usize = 4 * 1024 * 1024;

/// A connection that is kept.
pub(super) struct Connection {
    host: String,
    sender: SendRequest<Full<Bytes>>,
}

/// A whole answer.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Bytes,
}

impl Connection {
    /// Connects to `http://HOST:PORT`.
    pub(super) async fn open(base_url: &str) -> Result<Self, Error> {
        let host = base_url.trim_start_matches("http://").to_owned();
        let failed = |error: &dyn std::fmt::Display| Error::Demo(format!("{base_url}: {error}"));
        let stream = TcpStream::connect(&host).await.map_err(|error| failed(&error))?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(|error| failed(&error))?;
        tokio::spawn(connection);
        Ok(Self { host, sender })
    }

    /// Sends a request with these fields.
    pub(super) async fn send(
        &mut self,
        method: Method,
        target: &str,
        fields: &[(&'static str, &str)],
        body: Vec<u8>,
    ) -> Result<Answer, Error> {
        let failed = |error: &dyn std::fmt::Display| Error::Demo(format!("the demo's gateway: {error}"));
        let mut request = Request::builder().method(method).uri(target).header(header::HOST, &self.host);
        for (name, value) in fields {
            let mut value = HeaderValue::from_str(value).map_err(|error| failed(&error))?;
            value.set_sensitive(true);
            request = request.header(*name, value);
        }
        let request = request.body(Full::new(Bytes::from(body))).map_err(|error| failed(&error))?;
        self.sender.ready().await.map_err(|error| failed(&error))?;
        let (head, body) =
            self.sender.send_request(request).await.map_err(|error| failed(&error))?.into_parts();
        let body = Limited::new(body, MAX_BODY_BYTES).collect().await.map_err(|error| failed(&error))?;
        Ok(Answer { status: head.status.as_u16(), body: body.to_bytes() })
    }
}
