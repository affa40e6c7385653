//! What a target shows by itself: faults, escapes, and how other implementations could read it.

/// A target that two implementations could read in two ways. Said before anybody is identified, with 400
/// `ambiguous_path`. The number is the offset in the target, in bytes from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathFault {
    /// Not origin form (RFC 9112, section 3.2.1).
    #[error("the request target does not start with `/`; send a path, for example `/sources`")]
    NotOriginForm,
    /// `//`, or a segment that is empty up to its `;`.
    #[error("the path has an empty segment at byte {0}; send single slashes (does the base URL end in one?)")]
    EmptySegment(usize),
    /// `.` or `..`, also escaped, escaped twice, before `;`, or between escaped slashes.
    #[error("the path has a `.` or `..` segment at byte {0}; send the path that it stands for")]
    DotSegment(usize),
    /// `\` or `%5C`.
    #[error("the path has a backslash at byte {0}, which some servers take for a slash; leave it out")]
    Backslash(usize),
    /// A control byte, raw or escaped, NUL among them.
    #[error("the request target has a control character at byte {0}; leave it out")]
    ControlByte(usize),
    /// `%` without two hex digits.
    #[error("`%` at byte {0} of the path is not followed by two hex digits; write `%25` for a percent sign")]
    BrokenEscape(usize),
    /// Escapes that are no UTF-8: overlong, cut short, a surrogate, or another encoding.
    #[error("the escapes at byte {0} of the path are not valid UTF-8; escape the bytes of the UTF-8 text")]
    InvalidUtf8(usize),
    /// A byte of 0x80 or more in the path.
    #[error("the path has a byte outside ASCII at byte {0}; percent-encode it")]
    NonAscii(usize),
    /// `#`: a fragment is not part of a request.
    #[error("the request target has a `#` at byte {0}; leave the fragment out or write `%23`")]
    Fragment(usize),
    /// A space.
    #[error("the request target has a space at byte {0}; write `%20`")]
    Space(usize),
}

/// What a look at a faultless target found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Scan {
    /// Where the path ends and `?` or nothing follows.
    pub(super) path_end: usize,
    /// Whether the path holds a `%`.
    pub(super) escapes: bool,
    /// Whether it holds an escaped slash, or an escape within an escape (`%25` before two hex digits).
    pub(super) hidden: bool,
}

const SLASH: u8 = 1;
const DOUBLE_SLASH: u8 = 2;
const ESCAPE: u8 = 4;
const CLOSER_LOOK: u8 = 8;

const CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        classes[byte] = match byte as u8 {
            b'/' => SLASH,
            b'%' => ESCAPE,
            0..=b' ' | b'#' | b'.' | b';' | b'\\' | 0x7f.. => CLOSER_LOOK,
            _ => 0,
        };
        byte += 1;
    }
    classes
};

/// Looks for faults. One pass over a plain path; a second one where a byte asks for it.
pub(super) fn scan(target: &[u8]) -> Result<Scan, PathFault> {
    let path_end = memchr::memchr(b'?', target).unwrap_or(target.len());
    let (path, query) = target.split_at(path_end);
    if path.first() != Some(&b'/') {
        return Err(PathFault::NotOriginForm);
    }
    let (mut seen, mut previous) = (0, 0);
    for &byte in path {
        let class = CLASSES[usize::from(byte)];
        seen |= class | ((class & previous & SLASH) << 1);
        previous = class;
    }
    let hidden = if seen & (DOUBLE_SLASH | ESCAPE | CLOSER_LOOK) == 0 { false } else { look_closer(path)? };
    match query.iter().position(|byte| matches!(byte, 0..=b' ' | b'#' | 0x7f)) {
        Some(at) => Err(raw_fault(query[at], path_end + at).unwrap_or(PathFault::ControlByte(path_end + at))),
        None => Ok(Scan { path_end, escapes: seen & ESCAPE != 0, hidden }),
    }
}

/// The second pass: segment by segment. Answers whether something is hidden in escapes.
fn look_closer(path: &[u8]) -> Result<bool, PathFault> {
    let mut hidden = false;
    let mut start = 1;
    loop {
        let end = memchr::memchr(b'/', &path[start..]).map_or(path.len(), |length| start + length);
        let segment = &path[start..end];
        if (segment.is_empty() && end < path.len()) || segment.first() == Some(&b';') {
            return Err(PathFault::EmptySegment(start));
        }
        hidden |= check_bytes(path, start, end)?;
        if has_dot_segment(segment) {
            return Err(PathFault::DotSegment(start));
        }
        if end == path.len() {
            return Ok(hidden);
        }
        start = end + 1;
    }
}

fn check_bytes(path: &[u8], start: usize, end: usize) -> Result<bool, PathFault> {
    let segment = &path[..end];
    let mut hidden = false;
    let mut at = start;
    while at < end {
        if segment[at] != b'%' {
            if let Some(fault) = raw_fault(segment[at], at) {
                return Err(fault);
            }
            at += 1;
            continue;
        }
        let byte = escaped_byte(segment, at).ok_or(PathFault::BrokenEscape(at))?;
        match byte {
            0..0x20 | 0x7f => return Err(PathFault::ControlByte(at)),
            b'\\' => return Err(PathFault::Backslash(at)),
            0x80.. => {
                at = check_utf8(segment, at, byte)?;
                continue;
            }
            b'%' => hidden |= begins_with_two_hex_digits(&segment[at + 3..]),
            b'/' => hidden = true,
            b' '..=b'~' => {}
        }
        at += 3;
    }
    Ok(hidden)
}

