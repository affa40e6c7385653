//! Operators inside a writing transaction.

use serde_json::json;

use super::{Failure, Tables, Writing};
use crate::tokens::store::ChangeKind;
use crate::tokens::store::operators::{MOST_OPERATORS, NewOperator};
use crate::tokens::{Error, OperatorRecord};

impl<T: Tables> Writing<'_, T> {
    pub(in crate::tokens::store) fn create_operator(
        &mut self,
        new: &NewOperator,
    ) -> Result<OperatorRecord, Failure> {
        let all = self.on.operators()?;
        if all.iter().any(|stored| stored.record.name == new.name) {
            return Err(Error::OperatorExists(new.name.clone()).into());
        }
        if all.len() >= MOST_OPERATORS {
            return Err(Error::TooManyOperators { cap: MOST_OPERATORS }.into());
        }
        let record = OperatorRecord {
            name: new.name.clone(),
            created_at_unix_seconds: self.seconds(),
            expires_at_unix_seconds: new.expires_at_unix_seconds,
            revoked_at_unix_seconds: None,
        };
        self.on.insert_operator(&record, &new.digest)?;
        let body = json!({"expires_at_unix_seconds": record.expires_at_unix_seconds});
        self.append(ChangeKind::OperatorCreated, &record.name, &body);
        Ok(record)
    }

    pub(in crate::tokens::store) fn revoke_operator(
        &mut self,
        name: &str,
    ) -> Result<OperatorRecord, Failure> {
        let known = self.on.operators()?.into_iter().find(|stored| stored.record.name == name);
        let record = known.ok_or_else(|| Error::OperatorUnknown(name.to_owned()))?.record;
        if record.revoked_at_unix_seconds.is_some() {
            return Ok(record);
        }
        self.on.set_operator_revoked(name, self.seconds())?;
        self.append(ChangeKind::OperatorRevoked, name, &json!({}));
        Ok(OperatorRecord { revoked_at_unix_seconds: Some(self.seconds()), ..record })
    }
}
