//! One request as one line, JSON or text.

use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

use super::labels::Labels;
use super::masking::masked;
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
            out.reserve(LIKELY_BYTES);
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

/// What a line takes, so that its buffer seldom grows while it is written.
const LIKELY_BYTES: usize = 1_024;

/// A pair's name with all that stands around it, put together when the program is compiled.
#[derive(Clone, Copy)]
struct Key {
    /// `,"name":"`; a number leaves the last quotation mark out.
    json: &'static str,
    /// ` name=`
    text: &'static str,
}

macro_rules! key {
    ($name:literal) => {
        Key { json: concat!(",\"", $name, "\":\""), text: concat!(" ", $name, "=") }
    };
}

/// Says everything that is known, in one order.
fn pairs(facts: &Facts, outcome: Outcome, sample: u32, labels: &Labels, line: &mut impl Pairs) {
    line.word(key!("time"), Timestamp::new(facts.arrived.unix_millis).as_str());
    line.word(key!("outcome"), outcome.reason());
    line.number(key!("status"), u64::from(facts.status));
    line.word(key!("method"), facts.method_name());
    line.text(key!("path"), &masked(facts.path()));
    labels.with_operation(facts.operation, |name| line.text(key!("operation"), name.as_bytes()));
    if let Some(version) = facts.api_version {
        line.text(key!("api_version"), version.to_string().as_bytes());
    }
    if let Some(id) = &facts.workspace_id {
        line.text(key!("workspace_id"), id.as_bytes());
    }
    if let Some(id) = &facts.token_id {
        line.text(key!("token_id"), id.as_bytes());
    }
    if let Some(issuer) = &facts.issuer {
        line.text(key!("issuer"), issuer.as_bytes());
    }
    if let (Some(plan), Some(role)) = (facts.plan, facts.role) {
        line.word(key!("plan"), plan.name());
        line.word(key!("role"), role.name());
    }
    if facts.deprecated {
        line.word(key!("deprecated"), "yes");
    }
    labels.with_region(facts.region, |name| line.text(key!("region"), name.as_bytes()));
    if let Some(upstream) = &facts.upstream {
        line.text(key!("upstream"), upstream.as_bytes());
    }
    if let Some(policy) = facts.policy {
        labels.with_policy(policy, |name| line.text(key!("policy"), name.as_bytes()));
    }
    if let Some(policy) = facts.would_refuse {
        labels.with_policy(policy, |name| line.text(key!("would_refuse"), name.as_bytes()));
    }
    line.word(key!("forwarded"), facts.forwarded.get().name());
    if facts.retries > 0 {
        line.number(key!("retries"), u64::from(facts.retries));
    }
    line.number(key!("bytes_in"), facts.bytes_in);
    line.number(key!("bytes_out"), facts.bytes_out);
    line.number(key!("total_micros"), micros(facts.total));
    line.number(key!("overhead_micros"), micros(facts.overhead.unwrap_or(facts.total)));
    if let Some(time) = facts.upstream_time {
        line.number(key!("upstream_micros"), micros(time));
    }
    if let Some(peer) = facts.peer {
        line.word(key!("peer"), Address::new(peer).as_str());
    }
    if !facts.user_agent().is_empty() {
        line.text(key!("user_agent"), &masked(facts.user_agent()));
    }
    if !facts.accept().is_empty() {
        line.text(key!("accept"), &masked(facts.accept()));
    }
    if !facts.content_type().is_empty() {
        line.text(key!("content_type"), &masked(facts.content_type()));
    }
    line.word(key!("protocol"), facts.protocol);
    line.word(key!("request_id"), facts.request_id.as_str());
    line.word(key!("trace_id"), facts.trace.trace_id());
    if sample > 1 {
        line.number(key!("sample"), u64::from(sample));
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// A line being written, each pair with its separator in front.
trait Pairs {
    /// A value of our own that needs no escape.
    fn word(&mut self, key: Key, value: &str);
    /// A value from anywhere.
    fn text(&mut self, key: Key, value: &[u8]);
    fn number(&mut self, key: Key, value: u64);
}

struct Json<'o>(&'o mut Vec<u8>);

impl Pairs for Json<'_> {
    #[inline]
    fn word(&mut self, key: Key, value: &str) {
        self.0.extend_from_slice(key.json.as_bytes());
        self.0.extend_from_slice(value.as_bytes());
        self.0.push(b'"');
    }

    #[inline]
    fn text(&mut self, key: Key, value: &[u8]) {
        self.0.extend_from_slice(key.json.as_bytes());
        push_escaped(self.0, value, b"\\\\x");
        self.0.push(b'"');
    }

    #[inline]
    fn number(&mut self, key: Key, value: u64) {
        self.0.extend_from_slice(&key.json.as_bytes()[..key.json.len() - 1]);
        self.0.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    }
}

struct Text<'o>(&'o mut Vec<u8>);

impl Pairs for Text<'_> {
    fn word(&mut self, key: Key, value: &str) {
        self.0.extend_from_slice(key.text.as_bytes());
        self.0.extend_from_slice(value.as_bytes());
    }

    fn text(&mut self, key: Key, value: &[u8]) {
        self.0.extend_from_slice(key.text.as_bytes());
        let quoted = value.is_empty() || value.iter().any(|byte| matches!(byte, b' ' | b'='));
        if quoted {
            self.0.push(b'"');
        }
        push_escaped(self.0, value, b"\\x");
        if quoted {
            self.0.push(b'"');
        }
    }

    fn number(&mut self, key: Key, value: u64) {
        self.0.extend_from_slice(key.text.as_bytes());
        self.0.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    }
}

/// An address and port as text, in place: what `Display` writes, at a tenth of its price for IPv4.
pub(super) struct Address {
    bytes: [u8; 64],
    length: usize,
}

impl Address {
    pub(super) fn new(peer: SocketAddr) -> Self {
        let mut address = Self { bytes: [0; 64], length: 0 };
        match peer {
            SocketAddr::V4(peer) => {
                for (at, octet) in peer.ip().octets().into_iter().enumerate() {
                    address.push(if at == 0 { b"" } else { b"." });
                    address.push(itoa::Buffer::new().format(octet).as_bytes());
                }
            }
            SocketAddr::V6(peer) => {
                let mut rest = &mut address.bytes[..];
                let written = write!(rest, "[{}]", peer.ip());
                let left = rest.len();
                address.length = if written.is_ok() { address.bytes.len() - left } else { 0 };
            }
        }
        address.push(b":");
        address.push(itoa::Buffer::new().format(peer.port()).as_bytes());
        address
    }

    fn push(&mut self, part: &[u8]) {
        let end = self.length + part.len();
        if let Some(place) = self.bytes.get_mut(self.length..end) {
            place.copy_from_slice(part);
            self.length = end;
        }
    }

    pub(super) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..self.length]).unwrap_or_default()
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
