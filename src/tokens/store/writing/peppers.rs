//! Moves from one pepper to another inside a writing transaction.

use serde_json::json;

use super::{Failure, Tables, Writing};
use crate::tokens::store::columns::pepper_number;
use crate::tokens::store::peppers::{PepperUse, Rehash};
use crate::tokens::store::{ChangeKind, StoredOperator};
use crate::tokens::{Digest, Error, Scheme};

/// The statements on digests.
pub(in crate::tokens::store) trait PepperTables {
    fn operator_by_digest(&self, digest: &Digest) -> Result<Option<StoredOperator>, Failure>;

    /// Replaces a token's digest and keeps the former one.
    fn move_token(&self, id: &str, moved: &Rehash) -> Result<(), Failure>;

    fn move_operator(&self, name: &str, to: &Digest) -> Result<(), Failure>;

    /// What is stored under each scheme at a time, by scheme.
    fn uses_of_peppers(&self, unix_seconds: u64) -> Result<Vec<PepperUse>, Failure>;

    fn set_retired(&self, version: u16, unix_seconds: u64) -> Result<(), Failure>;
}

impl<T: Tables> Writing<'_, T> {
    pub(in crate::tokens::store) fn rehash(&mut self, moves: &[Rehash]) -> Result<usize, Failure> {
        let (mut tokens, mut operators) = (Vec::new(), Vec::new());
        for moved in moves {
            if let Some(token) = self.on.token_by_digest(&[moved.from])? {
                // Imported as plain text and as a hash, it is there twice, and the other is found first.
                if self.on.token_by_digest(&[moved.to])?.is_none() {
                    self.on.move_token(&token.record.id, moved)?;
                    tokens.push(token.record.id);
                }
            } else if let Some(operator) = self.on.operator_by_digest(&moved.from)? {
                self.on.move_operator(&operator.record.name, &moved.to)?;
                operators.push(operator.record.name);
            }
        }
        let count = tokens.len() + operators.len();
        if let Some(last) = moves.last().filter(|_| count > 0) {
            let version = pepper_number(last.to.scheme).to_string();
            let body = json!({"tokens": tokens, "operators": operators});
            self.append(ChangeKind::PepperMoved, &version, &body);
        }
        Ok(count)
    }

    pub(in crate::tokens::store) fn retire_pepper(
        &mut self,
        version: u16,
        forced: bool,
    ) -> Result<PepperUse, Failure> {
        let uses = self.on.uses_of_peppers(self.seconds())?;
        let found = uses.into_iter().find(|one| one.scheme == Scheme::Hmac(version));
        let found = found.ok_or(Error::PepperUnknown(version))?;
        if found.retired_at_unix_seconds.is_some() {
            return Ok(found);
        }
        if found.is_needed() && !forced {
            let (tokens, operators) = (found.working_tokens, found.working_operators);
            return Err(Error::PepperNeeded { version, tokens, operators }.into());
        }
        self.on.set_retired(version, self.seconds())?;
        let body = json!({"working_tokens": found.working_tokens, "ended_tokens": found.ended_tokens,
                          "working_operators": found.working_operators});
        self.append(ChangeKind::PepperRetired, &version.to_string(), &body);
        Ok(PepperUse { retired_at_unix_seconds: Some(self.seconds()), ..found })
    }
}
