//! The endpoint table, row by row.

use std::collections::HashMap;

use super::limits::{counted_by, quota};
use super::{CALLERS, Effects, OTHERS, Property, Subject};
use crate::config::Config;
use crate::domain::Plan;
use crate::routing::{DeprecationRow, EndpointRow, LimitRow, Settings};

/// Compares the rows of both tables, and what holds for requests that match none.
pub(super) fn compare(old: &Config, new: &Config, effects: &mut Effects<'_>) {
    let by_operation = |config: &'_ Config| -> HashMap<String, usize> {
        config.rows.iter().enumerate().map(|(place, row)| (row.operation.clone(), place)).collect()
    };
    let (were, are) = (by_operation(old), by_operation(new));
    for row in &old.rows {
        if !are.contains_key(&row.operation) {
            effects.removed(Subject::Endpoint, &row.operation, request(row), CALLERS);
        }
    }
    for row in &new.rows {
        match were.get(&row.operation).map(|place| &old.rows[*place]) {
            None => effects.added(Subject::Endpoint, &row.operation, request(row), CALLERS),
            Some(before) => {
                let settings = (&old.written.endpoints, &new.written.endpoints);
                compare_rows((before, settings.0), (row, settings.1), effects);
            }
        }
    }
    unmatched(&old.written.endpoints, &new.written.endpoints, effects);
}

/// Method and path.
fn request(row: &EndpointRow) -> String {
    format!("{} {}", row.method, row.path)
}

fn compare_rows(
    (old, old_settings): (&EndpointRow, &Settings),
    (new, new_settings): (&EndpointRow, &Settings),
    effects: &mut Effects<'_>,
) {
    let EndpointRow {
        operation,
        method: _,
        path: _,
        versions,
        limits,
        cost,
        feature,
        role,
        scope: _,
        plans: _,
        public,
        deprecated,
    } = old;
    let mut row = Property { effects, subject: Subject::Endpoint, name: operation };
    row.words("request", (request(old), request(new)), CALLERS);
    row.compare("versions", versions, &new.versions, CALLERS);
    row.compare("public", public, &new.public, CALLERS);
    row.compare("scope", scope(old, old_settings), scope(new, new_settings), CALLERS);
    row.compare("plans", plans(old, old_settings), plans(new, new_settings), CALLERS);
    row.compare("feature", feature, &new.feature, CALLERS);
    row.compare("role", role, &new.role, CALLERS);
    row.words("limits", (limits_in_words(limits), limits_in_words(&new.limits)), CALLERS);
    row.compare("cost", &cost.unwrap_or(1), &new.cost.unwrap_or(1), CALLERS);
    row.words("deprecated", (deprecations(deprecated), deprecations(&new.deprecated)), CALLERS);
}

fn scope<'r>(row: &'r EndpointRow, settings: &'r Settings) -> &'r String {
    row.scope.as_ref().unwrap_or(&settings.scope)
}

fn plans<'r>(row: &'r EndpointRow, settings: &'r Settings) -> &'r Vec<Plan> {
    row.plans.as_ref().unwrap_or(&settings.plans)
}

fn limits_in_words(limits: &[LimitRow]) -> String {
    let each = limits.iter().map(|LimitRow { quota: text, window, burst, per }| {
        let per = per.as_deref().unwrap_or("token");
        format!("{} {}", quota(text, *window, *burst, 1), counted_by(&[per]))
    });
    joined(each)
}

fn deprecations(deprecated: &[DeprecationRow]) -> String {
    let each = deprecated.iter().map(|DeprecationRow { version, since, sunset }| match sunset {
        Some(sunset) => format!("{version} since {since}, ends {sunset}"),
        None => format!("{version} since {since}"),
    });
    joined(each)
}

fn joined(each: impl Iterator<Item = String>) -> String {
    let all = each.collect::<Vec<_>>().join("; ");
    if all.is_empty() { "none".to_owned() } else { all }
}

/// Settings of the table as a whole. `scope` and `plans` stand in the rows that have none of their own, and hold
/// for requests that match no row.
fn unmatched(old: &Settings, new: &Settings, effects: &mut Effects<'_>) {
    let Settings {
        tables,
        extra: _,
        unmatched,
        misspelled,
        unknown_version,
        escaped_slash,
        scope,
        scopes,
        plans,
        media_type_vendor,
    } = old;
    effects.setting("endpoints.tables", tables, &new.tables, OTHERS);
    effects.setting("endpoints.unmatched", unmatched, &new.unmatched, CALLERS);
    effects.setting("endpoints.misspelled", misspelled, &new.misspelled, CALLERS);
    effects.setting("endpoints.unknown_version", unknown_version, &new.unknown_version, CALLERS);
    effects.setting("endpoints.escaped_slash", escaped_slash, &new.escaped_slash, CALLERS);
    effects.setting("endpoints.scope", scope, &new.scope, CALLERS);
    effects.setting("endpoints.scopes", scopes, &new.scopes, OTHERS);
    effects.setting("endpoints.plans", plans, &new.plans, CALLERS);
    effects.setting("endpoints.media_type_vendor", media_type_vendor, &new.media_type_vendor, CALLERS);
}
