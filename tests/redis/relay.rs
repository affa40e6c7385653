//! A network between a gateway and Redis that can be cut, mended, led elsewhere, and made to shift the server's clock.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

/// The epoch of the script's clock, by which the relay shifts it.
const EPOCH: i64 = 1_735_689_600;

#[derive(Default)]
struct State {
    port: AtomicU16,
    is_cut: AtomicBool,
    /// Seconds by which the script's clock is ahead.
    ahead_seconds: AtomicI64,
    open: Mutex<Vec<TcpStream>>,
}

/// A forwarding listener.
pub(crate) struct Relay {
    port: u16,
    state: Arc<State>,
}

impl Relay {
    /// Starts in front of a server.
    pub(crate) fn start(server_port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(State { port: AtomicU16::new(server_port), ..State::default() });
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let state = Arc::clone(&shared);
                if !state.is_cut.load(Ordering::SeqCst) {
                    thread::spawn(move || forward(client, &state));
                }
            }
        });
        Self { port, state }
    }

    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    /// Breaks every connection, and lets none be made.
    pub(crate) fn cut(&self) {
        self.state.is_cut.store(true, Ordering::SeqCst);
        self.reset();
    }

    /// Lets connections be made again.
    pub(crate) fn mend(&self) {
        self.state.is_cut.store(false, Ordering::SeqCst);
    }

    /// Breaks every connection; new ones lead to another server.
    pub(crate) fn lead_to(&self, server_port: u16) {
        self.state.port.store(server_port, Ordering::SeqCst);
        self.reset();
    }

    /// Breaks every connection; scripts that are loaded on new ones find the server's clock so many seconds ahead, as
    /// behind a failover to a server whose clock is.
    pub(crate) fn shift_clock(&self, ahead_seconds: i64) {
        self.state.ahead_seconds.store(ahead_seconds, Ordering::SeqCst);
        self.reset();
    }

    fn reset(&self) {
        for open in self.state.open.lock().unwrap().drain(..) {
            let _ = open.shutdown(Shutdown::Both);
        }
    }
}

fn forward(client: TcpStream, state: &State) {
    let Ok(server) = TcpStream::connect(("127.0.0.1", state.port.load(Ordering::SeqCst))) else { return };
    for stream in [&client, &server] {
        let _ = stream.set_nodelay(true);
        state.open.lock().unwrap().push(stream.try_clone().unwrap());
    }
    let (from, to) = (server.try_clone().unwrap(), client.try_clone().unwrap());
    let back = thread::spawn(move || pump(from, to, |_| {}));
    let epoch = EPOCH.to_string();
    let shifted = (EPOCH - state.ahead_seconds.load(Ordering::SeqCst)).to_string();
    pump(client, server, |bytes| replace(bytes, epoch.as_bytes(), shifted.as_bytes()));
    let _ = back.join();
}

/// Writes something of the same length over something.
fn replace(bytes: &mut [u8], old: &[u8], new: &[u8]) {
    let found = bytes.windows(old.len()).position(|window| window == old);
    if let Some(at) = found {
        bytes[at..at + new.len()].copy_from_slice(new);
    }
}

fn pump(mut from: TcpStream, mut to: TcpStream, mut change: impl FnMut(&mut [u8])) {
    let mut bytes = vec![0; 64 * 1024];
    while let Ok(read @ 1..) = from.read(&mut bytes) {
        change(&mut bytes[..read]);
        if to.write_all(&bytes[..read]).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
