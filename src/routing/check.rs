//! The way from a row to an [`Endpoint`]: every mistake of the row, told at once.

use std::collections::HashSet;
use std::num::NonZeroU32;
use std::sync::Arc;

use super::matched::Deprecation;
use super::media_type::MAX_VERSIONS;
use super::path::is_own;
use super::template::Template;
use super::{EndpointRow, LimitRow, Settings};
use crate::domain::{ApiVersion, Endpoint, EndpointLimit, LimitScope, Method, Problems, Quota};

/// A row that holds.
pub(super) struct CheckedRow {
    pub(super) endpoint: Endpoint,
    pub(super) template: Template,
    pub(super) deprecated: Vec<(ApiVersion, Deprecation)>,
}

/// Checks one row and reports every mistake in it under `key`.
pub(super) fn check(
    row: &EndpointRow,
    key: &str,
    index: u16,
    settings: &Settings,
    problems: &mut Problems,
) -> Option<CheckedRow> {
    let before = problems.0.len();
    check_names(row, key, problems);
    let method = method(row, key, problems);
    let template = template(row, key, problems);
    let versions = versions(row, key, problems);
    let limits = limits(row, template.as_ref(), key, problems);
    let deprecated = deprecations(row, &versions, key, problems);
    let cost = cost(row, key, problems);
    if row.public
        && (row.feature.is_some() || row.role.is_some() || row.scope.is_some() || row.plans.is_some())
    {
        problems.add(
            format!("{key}.public"),
            "public_conflict",
            "a public endpoint has no caller whose feature, role, scope or plan could be asked for",
            "remove `public`, or remove `feature`, `role`, `scope` and `plans`",
        );
    }
    if problems.0.len() > before {
        return None;
    }
    let scope = row.scope.as_ref().unwrap_or(&settings.scope);
    let endpoint = Endpoint {
        index,
        operation: row.operation.as_str().into(),
        method,
        template: row.path.as_str().into(),
        versions,
        scope: (!scope.is_empty()).then(|| scope.as_str().into()),
        plans: row.plans.as_ref().unwrap_or(&settings.plans).clone(),
        feature: row.feature.as_deref().map(Arc::from),
        role: row.role,
        cost: cost?,
        limits,
        public: row.public,
    };
    Some(CheckedRow { endpoint, template: template?, deprecated })
}

fn cost(row: &EndpointRow, key: &str, problems: &mut Problems) -> Option<NonZeroU32> {
    let cost = NonZeroU32::new(row.cost.unwrap_or(1));
    if cost.is_none() {
        problems.add(
            format!("{key}.cost"),
            "endpoint_cost_zero",
            "a request cannot count as none",
            "write a number of at least 1, or remove the key",
        );
    }
    cost
}

fn check_names(row: &EndpointRow, key: &str, problems: &mut Problems) {
    let operation = &row.operation;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.:-".contains(&byte);
    if operation.is_empty() || operation.len() > 128 || !operation.bytes().all(plain) {
        problems.add(
            format!("{key}.operation"),
            "operation_invalid",
            format!("`{operation}` cannot name an operation"),
            "write 1 to 128 of the characters A-Z, a-z, 0-9, `_`, `.`, `:` and `-`",
        );
    }
    if row.feature.as_ref().is_some_and(String::is_empty) {
        problems.add(
            format!("{key}.feature"),
            "feature_invalid",
            "the name of the feature is empty",
            "name the feature, or remove the key",
        );
    }
    if let Some(scope) = &row.scope {
        check_scope(scope, &format!("{key}.scope"), problems);
    }
    if row.plans.as_ref().is_some_and(Vec::is_empty) {
        problems.add(
            format!("{key}.plans"),
            "plans_empty",
            "no plan may call the endpoint",
            "name at least one of free, team and business, or remove the key",
        );
    }
}

/// A scope is a token of RFC 6749, section 3.3, or empty for none.
pub(super) fn check_scope(scope: &str, key: &str, problems: &mut Problems) {
    if !scope.bytes().all(|byte| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e)) {
        problems.add(
            key,
            "scope_invalid",
            format!("`{}` cannot be a scope", scope.escape_debug()),
            "write printable ASCII without spaces, quotes and backslashes, or \"\" for no scope",
        );
    }
}

/// [`None`] is every method, or a mistake that is reported.
fn method(row: &EndpointRow, key: &str, problems: &mut Problems) -> Option<Method> {
    let method = Method::by_name(row.method.as_bytes()).filter(|method| *method != Method::Head);
    if method.is_none() && row.method != "ANY" {
        problems.add(
            format!("{key}.method"),
            "method_invalid",
            format!("`{}` is not a method of an endpoint", row.method),
            "write GET (which serves HEAD too), POST, PUT, PATCH, DELETE, OPTIONS, or ANY",
        );
    }
    method
}

