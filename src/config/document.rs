//! One TOML text with the place of every key, so that each mistake is told with its line.

use std::ops::Range;

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

use crate::domain::Problem;

/// A mistake in a file, ready to be shown.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Diagnostic {
    /// The file's name as it was given.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// A stable word for this kind of mistake.
    pub code: String,
    /// The key.
    pub key: String,
    /// What is wrong.
    pub reason: String,
    /// What to do.
    pub fix: String,
}

impl std::fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { file, line, column, code, key, reason, fix } = self;
        write!(f, "{file}:{line}:{column}: {code}: ")?;
        if !key.is_empty() {
            write!(f, "{key}: ")?;
        }
        write!(f, "{reason}\n    fix: {fix}")
    }
}

/// A parsed text.
pub(super) struct Document<'i> {
    file: String,
    text: &'i str,
    table: DeTable<'i>,
    span: Range<usize>,
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
        let mut document = Self { file: file.to_owned(), text, table: table.into_inner(), span };
        if !errors.is_empty() {
            return Err(errors.iter().map(|error| document.syntax(error)).collect());
        }
        let mut missing = Vec::new();
        for (_, value) in &mut document.table {
            interpolate(value, environment, &mut missing);
        }
        let diagnostics: Vec<Diagnostic> = missing
            .into_iter()
            .map(|(name, span)| {
                let reason = format!("the environment has no variable `{name}`");
                document.at(span, "", "environment_missing", reason, format!("set {name}, or write the value itself"))
            })
            .collect();
        if diagnostics.is_empty() { Ok(document) } else { Err(diagnostics) }
    }

    /// The names of the sections.
    pub(super) fn sections(&self) -> impl Iterator<Item = &str> {
        self.table.keys().map(|key| &**key.get_ref())
    }

    /// Reads one section; its default if it is missing.
    pub(super) fn section<T: DeserializeOwned + Default>(&self, name: &str, diagnostics: &mut Vec<Diagnostic>) -> T {
        let Some(value) = self.table.get(name) else { return T::default() };
        match T::deserialize(ValueDeserializer::from(value.clone())) {
            Ok(section) => section,
            Err(error) => {
                diagnostics.push(self.typed(name, &error));
                T::default()
            }
        }
    }

    /// A section that is not known.
    pub(super) fn unknown_section(&self, name: &str, known: &[&str]) -> Diagnostic {
        let span = self.table.get_key_value(name).map_or(0..0, |(key, _)| key.span());
        let fix = suggestion(name, known.iter().copied());
        self.at(span, name, "key_unknown", format!("there is no section `{name}`"), fix)
    }

    /// A problem that a room found, at its key's line.
    pub(super) fn locate(&self, problem: &Problem) -> Diagnostic {
        let span = self.find(&problem.key).unwrap_or(0..0);
        self.at(span, &problem.key, problem.code, problem.reason.clone(), problem.fix.clone())
    }

    /// Whether a key's first part stands in this text.
    pub(super) fn has(&self, key: &str) -> bool {
        key.split(['.', '[']).next().is_some_and(|first| self.table.contains_key(first))
    }

    /// Where a dotted path is, or the nearest part of it that is there.
    fn find(&self, key: &str) -> Option<Range<usize>> {
        let mut parts = key.split(['.', '[']).map(|part| part.trim_end_matches(']')).filter(|part| !part.is_empty());
        let first = parts.next()?;
        let (name, mut value) = self.table.get_key_value(first)?;
        let mut span = name.span();
        for part in parts {
            let next = match value.get_ref() {
                DeValue::Table(table) => table.get_key_value(part).map(|(key, value)| (key.span(), value)),
                DeValue::Array(array) => {
                    part.parse::<usize>().ok().and_then(|index| array.get(index)).map(|value| (value.span(), value))
                }
                _ => None,
            };
            let Some((found, inner)) = next else { break };
            span = found;
            value = inner;
        }
        Some(span)
    }

    fn syntax(&self, error: &toml::de::Error) -> Diagnostic {
        let span = error.span().unwrap_or(self.span.clone());
        let reason = error.message().replace('\n', ", ");
        self.at(span, "", "syntax", reason, "write it as TOML 1.0 says, see toml.io".to_owned())
    }

    /// A value of the wrong kind or a key that nobody knows.
    fn typed(&self, section: &str, error: &toml::de::Error) -> Diagnostic {
        let span = error.span().or_else(|| self.find(section)).unwrap_or(self.span.clone());
        let message = error.message().trim().to_owned();
        let (reason, expected) = message.split_once(", expected ").unwrap_or((&message, ""));
        let names: Vec<&str> = expected.split('`').skip(1).step_by(2).collect();
        let quoted = reason.split('`').nth(1).unwrap_or_default();
        if reason.starts_with("unknown field") {
            let fix = suggestion(quoted, names.into_iter());
            return self.at(span, section, "key_unknown", format!("there is no key `{quoted}` here"), fix);
        }
        if reason.starts_with("unknown variant") {
            let fix = suggestion(quoted, names.into_iter());
            return self.at(span, section, "value_unknown", format!("`{quoted}` is not a choice here"), fix);
        }
        let fix = match (expected, reason) {
            ("", reason) if reason.starts_with("missing field") => format!("add the key `{quoted}`"),
            ("", _) => "see config/README.md for what this key takes".to_owned(),
            (expected, _) => format!("write {expected}"),
        };
        self.at(span, section, "value_invalid", reason.to_owned(), fix)
    }

    fn at(&self, span: Range<usize>, key: &str, code: &str, reason: String, fix: String) -> Diagnostic {
        let before = &self.text[..span.start.min(self.text.len())];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Diagnostic {
            file: self.file.clone(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            code: code.to_owned(),
            key: key.to_owned(),
            reason,
            fix,
        }
    }
}

/// "did you mean", or the whole choice.
pub(super) fn suggestion<'a>(wrong: &str, choices: impl Iterator<Item = &'a str>) -> String {
    let choices: Vec<&str> = choices.collect();
    let nearest = choices
        .iter()
        .map(|choice| (strsim::damerau_levenshtein(wrong, choice), choice))
        .filter(|(distance, choice)| *distance <= choice.len().max(3) / 3)
        .min();
    match nearest {
        Some((_, choice)) => format!("did you mean `{choice}`?"),
        None if choices.is_empty() => "remove it".to_owned(),
        None => format!("use one of {}", choices.join(", ")),
    }
}

type Missing = Vec<(String, Range<usize>)>;

/// Puts the environment's values in place of `${NAME}`, in strings only.
fn interpolate(value: &mut Spanned<DeValue<'_>>, environment: &dyn Fn(&str) -> Option<String>, missing: &mut Missing) {
    let span = value.span();
    match value.get_mut() {
        DeValue::String(text) => {
            if text.contains("${") {
                *text = replaced(text, environment, |name| missing.push((name.to_owned(), span.clone()))).into();
            }
        }
        DeValue::Array(array) => array.iter_mut().for_each(|value| interpolate(value, environment, missing)),
        DeValue::Table(table) => {
            for (_, value) in table.iter_mut() {
                interpolate(value, environment, missing);
            }
        }
        DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Datetime(_) => {}
    }
}

fn replaced(text: &str, environment: &dyn Fn(&str) -> Option<String>, mut missing: impl FnMut(&str)) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        out.push_str(before);
        let Some((name, after)) = after.split_once('}') else {
            out.push_str("${");
            rest = after;
            continue;
        };
        match environment(name) {
            Some(value) => out.push_str(&value),
            None => missing(name),
        }
        rest = after;
    }
    out.push_str(rest);
    out
}
