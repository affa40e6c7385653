//! Reading and checking.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use super::check::{OF_ENDPOINTS, check};
use super::diagnostic::Diagnostic;
use super::document::Document;
use super::file::{Config, File, RegistryConfig};
use crate::domain::{Problem, Problems};
use crate::place::{Places, RegionSettings};
use crate::routing::EndpointRow;
use crate::tokens;

/// The longest configuration file, in bytes.
const MAX_FILE_BYTES: u64 = 64 * 1024 * 1024;

/// An endpoint table's text and its name in messages.
struct TableFile {
    name: String,
    text: String,
}

/// Reads and checks a configuration file and the tables that it names.
pub fn load(path: &Path, environment: &dyn Fn(&str) -> Option<String>) -> Result<Config, Vec<Diagnostic>> {
    let text = read(path).map_err(|diagnostic| vec![*diagnostic])?;
    load_text(path, &text, environment)
}

/// Checks a configuration's text as if it stood in the file `path`.
pub fn load_text(
    path: &Path,
    text: &str,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<Config, Vec<Diagnostic>> {
    let name = path.display().to_string();
    let folder = path.parent().unwrap_or(Path::new("")).to_owned();
    let document = Document::parse(&name, text, environment)?;
    let mut found = Found { diagnostics: document.unset(|_| true), ..Found::default() };
    let file = sections(&document, &mut found);
    let mut problems = Problems::new();
    let tables = table_files(&file, &folder, &mut problems);
    let mut documents = Vec::new();
    for table in &tables {
        match Document::parse(&table.name, &table.text, environment) {
            Ok(document) => documents.push(document),
            Err(diagnostics) => found.diagnostics.extend(diagnostics),
        }
    }
    let rows = rows(&documents, &mut found);
    if !problems.is_empty() || documents.len() < tables.len() {
        found.broken.push("endpoints");
    }
    let config = check(&file, &rows, &folder, &mut problems);
    let told = problems.0.iter().filter(|problem| !found.explains(problem));
    let told: Vec<Diagnostic> = told.map(|problem| locate(problem, &document, &documents)).collect();
    match config {
        Some(mut config) if problems.is_empty() && found.diagnostics.is_empty() => {
            config.files = std::iter::once(path.to_owned())
                .chain(tables.iter().map(|table| table.name.clone().into()))
                .collect();
            Ok(config)
        }
        _ => Err(found.in_order(&name, told)),
    }
}

/// Reads a text's sections as written, defaults filled in, without checking what they say.
pub fn parse(text: &str) -> Result<File, Vec<Diagnostic>> {
    let document = Document::parse("text", text, &|_| None)?;
    let mut found = Found::default();
    let file = sections(&document, &mut found);
    if found.diagnostics.is_empty() { Ok(file) } else { Err(found.diagnostics) }
}

/// Reads only what commands on the registry need, so that a mistake elsewhere does not stop a revocation.
pub fn load_registry(
    path: &Path,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<RegistryConfig, Vec<Diagnostic>> {
    let text = read(path).map_err(|diagnostic| vec![*diagnostic])?;
    let document = Document::parse(&path.display().to_string(), &text, environment)?;
    let mut diagnostics = document.unset(|section| matches!(section, "tokens" | "regions"));
    let settings: tokens::Settings = document.section("tokens", &mut diagnostics);
    let regions = regions(&document, &mut diagnostics);
    if !diagnostics.is_empty() {
        return Err(diagnostics);
    }
    let mut problems = Problems::new();
    let folder = path.parent().unwrap_or(Path::new(""));
    let tokens = tokens::Rules::from_settings(&settings, folder, &mut problems);
    let places = Places::from_settings(&regions, &crate::place::Settings::default(), &mut problems);
    match (tokens, places) {
        (Some(tokens), Some(places)) => Ok(RegistryConfig { tokens, regions: places.regions().clone() }),
        _ => Err(problems.0.iter().map(|problem| document.locate(problem)).collect()),
    }
}

/// What reading found, before the rooms check what was read.
#[derive(Default)]
struct Found {
    diagnostics: Vec<Diagnostic>,
    /// Sections that could not be read, so that their defaults stand in for them.
    broken: Vec<&'static str>,
}

impl Found {
    /// Reads one section.
    fn section<T: DeserializeOwned + Default>(&mut self, document: &Document<'_>, name: &'static str) -> T {
        self.watch(name, |diagnostics| document.section(name, diagnostics))
    }

    /// Reads a part of a section, which is broken if anything is found.
    fn watch<T>(&mut self, section: &'static str, read: impl FnOnce(&mut Vec<Diagnostic>) -> T) -> T {
        let before = self.diagnostics.len();
        let value = read(&mut self.diagnostics);
        if self.diagnostics.len() > before {
            self.broken.push(section);
        }
        value
    }

    /// Whether a room's problem only follows from a section that could not be read.
    fn explains(&self, problem: &Problem) -> bool {
        let broken = |section: &str| self.broken.contains(&section);
        let key = &problem.key;
        let section =
            if key.contains(SEPARATOR) { "endpoints" } else { key.split(['.', '[']).next().unwrap_or(key) };
        match section {
            "endpoints" if problem.code == "table_unreadable" => false,
            "place" | "authentication" | "upstream" => broken(section) || broken("regions"),
            "regions" => broken(section) || broken("place"),
            "limits" => broken(section) || (broken("endpoints") && OF_ENDPOINTS.contains(&problem.code)),
            section => broken(section),
        }
    }

    /// Everything that was found, in the order of the files. Where a variable is missing, what else was said of
    /// its line is left out.
    fn in_order(self, main: &str, told: Vec<Diagnostic>) -> Vec<Diagnostic> {
        let mut all = self.diagnostics;
        let unset: Vec<(String, usize)> = all
            .iter()
            .filter(|diagnostic| diagnostic.code.starts_with("environment_"))
            .map(|diagnostic| (diagnostic.file.clone(), diagnostic.line))
            .collect();
        all.extend(told);
        all.retain(|diagnostic| {
            diagnostic.code.starts_with("environment_")
                || !unset.iter().any(|(file, line)| *file == diagnostic.file && *line == diagnostic.line)
        });
        all.sort_by(|left, right| {
            let place = |at: &Diagnostic| (at.file != main, at.file.clone(), at.line, at.column);
            place(left).cmp(&place(right))
        });
        all
    }
}

fn read(path: &Path) -> Result<String, Box<Diagnostic>> {
    let refuse = |reason: String| {
        Box::new(Diagnostic {
            file: path.display().to_string(),
            line: 1,
            column: 1,
            code: "file_unreadable".to_owned(),
            key: String::new(),
            reason,
            fix: "name a configuration file that this user can read; `tollgate init` writes one".to_owned(),
        })
    };
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.len() > MAX_FILE_BYTES => {
            return Err(refuse("it is longer than 64 MiB".to_owned()));
        }
        Ok(_) => {}
        Err(error) => return Err(refuse(error.to_string())),
    }
    std::fs::read_to_string(path).map_err(|error| refuse(error.to_string()))
}

fn sections(document: &Document<'_>, found: &mut Found) -> File {
    for name in document.sections() {
        if !File::SECTIONS.contains(&name) {
            found.diagnostics.push(document.unknown_section(name, &File::SECTIONS));
        }
    }
    let mut file = File {
        listen: found.section(document, "listen"),
        admin: found.section(document, "admin"),
        regions: found.watch("regions", |diagnostics| regions(document, diagnostics)),
        regions_written: document.has("regions"),
        place: found.section(document, "place"),
        upstream: found.section(document, "upstream"),
        endpoints: found.section(document, "endpoints"),
        tokens: found.section(document, "tokens"),
        authentication: found.section(document, "authentication"),
        limits: found.section(document, "limits"),
        logs: found.section(document, "logs"),
        replies: found.section(document, "replies"),
    };
    if let ([(_, region)], false) = (&mut file.regions[..], file.regions_written) {
        region.upstreams.clone_from(&file.upstream.servers);
    }
    file
}

const MAIN: &str = "main";

/// The configured regions, or the one that there is without any.
fn regions(document: &Document<'_>, diagnostics: &mut Vec<Diagnostic>) -> Vec<(String, RegionSettings)> {
    let written: BTreeMap<String, RegionSettings> = document.section("regions", diagnostics);
    if document.has("regions") {
        return document.in_written_order("regions", written);
    }
    vec![(MAIN.to_owned(), RegionSettings { letter: 'm', base_url: String::new(), upstreams: Vec::new() })]
}

fn table_files(file: &File, folder: &Path, problems: &mut Problems) -> Vec<TableFile> {
    let mut tables = Vec::new();
    for (at, name) in file.endpoints.tables.iter().enumerate() {
        let path: PathBuf = folder.join(name);
        match read(&path) {
            Ok(text) => tables.push(TableFile { name: path.display().to_string(), text }),
            Err(diagnostic) => problems.add(
                format!("endpoints.tables[{at}]"),
                "table_unreadable",
                format!("{}: {}", path.display(), diagnostic.reason),
                "name an endpoint table relative to this file",
            ),
        }
    }
    tables
}

fn rows(documents: &[Document<'_>], found: &mut Found) -> Vec<(String, EndpointRow)> {
    let mut rows = Vec::new();
    for document in documents {
        found.watch("endpoints", |diagnostics| diagnostics.extend(document.unset(|_| true)));
        for name in document.sections() {
            if name != "endpoint" {
                found.watch("endpoints", |diagnostics| {
                    diagnostics.push(document.unknown_section(name, &["endpoint"]));
                });
            }
        }
        let written: Vec<EndpointRow> =
            found.watch("endpoints", |diagnostics| document.section("endpoint", diagnostics));
        let named = |(at, row)| (format!("{}{SEPARATOR}endpoint[{at}]", document.file()), row);
        rows.extend(written.into_iter().enumerate().map(named));
    }
    rows
}

/// Stands between an endpoint table's name and a key in it.
const SEPARATOR: char = '\u{1f}';

fn locate(problem: &Problem, main: &Document<'_>, tables: &[Document<'_>]) -> Diagnostic {
    let Some((file, key)) = problem.key.split_once(SEPARATOR) else { return main.locate(problem) };
    let problem = Problem { key: key.to_owned(), ..problem.clone() };
    tables.iter().find(|table| table.file() == file).unwrap_or(main).locate(&problem)
}
