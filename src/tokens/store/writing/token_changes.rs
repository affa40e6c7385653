//! Changes of a token inside a writing transaction.

use serde_json::{Value, json};

use super::{Failure, Tables, Writing};
use crate::tokens::store::{ChangeKind, TokenChange};
use crate::tokens::{Error, TokenRecord, TokenState};

impl<T: Tables> Writing<'_, T> {
    pub(in crate::tokens::store) fn set_token(
        &mut self,
        id: &str,
        change: &TokenChange,
    ) -> Result<TokenRecord, Failure> {
        let before = self.on.token(id)?.ok_or_else(|| Error::TokenUnknown(id.to_owned()))?.record;
        let state = before.state_at(self.seconds());
        if state != TokenState::Active {
            return Err(Error::Ended { id: before.id, state: state.name() }.into());
        }
        let after = TokenRecord {
            name: change.name.clone().unwrap_or_else(|| before.name.clone()),
            allowed_networks: change
                .allowed_networks
                .clone()
                .unwrap_or_else(|| before.allowed_networks.clone()),
            ..before.clone()
        };
        if after == before {
            return Ok(after);
        }
        self.on.set_token(&after)?;
        let body = json!({"workspace": after.workspace, "name": after.name,
                          "before": changeable(&before), "after": changeable(&after)});
        self.append(ChangeKind::TokenModified, id, &body);
        Ok(after)
    }
}

fn changeable(record: &TokenRecord) -> Value {
    json!({"name": record.name, "allowed_networks": record.allowed_networks})
}
