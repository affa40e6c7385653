//! What an alert says (public documentation of the secret scanning partner programme).

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer as _, Error as _, SeqAccess, Visitor};

use crate::domain::Secret;

/// One place where something was found that looks like a token of ours.
#[derive(Debug, Deserialize)]
pub(super) struct Finding {
    pub(super) token: Secret<String>,
    /// GitHub's name for such tokens, agreed when the partner enrolled.
    #[serde(rename = "type", default)]
    kind: Option<String>,
    #[serde(default)]
    url: Option<String>,
    #[serde(default)]
    source: Option<String>,
}

impl Finding {
    pub(super) fn kind(&self) -> &str {
        self.kind.as_deref().unwrap_or_default()
    }

    pub(super) fn url(&self) -> &str {
        self.url.as_deref().unwrap_or_default()
    }

    pub(super) fn source(&self) -> &str {
        self.source.as_deref().unwrap_or_default()
    }
}

/// Why a body is no alert. Never quotes it: it is full of tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AlertFault {
    /// Not what the programme documents.
    #[error(
        "The alert is not a JSON array of objects with the string `token` and, if given, the strings `type`, `url` \
         and `source`: see line {line}, column {column}."
    )]
    Malformed {
        /// Where it stops being one, from 1.
        line: usize,
        /// Where in the line.
        column: usize,
    },
    /// More findings than are taken at once.
    #[error("The alert has more than {most} tokens. Send them in several alerts.")]
    TooMany {
        /// How many are taken.
        most: usize,
    },
}

/// Reads a body of at most `most` findings. What it does not know is skipped without recursion, however deep.
pub(super) fn parse(body: &[u8], most: usize) -> Result<Vec<Finding>, AlertFault> {
    let mut too_many = false;
    let mut reader = serde_json::Deserializer::from_slice(body);
    let findings = reader
        .deserialize_seq(Findings { most, too_many: &mut too_many })
        .and_then(|findings| reader.end().map(|()| findings));
    findings.map_err(|error| {
        if too_many {
            AlertFault::TooMany { most }
        } else {
            AlertFault::Malformed { line: error.line(), column: error.column() }
        }
    })
}

struct Findings<'t> {
    most: usize,
    too_many: &'t mut bool,
}

impl<'de> Visitor<'de> for Findings<'_> {
    type Value = Vec<Finding>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of findings")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut findings = Vec::new();
        while let Some(finding) = list.next_element()? {
            if findings.len() == self.most {
                *self.too_many = true;
                return Err(A::Error::custom("too many"));
            }
            findings.push(finding);
        }
        Ok(findings)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(body: &str) -> Result<Vec<[String; 4]>, AlertFault> {
        let findings = parse(body.as_bytes(), 3)?;
        let texts =
            |one: &Finding| [one.token.expose(), one.kind(), one.url(), one.source()].map(str::to_owned);
        Ok(findings.iter().map(texts).collect())
    }

    #[test]
    fn every_documented_form_is_read() {
        let all = r#"[{"token":"t","type":"k","url":"u","source":"commit","more":{"a":[1]}}]"#;
        assert_eq!(read(all).unwrap(), [["t", "k", "u", "commit"]]);
        assert_eq!(read(r#"[{"token":"t","url":"","type":null}]"#).unwrap(), [["t", "", "", ""]]);
        assert_eq!(read(" [ ] \n").unwrap().len(), 0);
        assert_eq!(read(r#"[{"token":"\u0061\n"}]"#).unwrap()[0][0], "a\n");
    }

    #[test]
    fn what_is_no_alert_is_told_by_its_place_alone() {
        for body in [
            "",
            "null",
            "{}",
            "[1]",
            "[{}]",
            r#"[{"token":1}]"#,
            r#"[{"token":"t"}"#,
            r#"[{"token":"t"}] x"#,
            r#"[{"token":"t","url":5}]"#,
            r#"[{"token":"t","token":"u"}]"#,
            "[{\"token\":\"\u{1}\"}]",
        ] {
            let Err(AlertFault::Malformed { line: 1, .. }) = read(body) else { panic!("{body}") };
        }
        let Err(fault) = read("[{\"token\":[\"canary\"]}]") else { panic!("read") };
        assert!(!fault.to_string().contains("canary"), "{fault}");
        assert!(parse(b"[{\"token\":\"\xff\"}]", 3).is_err());
    }

    #[test]
    fn depth_costs_no_stack() {
        let deep = |end: &str| format!("[{{\"token\":\"t\",\"x\":{}1{end}}}]", "[".repeat(1_000_000));
        assert_eq!(read(&deep(&"]".repeat(1_000_000))).unwrap().len(), 1);
        assert!(read(&deep("")).is_err());
    }

    #[test]
    fn there_are_no_more_than_are_taken() {
        let of = |count: usize| format!("[{}]", vec![r#"{"token":"t"}"#; count].join(","));
        assert_eq!(read(&of(3)).unwrap().len(), 3);
        assert_eq!(read(&of(4)), Err(AlertFault::TooMany { most: 3 }));
        assert_eq!(read(&of(1_000)), Err(AlertFault::TooMany { most: 3 }));
    }

    proptest! {
        #[test]
        fn whatever_comes_is_an_alert_or_a_place_in_it(
            pieces in proptest::collection::vec(
                proptest::sample::select(vec![
                    "[", "]", "{", "}", ",", ":", "\"token\"", "\"url\"", "\"t\"", "null", "1", "\\u0000", "\"\\ud800\"", " ",
                ]),
                0..40,
            ),
            bytes in proptest::collection::vec(any::<u8>(), 0..40),
        ) {
            for body in [pieces.concat().into_bytes(), bytes] {
                match parse(&body, 3) {
                    Ok(findings) => prop_assert!(findings.len() <= 3),
                    Err(AlertFault::TooMany { most }) => prop_assert_eq!(most, 3),
                    Err(AlertFault::Malformed { line, column }) => {
                        prop_assert!(line <= body.len() + 1 && column <= body.len() + 1);
                    }
                }
            }
        }
    }

    #[test]
    fn a_finding_does_not_show_its_token() {
        let findings = parse(br#"[{"token":"canary"}]"#, 3).unwrap();
        assert!(!format!("{findings:?}").contains("canary"));
    }
}
