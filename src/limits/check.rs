//! Every mistake of `[limits]`, and of the endpoint table's own limits.

use std::collections::HashSet;
use std::num::{NonZeroU32, NonZeroU64};
use std::sync::Arc;

use super::bucket::{LONGEST_FILL_NANOS, Scale};
use super::calendar::Refill;
use super::in_flight::Caps;
use super::policy::{Dimension, Policy, template_names};
use super::rules::RESERVED;
use super::settings::{Mode, PolicySettings, Settings};
use super::shared::Shared;
use crate::domain::{ApiVersion, Endpoint, EndpointLimit, LimitScope, Problems, Quota};

/// The endpoint table's own limits. A limit is named by its operation, and by its scope if that is not the
/// token; where a scope has several, the shortest period has the plain name and the others add theirs.
pub(super) fn of_endpoints(endpoints: &[Endpoint], shared: Shared, problems: &mut Problems) -> Vec<Policy> {
    let mut policies = Vec::new();
    for endpoint in endpoints {
        let mut taken = HashSet::new();
        let mut limits: Vec<(usize, &EndpointLimit)> = endpoint.limits.iter().enumerate().collect();
        limits.sort_by_key(|(_, limit)| limit.quota.period_seconds);
        for (place, limit) in limits {
            let (per, mut name) = match &limit.scope {
                LimitScope::Token => (Dimension::Token, endpoint.operation.to_string()),
                LimitScope::Workspace => (Dimension::Workspace, format!("{}:workspace", endpoint.operation)),
                LimitScope::PathParameter(parameter) => (
                    Dimension::PathParameter(Arc::clone(parameter)),
                    format!("{}:{parameter}", endpoint.operation),
                ),
            };
            if let LimitScope::PathParameter(parameter) = &limit.scope
                && !template_names(&endpoint.template).any(|has| has == &**parameter)
            {
                problems.add(
                    format!("endpoints[{}].limits[{place}]", endpoint.index),
                    "limit_parameter_unknown",
                    format!("`{}` has no path parameter `{parameter}`", endpoint.template),
                    "name a parameter of the endpoint's own path",
                );
            }
            if taken.contains(&name) {
                name = format!("{name}:{}", limit.quota.to_string().rsplit(' ').next().unwrap_or_default());
            }
            if !taken.insert(name.clone()) {
                problems.add(
                    format!("endpoints[{}].limits[{place}]", endpoint.index),
                    "limit_policy_duplicate",
                    format!("`{}` has two limits of one scope and period", endpoint.operation),
                    "keep the smaller one",
                );
            }
            policies.push(endpoint_policy(endpoint, name, per, limit.quota, shared));
        }
    }
    policies
}

/// How limits are shared whose policy does not say.
pub(super) const fn shared(settings: &Settings) -> Shared {
    Shared { sharing: settings.shared, on_store_failure: settings.on_store_failure }
}

fn endpoint_policy(
    endpoint: &Endpoint,
    name: String,
    per: Dimension,
    quota: Quota,
    shared: Shared,
) -> Policy {
    Policy {
        name: name.into(),
        formerly: None,
        per: vec![per, Dimension::Endpoint],
        quota,
        cost: NonZeroU32::MIN,
        body_bytes_per_cost: None,
        cost_from_header: None,
        mode: Mode::Enforce,
        expose: true,
        endpoints: vec![Arc::clone(&endpoint.operation)],
        plans: Vec::new(),
        versions: Vec::new(),
        of_endpoint: true,
        shared,
        mask: 0,
        scale: Scale::of(&quota),
        refill: Refill::Gradual,
        announced: Box::default(),
    }
    .complete()
}

