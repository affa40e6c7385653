//! A receiver of webhooks that keeps what it got and answers as it is told.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

/// A webhook that came.
#[derive(Clone, Debug)]
pub(crate) struct Hook {
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Hook {
    pub(crate) fn field(&self, name: &str) -> &str {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(field, _)| field.eq_ignore_ascii_case(name)).map_or("", |(_, value)| value)
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// Whether it is signed by a secret, as the Standard Webhooks specification says.
    pub(crate) fn is_signed_by(&self, secret: &str) -> bool {
        let key = STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
        let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
        let head = format!("{}.{}.", self.field("webhook-id"), self.field("webhook-timestamp"));
        let signed = [head.as_bytes(), &self.body].concat();
        self.field("webhook-signature").split(' ').any(|signature| {
            let tag = STANDARD.decode(signature.strip_prefix("v1,").unwrap()).unwrap();
            hmac::verify(&key, &signed, &tag).is_ok()
        })
    }
}

/// A listening receiver.
pub(crate) struct Receiver {
    address: SocketAddr,
    hooks: Arc<Mutex<Vec<Hook>>>,
}

impl Receiver {
    /// Gives these answers one after the other, and the last one ever after: whole heads without the end. An empty
    /// one is never given, and its connection stays open.
    pub(crate) fn start(answers: &[&str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let receiver = Self { address: listener.local_addr().unwrap(), hooks: Arc::default() };
        let hooks = Arc::clone(&receiver.hooks);
        let answers: Vec<String> = answers.iter().map(|answer| (*answer).to_owned()).collect();
        thread::spawn(move || {
            let mut unanswered = Vec::new();
            for stream in listener.incoming().flatten() {
                unanswered.extend(receive(stream, &hooks, &answers));
            }
        });
        receiver
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    pub(crate) fn hooks(&self) -> Vec<Hook> {
        self.hooks.lock().unwrap().clone()
    }
}

/// The connection, if it is not answered.
fn receive(mut stream: TcpStream, hooks: &Mutex<Vec<Hook>>, answers: &[String]) -> Option<TcpStream> {
    let mut bytes = Vec::new();
    let mut part = [0; 16_384];
    let hook = loop {
        match stream.read(&mut part) {
            Ok(0) | Err(_) => return None,
            Ok(read) => bytes.extend_from_slice(&part[..read]),
        }
        let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let hook = Hook { head, body: bytes[end + 4..].to_vec() };
        if hook.body.len() >= hook.field("content-length").parse::<usize>().unwrap() {
            break hook;
        }
    };
    let mut hooks = hooks.lock().unwrap();
    let answer = answers.get(hooks.len()).or(answers.last()).unwrap();
    hooks.push(hook);
    if answer.is_empty() {
        return Some(stream);
    }
    let answer = format!("HTTP/1.1 {answer}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    // The gateway may have left.
    let _ = stream.write_all(answer.as_bytes());
    None
}
