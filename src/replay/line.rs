//! One line of the access log, read back.

use std::borrow::Cow;
use std::io::{self, BufRead, Read as _};
use std::net::SocketAddr;

use serde::Deserialize;

use super::report::Malformed;
use crate::domain::{Outcome, Plan, Role};

/// The longest line, in bytes; the gateway writes none longer than a few kilobytes.
const LONGEST_LINE_BYTES: u64 = 64 * 1024;

/// A request as the log tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) unix_millis: u64,
    pub(super) outcome: Outcome,
    pub(super) status: u16,
    pub(super) method: Box<[u8]>,
    pub(super) path: Box<[u8]>,
    pub(super) accept: Box<[u8]>,
    pub(super) content_type: Box<[u8]>,
    pub(super) workspace: Option<Box<str>>,
    pub(super) token: Option<Box<str>>,
    pub(super) issuer: Option<Box<str>>,
    pub(super) plan: Option<Plan>,
    pub(super) role: Option<Role>,
    pub(super) region: Option<Box<str>>,
    pub(super) peer: Option<SocketAddr>,
    pub(super) total_micros: u64,
    /// One in so many served requests was written.
    pub(super) sample: u32,
}

#[derive(Deserialize)]
struct Written<'l> {
    #[serde(borrow)]
    time: Cow<'l, str>,
    #[serde(borrow)]
    outcome: Cow<'l, str>,
    status: u16,
    #[serde(borrow)]
    method: Cow<'l, str>,
    #[serde(borrow)]
    path: Cow<'l, str>,
    #[serde(borrow, default)]
    accept: Cow<'l, str>,
    #[serde(borrow, default)]
    content_type: Cow<'l, str>,
    workspace_id: Option<String>,
    token_id: Option<String>,
    issuer: Option<String>,
    plan: Option<Plan>,
    role: Option<Role>,
    region: Option<String>,
    peer: Option<SocketAddr>,
    #[serde(default)]
    total_micros: u64,
    #[serde(default = "every")]
    sample: u32,
}

const fn every() -> u32 {
    1
}

/// Reads a log line by line into one buffer.
pub(super) struct Lines<'r> {
    log: &'r mut dyn BufRead,
    buffer: Vec<u8>,
    read: u64,
}

impl<'r> Lines<'r> {
    pub(super) fn new(log: &'r mut dyn BufRead) -> Self {
        Self { log, buffer: Vec::new(), read: 0 }
    }

    /// How many lines were read.
    pub(super) const fn read(&self) -> u64 {
        self.read
    }

    /// The next line; [`None`] after the last. Empty lines are passed over.
    pub(super) fn next(&mut self) -> io::Result<Option<Result<Line, Malformed>>> {
        loop {
            self.buffer.clear();
            let count = self.log.take(LONGEST_LINE_BYTES).read_until(b'\n', &mut self.buffer)?;
            if count == 0 {
                return Ok(None);
            }
            self.read += 1;
            if count as u64 == LONGEST_LINE_BYTES && !self.buffer.ends_with(b"\n") {
                self.log.skip_until(b'\n')?;
                let reason = format!("it is longer than {LONGEST_LINE_BYTES} bytes");
                return Ok(Some(Err(Malformed { line: self.read, reason })));
            }
            if !self.buffer.trim_ascii().is_empty() {
                let parsed =
                    parse(self.buffer.trim_ascii()).map_err(|reason| Malformed { line: self.read, reason });
                return Ok(Some(parsed));
            }
        }
    }
}

fn parse(bytes: &[u8]) -> Result<Line, String> {
    let written: Written<'_> = serde_json::from_slice(bytes).map_err(|error| {
        format!(
            "it is no line of a JSON access log (column {}); is it of `logs.format = \"json\"`, and whole?",
            error.column()
        )
    })?;
    let time: jiff::Timestamp =
        written.time.parse().map_err(|_| format!("`time` is no time: {:.40}", written.time))?;
    let unix_millis = u64::try_from(time.as_millisecond()).map_err(|_| "`time` is before 1970".to_owned())?;
    let outcome = Outcome::by_reason(&written.outcome)
        .ok_or_else(|| format!("there is no outcome `{:.40}`", written.outcome))?;
    let text = |text: Option<String>| text.map(String::into_boxed_str);
    Ok(Line {
        unix_millis,
        outcome,
        status: written.status,
        method: unescaped(&written.method),
        path: unescaped(&written.path),
        accept: unescaped(&written.accept),
        content_type: unescaped(&written.content_type),
        workspace: text(written.workspace_id),
        token: text(written.token_id),
        issuer: text(written.issuer),
        plan: written.plan,
        role: written.role,
        region: text(written.region),
        peer: written.peer,
        total_micros: written.total_micros,
        sample: written.sample,
    })
}

/// Undoes the log's `\xNN` for bytes that are not printable ASCII.
fn unescaped(text: &str) -> Box<[u8]> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some(at) = memchr::memchr(b'\\', rest) {
        let escape = rest[at..].strip_prefix(b"\\x").and_then(|digits| digits.get(..2));
        let byte = escape.and_then(|digits| u8::from_str_radix(str::from_utf8(digits).ok()?, 16).ok());
        out.extend_from_slice(&rest[..at]);
        out.push(byte.unwrap_or(b'\\'));
        rest = &rest[at + if byte.is_some() { 4 } else { 1 }..];
    }
    out.extend_from_slice(rest);
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str) -> Vec<Result<Line, Malformed>> {
        let mut log = text.as_bytes();
        let mut lines = Lines::new(&mut log);
        std::iter::from_fn(|| lines.next().unwrap()).collect()
    }

    #[test]
    fn what_is_no_line_is_told_by_its_number() {
        let good = r#"{"time":"2026-11-25T10:00:00.250Z","outcome":"forwarded","status":200,"method":"GET","path":"/a"}"#;
        let long = format!("{good}{}\n", " ".repeat(200_000));
        let text = format!(
            "{good}\n\nnot json\n{{}}\n{}\n{}\n{long}{good}",
            good.replace("forwarded", "fine"),
            good.replace("2026", "day")
        );
        let found = all(&text);
        let bad: Vec<u64> = found.iter().filter_map(|line| Some(line.as_ref().err()?.line)).collect();
        assert_eq!(bad, [3, 4, 5, 6, 7]);
        let good: Vec<&Line> = found.iter().filter_map(|line| line.as_ref().ok()).collect();
        assert_eq!(good.len(), 2);
        assert_eq!((good[0].unix_millis, good[0].sample), (1_795_600_800_250, 1));
    }

    #[test]
    fn bytes_come_back_as_they_were() {
        assert_eq!(&*unescaped(r"/a\xff\x0a%2F"), b"/a\xff\n%2F");
        assert_eq!(&*unescaped(r"\\x"), br"\\x");
        assert_eq!(&*unescaped(r"\xzz\"), br"\xzz\");
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_can_be_read(bytes: Vec<u8>) {
            let mut log = &bytes[..];
            let mut lines = Lines::new(&mut log);
            while lines.next().unwrap().is_some() {}
        }
    }
}
