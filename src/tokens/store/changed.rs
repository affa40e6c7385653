//! What entries of the log are about.

/// Ids of what some entries changed, each maybe more than once.
#[derive(Debug, Default)]
pub(super) struct Changed {
    pub(super) workspaces: Vec<String>,
    pub(super) tokens: Vec<String>,
    /// Families of which every token changed.
    pub(super) families: Vec<String>,
    /// Names.
    pub(super) operators: Vec<String>,
    /// Revocations of JWTs.
    pub(super) revocations: Vec<String>,
}

impl Changed {
    /// The tokens, if nothing else changed.
    pub(super) fn tokens_alone(&self) -> Option<&Vec<String>> {
        let Self { workspaces, tokens, families, operators, revocations } = self;
        let others = [workspaces, families, operators, revocations];
        (!tokens.is_empty() && others.iter().all(|ids| ids.is_empty())).then_some(tokens)
    }

    /// Adds an entry by its kind and subject.
    pub(super) fn note(&mut self, kind: &str, subject: String) {
        if kind.starts_with("workspace.") {
            self.workspaces.push(subject);
        } else if kind.starts_with("token.limit_") {
            self.families.push(subject);
        } else if kind.starts_with("token.") {
            self.tokens.push(subject);
        } else if kind.starts_with("operator.") {
            self.operators.push(subject);
        } else if kind.starts_with("jwt.") {
            self.revocations.push(subject);
        }
    }
}
