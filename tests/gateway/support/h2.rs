//! HTTP/2 with prior knowledge, by hyper.

use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use super::{Answer, PATIENCE};

/// One connection and what drives it.
pub(crate) struct H2 {
    runtime: Runtime,
    sender: SendRequest<Full<Bytes>>,
}

impl H2 {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let sender = runtime.block_on(async {
            let stream = TcpStream::connect(address).await.unwrap();
            stream.set_nodelay(true).unwrap();
            let (sender, connection) =
                http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
            tokio::spawn(connection);
            sender
        });
        Self { runtime, sender }
    }

    /// One request with a token.
    pub(crate) fn ask(&mut self, method: &str, target: &str, token: &str) -> Answer {
        self.try_ask(method, target, token).unwrap()
    }

    /// Sends a request on its way; aborted, its stream is reset.
    pub(crate) fn start(&mut self, method: &str, target: &str, token: &str) -> JoinHandle<()> {
        let request = hyper::Request::builder()
            .method(method)
            .uri(format!("http://api.example{target}"))
            .header("authorization", format!("Bearer {token}"))
            .body(Full::default())
            .unwrap();
        self.runtime.block_on(self.sender.ready()).unwrap();
        let answer = self.sender.send_request(request);
        self.runtime.spawn(async move { drop(answer.await) })
    }

    /// As [`H2::ask`]; an error if no answer came because the connection refused to take the request.
    pub(crate) fn try_ask(&mut self, method: &str, target: &str, token: &str) -> hyper::Result<Answer> {
        let request = hyper::Request::builder()
            .method(method)
            .uri(format!("http://api.example{target}"))
            .header("authorization", format!("Bearer {token}"))
            .body(Full::default())
            .unwrap();
        self.send(request)
    }

    /// Posts a body; `fields` are whole lines.
    pub(crate) fn post(&mut self, target: &str, fields: &str, body: &[u8]) -> Answer {
        let mut request = hyper::Request::post(format!("http://api.example{target}"));
        for (name, value) in fields.lines().filter_map(|line| line.split_once(": ")) {
            request = request.header(name.to_lowercase(), value);
        }
        self.send(request.body(Full::new(Bytes::copy_from_slice(body))).unwrap()).unwrap()
    }

    fn send(&mut self, request: hyper::Request<Full<Bytes>>) -> hyper::Result<Answer> {
        let sender = &mut self.sender;
        let answered = async {
            sender.ready().await?;
            let (head, body) = sender.send_request(request).await?.into_parts();
            let body = body.collect().await?.to_bytes().to_vec();
            let field = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
                (name.as_str().to_owned(), value.to_str().unwrap().to_owned())
            };
            Ok(Answer {
                status: head.status.as_u16(),
                fields: head.headers.iter().map(field).collect(),
                body,
            })
        };
        self.runtime.block_on(async { tokio::time::timeout(PATIENCE, answered).await.unwrap() })
    }
}
