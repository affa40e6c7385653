//! Whether the upstream may have acted on a request.

/// Said in every error that we write, so that a client knows whether a failed request can be repeated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Forwarded {
    /// No byte of it reached an upstream.
    #[default]
    No,
    /// Some of it may have reached one; whether it was acted upon is unknown.
    Maybe,
    /// An upstream answered it.
    Yes,
}

impl Forwarded {
    /// The word in `data.forwarded` and in the log.
    pub const fn name(self) -> &'static str {
        match self {
            Self::No => "no",
            Self::Maybe => "maybe",
            Self::Yes => "yes",
        }
    }
}
