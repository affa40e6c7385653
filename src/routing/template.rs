//! Path templates: `/sources/{sourceId}`, `/sample/raw/{*rest}`.

use std::sync::Arc;

/// The most parameters that one template may have.
pub(super) const MAX_PARAMETERS: usize = 8;
/// The most segments that one template may have.
const MAX_SEGMENTS: usize = 32;
/// The longest fixed segment, in bytes.
pub(super) const MAX_LITERAL_BYTES: usize = 255;

/// One segment of a template.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Part {
    /// Exactly these bytes; the empty one is a final slash.
    Literal(Box<[u8]>),
    /// `{name}`: one segment of 1 to 255 characters.
    Parameter,
    /// `{*name}`: the rest of the path, which may be empty and may hold slashes.
    Rest,
}

/// A checked template.
#[derive(Clone, Debug)]
pub(super) struct Template {
    /// Its segments in order; at least one.
    pub(super) parts: Vec<Part>,
    /// The names of its parameters in order.
    pub(super) names: Box<[Arc<str>]>,
}

/// Why a text is no template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum TemplateError {
    #[error("it does not start with `/`")]
    NoSlash,
    #[error("it has more than {MAX_SEGMENTS} segments")]
    TooManySegments,
    #[error("it has more than {MAX_PARAMETERS} parameters")]
    TooManyParameters,
    #[error("it has an empty segment (`//`)")]
    EmptySegment,
    #[error("`{0}` is neither fixed text nor a parameter that fills its segment")]
    Segment(String),
    #[error("`{0}` is not the name of a parameter")]
    Name(String),
    #[error("two parameters are called `{0}`")]
    NameTwice(String),
    #[error("`{{*{0}}}` takes the rest of the path and can only come last")]
    RestNotLast(String),
}

impl Template {
    /// Reads a template.
    pub(super) fn parse(text: &str) -> Result<Self, TemplateError> {
        let segments: Vec<&str> = text.strip_prefix('/').ok_or(TemplateError::NoSlash)?.split('/').collect();
        if segments.len() > MAX_SEGMENTS {
            return Err(TemplateError::TooManySegments);
        }
        let mut parts = Vec::with_capacity(segments.len());
        let mut names: Vec<Arc<str>> = Vec::new();
        for (index, segment) in segments.iter().enumerate() {
            let last = index + 1 == segments.len();
            let Some(inner) = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) else {
                parts.push(literal(segment, last)?);
                continue;
            };
            let name = inner.strip_prefix('*').unwrap_or(inner);
            if !is_name(name) {
                return Err(TemplateError::Name(name.to_owned()));
            }
            if names.iter().any(|other| &**other == name) {
                return Err(TemplateError::NameTwice(name.to_owned()));
            }
            if inner.len() != name.len() && !last {
                return Err(TemplateError::RestNotLast(name.to_owned()));
            }
            parts.push(if inner.len() == name.len() { Part::Parameter } else { Part::Rest });
            names.push(name.into());
        }
        if names.len() > MAX_PARAMETERS {
            return Err(TemplateError::TooManyParameters);
        }
        Ok(Self { parts, names: names.into() })
    }
}

fn literal(segment: &str, last: bool) -> Result<Part, TemplateError> {
    if segment.is_empty() && !last {
        return Err(TemplateError::EmptySegment);
    }
    let plain =
        segment.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,=:@".contains(&byte));
    if !plain || matches!(segment, "." | "..") || segment.len() > MAX_LITERAL_BYTES {
        return Err(TemplateError::Segment(segment.to_owned()));
    }
    Ok(Part::Literal(segment.as_bytes().into()))
}

fn is_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && name.len() <= 64
}
