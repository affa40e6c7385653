//! Chunked transfer coding (RFC 9112, section 7.1), decoded strictly and without I/O.
//!
//! Lines end in CRLF and nothing else, sizes are plain hexadecimal, extensions are bounded and dropped. What
//! is sent on is always encoded anew.

use std::ops::Range;

use super::fault::BodyFault;

const MAX_EXTENSION_BYTES: usize = 16 * 1024;
const MAX_TRAILER_BYTES: usize = 16 * 1024;

/// What the next step of decoding found.
#[derive(Debug, PartialEq, Eq)]
pub enum Decoded {
    /// Content stands at this range of the input; everything up to its end is consumed.
    Data(Range<usize>),
    /// The input is consumed up to here and more is needed.
    NeedMore {
        /// Bytes of the input that are done with.
        consumed: usize,
    },
    /// The body is complete.
    End {
        /// Bytes of the input that belonged to it.
        consumed: usize,
        /// Trailer field lines, each ended by CRLF; mostly empty.
        trailers: Vec<u8>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Size { digits: u8, size: u64 },
    Extension { size: u64 },
    SizeLineFeed { size: u64 },
    Data { remaining: u64 },
    DataCarriageReturn,
    DataLineFeed,
    Trailers,
    Done,
}

/// Decodes one chunked body, whatever pieces it arrives in.
#[derive(Debug)]
pub struct ChunkDecoder {
    state: State,
    extension_bytes: usize,
    trailers: Vec<u8>,
}

impl Default for ChunkDecoder {
    fn default() -> Self {
        Self { state: State::Size { digits: 0, size: 0 }, extension_bytes: 0, trailers: Vec::new() }
    }
}

impl ChunkDecoder {
    /// At the start of a body.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next step over `input`, which starts where the last step's consumption ended.
    pub fn decode(&mut self, input: &[u8]) -> Result<Decoded, BodyFault> {
        let mut at = 0;
        while at < input.len() {
            let byte = input[at];
            match self.state {
                State::Data { remaining } => {
                    let take = remaining.min((input.len() - at) as u64) as usize;
                    let left = remaining - take as u64;
                    self.state =
                        if left == 0 { State::DataCarriageReturn } else { State::Data { remaining: left } };
                    return Ok(Decoded::Data(at..at + take));
                }
                State::Done => break,
                State::Trailers => {
                    if self.trailer_byte(byte)? {
                        return Ok(Decoded::End { consumed: at + 1, trailers: self.take_trailers()? });
                    }
                }
                State::Size { digits, size } => self.state = Self::size_byte(byte, digits, size)?,
                State::Extension { size } => self.state = self.extension_byte(byte, size)?,
                State::SizeLineFeed { size } => {
                    expect(byte, b'\n', "a chunk size line does not end in CRLF")?;
                    self.state = if size == 0 { State::Trailers } else { State::Data { remaining: size } };
                }
                State::DataCarriageReturn => {
                    expect(byte, b'\r', "a chunk is longer than its size")?;
                    self.state = State::DataLineFeed;
                }
                State::DataLineFeed => {
                    expect(byte, b'\n', "a chunk does not end in CRLF")?;
                    self.state = State::Size { digits: 0, size: 0 };
                }
            }
            at += 1;
        }
        Ok(Decoded::NeedMore { consumed: at })
    }

    fn size_byte(byte: u8, digits: u8, size: u64) -> Result<State, BodyFault> {
        if let Some(digit) = char::from(byte).to_digit(16) {
            if digits >= 15 {
                return Err(BodyFault::Malformed("a chunk size has more than 15 digits"));
            }
            return Ok(State::Size { digits: digits + 1, size: size << 4 | u64::from(digit) });
        }
        match byte {
            b'\r' if digits > 0 => Ok(State::SizeLineFeed { size }),
            b';' if digits > 0 => Ok(State::Extension { size }),
            _ => Err(BodyFault::Malformed("a chunk size is not hexadecimal")),
        }
    }

    fn extension_byte(&mut self, byte: u8, size: u64) -> Result<State, BodyFault> {
        self.extension_bytes += 1;
        if self.extension_bytes > MAX_EXTENSION_BYTES {
            return Err(BodyFault::Malformed("chunk extensions are longer than 16 KiB"));
        }
        match byte {
            b'\r' => Ok(State::SizeLineFeed { size }),
            b'\t' | b' '..=b'~' | 0x80.. => Ok(State::Extension { size }),
            _ => Err(BodyFault::Malformed("a chunk extension holds a control byte")),
        }
    }

    /// Takes one byte of the trailer section; true when that was its last.
    fn trailer_byte(&mut self, byte: u8) -> Result<bool, BodyFault> {
        if self.trailers.len() >= MAX_TRAILER_BYTES {
            return Err(BodyFault::Malformed("the trailers are longer than 16 KiB"));
        }
        if byte == b'\n' && self.trailers.last() != Some(&b'\r') {
            return Err(BodyFault::Malformed("a trailer line ends in LF without CR"));
        }
        self.trailers.push(byte);
        Ok(self.trailers == b"\r\n" || self.trailers.ends_with(b"\r\n\r\n"))
    }

    /// The trailer lines, parsed once so that only well-formed ones are passed on.
    fn take_trailers(&mut self) -> Result<Vec<u8>, BodyFault> {
        self.state = State::Done;
        let raw = std::mem::take(&mut self.trailers);
        if raw == b"\r\n" {
            return Ok(Vec::new());
        }
        let mut slots = [httparse::EMPTY_HEADER; 32];
        let Ok(httparse::Status::Complete((_, fields))) = httparse::parse_headers(&raw, &mut slots) else {
            return Err(BodyFault::Malformed("the trailers are not field lines"));
        };
        let mut lines = Vec::with_capacity(raw.len());
        for field in fields {
            super::head::push_line(&mut lines, field.name.as_bytes(), super::parse::trim(field.value));
        }
        Ok(lines)
    }
}

fn expect(byte: u8, wanted: u8, message: &'static str) -> Result<(), BodyFault> {
    if byte == wanted { Ok(()) } else { Err(BodyFault::Malformed(message)) }
}

/// Appends the line that goes before a chunk of `length` bytes.
pub fn encode_chunk_size(length: usize, out: &mut Vec<u8>) {
    let mut digits = [0_u8; 16];
    let mut at = digits.len();
    let mut rest = length;
    while at == digits.len() || rest > 0 {
        at -= 1;
        digits[at] = b"0123456789abcdef"[rest & 15];
        rest >>= 4;
    }
    out.extend_from_slice(&digits[at..]);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests;
