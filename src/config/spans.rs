//! Where in a TOML text a key stands, and which key stands at a place.

use std::fmt::Write as _;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Where the value of a dotted path stands; its name, if it is a table; the nearest part of the path that is
/// there, if it is not there itself.
pub(super) fn find(root: &DeTable<'_>, key: &str) -> Option<Range<usize>> {
    let mut parts = parts(key).into_iter();
    let (name, mut value) = root.get_key_value(&*parts.next()?)?;
    let mut span = span_of(name, value);
    for part in parts {
        let next = match value.get_ref() {
            DeValue::Table(table) => {
                table.get_key_value(&*part).map(|(name, value)| (span_of(name, value), value))
            }
            DeValue::Array(array) => {
                let item = part.parse::<usize>().ok().and_then(|index| array.get(index));
                item.map(|value| (value.span(), value))
            }
            DeValue::String(_)
            | DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_) => None,
        };
        let Some((found, inner)) = next else { break };
        span = found;
        value = inner;
    }
    Some(span)
}

/// The dotted path of what stands at a place: the reverse of [`find`].
pub(super) fn key_at(root: &DeTable<'_>, span: &Range<usize>) -> String {
    let mut key = String::new();
    let mut value = entry_at(root, span, &mut key);
    while let Some(found) = value {
        value = match found {
            DeValue::Table(table) => entry_at(table, span, &mut key),
            DeValue::Array(array) => {
                array.iter().enumerate().find(|(_, value)| within(value, span)).map(|(index, value)| {
                    // Writing to memory cannot fail.
                    let _ = write!(key, "[{index}]");
                    value.get_ref()
                })
            }
            DeValue::String(_)
            | DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_) => None,
        };
    }
    key
}

/// What [`without`] left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LeftOut {
    /// A key with a value; everything else is where it was.
    Key,
    /// A table, or one of a list, so that what stood behind it has another number now.
    More,
}

/// Removes the entry whose key or value stands exactly at a place; [`None`] if nothing does.
pub(super) fn without(value: &mut Spanned<DeValue<'_>>, span: &Range<usize>) -> Option<LeftOut> {
    match value.get_mut() {
        DeValue::Table(table) => {
            let here = table.iter().find(|(name, value)| name.span() == *span || value.span() == *span);
            match here.map(|(name, _)| name.get_ref().to_string()).and_then(|name| table.remove(&*name)) {
                Some(removed) if removed.get_ref().is_table() => Some(LeftOut::More),
                Some(_) => Some(LeftOut::Key),
                None => table.iter_mut().find_map(|(_, value)| without(value, span)),
            }
        }
        DeValue::Array(array) => {
            let before = array.len();
            let all = std::mem::replace(array, std::iter::empty().collect());
            *array = all.into_iter().filter(|value| value.span() != *span).collect();
            let removed = (array.len() < before).then_some(LeftOut::More);
            removed.or_else(|| array.iter_mut().find_map(|value| without(value, span)))
        }
        DeValue::String(_)
        | DeValue::Integer(_)
        | DeValue::Float(_)
        | DeValue::Boolean(_)
        | DeValue::Datetime(_) => None,
    }
}

/// Whether a dotted path is there as a whole.
pub(super) fn is_there(root: &DeTable<'_>, key: &str) -> bool {
    let mut parts = parts(key).into_iter();
    let mut value = parts.next().and_then(|name| root.get(&*name)).map(Spanned::get_ref);
    for part in parts {
        value = value.and_then(|value| match part.parse::<usize>() {
            Ok(index) if value.is_array() => value.get(index).map(Spanned::get_ref),
            Ok(_) | Err(_) => value.get(&*part).map(Spanned::get_ref),
        });
    }
    value.is_some()
}

/// A value's place; for tables and lists of them that of the name, because they have many lines.
fn span_of(name: &Spanned<std::borrow::Cow<'_, str>>, value: &Spanned<DeValue<'_>>) -> Range<usize> {
    let is_table = match value.get_ref() {
        DeValue::Table(_) => true,
        DeValue::Array(array) => array.iter().any(|item| matches!(item.get_ref(), DeValue::Table(_))),
        DeValue::String(_)
        | DeValue::Integer(_)
        | DeValue::Float(_)
        | DeValue::Boolean(_)
        | DeValue::Datetime(_) => false,
    };
    if is_table { name.span() } else { value.span() }
}

/// The parts of a dotted path such as `a.b[2]."c.d"`.
fn parts(key: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut quoted = false;
    for letter in key.chars() {
        match letter {
            '"' => quoted = !quoted,
            '.' | '[' if !quoted => parts.push(String::new()),
            ']' if !quoted => {}
            letter => parts.iter_mut().last().into_iter().for_each(|part| part.push(letter)),
        }
    }
    parts
}

/// A table's entry in which something stands; its name is added to `key`.
fn entry_at<'t, 'i>(
    table: &'t DeTable<'i>,
    span: &Range<usize>,
    key: &mut String,
) -> Option<&'t DeValue<'i>> {
    let (name, value) = table.iter().find(|(name, value)| name.span() == *span || within(value, span))?;
    if !key.is_empty() {
        key.push('.');
    }
    key.push_str(name.get_ref());
    Some(value.get_ref())
}

/// Whether something stands in a value. A table's own span is only its header, so its entries are asked too.
fn within(value: &Spanned<DeValue<'_>>, span: &Range<usize>) -> bool {
    let own = value.span();
    (own.start <= span.start && span.end <= own.end)
        || match value.get_ref() {
            DeValue::Table(table) => {
                table.iter().any(|(name, value)| name.span() == *span || within(value, span))
            }
            DeValue::Array(array) => array.iter().any(|value| within(value, span)),
            DeValue::String(_)
            | DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_) => false,
        }
}
