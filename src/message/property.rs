//! What the strict parsers accept, every laxer reader in front of the gateway or behind it reads in the same way.

use proptest::collection::vec;
use proptest::prelude::{ProptestConfig, Strategy, any, prop_assert, prop_assert_eq, proptest};
use proptest::sample::select;

use super::{
    ChunkDecoder, Decoded, Framing, Head, HeadLimits, encode_chunk_size, is_authority, request_head,
    response_head,
};

const LIMITS: HeadLimits = HeadLimits { head_bytes: 4096, fields: 32, target_bytes: 1024 };

/// Where a reader sees a body end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Body {
    Nothing,
    Length(u64),
    Chunks,
}

/// Something that a reader overlooks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Oversight {
    /// Lines end in LF, whatever stands before it.
    LineFeeds,
    /// White space around names and control bytes around values are not there.
    WhiteSpace,
    /// A length is as many digits as there are at its start.
    DigitsAtTheStart,
    /// Of several lengths the last counts.
    LastLength,
    /// Any coding that has `chunked` in its name is.
    ChunkedInside,
    /// A length counts beside a transfer coding.
    LengthFirst,
}
use Oversight::{ChunkedInside, DigitsAtTheStart, LastLength, LengthFirst, LineFeeds, WhiteSpace};

#[derive(Clone, Copy, Debug)]
struct Reader(&'static [Oversight]);

/// One reader that overlooks nothing, one for each oversight, and one that has them all.
const READERS: [Reader; 8] = [
    Reader(&[]),
    Reader(&[LineFeeds]),
    Reader(&[WhiteSpace]),
    Reader(&[DigitsAtTheStart]),
    Reader(&[LastLength]),
    Reader(&[ChunkedInside]),
    Reader(&[LengthFirst]),
    Reader(&[LineFeeds, WhiteSpace, DigitsAtTheStart, LastLength, ChunkedInside, LengthFirst]),
];

/// A head as a reader sees it.
struct Seen {
    length: usize,
    /// Of its first line.
    words: Vec<String>,
    fields: Vec<(String, String)>,
    body: Body,
}

impl Reader {
    fn has(self, oversight: Oversight) -> bool {
        self.0.contains(&oversight)
    }

    fn read(self, input: &[u8]) -> Option<Seen> {
        let mut lines = Vec::new();
        let mut at = 0;
        loop {
            let (line, next) = self.line(&input[at..])?;
            at += next;
            if line.is_empty() {
                break;
            }
            lines.push(line);
        }
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (first, rest) = lines.split_first()?;
        let words = first.split(|byte| *byte == b' ').map(text).collect();
        let fields = rest.iter().filter_map(|line| {
            let colon = line.iter().position(|byte| *byte == b':')?;
            let is_space = |byte: &u8| match byte {
                b' ' | b'\t' => true,
                byte => self.has(WhiteSpace) && (*byte < b' ' || *byte == 0x7f || *byte == 0xa0),
            };
            let trim = |bytes: &[u8]| {
                let start = bytes.iter().position(|byte| !is_space(byte)).unwrap_or(bytes.len());
                let end = bytes.iter().rposition(|byte| !is_space(byte)).map_or(start, |end| end + 1);
                text(&bytes[start..end])
            };
            let name = if self.has(WhiteSpace) { trim(&line[..colon]) } else { text(&line[..colon]) };
            Some((name.to_lowercase(), trim(&line[colon + 1..])))
        });
        let fields: Vec<(String, String)> = fields.collect();
        let body = self.body(&fields);
        Some(Seen { length: at, words, fields, body })
    }

    /// A line and how much of the input it takes.
    fn line(self, input: &[u8]) -> Option<(&[u8], usize)> {
        if self.has(LineFeeds) {
            let end = input.iter().position(|byte| *byte == b'\n')?;
            let line = &input[..end];
            return Some((line.strip_suffix(b"\r").unwrap_or(line), end + 1));
        }
        let end = input.windows(2).position(|pair| pair == b"\r\n")?;
        Some((&input[..end], end + 2))
    }

    fn body(self, fields: &[(String, String)]) -> Body {
        let of = |wanted: &'static str| {
            fields.iter().filter(move |(name, _)| name == wanted).map(|(_, value)| value)
        };
        let chunked = of("transfer-encoding").any(|value| {
            let value = value.to_lowercase();
            value == "chunked" || self.has(ChunkedInside) && value.contains("chunked")
        });
        let length = |value: &String| {
            let digits: String = value.chars().take_while(char::is_ascii_digit).collect();
            let counted = if self.has(DigitsAtTheStart) { &digits } else { value };
            counted.parse::<u64>().ok()
        };
        let mut lengths = of("content-length").filter_map(length);
        let length = if self.has(LastLength) { lengths.next_back() } else { lengths.next() };
        match (chunked, length) {
            (true, Some(length)) if self.has(LengthFirst) => Body::Length(length),
            (true, _) => Body::Chunks,
            (false, Some(0) | None) => Body::Nothing,
            (false, Some(length)) => Body::Length(length),
        }
    }
}

