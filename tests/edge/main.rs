//! The listening edge from outside: the binary is started as a user starts it, and bytes are sent that no good
//! client and no good upstream would send.

#![expect(clippy::unwrap_used, reason = "a test may panic")]
#![expect(clippy::panic, reason = "a test may panic")]

mod addresses;
mod broken_answers;
mod draining;
#[path = "../gateway/support/mod.rs"]
#[expect(dead_code, unused_imports, reason = "each list of promises uses its part")]
mod support;
