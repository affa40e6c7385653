//! A network between a gateway and PostgreSQL that does what networks do: it loses connections without a word.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

/// What happens to the next commit of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Commit {
    /// It arrives, and so does its answer.
    Passes,
    /// The connection is lost before it arrives.
    IsLost,
    /// It arrives; the connection is lost before its answer does.
    LosesItsAnswer,
}

#[derive(Default)]
struct State {
    /// The purposes of connections on which nothing passes any more, though they stay open.
    silent: Mutex<Vec<String>>,
    commit: AtomicU8,
}

/// A forwarding listener.
pub(crate) struct Proxy {
    port: u16,
    state: Arc<State>,
}

impl Proxy {
    /// Starts in front of a port.
    pub(crate) fn start(server_port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let state = Arc::clone(&shared);
                thread::spawn(move || forward(client, server_port, &state));
            }
        });
        Self { port, state }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// From now on nothing passes on connections of this purpose (their `application_name`), open and new ones.
    pub(crate) fn silence(&self, purpose: &str) {
        self.state.silent.lock().unwrap().push(purpose.to_owned());
    }

    pub(crate) fn next_commit(&self, fate: Commit) {
        self.state.commit.store(fate as u8, Ordering::SeqCst);
    }
}

fn forward(mut client: TcpStream, server_port: u16, state: &Arc<State>) {
    let mut first = [0; 4096];
    let Ok(read) = client.read(&mut first) else { return };
    let purpose = purpose(&first[..read]);
    let Ok(mut server) = TcpStream::connect(("127.0.0.1", server_port)) else { return };
    if server.write_all(&first[..read]).is_err() {
        return;
    }
    let loses_answer = Arc::new(AtomicBool::new(false));
    let back = {
        let (from, to) = (server.try_clone().unwrap(), client.try_clone().unwrap());
        let (state, purpose, loses_answer) = (Arc::clone(state), purpose.clone(), Arc::clone(&loses_answer));
        thread::spawn(move || {
            pump(from, to, |_| {
                if loses_answer.load(Ordering::SeqCst) { Pass::Cut } else { passes(&state, &purpose) }
            });
        })
    };
    let mut has_changed = false;
    pump(client, server, |bytes| {
        let has = |word: &[u8]| bytes.windows(word.len()).any(|window| window == word);
        has_changed |= has(b"pg_notify");
        let is_commit = has_changed && has(b"COMMIT\0");
        match is_commit.then(|| state.commit.swap(Commit::Passes as u8, Ordering::SeqCst)) {
            Some(fate) if fate == Commit::IsLost as u8 => Pass::Cut,
            Some(fate) if fate == Commit::LosesItsAnswer as u8 => {
                loses_answer.store(true, Ordering::SeqCst);
                Pass::On
            }
            _ => passes(state, &purpose),
        }
    });
    let _ = back.join();
}

enum Pass {
    On,
    Nowhere,
    Cut,
}

fn passes(state: &State, purpose: &str) -> Pass {
    let is_silent = state.silent.lock().unwrap().iter().any(|silent| silent == purpose);
    if is_silent { Pass::Nowhere } else { Pass::On }
}

/// The `application_name` of a startup packet.
fn purpose(startup: &[u8]) -> String {
    let mut words = startup.split(|byte| *byte == 0);
    words.find(|word| *word == b"application_name");
    String::from_utf8_lossy(words.next().unwrap_or_default()).into_owned()
}

fn pump(mut from: TcpStream, mut to: TcpStream, mut pass: impl FnMut(&[u8]) -> Pass) {
    let mut bytes = [0; 16 * 1024];
    while let Ok(read @ 1..) = from.read(&mut bytes) {
        match pass(&bytes[..read]) {
            Pass::On if to.write_all(&bytes[..read]).is_ok() => {}
            Pass::Nowhere => {}
            Pass::On | Pass::Cut => break,
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
