//! `[authentication]`: issuers by name.

use super::{CALLERS, Effects, OTHERS, Property, Subject, words};
use crate::authentication::{IssuerSettings, Settings};

pub(super) fn compare(old: &Settings, new: &Settings, effects: &mut Effects<'_>) {
    let Settings { verified_tokens, keys_folder, issuers } = old;
    effects.setting("authentication.verified_tokens", verified_tokens, &new.verified_tokens, OTHERS);
    effects.setting("authentication.keys_folder", keys_folder, &new.keys_folder, OTHERS);
    let named = |issuers: &'_ [IssuerSettings], name: &str| {
        issuers.iter().find(|issuer| issuer.issuer == name).cloned()
    };
    let for_whom = |issuer: &IssuerSettings| format!("for {}", words(&issuer.audiences));
    for before in issuers.iter().filter(|before| named(&new.issuers, &before.issuer).is_none()) {
        effects.removed(Subject::Issuer, &before.issuer, for_whom(before), CALLERS);
    }
    for after in &new.issuers {
        match named(issuers, &after.issuer) {
            None => effects.added(Subject::Issuer, &after.issuer, for_whom(after), CALLERS),
            Some(before) => compare_issuers(&before, after, effects),
        }
    }
}

fn compare_issuers(old: &IssuerSettings, new: &IssuerSettings, effects: &mut Effects<'_>) {
    let IssuerSettings {
        issuer,
        audiences,
        jwks_uri,
        jwks_file,
        ca_file,
        algorithms,
        typ,
        leeway_seconds,
        max_lifetime_seconds,
        refresh_seconds,
        unknown_key_seconds,
        max_stale_seconds,
        removal_overlap_seconds,
        revoke_on_removal,
        claims,
        regions,
        plans,
        claims_suffice,
        claimed_features,
        role_default,
        accept_sender_constrained,
    } = old;
    let mut by = Property { effects, subject: Subject::Issuer, name: issuer };
    by.compare("audiences", audiences, &new.audiences, CALLERS);
    by.compare("jwks_uri", jwks_uri, &new.jwks_uri, CALLERS);
    by.compare("jwks_file", jwks_file, &new.jwks_file, CALLERS);
    by.compare("ca_file", ca_file, &new.ca_file, OTHERS);
    by.compare("algorithms", algorithms, &new.algorithms, CALLERS);
    by.compare("typ", typ, &new.typ, CALLERS);
    by.compare("leeway_seconds", leeway_seconds, &new.leeway_seconds, CALLERS);
    by.compare("max_lifetime_seconds", max_lifetime_seconds, &new.max_lifetime_seconds, CALLERS);
    by.compare("refresh_seconds", refresh_seconds, &new.refresh_seconds, OTHERS);
    by.compare("unknown_key_seconds", unknown_key_seconds, &new.unknown_key_seconds, OTHERS);
    by.compare("max_stale_seconds", max_stale_seconds, &new.max_stale_seconds, OTHERS);
    let overlap = (removal_overlap_seconds, &new.removal_overlap_seconds);
    by.compare("removal_overlap_seconds", overlap.0, overlap.1, CALLERS);
    by.compare("revoke_on_removal", revoke_on_removal, &new.revoke_on_removal, CALLERS);
    by.compare("claims", claims, &new.claims, CALLERS);
    by.compare("regions", regions, &new.regions, CALLERS);
    by.compare("plans", plans, &new.plans, CALLERS);
    by.compare("claims_suffice", claims_suffice, &new.claims_suffice, CALLERS);
    by.compare("claimed_features", claimed_features, &new.claimed_features, CALLERS);
    by.compare("role_default", role_default, &new.role_default, CALLERS);
    let accepted = (accept_sender_constrained, &new.accept_sender_constrained);
    by.compare("accept_sender_constrained", accepted.0, accepted.1, CALLERS);
}
