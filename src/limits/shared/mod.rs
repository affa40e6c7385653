//! Limits that many replicas share, through a central store that the hot path never waits for.
//!
//! A replica spends tokens that the store granted it: a lease. While one has tokens a request takes one by a single
//! compare-and-swap; nothing is awaited and nobody is asked. A request that finds none asks, together with all others
//! that wait: it waits for its turn (until the question before it is answered, and 5 ms after that was sent) and for one
//! answer; no longer than 5 ms and what answers took lately at the longest, then a share decides. Who answers is not this
//! room's business: [`CentralStore`] says how it is asked and what it must keep, with the proof that no window outruns the
//! limit.
//!
//! # Bounds
//!
//! N replicas, a rate r and a burst B, in any window W, of requests that cost 1; the N (and k) are requests, which may cost
//! more:
//!
//! | | admitted at most |
//! |---|---|
//! | the store answers as soon as it did lately, however slow that is, and replicas come and go | B + r W |
//! | it answers later, or leaves questions unanswered, and is not given up | B + r W + N, and r / N for the time by which a replica is granted nothing that it asks for |
//! | it is away, for however long | B + r W + N (for each outage), and r (N − 1) / N for the time by which replicas go on apart |
//! | k of N are cut off, each for its D | B + r W + k + (r / N) × all D together; where all are cut off alike, k + (k / N) r D |
//! | it forgets everything, or loses what it granted last | once B more, or what was lost |
//! | its clock steps forward by s | once r s more |
//!
//! Of a count by the calendar, of a quota Q in each period:
//!
//! | | admitted in a period | used, where it is asked for |
//! |---|---|---|
//! | the store answers | at most Q | at least Q less what gateways hold that are not asked any more: N C, C at most Q / 4 N |
//! | gateways end | at most Q | what they held is lost: C each |
//! | answers are lost | at most Q + N; Q where it is `closed` | what was granted in vain is lost: C each |
//! | it is away for D | at most Q + N + r D; Q if so much was left | |
//!
//! Replicas go on together after the store was away: at an instant of its clock, within a millisecond or so. Apart from
//! the others goes on who finds it later than they wait, or who has not noticed that it was away: those who did count as
//! cut off for that long. So does whoever gives it up for a moment while others do not, and with a D of 0 whoever gets no
//! answer once: each admits one request without a token at its begin, and one in each N / r while it lasts. Both come of
//! one share, so that a replica whose question fails as it is cut off does not begin with two.
//!
//! # Why slowness adds nothing
//!
//! While the store answers in time, every request that is admitted spends a token that the store holds for it at some
//! instant between its arrival and its answer, and [the invariant](CentralStore) counts it there:
//!
//! - A request that does not wait spends a token whose lease lives when it comes. A lease begins when its question is
//!   *sent*, so that it ends here before it ends at the store, however long the question was on its way.
//! - A request that waits spends a token whose lease lived when it began to wait, or that was granted since. Tokens that
//!   are asked for requests (`strict`) are for no others: their lease ends as it begins, so they hold back no refill.
//! - Tokens that are kept over a question may have died when its answer comes. Then they stay dead.
//! - No share is admitted beside it. Only a question that **failed**, or whose answer is later than any of the last 10 s by
//!   more than 5 ms, lets a replica admit a request without a token: one in each N / r, and none of a bucket that had nothing
//!   left. They are paid for first of all from the next grants. A replica that goes may leave them unpaid; so does one whose
//!   bucket can never be asked of, which so goes on with its share.
//!
//! Nothing here counts replicas: one that joins has no token before it is granted one, and it does not serve before it has
//! found the store or tried for a second; one that leaves drops tokens that the store counts as held until they die.
//!
//! A share after 5 ms alone, charged later, would add N + r δ wherever answers take δ longer, and to set a credit for it aside
//! would cost N tokens of every burst, of which the smallest ones have none to spare. So whoever finds no token waits for a
//! round trip, however long those are, and only a store that stalls is not waited for: then N and r δ are all that it adds, for
//! a stall of δ, until its answer comes and charges them. Where round trips take more than 5 ms, whoever comes while a question
//! is on its way waits for two. A policy that is `closed` admits nothing without an answer, so its requests wait as long as the
//! client does.
//!
//! # How it differs from its models
//!
//! Leases that die and do not come back are Doorman's; that what is granted may be spent at most a lease later, so that
//! r × lease of the burst is set aside, is the usual proof. Here the store counts what is held, and lets a bucket refill
//! only up to the burst less that. So nothing is set aside: an idle bucket gives its whole burst, a lease may live for
//! three tenths of a fill instead of one tenth of the burst (which takes a third of the questions), and what a replica
//! keeps may live on with what it is granted next. Replicas say with each question what they have spent, so that a busy
//! bucket is held back by little.
//!
//! A first request of a cold bucket waits for its answer: a credit for it would need the number of replicas to be right
//! for the bound to hold. Here N sizes shares, leases and pauses, and no bound while the store answers.
//!
//! # Measured
//!
//! Eight replicas of this code against a model of the store, 0.4 to 1.4 ms for a round trip, Poisson arrivals, by the
//! simulator in the tests: `cargo test --lib accuracy_table -- --nocapture`. *False refusals*: what one central GCRA of
//! the same burst would have admitted. *Used*: of B + r W. *Worst window*: tokens beyond B + r W, so that what is not
//! above 0 is never too many. *Store down*: the middle half of the run at ten times the limit. *Asked*: questions for
//! each request.
//!
//! | limit | 0.9 ×: false refusals | waited | asked | 10 ×: used | worst window | asked | store down | 3 of 8 cut off |
//! |---|---|---|---|---|---|---|---|---|
//! | 2 per minute | 0.000 % | 95.9 % | 95.9 % | 83.3 % | -0.0 | 53.2 % | +6.0 | +2.8 (≤ 3.8) |
//! | 5 per minute | 0.000 % | 98.9 % | 98.9 % | 93.3 % | -0.0 | 61.1 % | +5.4 | +3.0 (≤ 4.9) |
//! | 10 per minute | 0.000 % | 99.7 % | 99.7 % | 96.7 % | -0.0 | 63.9 % | +5.8 | +2.0 (≤ 6.8) |
//! | 20 per minute | 0.000 % | 100.0 % | 100.0 % | 98.3 % | -0.0 | 59.1 % | +4.9 | +3.0 (≤ 10.7) |
//! | 25 per minute | 0.000 % | 100.0 % | 100.0 % | 98.7 % | -0.0 | 59.4 % | +5.4 | +6.0 (≤ 12.6) |
//! | 50 per minute | 0.000 % | 100.0 % | 100.0 % | 99.3 % | -0.0 | 60.7 % | +4.5 | +19.0 (≤ 22.2) |
//! | 60 per minute | 0.000 % | 100.0 % | 100.0 % | 99.4 % | -0.0 | 60.3 % | +4.1 | +24.0 (≤ 26.1) |
//! | 100 per minute | 0.000 % | 100.0 % | 100.0 % | 99.7 % | -0.0 | 60.6 % | +6.1 | +38.0 (≤ 41.4) |
//! | 200 per minute | 0.000 % | 64.9 % | 66.4 % | 99.7 % | -1.5 | 56.5 % | +5.8 | +74.3 (≤ 79.9) |
//! | 250 per minute | 0.000 % | 48.6 % | 54.3 % | 99.8 % | -0.9 | 55.7 % | +4.3 | +94.3 (≤ 98.3) |
//! | 300 per minute | 0.000 % | 31.8 % | 45.7 % | 99.8 % | -1.1 | 53.9 % | +5.2 | +111.8 (≤ 118.3) |
//! | 600 per minute | 0.000 % | 7.4 % | 23.7 % | 99.8 % | -3.4 | 43.7 % | +3.6 | +226.5 (≤ 233.6) |
//! | 6000 per minute | 0.000 % | 0.6 % | 3.3 % | 100.0 % | -3.5 | 11.5 % | -5.5 | +2267.0 (≤ 2309.2) |
//! | 120 per day | 0.000 % | 100.0 % | 100.0 % | 99.7 % | -0.0 | 60.2 % | +5.1 | +2.8 (≤ 48.0) |
//!
//! Two of `2 per minute` are used of two and two fills' worth, less the one that comes back at the run's very end.
//!
//! # On real processes
//!
//! Eight gateways, processes of their own, on one Redis, each limit under its own load for a minute a part, all limits at the
//! same time: `cargo bench --bench accuracy`. A release build, on two cores with which the clients had to do as well, and
//! nothing else ran. Requests waited for Redis as they do by default; in no part was one decided because an answer was late. A
//! request counts in a window that it was surely decided in, from its sending to its answer. In the calm a small limit has few
//! requests in a minute; the simulator has thousands. *Redis away*: for the middle half of the time, at ten times the limit.
//!
//! | limit | 0.9 ×: false refusals | asked | 10 ×: used | worst window | asked | Redis away | 3 of 8 cut off |
//! |---|---|---|---|---|---|---|---|
//! | 2 per minute | 0 of 3 | 100.0 % | 75.0 % | -0.1 | 55.6 % | +0.7 | -0.1 (≤ 3.4) |
//! | 5 per minute | 0 of 1 | 100.0 % | 90.0 % | -0.0 | 78.3 % | +6.0 | +3.0 (≤ 4.0) |
//! | 10 per minute | 0 of 3 | 100.0 % | 95.0 % | -0.0 | 71.1 % | +5.7 | +3.0 (≤ 4.9) |
//! | 20 per minute | 0 of 16 | 100.0 % | 97.5 % | -0.0 | 51.9 % | +5.7 | +5.9 (≤ 6.9) |
//! | 25 per minute | 0 of 44 | 100.0 % | 98.0 % | -0.0 | 56.6 % | +5.9 | +6.0 (≤ 7.8) |
//! | 50 per minute | 0 of 43 | 100.0 % | 99.0 % | -0.0 | 62.0 % | +4.8 | +9.0 (≤ 12.6) |
//! | 60 per minute | 0 of 41 | 100.0 % | 99.2 % | -0.0 | 62.3 % | +5.9 | +12.0 (≤ 14.6) |
//! | 100 per minute | 0 of 80 | 100.0 % | 99.5 % | -0.0 | 62.1 % | +5.7 | +21.0 (≤ 22.3) |
//! | 200 per minute | 0 of 162 | 77.8 % | 99.5 % | -0.9 | 55.1 % | +4.2 | +38.1 (≤ 41.5) |
//! | 250 per minute | 0 of 266 | 48.5 % | 99.6 % | -1.1 | 54.4 % | +4.2 | +47.9 (≤ 51.2) |
//! | 300 per minute | 0 of 274 | 43.4 % | 99.7 % | -1.0 | 52.4 % | +4.8 | +59.0 (≤ 60.8) |
//! | 600 per minute | 0 of 535 | 23.9 % | 99.7 % | -2.9 | 42.4 % | +2.8 | +114.1 (≤ 118.6) |
//! | 6000 per minute | 0 of 5669 | 2.8 % | 100.0 % | -2.5 | 10.9 % | -2.1 | +1153.5 (≤ 1158.9) |
//! | 120 per day | 0 of 0 | 0.0 % | 100.0 % | -0.0 | 50.4 % | +6.9 | +2.9 (≤ 3.0) |
//!
//! The bound of the last column counts all eight: on a busy machine others than the three have a question without an answer,
//! too, or give Redis up for a moment. A machine so busy that gateways give Redis up again and again, though it works, is no
//! calm: each of them counts as cut off meanwhile. In such a run, with a load of 8 on the two cores, the overload admitted
//! 103 to 120 % of what the limits have. The bench says for how long gateways were without Redis; `timeout_milliseconds`
//! says how long they wait for it.
//!
//! # Faults on real processes
//!
//! Eight gateways on one Redis, a limit of 30 a second with a burst of 60, ten times that offered for a minute, and in its
//! middle half a minute's fault: `TOLLGATE_LONG=1 cargo nextest run -E 'test(shared_limits::faults)'`, two at a time on a busy
//! machine. *Used*: of the burst and the rate for the whole time.
//!
//! | Redis: | used | worst window |
//! |---|---|---|
//! | it hangs | 99.41 % | -0.9 (≤ 8) |
//! | it is killed and restarted | 103.16 % | +60.7 (≤ 68) |
//! | it fails over to its replica | 100.03 % | +1.9 (≤ 68) |
//! | it is flushed | 102.93 % | +56.3 (≤ 60) |
//! | it forgets its scripts, 300 times | 99.90 % | -1.1 (≤ 0) |
//! | its clock jumps ahead by 5 s | 103.15 % | +60.4 (≤ 158) |
//! | its clock jumps back by 5 s | 100.03 % | +2.3 (≤ 8) |
//! | three of eight gateways are cut off, for D seconds | 118.31 % | +346.8 (≤ 3 + 11.25 D) |
//!
//! Of the minute in which it hangs for half, all 18,392 answers came within 13.9 ms and 99 of 100 within 2.3 ms, with nothing
//! else on the machine (25.7 and 2.5 ms beside other programs): nobody waits for the three calls of 100 ms after which Redis is
//! given up.
//!
//! A key with a steady demand does not notice that Redis hangs: its lease is renewed early enough to last until that is given
//! up, where it holds six requests or more. Of 60 requests a second none waited for Redis, in a minute of it
//! (`shared_limits::hot`).
//!
//! # Changes on real processes
//!
//! Eight gateways on one Redis, ten times the limit of 30 a second with a burst of 60 offered for a minute, on the same busy
//! machine: `TOLLGATE_LONG=1 cargo nextest run --no-capture -E 'test(shared_limits)'`. *Used*: of the burst and the rate.
//!
//! | | used | worst window |
//! |---|---|---|
//! | gateways are killed (SIGKILL), 12 one after the other | 99.76 % | -0.8 (≤ 0) |
//! | each reloads ten times a second, to twice the quota and back: 4,496 reloads | 99.4 % | 0.88 bursts (≤ 1) |
//!
//! With 40 keys at once, each at nine tenths of 10 a second, none of 21,931 requests was refused; with Redis waited for as long
//! as by default (50 ms) none of 5,416 of a key of 100 a second with a burst of 600, for 8.1 % of which it was asked.
//!
//! # What others publish
//!
//! Nobody else publishes such a table. Of themselves, or in threads about them, they say:
//!
//! | | how replicas share | published |
//! |---|---|---|
//! | APISIX `limit-count` | a counter, synchronised every 200 ms | two gateways, 500 a second, 800 offered: 590 admitted (+18 %), after a fix 438 (−12 %) (apache/apisix#13704) |
//! | Cloudflare | counters of a data centre, incremented asynchronously | 0.003 % of 400 million requests decided wrongly, the rate off by 6 % on average; not shared across data centres (blog.cloudflare.com/counting-things-a-lot-of-different-things) |
//! | WSO2 `redis-local-async` | counted locally, written behind every 50 ms | beyond the limit about (replicas − 1) × rate × interval (wso2/api-platform#2142) |
//! | Envoy ratelimit | a fixed window in Redis, asked for each request | up to twice the limit across a window's edge (envoyproxy/ratelimit#32); without Redis 1 to 10 s a request (#462) |
//! | Kong `rate-limiting` | counters, synchronised by `sync_rate` | no figure; races (Kong/kong#5790, #8227), counted twice (#11859) |
//! | Tyk DRL | the limit divided by the gateways | "not 100 % accurate", in its documentation |
//! | Limitador `redis_cached` | counted locally, written behind each second | "we can go over limits", in its source |
//! | Apigee Quota | asynchronous, 10 s | users see 5 to 8 for a limit of 5 (discuss.google.dev) |
//! | bucket4j | tokens fetched in batches | replicas × (batch − 1) beyond the limit (bucket4j#8) |

pub(super) mod call;
pub(super) mod cell;
pub(super) mod cells;
mod lease;
#[cfg(test)]
pub(crate) mod model;
mod plan;
mod share;
mod store;
pub(super) mod wanted;

pub use call::Call;
pub(super) use lease::{MOST_TOKENS, Mark};
pub(super) use plan::mode_of;
pub use plan::{CALLS_IN_VAIN, OnStoreFailure, Shared, Sharing};
pub use store::{
    Answer, Asked, Asking, Bucket, CentralStore, Grant, Held, MOST_ASKED, Outage, OutageAgo, Question,
    StoreFault, TICK_NANOS,
};
pub use wanted::{Waited, Wanted};
