//! The exchange itself, over HTTP/1.1.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, header};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::{Answer, Fetch, FetchFailed, tls};

/// About the longest head of an answer, in bytes.
const MAX_HEAD_BYTES: usize = 64 * 1024;

impl FetchFailed {
    pub(super) fn unreachable(error: impl std::fmt::Display) -> Self {
        Self::Unreachable(error.to_string())
    }
}

impl Fetch<'_> {
    pub(super) async fn exchange(
        &self,
        method: Method,
        fields: HeaderMap,
        body: Bytes,
    ) -> Result<Answer, FetchFailed> {
        let work = async {
            let request = self.request(method, fields, body)?;
            let stream = self.connect().await?;
            if !self.url.is_secure() {
                return self.answered(stream, request).await;
            }
            let name = ServerName::try_from(self.url.bare_host().to_owned());
            let name = name.map_err(FetchFailed::unreachable)?;
            let tls = tokio_rustls::TlsConnector::from(tls::config(self.ca_file).await?);
            let stream = tls.connect(name, stream).await.map_err(FetchFailed::unreachable)?;
            self.answered(stream, request).await
        };
        tokio::time::timeout(self.deadline, work).await.unwrap_or(Err(FetchFailed::TimedOut(self.deadline)))
    }

    async fn connect(&self) -> Result<TcpStream, FetchFailed> {
        let found = tokio::net::lookup_host((self.url.bare_host(), self.url.port())).await;
        let allowed = self.reach.of(found.map_err(FetchFailed::unreachable)?)?;
        TcpStream::connect(&*allowed).await.map_err(FetchFailed::unreachable)
    }

    fn request(
        &self,
        method: Method,
        mut fields: HeaderMap,
        body: Bytes,
    ) -> Result<Request<Full<Bytes>>, FetchFailed> {
        let host = HeaderValue::from_str(self.url.authority()).map_err(FetchFailed::unreachable)?;
        fields.insert(header::HOST, host);
        let agent = HeaderValue::from_static(concat!("tollgate/", env!("CARGO_PKG_VERSION")));
        fields.insert(header::USER_AGENT, agent);
        let request = Request::builder().method(method).uri(self.url.target()).body(Full::new(body));
        let mut request = request.map_err(FetchFailed::unreachable)?;
        *request.headers_mut() = fields;
        Ok(request)
    }

    async fn answered<S>(&self, stream: S, request: Request<Full<Bytes>>) -> Result<Answer, FetchFailed>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
            .max_buf_size(MAX_HEAD_BYTES)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(FetchFailed::unreachable)?;
        let work = async move {
            let answer = sender.send_request(request).await.map_err(FetchFailed::unreachable)?;
            let (head, body) = answer.into_parts();
            let body = if head.status.is_success() && self.max_bytes > 0 {
                let read = Limited::new(body, self.max_bytes).collect().await;
                read.map(http_body_util::Collected::to_bytes).map_err(|error| {
                    if error.is::<LengthLimitError>() {
                        FetchFailed::TooLong(self.max_bytes)
                    } else {
                        FetchFailed::unreachable(error)
                    }
                })?
            } else {
                Bytes::new()
            };
            Ok(Answer { status: head.status, fields: head.headers, body })
        };
        tokio::pin!(work);
        tokio::select! {
            biased;
            answer = &mut work => answer,
            // The connection may end before the last bytes of the body were taken from it.
            _ = connection => work.await,
        }
    }
}
