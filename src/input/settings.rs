//! `[input]`: rules for bodies.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// `[input]`: JSON Schemas that bodies are held to before they are sent on.
#[derive(Clone, Debug, Deserialize, Serialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The rules, at most one for each operation. Default: none.
    pub rules: Vec<RuleSettings>,
    /// The longest body of an operation with a rule, in bytes; it is kept in memory while it is judged. Default:
    /// 262,144.
    pub max_body_bytes: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { rules: Vec::new(), max_body_bytes: 256 * 1024 }
    }
}

/// `[[input.rules]]`: one operation's rule.
#[derive(Clone, Debug, Deserialize, Serialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RuleSettings {
    /// An operation of the endpoint table. Required.
    pub operation: String,
    /// A file with a JSON Schema, draft 2020-12 unless its `$schema` says otherwise; references stay inside the
    /// file. `x-message` beside a keyword is told in place of our own words. Required.
    pub schema_file: PathBuf,
}
