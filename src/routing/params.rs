//! The values of a matched template's parameters.

use std::borrow::Cow;
use std::sync::Arc;

use super::path::{unescape_once, up_to_semicolon};
use super::template::MAX_PARAMETERS;
use crate::message::Head;

/// A range of the path, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: u32,
    pub(super) end: u32,
}

/// One range for each parameter of a template, in order.
pub(super) type Spans = [Span; MAX_PARAMETERS];

/// Where the parameters of a matched request stand. The bytes stay in the [`Head`] that was matched, which is
/// passed in again.
#[derive(Clone, Copy, Debug)]
pub struct Params<'t> {
    pub(super) names: &'t [Arc<str>],
    pub(super) spans: Spans,
}

impl<'t> Params<'t> {
    /// A parameter as sent.
    pub fn value<'h>(&self, name: &str, head: &'h Head) -> Option<&'h [u8]> {
        let place = self.names.iter().position(|other| &**other == name)?;
        self.at(place, head)
    }

    /// A parameter as an upstream would read it, for keys: escapes undone, without a raw `;` and what follows
    /// it. All spellings of one value (`A`, `%41`, `A;x`) are equal.
    pub fn canonical<'h>(&self, name: &str, head: &'h Head) -> Option<Cow<'h, [u8]>> {
        let value = up_to_semicolon(self.value(name, head)?);
        Some(if value.contains(&b'%') { Cow::Owned(unescape_once(value)) } else { Cow::Borrowed(value) })
    }

    /// Every parameter as sent, in the template's order.
    pub fn iter<'h>(&self, head: &'h Head) -> impl Iterator<Item = (&'t str, &'h [u8])> {
        let (names, spans) = (self.names, self.spans);
        names.iter().zip(spans).filter_map(move |(name, span)| Some((&**name, slice(span, head)?)))
    }

    fn at<'h>(&self, place: usize, head: &'h Head) -> Option<&'h [u8]> {
        slice(*self.spans.get(place)?, head)
    }
}

fn slice(span: Span, head: &Head) -> Option<&[u8]> {
    head.target().get(span.start as usize..span.end as usize)
}
