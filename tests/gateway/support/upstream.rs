//! An upstream that does as it is told and keeps every byte that it got.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// What it does with a request.
#[derive(Clone, Debug)]
pub(crate) enum Behaviour {
    /// Answers so, a whole answer's bytes, and keeps the connection.
    Answer(String),
    /// Reads and never answers.
    Hang,
    /// Never answers a request whose target holds this, and answers others so.
    HangOn(&'static str, String),
    /// Closes with a reset as soon as a request came.
    Reset,
    /// Closes when a request came.
    Close,
    /// Sends the body back as it arrives.
    Echo,
    /// Writes this as soon as a request's head came, and then only reads.
    Early(String),
    /// Answers without an end, as fast as it is taken.
    Endless,
    /// Answers without an end, a few bytes at a time.
    Drip,
    /// Reads the head, and the rest only when [`Upstream::go_on`] says so.
    Pause,
}

impl Behaviour {
    /// An answer of this status that names its region as the sample API does.
    pub(crate) fn status(status: u16, region: &str) -> Self {
        let body = "{\"data\":{}}";
        let length = body.len();
        Self::Answer(format!(
            "HTTP/1.1 {status} Said\r\nContent-Type: application/json\r\nx-sample-region: {region}\r\nContent-Length: {length}\r\n\r\n{body}"
        ))
    }
}

#[derive(Default)]
struct Seen {
    connections: usize,
    bytes: Vec<u8>,
    goes_on: bool,
}

/// A listening upstream.
pub(crate) struct Upstream {
    address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
    behaviour: Arc<Mutex<Behaviour>>,
}

impl Upstream {
    pub(crate) fn start(behaviour: Behaviour) -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").unwrap(), behaviour)
    }

    /// As [`Upstream::start`] on an address of one's own.
    pub(crate) fn on(listener: TcpListener, behaviour: Behaviour) -> Self {
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Seen::default()));
        let behaviour = Arc::new(Mutex::new(behaviour));
        let (noted, told) = (Arc::clone(&seen), Arc::clone(&behaviour));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { return };
                noted.lock().unwrap().connections += 1;
                let (noted, told) = (Arc::clone(&noted), Arc::clone(&told));
                thread::spawn(move || serve(stream, &noted, &told));
            }
        });
        Self { address, seen, behaviour }
    }

    /// An address on which nobody listens.
    pub(crate) fn refusing() -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    }

    /// An address that takes no connection and refuses none: its queue is full. Keep the result.
    pub(crate) fn blackhole() -> (String, Vec<socket2::Socket>) {
        let socket = || socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        let listener = socket();
        listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        listener.listen(0).unwrap();
        let address = listener.local_addr().unwrap();
        let mut held = vec![listener];
        for _ in 0..4 {
            let filling = socket();
            filling.set_nonblocking(true).unwrap();
            // It is under way, which is all that is wanted.
            let _ = filling.connect(&address);
            held.push(filling);
        }
        (format!("http://{}", address.as_socket().unwrap()), held)
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From the next request on, also of open connections.
    pub(crate) fn behave(&self, behaviour: Behaviour) {
        *self.behaviour.lock().unwrap() = behaviour;
    }

    pub(crate) fn connections(&self) -> usize {
        self.seen.lock().unwrap().connections
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.seen.lock().unwrap().bytes.clone()
    }

    /// What it got, as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes()).into_owned()
    }

    /// Lets [`Behaviour::Pause`] read the rest and answer.
    pub(crate) fn go_on(&self) {
        self.seen.lock().unwrap().goes_on = true;
    }

    /// That nobody ever connected, nor sent a byte.
    pub(crate) fn assert_untouched(&self, why: &str) {
        assert_eq!((self.connections(), self.text()), (0, String::new()), "{why}");
    }
}

