//! HTTP messages as bytes: heads, fields, framing and bodies, on both sides of the gateway.
//!
//! Decides what is a well-formed message (RFC 9110, 9112) and nothing about what it asks for. Invariants: a
//! parsed [`Head`] keeps every byte of target and field values as sent; framing that two implementations
//! could read differently is refused, never repaired. It refuses to know sockets, credentials and upstreams.

mod authority;
mod body;
mod chunked;
mod fault;
mod field_name;
mod framing;
mod head;
mod parse;
mod pooled;
#[cfg(test)]
mod property;
mod response_head;

pub use authority::is_authority;
pub use body::{BodyStream, Completion, Delivery, Part, Payload, RequestBody, Response};
pub use chunked::{ChunkDecoder, Decoded, encode_chunk_size};
pub use fault::{BodyFault, HeadFault};
pub use field_name::FieldName;
pub use framing::{Framing, announced_length};
pub use head::{Field, Head, Version, push_line};
pub use parse::{HeadLimits, MAX_FIELDS, Parsed, request_head};
pub use pooled::{Buffer, Pooled, PooledHead, Reusable};
pub use response_head::{ResponseHead, response_head};
