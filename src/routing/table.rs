//! The endpoint table and its one question: what is this request for?

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;

use super::check::{CheckedRow, check, check_scope};
use super::matched::{Deprecation, Match, Matched, Unmatched, UnmatchedReason};
use super::media_type::{Negotiated, negotiate};
use super::path::{self, PathFault};
use super::template::{Part, Template};
use super::trie::{Search, Trie};
use super::{Allow, EndpointRow, EscapedSlash, Params, Settings, UnknownVersion, UnmatchedPolicy};
use crate::domain::{ApiVersion, Endpoint, Method, Plan, Problems};
use crate::message::Head;

/// The most endpoints that one table may have.
const MAX_ENDPOINTS: usize = 65_000;

#[derive(Clone, Debug)]
struct Entry {
    names: Box<[Arc<str>]>,
    choices: Box<str>,
    deprecated: Vec<(ApiVersion, Deprecation)>,
}

/// Every endpoint, ready to be searched. Immutable; shared between threads.
#[derive(Clone, Debug)]
pub struct Table {
    endpoints: Vec<Endpoint>,
    entries: Vec<Entry>,
    by_operation: HashMap<Arc<str>, u16>,
    exact: Trie,
    lenient: Trie,
    vendor: Box<str>,
    unmatched: UnmatchedPolicy,
    misspelled: UnmatchedPolicy,
    unknown_version: UnknownVersion,
    escaped_slash: EscapedSlash,
    scope: Option<Arc<str>>,
    further_scopes: Box<[Arc<str>]>,
    plans: Vec<Plan>,
}

impl Table {
    /// Builds the table from the rows of its files, each with its key (for example `endpoint[3]`), and from
    /// [`Settings::extra`]. Reports every mistake; [`None`] if there is one.
    pub fn from_rows(
        rows: &[(String, EndpointRow)],
        settings: &Settings,
        problems: &mut Problems,
    ) -> Option<Self> {
        let before = problems.0.len();
        check_settings(settings, problems);
        let mut table = Self::empty(settings);
        let extra =
            settings.extra.iter().enumerate().map(|(at, row)| (format!("endpoints.extra[{at}]"), row));
        let rows = rows.iter().map(|(key, row)| (key.clone(), row)).chain(extra);
        for (key, row) in rows {
            if table.endpoints.len() == MAX_ENDPOINTS {
                problems.add(
                    key,
                    "endpoints_too_many",
                    format!("there are more than {MAX_ENDPOINTS} endpoints"),
                    "match several by one template",
                );
                break;
            }
            if let Some(row) = check(row, &key, table.endpoints.len() as u16, settings, problems) {
                table.add(row, &key, problems);
            }
        }
        (problems.0.len() == before).then_some(table)
    }

    fn empty(settings: &Settings) -> Self {
        Self {
            endpoints: Vec::new(),
            entries: Vec::new(),
            by_operation: HashMap::new(),
            exact: Trie::new(),
            lenient: Trie::new(),
            vendor: settings.media_type_vendor.as_str().into(),
            unmatched: settings.unmatched,
            misspelled: settings.misspelled,
            unknown_version: settings.unknown_version,
            escaped_slash: settings.escaped_slash,
            scope: (!settings.scope.is_empty()).then(|| settings.scope.as_str().into()),
            further_scopes: settings.scopes.iter().map(|scope| Arc::from(scope.as_str())).collect(),
            plans: settings.plans.clone(),
        }
    }

    fn add(&mut self, row: CheckedRow, key: &str, problems: &mut Problems) {
        let CheckedRow { endpoint, template, deprecated } = row;
        if self.by_operation.insert(Arc::clone(&endpoint.operation), endpoint.index).is_some() {
            problems.add(
                format!("{key}.operation"),
                "operation_duplicate",
                format!("another endpoint is called `{}`", endpoint.operation),
                "give each endpoint a name of its own",
            );
        }
        if let Err(other) = self.exact.insert(&template.parts, endpoint.method, endpoint.index) {
            let other = &self.endpoints[usize::from(other)];
            let reason = format!(
                "`{} {}` has the method and the shape of `{}` ({})",
                endpoint.method.map_or("ANY", Method::name),
                endpoint.template,
                other.template,
                other.operation,
            );
            problems.add(format!("{key}.path"), "endpoint_duplicate", reason, "remove one of the two");
        }
        // Two templates that differ only in case share a place here; the first keeps it.
        self.lenient.insert(&lenient_parts(&template), endpoint.method, endpoint.index).ok();
        let choices = choices(&self.vendor, &endpoint.versions);
        self.entries.push(Entry { names: template.names, choices, deprecated });
        self.endpoints.push(endpoint);
    }

