//! A text in pieces of bounded length: lines, and parts of lines that are too long.

use std::io::{self, BufRead, Read as _};

/// The longest piece.
pub(super) const PIECE_BYTES: usize = 64 * 1024;

/// Reads pieces. A part of a line begins with the end of the part before it, so that a token on the seam is
/// whole in one of them.
pub(super) struct Pieces<'r> {
    reader: &'r mut dyn BufRead,
    buffer: Vec<u8>,
    overlap_bytes: usize,
    line: u64,
    column: u64,
    goes_on: bool,
}

/// A line, or a part of one.
pub(super) struct Piece<'b> {
    /// Its text; the last of a line has the line's end.
    pub(super) bytes: &'b [u8],
    /// Its line, from 1.
    pub(super) line: u64,
    /// Where in its line it begins: the character, from 1.
    pub(super) column: u64,
    /// Whether its line ends with it.
    pub(super) ends_line: bool,
}

impl<'r> Pieces<'r> {
    /// Pieces in which everything up to `whole_bytes` long is whole once.
    pub(super) fn new(reader: &'r mut dyn BufRead, whole_bytes: usize) -> Self {
        let overlap_bytes = whole_bytes.saturating_sub(1);
        Self { reader, buffer: Vec::new(), overlap_bytes, line: 0, column: 1, goes_on: false }
    }

    /// The next piece; [`None`] at the end.
    pub(super) fn next(&mut self) -> io::Result<Option<Piece<'_>>> {
        if self.goes_on {
            let done = self.buffer.len().saturating_sub(self.overlap_bytes);
            self.column += characters(&self.buffer[..done]);
            self.buffer.drain(..done);
        } else {
            self.buffer.clear();
            self.column = 1;
            self.line += 1;
        }
        let room = (PIECE_BYTES - self.buffer.len()) as u64;
        let read = (&mut *self.reader).take(room).read_until(b'\n', &mut self.buffer)?;
        if read == 0 {
            return Ok(None);
        }
        self.goes_on = read as u64 == room && self.buffer.last() != Some(&b'\n');
        let ends_line = !self.goes_on;
        Ok(Some(Piece { bytes: &self.buffer, line: self.line, column: self.column, ends_line }))
    }
}

/// How many characters a text in UTF-8 has; of any other text, an estimate.
pub(super) fn characters(text: &[u8]) -> u64 {
    text.iter().filter(|byte| **byte & 0xC0 != 0x80).count() as u64
}