fn serve(mut stream: TcpStream, seen: &Mutex<Seen>, behaviour: &Mutex<Behaviour>) {
    let mut unread = Vec::new();
    loop {
        let end = loop {
            if let Some(at) = unread.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            if !read(&mut stream, seen, &mut unread) {
                return;
            }
        };
        let head = String::from_utf8_lossy(&unread[..end]).to_lowercase();
        unread.drain(..end);
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length:"))
            .map_or(0, |length| length.trim().parse::<usize>().unwrap());
        let behaviour = behaviour.lock().unwrap().clone();
        match behaviour {
            Behaviour::Hang => while read(&mut stream, seen, &mut unread) {},
            Behaviour::Early(answer) => {
                if stream.write_all(answer.as_bytes()).is_ok() {
                    while read(&mut stream, seen, &mut unread) {}
                }
                return;
            }
            Behaviour::Endless => return without_end(&mut stream, &[b'x'; 16 * 1024], Duration::ZERO),
            Behaviour::Drip => return without_end(&mut stream, b"drip", Duration::from_millis(50)),
            Behaviour::HangOn(part, _) if head.lines().next().is_some_and(|line| line.contains(part)) => {
                while read(&mut stream, seen, &mut unread) {}
                return;
            }
            Behaviour::Reset => {
                // Closing with unread bytes, or without lingering, resets.
                socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
                return;
            }
            Behaviour::Close => {
                let _ = stream.shutdown(Shutdown::Both);
                return;
            }
            Behaviour::Echo => {
                if echo(&mut stream, &mut unread, length).is_err() {
                    return;
                }
            }
            Behaviour::Answer(answer) | Behaviour::HangOn(_, answer) => {
                // An answer ahead of the body's end would make what follows look like another request.
                let is_chunked = head.contains("\r\ntransfer-encoding: chunked\r\n");
                let has_ended = |unread: &[u8]| {
                    if is_chunked { unread.ends_with(b"0\r\n\r\n") } else { unread.len() >= length }
                };
                while !has_ended(&unread) {
                    if !read(&mut stream, seen, &mut unread) {
                        return;
                    }
                }
                unread.drain(..if is_chunked { unread.len() } else { length });
                if stream.write_all(answer.as_bytes()).is_err() {
                    return;
                }
            }
            Behaviour::Pause => {
                while !seen.lock().unwrap().goes_on {
                    thread::sleep(Duration::from_millis(2));
                }
                let mut left = length - unread.len();
                let mut part = vec![0; 64 * 1024];
                while left > 0 {
                    match stream.read(&mut part) {
                        Ok(read) if read > 0 => left -= read,
                        _ => return,
                    }
                }
                unread.clear();
                if stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").is_err() {
                    return;
                }
            }
        }
    }
}

/// Chunks until nobody takes them any more.
fn without_end(stream: &mut TcpStream, data: &[u8], pause: Duration) {
    let mut chunk = format!("{:x}\r\n", data.len()).into_bytes();
    chunk.extend_from_slice(data);
    chunk.extend_from_slice(b"\r\n");
    let mut taken = stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    while taken.is_ok() {
        thread::sleep(pause);
        taken = stream.write_all(&chunk);
    }
}

fn read(stream: &mut TcpStream, seen: &Mutex<Seen>, unread: &mut Vec<u8>) -> bool {
    let mut part = [0; 16 * 1024];
    match stream.read(&mut part) {
        Ok(read) if read > 0 => {
            seen.lock().unwrap().bytes.extend_from_slice(&part[..read]);
            unread.extend_from_slice(&part[..read]);
            true
        }
        _ => false,
    }
}

/// Sends back the body of a request while it is still arriving.
fn echo(stream: &mut TcpStream, unread: &mut Vec<u8>, length: usize) -> std::io::Result<()> {
    stream.write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n").as_bytes())?;
    let mut left = length - unread.len();
    stream.write_all(unread)?;
    unread.clear();
    let mut part = vec![0; 64 * 1024];
    while left > 0 {
        let most = left.min(part.len());
        let read = stream.read(&mut part[..most])?;
        if read == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        stream.write_all(&part[..read])?;
        left -= read;
    }
    Ok(())
}
