//! The text format of Prometheus, read back.

use std::net::SocketAddr;

use super::ask_admin;

/// One sample: name, labels, value.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub(crate) name: String,
    pub(crate) labels: Vec<(String, String)>,
    pub(crate) value: f64,
}

/// A scrape.
pub(crate) struct Metrics {
    pub(crate) text: String,
    pub(crate) samples: Vec<Sample>,
}

impl Metrics {
    /// Reads `/metrics`; panics where a line is not of the format.
    pub(crate) fn scrape(admin: SocketAddr) -> Self {
        let answer = ask_admin(admin, "/metrics");
        assert_eq!(answer.status, 200);
        assert!(answer.field("content-type").unwrap().starts_with("text/plain"));
        let text = String::from_utf8(answer.body).unwrap();
        let samples = text.lines().filter(|line| !line.starts_with('#')).map(sample).collect();
        Self { text, samples }
    }

    /// The sum of all samples of a name whose labels hold all of these pairs.
    pub(crate) fn sum(&self, name: &str, pairs: &[(&str, &str)]) -> f64 {
        self.with(name, pairs).map(|sample| sample.value).sum()
    }

    /// As [`Metrics::sum`], as a number of things.
    #[expect(clippy::cast_sign_loss, reason = "counts are not negative")]
    pub(crate) fn count(&self, name: &str, pairs: &[(&str, &str)]) -> u64 {
        self.sum(name, pairs) as u64
    }

    pub(crate) fn with<'a>(
        &'a self,
        name: &'a str,
        pairs: &'a [(&'a str, &'a str)],
    ) -> impl Iterator<Item = &'a Sample> {
        self.samples.iter().filter(move |sample| {
            sample.name == name
                && pairs.iter().all(|(name, value)| {
                    sample.labels.iter().any(|(label, has)| label == name && has == value)
                })
        })
    }
}

fn sample(line: &str) -> Sample {
    let (series, value) = line.rsplit_once(' ').unwrap();
    let (name, labels) = match series.split_once('{') {
        None => (series, Vec::new()),
        Some((name, labels)) => (name, pairs(labels.strip_suffix('}').unwrap())),
    };
    assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'), "{line}");
    Sample { name: name.to_owned(), labels, value: value.parse().unwrap() }
}

/// `a="b",c="d"`; a quotation mark inside a value stands behind a reverse solidus.
fn pairs(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some((name, after)) = rest.split_once("=\"") {
        let mut value = String::new();
        let mut letters = after.char_indices();
        let end = loop {
            match letters.next().unwrap() {
                (_, '\\') => value.push(letters.next().unwrap().1),
                (at, '"') => break at + 1,
                (_, letter) => value.push(letter),
            }
        };
        found.push((name.trim_start_matches(',').to_owned(), value));
        rest = &after[end..];
    }
    assert_eq!(rest, "", "{text}");
    found
}
