//! An upstream that reads requests as strictly as a test, keeps each that is complete, and answers 200.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// A request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Recorded {
    /// Request line and field lines.
    pub(crate) lines: Vec<String>,
    pub(crate) body: Vec<u8>,
    /// Trailer lines.
    pub(crate) trailers: Vec<String>,
}

impl Recorded {
    /// The values of every line of this name, in any case.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        let fields = self.lines[1..].iter().filter_map(|line| line.split_once(':'));
        fields.filter(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).collect()
    }
}

pub(crate) struct Recorder {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<Recorded>>>,
}

impl Recorder {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&requests);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { return };
                let noted = Arc::clone(&noted);
                thread::spawn(move || serve(stream, &noted));
            }
        });
        Self { address, requests }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The complete requests since it was asked last.
    pub(crate) fn take(&self) -> Vec<Recorded> {
        std::mem::take(&mut *self.requests.lock().unwrap())
    }
}

fn serve(stream: TcpStream, noted: &Mutex<Vec<Recorded>>) {
    let mut writing = stream.try_clone().unwrap();
    let mut reading = BufReader::new(stream);
    while let Some(request) = read(&mut reading) {
        let to_head = request.lines[0].starts_with("HEAD ");
        noted.lock().unwrap().push(request);
        let body = if to_head { "" } else { "{}" };
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{body}");
        if writing.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

/// One whole request; [`None`] if it breaks off.
fn read(reading: &mut BufReader<TcpStream>) -> Option<Recorded> {
    let lines = lines(reading)?;
    let mut request = Recorded { lines, body: Vec::new(), trailers: Vec::new() };
    let lengths = request.all("content-length");
    let codings = request.all("transfer-encoding");
    assert!(lengths.len() + codings.len() <= 1, "one framing field at most: {request:?}");
    if let Some(length) = lengths.first() {
        let mut body = vec![0; length.parse().unwrap()];
        reading.read_exact(&mut body).ok()?;
        request.body = body;
    } else if !codings.is_empty() {
        loop {
            let size = usize::from_str_radix(&line(reading)?, 16).unwrap();
            if size == 0 {
                request.trailers = self::lines(reading)?;
                break;
            }
            let mut chunk = vec![0; size + 2];
            reading.read_exact(&mut chunk).ok()?;
            request.body.extend_from_slice(&chunk[..size]);
        }
    }
    Some(request)
}

/// Lines up to an empty one.
fn lines(reading: &mut BufReader<TcpStream>) -> Option<Vec<String>> {
    let mut found = Vec::new();
    loop {
        let line = line(reading)?;
        if line.is_empty() {
            return Some(found);
        }
        found.push(line);
    }
}

fn line(reading: &mut BufReader<TcpStream>) -> Option<String> {
    let mut bytes = Vec::new();
    reading.read_until(b'\n', &mut bytes).ok()?;
    let line = bytes.strip_suffix(b"\r\n")?;
    // Bytes that are no text are told apart all the same.
    Some(line.iter().map(|byte| char::from(*byte)).collect())
}
