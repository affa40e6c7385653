//! What is wrong with a configuration, said so that its author can mend it.

/// One mistake: where, what, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Dotted path of the key in the file, for example `limits.policies[2].quota`; `config` finds its line.
    pub key: String,
    /// A stable word for this kind of mistake, for example `quota_invalid`.
    pub code: &'static str,
    /// What is wrong.
    pub reason: String,
    /// What to write instead.
    pub fix: String,
}

/// Every mistake found so far, so that all are told at once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl Problems {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one.
    pub fn add(
        &mut self,
        key: impl Into<String>,
        code: &'static str,
        reason: impl Into<String>,
        fix: impl Into<String>,
    ) {
        self.0.push(Problem { key: key.into(), code, reason: reason.into(), fix: fix.into() });
    }

    /// Whether nothing was found.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
