//! The seam: what limits ask a central store, and what it answers.
//!
//! # What a store keeps of a [`Bucket::Gcra`]
//!
//! Nothing of one that has been full for a minute. Of others eight numbers; times are by the store's own clock:
//!
//! ```text
//! tat      theoretical arrival time (GCRA)
//! at       when it was last written
//! fill     interval × burst when it was last written: time from empty to full
//! since    start of the current period; names it
//! period   length of the current period: the longest lease asked for in it
//! granted  tokens held that were granted in the current period
//! earlier  start of the period before it; names it
//! before   tokens held that were granted in that one
//! ```
//!
//! A token granted in `[since, since + period)` dies before `since + 2 × period`, and counts as held until then or until
//! its replica says that it is spent. The bucket refills only up to the burst **less what is held**:
//!
//! > (invariant) what the bucket has left + what replicas may still spend ≤ burst, at every instant
//!
//! so that in any window W at most `burst + rate × W` are spent, however many replicas there are, whatever is offered
//! and whenever leases are spent: what is spent was held when W began, or was left then, or was refilled since. No part
//! of the burst is set aside for this: an idle bucket, of which nothing is held, gives its whole burst.
//!
//! # How it answers
//!
//! With `now` its own clock, `fill' = interval × burst` as asked, for each bucket that is asked of:
//!
//! ```text
//! unknown: tat = min(now − 60 s, now − began_ago + fill'), at = 0, fill = fill',
//!          since = now, period = lease, granted = earlier = before = 0
//!
//! if now < at:      tat, since, earlier −= at − now;  at = now       the clock went back: as far as is known, no time
//!                                                                     passed; this is written whatever is answered
//! if fill ≠ fill':  tat = now + max(tat − now, 0) × fill' / fill      same fraction used under another quota
//! from = max(now − began_ago, at), to = now − ended_ago               what came back in an outage was spent by shares:
//! if from < to:  tat = max(tat, from + held × interval) + to − from   what was left at its begin is left at its end;
//!                held = before + granted before since + period, granted before since + 2 × period, then 0
//! if now ≥ since + period:                                            the period is over
//!     tat = max(tat, since + period + (before + granted) × interval)  it did not refill past what was held
//!     earlier = since, before = granted, since = since + period, granted = 0
//!     if now ≥ since + period:                                        and so is the next
//!         tat = max(tat, since + period + before × interval)
//!         earlier = before = 0, since = now, period = lease
//! period = max(period, lease)
//! tat = min(tat, now + fill')                                         the bucket is empty at most
//! tat = max(tat, now + (before + granted) × interval)                 it did not refill past what was held until now
//! if held.period = since:    granted = max(granted − held.spent − held.kept, 0)     spent is not held any more,
//! else if held.period = earlier:  before = max(before  − held.spent − held.kept, 0)     and what is
//! granted = granted + held.kept                                                     kept lives on with what is granted now
//! tat = max(tat, now + (before + granted) × interval)                 nor past what is held from now on
//! left = floor((now + fill' − tat) / interval)
//! ```
//!
//! If any has `left < need`, the answer is [`Answer::Denied`] with the longest wait, and **nothing is taken** of any.
//! The wait of one, which foresees that the bucket cannot refill past what is held:
//!
//! ```text
//! at = tat + need × interval − fill'
//! for (end, held) in [(since + period, before + granted), (since + 2 × period, granted)]:
//!     if at ≤ end and held + need ≤ burst:  stop
//!     tat = max(tat, end + held × interval),  at = tat + need × interval − fill'
//! wait = ceil(at − now), at least 1 unit
//! ```
//!
//! Otherwise of each `grant = max(need, min(want, ceil(left / 2)))` is taken: `tat += grant × interval`, `granted +=
//! grant`, `fill = fill'`, `at = now`, kept until 60 s after both `tat` and `since + 2 × period` have passed. Half, so
//! that one replica does not drain what others are about to need. [`Grant::period`] is `since`, [`Grant::left`] is
//! `left − grant`, [`Grant::until_full_nanos`] is `tat − now`.
//!
//! An outage is settled once, however many replicas tell of it: the first that is granted tokens afterwards moves `at`
//! past its end. A bucket that is unknown was full a minute ago, so that an outage of less finds it full at its begin.
//! While some replicas are cut off and others are not, `at` follows the others, and what the shares of the cut off add
//! is not settled; it is within the bound that is stated for that.
//!
//! # What it keeps of a [`Bucket::Calendar`]
//!
//! A counter of its period, and the quota that it was counted under; nothing of a period of which nothing was asked. In the
//! place of a [`Bucket::Gcra`] of the same name it keeps which period counts: the latest that was asked of.
//!
//! ```text
//! count = count × requests / requests before                          same fraction used under another quota
//! left  = floor(requests − count)
//! ```
//!
//! A name that is asked of in the other way has been given another window. The same fraction stays used, and only the way that
//! is asked for now is kept, so that it does not matter how often the two alternate while replicas disagree. Both are written
//! whatever becomes of the question:
//!
//! ```text
//! of a rate:      count = min(max(max(tat − max(at − now, 0) − now, 0) / fill × requests, held), requests)
//!                 held = before + granted before since + period, granted before since + 2 × period, then 0
//! of a period     tat = now + ceil(min(count / requests before, 1) × fill'), at = now, fill = fill',
//! that lasts:     since = now, period = lease, granted = earlier = before = 0
//! ```
//!
//! If `left < need` the answer is [`Answer::Denied`], and the wait is what remains of the period. Otherwise `grant =
//! max(need, min(want, left))`, `count += grant`, kept until an hour after the period's end, for gateways whose clocks are
//! behind; [`Grant::period`] is 0, and the time until full is what remains of the period. What is granted is never
//! returned, so that in one period, as its name says it, no more than the quota is granted: to whatever number of gateways,
//! however often they are restarted, and whatever answers are lost.

