//! The listening edge from outside: the binary is started as a user starts it, and bytes are sent that no good
//! client and no good upstream would send.

#![expect(clippy::unwrap_used, reason = "a test may panic")]
#![expect(clippy::panic, reason = "a test may panic")]

mod addresses;
mod broken_answers;
mod certificate;
mod draining;
mod early;
mod frames;
mod framing;
mod h2;
mod h2_abuse;
mod heads;
mod passing;
mod paths;
mod proxy_protocol;
mod recorder;
mod slow;
#[path = "../gateway/support/mod.rs"]
#[expect(dead_code, unused_imports, reason = "each list of promises uses its part")]
mod support;
mod table;
mod upstreams;
