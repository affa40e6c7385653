//! The environment's values in place of `${NAME}`, in texts only.

use std::ops::Range;

use toml::Spanned;
use toml::de::DeValue;

/// A `${…}` that has no value.
pub(super) struct Unset {
    /// Where its text stands.
    pub(super) span: Range<usize>,
    /// The variable; [`None`] if the closing brace is missing.
    pub(super) name: Option<String>,
}

/// Replaces every `${NAME}` below a value. What has no value stays as it is and goes to `unset`.
pub(super) fn interpolate(
    value: &mut Spanned<DeValue<'_>>,
    environment: &dyn Fn(&str) -> Option<String>,
    unset: &mut Vec<Unset>,
) {
    let span = value.span();
    match value.get_mut() {
        DeValue::String(text) => {
            if text.contains("${") {
                let missing = |name| unset.push(Unset { span: span.clone(), name });
                *text = replaced(text, environment, missing).into();
            }
        }
        DeValue::Array(array) => array.iter_mut().for_each(|value| interpolate(value, environment, unset)),
        DeValue::Table(table) => {
            for (_, value) in table.iter_mut() {
                interpolate(value, environment, unset);
            }
        }
        DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Datetime(_) => {}
    }
}

fn replaced(
    text: &str,
    environment: &dyn Fn(&str) -> Option<String>,
    mut missing: impl FnMut(Option<String>),
) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        out.push_str(before);
        let Some((name, after)) = after.split_once('}') else {
            missing(None);
            out.push_str("${");
            rest = after;
            continue;
        };
        if let Some(value) = environment(name) {
            out.push_str(&value);
        } else {
            missing(Some(name.to_owned()));
        }
        rest = after;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (String, Vec<Option<String>>) {
        let environment = |name: &str| match name {
            "A" => Some("1".to_owned()),
            "EMPTY" => Some(String::new()),
            "NESTED" => Some("${A}".to_owned()),
            _ => None,
        };
        let mut missing = Vec::new();
        let text = replaced(text, &environment, |name| missing.push(name));
        (text, missing)
    }

    #[test]
    fn what_has_no_value_is_told() {
        assert_eq!(read("a${B}c${}").1, [Some("B".to_owned()), Some(String::new())]);
        assert_eq!(read("${A}${A"), ("1${A".to_owned(), vec![None]));
    }

    #[test]
    fn values_are_put_in_once() {
        assert_eq!(read("x${A}y${EMPTY}$z${A}"), ("x1y$z1".to_owned(), vec![]));
        assert_eq!(read("${NESTED}"), ("${A}".to_owned(), vec![]));
    }
}
