//! Telling a workspace's owners what happened to their tokens.
//!
//! Decides what a message says, how it reaches its recipient, and when it is tried again. What is owed stands in the
//! token store's outbox; this room only delivers it, off the request threads. Invariants: a message is delivered at
//! least once or given up with an event, and has the same id in every attempt; every attempt has a deadline; the text
//! of a message never holds a token, only its id; a contact that a workspace wrote leads to no address inside,
//! unless the configuration allows it. It refuses to know who revokes tokens and why.
//!
//! Webhooks are signed by the [Standard Webhooks](https://www.standardwebhooks.com) specification ([`webhook`]),
//! e-mails are handed to one SMTP server ([`mail`]).

mod backoff;
mod counts;
mod deliver;
mod mail;
mod message;
mod report;
mod settings;
mod signature;
mod text;
mod used;
mod webhook;

pub use counts::{Channel, Counts, End};
pub use deliver::{Notifier, Parts};
pub use settings::{Checked, Encryption, Settings, SmtpSettings, from_settings};
pub use signature::{OPERATOR, SigningKeys};

#[cfg(test)]
mod tests;
