//! The bytes of a saved state.
//!
//! A line that names the format, then little-endian numbers: the head, and parts behind their kind and count, the last
//! of them empty. Head and parts each end in a tag, an HMAC-SHA-256 of them, cut to 16 bytes, under a key of the
//! installation: it shows damage, another installation's file, and a part that stands elsewhere.

use std::io::{self, Read, Write};
use std::num::NonZeroU32;
use std::sync::Arc;

use aws_lc_rs::hmac;

use super::NotRestored;
use crate::clock::Now;
use crate::limits::bucket::{LONGEST_FILL_NANOS, Scale};
use crate::limits::calendar::Refill;
use crate::limits::cell::{Cell, Measure};
use crate::limits::key::Key;

const FORMAT: &[u8; 24] = b"tollgate saved limits 01";
const TAG_BYTES: usize = 16;
/// Records in one part, which is what one flipped bit can cost.
const PART_RECORDS: usize = 8_192;
const LONGEST_NAME_BYTES: usize = 1_024;
const LONGEST_HEAD_BYTES: usize = 64 << 20;

/// A part's kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Cells,
    Failures,
}

/// What stands before the parts.
#[derive(PartialEq, Eq)]
pub(super) struct Head {
    /// Under which clients' own values are hashed.
    pub(super) secret: [u8; 32],
    pub(super) unix_millis: u64,
    pub(super) policies: Vec<(Arc<str>, u32)>,
    pub(super) endpoints: Vec<(Arc<str>, u32)>,
}

/// A cell as it stands in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::limits) struct SavedCell {
    pub(in crate::limits) key: Key,
    /// The time until it is full at the file's time, or the period and what was used in it.
    pub(in crate::limits) word: u64,
    pub(in crate::limits) measure: Measure,
}

impl SavedCell {
    /// The cell after some time; [`None`] if it is full then.
    pub(super) fn after(self, passed_nanos: u64, now: Now) -> Option<(Key, Cell)> {
        let word = match self.measure.refill {
            Refill::Gradual => {
                let debt = self.word.checked_sub(passed_nanos).filter(|debt| *debt > 0)?;
                // A bucket owes at most a second one.
                now.monotonic_nanos + debt.min(2 * self.measure.scale.fill_nanos())
            }
            Refill::Daily | Refill::Monthly => self.word,
        };
        Some((self.key, Cell::new(word, self.measure, 0)))
    }
}

/// Something with a fixed number of bytes in a part.
pub(super) trait Record: Copy {
    const BYTES: usize;
    fn write(&self, out: &mut Vec<u8>);
}

impl Record for SavedCell {
    const BYTES: usize = 37;

    fn write(&self, out: &mut Vec<u8>) {
        let Measure { scale, refill } = self.measure;
        let (high, low) = self.key.halves();
        for number in [high, low, self.word, scale.interval_nanos] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(&scale.burst.get().to_le_bytes());
        out.push(match refill {
            Refill::Gradual => 0,
            Refill::Daily => 1,
            Refill::Monthly => 2,
        });
    }
}

impl Record for (u64, u64) {
    const BYTES: usize = 16;

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.0.to_le_bytes());
        out.extend_from_slice(&self.1.to_le_bytes());
    }
}

fn key_of(secret: &[u8; 32]) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, secret)
}

/// The tag of the part of a place; the head is at place 0.
fn tag(key: &hmac::Key, place: u64, bytes: &[u8]) -> [u8; TAG_BYTES] {
    let mut context = hmac::Context::with_key(key);
    context.update(&place.to_le_bytes());
    context.update(bytes);
    let mut tag = [0; TAG_BYTES];
    tag.copy_from_slice(&context.sign().as_ref()[..TAG_BYTES]);
    tag
}

pub(super) struct Writer<W> {
    out: W,
    key: hmac::Key,
    place: u64,
    bytes: Vec<u8>,
}

impl<W: Write> Writer<W> {
    pub(super) fn new(out: W, key: &[u8; 32]) -> Self {
        Self { out, key: key_of(key), place: 0, bytes: Vec::new() }
    }

    pub(super) fn head(&mut self, head: &Head) -> io::Result<()> {
        self.bytes.extend_from_slice(FORMAT);
        let fingerprint = tag(&self.key, u64::MAX, FORMAT);
        self.bytes.extend_from_slice(&fingerprint);
        self.bytes.extend_from_slice(&head.secret);
        self.bytes.extend_from_slice(&head.unix_millis.to_le_bytes());
        for names in [&head.policies, &head.endpoints] {
            self.bytes.extend_from_slice(&(names.len() as u32).to_le_bytes());
            for (name, number) in names {
                self.bytes.extend_from_slice(&number.to_le_bytes());
                self.bytes.extend_from_slice(&(name.len() as u32).to_le_bytes());
                self.bytes.extend_from_slice(name.as_bytes());
            }
        }
        self.tagged()
    }

    /// Writes records as parts of a bounded size; nothing for none.
    pub(super) fn part(&mut self, kind: Kind, records: &[impl Record]) -> io::Result<()> {
        for some in records.chunks(PART_RECORDS) {
            self.bytes.push(match kind {
                Kind::Cells => 1,
                Kind::Failures => 2,
            });
            self.bytes.extend_from_slice(&(some.len() as u32).to_le_bytes());
            for record in some {
                record.write(&mut self.bytes);
            }
            self.tagged()?;
        }
        Ok(())
    }

    pub(super) fn end(mut self) -> io::Result<W> {
        self.bytes.extend_from_slice(&[0; 5]);
        self.tagged()?;
        Ok(self.out)
    }