fn template(row: &EndpointRow, key: &str, problems: &mut Problems) -> Option<Template> {
    let key = format!("{key}.path");
    if is_own(row.path.as_bytes()) {
        problems.add(
            key,
            "path_reserved",
            format!("`{}` is under `/tollgate`, which the gateway answers itself", row.path),
            "give the endpoint another path",
        );
        return None;
    }
    Template::parse(&row.path)
        .map_err(|error| {
            problems.add(
                key,
                "path_invalid",
                format!("`{}` is not a path template: {error}", row.path),
                "write fixed segments, `{name}` for one segment, and `{*name}` at the end for the rest, for example `/sources/{sourceId}`",
            );
        })
        .ok()
}

/// Most stable first; equally stable ones stay in the row's order.
fn versions(row: &EndpointRow, key: &str, problems: &mut Problems) -> Vec<ApiVersion> {
    let mut seen = HashSet::new();
    let mut versions = Vec::with_capacity(row.versions.len());
    for (index, name) in row.versions.iter().enumerate() {
        match ApiVersion::by_name(name) {
            Some(version) if versions.len() < MAX_VERSIONS && seen.insert(version) => versions.push(version),
            Some(_) => problems.add(
                format!("{key}.versions[{index}]"),
                "version_invalid",
                format!("`{name}` is there twice, or is one more than {MAX_VERSIONS} versions"),
                "remove it",
            ),
            None => problems.add(
                format!("{key}.versions[{index}]"),
                "version_invalid",
                format!("`{name}` is not a version"),
                "write v and a number, with `beta` or `alpha` behind it where it is not stable: v1, v1beta, v1alpha, v2",
            ),
        }
    }
    versions.sort_by_key(|version| std::cmp::Reverse(version.stability));
    versions
}

fn limits(
    row: &EndpointRow,
    template: Option<&Template>,
    key: &str,
    problems: &mut Problems,
) -> Vec<EndpointLimit> {
    let mut limits = Vec::with_capacity(row.limits.len());
    for (index, limit) in row.limits.iter().enumerate() {
        let key = format!("{key}.limits[{index}]");
        let quota = quota(limit, &key, problems);
        let scope = scope(limit, template, &key, problems);
        if let (Some(quota), Some(scope)) = (quota, scope) {
            limits.push(EndpointLimit { quota, scope });
        }
    }
    limits
}

fn quota(limit: &LimitRow, key: &str, problems: &mut Problems) -> Option<Quota> {
    let quota = match limit.quota.parse::<Quota>() {
        Ok(quota) => quota,
        Err(error) => {
            problems.add(
                format!("{key}.quota"),
                "quota_invalid",
                error.to_string(),
                "write for example `60 per minute`",
            );
            return None;
        }
    };
    let quota = quota.checked_in_window(limit.window, limit.burst, key, problems);
    let Some(burst) = limit.burst else { return Some(quota) };
    let Some(burst) = NonZeroU32::new(burst) else {
        problems.add(
            format!("{key}.burst"),
            "burst_invalid",
            "a burst of 0 admits nothing",
            "write at least 1, or remove the key",
        );
        return None;
    };
    Some(quota.with_burst(burst))
}

fn scope(
    limit: &LimitRow,
    template: Option<&Template>,
    key: &str,
    problems: &mut Problems,
) -> Option<LimitScope> {
    let per = limit.per.as_deref().unwrap_or("token");
    if let Some(name) = per.strip_prefix("path.") {
        // A template that does not parse is told already; its parameters cannot be known.
        let known = template?.names.iter().find(|other| &***other == name);
        if let Some(known) = known {
            return Some(LimitScope::PathParameter(Arc::clone(known)));
        }
    }
    match per {
        "token" => Some(LimitScope::Token),
        "workspace" => Some(LimitScope::Workspace),
        _ => {
            problems.add(
                format!("{key}.per"),
                "limit_scope_invalid",
                format!("`{per}` is nothing that an endpoint's limit can count by"),
                "write token, workspace, or path. and the name of a parameter of the endpoint's path",
            );
            None
        }
    }
}

fn deprecations(
    row: &EndpointRow,
    versions: &[ApiVersion],
    key: &str,
    problems: &mut Problems,
) -> Vec<(ApiVersion, Deprecation)> {
    let mut checked = Vec::with_capacity(row.deprecated.len());
    for (index, deprecated) in row.deprecated.iter().enumerate() {
        let key = format!("{key}.deprecated[{index}]");
        let version = ApiVersion::by_name(&deprecated.version).filter(|version| versions.contains(version));
        if version.is_none() {
            problems.add(
                format!("{key}.version"),
                "deprecation_invalid",
                format!("`{}` is not a version of the endpoint", deprecated.version),
                "name one of its `versions`",
            );
        }
        match Deprecation::new(&deprecated.since, deprecated.sunset.as_deref()) {
            Some(deprecation) => checked.extend(version.map(|version| (version, deprecation))),
            None => problems.add(
                key,
                "deprecation_invalid",
                "`since` and `sunset` are not two days, the second no earlier than the first",
                "write days such as \"2026-01-31\"",
            ),
        }
    }
    checked
}
