//! What each row of the table is held to, by the bounds of `tollgate::limits::shared`.

use crate::Limit;
use crate::fleet::{Apart, REPLICAS};
use crate::offered::Offered;

/// Of 10,000 requests at nine tenths of a limit so many may be refused whom one limiter would have admitted.
const FALSE_REFUSALS: f64 = 1.0;
/// Of what a limit has so much is to be used, less one request.
const USED: f64 = 0.95;
/// What counts of requests are off by at most.
const EXACT: f64 = 1e-6;

/// One part of a run: a limit's load in it, and how long gateways were without Redis.
pub(crate) struct Part<'a>(pub(crate) &'a Offered, pub(crate) Apart);

/// A limit's row.
pub(crate) struct Row<'a> {
    pub(crate) quota: &'a str,
    pub(crate) calm: Part<'a>,
    pub(crate) over: Part<'a>,
    pub(crate) away: Part<'a>,
    pub(crate) cut: Part<'a>,
}

impl Apart {
    /// Tokens beyond the limit where some gateways are without Redis, and the others not.
    pub(crate) fn most(&self, limit: Limit) -> f64 {
        self.tokens as f64 + limit.rate / REPLICAS as f64 * self.seconds
    }

    /// The same where all are: then shares add up to the rate, except while some have gone on before the others.
    fn most_together(&self, limit: Limit) -> f64 {
        self.tokens as f64 + limit.rate / REPLICAS as f64 * self.alone_seconds
    }
}

impl Row<'_> {
    /// The bounds that it does not keep, in words.
    pub(crate) fn broken(&self) -> Vec<String> {
        let limit = Limit::of(self.quota);
        let Self { calm: Part(calm, calm_apart), over: Part(over, over_apart), away, cut, .. } = self;
        let most_used = over.most(limit);
        let bounds = [
            ("false refusals at 0.9 ×", calm.false_refusals(limit) as f64, refusals(calm, calm_apart, limit)),
            ("beyond the limit at 0.9 ×", calm.beyond(limit), calm_apart.most(limit)),
            ("beyond the limit at 10 ×", over.beyond(limit), over_apart.most(limit)),
            ("unused at 10 ×", most_used * (1.0 - over.used(limit)), most_used * (1.0 - USED) + 1.0),
            ("beyond the limit while Redis is away", away.0.beyond(limit), away.1.most_together(limit)),
            ("beyond the limit while some are cut off", cut.0.beyond(limit), cut.1.most(limit)),
        ];
        let is_broken = |(_, had, most): &&(&str, f64, f64)| *had > most + EXACT;
        let said =
            |(what, had, most): &(&str, f64, f64)| format!("{}: {had:.1} {what}, of {most:.1}", self.quota);
        bounds.iter().filter(is_broken).map(said).collect()
    }
}

/// Refusals in the calm: one of 10,000, and those of gateways that were without Redis or waited for it in vain.
fn refusals(calm: &Offered, apart: &Apart, limit: Limit) -> f64 {
    let shares = 0.9 * limit.rate / REPLICAS as f64 * apart.seconds;
    calm.requests() as f64 / 10_000.0 * FALSE_REFUSALS + shares + apart.tokens as f64 + apart.undecided as f64
}
