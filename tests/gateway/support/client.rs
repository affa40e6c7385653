//! HTTP/1.1 by hand, so that a test decides about every byte.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::Value;

use super::PATIENCE;

/// A request with a bearer token; `fields` are whole lines.
pub(crate) fn request(method: &str, target: &str, token: &str, fields: &str) -> Vec<u8> {
    raw(method, target, &format!("Authorization: Bearer {token}\r\n{fields}"), b"")
}

/// A request; `fields` are whole lines. A body brings its length.
pub(crate) fn raw(method: &str, target: &str, fields: &str, body: &[u8]) -> Vec<u8> {
    let length = if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    let mut bytes =
        format!("{method} {target} HTTP/1.1\r\nHost: api.example\r\n{fields}{length}\r\n").into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

/// Asks the operators' listener without a credential. It wants to be asked by its own name.
pub(crate) fn ask_admin(admin: SocketAddr, path: &str) -> Answer {
    Client::connect(admin).send(format!("GET {path} HTTP/1.1\r\nHost: {admin}\r\n\r\n").as_bytes())
}

/// Sends the operators' listener a request with these fields and, if it is not empty, a JSON body.
pub(crate) fn send_admin(admin: SocketAddr, method: &str, path: &str, fields: &str, body: &str) -> Answer {
    let body_fields = if body.is_empty() {
        String::new()
    } else {
        format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len())
    };
    let head = format!("{method} {path} HTTP/1.1\r\nHost: {admin}\r\n{fields}{body_fields}\r\n{body}");
    Client::connect(admin).send(head.as_bytes())
}

/// An answer, its body without framing.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| &**value)
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|_| panic!("no JSON: {} {}", self.status, String::from_utf8_lossy(&self.body)))
    }

    /// The first error of the envelope.
    pub(crate) fn error(&self) -> Value {
        self.json()["errors"][0].clone()
    }

    /// The outcome that the body names; empty for an answer of the upstream.
    pub(crate) fn reason(&self) -> String {
        let body: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        body.pointer("/errors/0/data/reason").and_then(Value::as_str).unwrap_or_default().to_owned()
    }

    /// Status and outcome, which most tests ask for.
    pub(crate) fn said(&self) -> (u16, String) {
        (self.status, self.reason())
    }

    pub(crate) fn region(&self) -> Option<&str> {
        self.field("x-sample-region")
    }
}

/// A client connection.
pub(crate) struct Client {
    stream: Box<dyn ReadWrite>,
    tcp: TcpStream,
    buffer: Vec<u8>,
}

