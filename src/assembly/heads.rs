//! Signs the head of the audit trail now and then, into the log, which leaves the machine.

use std::sync::Arc;
use std::time::Duration;

use super::StartError;
use super::node::Node;
use crate::clock::Clock;
use crate::config::Config;
use crate::tokens::HeadKey;

/// How often it is looked whether a head is due.
const LOOK: Duration = Duration::from_secs(10);
/// After how much time the head is signed again, if it has moved.
const EVERY: Duration = Duration::from_hours(1);
/// After how many entries it is signed whatever the time.
const ENTRIES: u64 = 10_000;

/// Signs from now on, if there is a key.
pub(super) fn start(node: &Arc<Node>, config: &Config, clock: &Clock) -> Result<(), StartError> {
    if let Some(file) = &config.tokens.audit_key_file {
        let key = HeadKey::open(file)?;
        node.background.spawn(sign(Arc::clone(node), key, clock.clone()));
    }
    Ok(())
}

/// Signs at the start and from then on, for as long as the node lives.
async fn sign(node: Arc<Node>, key: HeadKey, clock: Clock) {
    let (mut signed, mut signed_at) = (0, None);
    loop {
        let (now, head) = (clock.now(), node.registry.followed_head());
        let is_late = signed_at.is_none_or(|at| now.since(at) >= EVERY);
        let is_far = head.0 >= signed + ENTRIES;
        if head.0 > signed && (is_late || is_far) {
            if let Ok(signed_head) = serde_json::to_string(&key.sign(head, now)) {
                tracing::info!(signed_head, "the head of the audit trail");
            }
            (signed, signed_at) = (head.0, Some(now));
        }
        tokio::time::sleep(LOOK).await;
    }
}
