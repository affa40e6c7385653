//! What GitHub is told: feedback labels (public documentation of the secret scanning partner programme).

use serde::{Serialize, Serializer};

use super::alert::Finding;
use super::hex;
use super::settings::FeedbackToken;
use crate::tokens::Digest;

/// What one found token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Label {
    /// One of ours, whether it was revoked now or did not work any more.
    TruePositive,
    /// Nothing that this registry ever knew.
    FalsePositive,
    /// It belongs to another region, which alone can say; it is left out of the answer.
    Elsewhere,
    /// Its letter is that of a region which is not configured: nobody can be asked; it is left out of the answer.
    UnconfiguredRegion,
}

impl Label {
    /// Its word in metrics; for the first two also in the answer.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::TruePositive => "true_positive",
            Self::FalsePositive => "false_positive",
            Self::Elsewhere => "elsewhere",
            Self::UnconfiguredRegion => "unconfigured_region",
        }
    }
}

#[derive(Serialize)]
struct Feedback<'f> {
    #[serde(skip_serializing_if = "Option::is_none")]
    token_raw: Option<&'f str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_hash: Option<Hash>,
    token_type: &'f str,
    label: &'static str,
}

/// SHA-256 of the token, in hexadecimal digits.
struct Hash([u8; 32]);

impl Serialize for Hash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex(&self.0))
    }
}

/// Adds one token's feedback to a JSON array that is being written; the array begins with the first.
pub(super) fn push(out: &mut Vec<u8>, finding: &Finding, label: Label, told_as: FeedbackToken) {
    let token = finding.token.expose();
    let (token_raw, token_hash) = match (told_as, label) {
        (FeedbackToken::None, _) | (_, Label::Elsewhere | Label::UnconfiguredRegion) => return,
        (FeedbackToken::Raw, _) => (Some(token.as_str()), None),
        (FeedbackToken::Hash, _) => (None, Some(Hash(Digest::sha256(token.as_bytes()).bytes))),
    };
    let feedback = Feedback { token_raw, token_hash, token_type: finding.kind(), label: label.name() };
    let before = out.len();
    out.push(if before == 0 { b'[' } else { b',' });
    if serde_json::to_writer(&mut *out, &feedback).is_err() {
        out.truncate(before);
    }
}

/// Ends the array.
pub(super) fn finish(mut out: Vec<u8>) -> Vec<u8> {
    if out.is_empty() {
        out.push(b'[');
    }
    out.push(b']');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret_scanning::alert::parse;

    fn told(label: Label, told_as: FeedbackToken) -> String {
        let findings = parse(br#"[{"token":"abc","type":"a \"type\""},{"token":"abc"}]"#, 2).unwrap();
        let mut out = Vec::new();
        for finding in &findings {
            push(&mut out, finding, label, told_as);
        }
        String::from_utf8(finish(out)).unwrap()
    }

    #[test]
    fn a_token_is_told_raw_or_as_its_hash_or_not_at_all() {
        assert_eq!(
            told(Label::TruePositive, FeedbackToken::Raw),
            r#"[{"token_raw":"abc","token_type":"a \"type\"","label":"true_positive"},{"token_raw":"abc","token_type":"","label":"true_positive"}]"#
        );
        let hash = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let expected =
            format!(r#"[{{"token_hash":"{hash}","token_type":"a \"type\"","label":"false_positive"}}"#);
        assert!(told(Label::FalsePositive, FeedbackToken::Hash).starts_with(&expected));
        assert_eq!(told(Label::TruePositive, FeedbackToken::None), "[]");
        assert_eq!(told(Label::Elsewhere, FeedbackToken::Raw), "[]");
        assert_eq!(told(Label::UnconfiguredRegion, FeedbackToken::Raw), "[]");
    }
}
