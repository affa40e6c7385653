//! The environment's values in place of `${NAME}`, and files' in place of `${file:PATH}`, in texts only.

use std::ops::Range;

use toml::Spanned;
use toml::de::DeValue;

use crate::domain::Secret;

/// Begins the name of a value that stands in a file of its own, such as a mounted secret.
pub(super) const SECRET_FILE: &str = "file:";

/// A `${…}` that has no value.
pub(super) struct Unset {
    /// Where its text stands.
    pub(super) span: Range<usize>,
    /// The variable; [`None`] if the closing brace is missing.
    pub(super) name: Option<String>,
}

/// A text that holds values of the environment. They may be secrets.
pub(super) struct Interpolated {
    /// Where it stands.
    pub(super) span: Range<usize>,
    /// As the file has it.
    pub(super) written: String,
    /// With the values.
    pub(super) value: Secret<String>,
    /// The variables, and what each stands for.
    pub(super) variables: Vec<(String, Secret<String>)>,
}

/// What [`interpolate`] met.
#[derive(Default)]
pub(super) struct Met {
    pub(super) unset: Vec<Unset>,
    pub(super) interpolated: Vec<Interpolated>,
}

/// Replaces every `${NAME}` below a value. What has no value stays as it is.
pub(super) fn interpolate(
    value: &mut Spanned<DeValue<'_>>,
    environment: &dyn Fn(&str) -> Option<String>,
    met: &mut Met,
) {
    let span = value.span();
    match value.get_mut() {
        DeValue::String(text) => {
            if text.contains("${") {
                let written = text.to_string();
                let (value, variables, unset) = replaced(&written, environment);
                *text = value.clone().into();
                met.unset.extend(unset.into_iter().map(|name| Unset { span: span.clone(), name }));
                met.interpolated.push(Interpolated { span, written, value: Secret::new(value), variables });
            }
        }
        DeValue::Array(array) => array.iter_mut().for_each(|value| interpolate(value, environment, met)),
        DeValue::Table(table) => {
            for (_, value) in table.iter_mut() {
                interpolate(value, environment, met);
            }
        }
        DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Datetime(_) => {}
    }
}

/// The text with its values, the variables that it has, and those without a value.
type Replaced = (String, Vec<(String, Secret<String>)>, Vec<Option<String>>);

fn replaced(text: &str, environment: &dyn Fn(&str) -> Option<String>) -> Replaced {
    let mut out = String::with_capacity(text.len());
    let (mut variables, mut unset) = (Vec::new(), Vec::new());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        out.push_str(before);
        let Some((name, after)) = after.split_once('}') else {
            unset.push(None);
            out.push_str("${");
            rest = after;
            continue;
        };
        if let Some(value) = environment(name) {
            out.push_str(&value);
            variables.push((name.to_owned(), Secret::new(value)));
        } else {
            unset.push(Some(name.to_owned()));
        }
        rest = after;
    }
    out.push_str(rest);
    (out, variables, unset)
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
        let (text, _, unset) = replaced(text, &environment);
        (text, unset)
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
