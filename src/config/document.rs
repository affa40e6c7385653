//! One TOML text with the place of every key, so that each mistake is told with its line.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::ops::Range;

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

use super::diagnostic::{Diagnostic, of_type, suggestion};
use super::environment::{Unset, interpolate};
use crate::domain::Problem;

/// The most mistakes of types and names that one section is searched for.
const MAX_TYPE_MISTAKES: usize = 50;

/// A parsed text.
pub(super) struct Document<'i> {
    file: String,
    text: &'i str,
    table: DeTable<'i>,
    span: Range<usize>,
    unset: Vec<(String, Unset)>,
}

impl<'i> Document<'i> {
    /// Parses a text and puts the environment's values into `${NAME}`; every syntax mistake at once.
    pub(super) fn parse(
        file: &str,
        text: &'i str,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, Vec<Diagnostic>> {
        let (table, errors) = DeTable::parse_recoverable(text);
        let span = table.span();
        let table = table.into_inner();
        let mut document = Self { file: file.to_owned(), text, table, span, unset: Vec::new() };
        if !errors.is_empty() {
            return Err(errors.iter().map(|error| document.syntax(error)).collect());
        }
        for (name, value) in &mut document.table {
            let mut unset = Vec::new();
            interpolate(value, environment, &mut unset);
            document.unset.extend(unset.into_iter().map(|unset| (name.get_ref().to_string(), unset)));
        }
        Ok(document)
    }

    /// The file's name as it was given.
    pub(super) fn file(&self) -> &str {
        &self.file
    }

    /// A section's tables in the order in which they were written.
    pub(super) fn in_written_order<T>(&self, section: &str, tables: BTreeMap<String, T>) -> Vec<(String, T)> {
        let place = |name: &str| self.find(&format!("{section}.{name:?}")).map_or(0, |span| span.start);
        let mut tables: Vec<(String, T)> = tables.into_iter().collect();
        tables.sort_by_key(|(name, _)| place(name));
        tables
    }

    /// The names of the sections.
    pub(super) fn sections(&self) -> impl Iterator<Item = &str> {
        self.table.keys().map(|key| &**key.get_ref())
    }