pub(super) fn policy(
    key: &str,
    written: &PolicySettings,
    shared: Shared,
    endpoints: &[Endpoint],
    problems: &mut Problems,
) -> Option<Policy> {
    name(&format!("{key}.name"), &written.name, problems);
    if !written.formerly.is_empty() {
        name(&format!("{key}.formerly"), &written.formerly, problems);
    }
    let named = operations(key, &written.endpoints, endpoints, problems);
    let per = dimensions(key, &written.per, &named, endpoints, problems);
    let versions = versions(key, &written.versions, problems);
    let quota = quota(&format!("{key}.quota"), &written.quota, written.burst, problems)?;
    let quota = quota.checked_in_window(written.window, written.burst, key, problems);
    let cost = NonZeroU32::new(written.cost);
    let body_bytes_per_cost = body_step(key, written.body_kilobytes_per_cost, problems);
    let cost_from_header = cost_header(key, &written.cost_from_header, problems);
    if cost.is_none_or(|cost| cost > quota.burst) {
        problems.add(
            format!("{key}.cost"),
            "limit_cost_invalid",
            format!("a cost of {} can never be admitted by a burst of {}", written.cost, quota.burst),
            format!("write a number from 1 to {}", quota.burst),
        );
    }
    let policy = Policy {
        name: written.name.as_str().into(),
        formerly: (!written.formerly.is_empty()).then(|| written.formerly.as_str().into()),
        per,
        quota,
        cost: cost?,
        body_bytes_per_cost,
        cost_from_header,
        mode: written.mode,
        expose: written.expose,
        endpoints: named,
        plans: written.plans.clone(),
        versions,
        of_endpoint: false,
        shared: Shared {
            sharing: written.shared.unwrap_or(shared.sharing),
            on_store_failure: written.on_store_failure.unwrap_or(shared.on_store_failure),
        },
        mask: 0,
        scale: Scale::of(&quota),
        refill: Refill::Gradual,
        announced: Box::default(),
    };
    Some(policy.complete())
}

/// The bytes of a step of `body_kilobytes_per_cost`.
fn body_step(key: &str, kilobytes: Option<u32>, problems: &mut Problems) -> Option<NonZeroU64> {
    let step = NonZeroU64::new(u64::from(kilobytes?) * 1_024);
    if step.is_none() {
        problems.add(
            format!("{key}.body_kilobytes_per_cost"),
            "limit_body_step_zero",
            "a body cannot be counted in steps of 0 kilobytes",
            "write a number of at least 1, or leave it out",
        );
    }
    step
}

/// The name of a response field in lower case.
fn cost_header(key: &str, name: &str, problems: &mut Problems) -> Option<Box<str>> {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.len() > 128 || !name.bytes().all(is_token) {
        problems.add(
            format!("{key}.cost_from_header"),
            "limit_cost_header_invalid",
            format!("`{}` is no name of a field", name.escape_debug()),
            "write for example `X-Cost`, or leave it out",
        );
        return None;
    }
    (!name.is_empty()).then(|| name.to_ascii_lowercase().into())
}

/// Endpoints whose cost no burst could admit.
pub(super) fn endpoint_costs(key: &str, policy: &Policy, endpoints: &[Endpoint], problems: &mut Problems) {
    let met = endpoints.iter().filter(|endpoint| endpoint.cost.get() > 1 && policy.is_for(Some(endpoint)));
    let costly = met.max_by_key(|endpoint| endpoint.cost);
    let Some(endpoint) = costly else { return };
    let cost = policy.cost.saturating_mul(endpoint.cost);
    if cost > policy.quota.burst {
        problems.add(
            format!("{key}.burst"),
            "limit_endpoint_cost",
            format!(
                "`{}` counts as {cost} and can never be admitted by a burst of {}",
                endpoint.operation, policy.quota.burst
            ),
            format!("write a burst of at least {cost}, or a smaller `cost` of the endpoint"),
        );
    }
}

