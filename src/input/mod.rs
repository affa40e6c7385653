//! What a body must look like: a JSON Schema for each operation that has one, and strict types for our own resources.
//!
//! Decides whether the body of an admitted request keeps its operation's rule, before anything is sent on.
//! Operations without a rule pay nothing, and their bodies stream. Invariants: a body that cannot be judged (not
//! JSON, compressed, longer than the bound) is refused; what was judged is what is sent on, byte for byte; an
//! answer names the field and the rule, never the value. It refuses to know what the fields mean.
//!
//! A request that is refused here was admitted before, and counts: the API behind would count it as well, and
//! judging bodies would otherwise be work without a limit.

mod body;
mod check;
mod rule;
mod settings;
mod strict;
mod words;

pub use body::{InputFault, gathered};
pub use check::Rules;
pub use rule::Violation;
pub use settings::{RuleSettings, Settings};
pub use strict::read_object;

#[cfg(test)]
mod tests;
