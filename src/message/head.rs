//! A request head: method, target and fields, kept as the bytes that arrived.

use std::ops::Range;

use super::FieldName;

/// The protocol version a request came with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1
    Http11,
    /// HTTP/2
    Http2,
}

impl Version {
    /// As written in a request line, a log or `Via`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Http10 => "HTTP/1.0",
            Self::Http11 => "HTTP/1.1",
            Self::Http2 => "HTTP/2.0",
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Span {
    start: u32,
    end: u32,
}

impl Span {
    const EMPTY: Self = Self { start: 0, end: 0 };

    const fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

#[derive(Clone, Copy, Debug)]
struct FieldSpan {
    name: Span,
    value: Span,
    known: FieldName,
}

/// One field line.
#[derive(Clone, Copy, Debug)]
pub struct Field<'h> {
    /// The name as sent.
    pub name: &'h [u8],
    /// The value as sent, without the white space around it.
    pub value: &'h [u8],
    /// The name, recognised.
    pub known: FieldName,
}

/// A request head in one buffer. Reusable: [`Head::clear`] keeps the memory.
#[derive(Debug)]
pub struct Head {
    bytes: Vec<u8>,
    fields: Vec<FieldSpan>,
    method: Span,
    target: Span,
    /// Where the target's first `?` stands, or its end.
    path_end: u32,
    version: Version,
}

impl Default for Head {
    fn default() -> Self {
        Self {
            bytes: Vec::new(),
            fields: Vec::new(),
            method: Span::EMPTY,
            target: Span::EMPTY,
            path_end: 0,
            version: Version::Http11,
        }
    }
}

impl Head {
    /// An empty head.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty head with room for most messages.
    pub fn with_room() -> Self {
        Self { bytes: Vec::with_capacity(768), fields: Vec::with_capacity(24), ..Self::default() }
    }

    /// Builds a head from its parts, as HTTP/2 and tests do.
    pub fn from_parts<'f>(
        version: Version,
        method: &[u8],
        target: &[u8],
        fields: impl IntoIterator<Item = (&'f [u8], &'f [u8])>,
    ) -> Self {
        let mut head = Self::new();
        head.start(version, method, target);
        for (name, value) in fields {
            head.push(name, value);
        }
        head
    }

    /// Forgets the request and keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.fields.clear();
        self.method = Span::EMPTY;
        self.target = Span::EMPTY;
        self.path_end = 0;
    }

    /// Sets the request line of a cleared head.
    pub fn start(&mut self, version: Version, method: &[u8], target: &[u8]) {
        self.version = version;
        self.method = self.append(method);
        self.target = self.append(target);
        let path_bytes = memchr::memchr(b'?', target).unwrap_or(target.len());
        self.path_end = self.target.start + path_bytes as u32;
    }

    /// Adds a field line; its name, recognised.
    pub fn push(&mut self, name: &[u8], value: &[u8]) -> FieldName {
        let known = FieldName::of(name);
        let name = self.append(name);
        let value = self.append(value);
        self.fields.push(FieldSpan { name, value, known });
        known
    }

    /// Bytes of method, target, names and values.
    #[expect(clippy::len_without_is_empty, reason = "a head that was started is never empty")]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The method token.
    pub fn method(&self) -> &[u8] {
        &self.bytes[self.method.range()]
    }

    /// The request target in origin form, byte for byte as sent.
    pub fn target(&self) -> &[u8] {
        &self.bytes[self.target.range()]
    }

    /// The target up to the first `?`.
    pub fn path(&self) -> &[u8] {
        &self.bytes[self.target.start as usize..self.path_end as usize]
    }

    /// The target after the first `?`, if there is one.
    pub fn query(&self) -> Option<&[u8]> {
        (self.path_end < self.target.end)
            .then(|| &self.bytes[self.path_end as usize + 1..self.target.end as usize])
    }

    /// The protocol version.
    pub const fn version(&self) -> Version {
        self.version
    }

    /// Every field line in order.
    pub fn fields(&self) -> impl Iterator<Item = Field<'_>> {
        self.fields.iter().map(|span| Field {
            name: &self.bytes[span.name.range()],
            value: &self.bytes[span.value.range()],
            known: span.known,
        })
    }

    /// The values of every line of a known field, in order.
    pub fn all(&self, name: FieldName) -> impl Iterator<Item = &[u8]> {
        self.fields.iter().filter(move |span| span.known == name).map(|span| &self.bytes[span.value.range()])
    }

    /// The value of a known field's first line.
    pub fn first(&self, name: FieldName) -> Option<&[u8]> {
        self.all(name).next()
    }

    fn append(&mut self, part: &[u8]) -> Span {
        let start = self.bytes.len() as u32;
        self.bytes.extend_from_slice(part);
        Span { start, end: self.bytes.len() as u32 }
    }
}

/// Appends one field line.
pub fn push_line(lines: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    lines.extend_from_slice(name);
    lines.extend_from_slice(b": ");
    lines.extend_from_slice(value);
    lines.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_keeps_bytes_and_splits_the_target_at_the_first_question_mark() {
        let head = Head::from_parts(
            Version::Http11,
            b"GET",
            b"/a%2Fb?x=[1]?",
            [(&b"Accept"[..], &b"a"[..]), (b"ACCEPT", b"b")],
        );
        assert_eq!(head.path(), b"/a%2Fb");
        assert_eq!(head.query(), Some(&b"x=[1]?"[..]));
        assert_eq!(head.all(FieldName::Accept).collect::<Vec<_>>(), [b"a", b"b"]);
        assert_eq!(head.first(FieldName::Host), None);
        assert_eq!(head.fields().next().map(|field| field.name), Some(&b"Accept"[..]));
    }
}