fn raw_fault(byte: u8, at: usize) -> Option<PathFault> {
    match byte {
        b' ' => Some(PathFault::Space(at)),
        b'#' => Some(PathFault::Fragment(at)),
        b'\\' => Some(PathFault::Backslash(at)),
        0..0x20 | 0x7f => Some(PathFault::ControlByte(at)),
        0x80.. => Some(PathFault::NonAscii(at)),
        b'!'..=b'~' => None,
    }
}

/// Checks the escaped UTF-8 sequence at `at` and answers where it ends.
fn check_utf8(segment: &[u8], at: usize, first: u8) -> Result<usize, PathFault> {
    let width = match first {
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf4 => 4,
        0..=0xc1 | 0xf5.. => return Err(PathFault::InvalidUtf8(at)),
    };
    let mut sequence = [0; 4];
    for (index, slot) in sequence.iter_mut().take(width).enumerate() {
        *slot = escaped_byte(segment, at + 3 * index).ok_or(PathFault::InvalidUtf8(at))?;
    }
    std::str::from_utf8(&sequence[..width]).map_err(|_| PathFault::InvalidUtf8(at))?;
    Ok(at + 3 * width)
}

fn begins_with_two_hex_digits(rest: &[u8]) -> bool {
    units(rest).take(2).filter(|unit| unit.byte.is_ascii_hexdigit()).count() == 2
}

/// Whether any reading of a segment (escapes undone to the end, `;…` cut off) holds `.` or `..`.
fn has_dot_segment(segment: &[u8]) -> bool {
    let holds = |text: &[u8]| {
        text.split(|byte| matches!(byte, b'/' | b'\\'))
            .any(|piece| matches!(up_to_semicolon(piece), b"." | b".."))
    };
    if !segment.contains(&b'%') {
        return holds(segment);
    }
    let possible = units(segment).any(|unit| unit.byte == b'.' || (unit.escaped && unit.byte == b'%'));
    possible && holds(&unescape_fully(segment))
}

/// One character of a segment, with its escape undone.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unit {
    pub(super) byte: u8,
    pub(super) escaped: bool,
}

/// The bytes of a segment with escapes undone once.
pub(super) fn units(mut rest: &[u8]) -> impl Iterator<Item = Unit> {
    std::iter::from_fn(move || {
        let (&first, after) = rest.split_first()?;
        if first == b'%'
            && let Some(byte) = escaped_byte(rest, 0)
        {
            rest = &rest[3..];
            return Some(Unit { byte, escaped: true });
        }
        rest = after;
        Some(Unit { byte: first, escaped: false })
    })
}

fn escaped_byte(text: &[u8], at: usize) -> Option<u8> {
    match text.get(at..at + 3)? {
        [b'%', high, low] => hex_pair(*high, *low),
        _ => None,
    }
}

fn hex_pair(high: u8, low: u8) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}

/// Characters that need no escape (RFC 3986, section 2.3), so that escaping them changes nothing.
pub(super) const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// Every escape undone once.
pub(super) fn unescape_once(path: &[u8]) -> Vec<u8> {
    units(path).map(|unit| unit.byte).collect()
}

/// Every escape undone until none is left, in one pass.
pub(super) fn unescape_fully(path: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(path.len());
    for &byte in path {
        text.push(byte);
        while let [.., b'%', high, low] = text[..]
            && let Some(undone) = hex_pair(high, low)
        {
            text.truncate(text.len() - 3);
            text.push(undone);
        }
    }
    text
}

/// An unescaped path as the most lenient upstream could read it: lower case, without `;…` and empty segments.
pub(super) fn lenient(unescaped: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(unescaped.len());
    for segment in unescaped.split(|byte| matches!(byte, b'/' | b'\\')) {
        let name = up_to_semicolon(segment);
        if !name.is_empty() {
            text.push(b'/');
            text.extend(name.iter().map(u8::to_ascii_lowercase));
        }
    }
    if text.is_empty() {
        text.push(b'/');
    }
    text
}

/// A segment without its path parameters (RFC 3986, section 3.3).
pub(super) fn up_to_semicolon(segment: &[u8]) -> &[u8] {
    &segment[..memchr::memchr(b';', segment).unwrap_or(segment.len())]
}

/// Whether a path is the gateway's own: its first segment reads `tollgate` in any spelling. Such a request is
/// never forwarded, also if no own page answers it. For paths without a [`PathFault`].
pub fn is_own(path: &[u8]) -> bool {
    let Some(rest) = path.strip_prefix(b"/") else { return false };
    if !matches!(rest.first(), Some(b't' | b'T' | b'%')) {
        return false;
    }
    let segment = &rest[..memchr::memchr(b'/', rest).unwrap_or(rest.len())];
    units(segment)
        .map(|unit| unit.byte.to_ascii_lowercase())
        .take_while(|byte| *byte != b';')
        .eq(*b"tollgate")
}
