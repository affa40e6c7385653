//! Yesterday's requests under another configuration: who would newly be refused.
//!
//! Decides, for each line of an access log, what the request path would have said under a configuration that is
//! not in force. It runs the request path's own routing, identification, permit and limits, on a clock that the
//! log's times drive. Invariants: nothing is sent, stored or changed; memory is bounded, whatever the log's length;
//! a line that cannot be read is counted and told, and never guessed at. It refuses to know how its report is
//! written, and what a log does not say:
//!
//! - A credential is not in the log, so the caller is who the log says, as the registry has it, or, where the
//!   registry does not know it, as the log has it; scopes and features that neither tells are taken as held.
//! - Requests that were refused before their caller was known stay refused.
//! - Failed authentications by address and an upstream's charges are not counted.

mod callers;
mod decide;
mod line;
mod order;
mod report;

use std::io::{self, BufRead};

use crate::config::Config;
use crate::tokens;

pub use report::{DeprecatedCallers, Malformed, NewlyRefused, Report};

use decide::Decider;
use line::Lines;
use order::InOrder;

/// Why a log could not be replayed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The log cannot be read.
    #[error("the log cannot be read: {0}")]
    Read(#[from] io::Error),
    /// The registry cannot be read.
    #[error("the registry cannot be read: {0}; or name a configuration whose `tokens.store` is not there")]
    Registry(#[from] tokens::Error),
    /// The system gives no random bytes.
    #[error("the system gives no random bytes; check /dev/urandom")]
    Random,
}

/// Replays a log under a configuration. Tells `progress` how many lines were read, now and then.
pub fn replay(
    log: &mut dyn BufRead,
    config: &Config,
    progress: &mut dyn FnMut(u64),
) -> Result<Report, Error> {
    const TOLD_EVERY: u64 = 10_000;
    let store = &config.tokens.store;
    let store = store.may_exist().then(|| store.open_read_only()).transpose()?;
    let mut decider = Decider::new(config, store)?;
    let mut report = report::Builder::new(decider.has_registry());
    let mut lines = Lines::new(log);
    let mut in_order = InOrder::default();
    loop {
        let line = match lines.next()? {
            None => break,
            Some(Ok(line)) => line,
            Some(Err(malformed)) => {
                report.malformed(malformed);
                continue;
            }
        };
        if lines.read().is_multiple_of(TOLD_EVERY) {
            progress(lines.read());
        }
        if let Some(line) = in_order.push(line) {
            report.add(&line, decider.decide(&line)?);
        }
    }
    for line in in_order.rest() {
        report.add(&line, decider.decide(&line)?);
    }
    progress(lines.read());
    Ok(report.finish(lines.read()))
}

#[cfg(test)]
mod tests;
