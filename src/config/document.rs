//! One TOML text with the place of every key, so that each mistake is told with its line.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::de::DeserializeOwned;
use toml::de::{DeTable, ValueDeserializer};

use super::diagnostic::{Diagnostic, Severity};
use super::environment::{Interpolated, Met, SECRET_FILE, Unset, interpolate};
use super::lines::{Lines, Place};
use super::spans::{LeftOut, find, is_there, key_at, without};
use super::typed::{of_type, suggestion};
use crate::domain::Problem;

/// The most mistakes of types and names that one section is searched for.
const MAX_TYPE_MISTAKES: usize = 50;

/// What could be read of a section.
pub(super) struct Section<T> {
    pub(super) value: T,
    pub(super) state: State,
}

/// How much of a section could be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// All of it.
    Whole,
    /// All but keys with mistakes, which have their defaults instead.
    Patched,
    /// Nothing: its defaults stand in for it.
    Broken,
}

/// A parsed text.
pub(super) struct Document<'i> {
    file: String,
    lines: Lines<'i>,
    table: DeTable<'i>,
    span: Range<usize>,
    unset: Vec<(String, Unset)>,
    interpolated: Vec<Interpolated>,
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
        let lines = Lines::of(text);
        let (unset, interpolated) = (Vec::new(), Vec::new());
        let mut document = Self { file: file.to_owned(), lines, table, span, unset, interpolated };
        if !errors.is_empty() {
            return Err(errors.iter().map(|error| document.syntax(error)).collect());
        }
        for (name, value) in &mut document.table {
            let mut met = Met::default();
            interpolate(value, environment, &mut met);
            document.unset.extend(met.unset.into_iter().map(|unset| (name.get_ref().to_string(), unset)));
            document.interpolated.extend(met.interpolated);
        }
        Ok(document)
    }

    /// The file's name as it was given.
    pub(super) fn file(&self) -> &str {
        &self.file
    }

    /// The text.
    pub(super) const fn text(&self) -> &'i str {
        self.lines.text()
    }

    /// Every text that holds values of the environment.
    pub(super) fn interpolated(&self) -> &[Interpolated] {
        &self.interpolated
    }

    /// What the file writes at a key, if that holds values of the environment.
    pub(super) fn written(&self, key: &str) -> Option<&str> {
        let span = find(&self.table, key)?;
        self.interpolated.iter().find(|text| text.span == span).map(|text| &*text.written)
    }

    /// A section's tables in the order in which they were written.
    pub(super) fn in_written_order<T>(&self, section: &str, tables: BTreeMap<String, T>) -> Vec<(String, T)> {
        let place =
            |name: &str| find(&self.table, &format!("{section}.{name:?}")).map_or(0, |span| span.start);
        let mut tables: Vec<(String, T)> = tables.into_iter().collect();
        tables.sort_by_key(|(name, _)| place(name));
        tables
    }

    /// The names of the sections.
    pub(super) fn sections(&self) -> impl Iterator<Item = &str> {
        self.table.keys().map(|key| &**key.get_ref())
    }

    /// Reads one section; its default if it is missing. After a mistake the key is left out and the section read
    /// again, so that all are told at once.
    pub(super) fn section<T: DeserializeOwned + Default>(
        &self,
        name: &str,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Section<T> {
        let Some(value) = self.table.get(name) else {
            return Section { value: T::default(), state: State::Whole };
        };
        let mut value = value.clone();
        let mut state = State::Whole;
        let before = diagnostics.len();
        for _ in 0..MAX_TYPE_MISTAKES {
            match T::deserialize(ValueDeserializer::from(value.clone())) {
                Ok(_) if state == State::Broken => break,
                Ok(value) => return Section { value, state },
                Err(error) => {
                    let found = self.typed(name, &error);
                    let follows =
                        diagnostics[before..].iter().any(|earlier| lacks_what_was_wrong(&found, earlier));
                    if !follows {
                        diagnostics.push(found);
                    }
                    state = match error.span().and_then(|span| without(&mut value, &span)) {
                        Some(LeftOut::Key) if state != State::Broken => State::Patched,
                        Some(_) => State::Broken,
                        None => break,
                    };
                }
            }
        }
        Section { value: T::default(), state: State::Broken }
    }

    /// Every `${…}` without a value, of the sections that matter.
    pub(super) fn unset(&self, matters: impl Fn(&str) -> bool) -> Vec<Diagnostic> {
        let diagnostic = |Unset { span, name }: &Unset| {
            let (code, reason, fix) = match name.as_deref().map(|name| (name, name.strip_prefix(SECRET_FILE)))
            {
                Some((_, Some(path))) => (
                    "secret_file_unreadable",
                    format!("the file `{path}` cannot be read as a text of at most 64 KiB"),
                    "write the path of a file that this user can read, relative to this one".to_owned(),
                ),
                Some((name, None)) => (
                    "environment_missing",
                    format!("the environment has no variable `{name}`"),
                    format!("set {name}, or write the value itself"),
                ),
                None => ("environment_unclosed", "`${` has no `}`".to_owned(), "write ${NAME}".to_owned()),
            };
            self.at(span.clone(), key_at(&self.table, span), code, reason, fix)
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

    /// A problem that a room found, at its key's place; at the nearest part of the key that is there, or at the
    /// beginning, if the key itself is missing.
    pub(super) fn locate(&self, problem: &Problem, severity: Severity) -> Diagnostic {
        let span = find(&self.table, &problem.key).unwrap_or(0..0);
        let Problem { key, code, reason, fix } = problem.clone();
        Diagnostic { severity, ..self.at(span, key, code, reason, fix) }
    }

    /// Whether a section or key stands in this text.
    pub(super) fn has(&self, key: &str) -> bool {
        is_there(&self.table, key)
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
        let span = error.span().or_else(|| find(&self.table, section)).unwrap_or(self.span.clone());
        let (code, reason, fix) = of_type(error);
        let key = Some(key_at(&self.table, &span)).filter(|key| !key.is_empty());
        self.at(span, key.unwrap_or_else(|| section.to_owned()), code, reason, fix)
    }

    fn at(&self, span: Range<usize>, key: String, code: &str, reason: String, fix: String) -> Diagnostic {
        let Place { line, column, end_column, source } = self.lines.place(&span);
        let touches = |text: &&Interpolated| text.span.start < span.end && span.start < text.span.end;
        Diagnostic {
            severity: Severity::Error,
            file: self.file.clone(),
            line,
            column,
            end_column,
            code: code.to_owned(),
            key,
            reason,
            fix,
            source,
            interpolated: self.interpolated.iter().find(touches).map(|text| text.written.clone()),
        }
    }
}

/// Whether a key is only missing from a table because an entry with a mistake was left out of it.
fn lacks_what_was_wrong(found: &Diagnostic, earlier: &Diagnostic) -> bool {
    found.code == "key_missing"
        && earlier.key.strip_prefix(&*found.key).is_some_and(|rest| rest.starts_with(['.', '[']))
}
