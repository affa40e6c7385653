//! Everything that is found in the files of one configuration: mistakes once, and none that only follows from
//! another.

use serde::de::DeserializeOwned;

use super::check::OF_ENDPOINTS;
use super::diagnostic::{Diagnostic, Severity};
use super::document::{Document, Section, State};
use super::redaction::Redaction;
use crate::domain::{Problem, Problems};

/// What was found.
#[derive(Default)]
pub(super) struct Found {
    pub(super) diagnostics: Vec<Diagnostic>,
    /// Sections that could not be read, so that their defaults stand in for them.
    pub(super) broken: Vec<&'static str>,
    /// Keys that were left out of sections that could be read without them.
    pub(super) left_out: Vec<String>,
}

impl Found {
    /// Reads one section.
    pub(super) fn section<T: DeserializeOwned + Default>(
        &mut self,
        document: &Document<'_>,
        name: &'static str,
    ) -> T {
        self.part(document, name, name, "")
    }

    /// Reads a part of a section; `prefix` is what keys of its document start with in problems.
    pub(super) fn part<T: DeserializeOwned + Default>(
        &mut self,
        document: &Document<'_>,
        section: &'static str,
        name: &str,
        prefix: &str,
    ) -> T {
        let before = self.diagnostics.len();
        let Section { value, state } = document.section(name, &mut self.diagnostics);
        match state {
            State::Whole => {}
            State::Patched => {
                let keys = self.diagnostics[before..].iter().map(|found| format!("{prefix}{}", found.key));
                self.left_out.extend(keys);
            }
            State::Broken => self.broken.push(section),
        }
        value
    }

    /// Whether a room's problem only follows from something that could not be read.
    fn explains(&self, problem: &Problem, documents: &[Document<'_>]) -> bool {
        let broken = |section: &str| self.broken.contains(&section);
        let key = &problem.key;
        let is_broken = match section_of(key) {
            "endpoints" if problem.code == "table_unreadable" => false,
            section @ ("place" | "authentication" | "upstream") => broken(section) || broken("regions"),
            "regions" => broken("regions") || broken("place"),
            "limits" => broken("limits") || (broken("endpoints") && OF_ENDPOINTS.contains(&problem.code)),
            section => broken(section),
        };
        let is_part = |whole: &str, part: &str| {
            part.strip_prefix(whole).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        let touches = |left_out: &String| is_part(left_out, key) || is_part(key, left_out);
        let is_missing = || {
            let patched = |left_out: &String| section_of(left_out) == section_of(key);
            self.left_out.iter().any(patched) && !is_there(key, documents)
        };
        is_broken || self.left_out.iter().any(touches) || is_missing()
    }

    /// Adds what the rooms found, each at its place.
    pub(super) fn tell(&mut self, problems: &Problems, severity: Severity, documents: &[Document<'_>]) {
        let told = problems.0.iter().filter(|problem| !self.explains(problem, documents));
        let told: Vec<Diagnostic> = told.map(|problem| locate(problem, severity, documents)).collect();
        self.diagnostics.extend(told);
    }

    /// Everything that was found, in the order of the files. Where a variable or a secret's file is missing, what
    /// else was said of its line is left out.
    pub(super) fn in_order(self, files: &[&str], redaction: &Redaction) -> Vec<Diagnostic> {
        let mut all = self.diagnostics;
        let unset: Vec<(String, usize)> = all
            .iter()
            .filter(|diagnostic| is_unset(diagnostic))
            .map(|diagnostic| (diagnostic.file.clone(), diagnostic.line))
            .collect();
        all.retain(|diagnostic| {
            is_unset(diagnostic)
                || !unset.iter().any(|(file, line)| *file == diagnostic.file && *line == diagnostic.line)
        });
        let place = |at: &Diagnostic| (files.iter().position(|file| *file == at.file), at.line, at.column);
        all.sort_by_key(place);
        all.into_iter().map(|diagnostic| redaction.clear(diagnostic)).collect()
    }
}

/// Whether a `${…}` has no value.
fn is_unset(diagnostic: &Diagnostic) -> bool {
    diagnostic.code.starts_with("environment_") || diagnostic.code == "secret_file_unreadable"
}

/// Stands between an endpoint table's name and a key in it.
pub(super) const SEPARATOR: char = '\u{1f}';

/// The section of a key; those of endpoint tables belong to `endpoints`.
pub(super) fn section_of(key: &str) -> &str {
    if key.contains(SEPARATOR) { "endpoints" } else { key.split(['.', '[']).next().unwrap_or(key) }
}

/// The document of a key, and the key in it.
fn document_of<'d, 'k>(key: &'k str, documents: &'d [Document<'d>]) -> (&'d Document<'d>, &'k str) {
    let Some((file, key)) = key.split_once(SEPARATOR) else { return (&documents[0], key) };
    let table = documents[1..].iter().find(|table| table.file() == file);
    (table.unwrap_or(&documents[0]), key)
}

fn is_there(key: &str, documents: &[Document<'_>]) -> bool {
    let (document, key) = document_of(key, documents);
    document.has(key)
}

fn locate(problem: &Problem, severity: Severity, documents: &[Document<'_>]) -> Diagnostic {
    let (document, key) = document_of(&problem.key, documents);
    document.locate(&Problem { key: key.to_owned(), ..problem.clone() }, severity)
}
