//! What an import would add, as rows.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension as _, params};

use super::rows::pepper_number;
use super::{Failure, rows};
use crate::tokens::store::writing::ImportTables;
use crate::tokens::{Digest, WorkspaceRecord};

/// What an importing connection keeps in memory.
const CACHE_KIB: i64 = 64 * 1024;
/// The pages of the write-ahead log after which it is copied into the file.
const CHECKPOINT_PAGES: i64 = 16 * 1024;

/// Gives a connection room for batches. Digests are spread evenly, so a batch changes most pages of their index: each is
/// written once a batch instead of many times, and copied into the file once in several.
pub(super) fn make_room(on: &Connection) -> rusqlite::Result<()> {
    on.pragma_update(None, "cache_size", -CACHE_KIB)?;
    on.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)
}

impl ImportTables for Connection {
    fn workspaces_of(&self, digests: &[Digest]) -> Result<HashMap<Digest, String>, Failure> {
        let now = "SELECT workspace FROM token WHERE digest = ?1 AND pepper = ?2";
        let before = "SELECT t.workspace FROM former_digest f JOIN token t ON t.id = f.token \
                      WHERE f.digest = ?1 AND f.pepper = ?2";
        let mut statements = [self.prepare_cached(now)?, self.prepare_cached(before)?];
        let mut found = HashMap::new();
        for digest in digests {
            for statement in &mut statements {
                let wanted = params![digest.bytes, pepper_number(digest.scheme)];
                if let Some(workspace) = statement.query_row(wanted, |row| row.get(0)).optional()? {
                    found.insert(*digest, workspace);
                    break;
                }
            }
        }
        Ok(found)
    }

    fn workspaces(&self, ids: &[&str]) -> Result<Vec<WorkspaceRecord>, Failure> {
        let found = ids.iter().filter_map(|id| rows::workspace_by_id(self, id).transpose());
        Ok(found.collect::<Result<_, _>>()?)
    }
}
