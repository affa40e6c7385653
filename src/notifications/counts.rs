//! How deliveries ended, for metrics.

use std::sync::atomic::{AtomicU64, Ordering};

/// How a message travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// A signed POST.
    Webhook,
    /// A mail by SMTP.
    Email,
}

impl Channel {
    /// Every channel.
    pub const ALL: [Self; 2] = [Self::Webhook, Self::Email];

    /// The word in metrics and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Webhook => "webhook",
            Self::Email => "email",
        }
    }
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The recipient has it.
    Delivered,
    /// It is tried again.
    Failed,
    /// It is not tried again.
    GivenUp,
}

impl End {
    /// Every end.
    pub const ALL: [Self; 3] = [Self::Delivered, Self::Failed, Self::GivenUp];

    /// The word in metrics and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Failed => "failed",
            Self::GivenUp => "given_up",
        }
    }
}

/// Attempts since the start, and what waits.
#[derive(Debug, Default)]
pub struct Counts {
    attempts: [[AtomicU64; End::ALL.len()]; Channel::ALL.len()],
    waiting: AtomicU64,
    oldest_unix_millis: AtomicU64,
}

impl Counts {
    pub(super) fn add(&self, channel: Channel, end: End) {
        self.attempts[channel as usize][end as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn set_backlog(&self, messages: u64, oldest_unix_millis: Option<u64>) {
        self.waiting.store(messages, Ordering::Relaxed);
        self.oldest_unix_millis.store(oldest_unix_millis.unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Attempts that ended so.
    pub fn attempts(&self, channel: Channel, end: End) -> u64 {
        self.attempts[channel as usize][end as usize].load(Ordering::Relaxed)
    }

    /// Messages that were neither delivered nor given up when this was last looked at.
    pub fn waiting(&self) -> u64 {
        self.waiting.load(Ordering::Relaxed)
    }

    /// How long the oldest of them waits, in milliseconds.
    pub fn oldest_millis(&self, now_unix_millis: u64) -> u64 {
        if self.waiting() == 0 {
            return 0;
        }
        now_unix_millis.saturating_sub(self.oldest_unix_millis.load(Ordering::Relaxed))
    }
}
