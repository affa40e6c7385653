//! Query parameters in every notation that the SDKs use.
//!
//! Brackets (`a[b]`, `a[0][b]`), dots (`a.b`, `a.0`), JSON (`a={"b":1}`) and repetition (`a=1&a=2`), each
//! percent-encoded or plain, read as one tree of JSON values.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use serde_json::{Map, Value};

use super::fault::Fault;

/// More parameters than this are ignored.
const MOST_PAIRS: usize = 2_000;
/// Deepest nesting of a name.
const DEEPEST: usize = 4;
/// Entries on a page that names no count.
const DEFAULT_COUNT: usize = 200;

/// A parsed query.
#[derive(Debug)]
pub(super) struct Query(Vec<(Vec<String>, String)>);

/// Where a page begins and how long it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Page {
    /// Entries before it.
    pub offset: usize,
    /// Most entries on it.
    pub count: usize,
}

impl Query {
    /// Reads a raw query.
    pub(super) fn parse(raw: &str) -> Self {
        let pairs = raw.split('&').filter(|pair| !pair.is_empty()).take(MOST_PAIRS);
        Self(
            pairs
                .map(|pair| {
                    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                    (name_parts(&decode(name, true)), decode(value, true))
                })
                .collect(),
        )
    }

    /// The first value of a plain name.
    pub(super) fn first(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(parts, _)| *parts == [name]).map(|(_, value)| value.as_str())
    }

    /// Every value of a plain name.
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(parts, _)| *parts == [name]).map(|(_, value)| value.as_str())
    }

    /// Everything under a name as one value: nested names as objects, numbered and repeated ones as arrays.
    pub(super) fn tree(&self, name: &str) -> Option<Value> {
        let mut tree = Value::Null;
        for (parts, text) in self.0.iter().filter(|(parts, _)| parts[0] == name) {
            let value = match serde_json::from_str::<Value>(text) {
                Ok(value @ (Value::Object(_) | Value::Array(_))) => value,
                Ok(_) | Err(_) => Value::String(text.clone()),
            };
            put(&mut tree, &parts[1..], value);
        }
        (!tree.is_null()).then(|| numbered_to_arrays(tree))
    }

    /// The texts under a name: `emails[0]=a`, `emails.0=a`, `emails=a&emails=b`, `emails=["a"]`.
    pub(super) fn texts(&self, name: &str) -> Vec<String> {
        match self.tree(name) {
            Some(Value::Array(values)) => {
                values.into_iter().filter_map(|value| value.as_str().map(str::to_owned)).collect()
            }
            Some(Value::String(text)) => vec![text],
            Some(_) | None => Vec::new(),
        }
    }

    /// The page that `name` (usually `pagination`) asks for; bare `count` and `cursor` count too.
    pub(super) fn page(&self, name: &str) -> Result<Page, Fault> {
        let tree = self.tree(name).unwrap_or_default();
        let part = |part: &str| match tree.get(part) {
            Some(Value::String(text)) => Some(text.clone()),
            Some(value) => Some(value.to_string()),
            None => self.first(part).map(str::to_owned),
        };
        let count = match part("count") {
            None => DEFAULT_COUNT,
            Some(text) => match text.parse::<usize>() {
                Ok(count @ 1..=1_000) => count,
                Ok(_) | Err(_) => {
                    return Err(Fault::input(&format!("{name}.count"), "must be between 1 and 1000"));
                }
            },
        };
        let offset = match part("cursor") {
            None => 0,
            Some(text) => offset(&text).ok_or_else(|| {
                Fault::input(&format!("{name}.cursor"), "is no cursor that this API gave out")
            })?,
        };
        Ok(Page { offset, count })
    }
}

impl Page {
    /// The page's part of a list, with the `pagination` object that goes with it.
    pub(super) fn cut(self, entries: Vec<Value>) -> (Vec<Value>, Value) {
        let total = entries.len();
        let mut pagination = Map::new();
        pagination.insert("current".to_owned(), cursor(self.offset).into());
        if self.offset + self.count < total {
            pagination.insert("next".to_owned(), cursor(self.offset + self.count).into());
        }
        if self.offset > 0 {
            pagination.insert("previous".to_owned(), cursor(self.offset.saturating_sub(self.count)).into());
        }
        pagination.insert("totalEntries".to_owned(), total.into());
        (entries.into_iter().skip(self.offset).take(self.count).collect(), pagination.into())
    }
}

