//! Reading and checking.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::check::check;
use super::diagnostic::{Diagnostic, Severity};
use super::document::Document;
use super::environment::SECRET_FILE;
use super::file::{Config, File, RegistryConfig};
use super::found::{Found, SEPARATOR, section_of};
use super::redaction::Redaction;
use crate::domain::{Problems, UrlText};
use crate::place::{Places, RegionSettings, key_part};
use crate::routing::EndpointRow;
use crate::tokens;

/// The longest file of a secret, in bytes.
const MAX_SECRET_BYTES: u64 = 64 * 1024;

/// The longest configuration file, in bytes.
const MAX_FILE_BYTES: u64 = 64 * 1024 * 1024;

/// An endpoint table, and its name in messages.
struct TableFile {
    name: String,
    path: PathBuf,
    text: String,
}

/// Reads and checks a configuration file and the tables that it names. What is found is in the order of the
/// files: the configuration first, then the tables as it names them.
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
    let secret_files = SecretFiles { folder: &folder, read: RefCell::default() };
    let environment = &|name: &str| secret_files.or_environment(name, environment);
    let document = Document::parse(&name, text, environment)?;
    let mut found = Found { diagnostics: document.unset(|_| true), ..Found::default() };
    let file = sections(&document, &mut found);
    let mut problems = Problems::new();
    let tables = table_files(&document, &file, &folder, &mut problems);
    let mut documents = vec![document];
    for table in &tables {
        match Document::parse(&table.name, &table.text, environment) {
            Ok(document) => documents.push(document),
            Err(diagnostics) => found.diagnostics.extend(diagnostics),
        }
    }
    let rows = rows(&documents[1..], &mut found);
    if !problems.is_empty() || documents.len() <= tables.len() {
        found.broken.push("endpoints");
    }
    let mut warnings = Problems::new();
    secrets_written(&documents[0], &file.tokens, &mut problems);
    redis_secrets_written(&documents[0], &file, &mut problems);
    let config = check(&file, &rows, &folder, &mut problems, &mut warnings);
    let is_clean = problems.is_empty() && found.diagnostics.is_empty();
    found.tell(&problems, Severity::Error, &documents);
    // Beside a mistake, a warning may only follow from it.
    let has_mistake =
        |key: &str| problems.0.iter().any(|problem| section_of(&problem.key) == section_of(key));
    warnings.0.retain(|warning| !has_mistake(&warning.key));
    found.tell(&warnings, Severity::Warning, &documents);
    let names = std::iter::once(&*name).chain(tables.iter().map(|table| &*table.name));
    let redaction = redaction(&documents);
    let found = found.in_order(&names.collect::<Vec<_>>(), &redaction);
    match config {
        Some(config) if is_clean => Ok(Config {
            files: std::iter::once(path.to_owned())
                .chain(tables.into_iter().map(|table| table.path))
                .chain(beside(&file).map(|beside| folder.join(beside)))
                .chain(secret_files.read.take())
                .collect(),
            warnings: found,
            redaction,
            ..config
        }),
        _ => Err(found),
    }
}

/// The files beside the tables that a configuration is made of. Certificates of listeners and issuers' key sets are
/// read again on their own.
fn beside(file: &File) -> impl Iterator<Item = &Path> {
    let schemas = file.input.rules.iter().map(|rule| &*rule.schema_file);
    let issuers = file.authentication.issuers.iter().filter_map(|issuer| issuer.ca_file.as_deref());
    let upstream = Some(Path::new(&file.upstream.ca_file)).filter(|roots| !roots.as_os_str().is_empty());
    schemas.chain(issuers).chain(upstream)
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
    let folder = path.parent().unwrap_or(Path::new(""));
    let secret_files = SecretFiles { folder, read: RefCell::default() };
    let environment = &|name: &str| secret_files.or_environment(name, environment);
    let document = Document::parse(&path.display().to_string(), &text, environment)?;
    let matters = |section: &str| matches!(section, "tokens" | "regions");
    let mut found = Found { diagnostics: document.unset(matters), ..Found::default() };
    let settings: tokens::Settings = found.section(&document, "tokens");
    let regions = regions(&document, &mut found);
    let mut problems = Problems::new();
    secrets_written(&document, &settings, &mut problems);
    let tokens = tokens::Rules::from_settings(&settings, folder, &mut problems);
    let places = Places::from_settings(&regions, &crate::place::Settings::default(), &mut problems);
    match (tokens, places) {
        (Some(tokens), Some(places)) if found.diagnostics.is_empty() && problems.is_empty() => {
            Ok(RegistryConfig { tokens, regions: places.regions().clone() })
        }
        _ => {
            let documents = [document];
            found.tell(&problems, Severity::Error, &documents);
            Err(found.in_order(&[documents[0].file()], &redaction(&documents)))
        }
    }
}

/// Refuses passwords that stand in the file itself.
fn secrets_written(document: &Document<'_>, tokens: &tokens::Settings, problems: &mut Problems) {
    if tokens.store.url().has_password(document.written("tokens.store")) {
        password_written("tokens.store", "the password of the store stands in this file", problems);
    }
}

/// The same of Redis.
fn redis_secrets_written(document: &Document<'_>, file: &File, problems: &mut Problems) {
    let of_regions = file.regions.iter();
    let of_regions =
        of_regions.map(|(name, region)| (format!("regions.{}.redis", key_part(name)), &region.redis));
    let all = std::iter::once(("redis.address".to_owned(), &file.redis.address)).chain(of_regions);
    for (key, _) in all.filter(|(key, address)| address.has_password(document.written(key))) {
        password_written(&key, "the password of Redis stands in this file", problems);
    }
}

