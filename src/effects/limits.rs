//! `[limits]`: policies by name, and what stands beside them.

use std::num::NonZeroU32;

use super::{CALLERS, Effects, Matters, OTHERS, OTHERS_LATER, Property, Subject, words};
use crate::domain::{Quota, Window};
use crate::limits::{FailedAuthenticationSettings, InFlightSettings, Mode, PolicySettings, Settings};

pub(super) fn compare(old: &Settings, new: &Settings, effects: &mut Effects<'_>) {
    let Settings {
        policies,
        memory_bytes,
        retry_after_ceiling_seconds,
        snapshot_file,
        snapshot_seconds,
        shared,
        on_store_failure,
        in_flight,
        failed_authentications,
    } = old;
    let named = |policies: &'_ [PolicySettings], name: &str| {
        policies.iter().find(|policy| policy.name == name).cloned()
    };
    for before in policies.iter().filter(|before| named(&new.policies, &before.name).is_none()) {
        effects.removed(Subject::Limit, &before.name, in_words(before), of_mode(before));
    }
    for after in &new.policies {
        match named(policies, &after.name) {
            None => effects.added(Subject::Limit, &after.name, in_words(after), of_mode(after)),
            Some(before) => compare_policies(&before, after, effects),
        }
    }
    in_flight_caps(in_flight, &new.in_flight, effects);
    failures(failed_authentications, &new.failed_authentications, effects);
    let ceiling = (retry_after_ceiling_seconds, &new.retry_after_ceiling_seconds);
    effects.setting("limits.retry_after_ceiling_seconds", ceiling.0, ceiling.1, CALLERS);
    effects.setting("limits.shared", shared, &new.shared, CALLERS);
    effects.setting("limits.on_store_failure", on_store_failure, &new.on_store_failure, CALLERS);
    effects.setting("limits.memory_bytes", memory_bytes, &new.memory_bytes, OTHERS);
    effects.setting("limits.snapshot_file", snapshot_file, &new.snapshot_file, OTHERS_LATER);
    effects.setting("limits.snapshot_seconds", snapshot_seconds, &new.snapshot_seconds, OTHERS_LATER);
}

fn compare_policies(old: &PolicySettings, new: &PolicySettings, effects: &mut Effects<'_>) {
    let PolicySettings {
        name,
        formerly,
        per,
        quota: _,
        window: _,
        burst: _,
        cost: _,
        body_kilobytes_per_cost,
        cost_from_header,
        mode,
        shared,
        on_store_failure,
        expose,
        endpoints,
        plans,
        versions,
    } = old;
    let matters = if *mode == Mode::Shadow { of_mode(new) } else { CALLERS };
    let mut policy = Property { effects, subject: Subject::Limit, name };
    policy.words("quota", (quota_of(old), quota_of(new)), matters);
    policy.compare("formerly", formerly, &new.formerly, OTHERS);
    policy.compare("per", per, &new.per, matters);
    let step = (body_kilobytes_per_cost, &new.body_kilobytes_per_cost);
    policy.compare("body_kilobytes_per_cost", step.0, step.1, matters);
    policy.compare("cost_from_header", cost_from_header, &new.cost_from_header, matters);
    policy.compare("mode", mode, &new.mode, matters);
    policy.compare("shared", shared, &new.shared, matters);
    policy.compare("on_store_failure", on_store_failure, &new.on_store_failure, matters);
    policy.compare("expose", expose, &new.expose, matters);
    policy.words("endpoints", (all_or(endpoints), all_or(&new.endpoints)), matters);
    policy.words("plans", (all_or(plans), all_or(&new.plans)), matters);
    policy.words("versions", (all_or(versions), all_or(&new.versions)), matters);
}

/// Callers do not notice what only says what it would refuse.
fn of_mode(policy: &PolicySettings) -> Matters {
    if policy.mode == Mode::Shadow { OTHERS } else { CALLERS }
}

fn in_words(policy: &PolicySettings) -> String {
    let per: Vec<&str> = policy.per.iter().map(String::as_str).collect();
    let mut text = format!("{} {}", quota_of(policy), counted_by(&per));
    for (key, value, is_default) in [
        ("endpoints", words(&policy.endpoints), policy.endpoints.is_empty()),
        ("plans", words(&policy.plans), policy.plans.is_empty()),
        ("versions", words(&policy.versions), policy.versions.is_empty()),
        ("mode", words(&policy.mode), policy.mode == Mode::Enforce),
        ("expose", words(&policy.expose), policy.expose),
    ] {
        if !is_default {
            text.extend([", ", key, " ", &value]);
        }
    }
    text
}

fn quota_of(policy: &PolicySettings) -> String {
    quota(&policy.quota, policy.window, policy.burst, policy.cost)
}

/// A quota with its worst window: what one period can admit at most, when nothing was used before it.
pub(super) fn quota(text: &str, window: Window, burst: Option<u32>, cost: u32) -> String {
    let Ok(quota) = text.parse::<Quota>() else { return text.to_owned() };
    let burst = burst.and_then(NonZeroU32::new);
    let quota = burst.map_or(quota, |burst| quota.with_burst(burst)).in_window(window);
    let cost = u64::from(cost.max(1));
    let most = quota.worst_window() / cost;
    let written = quota.to_string();
    let period = written.rsplit(' ').next().unwrap_or_default();
    let burst = burst.map(|burst| format!(", burst {burst}")).unwrap_or_default();
    let cost = if cost > 1 { format!(", each counting as {cost}") } else { String::new() };
    format!("{written}{burst}{cost} (at most {most} in one {period})")
}

/// Whose requests are counted together.
pub(super) fn counted_by(per: &[&str]) -> String {
    format!("for each {}", per.join(" and "))
}

/// A list that stands for everything if it is empty.
fn all_or<T: serde::Serialize>(list: &Vec<T>) -> String {
    if list.is_empty() { "all".to_owned() } else { words(list) }
}

fn in_flight_caps(old: &InFlightSettings, new: &InFlightSettings, effects: &mut Effects<'_>) {
    let InFlightSettings { per_token, per_workspace, total } = old;
    effects.setting("limits.in_flight.per_token", per_token, &new.per_token, CALLERS);
    effects.setting("limits.in_flight.per_workspace", per_workspace, &new.per_workspace, CALLERS);
    effects.setting("limits.in_flight.total", total, &new.total, CALLERS);
}

fn failures(
    old: &FailedAuthenticationSettings,
    new: &FailedAuthenticationSettings,
    effects: &mut Effects<'_>,
) {
    let FailedAuthenticationSettings { quota: written, exempt } = old;
    let in_words = |text: &str| quota(text, Window::Rolling, None, 1);
    let quotas = (in_words(written), in_words(&new.quota));
    let key = "limits.failed_authentications.quota";
    effects.change(Subject::Setting, key, None, quotas, CALLERS);
    effects.setting("limits.failed_authentications.exempt", exempt, &new.exempt, CALLERS);
}
