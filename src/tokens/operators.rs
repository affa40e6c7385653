//! Operators: who may use the admin API, and the token by which they prove it.
//!
//! An operator's token has the format of all tokens under a prefix of its own, so that no listener takes one for
//! the other and scanners can tell them apart. It is shown once and kept as its keyed hash alone.

use schemars::JsonSchema;
use serde::Serialize;

use super::mint::{end, invalid};
use super::store::operators::NewOperator;
use super::{Act, Error, Format, Mint, Moment, TokenState};
use crate::domain::Secret;
use crate::telemetry::has_token;

/// What every operator's token starts with.
pub const OPERATOR_PREFIX: &str = "sga_";
/// Stands where other tokens have their region's letter: an operator's token is of no region.
const NO_REGION: char = 'o';

/// An operator as stored, without what could be used in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperatorRecord {
    /// Its name, 1 to 64 of `A-Z a-z 0-9 . _ -`; the audit trail has it as `admin:NAME`. Never given again.
    pub name: String,
    /// When it was made.
    pub created_at_unix_seconds: u64,
    /// When its token ends by itself.
    pub expires_at_unix_seconds: Option<u64>,
    /// When its token was revoked.
    pub revoked_at_unix_seconds: Option<u64>,
}

/// A new operator, with its token in plain text for the only time.
#[derive(Debug)]
pub struct MintedOperator {
    /// What is known of it from now on.
    pub record: OperatorRecord,
    /// The token.
    pub token: Secret<String>,
}

/// An operator as the command line writes it.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "Operator")]
#[expect(missing_docs, reason = "the fields are those of `OperatorRecord`")]
pub struct OperatorView<'r> {
    pub name: &'r str,
    pub state: TokenState,
    pub created_at: Moment,
    pub expires_at: Option<Moment>,
    pub revoked_at: Option<Moment>,
}

impl OperatorRecord {
    /// Whether its token works at a time.
    pub fn state_at(&self, unix_seconds: u64) -> TokenState {
        if self.revoked_at_unix_seconds.is_some() {
            TokenState::Revoked
        } else if self.expires_at_unix_seconds.is_some_and(|end| end <= unix_seconds) {
            TokenState::Expired
        } else {
            TokenState::Active
        }
    }

    /// What people and programs are shown of it.
    pub fn view(&self, unix_seconds: u64) -> OperatorView<'_> {
        OperatorView {
            name: &self.name,
            state: self.state_at(unix_seconds),
            created_at: Moment(self.created_at_unix_seconds),
            expires_at: self.expires_at_unix_seconds.map(Moment),
            revoked_at: self.revoked_at_unix_seconds.map(Moment),
        }
    }
}

/// The format of operators' tokens.
pub(super) fn operator_format() -> Format {
    Format::new(OPERATOR_PREFIX)
}

impl Mint {
    /// Makes an operator whose token lives so long, or for ever.
    pub fn create_operator(
        &self,
        act: Act<'_>,
        name: &str,
        lifetime_seconds: Option<u64>,
    ) -> Result<MintedOperator, Error> {
        let is_good = (1..=64).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
            && !has_token(name.as_bytes());
        if !is_good {
            return Err(invalid("operator's name", name, "write 1 to 64 of A-Z a-z 0-9 . _ -"));
        }
        self.check_pepper()?;
        let token = operator_format().mint(NO_REGION, &*self.random)?;
        let new = NewOperator {
            name: name.to_owned(),
            expires_at_unix_seconds: end(act, lifetime_seconds)?,
            digest: self.peppers.digest(token.expose().as_bytes()),
        };
        let record = self.store.create_operator(act, &new)?;
        Ok(MintedOperator { record, token })
    }

    /// Revokes an operator's token. Doing it again changes nothing.
    pub fn revoke_operator(&self, act: Act<'_>, name: &str) -> Result<OperatorRecord, Error> {
        self.store.revoke_operator(act, name)
    }
}