fn name(key: &str, name: &str, problems: &mut Problems) {
    let fine = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-');
    if name.is_empty() || name.len() > 64 || !name.bytes().all(fine) {
        problems.add(
            key,
            "limit_policy_name_invalid",
            format!("`{name}` is no name for a policy"),
            "write 1 to 64 of a-z, 0-9, `_` and `-`",
        );
    } else if RESERVED.contains(&name) {
        problems.add(
            key,
            "limit_policy_name_reserved",
            format!("`{name}` names a limit that tollgate has already"),
            "choose another name",
        );
    }
}

/// A policy takes over the buckets of one that there is no more, and of one that no other policy takes over.
pub(super) fn former_name(
    key: &str,
    written: &PolicySettings,
    all: &[PolicySettings],
    problems: &mut Problems,
) {
    let former = &written.formerly;
    if former.is_empty() {
        return;
    }
    let takes = |other: &&PolicySettings| other.name == *former || other.formerly == *former;
    let reason = match all
        .iter()
        .filter(takes)
        .find(|other| !std::ptr::eq(*other, written) || other.name == *former)
    {
        None => return,
        Some(other) if other.name == *former => format!("`{former}` is still the name of a policy"),
        Some(other) => format!("`{}` takes over the buckets of `{former}` already", other.name),
    };
    let fix = "name the policy that this one was, or leave `formerly` out";
    problems.add(format!("{key}.formerly"), "limit_formerly_taken", reason, fix);
}

fn operations(
    key: &str,
    written: &[String],
    endpoints: &[Endpoint],
    problems: &mut Problems,
) -> Vec<Arc<str>> {
    let mut found = Vec::new();
    for (place, name) in written.iter().enumerate() {
        match endpoints.iter().find(|endpoint| *endpoint.operation == **name) {
            Some(endpoint) => found.push(Arc::clone(&endpoint.operation)),
            None => problems.add(
                format!("{key}.endpoints[{place}]"),
                "limit_operation_unknown",
                format!("the endpoint table has no operation `{name}`"),
                meant(name, endpoints.iter().map(|endpoint| &*endpoint.operation))
                    .unwrap_or_else(|| "write the name of an operation of the endpoint table".to_owned()),
            ),
        }
    }
    found
}

fn dimensions(
    key: &str,
    written: &[String],
    operations: &[Arc<str>],
    endpoints: &[Endpoint],
    problems: &mut Problems,
) -> Vec<Dimension> {
    const WORDS: &str =
        "`token`, `workspace`, `endpoint`, `version`, `plan`, `address`, `site` or `path.NAME`";
    if written.is_empty() {
        let fix = format!("name one or more of {WORDS}");
        problems.add(format!("{key}.per"), "limit_per_missing", "`per` names nothing to count by", fix);
    }
    let among =
        || endpoints.iter().filter(|row| operations.is_empty() || operations.contains(&row.operation));
    let mut dimensions = Vec::new();
    for (place, word) in written.iter().enumerate() {
        let key = format!("{key}.per[{place}]");
        match Dimension::by_name(word) {
            None => {
                let words = ["token", "workspace", "endpoint", "version", "plan", "address", "site"];
                let fix = meant(word, words.into_iter()).unwrap_or_else(|| format!("write {WORDS}"));
                problems.add(key, "limit_per_unknown", format!("`{word}` is nothing to count by"), fix);
            }
            Some(twice) if dimensions.contains(&twice) => {
                problems.add(key, "limit_per_duplicate", format!("`{word}` is named twice"), "name it once");
            }
            Some(Dimension::PathParameter(name))
                if !among().any(|row| template_names(&row.template).any(|has| has == &*name)) =>
            {
                let fix = meant(&name, among().flat_map(|row| template_names(&row.template)))
                    .unwrap_or_else(|| "name a parameter of the paths that the policy is for".to_owned());
                let reason = format!("no endpoint of this policy has a path parameter `{name}`");
                problems.add(key, "limit_parameter_unknown", reason, fix);
            }
            Some(dimension) => dimensions.push(dimension),
        }
    }
    if [Dimension::Address, Dimension::Site].iter().all(|both| dimensions.contains(both)) {
        problems.add(
            format!("{key}.per"),
            "limit_per_redundant",
            "`site` beside `address` counts nothing more apart, because an address is of one site",
            "leave one out; to bound a site as well as each of its addresses, write a policy for each",
        );
    }
    dimensions
}

