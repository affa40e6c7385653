//! The templates as a tree of segments, and the search in it.
//!
//! Fixed segments win over parameters, parameters over the rest of the path; where a branch fails deeper, or
//! lacks the method, the search goes back to the next one. A node is visited at most once in a search.

use std::fmt;

use super::params::{Span, Spans};
use super::path::{is_unreserved, units};
use super::template::{MAX_LITERAL_BYTES, Part};
use crate::domain::Method;

const NONE: u16 = u16::MAX;
const MAX_VALUE_CHARACTERS: usize = 255;
const ANY: usize = 7;

/// The endpoints of one template, by method; the last place is for every method.
#[derive(Clone, Debug)]
struct Endpoints([u16; 8]);

#[derive(Clone, Debug)]
struct Node {
    literals: Vec<(Box<[u8]>, u32)>,
    parameter: Option<u32>,
    ends: Endpoints,
    rest: Endpoints,
}

/// The tree.
#[derive(Clone, Debug)]
pub(super) struct Trie(Vec<Node>);

/// The methods that a path has, as the `Allow` field lists them (RFC 9110, section 10.2.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Allow(u8);

impl Allow {
    /// Whether no endpoint has the path.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The methods; `HEAD` wherever `GET` is.
    pub fn methods(self) -> impl Iterator<Item = Method> {
        Method::ALL.into_iter().filter(move |method| self.0 & (1 << place(*method)) != 0)
    }
}

impl fmt::Display for Allow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, method) in self.methods().enumerate() {
            f.write_str(if index == 0 { "" } else { ", " })?;
            f.write_str(method.name())?;
        }
        Ok(())
    }
}

/// The place of a method in [`Endpoints`]. HEAD is served as GET.
const fn place(method: Method) -> usize {
    match method {
        Method::Get | Method::Head => 0,
        Method::Post => 1,
        Method::Put => 2,
        Method::Patch => 3,
        Method::Delete => 4,
        Method::Options => 5,
    }
}

impl Endpoints {
    const EMPTY: Self = Self([NONE; 8]);

    fn of(&self, place: usize, allow: &mut Allow) -> Option<u16> {
        let found = if self.0[place] == NONE { self.0[ANY] } else { self.0[place] };
        if found != NONE {
            return Some(found);
        }
        for (other, index) in self.0.iter().enumerate() {
            allow.0 |= u8::from(*index != NONE) << other;
        }
        None
    }
}

impl Node {
    const EMPTY: Self =
        Self { literals: Vec::new(), parameter: None, ends: Endpoints::EMPTY, rest: Endpoints::EMPTY };
}

impl Trie {
    /// An empty tree.
    pub(super) fn new() -> Self {
        Self(vec![Node::EMPTY])
    }

    /// Adds an endpoint. Where the same method and shape is there already, nothing changes and its index is
    /// the error.
    pub(super) fn insert(&mut self, parts: &[Part], method: Option<Method>, index: u16) -> Result<(), u16> {
        let mut at = 0;
        let mut takes_rest = false;
        for part in parts {
            match part {
                Part::Literal(text) => at = self.literal_child(at, text),
                Part::Parameter => at = self.parameter_child(at),
                Part::Rest => takes_rest = true,
            }
        }
        let node = &mut self.0[at as usize];
        let endpoints = if takes_rest { &mut node.rest } else { &mut node.ends };
        let slot = &mut endpoints.0[method.map_or(ANY, place)];
        if *slot != NONE {
            return Err(*slot);
        }
        *slot = index;
        Ok(())
    }

    fn literal_child(&mut self, at: u32, text: &[u8]) -> u32 {
        let fresh = self.0.len() as u32;
        let literals = &mut self.0[at as usize].literals;
        match literals.binary_search_by(|(other, _)| (**other).cmp(text)) {
            Ok(found) => literals[found].1,
            Err(gap) => {
                literals.insert(gap, (text.into(), fresh));
                self.0.push(Node::EMPTY);
                fresh
            }
        }
    }

