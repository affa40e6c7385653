//! GitHub's alerts of leaked tokens (secret scanning partner programme).
//!
//! Decides whether an alert is GitHub's, which tokens in it are ours, and what GitHub is told of each. Invariants: an
//! alert is believed by its signature over the bytes as they came, and by nothing else; what could not be checked
//! because of us is never called wrong; a token of another region is never called false; when an answer leaves, every
//! token that it calls ours is refused by this process; the same alert again changes nothing. Bounds: bytes of alerts
//! held at once, tokens an alert, alerts worked on at once, loads of GitHub's keys, time, alerts that wait for another
//! region. It refuses to know HTTP's framing, how a refusal is written, and who is told of a leak.
//!
//! [`Receiver::receive`] is the way in; [`Relay::run`] and [`KeysRefresher::run`] work beside it.

mod alert;
mod answer;
mod counts;
mod key_set;
mod keys;
mod receiver;
mod relay;
mod room;
mod settings;
mod source;
mod spool;
mod work;

use std::fmt::Write as _;

pub use alert::AlertFault;
pub use counts::{Counts, KeysStatus};
pub use keys::KeysRefresher;
pub use receiver::{Fault, Receiver, Shared};
pub use relay::Relay;
pub use settings::{Checked, FeedbackToken, Settings, from_settings};

/// Bytes as lower-case hexadecimal digits.
fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // Writing to memory cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// Who acts in the audit trail.
pub const ACTOR: &str = "github-secret-scanning";