fn password_written(key: &str, reason: &str, problems: &mut Problems) {
    problems.add(
        key,
        "password_written",
        reason,
        "put it into the environment, or into a file of its own, and write ${NAME} or ${file:PATH} in its place",
    );
}

/// The files that `${file:PATH}` names; a relative path starts at the configuration file.
struct SecretFiles<'f> {
    folder: &'f Path,
    /// Those that were asked for, in order.
    read: RefCell<Vec<PathBuf>>,
}

impl SecretFiles<'_> {
    /// What stands for a name: a file's text without the line's end that editors leave, or the environment's value.
    fn or_environment(&self, name: &str, environment: &dyn Fn(&str) -> Option<String>) -> Option<String> {
        let Some(path) = name.strip_prefix(SECRET_FILE) else { return environment(name) };
        let path = self.folder.join(path);
        let is_short = std::fs::metadata(&path).is_ok_and(|found| found.len() <= MAX_SECRET_BYTES);
        let text = is_short.then(|| std::fs::read_to_string(&path).ok()).flatten();
        self.read.borrow_mut().push(path);
        text.map(|text| text.trim_end_matches(['\r', '\n']).to_owned())
    }
}

/// What may not be told of the environment's values in all files together.
fn redaction(documents: &[Document<'_>]) -> Redaction {
    let texts: Vec<&str> = documents.iter().map(Document::text).collect();
    Redaction::of(documents.iter().flat_map(Document::interpolated), &texts)
}

fn read(path: &Path) -> Result<String, Box<Diagnostic>> {
    let refuse = |reason: String| {
        Box::new(Diagnostic {
            severity: Severity::Error,
            file: path.display().to_string(),
            line: 1,
            column: 1,
            end_column: 2,
            code: "file_unreadable".to_owned(),
            key: String::new(),
            reason,
            fix: "name a configuration file that this user can read; `tollgate init` writes one".to_owned(),
            source: String::new(),
            interpolated: None,
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
        regions: regions(document, found),
        regions_written: document.has("regions"),
        place: found.section(document, "place"),
        upstream: found.section(document, "upstream"),
        endpoints: found.section(document, "endpoints"),
        tokens: found.section(document, "tokens"),
        journal: found.section(document, "journal"),
        redis: found.section(document, "redis"),
        notifications: found.section(document, "notifications"),
        authentication: found.section(document, "authentication"),
        limits: found.section(document, "limits"),
        input: found.section(document, "input"),
        secret_scanning: found.section(document, "secret_scanning"),
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
fn regions(document: &Document<'_>, found: &mut Found) -> Vec<(String, RegionSettings)> {
    let written: BTreeMap<String, RegionSettings> = found.section(document, "regions");
    if document.has("regions") {
        return document.in_written_order("regions", written);
    }
    vec![(
        MAIN.to_owned(),
        RegionSettings {
            letter: 'm',
            base_url: String::new(),
            upstreams: Vec::new(),
            redis: UrlText::default(),
        },
    )]
}

fn table_files(
    document: &Document<'_>,
    file: &File,
    folder: &Path,
    problems: &mut Problems,
) -> Vec<TableFile> {
    let mut tables = Vec::new();
    for (at, name) in file.endpoints.tables.iter().enumerate() {
        let path: PathBuf = folder.join(name);
        let key = format!("endpoints.tables[{at}]");
        match read(&path) {
            Ok(text) => {
                let shown = folder.join(document.written(&key).unwrap_or(name));
                tables.push(TableFile { name: shown.display().to_string(), path, text });
            }
            Err(diagnostic) => problems.add(
                key,
                "table_unreadable",
                format!("{}: {}", path.display(), diagnostic.reason),
                "name an endpoint table relative to this file",
            ),
        }
    }
    tables
}

fn rows(tables: &[Document<'_>], found: &mut Found) -> Vec<(String, EndpointRow)> {
    let mut rows = Vec::new();
    for table in tables {
        found.diagnostics.extend(table.unset(|_| true));
        for name in table.sections().filter(|name| *name != "endpoint") {
            found.diagnostics.push(table.unknown_section(name, &["endpoint"]));
            found.broken.push("endpoints");
        }
        let prefix = format!("{}{SEPARATOR}", table.file());
        let written: Vec<EndpointRow> = found.part(table, "endpoints", "endpoint", &prefix);
        rows.extend(
            written.into_iter().enumerate().map(|(at, row)| (format!("{prefix}endpoint[{at}]"), row)),
        );
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_may_stand_in_a_file_of_its_own_and_is_watched_and_never_told() {
        let folder = tempfile::tempdir().unwrap();
        let secret = folder.path().join("server");
        let path = folder.path().join("tollgate.toml");
        let text =
            "[listen]\nplain = [\"127.0.0.1:0\"]\n[upstream]\nservers = [\"http://${file:server}:9\"]\n";
        std::fs::write(&secret, "very-secret.example\r\n").unwrap();
        let config = load_text(&path, text, &|_| None).unwrap();
        assert!(config.files.contains(&secret));
        assert_eq!(
            config.redaction.apply("http://very-secret.example:9 is away"),
            "http://${file:server}:9 is away"
        );

        std::fs::write(&secret, "very secret").unwrap();
        let told = format!("{:?}", load_text(&path, text, &|_| None).err());
        assert!(told.contains("${file:server}") && !told.contains("very secret"), "{told}");

        std::fs::write(&secret, "x".repeat(64 * 1024 + 1)).unwrap();
        let refused = load_text(&path, text, &|_| None).err().unwrap();
        assert_eq!(refused[0].code, "secret_file_unreadable");
    }
}
