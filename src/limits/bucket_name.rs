//! What a bucket is called at the central store: the same on every replica, and nothing that a client wrote.
//!
//! Tokens and workspaces are named by their subjects, which the registry numbers; addresses and path parameters by a hash.
//! All buckets of a workspace are in one group; of strangers, those of a site.

use std::borrow::Cow;
use std::fmt::Write;
use std::sync::Arc;

use aws_lc_rs::digest;

use super::Limits;
use super::address::{self, Block};
use super::claims::{Charge, Claim};
use super::policy::{ENDPOINT, PATH, PLAN, TOKEN, VERSION, WORKSPACE};
use super::shared::cell::BucketName;
use crate::authorization::Permit;

/// Names of policies and operations up to this length stand as they are.
const LONGEST_WORD: usize = 100;

impl Limits {
    /// The name of a claim's bucket; of the one that stands in for it when there is no room.
    pub(super) fn bucket_name(
        &self,
        claim: &Claim,
        is_overflow: bool,
        permit: &Permit<'_>,
        charge: &Charge<'_>,
    ) -> BucketName {
        let policy = self.rules.policies.get(usize::from(claim.bucket.0));
        // A policy that was renamed keeps its buckets for as long as it says what it was.
        let former = policy.and_then(|policy| policy.formerly.as_ref());
        let mut name = word(former.unwrap_or_else(|| self.rules.name(claim.bucket))).into_owned();
        if is_overflow {
            let kind = if permit.caller().is_none() { "anonymous" } else { "overflow" };
            let quota = if claim.debit.own { claim.debit.scale.number() } else { 0 };
            let _ = write!(name, ":{kind}:{quota:x}");
            return BucketName { group: "overflow".into(), name: name.into() };
        }
        let mask = policy.map_or(TOKEN, |policy| policy.mask);
        let has = |bits: u8| mask & bits != 0;
        let caller = permit.caller();
        let mut group = None;
        if let Some(caller) = caller.filter(|_| has(TOKEN | WORKSPACE | PATH)) {
            group = Some(format!("w{:x}", caller.workspace().subject.0));
            if has(TOKEN) {
                let _ = write!(name, ":t{:x}", caller.subject().0);
            }
        }
        if let Some(caller) = caller.filter(|_| has(PLAN)) {
            let _ = write!(name, ":{}", caller.workspace().plan.name());
        }
        if has(ENDPOINT) && !policy.is_some_and(|policy| policy.of_endpoint) {
            let operation =
                permit.endpoint().map_or(Cow::Borrowed("-"), |endpoint| word(&endpoint.operation));
            let _ = write!(name, ":{operation}");
        }
        if let Some(version) = permit.version().filter(|_| has(VERSION)) {
            let _ = write!(name, ":{version}");
        }
        if let Some(block) = policy.and_then(|policy| policy.block(charge.address, caller.is_none())) {
            let _ = write!(name, ":a{}", hash_of(block));
            group.get_or_insert_with(|| format!("a{}", hash_of(address::site(charge.address))));
        }
        if let Some(policy) = policy.filter(|_| has(PATH) && caller.is_some()) {
            for parameter in policy.path_parameters() {
                let value = (charge.path_parameter)(parameter).unwrap_or_default();
                let _ = write!(name, ":v{}", hash(&[&value]));
            }
        }
        let group = group.unwrap_or_else(|| "all".to_owned());
        BucketName { group: group.into(), name: Arc::from(name) }
    }
}

/// A name of the configuration; one that is long or has other characters than a bucket's name may have, by its hash.
fn word(text: &str) -> Cow<'_, str> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b':');
    if text.len() <= LONGEST_WORD && text.bytes().all(plain) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(format!("h{}", hash(&[text.as_bytes()])))
}

fn hash_of((family, prefix): Block) -> String {
    hash(&[&[family], &prefix.to_be_bytes()])
}

/// 128 bits of SHA-256 in hexadecimal: nobody finds two values of one hash.
fn hash(parts: &[&[u8]]) -> String {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    let digest = context.finish();
    digest.as_ref().iter().take(16).fold(String::with_capacity(32), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
