//! The room's tests, and what they share.

mod faults;
mod matching;
mod property;
mod rows;
mod segment;
mod versions;

use super::*;
use crate::domain::Problems;
use crate::message::{Head, Version};

/// A head without fields.
fn head(method: &str, target: impl AsRef<[u8]>) -> Head {
    Head::from_parts(Version::Http11, method.as_bytes(), target.as_ref(), [])
}

fn row(operation: &str, method: &str, path: &str) -> EndpointRow {
    toml::from_str(&format!("operation = '{operation}'\nmethod = '{method}'\npath = '{path}'")).unwrap()
}

fn keyed(rows: Vec<EndpointRow>) -> Vec<(String, EndpointRow)> {
    rows.into_iter().enumerate().map(|(index, row)| (format!("endpoint[{index}]"), row)).collect()
}

fn table_of(rows: Vec<EndpointRow>, settings: &Settings) -> Table {
    let mut problems = Problems::new();
    let table = Table::from_rows(&keyed(rows), settings, &mut problems);
    table.unwrap_or_else(|| panic!("{problems:#?}"))
}

fn segment_rows() -> Vec<EndpointRow> {
    toml::from_str::<EndpointFile>(SEGMENT_TABLE).unwrap().endpoint
}

/// Segment's table with other settings.
fn segment_with(change: impl FnOnce(&mut Settings)) -> Table {
    let mut settings = Settings::default();
    change(&mut settings);
    table_of(segment_rows(), &settings)
}

fn segment() -> Table {
    segment_with(|_| {})
}

/// What a request is for, in one word: an operation, or why none.
fn word(table: &Table, head: &Head) -> String {
    match table.find(head) {
        Ok(Match::Matched(matched)) => matched.endpoint.operation.to_string(),
        Ok(Match::Unmatched(unmatched)) => {
            let reason = match unmatched.reason {
                UnmatchedReason::UnknownPath => "unknown_path".to_owned(),
                UnmatchedReason::Misspelled(endpoint) => format!("misspelled {}", endpoint.operation),
                UnmatchedReason::UnknownMethod(allow) => format!("unknown_method {allow}"),
                UnmatchedReason::MethodNotImplemented => "not_implemented".to_owned(),
                UnmatchedReason::EscapedSlash => "escaped_slash".to_owned(),
                UnmatchedReason::VersionUnsupported { choices, .. } => format!("406 {choices}"),
                UnmatchedReason::MediaTypeUnsupported { choices, .. } => format!("415 {choices}"),
            };
            let outcome = unmatched.outcome().map_or("forward", crate::domain::Outcome::reason);
            format!("{reason} -> {outcome}")
        }
        Err(fault) => format!("{fault:?}"),
    }
}
