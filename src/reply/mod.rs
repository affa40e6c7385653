//! What the gateway itself says: refusals, and its own two pages.
//!
//! Decides the status, the words and the fields of every answer that does not come from an upstream.
//! Invariants: each [`Refusal`] has one row in one table (`table.rs`), with one outcome; its body is valid JSON
//! whatever its data hold; nothing in it speaks of the inside of the gateway or of an upstream's address; all
//! bad tokens that are not genuine get one and the same body. It refuses to know sockets, why a decision was
//! taken, and framing: `Content-Length`, `Date` and `Connection` are written by whoever writes the message.

mod dialect;
mod json;
mod pages;
mod refusal;
mod render;
mod settings;
mod table;

pub use dialect::Dialect;
pub use pages::{LimitView, WhoAmI, json_page, limits_page, own_page, whoami_page};
pub use refusal::{Exhausted, HeadersLimit, Refusal};
pub use render::{Rendered, Replies};
pub use settings::{Checked, Settings, from_settings};

#[cfg(test)]
mod tests;
