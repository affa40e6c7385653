//! What entries of the log are about.

/// The column with the bodies of those entries that are about many.
pub(super) const BODY: &str = "CASE WHEN kind = 'pepper.moved' THEN body END";

/// Once as many tokens as this for each entry that was asked for are to be read, the rest of the entries waits: an entry
/// about many has up to 100 of them, and a look has a deadline.
const TOKENS_AN_ENTRY: usize = 10;

/// The body of such an entry.
#[derive(Default, serde::Deserialize)]
struct Moved {
    tokens: Vec<String>,
    operators: Vec<String>,
}

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

    /// Whether there is enough to read for one look of so many entries.
    pub(super) const fn is_enough(&self, entries: u32) -> bool {
        self.tokens.len() >= TOKENS_AN_ENTRY * entries as usize
    }

    /// Adds an entry by its kind and subject; `body` is that of an entry about many, which [`BODY`] asks for.
    pub(super) fn note(&mut self, kind: &str, subject: String, body: Option<&str>) {
        if let Some(body) = body {
            let moved: Moved = serde_json::from_str(body).unwrap_or_default();
            self.tokens.extend(moved.tokens);
            self.operators.extend(moved.operators);
        } else if kind.starts_with("workspace.") {
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