fn versions(key: &str, written: &[String], problems: &mut Problems) -> Vec<ApiVersion> {
    let mut versions = Vec::new();
    for (place, name) in written.iter().enumerate() {
        match ApiVersion::by_name(name) {
            Some(version) => versions.push(version),
            None => problems.add(
                format!("{key}.versions[{place}]"),
                "limit_version_invalid",
                format!("`{name}` is no version"),
                "write for example `v1`, `v1beta` or `v1alpha`",
            ),
        }
    }
    versions
}

pub(super) fn quota(key: &str, text: &str, burst: Option<u32>, problems: &mut Problems) -> Option<Quota> {
    let quota = match text.parse::<Quota>() {
        Ok(quota) => quota,
        Err(error) => {
            problems.add(key, "quota_invalid", error.to_string(), "write for example `60 per minute`");
            return None;
        }
    };
    let Some(burst) = burst else { return Some(quota) };
    let burst_key = key.replace(".quota", ".burst");
    let Some(burst) = NonZeroU32::new(burst) else {
        let reason = "a burst of 0 would refuse every request";
        problems.add(burst_key, "limit_burst_zero", reason, "write a number of at least 1, or leave it out");
        return None;
    };
    let quota = quota.with_burst(burst);
    let most = LONGEST_FILL_NANOS / quota.emission_interval_nanos();
    if u64::from(burst.get()) > most {
        let reason = format!("a burst of {burst} would take more than ten years to refill");
        problems.add(burst_key, "limit_burst_too_large", reason, format!("write a number up to {most}"));
        return None;
    }
    Some(quota)
}

pub(super) fn in_flight(settings: &Settings, problems: &mut Problems) -> Caps {
    let mut cap_of = |name: &str, cap: Option<u32>| {
        if cap == Some(0) {
            problems.add(
                format!("limits.in_flight.{name}"),
                "limit_in_flight_zero",
                "a cap of 0 would refuse every request",
                "write a number of at least 1, or leave it out for no cap",
            );
        }
        cap
    };
    Caps {
        token: cap_of("per_token", settings.in_flight.per_token),
        workspace: cap_of("per_workspace", settings.in_flight.per_workspace),
        total: cap_of("total", settings.in_flight.total),
    }
}

const LEAST_MEMORY_BYTES: usize = 1 << 20;

pub(super) fn bounds(settings: &Settings, problems: &mut Problems) {
    if settings.memory_bytes < LEAST_MEMORY_BYTES {
        problems.add(
            "limits.memory_bytes",
            "limit_memory_too_small",
            "in less than 1 MiB hardly anybody's requests could be counted apart",
            "write a number of bytes of at least 1048576; 104857600 (100 MiB) have room for 2 million buckets",
        );
    }
    if settings.retry_after_ceiling_seconds == 0 {
        problems.add(
            "limits.retry_after_ceiling_seconds",
            "limit_retry_after_zero",
            "a ceiling of 0 would leave `Retry-After` out of every refusal",
            "write a number of at least 1; 21600 is 6 hours",
        );
    }
}

/// "did you mean" for the nearest of the known words, if one is near.
pub(super) fn meant<'a>(written: &str, known: impl Iterator<Item = &'a str>) -> Option<String> {
    known
        .map(|word| (strsim::jaro_winkler(written, word), word))
        .filter(|(nearness, _)| *nearness > 0.8)
        .max_by(|left, right| left.0.total_cmp(&right.0))
        .map(|(_, word)| format!("did you mean `{word}`?"))
}