use std::num::NonZeroU32;
use std::pin::Pin;
use std::sync::Arc;

/// Buckets in one question at most.
pub const MOST_ASKED: usize = 16;

/// Nanoseconds of a tick: a store's times are whole ticks, those of a question rounded up.
pub const TICK_NANOS: u64 = 100;

/// Asks for tokens of several buckets, all or nothing. Every bucket is granted its `need`, or none anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// What keeps buckets together that are granted together: a workspace or an address, 1 to 64 of `A-Za-z0-9_-`. A
    /// store of several nodes keeps a group's buckets on one (in Redis it is the hash tag).
    pub group: Arc<str>,
    /// The buckets: 1 to [`MOST_ASKED`], each named once.
    pub asked: Vec<Asked>,
    /// The last outage of the store, as this replica saw it; [`None`] if it saw none.
    pub outage: Option<OutageAgo>,
}

/// An outage that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutageAgo {
    /// How long ago it began.
    pub began_ago_nanos: u64,
    /// How long ago it ended; less.
    pub ended_ago_nanos: u64,
}

/// One bucket of a [`Question`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Its name within the group, the same on every replica: 1 to 256 of `A-Za-z0-9_:-`.
    pub name: Arc<str>,
    /// How it counts.
    pub bucket: Bucket,
    /// Tokens without which the answer is a denial; at least 1, at most the burst.
    pub need: u32,
    /// Tokens to grant if there are enough; at least `need`.
    pub want: u32,
    /// What became of the tokens that were granted to this replica last; of the calendar's all 0.
    pub held: Held,
}

/// What became of the tokens that a replica was granted last of a bucket, and at the grant before kept. All 0 the first
/// time, and where it is not known whether an earlier question that said so arrived.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// [`Grant::period`] of that grant.
    pub period: u64,
    /// Tokens that are spent or dropped. They do not come back, but the bucket may refill in their place.
    pub spent: u32,
    /// Tokens that are unspent, and will be as long-lived as those that are now granted.
    pub kept: u32,
}

