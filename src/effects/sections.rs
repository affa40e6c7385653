//! The sections that are plain lists of settings, and the regions.

use super::{CALLERS, CALLERS_LATER, Effects, OTHERS, OTHERS_LATER, Property, Subject, words};
use crate::config::File;
use crate::place::{self, RegionSettings};
use crate::{
    admin, central_store, input, journal, listen, notifications, reply, secret_scanning, telemetry, tokens,
    upstream,
};

pub(super) fn compare(old: &File, new: &File, effects: &mut Effects<'_>) {
    let File {
        listen,
        admin,
        regions: _,
        regions_written: _,
        place,
        upstream,
        endpoints: _,
        tokens,
        journal,
        redis,
        notifications,
        authentication: _,
        limits: _,
        input,
        secret_scanning,
        logs,
        replies,
    } = old;
    compare_regions(&old.regions, &new.regions, effects);
    compare_place(place, &new.place, effects);
    compare_listen(listen, &new.listen, effects);
    compare_upstream(upstream, &new.upstream, effects);
    compare_input(input, &new.input, effects);
    compare_secret_scanning(secret_scanning, &new.secret_scanning, effects);
    compare_replies(replies, &new.replies, effects);
    compare_tokens(tokens, &new.tokens, effects);
    compare_journal(journal, &new.journal, effects);
    compare_redis(redis, &new.redis, effects);
    compare_notifications(notifications, &new.notifications, effects);
    compare_admin(admin, &new.admin, effects);
    compare_logs(logs, &new.logs, effects);
}

type Named = [(String, RegionSettings)];

fn compare_regions(old: &Named, new: &Named, effects: &mut Effects<'_>) {
    let named = |regions: &'_ Named, name: &str| {
        regions.iter().find(|(other, _)| other == name).map(|(_, region)| region.clone())
    };
    let in_words = |region: &RegionSettings| format!("letter {}, {}", region.letter, region.base_url);
    for (name, before) in old.iter().filter(|(name, _)| named(new, name).is_none()) {
        effects.removed(Subject::Region, name, in_words(before), CALLERS_LATER);
    }
    for (name, after) in new {
        let Some(before) = named(old, name) else {
            effects.added(Subject::Region, name, in_words(after), CALLERS_LATER);
            continue;
        };
        let RegionSettings { letter, base_url, upstreams, redis } = before;
        let mut region = Property { effects, subject: Subject::Region, name };
        region.compare("letter", &letter, &after.letter, CALLERS_LATER);
        region.compare("base_url", &base_url, &after.base_url, CALLERS);
        region.compare("upstreams", &upstreams, &after.upstreams, CALLERS);
        region.compare("redis", &redis, &after.redis, CALLERS_LATER);
    }
    let order =
        |regions: &'_ Named| -> Vec<String> { regions.iter().map(|(name, _)| name.clone()).collect() };
    let (before, after) = (order(old), order(new));
    if before.len() == after.len() && before.iter().all(|name| after.contains(name)) {
        effects.setting("regions", &before, &after, CALLERS_LATER);
    }
}

fn compare_place(old: &place::Settings, new: &place::Settings, effects: &mut Effects<'_>) {
    let place::Settings { mode, region } = old;
    effects.setting("place.mode", mode, &new.mode, CALLERS);
    effects.setting("place.region", region, &new.region, CALLERS);
}

