//! Clients and upstreams on one thread. It never waits: every socket is asked in turn, which costs the fewest
//! steps for each request while all of them are busy.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

const BODY_BYTES: usize = 1_024;

/// When requests are sent.
#[derive(Clone, Copy)]
pub(crate) enum Pace {
    /// By each client as soon as it has its answer.
    AtOnce,
    /// So many a second, due at fixed times whatever the answers do.
    PerSecond(u32),
}

/// What a run came to.
#[derive(Default)]
pub(crate) struct Measured {
    pub(crate) by_status: BTreeMap<u16, u64>,
    pub(crate) elapsed: Duration,
    /// Of each request from the time it was due, sorted.
    latencies: Vec<Duration>,
}

impl Measured {
    pub(crate) fn answered(&self) -> u64 {
        self.by_status.values().sum()
    }

    /// The latency that so many of a thousand requests stay within.
    pub(crate) fn within(&self, per_mille: usize) -> Duration {
        let at = (self.latencies.len() * per_mille / 1_000).min(self.latencies.len().saturating_sub(1));
        self.latencies.get(at).copied().unwrap_or_default()
    }
}

/// What is asked for here is never answered.
pub(crate) const HANGS: &str = "/v1/hangs";

/// Two upstreams that answer everything but [`HANGS`] with one kilobyte.
pub(crate) struct Upstreams {
    listeners: [TcpListener; 2],
    connections: Vec<Wire>,
    /// Those that wait for [`HANGS`]: kept open, and never looked at again.
    hanging: Vec<Wire>,
    answer: Vec<u8>,
}

/// Clients with a connection each, and what they send in rotation.
pub(crate) struct Clients<'r> {
    wires: Vec<Client>,
    requests: &'r [Vec<u8>],
    next: usize,
}

struct Client {
    wire: Wire,
    waits_since: Option<Instant>,
}

struct Wire {
    stream: TcpStream,
    input: Vec<u8>,
}

impl Upstreams {
    pub(crate) fn open() -> Self {
        let listener = || {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            listener.set_nonblocking(true).unwrap();
            listener
        };
        let mut answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {BODY_BYTES}\r\n\r\n"
        )
        .into_bytes();
        answer.resize(answer.len() + BODY_BYTES, b'x');
        Self { listeners: [listener(), listener()], connections: Vec::new(), hanging: Vec::new(), answer }
    }

    pub(crate) fn addresses(&self) -> [SocketAddr; 2] {
        self.listeners.each_ref().map(|listener| listener.local_addr().unwrap())
    }

    /// Answers what has come; whether anything had.
    fn turn(&mut self) -> bool {
        let mut busy = false;
        self.connections.retain_mut(|wire| {
            let open = wire.read();
            if wire.input.ends_with(b"\r\n\r\n") {
                busy = true;
                if wire.input.windows(HANGS.len()).any(|window| window == HANGS.as_bytes()) {
                    self.hanging.push(Wire::new(wire.stream.try_clone().unwrap()));
                    return false;
                }
                wire.input.clear();
                wire.stream.write_all(&self.answer).unwrap();
            }
            open
        });
        busy
    }

    /// Closes the connections that wait for [`HANGS`].
    pub(crate) fn close_hanging(&mut self) {
        self.hanging.clear();
    }

    fn accept(&mut self) {
        for listener in &self.listeners {
            while let Ok((stream, _)) = listener.accept() {
                self.connections.push(Wire::new(stream));
            }
        }
    }
}

impl<'r> Clients<'r> {
    pub(crate) fn connect(address: SocketAddr, count: usize, requests: &'r [Vec<u8>]) -> Self {
        let connect = || Wire::new(TcpStream::connect(address).unwrap());
        let wires = (0..count).map(|_| Client { wire: connect(), waits_since: None }).collect();
        Self { wires, requests, next: 0 }
    }

    /// Sends one request on each connection, and waits for none.
    pub(crate) fn send_all(&mut self) {
        for client in &mut self.wires {
            client.wire.stream.write_all(&self.requests[self.next % self.requests.len()]).unwrap();
            self.next += 1;
        }
    }

    /// Sends for so long, and waits for the last answers.
    pub(crate) fn run(&mut self, upstreams: &mut Upstreams, pace: Pace, time: Duration) -> Measured {
        let start = Instant::now();
        let end = start + time;
        let mut measured = Measured::default();
        let mut sent = 0;
        loop {
            let now = Instant::now();
            let mut busy = upstreams.turn();
            for client in &mut self.wires {
                if let Some(since) = client.waits_since {
                    let Some(status) = client.wire.answer() else { continue };
                    client.waits_since = None;
                    *measured.by_status.entry(status).or_default() += 1;
                    measured.latencies.push(since.elapsed());
                }
                let due = match pace {
                    Pace::AtOnce => now,
                    Pace::PerSecond(rate) => start + Duration::from_secs(1) / rate * sent,
                };
                if due <= now && due < end {
                    client.wire.stream.write_all(&self.requests[self.next % self.requests.len()]).unwrap();
                    client.waits_since = Some(due);
                    self.next += 1;
                    sent += 1;
                    busy = true;
                }
            }
            if !busy {
                upstreams.accept();
                std::thread::yield_now();
            }
            if now >= end && self.wires.iter().all(|client| client.waits_since.is_none()) {
                measured.elapsed = start.elapsed();
                measured.latencies.sort_unstable();
                return measured;
            }
            assert!(now < end + Duration::from_secs(20), "an answer is missing");
        }
    }
}

impl Wire {
    fn new(stream: TcpStream) -> Self {
        stream.set_nonblocking(true).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, input: Vec::new() }
    }

    /// Takes what has arrived; false at the end of the connection.
    fn read(&mut self) -> bool {
        let mut buffer = [0; 16 * 1024];
        match self.stream.read(&mut buffer) {
            Ok(0) => false,
            Ok(read) => {
                self.input.extend_from_slice(&buffer[..read]);
                true
            }
            Err(error) => error.kind() == ErrorKind::WouldBlock,
        }
    }

    /// The status of an answer that has arrived whole.
    fn answer(&mut self) -> Option<u16> {
        assert!(self.read(), "the gateway closed a connection");
        let head_end = self.input.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
        let head = std::str::from_utf8(&self.input[..head_end]).unwrap().to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
        let length: usize = length.map_or(0, |length| length.trim().parse().unwrap());
        if self.input.len() < head_end + length {
            return None;
        }
        self.input.clear();
        head.split(' ').nth(1)?.parse().ok()
    }
}
