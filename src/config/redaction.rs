//! What came from the environment is told as the file writes it: `${NAME}`, never its value.
//!
//! Rooms quote what they refuse, and know nothing of where it came from. So every message passes here before
//! anybody sees it.

use super::diagnostic::Diagnostic;
use super::environment::Interpolated;
use crate::domain::{Secret, without_passwords};

/// Values shorter than this are replaced only where they stand as a word of their own.
const SHORTEST_IN_WORDS: usize = 6;

/// The values of one configuration that may not be told, each with what is told instead.
#[derive(Clone, Debug, Default)]
pub struct Redaction(Vec<(Secret<String>, String)>);

impl Redaction {
    /// Collects what was put into texts. A value that a file has in so many words is no news to its reader.
    pub(super) fn of<'d>(interpolated: impl Iterator<Item = &'d Interpolated>, files: &[&str]) -> Self {
        let mut known = Vec::new();
        for Interpolated { written, value, variables, .. } in interpolated {
            known.push((value.expose().clone(), written.clone()));
            let of_variable =
                |(name, value): &(String, Secret<String>)| (value.expose().clone(), format!("${{{name}}}"));
            known.extend(variables.iter().map(of_variable));
        }
        let mut all: Vec<(String, String)> = Vec::new();
        for (value, written) in known {
            let forms = [value.clone(), value.trim().to_owned(), value.escape_debug().to_string()];
            for form in forms {
                let is_told = files.iter().any(|text| text.contains(&form));
                if !is_told && !all.iter().any(|(other, _)| *other == form) {
                    all.push((form, written.clone()));
                }
            }
        }
        all.sort_by_key(|(value, _)| std::cmp::Reverse(value.len()));
        Self(all.into_iter().map(|(value, written)| (Secret::new(value), written)).collect())
    }

    /// The diagnostic as it may be shown.
    pub(super) fn clear(&self, diagnostic: Diagnostic) -> Diagnostic {
        let mut reason = self.apply(&diagnostic.reason);
        if let Some(written) = &diagnostic.interpolated {
            reason = quoting(&reason, written, &diagnostic.source);
        }
        let source = without_passwords(&diagnostic.source).into_owned();
        let reason = without_passwords(&reason).into_owned();
        Diagnostic { reason, source, fix: self.apply(&diagnostic.fix), ..diagnostic }
    }

    /// The text with every value as it is written, the longest first.
    pub fn apply(&self, text: &str) -> String {
        if self.0.is_empty() {
            return text.to_owned();
        }
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            let before = out.chars().next_back();
            if let Some((value, written)) =
                self.0.iter().find(|(value, _)| starts_with(rest, value.expose(), before))
            {
                out.push_str(written);
                rest = &rest[value.expose().len()..];
            } else {
                out.push(first);
                rest = &rest[first.len_utf8()..];
            }
        }
        out
    }
}

/// Whether a text starts with a value, in any case; a short one only as a word of its own.
fn starts_with(text: &str, value: &str, before: Option<char>) -> bool {
    let is_there = text.get(..value.len()).is_some_and(|start| start.eq_ignore_ascii_case(value));
    let is_word = || {
        let after = text[value.len()..].chars().next();
        ![before, after].into_iter().flatten().any(char::is_alphanumeric)
    };
    is_there && !value.is_empty() && (value.len() >= SHORTEST_IN_WORDS || is_word())
}

/// A reason that was given for an interpolated text: every piece that it quotes is told as it is `written`,
/// because it may be a part of the value, unless it is a key of the line or a variable's name.
fn quoting(reason: &str, written: &str, line: &str) -> String {
    let is_key = |piece: &str| [" =", "="].iter().any(|sign| line.contains(&format!("{piece}{sign}")));
    let is_variable = |piece: &str| written.contains(&format!("${{{piece}}}"));
    let piece = |(index, piece): (usize, &str)| match index % 2 {
        0 => piece.to_owned(),
        _ if is_key(piece) || is_variable(piece) => format!("`{piece}`"),
        _ => format!("`{written}`"),
    };
    reason.split('`').enumerate().map(piece).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redaction(written: &str, value: &str, variables: &[(&str, &str)], file: &str) -> Redaction {
        let secret = |value: &str| Secret::new(value.to_owned());
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), secret(value))).collect();
        let text = Interpolated { span: 0..0, written: written.to_owned(), value: secret(value), variables };
        Redaction::of([text].iter(), &[file])
    }

    #[test]
    fn no_form_of_a_value_is_told() {
        let value = "http://u:Pass Word\t@h:9";
        let all = redaction("http://${LOGIN}@h:${P}", value, &[("LOGIN", "u:Pass Word\t"), ("P", "9")], "");
        for (told, expected) in [
            (format!("`{value}` is bad"), "`http://${LOGIN}@h:${P}` is bad"),
            (format!("`{}` is bad", value.escape_debug()), "`http://${LOGIN}@h:${P}` is bad"),
            (value.to_lowercase(), "http://${LOGIN}@h:${P}"),
            ("user u:pass word of 9 and 19".to_owned(), "user ${LOGIN} of ${P} and 19"),
        ] {
            assert_eq!(all.apply(&told), expected);
        }
    }

    #[test]
    fn what_the_file_says_may_be_told() {
        let all = redaction("${REGION}", "eu", &[("REGION", "eu")], "[regions.eu]");
        assert_eq!(all.apply("use one of us, eu"), "use one of us, eu");
    }

    #[test]
    fn pieces_of_a_value_are_not_quoted() {
        let line = "level = \"${L}\"";
        assert_eq!(quoting("`secret` is not a level", "${L}", line), "`${L}` is not a level");
        assert_eq!(quoting("there is no `L`", "a${L}", line), "there is no `L`");
        assert_eq!(quoting("`level` is not `x`", "${L}", line), "`level` is not `${L}`");
    }
}