fn compare_listen(old: &listen::Settings, new: &listen::Settings, effects: &mut Effects<'_>) {
    let listen::Settings {
        plain,
        tls,
        tls_ends_in_front,
        share_port,
        workers,
        max_head_bytes,
        max_fields,
        max_target_bytes,
        max_body_bytes,
        max_connections,
        max_streams,
        tls_handshake_timeout_seconds,
        head_timeout_seconds,
        body_idle_timeout_seconds,
        keep_alive_timeout_seconds,
        write_timeout_seconds,
        drain_delay_seconds,
        drain_timeout_seconds,
    } = old;
    let addresses = |listeners: &[listen::TlsListener]| -> Vec<String> {
        listeners.iter().map(|listener| listener.address.clone()).collect()
    };
    effects.setting("listen.max_head_bytes", max_head_bytes, &new.max_head_bytes, CALLERS);
    effects.setting("listen.max_fields", max_fields, &new.max_fields, CALLERS);
    effects.setting("listen.max_target_bytes", max_target_bytes, &new.max_target_bytes, CALLERS);
    effects.setting("listen.max_body_bytes", max_body_bytes, &new.max_body_bytes, CALLERS);
    effects.setting("listen.max_connections", max_connections, &new.max_connections, CALLERS);
    effects.setting("listen.max_streams", max_streams, &new.max_streams, CALLERS);
    for (key, before, after, matters) in [
        (
            "tls_handshake_timeout_seconds",
            tls_handshake_timeout_seconds,
            new.tls_handshake_timeout_seconds,
            CALLERS,
        ),
        ("head_timeout_seconds", head_timeout_seconds, new.head_timeout_seconds, CALLERS),
        ("body_idle_timeout_seconds", body_idle_timeout_seconds, new.body_idle_timeout_seconds, CALLERS),
        ("keep_alive_timeout_seconds", keep_alive_timeout_seconds, new.keep_alive_timeout_seconds, CALLERS),
        ("write_timeout_seconds", write_timeout_seconds, new.write_timeout_seconds, CALLERS),
        ("drain_delay_seconds", drain_delay_seconds, new.drain_delay_seconds, OTHERS),
        ("drain_timeout_seconds", drain_timeout_seconds, new.drain_timeout_seconds, CALLERS),
    ] {
        effects.setting(&format!("listen.{key}"), before, &after, matters);
    }
    effects.setting("listen.share_port", share_port, &new.share_port, OTHERS_LATER);
    effects.setting("listen.workers", workers, &new.workers, OTHERS_LATER);
    effects.setting("listen.plain", plain, &new.plain, CALLERS_LATER);
    effects.setting("listen.tls_ends_in_front", tls_ends_in_front, &new.tls_ends_in_front, OTHERS);
    if addresses(tls) == addresses(&new.tls) {
        effects.setting("listen.tls", tls, &new.tls, CALLERS);
    } else {
        effects.setting("listen.tls", tls, &new.tls, CALLERS_LATER);
    }
}

