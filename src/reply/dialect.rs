//! Which of two shapes an error body takes.

use crate::message::{FieldName, Head};

/// The shape of an error body.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, serde::Serialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Dialect {
    /// The API's own `{"errors":[…]}`, which its SDKs read.
    #[default]
    Envelope,
    /// `application/problem+json` (RFC 9457).
    Problem,
}

impl Dialect {
    /// Reads the caller's choice from `Accept` (RFC 9110, section 12.5.1).
    ///
    /// Problem details go to callers that name `application/problem+json` with a weight no lower than that of
    /// any JSON type they name: nobody names that type who cannot read it. The envelope goes to callers that
    /// name a JSON type alone, or prefer it. All others get `default`.
    pub fn of(head: &Head, default: Self) -> Self {
        if default == Self::Envelope && !head.all(FieldName::Accept).any(mentions_problem) {
            return default;
        }
        let mut problem = 0;
        let mut json = 0;
        for value in head.all(FieldName::Accept) {
            for range in value.split(|&byte| byte == b',') {
                let mut parts = range.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
                let media_type = parts.next().unwrap_or_default();
                let weight = parts.find_map(weight_in_thousandths).unwrap_or(1_000);
                if media_type.eq_ignore_ascii_case(b"application/problem+json") {
                    problem = problem.max(weight);
                } else if names_json(media_type) {
                    json = json.max(weight);
                }
            }
        }
        match (problem, json) {
            (0, 0) => default,
            (problem, json) if problem >= json => Self::Problem,
            _ => Self::Envelope,
        }
    }

    /// The media type of a body in this shape.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Envelope => "application/json",
            Self::Problem => "application/problem+json",
        }
    }
}

fn mentions_problem(value: &[u8]) -> bool {
    value.len() >= 24
        && memchr::memchr2_iter(b'p', b'P', value)
            .any(|at| value.get(at..at + 7).is_some_and(|word| word.eq_ignore_ascii_case(b"problem")))
}

fn names_json(media_type: &[u8]) -> bool {
    media_type.eq_ignore_ascii_case(b"application/json")
        || (media_type.len() > 5 && media_type[media_type.len() - 5..].eq_ignore_ascii_case(b"+json"))
}

/// Reads `q=0.5` as 500. A weight that cannot be read counts as the lowest that is not a refusal.
fn weight_in_thousandths(parameter: &[u8]) -> Option<u16> {
    let value = parameter.strip_prefix(b"q=").or_else(|| parameter.strip_prefix(b"Q="))?;
    let text = std::str::from_utf8(value).ok()?;
    let weight = text.parse::<f32>().ok().filter(|weight| (0.0..=1.0).contains(weight));
    #[expect(clippy::cast_sign_loss, reason = "the weight lies between 0 and 1")]
    Some(weight.map_or(1, |weight| (weight * 1_000.0).round() as u16))
}
