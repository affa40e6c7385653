//! One request as one line, JSON or text.

use std::io::Write;
use std::net::IpAddr;
use std::time::Duration;

use super::labels::Labels;
use super::{Facts, Format};
use crate::domain::Outcome;

/// Appends the line of a closed record, line feed included.
pub(super) fn write(
    format: Format,
    facts: &Facts,
    outcome: Outcome,
    sample: u32,
    labels: &Labels,
    out: &mut Vec<u8>,
) {
    match format {
        Format::Json => {
            let start = out.len();
            pairs(facts, outcome, sample, labels, &mut Json(out));
            out[start] = b'{';
            out.extend_from_slice(b"}\n");
        }
        Format::Text => {
            let start = out.len();
            pairs(facts, outcome, sample, labels, &mut Text(out));
            out.remove(start);
            out.push(b'\n');
        }
    }
}

/// Says everything that is known, in one order.
fn pairs(facts: &Facts, outcome: Outcome, sample: u32, labels: &Labels, line: &mut impl Pairs) {
    line.word("time", Timestamp::new(facts.arrived.unix_millis).as_str());
    line.word("outcome", outcome.reason());
    line.number("status", u64::from(facts.status));
    line.word("method", facts.method_name());
    line.text("path", facts.path());
    labels.with_operation(facts.operation, |name| line.text("operation", name.as_bytes()));
    if let Some(version) = facts.api_version {
        line.text("api_version", version.to_string().as_bytes());
    }
    if let Some(id) = &facts.workspace_id {
        line.text("workspace_id", id.as_bytes());
    }
    if let Some(id) = &facts.token_id {
        line.text("token_id", id.as_bytes());
    }
    labels.with_region(facts.region, |name| line.text("region", name.as_bytes()));
    if let Some(upstream) = &facts.upstream {
        line.text("upstream", upstream.as_bytes());
    }
    if let Some(policy) = facts.policy {
        labels.with_policy(policy, |name| line.text("policy", name.as_bytes()));
    }
    line.word("forwarded", facts.forwarded.name());
    if facts.retries > 0 {
        line.number("retries", u64::from(facts.retries));
    }
    line.number("bytes_in", facts.bytes_in);
    line.number("bytes_out", facts.bytes_out);
    line.number("total_micros", micros(facts.total));
    line.number("overhead_micros", micros(facts.overhead.unwrap_or(facts.total)));
    if let Some(time) = facts.upstream_time {
        line.number("upstream_micros", micros(time));
    }
    if let Some(peer) = facts.peer {
        line.address("peer", peer.ip(), peer.port());
    }
    if !facts.user_agent().is_empty() {
        line.text("user_agent", facts.user_agent());
    }
    line.word("protocol", facts.protocol);
    line.word("request_id", facts.request_id.as_str());
    if sample > 1 {
        line.number("sample", u64::from(sample));
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// A line being written, each pair with its separator in front.
trait Pairs {
    /// A value of our own that needs no escape.
    fn word(&mut self, name: &'static str, value: &str);
    /// A value from anywhere.
    fn text(&mut self, name: &'static str, value: &[u8]);
    fn number(&mut self, name: &'static str, value: u64);

    fn address(&mut self, name: &'static str, ip: IpAddr, port: u16) {
        let mut bytes = [0_u8; 64];
        let mut rest = &mut bytes[..];
        let written = match ip {
            IpAddr::V4(ip) => write!(rest, "{ip}:{port}"),
            IpAddr::V6(ip) => write!(rest, "[{ip}]:{port}"),
        };
        let left = rest.len();
        let text = std::str::from_utf8(&bytes[..bytes.len() - left]).unwrap_or_default();
        if written.is_ok() {
            self.word(name, text);
        }
    }
}

struct Json<'o>(&'o mut Vec<u8>);

impl Json<'_> {
    fn name(&mut self, name: &str) {
        self.0.extend_from_slice(b",\"");
        self.0.extend_from_slice(name.as_bytes());
        self.0.extend_from_slice(b"\":");
    }
}

impl Pairs for Json<'_> {
    fn word(&mut self, name: &'static str, value: &str) {
        self.name(name);
        self.0.push(b'"');
        self.0.extend_from_slice(value.as_bytes());
        self.0.push(b'"');
    }

    fn text(&mut self, name: &'static str, value: &[u8]) {
        self.name(name);
        self.0.push(b'"');
        push_escaped(self.0, value, b"\\\\x");
        self.0.push(b'"');
    }

    fn number(&mut self, name: &'static str, value: u64) {
        self.name(name);
        self.0.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    }
}

struct Text<'o>(&'o mut Vec<u8>);

impl Text<'_> {
    fn name(&mut self, name: &str) {
        self.0.push(b' ');
        self.0.extend_from_slice(name.as_bytes());
        self.0.push(b'=');
    }
}

impl Pairs for Text<'_> {
    fn word(&mut self, name: &'static str, value: &str) {
        self.name(name);
        self.0.extend_from_slice(value.as_bytes());
    }

    fn text(&mut self, name: &'static str, value: &[u8]) {
        self.name(name);
        let quoted = value.is_empty() || value.iter().any(|byte| matches!(byte, b' ' | b'='));
        if quoted {
            self.0.push(b'"');
        }
        push_escaped(self.0, value, b"\\x");
        if quoted {
            self.0.push(b'"');
        }
    }

    fn number(&mut self, name: &'static str, value: u64) {
        self.name(name);
        self.0.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    }
}

/// Appends printable ASCII as it is, quotation mark and reverse solidus behind a reverse solidus, and every
/// other byte as `hex_lead` and two digits: neither a line feed nor a terminal's escape ever gets through.
fn push_escaped(out: &mut Vec<u8>, value: &[u8], hex_lead: &[u8]) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut plain_from = 0;
    for (at, &byte) in value.iter().enumerate() {
        if matches!(byte, 0x20..=0x7e) && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.extend_from_slice(&value[plain_from..at]);
        plain_from = at + 1;
        if matches!(byte, b'"' | b'\\') {
            out.extend_from_slice(&[b'\\', byte]);
        } else {
            out.extend_from_slice(hex_lead);
            out.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
    }
    out.extend_from_slice(&value[plain_from..]);
}

/// A moment as RFC 3339 in UTC with milliseconds.
pub(super) struct Timestamp([u8; 24]);

impl Timestamp {
    /// By the days-to-civil algorithm (Howard Hinnant, "chrono-compatible low-level date algorithms").
    pub(super) fn new(unix_millis: u64) -> Self {
        let seconds = unix_millis / 1_000;
        let (days, second_of_day) = (seconds / 86_400, seconds % 86_400);
        let shifted = days + 719_468;
        let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
        let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
        let year = year_of_era + era * 400 + u64::from(month <= 2);
        let mut text = *b"0000-00-00T00:00:00.000Z";
        digits(&mut text[0..4], year);
        digits(&mut text[5..7], month);
        digits(&mut text[8..10], day);
        digits(&mut text[11..13], second_of_day / 3_600);
        digits(&mut text[14..16], second_of_day / 60 % 60);
        digits(&mut text[17..19], second_of_day % 60);
        digits(&mut text[20..23], unix_millis % 1_000);
        Self(text)
    }

    pub(super) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

fn digits(place: &mut [u8], mut number: u64) {
    for digit in place.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}
