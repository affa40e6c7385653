//! An explanation without a running gateway: the same snapshot over a registry that is read once, and no counts.

use std::time::Duration;

use super::{StartError, secret, snapshot};
use crate::authentication::Refresher;
use crate::clock::Clock;
use crate::config::Config;
use crate::gateway::Snapshot;
use crate::gateway::explain::{Asker, Explainer, Explanation, NotAQuestion, Question};
use crate::limits::Counters;
use crate::secret_scanning;
use crate::telemetry::Labels;
use crate::tokens::{Mint, Registry, SystemRandom};

/// The longest wait for issuers' keys.
const LONGEST_LOAD: Duration = Duration::from_secs(6);

/// Explains a request by a configuration and its token store. A JWT is judged by its issuer's keys, which are loaded
/// as `serve` would; nothing else is asked of the network. `Ok(Err(_))` is a question that describes no request.
pub fn explain(
    config: &Config,
    question: &Question,
    clock: &Clock,
) -> Result<Result<Explanation, NotAQuestion>, StartError> {
    let now = clock.now();
    let mint = Mint::open(&config.tokens, config.places.regions(), Box::new(SystemRandom), now)?;
    let registry = Registry::open(&mint, now)?;
    let counters = Counters::new(secret()?);
    let (snapshot, refreshers) = snapshot::first(config, &mint, (&counters, &[]), &Labels::default(), now);
    if matches!(&question.asker, Asker::Token(_) | Asker::Request) {
        load_keys(&snapshot, refreshers, clock)?;
    }
    let head_limits = config.listen.bounds.head;
    let explainer = Explainer {
        snapshot: &snapshot,
        registry: &registry,
        head_limits,
        alert_path: config.secret_scanning.as_ref().map(secret_scanning::Checked::path),
        upstreams: &config.upstream,
    };
    let answer = explainer.explain(question, clock.now());
    Ok(answer.map(|mut explanation| {
        explanation.forget_counts();
        explanation
    }))
}

/// Loads every issuer's keys once.
fn load_keys(snapshot: &Snapshot, refreshers: Vec<Refresher>, clock: &Clock) -> Result<(), StartError> {
    if refreshers.is_empty() {
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(StartError::Thread)?.block_on(async {
        for refresher in refreshers {
            tokio::spawn(refresher.run(clock.clone()));
        }
        let loaded = || {
            snapshot
                .authenticator
                .issuers(clock.now())
                .all(|issuer| issuer.loads.iter().any(|(_, count)| *count > 0))
        };
        let all_loaded = async {
            while !loaded() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        // An issuer that does not answer is told in the explanation.
        let _ = tokio::time::timeout(LONGEST_LOAD, all_loaded).await;
    });
    Ok(())
}
