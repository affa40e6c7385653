//! Violations in the words of the API: `"name" is required`.

use std::fmt::Write as _;

use jsonschema::ValidationError;
use jsonschema::error::{TypeKind, ValidationErrorKind};
use jsonschema::paths::LocationSegment;
use serde_json::Value;

/// The dotted name of the field that an error is about; the missing or unexpected one itself.
pub(super) fn field(error: &ValidationError<'_>) -> String {
    let mut name = String::new();
    for segment in error.instance_path() {
        // Writing to memory cannot fail.
        let _ = match segment {
            LocationSegment::Property(property) if name.is_empty() => write!(name, "{property}"),
            LocationSegment::Property(property) => write!(name, ".{property}"),
            LocationSegment::Index(index) => write!(name, "[{index}]"),
        };
    }
    let inner = match error.kind() {
        ValidationErrorKind::Required { property } => property.as_str(),
        ValidationErrorKind::AdditionalProperties { unexpected }
        | ValidationErrorKind::UnevaluatedProperties { unexpected } => unexpected.first().map(String::as_str),
        _ => None,
    };
    match inner {
        Some(inner) if name.is_empty() => inner.to_owned(),
        Some(inner) => format!("{name}.{inner}"),
        None => name,
    }
}

/// What the field must be. The value is not quoted: it may be a secret.
pub(super) fn sentence(field: &str, kind: &ValidationErrorKind) -> String {
    let name = if field.is_empty() { "The body".to_owned() } else { format!("\"{field}\"") };
    let must = match kind {
        ValidationErrorKind::Required { .. } => "is required".to_owned(),
        ValidationErrorKind::AdditionalProperties { .. }
        | ValidationErrorKind::UnevaluatedProperties { .. }
        | ValidationErrorKind::FalseSchema => "is not allowed".to_owned(),
        ValidationErrorKind::Type { kind: TypeKind::Single(wanted) } => format!("must be of type {wanted}"),
        ValidationErrorKind::Enum { options } => format!("must be one of {}", listed(options)),
        ValidationErrorKind::Constant { expected_value } => format!("must be {expected_value}"),
        ValidationErrorKind::MinLength { limit } => format!("must have at least {limit} characters"),
        ValidationErrorKind::MaxLength { limit } => format!("must have at most {limit} characters"),
        ValidationErrorKind::MinItems { limit } => format!("must have at least {limit} items"),
        ValidationErrorKind::MaxItems { limit } => format!("must have at most {limit} items"),
        ValidationErrorKind::MinProperties { limit } => format!("must have at least {limit} fields"),
        ValidationErrorKind::MaxProperties { limit } => format!("must have at most {limit} fields"),
        ValidationErrorKind::Minimum { limit } => format!("must be at least {limit}"),
        ValidationErrorKind::Maximum { limit } => format!("must be at most {limit}"),
        ValidationErrorKind::ExclusiveMinimum { limit } => format!("must be more than {limit}"),
        ValidationErrorKind::ExclusiveMaximum { limit } => format!("must be less than {limit}"),
        ValidationErrorKind::Pattern { pattern } => format!("must match {pattern}"),
        ValidationErrorKind::Format { format } => format!("must be of the format {format}"),
        other => format!("does not keep the rule `{}`", other.keyword()),
    };
    format!("{name} {must}")
}

fn listed(options: &Value) -> String {
    let texts = options.as_array().into_iter().flatten().map(|option| match option {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    });
    texts.collect::<Vec<_>>().join(", ")
}
