//! HTTP messages as bytes: heads, fields and framing, on both sides of the gateway.
//!
//! Decides what is a well-formed message (RFC 9110, 9112) and nothing about what it asks for. Invariants: a
//! parsed [`Head`] keeps every byte of target and field values as sent; framing that two implementations
//! could read differently is refused, never repaired. It refuses to know sockets, credentials and upstreams.

mod field_name;
mod head;

pub use field_name::FieldName;
pub use head::{Field, Head, Version};
