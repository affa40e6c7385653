//! What a store keeps of operators. Part of [`super::Store`].

use super::Act;
use crate::tokens::{Digest, Error, OperatorRecord};

#[cfg(test)]
pub(crate) mod contract;

/// How many operators a store holds, revoked ones included: each stays in every process's memory.
pub const MOST_OPERATORS: usize = 1_000;

/// An operator to be made.
#[derive(Clone, Debug)]
pub struct NewOperator {
    /// Its name, never given before.
    pub name: String,
    /// When its token ends by itself.
    pub expires_at_unix_seconds: Option<u64>,
    /// What stands for the token at rest.
    pub digest: Digest,
}

/// An operator with what its token is found by.
#[derive(Clone, Debug)]
pub struct StoredOperator {
    /// The operator.
    pub record: OperatorRecord,
    /// What stands for its token.
    pub digest: Digest,
}

/// The operators of the admin API. A change of them is an entry of the log, and a row of [`super::Changes`].
pub trait Operators {
    /// Makes an operator; [`Error::OperatorExists`], also of a revoked one, since the log names operators;
    /// [`Error::TooManyOperators`].
    fn create_operator(&self, act: Act<'_>, new: &NewOperator) -> Result<OperatorRecord, Error>;

    /// Every operator, by name; at most [`MOST_OPERATORS`].
    fn operators(&self) -> Result<Vec<OperatorRecord>, Error>;

    /// Revokes an operator's token; [`Error::OperatorUnknown`]. Revoking again changes nothing and writes no entry.
    fn revoke_operator(&self, act: Act<'_>, name: &str) -> Result<OperatorRecord, Error>;
}