    fn parameter_child(&mut self, at: u32) -> u32 {
        if let Some(child) = self.0[at as usize].parameter {
            return child;
        }
        let fresh = self.0.len() as u32;
        self.0[at as usize].parameter = Some(fresh);
        self.0.push(Node::EMPTY);
        fresh
    }

    /// Finds the endpoint of a path and method.
    pub(super) fn find(&self, search: &mut Search<'_>) -> Option<u16> {
        self.walk(search, 0, 1, 0)
    }

    /// `start` is where the segment begins, `depth` the number of parameters taken so far.
    fn walk(&self, search: &mut Search<'_>, node: u32, start: usize, depth: usize) -> Option<u16> {
        let node = &self.0[node as usize];
        let rest = search.path.get(start..)?;
        let end = memchr::memchr(b'/', rest).map_or(search.path.len(), |length| start + length);
        let segment = &search.path[start..end];
        if let Some(child) = node.literal(segment, search.escapes)
            && let Some(found) = self.step(search, child, end, depth)
        {
            return Some(found);
        }
        if let Some(child) = node.parameter
            && search.fits(segment)
        {
            search.spans[depth] = Span { start: start as u32, end: end as u32 };
            if let Some(found) = self.step(search, child, end, depth + 1) {
                return Some(found);
            }
        }
        let found = node.rest.of(search.place, &mut search.allow)?;
        search.spans[depth] = Span { start: start as u32, end: search.path.len() as u32 };
        Some(found)
    }

    fn step(&self, search: &mut Search<'_>, child: u32, end: usize, depth: usize) -> Option<u16> {
        if end == search.path.len() {
            self.0[child as usize].ends.of(search.place, &mut search.allow)
        } else {
            self.walk(search, child, end + 1, depth)
        }
    }
}

impl Node {
    fn literal(&self, segment: &[u8], escapes: bool) -> Option<u32> {
        if escapes && segment.contains(&b'%') {
            let mut buffer = [0; MAX_LITERAL_BYTES];
            return self.child(unescape_unreserved(segment, &mut buffer)?);
        }
        self.child(segment)
    }

    fn child(&self, text: &[u8]) -> Option<u32> {
        let found = self.literals.binary_search_by(|(other, _)| (**other).cmp(text)).ok()?;
        Some(self.literals[found].1)
    }
}

/// Undoes escapes of unreserved characters; [`None`] if another escape is left or the result is longer than
/// any fixed segment.
fn unescape_unreserved<'b>(segment: &[u8], buffer: &'b mut [u8; MAX_LITERAL_BYTES]) -> Option<&'b [u8]> {
    let mut length = 0;
    for unit in units(segment) {
        if unit.escaped && !is_unreserved(unit.byte) {
            return None;
        }
        *buffer.get_mut(length)? = unit.byte;
        length += 1;
    }
    buffer.get(..length)
}

/// One search: the question, and what it gathers on the way.
#[derive(Debug)]
pub(super) struct Search<'p> {
    path: &'p [u8],
    place: usize,
    escapes: bool,
    longest_value: usize,
    /// Where the parameters stand, once found.
    pub(super) spans: Spans,
    /// The methods of templates that the path has and the search's method has not.
    pub(super) allow: Allow,
}

impl<'p> Search<'p> {
    /// A search by the rules. `escapes` says whether the path holds a `%`.
    pub(super) fn exact(path: &'p [u8], method: Method, escapes: bool) -> Self {
        Self {
            path,
            place: place(method),
            escapes,
            longest_value: MAX_VALUE_CHARACTERS,
            spans: Spans::default(),
            allow: Allow::default(),
        }
    }

    /// A search in a path whose escapes are undone, with parameters of any length.
    pub(super) fn lenient(path: &'p [u8], method: Method) -> Self {
        Self { longest_value: usize::MAX, ..Self::exact(path, method, false) }
    }

    fn fits(&self, segment: &[u8]) -> bool {
        if segment.len() <= self.longest_value {
            return !segment.is_empty();
        }
        self.escapes
            && units(segment).filter(|unit| !(0x80..0xc0).contains(&unit.byte)).count() <= self.longest_value
    }
}
