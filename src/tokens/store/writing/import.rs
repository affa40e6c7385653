//! One token of an import inside a writing transaction.

use super::{Failure, Origin, Tables, Writing};
use crate::domain::WorkspaceState;
use crate::tokens::store::{ChangeKind, Imported, ImportedToken, NewWorkspace};

impl<T: Tables> Writing<'_, T> {
    /// Adds a token unless it is known under any of its digests.
    pub(in crate::tokens::store) fn import(&mut self, item: &ImportedToken) -> Result<Imported, Failure> {
        let known = match self.on.token_by_digest(&item.known_as)? {
            None => self.on.token_by_former_digest(&item.known_as)?,
            known => known,
        };
        if let Some(known) = known {
            let workspace = known.record.workspace;
            let same = workspace == item.token.workspace;
            return Ok(if same { Imported::Known } else { Imported::ElsewhereIn(workspace) });
        }
        let named = item.region.as_ref();
        match (self.on.workspace(&item.token.workspace)?, named) {
            (None, _) => {
                let Some(region) = named.or(item.default_region.as_ref()) else {
                    return Ok(Imported::NoWorkspace);
                };
                self.create_workspace(&NewWorkspace {
                    id: item.token.workspace.clone(),
                    region: region.clone(),
                    plan: item.plan,
                    features: Vec::new(),
                    contacts: Vec::new(),
                })?;
            }
            (Some(there), Some(region)) if there.region != *region => {
                return Ok(Imported::OtherRegion(there.region));
            }
            (Some(there), _) if there.state == WorkspaceState::Deleted => return Ok(Imported::Deleted),
            (Some(_), _) => {}
        }
        self.put_token(&item.token, &Origin { kind: ChangeKind::TokenImported, family: None })?;
        Ok(Imported::Added)
    }
}