/// How a bucket counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bucket {
    /// A rate and a burst, by the generic cell rate algorithm.
    Gcra {
        /// Time in which one token comes back.
        interval_nanos: u64,
        /// Tokens of a full bucket.
        burst: u32,
        /// How long granted tokens may be spent, from before the question was sent.
        lease_nanos: u64,
    },
    /// So many tokens in each period of the calendar, all gone at its end.
    Calendar {
        /// Tokens of one period.
        requests: u32,
        /// When the period began, in seconds since 1970 (UTC). Part of the bucket's name: each period counts anew.
        began_unix_seconds: u64,
        /// Time until it ends.
        ends_in_nanos: u64,
    },
}

/// What a store says to a [`Question`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// One for each bucket, in the order of the question.
    Granted(Vec<Grant>),
    /// Nothing was taken of any bucket.
    Denied {
        /// The bucket with the longest wait, by its place in the question.
        place: usize,
        /// Time until its `need` is there, rounded up; nothing can be granted sooner.
        wait_nanos: u64,
    },
}

/// Tokens of one bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// How many; at least the `need`.
    pub tokens: u32,
    /// How many the bucket has left.
    pub left: u32,
    /// Names the period that they are held in, for [`Held::period`].
    pub period: u64,
    /// Time until the bucket is full; of a calendar bucket, until its period ends.
    pub until_full_nanos: u64,
}

/// Why a question has no answer. It may have reached the store all the same: whoever asked must take it that tokens
/// were granted and are lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreFault {
    /// It was not asked, because it failed a moment ago.
    #[error("the central store of limits failed a moment ago and is not asked")]
    Open,
    /// It did not answer in time.
    #[error("the central store of limits did not answer in time")]
    TimedOut,
    /// The connection broke, or the answer was none.
    #[error("the central store of limits cannot be reached or understood")]
    Broken,
}

/// An answer to come, to be polled on any tokio runtime with a timer: polled, it ends within the store's own deadline.
pub type Asking = Pin<Box<dyn Future<Output = Result<Answer, StoreFault>> + Send>>;

/// When the store did not answer, by the process's monotonic clock ([`Now::monotonic_nanos`](crate::clock::Now)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outage {
    /// The last time at which a question was sent that was answered: it began later. What a bucket took back between then
    /// and its last write is not counted, so earlier is never too early for a bound.
    pub began_nanos: u64,
    /// When this replica counts at the store again, all replicas at the same instant; [`None`] while it does not.
    pub ended_nanos: Option<u64>,
}

/// Where limits are kept that replicas share.
pub trait CentralStore: Send + Sync {
    /// Asks. What is not answered in time must not be answered later either: tokens that are granted when nobody waits for
    /// them any more are lost, and move `at` past an outage that nobody has settled. Made at most once per bucket and 5 ms,
    /// never while [`CentralStore::is_up`] is false, and never twice for one question: a question that is repeated is
    /// granted twice.
    fn ask(&self, question: Question) -> Asking;

    /// Whether it is worth asking: false from a failure until the store answers again, which the client finds out by
    /// itself. Read for each request that no lease admits, so it is one load.
    fn is_up(&self) -> bool;

    /// The last time that [`CentralStore::is_up`] was false, or is.
    fn last_outage(&self) -> Option<Outage>;

    /// What [`CentralStore::ask`] takes at most.
    fn deadline_nanos(&self) -> u64;

    /// The longest that an answer took lately, as far as is known.
    fn round_trip_nanos(&self) -> u64;

    /// What a request waits for an answer beyond that: at least 5 ms, which its turn to ask may take.
    fn patience_nanos(&self) -> u64;

    /// Replicas that share the store now, this one included; the last known number while it is down. It sizes shares,
    /// leases and pauses; no bound depends on it while the store answers.
    fn replicas(&self) -> NonZeroU32;
}
