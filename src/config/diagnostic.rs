//! A mistake with its place, in words.

use std::fmt;

use annotate_snippets::{AnnotationKind, Level, Origin, Renderer, Snippet};

/// How much a diagnostic matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Nothing starts with it.
    Error,
    /// Legal, but surely not what was meant.
    Warning,
}

/// Something wrong in a file, ready to be shown. Its JSON form is documented in `config/docs/check.md`.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Diagnostic {
    /// How much it matters.
    pub severity: Severity,
    /// The file's name as it was given.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Column of its first character, from 1, in Unicode scalar values.
    pub column: usize,
    /// The column behind its last character on that line.
    pub end_column: usize,
    /// A stable word for this kind of mistake.
    pub code: String,
    /// The key.
    pub key: String,
    /// What is wrong.
    pub reason: String,
    /// What to do.
    pub fix: String,
    /// The line as the file has it; empty if there is no file.
    pub source: String,
    /// What the file writes at this place, if that holds values of the environment.
    #[serde(skip)]
    pub(super) interpolated: Option<String>,
}

impl Diagnostic {
    /// The text for a terminal with colours; [`fmt::Display`] writes the one without.
    pub fn styled(&self) -> String {
        self.render(&Renderer::styled())
    }

    fn render(&self, renderer: &Renderer) -> String {
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let title = level.primary_title(&*self.reason).id(&*self.code);
        let fix = Level::HELP.with_name("fix").message(&*self.fix);
        let group = if self.source.is_empty() {
            title.element(Origin::path(&*self.file))
        } else {
            let label = Some(&*self.key).filter(|key| !key.is_empty());
            let at = self.byte(self.column)..self.byte(self.end_column);
            let caret = AnnotationKind::Primary.span(at).label(label);
            title.element(
                Snippet::source(&*self.source).path(&*self.file).line_start(self.line).annotation(caret),
            )
        };
        renderer.render(&[group.element(fix)])
    }

    /// Where a column begins in the line.
    fn byte(&self, column: usize) -> usize {
        self.source.char_indices().nth(column - 1).map_or(self.source.len(), |(at, _)| at)
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(&Renderer::plain()))
    }
}