fn compare_upstream(old: &upstream::Settings, new: &upstream::Settings, effects: &mut Effects<'_>) {
    let upstream::Settings {
        // Those of the region that there is without `[regions]`.
        servers: _,
        connect_timeout_milliseconds,
        first_byte_timeout_seconds,
        idle_timeout_seconds,
        total_timeout_seconds,
        pool_idle_timeout_seconds,
        max_connections,
        host,
        forward_credential,
        forwarded_fields,
        ca_file,
        dns_refresh_seconds,
        identity,
        health_check,
        ejection,
        breaker,
        retries,
        in_flight,
    } = old;
    for (key, before, after, matters) in [
        (
            "connect_timeout_milliseconds",
            connect_timeout_milliseconds,
            new.connect_timeout_milliseconds,
            CALLERS,
        ),
        ("first_byte_timeout_seconds", first_byte_timeout_seconds, new.first_byte_timeout_seconds, CALLERS),
        ("idle_timeout_seconds", idle_timeout_seconds, new.idle_timeout_seconds, CALLERS),
        ("total_timeout_seconds", total_timeout_seconds, new.total_timeout_seconds, CALLERS),
        ("pool_idle_timeout_seconds", pool_idle_timeout_seconds, new.pool_idle_timeout_seconds, OTHERS),
        ("dns_refresh_seconds", dns_refresh_seconds, new.dns_refresh_seconds, OTHERS),
    ] {
        effects.setting(&format!("upstream.{key}"), before, &after, matters);
    }
    effects.setting("upstream.max_connections", max_connections, &new.max_connections, CALLERS);
    effects.setting("upstream.host", host, &new.host, OTHERS);
    effects.setting("upstream.forward_credential", forward_credential, &new.forward_credential, OTHERS);
    effects.setting("upstream.forwarded_fields", forwarded_fields, &new.forwarded_fields, OTHERS);
    effects.setting("upstream.ca_file", ca_file, &new.ca_file, OTHERS);
    let upstream::IdentityFields { workspace, region, token_id, plan, role, scopes } = identity;
    let after = &new.identity;
    for (key, before, after) in [
        ("workspace", workspace, &after.workspace),
        ("region", region, &after.region),
        ("token_id", token_id, &after.token_id),
        ("plan", plan, &after.plan),
        ("role", role, &after.role),
        ("scopes", scopes, &after.scopes),
    ] {
        effects.setting(&format!("upstream.identity.{key}"), before, after, OTHERS);
    }
    effects.setting("upstream.health_check", health_check, &new.health_check, OTHERS);
    effects.setting("upstream.ejection", ejection, &new.ejection, CALLERS);
    effects.setting("upstream.breaker", breaker, &new.breaker, CALLERS);
    effects.setting("upstream.retries", retries, &new.retries, CALLERS);
    effects.setting("upstream.in_flight", in_flight, &new.in_flight, CALLERS);
}

fn compare_input(old: &input::Settings, new: &input::Settings, effects: &mut Effects<'_>) {
    let input::Settings { rules, max_body_bytes } = old;
    let of = |rules: &[input::RuleSettings], operation: &str| {
        let rule = rules.iter().find(|rule| rule.operation == operation);
        rule.map(|input::RuleSettings { operation: _, schema_file }| schema_file.clone())
    };
    let mut operations: Vec<&String> = rules.iter().chain(&new.rules).map(|rule| &rule.operation).collect();
    operations.sort();
    operations.dedup();
    for operation in operations {
        let mut endpoint = Property { effects, subject: Subject::Endpoint, name: operation };
        endpoint.compare("input", &of(rules, operation), &of(&new.rules, operation), CALLERS);
    }
    effects.setting("input.max_body_bytes", max_body_bytes, &new.max_body_bytes, CALLERS);
}

fn compare_secret_scanning(
    old: &secret_scanning::Settings,
    new: &secret_scanning::Settings,
    effects: &mut Effects<'_>,
) {
    let secret_scanning::Settings {
        path,
        keys_url,
        keys_file,
        ca_file,
        refresh_seconds,
        unknown_key_seconds,
        feedback,
        max_tokens,
        max_body_bytes,
        relay,
        queue_folder,
    } = old;
    effects.setting("secret_scanning.path", path, &new.path, CALLERS);
    effects.setting("secret_scanning.keys_url", keys_url, &new.keys_url, OTHERS);
    effects.setting("secret_scanning.keys_file", keys_file, &new.keys_file, OTHERS);
    effects.setting("secret_scanning.ca_file", ca_file, &new.ca_file, OTHERS);
    for (key, before, after) in [
        ("refresh_seconds", refresh_seconds, new.refresh_seconds),
        ("unknown_key_seconds", unknown_key_seconds, new.unknown_key_seconds),
        ("max_tokens", max_tokens, new.max_tokens),
    ] {
        effects.setting(&format!("secret_scanning.{key}"), before, &after, OTHERS);
    }
    effects.setting("secret_scanning.feedback", feedback, &new.feedback, OTHERS);
    effects.setting("secret_scanning.max_body_bytes", max_body_bytes, &new.max_body_bytes, OTHERS);
    effects.setting("secret_scanning.relay", relay, &new.relay, OTHERS);
    effects.setting("secret_scanning.queue_folder", queue_folder, &new.queue_folder, OTHERS_LATER);
}

