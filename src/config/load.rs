//! Reading and checking.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::document::{Diagnostic, Document};
use super::file::{Config, File, RegistryConfig};
use crate::domain::{Problem, Problems};
use crate::place::{ModeSetting, Places, RegionSettings};
use crate::routing::{EndpointRow, Table};
use crate::{admin, authentication, limits, listen, reply, telemetry, tokens, upstream};

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
    let mut diagnostics = Vec::new();
    let file = sections(&document, &mut diagnostics);
    let mut problems = Problems::new();
    let tables = table_files(&file, &folder, &mut problems);
    let mut documents = Vec::new();
    for table in &tables {
        match Document::parse(&table.name, &table.text, environment) {
            Ok(document) => documents.push(document),
            Err(found) => diagnostics.extend(found),
        }
    }
    let rows = rows(&documents, &mut diagnostics);
    if !diagnostics.is_empty() {
        diagnostics.extend(problems.0.iter().map(|problem| locate(problem, &document, &documents)));
        return Err(diagnostics);
    }
    let config = check(&file, &rows, &folder, &mut problems);
    match config {
        Some(mut config) if problems.is_empty() => {
            config.files = std::iter::once(path.to_owned())
                .chain(tables.iter().map(|table| table.name.clone().into()))
                .collect();
            Ok(config)
        }
        _ => Err(problems.0.iter().map(|problem| locate(problem, &document, &documents)).collect()),
    }
}

/// Reads a text's sections as written, defaults filled in, without checking what they say.
pub fn parse(text: &str) -> Result<File, Vec<Diagnostic>> {
    let document = Document::parse("text", text, &|_| None)?;
    let mut diagnostics = Vec::new();
    let file = sections(&document, &mut diagnostics);
    if diagnostics.is_empty() { Ok(file) } else { Err(diagnostics) }
}

/// Reads only what commands on the registry need, so that a mistake elsewhere does not stop a revocation.
pub fn load_registry(
    path: &Path,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<RegistryConfig, Vec<Diagnostic>> {
    let text = read(path).map_err(|diagnostic| vec![*diagnostic])?;
    let document = Document::parse(&path.display().to_string(), &text, environment)?;
    let mut diagnostics = Vec::new();
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

fn sections(document: &Document<'_>, diagnostics: &mut Vec<Diagnostic>) -> File {
    for name in document.sections() {
        if !File::SECTIONS.contains(&name) {
            diagnostics.push(document.unknown_section(name, &File::SECTIONS));
        }
    }
    let mut file = File {
        listen: document.section("listen", diagnostics),
        admin: document.section("admin", diagnostics),
        regions: regions(document, diagnostics),
        place: document.section("place", diagnostics),
        upstream: document.section("upstream", diagnostics),
        endpoints: document.section("endpoints", diagnostics),
        tokens: document.section("tokens", diagnostics),
        authentication: document.section("authentication", diagnostics),
        limits: document.section("limits", diagnostics),
        logs: document.section("logs", diagnostics),
        replies: document.section("replies", diagnostics),
    };
    if let [(name, region)] = &mut file.regions[..]
        && name == MAIN
        && region.upstreams.is_empty()
    {
        region.upstreams.clone_from(&file.upstream.servers);
    }
    file
}

const MAIN: &str = "main";

/// The configured regions, or the one that there is without any.
fn regions(document: &Document<'_>, diagnostics: &mut Vec<Diagnostic>) -> Vec<(String, RegionSettings)> {
    let written: BTreeMap<String, RegionSettings> = document.section("regions", diagnostics);
    if !written.is_empty() || document.has("regions") {
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

fn rows(documents: &[Document<'_>], diagnostics: &mut Vec<Diagnostic>) -> Vec<(String, EndpointRow)> {
    let mut rows = Vec::new();
    for document in documents {
        for name in document.sections() {
            if name != "endpoint" {
                diagnostics.push(document.unknown_section(name, &["endpoint"]));
            }
        }
        let written: Vec<EndpointRow> = document.section("endpoint", diagnostics);
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

/// Every room's check, so that all mistakes are found in one run.
fn check(
    file: &File,
    rows: &[(String, EndpointRow)],
    folder: &Path,
    problems: &mut Problems,
) -> Option<Config> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let listen = listen::from_settings(&file.listen, folder, cores, problems);
    let admin = admin::from_settings(&file.admin, problems);
    let places = Places::from_settings(&file.regions, &file.place, problems);
    let servers: Vec<(String, Vec<String>)> = file
        .regions
        .iter()
        .map(|(name, region)| {
            let is_plain = name == MAIN && !file.upstream.servers.is_empty();
            let key =
                if is_plain { "upstream.servers".to_owned() } else { format!("regions.{name}.upstreams") };
            (key, region.upstreams.clone())
        })
        .collect();
    let upstream = upstream::from_settings(&file.upstream, &servers, folder, problems);
    let table = Table::from_rows(rows, &file.endpoints, problems);
    let tokens = tokens::Rules::from_settings(&file.tokens, folder, problems);
    let authentication = places.as_ref().and_then(|places| {
        let fence =
            (file.place.mode == ModeSetting::Fence).then(|| places.regions().by_name(&file.place.region));
        authentication::from_settings(&file.authentication, places.regions(), fence.flatten(), problems)
    });
    let limits = table
        .as_ref()
        .and_then(|table| limits::Rules::from_settings(&file.limits, table.endpoints(), problems));
    let logs = telemetry::from_settings(&file.logs, problems);
    let replies = reply::from_settings(&file.replies, problems);
    Some(Config {
        files: Vec::new(),
        listen: listen?,
        admin: admin?,
        places: places?,
        upstream: upstream?,
        table: table?,
        tokens: tokens?,
        authentication: authentication?,
        limits: limits?,
        retry_after_ceiling_seconds: file.limits.retry_after_ceiling_seconds,
        logs: logs?,
        replies: replies?,
    })
}
