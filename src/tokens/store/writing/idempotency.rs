//! The answer of a request with a key, inside the transaction of its change.

use super::{Failure, Tables, Writing};
use crate::tokens::Error;
use crate::tokens::store::idempotency::{IdempotencyKey, KeptAnswer, Made};

/// The statements on keys.
pub(in crate::tokens::store) trait KeyTables {
    /// Keeps the answer of a request; false if its key is not there, or has an answer.
    fn keep_answer(&self, key: &IdempotencyKey, answer: &KeptAnswer) -> Result<bool, Failure>;
}

impl<T: Tables> Writing<'_, T> {
    /// Keeps what the request is answered, if it has a key. Of several that make the same the first alone does.
    pub(super) fn keep_answer(&self, made: Made<'_>) -> Result<(), Failure> {
        let Some(request) = self.act.request else { return Ok(()) };
        let Some(answer) = (request.answer)(made, self.act.now) else { return Ok(()) };
        if self.on.keep_answer(request.key, &answer)? { Ok(()) } else { Err(Error::RequestAnswered.into()) }
    }
}