fn compare_replies(old: &reply::Settings, new: &reply::Settings, effects: &mut Effects<'_>) {
    let reply::Settings { documentation_url, outcomes_url, realm, default_dialect, retry_after_seconds } =
        old;
    effects.setting("replies.documentation_url", documentation_url, &new.documentation_url, CALLERS);
    effects.setting("replies.outcomes_url", outcomes_url, &new.outcomes_url, CALLERS);
    effects.setting("replies.realm", realm, &new.realm, CALLERS);
    effects.setting("replies.default_dialect", default_dialect, &new.default_dialect, CALLERS);
    effects.setting("replies.retry_after_seconds", retry_after_seconds, &new.retry_after_seconds, CALLERS);
}

fn compare_tokens(old: &tokens::Settings, new: &tokens::Settings, effects: &mut Effects<'_>) {
    let tokens::Settings {
        prefix,
        store,
        pepper_file,
        audit_key_file,
        snapshot_file,
        snapshot_seconds,
        poll_millis,
        max_staleness_seconds,
        beyond_max_staleness,
        last_used_seconds,
        tokens_per_workspace,
        new_network_events,
        network_learning_hours,
        scopes,
    } = old;
    effects.setting("tokens.prefix", prefix, &new.prefix, CALLERS_LATER);
    // Another password alone is a change, too, and is not in the words.
    if *store != new.store {
        let words = (Some(words(store)), Some(words(&new.store)));
        effects.add(Subject::Setting, "tokens.store", None, words, CALLERS_LATER);
    }
    effects.setting("tokens.pepper_file", pepper_file, &new.pepper_file, CALLERS_LATER);
    effects.setting("tokens.audit_key_file", audit_key_file, &new.audit_key_file, OTHERS_LATER);
    effects.setting("tokens.snapshot_file", snapshot_file, &new.snapshot_file, OTHERS_LATER);
    effects.setting("tokens.snapshot_seconds", snapshot_seconds, &new.snapshot_seconds, OTHERS_LATER);
    effects.setting("tokens.poll_millis", poll_millis, &new.poll_millis, OTHERS_LATER);
    let staleness = (max_staleness_seconds, &new.max_staleness_seconds);
    effects.setting("tokens.max_staleness_seconds", staleness.0, staleness.1, CALLERS_LATER);
    let beyond = (beyond_max_staleness, &new.beyond_max_staleness);
    effects.setting("tokens.beyond_max_staleness", beyond.0, beyond.1, CALLERS_LATER);
    effects.setting("tokens.last_used_seconds", last_used_seconds, &new.last_used_seconds, OTHERS_LATER);
    let cap = (tokens_per_workspace, &new.tokens_per_workspace);
    effects.setting("tokens.tokens_per_workspace", cap.0, cap.1, CALLERS_LATER);
    let events = (new_network_events, &new.new_network_events);
    effects.setting("tokens.new_network_events", events.0, events.1, OTHERS_LATER);
    let hours = (network_learning_hours, &new.network_learning_hours);
    effects.setting("tokens.network_learning_hours", hours.0, hours.1, OTHERS_LATER);
    effects.setting("tokens.scopes", scopes, &new.scopes, CALLERS_LATER);
}

fn compare_journal(old: &journal::Settings, new: &journal::Settings, effects: &mut Effects<'_>) {
    let journal::Settings { enabled, file, shared, retention_days, entries_per_token, entries, file_bytes } =
        old;
    effects.setting("journal.enabled", enabled, &new.enabled, OTHERS_LATER);
    effects.setting("journal.file", file, &new.file, OTHERS_LATER);
    effects.setting("journal.shared", shared, &new.shared, OTHERS_LATER);
    effects.setting("journal.retention_days", retention_days, &new.retention_days, OTHERS_LATER);
    effects.setting("journal.entries_per_token", entries_per_token, &new.entries_per_token, OTHERS_LATER);
    effects.setting("journal.entries", entries, &new.entries, OTHERS_LATER);
    effects.setting("journal.file_bytes", file_bytes, &new.file_bytes, OTHERS_LATER);
}