    /// Reads one section; its default if it is missing or has mistakes. After a mistake the key is left out
    /// and the section read again, so that several are told at once.
    pub(super) fn section<T: DeserializeOwned + Default>(
        &self,
        name: &str,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> T {
        let Some(value) = self.table.get(name) else { return T::default() };
        let mut value = value.clone();
        let before = diagnostics.len();
        for _ in 0..MAX_TYPE_MISTAKES {
            match T::deserialize(ValueDeserializer::from(value.clone())) {
                Ok(section) if diagnostics.len() == before => return section,
                Ok(_) => break,
                Err(error) => {
                    let found = self.typed(name, &error);
                    let follows =
                        diagnostics[before..].iter().any(|earlier| lacks_what_was_wrong(&found, earlier));
                    if !follows {
                        diagnostics.push(found);
                    }
                    if !error.span().is_some_and(|span| without(&mut value, &span)) {
                        break;
                    }
                }
            }
        }
        T::default()
    }

    /// Every `${…}` without a value, of the sections that matter.
    pub(super) fn unset(&self, matters: impl Fn(&str) -> bool) -> Vec<Diagnostic> {
        let diagnostic = |Unset { span, name }: &Unset| match name {
            Some(name) => self.at(
                span.clone(),
                self.key_at(span),
                "environment_missing",
                format!("the environment has no variable `{name}`"),
                format!("set {name}, or write the value itself"),
            ),
            None => self.at(
                span.clone(),
                self.key_at(span),
                "environment_unclosed",
                "`${` has no `}`".to_owned(),
                "write ${NAME}".to_owned(),
            ),
        };
        self.unset
            .iter()
            .filter(|(section, _)| matters(section))
            .map(|(_, unset)| diagnostic(unset))
            .collect()
    }

    /// A section that is not known.
    pub(super) fn unknown_section(&self, name: &str, known: &[&str]) -> Diagnostic {
        let span = self.table.get_key_value(name).map_or(0..0, |(key, _)| key.span());
        let fix = suggestion(name, known.iter().copied());
        self.at(span, name.to_owned(), "key_unknown", format!("there is no section `{name}`"), fix)
    }

    /// A problem that a room found, at its key's line; at the nearest part of the key that is there, or at the
    /// beginning, if the key itself is missing.
    pub(super) fn locate(&self, problem: &Problem) -> Diagnostic {
        let span = self.find(&problem.key).unwrap_or(0..0);
        self.at(span, problem.key.clone(), problem.code, problem.reason.clone(), problem.fix.clone())
    }

    /// Whether a section stands in this text.
    pub(super) fn has(&self, section: &str) -> bool {
        self.table.contains_key(section)
    }

    /// Where a dotted path is, or the nearest part of it that is there.
    fn find(&self, key: &str) -> Option<Range<usize>> {
        let mut parts = parts(key).into_iter();
        let (name, mut value) = self.table.get_key_value(&*parts.next()?)?;
        let mut span = name.span();
        for part in parts {
            let next = match value.get_ref() {
                DeValue::Table(table) => table.get_key_value(&*part).map(|(key, value)| (key.span(), value)),
                DeValue::Array(array) => part
                    .parse::<usize>()
                    .ok()
                    .and_then(|index| array.get(index))
                    .map(|value| (value.span(), value)),
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

    /// The dotted path of what stands at a place: the reverse of `find`.
    fn key_at(&self, span: &Range<usize>) -> String {
        let mut key = String::new();
        let mut value = entry_at(&self.table, span, &mut key);
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

    fn syntax(&self, error: &toml::de::Error) -> Diagnostic {
        let span = error.span().unwrap_or(self.span.clone());
        let reason = error.message().replace('\n', ", ");
        let fix = if reason == "duplicate key" {
            "keep one of the two; a list of tables is written as [[name]] for each"
        } else {
            "write it as TOML says, see toml.io"
        };
        self.at(span, String::new(), "syntax", reason, fix.to_owned())
    }

    /// A value of the wrong kind or a key that nobody knows.
    fn typed(&self, section: &str, error: &toml::de::Error) -> Diagnostic {
        let span = error.span().or_else(|| self.find(section)).unwrap_or(self.span.clone());
        let (code, reason, fix) = of_type(error);
        let key = Some(self.key_at(&span)).filter(|key| !key.is_empty());
        self.at(span, key.unwrap_or_else(|| section.to_owned()), code, reason, fix)
    }

    fn at(&self, span: Range<usize>, key: String, code: &str, reason: String, fix: String) -> Diagnostic {
        let before = &self.text[..span.start.min(self.text.len())];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Diagnostic {
            file: self.file.clone(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            code: code.to_owned(),
            key,
            reason,
            fix,
        }
    }
}

/// Whether a key is only missing from a table because an entry with a mistake was left out of it.
fn lacks_what_was_wrong(found: &Diagnostic, earlier: &Diagnostic) -> bool {
    found.code == "key_missing"
        && earlier.key.strip_prefix(&*found.key).is_some_and(|rest| rest.starts_with(['.', '[']))
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

/// Removes the entry whose key or value stands exactly at a place; whether it was there.
fn without(value: &mut Spanned<DeValue<'_>>, span: &Range<usize>) -> bool {
    match value.get_mut() {
        DeValue::Table(table) => {
            let here = table.iter().find(|(name, value)| name.span() == *span || value.span() == *span);
            let here = here.map(|(name, _)| name.get_ref().to_string());
            here.is_some_and(|name| table.remove(&*name).is_some())
                || table.iter_mut().any(|(_, value)| without(value, span))
        }
        DeValue::Array(array) => {
            let before = array.len();
            let all = std::mem::replace(array, std::iter::empty().collect());
            *array = all.into_iter().filter(|value| value.span() != *span).collect();
            array.len() < before || array.iter_mut().any(|value| without(value, span))
        }
        DeValue::String(_)
        | DeValue::Integer(_)
        | DeValue::Float(_)
        | DeValue::Boolean(_)
        | DeValue::Datetime(_) => false,
    }
}