/// Pieces of which good and bad heads are made.
fn field_line() -> impl Strategy<Value = String> {
    let name = select(vec![
        "Host",
        "Content-Length",
        "content-length",
        "Transfer-Encoding",
        "transfer-encoding",
        "Content_Length",
        "Transfer-Encoding ",
        " Content-Length",
        "Content-Length\t",
        "X",
        "Connection",
        "Expect",
        "TE",
        "X Y",
        "",
        "Content-Length\u{b}",
        "\u{a0}Transfer-Encoding",
    ]);
    let colon = select(vec![":", ": ", ":\t", " :", "", "::"]);
    let value = select(vec![
        "a",
        "5",
        "05",
        "+5",
        "5, 5",
        "6",
        "",
        "0",
        "chunked",
        "Chunked",
        "xchunked",
        "chunked, chunked",
        "gzip",
        "identity",
        "\u{b}chunked",
        "chunked\u{b}",
        "close",
        "100-continue",
        "a b",
        "5\r\n 6",
        "x\nContent-Length: 7",
        "y\rX: z",
        "0x5",
        "99999999999999999999",
        "\u{e9}",
        "5 ",
        "\t5",
        "chunked\0",
    ]);
    let end = select(vec!["\r\n", "\r\n", "\r\n", "\r\n", "\r\n", "\n", "\r", "\r\r\n", ""]);
    (name, colon, value, end).prop_map(|(name, colon, value, end)| format!("{name}{colon}{value}{end}"))
}

fn head(first_lines: &'static [&'static str]) -> impl Strategy<Value = Vec<u8>> {
    let first = select(first_lines);
    let host = select(vec!["Host: a\r\n", "Host: a\r\n", "Host: a\r\n", ""]);
    let end = select(vec!["\r\n", "\r\n", "\r\n", "\n", "\r\n\r\n", ""]);
    let lines = vec(field_line(), 0..4);
    let body = vec(any::<u8>(), 0..12);
    (first, host, lines, end, body).prop_map(|(first, host, lines, end, body)| {
        [first.as_bytes(), host.as_bytes(), lines.concat().as_bytes(), end.as_bytes(), &body].concat()
    })
}

/// Good inputs with single bytes changed.
fn changed(input: impl Strategy<Value = Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    (input, vec((any::<proptest::sample::Index>(), any::<u8>()), 0..3)).prop_map(|(mut input, changes)| {
        for (at, byte) in changes {
            let at = at.index(input.len());
            input[at] = byte;
        }
        input
    })
}

const REQUEST_LINES: &[&str] = &[
    "GET / HTTP/1.1\r\n",
    "POST /a HTTP/1.1\r\n",
    "POST /a?b HTTP/1.0\r\n",
    "GET http://a/b HTTP/1.1\r\n",
    "GET / HTTP/1.1\n",
    "GET  / HTTP/1.1\r\n",
    "GET /a b HTTP/1.1\r\n",
    "get / HTTP/1.1\r\n",
    "\r\nGET / HTTP/1.1\r\n",
    "GET /\r\n",
];
const STATUS_LINES: &[&str] = &[
    "HTTP/1.1 200 OK\r\n",
    "HTTP/1.1 200\r\n",
    "HTTP/1.1 404 Not Found\r\n",
    "HTTP/1.0 200 OK\r\n",
    "HTTP/1.1 200 OK\n",
    "HTTP/1.1 20 OK\r\n",
    "HTTP/1.1  200 OK\r\n",
    "HTTP/2 200 OK\r\n",
    "HTTP/1.1 99 OK\r\n",
    "200 OK\r\n",
];

