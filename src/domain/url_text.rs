//! A text of the configuration that may be a URL with a password, which is never shown.

use std::borrow::Cow;
use std::fmt;

/// Such a text. Formatting it, as text or as a value of the configuration, leaves a password out.
#[derive(Clone, Default, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
#[serde(transparent)]
#[schemars(transparent)]
pub struct UrlText(String);

impl UrlText {
    /// Wraps a text.
    pub const fn new(text: String) -> Self {
        Self(text)
    }

    /// The text itself, password and all. Every caller of this is a place where it may leave.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether a password stands in the file itself; `written` is what the file has here, where that holds values of
    /// the environment.
    pub fn has_password(&self, written: Option<&str>) -> bool {
        let told = without_variables(written.unwrap_or(&self.0));
        without_passwords(&told) != told
    }
}

impl fmt::Debug for UrlText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        without_passwords(&self.0).fmt(f)
    }
}

impl fmt::Display for UrlText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&without_passwords(&self.0))
    }
}

impl serde::Serialize for UrlText {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // A single `*`, so that not even the password's length is told.
        let mut shown = String::new();
        for letter in without_passwords(&self.0).chars() {
            if letter != '*' || !shown.ends_with('*') {
                shown.push(letter);
            }
        }
        serializer.serialize_str(&shown)
    }
}

/// A text without its `${NAME}`.
fn without_variables(text: &str) -> String {
    let mut pieces = text.split("${");
    let first = pieces.next().unwrap_or_default();
    let behind = pieces.filter_map(|piece| piece.split_once('}').map(|(_, behind)| behind));
    std::iter::once(first).chain(behind).collect()
}

/// A text with `*` in place of every character of a password in a URL or in a URL's `password` parameter.
pub fn without_passwords(text: &str) -> Cow<'_, str> {
    const ENDS: [char; 4] = ['"', '\'', '`', ' '];
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("://") {
        out.push_str(before);
        out.push_str("://");
        let (url, behind) = after.split_at(after.find(ENDS).unwrap_or(after.len()));
        let (login, place) = url.rsplit_once('@').map_or(("", url), |(login, place)| (login, place));
        if let Some((user, password)) = login.split_once(':') {
            out.push_str(user);
            out.push(':');
            out.extend(password.chars().map(|_| '*'));
        } else {
            out.push_str(login);
        }
        if place.len() < url.len() {
            out.push('@');
        }
        let mut names = place.split_inclusive(['?', '&']);
        for part in &mut names {
            match part.strip_prefix("password=") {
                Some(value) => {
                    out.push_str("password=");
                    let hidden = value.trim_end_matches('&');
                    out.extend(hidden.chars().map(|_| '*'));
                    out.push_str(&value[hidden.len()..]);
                }
                None => out.push_str(part),
            }
        }
        rest = behind;
    }
    if out.is_empty() {
        return Cow::Borrowed(text);
    }
    out.push_str(rest);
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_never_shown() {
        for (text, shown) in [
            ("postgres://u:hunter2@h:1/d?a=b", "postgres://u:*******@h:1/d?a=b"),
            ("postgres://u:p@ss/w@h/d", "postgres://u:******@h/d"),
            ("postgres://u@h/d?password=x&y=z", "postgres://u@h/d?password=*&y=z"),
            ("postgres://u@h/d", "postgres://u@h/d"),
        ] {
            assert_eq!(without_passwords(text), shown);
            let line = format!("store = \"{text}\" # ü");
            assert_eq!(without_passwords(&line), format!("store = \"{shown}\" # ü"));
            assert_eq!(without_passwords(&line).chars().count(), line.chars().count());
        }
        assert_eq!(without_passwords("nothing"), "nothing");
    }

    #[test]
    fn a_password_belongs_into_the_environment() {
        let text = |url: &str| UrlText::new(url.to_owned());
        let from_environment = text("redis://u:hunter2@h/0");
        assert!(from_environment.has_password(None));
        assert!(from_environment.has_password(Some("redis://u:hunter${N}@h/0")));
        assert!(!from_environment.has_password(Some("redis://u:${PASSWORD}@h/0")));
        assert!(!from_environment.has_password(Some("${STORE}")));
        assert!(!text("redis://u@h/0").has_password(None) && !text("a:b@c.db").has_password(None));
        assert!(!format!("{from_environment:?} {from_environment}").contains("hunter2"));
    }
}
