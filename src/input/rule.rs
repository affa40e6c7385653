//! One operation's rule.

use jsonschema::{PatternOptions, ValidationError, Validator};
use serde_json::Value;

use super::words;

/// The key in a schema whose text is told where a keyword beside it is broken.
const MESSAGE: &str = "x-message";

/// A schema, compiled.
#[derive(Debug)]
pub(super) struct Rule {
    schema: Value,
    validator: Validator,
    pub(super) max_body_bytes: u64,
}

/// What a body breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The field, for example `identify.commonEventOnViolations`; empty for the body as a whole.
    pub field: String,
    /// The rule, as a whole sentence that does not quote the value.
    pub message: String,
}

impl Rule {
    pub(super) fn compile(schema: Value, max_body_bytes: u64) -> Result<Self, String> {
        // Patterns without look-around, which take time linear in their text.
        let options = jsonschema::options().with_pattern_options(PatternOptions::regex());
        let validator = options.build(&schema).map_err(|error| error.to_string())?;
        Ok(Self { schema, validator, max_body_bytes })
    }

    /// Holds a body to the rule; the first violation in the order of the schema.
    pub(super) fn judge(&self, body: &[u8]) -> Result<(), Violation> {
        let whole = |message: String| Violation { field: String::new(), message };
        if body.trim_ascii().is_empty() {
            return Err(whole("A JSON body is required.".to_owned()));
        }
        let value: Value = serde_json::from_slice(body).map_err(|error| {
            whole(format!("The body is not JSON: line {}, column {}.", error.line(), error.column()))
        })?;
        self.validator.validate(&value).map_err(|error| self.violation(&error))
    }

    fn violation(&self, error: &ValidationError<'_>) -> Violation {
        let field = words::field(error);
        let message = self.message(error).unwrap_or_else(|| words::sentence(&field, error.kind()));
        Violation { field, message }
    }

    /// The schema's own words for what is broken.
    fn message(&self, error: &ValidationError<'_>) -> Option<String> {
        let keyword = error.schema_path().as_str();
        let (beside, _) = keyword.rsplit_once('/')?;
        self.schema.pointer(beside)?.get(MESSAGE)?.as_str().map(str::to_owned)
    }
}
