//! HTTP/2 frames by hand (RFC 9113, RFC 7541), so that a test decides about every byte.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::support::PATIENCE;

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;
pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;
const ACK: u8 = 1;

/// One frame.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    bytes.extend_from_slice(&[kind, flags]);
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// A header block of literals without indexing and without Huffman coding, which can spell anything.
pub(crate) fn block(fields: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in fields {
        bytes.push(0);
        for part in [name, value] {
            length(part.len(), &mut bytes);
            bytes.extend_from_slice(part);
        }
    }
    bytes
}

/// The fields of a good request.
pub(crate) fn request_fields(credential: &str) -> [(&[u8], &[u8]); 5] {
    [
        (b":method", b"GET"),
        (b":scheme", b"http"),
        (b":path", b"/sources"),
        (b":authority", b"a"),
        (b"authorization", credential.as_bytes()),
    ]
}

/// An integer with a prefix of seven bits (RFC 7541, section 5.1).
fn length(mut value: usize, bytes: &mut Vec<u8>) {
    if value < 127 {
        return bytes.push(value as u8);
    }
    bytes.push(127);
    value -= 127;
    while value >= 128 {
        bytes.push((value % 128) as u8 | 128);
        value /= 128;
    }
    bytes.push(value as u8);
}

/// What the gateway said of a stream or of the whole connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    /// The status of an answer; 0 if its spelling is not understood.
    Status(u16),
    /// Content of an answer.
    Data(Vec<u8>),
    /// The end of an answer.
    End,
    /// The stream was reset with this code.
    Reset(u32),
    /// The connection ends, with this code.
    GoAway(u32),
    /// The end of the connection.
    Closed,
}

/// A connection on which the preface and our SETTINGS were sent.
pub(crate) struct Frames {
    tcp: TcpStream,
    unread: Vec<u8>,
    answered_ends: bool,
}

impl Frames {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let mut connection = Self::silent(address);
        connection.write(PREFACE);
        connection.write(&frame(SETTINGS, 0, 0, &[]));
        connection
    }

    /// A connection on which nothing was sent.
    pub(crate) fn silent(address: SocketAddr) -> Self {
        let tcp = TcpStream::connect_timeout(&address, PATIENCE).unwrap();
        tcp.set_read_timeout(Some(PATIENCE)).unwrap();
        tcp.set_write_timeout(Some(PATIENCE)).unwrap();
        tcp.set_nodelay(true).unwrap();
        Self { tcp, unread: Vec::new(), answered_ends: false }
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.tcp.write_all(bytes).unwrap();
    }

    /// As [`Frames::write`]; false if the other side has closed.
    pub(crate) fn try_write(&mut self, bytes: &[u8]) -> bool {
        self.tcp.write_all(bytes).is_ok()
    }

    /// As [`Frames::try_write`]; false also if the other side takes nothing for a moment.
    pub(crate) fn try_write_in_time(&mut self, bytes: &[u8]) -> bool {
        self.tcp.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
        self.tcp.write_all(bytes).is_ok()
    }

    /// A request without a body in one frame.
    pub(crate) fn get(&mut self, stream: u32, fields: &[(&[u8], &[u8])]) {
        self.write(&frame(HEADERS, END_STREAM | END_HEADERS, stream, &block(fields)));
    }

    /// The next thing said of a stream or of the connection; SETTINGS and PING are answered on the way.
    pub(crate) fn said(&mut self, stream: u32) -> Said {
        if std::mem::take(&mut self.answered_ends) {
            return Said::End;
        }
        loop {
            let Some((kind, flags, of, payload)) = self.next_frame() else { return Said::Closed };
            self.answered_ends = of == stream && matches!(kind, DATA | HEADERS) && flags & END_STREAM != 0;
            match kind {
                SETTINGS if flags & ACK == 0 => {
                    let _ = self.try_write(&frame(SETTINGS, ACK, 0, &[]));
                }
                PING if flags & ACK == 0 => {
                    let _ = self.try_write(&frame(PING, ACK, 0, &payload));
                }
                GOAWAY => return Said::GoAway(code(&payload[4..])),
                RST_STREAM if of == stream => return Said::Reset(code(&payload)),
                HEADERS if of == stream => return Said::Status(status(&payload)),
                DATA if of == stream => return Said::Data(payload),
                _ => {}
            }
        }
    }

    /// The status of a stream's answer, or what was said instead.
    pub(crate) fn answer(&mut self, stream: u32) -> Said {
        self.said(stream)
    }

    /// How the connection ends, whatever is said of streams before; [`Said::Closed`] if without a word.
    pub(crate) fn end(&mut self) -> Said {
        let mut goodbye = Said::Closed;
        loop {
            match self.said(u32::MAX) {
                Said::Closed => return goodbye,
                said => goodbye = said,
            }
        }
    }

    fn next_frame(&mut self) -> Option<(u8, u8, u32, Vec<u8>)> {
        loop {
            if let [a, b, c, kind, flags, stream @ ..] = &self.unread[..] {
                let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
                if stream.len() >= 4 + length {
                    let of = code(stream) & 0x7fff_ffff;
                    let found = (*kind, *flags, of, stream[4..4 + length].to_vec());
                    self.unread.drain(..9 + length);
                    return Some(found);
                }
            }
            let mut part = [0; 16 * 1024];
            match self.tcp.read(&mut part) {
                Ok(read) if read > 0 => self.unread.extend_from_slice(&part[..read]),
                Ok(_) => return None,
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("nothing was said in time: {error}"),
            }
        }
    }
}

fn code(bytes: &[u8]) -> u32 {
    u32::from_be_bytes(bytes[..4].try_into().unwrap())
}

/// The status at the start of a connection's first header block: from the static table, or a literal under its
/// name, plain or with the Huffman code of digits (RFC 7541, appendices A and B).
fn status(block: &[u8]) -> u16 {
    match block {
        [indexed @ 0x88..=0x8e, ..] => [200, 204, 206, 304, 400, 404, 500][usize::from(indexed - 0x88)],
        [0x48, length @ (0x82 | 0x83), rest @ ..] => huffman_digits(&rest[..usize::from(length & 0x7f)]),
        [0x48, 3, rest @ ..] => std::str::from_utf8(&rest[..3]).unwrap().parse().unwrap(),
        _ => 0,
    }
}

fn huffman_digits(bytes: &[u8]) -> u16 {
    let mut bits =
        bytes.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (32 - 8 * bytes.len());
    let mut number = 0;
    for _ in 0..3 {
        let (digit, length) = match bits >> 27 {
            short @ 0..=2 => (short, 5),
            _ => ((bits >> 26) - 0b01_1001 + 3, 6),
        };
        number = number * 10 + digit;
        bits <<= length;
    }
    number as u16
}