/// What a parsed head says of its fields, as the readers do.
fn fields_of(head: &Head) -> Vec<(String, String)> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    head.fields().map(|field| (text(field.name).to_lowercase(), text(field.value))).collect()
}

/// The fields without what is not ASCII at a value's ends: a reader of Latin-1 takes the last byte of a UTF-8 `à` for
/// a space, which no field that decides anything may hold.
fn alike(fields: Vec<(String, String)>) -> Vec<(String, String)> {
    let ascii = |value: String| value.trim_matches(|letter: char| !letter.is_ascii()).to_owned();
    fields.into_iter().map(|(name, value)| (name, ascii(value))).collect()
}

const fn body_of(framing: Framing) -> Body {
    match framing {
        Framing::None | Framing::UntilClose => Body::Nothing,
        Framing::Length(length) => Body::Length(length),
        Framing::Chunked => Body::Chunks,
    }
}

/// A laxer reader of chunks: it stops a size at the first byte that is no digit, drops the rest of the line, and
/// never looks at what stands between a chunk and the next size but for a line end.
fn lax_chunks(input: &[u8]) -> Option<(Vec<u8>, usize)> {
    let (mut content, mut at) = (Vec::new(), 0);
    loop {
        let line_feed = at + input.get(at..)?.iter().position(|byte| *byte == b'\n')?;
        let line = String::from_utf8_lossy(&input[at..line_feed]);
        let digits: String = line.trim().chars().take_while(char::is_ascii_hexdigit).collect();
        let size = usize::from_str_radix(&digits, 16).ok()?;
        at = line_feed + 1;
        if size == 0 {
            break;
        }
        content.extend_from_slice(input.get(at..at.checked_add(size)?)?);
        at += size;
        at += input.get(at..)?.iter().position(|byte| *byte == b'\n')? + 1;
    }
    loop {
        let line_feed = at + input.get(at..)?.iter().position(|byte| *byte == b'\n')?;
        let is_end = input[at..line_feed].iter().all(|byte| *byte == b'\r');
        at = line_feed + 1;
        if is_end {
            return Some((content, at));
        }
    }
}

/// Decodes a body that arrives in pieces of `step` bytes: its content and how many bytes it took.
fn decode(input: &[u8], step: usize) -> Result<Option<(Vec<u8>, usize)>, ()> {
    let mut decoder = ChunkDecoder::new();
    let (mut content, mut start, mut end) = (Vec::new(), 0, 0);
    loop {
        match decoder.decode(&input[start..end]).map_err(|_| ())? {
            Decoded::Data(range) => {
                content.extend_from_slice(&input[start + range.start..start + range.end]);
                start += range.end;
            }
            Decoded::NeedMore { consumed } => {
                start += consumed;
                if end == input.len() {
                    return Ok(None);
                }
                end = input.len().min(end + step);
            }
            Decoded::End { consumed, .. } => return Ok(Some((content, start + consumed))),
        }
    }
}