    /// Says what a request is for. A [`PathFault`] is told to anybody; a [`Match`] is not.
    pub fn find<'t>(&'t self, head: &Head) -> Result<Match<'t>, PathFault> {
        let scan = path::scan(head.target())?;
        let path = &head.target()[..scan.path_end];
        let Some(method) = Method::by_name(head.method()) else {
            return Ok(self.unmatched(UnmatchedReason::MethodNotImplemented));
        };
        if scan.hidden && self.escaped_slash == EscapedSlash::Refuse {
            return Ok(self.unmatched(UnmatchedReason::EscapedSlash));
        }
        let mut search = Search::exact(path, method, scan.escapes);
        let found = self.exact.find(&mut search);
        if scan.hidden && found.is_none_or(|index| self.reads_as_another(path, method, index)) {
            return Ok(self.unmatched(UnmatchedReason::EscapedSlash));
        }
        Ok(match found {
            Some(index) => self.settle(index, &search, head),
            None => self.unmatched(self.why_unmatched(path, method, search.allow)),
        })
    }

    fn settle<'t>(&'t self, index: u16, search: &Search<'_>, head: &Head) -> Match<'t> {
        let (endpoint, entry) = (&self.endpoints[usize::from(index)], &self.entries[usize::from(index)]);
        let lenient = self.unknown_version == UnknownVersion::Forward;
        let choices = &*entry.choices;
        match negotiate(&self.vendor, endpoint, head, lenient) {
            Negotiated::Version(version) => Match::Matched(Matched {
                endpoint,
                version,
                params: Params { names: &entry.names, spans: search.spans },
                deprecation: entry.deprecation(version),
            }),
            Negotiated::NotAcceptable => {
                self.unmatched(UnmatchedReason::VersionUnsupported { endpoint, choices })
            }
            Negotiated::UnsupportedMediaType => {
                self.unmatched(UnmatchedReason::MediaTypeUnsupported { endpoint, choices })
            }
        }
    }

    /// Whether undoing the escapes makes a path of another endpoint.
    fn reads_as_another(&self, path: &[u8], method: Method, index: u16) -> bool {
        [path::unescape_once(path), path::unescape_fully(path)].iter().any(|unescaped| {
            self.find_lenient(&path::lenient(unescaped), method).is_some_and(|other| other != index)
        })
    }

    fn why_unmatched(&self, path: &[u8], method: Method, allow: Allow) -> UnmatchedReason<'_> {
        let lenient = path::lenient(&path::unescape_once(path));
        match self.find_lenient(&lenient, method) {
            Some(index) => UnmatchedReason::Misspelled(&self.endpoints[usize::from(index)]),
            None if allow.is_empty() => UnmatchedReason::UnknownPath,
            None => UnmatchedReason::UnknownMethod(allow),
        }
    }

    fn find_lenient(&self, path: &[u8], method: Method) -> Option<u16> {
        self.lenient.find(&mut Search::lenient(path, method))
    }

    fn unmatched<'t>(&self, reason: UnmatchedReason<'t>) -> Match<'t> {
        let forwards = self.unmatched == UnmatchedPolicy::Forward
            && match reason {
                UnmatchedReason::UnknownPath | UnmatchedReason::UnknownMethod(_) => true,
                UnmatchedReason::Misspelled(_) => self.misspelled == UnmatchedPolicy::Forward,
                UnmatchedReason::MethodNotImplemented
                | UnmatchedReason::EscapedSlash
                | UnmatchedReason::VersionUnsupported { .. }
                | UnmatchedReason::MediaTypeUnsupported { .. } => false,
            };
        Match::Unmatched(Unmatched { reason, forwards })
    }

    /// Every endpoint, in the order of their [`Endpoint::index`].
    pub fn endpoints(&self) -> &[Endpoint] {
        &self.endpoints
    }

    /// The endpoint of a name.
    pub fn by_operation(&self, operation: &str) -> Option<&Endpoint> {
        self.by_operation.get(operation).map(|index| &self.endpoints[usize::from(*index)])
    }

    /// The scope that a request for no endpoint must hold.
    pub const fn default_scope(&self) -> Option<&Arc<str>> {
        self.scope.as_ref()
    }

    /// Every scope that an endpoint asks for or that the settings list, some of them several times.
    pub fn scopes(&self) -> impl Iterator<Item = &Arc<str>> {
        let asked = self.endpoints.iter().filter_map(|endpoint| endpoint.scope.as_ref());
        asked.chain(&self.scope).chain(&self.further_scopes)
    }

    /// The plans that may make a request for no endpoint.
    pub fn default_plans(&self) -> &[Plan] {
        &self.plans
    }
}

impl Entry {
    fn deprecation(&self, version: Option<ApiVersion>) -> Option<&Deprecation> {
        self.deprecated.iter().find(|(deprecated, _)| Some(*deprecated) == version).map(|(_, found)| found)
    }
}

/// A template as [`path::lenient`] leaves a path: lower case, without a final slash.
fn lenient_parts(template: &Template) -> Vec<Part> {
    let fold = |part: &Part| match part {
        Part::Literal(text) if text.is_empty() => None,
        Part::Literal(text) => Some(Part::Literal(text.to_ascii_lowercase().into())),
        Part::Parameter => Some(Part::Parameter),
        Part::Rest => Some(Part::Rest),
    };
    let parts: Vec<Part> = template.parts.iter().filter_map(fold).collect();
    if parts.is_empty() { vec![Part::Literal(Box::default())] } else { parts }
}

fn choices(vendor: &str, versions: &[ApiVersion]) -> Box<str> {
    let mut text = String::new();
    for version in versions {
        // Writing to a String cannot fail.
        let _ = write!(text, "application/{vendor}.{version}+json, ");
    }
    text.push_str("application/json");
    text.into()
}

fn check_settings(settings: &Settings, problems: &mut Problems) {
    check_scope(&settings.scope, "endpoints.scope", problems);
    if settings.plans.is_empty() {
        problems.add(
            "endpoints.plans",
            "plans_empty",
            "no plan may call any endpoint",
            "name at least one of free, team and business",
        );
    }
    let vendor = &settings.media_type_vendor;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    if vendor.is_empty() || vendor.ends_with('.') || !vendor.bytes().all(plain) {
        problems.add(
            "endpoints.media_type_vendor",
            "media_type_vendor_invalid",
            format!("`{}` cannot be the vendor part of a media type", vendor.escape_debug()),
            "write for example vnd.example: letters, digits, `.`, `-` and `_`, no `.` at the end",
        );
    }
}