fn compare_notifications(
    old: &notifications::Settings,
    new: &notifications::Settings,
    effects: &mut Effects<'_>,
) {
    let notifications::Settings {
        operator_contacts,
        give_up_after_hours,
        allow_private_addresses,
        webhook_ca_file,
        smtp,
    } = old;
    effects.setting("notifications.operator_contacts", operator_contacts, &new.operator_contacts, OTHERS);
    effects.setting(
        "notifications.give_up_after_hours",
        give_up_after_hours,
        &new.give_up_after_hours,
        OTHERS,
    );
    let private = (allow_private_addresses, &new.allow_private_addresses);
    effects.setting("notifications.allow_private_addresses", private.0, private.1, OTHERS);
    effects.setting("notifications.webhook_ca_file", webhook_ca_file, &new.webhook_ca_file, OTHERS);
    effects.setting("notifications.smtp", smtp, &new.smtp, OTHERS);
}

fn compare_redis(old: &central_store::Settings, new: &central_store::Settings, effects: &mut Effects<'_>) {
    let central_store::Settings {
        address,
        plain_text,
        ca_file,
        prefix,
        timeout_milliseconds,
        patience_milliseconds,
        connect_timeout_milliseconds,
        max_calls,
        min_replicas,
    } = old;
    effects.setting("redis.address", address, &new.address, CALLERS_LATER);
    effects.setting("redis.prefix", prefix, &new.prefix, CALLERS_LATER);
    effects.setting("redis.min_replicas", min_replicas, &new.min_replicas, CALLERS_LATER);
    effects.setting("redis.plain_text", plain_text, &new.plain_text, OTHERS);
    effects.setting("redis.ca_file", ca_file, &new.ca_file, OTHERS_LATER);
    let timeout = (timeout_milliseconds, &new.timeout_milliseconds);
    effects.setting("redis.timeout_milliseconds", timeout.0, timeout.1, OTHERS_LATER);
    let patience = (patience_milliseconds, &new.patience_milliseconds);
    effects.setting("redis.patience_milliseconds", patience.0, patience.1, OTHERS_LATER);
    let timeout = (connect_timeout_milliseconds, &new.connect_timeout_milliseconds);
    effects.setting("redis.connect_timeout_milliseconds", timeout.0, timeout.1, OTHERS_LATER);
    effects.setting("redis.max_calls", max_calls, &new.max_calls, OTHERS_LATER);
}

fn compare_admin(old: &admin::Settings, new: &admin::Settings, effects: &mut Effects<'_>) {
    let admin::Settings { address, host_names, max_connections, header_timeout_seconds } = old;
    effects.setting("admin.address", address, &new.address, OTHERS_LATER);
    effects.setting("admin.host_names", host_names, &new.host_names, OTHERS_LATER);
    effects.setting("admin.max_connections", max_connections, &new.max_connections, OTHERS_LATER);
    let timeout = (header_timeout_seconds, &new.header_timeout_seconds);
    effects.setting("admin.header_timeout_seconds", timeout.0, timeout.1, OTHERS_LATER);
}

fn compare_logs(old: &telemetry::Settings, new: &telemetry::Settings, effects: &mut Effects<'_>) {
    let telemetry::Settings { format, level, access, access_sample, destination } = old;
    effects.setting("logs.format", format, &new.format, OTHERS_LATER);
    effects.setting("logs.level", level, &new.level, OTHERS_LATER);
    effects.setting("logs.access", access, &new.access, OTHERS_LATER);
    effects.setting("logs.access_sample", access_sample, &new.access_sample, OTHERS_LATER);
    effects.setting("logs.destination", destination, &new.destination, OTHERS_LATER);
}