/// Undoes percent-encoding; bytes that are not UTF-8 become replacement characters.
pub(super) fn decode(text: &str, plus_is_space: bool) -> String {
    let bytes = text.as_bytes();
    let hex = |at: usize| bytes.get(at).and_then(|&b| char::from(b).to_digit(16));
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        match (bytes[at], hex(at + 1), hex(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                out.push((high * 16 + low) as u8);
                at += 2;
            }
            (b'+', ..) if plus_is_space => out.push(b' '),
            (byte, ..) => out.push(byte),
        }
        at += 1;
    }
    String::from_utf8(out).unwrap_or_else(|broken| String::from_utf8_lossy(broken.as_bytes()).into_owned())
}

fn name_parts(name: &str) -> Vec<String> {
    name.replace("][", ".")
        .replace('[', ".")
        .replace(']', "")
        .splitn(DEEPEST, '.')
        .map(str::to_owned)
        .collect()
}

fn put(tree: &mut Value, path: &[String], value: Value) {
    let Some((first, rest)) = path.split_first() else {
        match tree {
            Value::Null => *tree = value,
            Value::Array(values) => values.push(value),
            other => *other = Value::Array(vec![other.take(), value]),
        }
        return;
    };
    if !tree.is_object() {
        *tree = Value::Object(Map::new());
    }
    if let Value::Object(map) = tree {
        put(map.entry(first.clone()).or_insert(Value::Null), rest, value);
    }
}

fn numbered_to_arrays(tree: Value) -> Value {
    let Value::Object(map) = tree else { return tree };
    let numbered = !map.is_empty() && map.keys().all(|key| key.parse::<usize>().is_ok());
    if !numbered {
        return map.into_iter().map(|(key, value)| (key, numbered_to_arrays(value))).collect();
    }
    let mut entries: Vec<(usize, Value)> =
        map.into_iter().map(|(key, value)| (key.parse().unwrap_or_default(), value)).collect();
    entries.sort_by_key(|(number, _)| *number);
    entries.into_iter().map(|(_, value)| numbered_to_arrays(value)).collect()
}

fn cursor(offset: usize) -> String {
    STANDARD.encode(offset.to_string())
}

fn offset(cursor: &str) -> Option<usize> {
    let bytes = STANDARD.decode(cursor).or_else(|_| STANDARD_NO_PAD.decode(cursor)).ok()?;
    std::str::from_utf8(&bytes).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(raw: &str) -> Option<(usize, usize)> {
        Query::parse(raw).page("pagination").ok().map(|page| (page.offset, page.count))
    }

    #[test]
    fn every_notation_of_a_page_is_read_alike() {
        for raw in [
            "pagination.count=3&pagination.cursor=MTA=",
            "pagination.count=3&pagination.cursor=MTA%3D",
            "pagination%5Bcursor%5D=MTA%3D&pagination%5Bcount%5D=3",
            "pagination[count]=3&pagination[cursor]=MTA",
            "pagination=%7B%22cursor%22%3A%20%22MTA%3D%22%2C%20%22count%22%3A%203%7D",
            "pagination={\"count\":3,\"cursor\":\"MTA=\"}",
            "count=3&cursor=MTA%3D",
        ] {
            assert_eq!(page(raw), Some((10, 3)), "{raw}");
        }
        assert_eq!(page(""), Some((0, 200)));
    }

    #[test]
    fn a_bad_page_is_refused_and_its_field_named() {
        for (raw, field) in [
            ("pagination.count=0", "pagination.count"),
            ("pagination[count]=1001", "pagination.count"),
            ("pagination[count]=x", "pagination.count"),
            ("pagination.cursor=!!", "pagination.cursor"),
        ] {
            let fault = Query::parse(raw).page("pagination").unwrap_err();
            assert_eq!((fault.status, fault.field.as_deref()), (422, Some(field)), "{raw}");
        }
    }

    #[test]
    fn arrays_and_objects_come_in_every_notation() {
        for raw in ["e%5B0%5D=a%2Bb&e%5B1%5D=c", "e.0=a%2Bb&e.1=c", "e=a%2Bb&e=c", "e=[\"a%2Bb\",\"c\"]"] {
            assert_eq!(Query::parse(raw).texts("e"), ["a+b", "c"], "{raw}");
        }
        let rules = Query::parse("r%5B0%5D%5Btype%5D=TRACK&r%5B0%5D%5Bkey%5D=Order%20Completed").tree("r");
        assert_eq!(rules, Some(serde_json::json!([{"type": "TRACK", "key": "Order Completed"}])));
    }

    proptest::proptest! {
        #[test]
        fn any_query_is_read(raw in "\\PC{0,200}") {
            let query = Query::parse(&raw);
            for name in ["pagination", "e", ""] {
                query.tree(name);
                let _ = query.page(name);
            }
        }
    }
}
