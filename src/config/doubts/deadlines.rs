//! Deadlines that contradict each other.

use crate::config::File;
use crate::domain::Problems;

pub(super) fn doubts(file: &File, warnings: &mut Problems) {
    let upstream = &file.upstream;
    let total = upstream.total_timeout_seconds;
    for (key, milliseconds) in [
        ("upstream.connect_timeout_milliseconds", upstream.connect_timeout_milliseconds),
        ("upstream.first_byte_timeout_seconds", upstream.first_byte_timeout_seconds.saturating_mul(1_000)),
        ("upstream.idle_timeout_seconds", upstream.idle_timeout_seconds.saturating_mul(1_000)),
        ("listen.body_idle_timeout_seconds", file.listen.body_idle_timeout_seconds.saturating_mul(1_000)),
    ] {
        if milliseconds > total.saturating_mul(1_000) {
            warnings.add(
                key,
                "deadline_never_met",
                format!("`upstream.total_timeout_seconds` ends the whole exchange sooner, after {total} s"),
                "make it smaller, or raise `upstream.total_timeout_seconds`",
            );
        }
    }
    if file.listen.drain_timeout_seconds == 0 {
        warnings.add(
            "listen.drain_timeout_seconds",
            "drain_cuts_requests",
            "every request that is being served when the gateway ends is cut",
            "write the seconds that the longest requests may still take, for example 30",
        );
    }
    let ceiling = file.limits.retry_after_ceiling_seconds;
    if ceiling > 0 && file.replies.retry_after_seconds > ceiling {
        warnings.add(
            "replies.retry_after_seconds",
            "retry_after_over_ceiling",
            format!("it is never told: `limits.retry_after_ceiling_seconds` is {ceiling}"),
            "make it smaller, or raise `limits.retry_after_ceiling_seconds`",
        );
    }
    for (place, issuer) in file.authentication.issuers.iter().enumerate() {
        if issuer.leeway_seconds >= issuer.max_lifetime_seconds && issuer.max_lifetime_seconds > 0 {
            warnings.add(
                format!("authentication.issuers[{place}].leeway_seconds"),
                "leeway_over_lifetime",
                "the leeway is as long as the longest lifetime, so tokens live at least twice as long as that says",
                "make it smaller than `max_lifetime_seconds`; clocks differ by seconds",
            );
        }
        if issuer.unknown_key_seconds > issuer.refresh_seconds && issuer.refresh_seconds > 0 {
            warnings.add(
                format!("authentication.issuers[{place}].unknown_key_seconds"),
                "deadline_never_met",
                format!("its keys are loaded every {} s anyway", issuer.refresh_seconds),
                "make it smaller than `refresh_seconds`; 5 is the default",
            );
        }
    }
}
