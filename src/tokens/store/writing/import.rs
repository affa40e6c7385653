//! The tokens of an import inside a writing transaction.
//!
//! Whatever a batch brings, it costs one statement to know what is there and one to add what is new: the log is locked
//! meanwhile.

use std::collections::HashMap;

use super::{AT_ONCE, Failure, Origin, Tables, Writing};
use crate::domain::WorkspaceState;
use crate::tokens::store::{ChangeKind, Imported, ImportedToken, NewWorkspace, StoredToken};
use crate::tokens::{Digest, WorkspaceRecord};

/// The statements that know what an import would add.
pub(in crate::tokens::store) trait ImportTables {
    /// The workspaces of the tokens that digests stand for, or stood for before they were moved.
    fn workspaces_of(&self, digests: &[Digest]) -> Result<HashMap<Digest, String>, Failure>;

    /// The workspaces with these ids.
    fn workspaces(&self, ids: &[&str]) -> Result<Vec<WorkspaceRecord>, Failure>;
}

/// What a transaction knows of the store, and what it adds.
struct Known {
    /// The workspaces of tokens, by digest.
    tokens: HashMap<Digest, String>,
    workspaces: HashMap<String, WorkspaceRecord>,
    added: Vec<StoredToken>,
}

impl<T: Tables> Writing<'_, T> {
    /// Adds those tokens that are not known under any of their digests.
    pub(in crate::tokens::store) fn import(
        &mut self,
        batch: &[ImportedToken],
    ) -> Result<Vec<Imported>, Failure> {
        let digests: Vec<Digest> = batch.iter().flat_map(|item| &item.known_as).copied().collect();
        let mut ids: Vec<&str> = batch.iter().map(|item| &*item.token.workspace).collect();
        ids.sort_unstable();
        ids.dedup();
        let workspaces = self.on.workspaces(&ids)?.into_iter().map(|one| (one.id.clone(), one));
        let mut known = Known {
            tokens: self.on.workspaces_of(&digests)?,
            workspaces: workspaces.collect(),
            added: Vec::new(),
        };
        let results = batch.iter().map(|item| self.import_one(item, &mut known)).collect::<Result<_, _>>()?;
        known.added.chunks(AT_ONCE as usize).try_for_each(|some| self.on.insert_tokens(some))?;
        Ok(results)
    }

    fn import_one(&mut self, item: &ImportedToken, known: &mut Known) -> Result<Imported, Failure> {
        if let Some(workspace) = item.known_as.iter().find_map(|digest| known.tokens.get(digest)) {
            let same = *workspace == item.token.workspace;
            return Ok(if same { Imported::Known } else { Imported::ElsewhereIn(workspace.clone()) });
        }
        let named = item.region.as_ref();
        match (known.workspaces.get(&item.token.workspace), named) {
            (None, _) => {
                let Some(region) = named.or(item.default_region.as_ref()) else {
                    return Ok(Imported::NoWorkspace);
                };
                let made = self.add_workspace(&NewWorkspace {
                    id: item.token.workspace.clone(),
                    region: region.clone(),
                    plan: item.plan,
                    features: Vec::new(),
                    contacts: Vec::new(),
                })?;
                known.workspaces.insert(made.id.clone(), made);
            }
            (Some(there), Some(region)) if there.region != *region => {
                return Ok(Imported::OtherRegion(there.region.clone()));
            }
            (Some(there), _) if there.state == WorkspaceState::Deleted => return Ok(Imported::Deleted),
            (Some(_), _) => {}
        }
        let origin = Origin { kind: ChangeKind::TokenImported, family: None };
        known.added.push(self.added(&item.token, &origin));
        known.tokens.insert(item.token.digest, item.token.workspace.clone());
        Ok(Imported::Added)
    }
}