trait ReadWrite: Read + Write + Send {}
impl<T: Read + Write + Send> ReadWrite for T {}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        Self::try_connect(address).unwrap()
    }

    /// As [`Client::connect`]; an error if nobody listens.
    pub(crate) fn try_connect(address: SocketAddr) -> std::io::Result<Self> {
        let tcp = tcp(address)?;
        Ok(Self { stream: Box::new(tcp.try_clone()?), tcp, buffer: Vec::new() })
    }

    /// Over TLS, trusting only the authority in `ca_file`; the handshake's error if the name is not proven.
    pub(crate) fn connect_tls(
        address: SocketAddr,
        name: &str,
        ca_file: &Path,
    ) -> Result<Self, std::io::Error> {
        Self::encrypted(tcp(address)?, Self::session(name, ca_file))
    }

    /// A TLS session that has not begun, trusting only the authority in `ca_file`.
    pub(crate) fn session(name: &str, ca_file: &Path) -> ClientConnection {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(ca_file).unwrap()).unwrap();
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from(name.to_owned()).unwrap();
        ClientConnection::new(Arc::new(config), name).unwrap()
    }

    /// Finishes a session's handshake on a connection.
    pub(crate) fn encrypted(tcp: TcpStream, mut session: ClientConnection) -> Result<Self, std::io::Error> {
        let mut socket = tcp.try_clone().unwrap();
        while session.is_handshaking() {
            session.complete_io(&mut socket)?;
        }
        Ok(Self { stream: Box::new(StreamOwned::new(session, socket)), tcp, buffer: Vec::new() })
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
        self.stream.flush().unwrap();
    }

    /// As [`Client::write`] where the other side may have closed already.
    pub(crate) fn try_write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes)?;
        self.stream.flush()
    }

    /// The socket, for what HTTP does not say.
    pub(crate) fn tcp(&self) -> &TcpStream {
        &self.tcp
    }

    /// Sends a whole request and reads its answer.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> Answer {
        self.write(bytes);
        self.read(bytes.starts_with(b"HEAD "))
    }

    /// Reads one answer.
    pub(crate) fn read(&mut self, to_head: bool) -> Answer {
        self.try_read(to_head).unwrap()
    }

    /// Reads one answer; an error if the connection ends before it does.
    pub(crate) fn try_read(&mut self, to_head: bool) -> std::io::Result<Answer> {
        let mut answer = loop {
            let end = self.fill_until(|bytes| find(bytes, b"\r\n\r\n").map(|at| at + 4))?;
            let head = String::from_utf8(self.take(end)).unwrap();
            let answer = parse(&head);
            if answer.status >= 200 {
                break answer;
            }
        };
        if to_head || answer.status == 204 || answer.status == 304 {
            return Ok(answer);
        }
        answer.body = match (answer.field("content-length"), answer.field("transfer-encoding")) {
            (Some(length), _) => {
                let length: usize = length.parse().unwrap();
                self.fill_until(|bytes| (bytes.len() >= length).then_some(length))?;
                self.take(length)
            }
            (None, Some(_)) => self.chunks()?,
            (None, None) => {
                let rest = self.read_to_end()?;
                return Ok(Answer { body: rest, ..answer });
            }
        };
        Ok(answer)
    }

    /// Reads the head of an answer; its body is for the caller to read.
    pub(crate) fn read_head(&mut self) -> Answer {
        let end = self.fill_until(|bytes| find(bytes, b"\r\n\r\n").map(|at| at + 4)).unwrap();
        parse(&String::from_utf8(self.take(end)).unwrap())
    }

    /// Some bytes of a body; none at the end of the connection.
    pub(crate) fn read_some(&mut self, most: usize) -> std::io::Result<Vec<u8>> {
        if self.buffer.is_empty() {
            let mut part = vec![0; 64 * 1024];
            let read = self.stream.read(&mut part)?;
            self.buffer.extend_from_slice(&part[..read]);
        }
        let length = self.buffer.len().min(most);
        Ok(self.take(length))
    }

    /// Everything up to the end of the connection.
    pub(crate) fn read_to_end(&mut self) -> std::io::Result<Vec<u8>> {
        let mut rest = std::mem::take(&mut self.buffer);
        self.stream.read_to_end(&mut rest)?;
        Ok(rest)
    }

    fn chunks(&mut self) -> std::io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let end = self.fill_until(|bytes| find(bytes, b"\r\n").map(|at| at + 2))?;
            let line = String::from_utf8(self.take(end)).unwrap();
            let size = usize::from_str_radix(line.trim(), 16).unwrap();
            if size == 0 {
                loop {
                    let end = self.fill_until(|bytes| find(bytes, b"\r\n").map(|at| at + 2))?;
                    if self.take(end) == b"\r\n" {
                        return Ok(body);
                    }
                }
            }
            self.fill_until(|bytes| (bytes.len() >= size + 2).then_some(size + 2))?;
            body.extend_from_slice(&self.take(size));
            self.take(2);
        }
    }

    fn take(&mut self, length: usize) -> Vec<u8> {
        self.buffer.drain(..length).collect()
    }

    fn fill_until(&mut self, enough: impl Fn(&[u8]) -> Option<usize>) -> std::io::Result<usize> {
        let mut part = vec![0; 64 * 1024];
        loop {
            if let Some(length) = enough(&self.buffer) {
                return Ok(length);
            }
            let read = self.stream.read(&mut part)?;
            if read == 0 {
                let text = String::from_utf8_lossy(&self.buffer).into_owned();
                return Err(std::io::Error::new(std::io::ErrorKind::UnexpectedEof, text));
            }
            self.buffer.extend_from_slice(&part[..read]);
        }
    }
}

fn tcp(address: SocketAddr) -> std::io::Result<TcpStream> {
    let tcp = TcpStream::connect_timeout(&address, PATIENCE)?;
    tcp.set_read_timeout(Some(PATIENCE))?;
    tcp.set_write_timeout(Some(PATIENCE))?;
    tcp.set_nodelay(true)?;
    Ok(tcp)
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

fn parse(head: &str) -> Answer {
    let mut lines = head.trim_end().split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).unwrap().parse().unwrap();
    let fields = lines.map(|line| {
        let (name, value) = line.split_once(':').unwrap();
        (name.to_owned(), value.trim().to_owned())
    });
    Answer { status, fields: fields.collect(), body: Vec::new() }
}