fn chunked_body() -> impl Strategy<Value = Vec<u8>> {
    let size = select(vec!["5", "05", "5 ", " 5", "+5", "0x5", "4", "6", "5;a=b", "5;", "g", "", "A", "5\t"]);
    let end = || select(vec!["\r\n", "\r\n", "\r\n", "\r\n", "\n", "\r", "", "X\r\n"]);
    let chunk = (size, end(), end()).prop_map(|(size, first, second)| format!("{size}{first}hello{second}"));
    let last = select(vec![
        "0\r\n\r\n",
        "0\r\nX: y\r\n\r\n",
        "0\n\r\n",
        "0\r\n\n",
        "00\r\n\r\n",
        "0;a\r\n\r\n",
        "0\r\nX y\r\n\r\n",
        "-0\r\n\r\n",
    ]);
    (vec(chunk, 0..3), last).prop_map(|(chunks, last)| {
        [chunks.concat(), last.to_owned(), "GET / HTTP/1.1\r\n\r\n".to_owned()].concat().into_bytes()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_reader_reads_an_accepted_request_alike(input in changed(head(REQUEST_LINES))) {
        let mut parsed_head = Head::new();
        let Ok(Some(parsed)) = request_head(&input, &LIMITS, &mut parsed_head) else { return Ok(()) };
        for reader in READERS {
            let Some(Seen { length, words, fields, body }) = reader.read(&input) else { panic!("{reader:?} reads nothing") };
            prop_assert_eq!(length, parsed.length, "{:?}", reader);
            prop_assert_eq!(words.len(), 3);
            prop_assert_eq!(words[0].as_bytes(), parsed_head.method());
            prop_assert!(words[1].as_bytes().ends_with(parsed_head.target()));
            prop_assert_eq!(alike(fields), alike(fields_of(&parsed_head)), "{:?}", reader);
            prop_assert_eq!(body, body_of(parsed.framing), "{:?}", reader);
        }
    }

    #[test]
    fn no_beginning_of_an_accepted_request_is_refused_or_taken_for_it(input in head(REQUEST_LINES)) {
        let mut parsed_head = Head::new();
        let Ok(Some(parsed)) = request_head(&input, &LIMITS, &mut parsed_head) else { return Ok(()) };
        for end in 0..parsed.length {
            parsed_head.clear();
            prop_assert_eq!(request_head(&input[..end], &LIMITS, &mut parsed_head), Ok(None));
        }
    }

    #[test]
    fn every_reader_reads_an_accepted_answer_alike(input in changed(head(STATUS_LINES))) {
        let mut parsed_head = Head::new();
        let Ok(Some(parsed)) = response_head(&input, false, &mut parsed_head) else { return Ok(()) };
        for reader in READERS {
            let Some(Seen { length, fields, body, .. }) = reader.read(&input) else { panic!("{reader:?} reads nothing") };
            prop_assert_eq!(length, parsed.length, "{:?}", reader);
            prop_assert_eq!(alike(fields), alike(fields_of(&parsed_head)), "{:?}", reader);
            if !matches!(parsed.status, 100..200 | 204 | 304) {
                prop_assert_eq!(body, body_of(parsed.framing), "{:?}", reader);
            }
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(input in vec(any::<u8>(), 0..600), start in 0_usize..4) {
        let starts: [&[u8]; 4] = [b"", b"GET / HTTP/1.1\r\nHost: a\r\n", b"HTTP/1.1 200 OK\r\n", b"POST http://a"];
        let input = [starts[start], &input].concat();
        let _ = request_head(&input, &LIMITS, &mut Head::new());
        let _ = response_head(&input, false, &mut Head::new());
        let _ = response_head(&input, true, &mut Head::new());
        let _ = is_authority(&input);
    }

    #[test]
    fn a_laxer_reader_reads_accepted_chunks_alike(input in changed(chunked_body()), step in 1_usize..40) {
        let decoded = decode(&input, input.len());
        prop_assert_eq!(&decode(&input, step), &decoded, "in pieces of {}", step);
        if let Ok(Some((content, length))) = decoded {
            prop_assert_eq!(lax_chunks(&input), Some((content, length)));
        }
    }

    #[test]
    fn a_size_is_encoded_as_it_is_formatted(length: usize) {
        let mut out = Vec::new();
        encode_chunk_size(length, &mut out);
        prop_assert_eq!(String::from_utf8(out).unwrap(), format!("{length:x}\r\n"));
    }

    #[test]
    fn an_accepted_authority_is_one_to_another_reader(value in "[a-zA-Z0-9._~:@/?#\\[\\]%,; \\-]{0,20}") {
        if is_authority(value.as_bytes()) {
            let read: http::uri::Authority = value.parse().unwrap();
            prop_assert_eq!(read.as_str(), &value);
            let port = value.rsplit_once(':').map(|(_, port)| port).filter(|port| !port.contains(']'));
            prop_assert_eq!(read.port_u16().is_some(), port.is_some_and(|port| port.parse::<u16>().is_ok()));
        }
    }
}