    fn tagged(&mut self) -> io::Result<()> {
        let tag = tag(&self.key, self.place, &self.bytes);
        self.place += 1;
        self.out.write_all(&self.bytes)?;
        self.bytes.clear();
        self.out.write_all(&tag)
    }
}

#[derive(Debug)]
pub(super) enum Part {
    Cells(Vec<SavedCell>),
    /// Who holds a place, and the time until nothing is owed at the file's time.
    Failures(Vec<(u64, u64)>),
}

pub(super) struct Reader<R> {
    from: R,
    key: hmac::Key,
    place: u64,
    bytes: Vec<u8>,
}

impl<R: Read> Reader<R> {
    /// Reads the head, by whichever of the keys it was written.
    pub(super) fn open(from: R, keys: &[[u8; 32]]) -> Result<(Self, Head), NotRestored> {
        let mut reader = Self { from, key: key_of(&[0; 32]), place: 0, bytes: Vec::new() };
        let format = reader.take(FORMAT.len())?;
        if reader.bytes[format..] != FORMAT[..] {
            return Err(NotRestored::Format);
        }
        let found = reader.take(TAG_BYTES)?;
        let wrote = |key: &hmac::Key| reader.bytes[found..] == tag(key, u64::MAX, FORMAT);
        reader.key = keys.iter().map(key_of).find(wrote).ok_or(NotRestored::Foreign)?;
        let secret = reader.take(32)?;
        let secret = *reader.bytes[secret..].first_chunk().ok_or(NotRestored::Damaged)?;
        let unix_millis = reader.long()?;
        let policies = reader.names()?;
        let endpoints = reader.names()?;
        reader.check()?;
        Ok((reader, Head { secret, unix_millis, policies, endpoints }))
    }

    /// The next part; [`None`] at the end. After [`NotRestored::Damaged`] the next one may be good.
    pub(super) fn part(&mut self) -> Result<Option<Part>, NotRestored> {
        self.bytes.clear();
        let kind = self.take(1).map(|at| self.bytes[at])?;
        let count = self.number()? as usize;
        let record_bytes = match kind {
            0 if count == 0 => 0,
            1 => SavedCell::BYTES,
            2 => <(u64, u64)>::BYTES,
            _ => return Err(NotRestored::Format),
        };
        if count > PART_RECORDS {
            return Err(NotRestored::Format);
        }
        let start = self.take(count * record_bytes)?;
        self.check()?;
        let records = &self.bytes[start..];
        Ok(match kind {
            0 => None,
            1 => Some(Part::Cells(records.chunks_exact(SavedCell::BYTES).filter_map(saved_cell).collect())),
            _ => Some(Part::Failures(records.chunks_exact(record_bytes).filter_map(failure).collect())),
        })
    }

    fn names(&mut self) -> Result<Vec<(Arc<str>, u32)>, NotRestored> {
        let count = self.number()?;
        let mut names = Vec::new();
        for _ in 0..count {
            let number = self.number()?;
            let length = self.number()? as usize;
            if length > LONGEST_NAME_BYTES || self.bytes.len() > LONGEST_HEAD_BYTES {
                return Err(NotRestored::Damaged);
            }
            let start = self.take(length)?;
            let name = str::from_utf8(&self.bytes[start..]).map_err(|_| NotRestored::Damaged)?;
            names.push((Arc::from(name), number));
        }
        Ok(names)
    }

    fn number(&mut self) -> Result<u32, NotRestored> {
        let start = self.take(4)?;
        read_u32(&self.bytes[start..]).ok_or(NotRestored::Damaged)
    }

    fn long(&mut self) -> Result<u64, NotRestored> {
        let start = self.take(8)?;
        read_u64(&self.bytes[start..]).ok_or(NotRestored::Damaged)
    }

    /// Reads further bytes and answers with where they stand.
    fn take(&mut self, count: usize) -> Result<usize, NotRestored> {
        let start = self.bytes.len();
        self.bytes.resize(start + count, 0);
        self.from.read_exact(&mut self.bytes[start..]).map_err(early)?;
        Ok(start)
    }

    /// Reads a tag and compares it with that of the bytes since the last.
    fn check(&mut self) -> Result<(), NotRestored> {
        let expected = tag(&self.key, self.place, &self.bytes);
        self.place += 1;
        let mut found = [0; TAG_BYTES];
        self.from.read_exact(&mut found).map_err(early)?;
        if found == expected { Ok(()) } else { Err(NotRestored::Damaged) }
    }
}

fn early(error: io::Error) -> NotRestored {
    if error.kind() == io::ErrorKind::UnexpectedEof { NotRestored::Truncated } else { error.into() }
}

fn read_u64(bytes: &[u8]) -> Option<u64> {
    bytes.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))
}

fn read_u32(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
}

fn failure(record: &[u8]) -> Option<(u64, u64)> {
    Some((read_u64(record)?, read_u64(&record[8..])?))
}

fn saved_cell(record: &[u8]) -> Option<SavedCell> {
    let long = |at: usize| read_u64(&record[at * 8..]);
    let scale = Scale { interval_nanos: long(3)?, burst: NonZeroU32::new(read_u32(&record[32..])?)? };
    let refill = match record[36] {
        0 => Refill::Gradual,
        1 => Refill::Daily,
        2 => Refill::Monthly,
        _ => return None,
    };
    let fill = scale.interval_nanos.checked_mul(u64::from(scale.burst.get()))?;
    let is_sane = scale.interval_nanos > 0 && fill <= LONGEST_FILL_NANOS;
    let key = Key::of_halves(long(0)?, long(1)?);
    is_sane.then_some(SavedCell { key, word: long(2)?, measure: Measure { scale, refill } })
}
