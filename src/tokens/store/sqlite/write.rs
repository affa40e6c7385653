//! The statements of a writing transaction.

use std::collections::BTreeMap;

use rusqlite::{Connection, params};

use super::rows::{self, json, pepper_number, quota_text, signed};
use super::{Failure, head, jwt_revocations, operators, outbox};
use crate::domain::OverrideHolder;
use crate::tokens::store::columns::network_texts;
use crate::tokens::store::writing::{self, NewMessage, Tables};
use crate::tokens::store::{LogEntry, StoredOperator, StoredToken};
use crate::tokens::{
    Digest, JwtRevocation, JwtsRevoked, OperatorRecord, OverrideRecord, TokenRecord, WorkspaceRecord,
};

/// A transaction that holds the write lock.
pub(super) type Writing<'t> = writing::Writing<'t, Connection>;

impl Tables for Connection {
    fn lock_head(&self) -> Result<(u64, [u8; 32]), Failure> {
        Ok(head(self)?)
    }

    fn append(&self, entries: &[LogEntry]) -> Result<(), Failure> {
        let mut insert = self.prepare_cached("INSERT INTO log VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")?;
        for entry in entries {
            insert.execute(params![
                signed(entry.seq),
                entry.previous,
                entry.hash,
                signed(entry.at_unix_millis),
                entry.actor,
                entry.kind,
                entry.subject,
                entry.body
            ])?;
        }
        if let Some(last) = entries.last() {
            self.prepare_cached("UPDATE head SET seq = ?1, hash = ?2")?
                .execute(params![signed(last.seq), last.hash])?;
        }
        Ok(())
    }

    fn workspace(&self, id: &str) -> Result<Option<WorkspaceRecord>, Failure> {
        Ok(rows::workspace_by_id(self, id)?)
    }

    fn put_workspace(&self, record: &WorkspaceRecord) -> Result<(), Failure> {
        let sql = "INSERT INTO workspace VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT (id) DO UPDATE SET \
                   region = ?3, plan = ?4, features = ?5, state = ?6, contacts = ?7";
        self.prepare_cached(sql)?.execute(params![
            record.id,
            signed(record.number),
            record.region,
            record.plan.name(),
            json(&record.features),
            record.state.name(),
            json(&record.contacts),
            signed(record.created_at_unix_seconds),
        ])?;
        Ok(())
    }

    fn token(&self, id: &str) -> Result<Option<StoredToken>, Failure> {
        Ok(rows::token_by_id(self, id)?)
    }

    fn token_by_digest(&self, digests: &[Digest]) -> Result<Option<StoredToken>, Failure> {
        for digest in digests {
            if let Some(found) = rows::token_by_digest(self, digest)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    fn with_families(&self, ids: &[&str], unix_seconds: u64) -> Result<Vec<TokenRecord>, Failure> {
        let mut found = BTreeMap::new();
        let of_family = format!("{} WHERE t.family = ?1 AND {WORKS}", rows::TOKEN);
        for id in ids {
            let Some(named) = Tables::token(self, id)? else { continue };
            for token in tokens(self, &of_family, &named.record.family, unix_seconds)? {
                found.insert(token.id.clone(), token);
            }
            found.insert(named.record.id.clone(), named.record);
        }
        Ok(found.into_values().collect())
    }

    fn working_predecessors(&self, id: &str, unix_seconds: u64) -> Result<Vec<TokenRecord>, Failure> {
        let sql = format!(
            "WITH RECURSIVE before (before_id) AS (SELECT id FROM token WHERE replaced_by = ?1 \
             UNION SELECT id FROM token JOIN before ON replaced_by = before_id) \
             {} JOIN before ON t.id = before_id WHERE {WORKS} ORDER BY t.id",
            rows::TOKEN
        );
        tokens(self, &sql, id, unix_seconds)
    }

    fn working_tokens(&self, workspace: &str, unix_seconds: u64) -> Result<u64, Failure> {
        let sql = format!("SELECT count(*) FROM token t WHERE t.workspace = ?1 AND {WORKS}");
        let count = |row: &rusqlite::Row<'_>| rows::unsigned(row, 0);
        Ok(self.prepare_cached(&sql)?.query_row(params![workspace, signed(unix_seconds)], count)?)
    }

    fn revoke_some_of(
        &self,
        workspace: &str,
        (unix_seconds, reason): (u64, &str),
        count: u32,
    ) -> Result<Vec<(String, String)>, Failure> {
        let sql = "UPDATE token SET revoked_at = ?2, revoked_reason = ?3 WHERE id IN (SELECT id FROM token \
                   WHERE workspace = ?1 AND revoked_at IS NULL ORDER BY id LIMIT ?4) RETURNING id, name";
        let mut statement = self.prepare_cached(sql)?;
        let revoked = statement
            .query_map(params![workspace, signed(unix_seconds), reason, count], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })?;
        Ok(revoked.collect::<Result<_, _>>()?)
    }

    fn insert_tokens(&self, tokens: &[StoredToken]) -> Result<(), Failure> {
        let sql = "INSERT INTO token (id, family, number, workspace, name, scopes, role, own_limit, created_at, \
                   expires_at, pepper, digest, is_foreign, allowed_networks, is_decoy) \
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)";
        let mut statement = self.prepare_cached(sql)?;
        for StoredToken { record, digest, foreign, .. } in tokens {
            statement.execute(params![
                record.id,
                record.family,
                signed(record.number),
                record.workspace,
                record.name,
                json(&record.scopes),
                record.role.name(),
                record.own_limit.map(quota_text),
                signed(record.created_at_unix_seconds),
                record.expires_at_unix_seconds.map(signed),
                pepper_number(digest.scheme),
                digest.bytes,
                foreign,
                json(&network_texts(&record.allowed_networks)),
                record.is_decoy,
            ])?;
        }
        Ok(())
    }

    fn set_token(&self, record: &TokenRecord) -> Result<(), Failure> {
        self.prepare_cached("UPDATE token SET name = ?2, allowed_networks = ?3 WHERE id = ?1")?
            .execute(params![record.id, record.name, json(&network_texts(&record.allowed_networks))])?;
        Ok(())
    }

    fn set_replaced(&self, id: &str, overlap_until_unix_seconds: u64, by: &str) -> Result<(), Failure> {
        self.prepare_cached("UPDATE token SET overlap_until = ?2, replaced_by = ?3 WHERE id = ?1")?
            .execute(params![id, signed(overlap_until_unix_seconds), by])?;
        Ok(())
    }

    fn set_revoked(&self, id: &str, unix_seconds: u64, reason: &str) -> Result<(), Failure> {
        self.prepare_cached("UPDATE token SET revoked_at = ?2, revoked_reason = ?3 WHERE id = ?1")?
            .execute(params![id, signed(unix_seconds), reason])?;
        Ok(())
    }

    fn set_all_revoked(&self, revoked: &[(String, String)], unix_seconds: u64) -> Result<(), Failure> {
        revoked.iter().try_for_each(|(id, reason)| self.set_revoked(id, unix_seconds, reason))
    }

    fn put_override(&self, holder: &OverrideHolder, record: &OverrideRecord) -> Result<(), Failure> {
        let sql = "INSERT INTO limit_override VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) \
                   ON CONFLICT DO UPDATE SET quota = ?4, until = ?5, reason = ?6, set_at = ?7";
        self.prepare_cached(sql)?.execute(params![
            holder.kind(),
            holder.id(),
            record.policy,
            quota_text(record.quota),
            signed(record.until_unix_seconds),
            record.reason,
            signed(record.set_at_unix_seconds),
        ])?;
        Ok(())
    }

    fn delete_override(&self, holder: &OverrideHolder, policy: &str) -> Result<(), Failure> {
        self.prepare_cached("DELETE FROM limit_override WHERE kind = ?1 AND holder = ?2 AND policy = ?3")?
            .execute(params![holder.kind(), holder.id(), policy])?;
        Ok(())
    }

    fn delete_ended_overrides(&self, holder: &OverrideHolder, unix_seconds: u64) -> Result<(), Failure> {
        self.prepare_cached("DELETE FROM limit_override WHERE kind = ?1 AND holder = ?2 AND until <= ?3")?
            .execute(params![holder.kind(), holder.id(), signed(unix_seconds)])?;
        Ok(())
    }

    fn insert_message(&self, message: &NewMessage) -> Result<(), Failure> {
        Ok(outbox::insert(self, message)?)
    }

    fn insert_owed(&self, leaks: &[(u64, String)], at_unix_millis: u64) -> Result<(), Failure> {
        Ok(outbox::insert_owed(self, leaks, at_unix_millis)?)
    }

    fn give_up(
        &self,
        message_id: &str,
        attempt: u32,
        at_unix_millis: u64,
        why: &str,
    ) -> Result<Option<LogEntry>, Failure> {
        Ok(outbox::give_up(self, message_id, attempt, at_unix_millis, why)?)
    }

    fn operator(&self, name: &str) -> Result<Option<StoredOperator>, Failure> {
        Ok(operators::by_name(self, name)?)
    }

    fn operators_held(&self) -> Result<u64, Failure> {
        Ok(operators::held(self)?)
    }

    fn insert_operator(&self, record: &OperatorRecord, digest: &Digest) -> Result<(), Failure> {
        Ok(operators::insert(self, record, digest)?)
    }

    fn set_operator_revoked(&self, name: &str, unix_seconds: u64) -> Result<(), Failure> {
        Ok(operators::set_revoked(self, name, unix_seconds)?)
    }

    fn jwt_revocation_of(&self, jwts: &JwtsRevoked) -> Result<Option<JwtRevocation>, Failure> {
        Ok(jwt_revocations::of(self, jwts)?)
    }

    fn jwt_revocations_held(&self) -> Result<u64, Failure> {
        Ok(jwt_revocations::held(self)?)
    }

    fn put_jwt_revocation(&self, record: &JwtRevocation) -> Result<(), Failure> {
        Ok(jwt_revocations::put(self, record)?)
    }

    fn delete_ended_jwt_revocations(&self, unix_seconds: u64) -> Result<(), Failure> {
        Ok(jwt_revocations::delete_ended(self, unix_seconds)?)
    }

    fn insert_fingerprint(&self, version: u16, fingerprint: &[u8; 32]) -> Result<bool, Failure> {
        let added = self
            .prepare_cached(
                "INSERT INTO pepper (version, fingerprint) VALUES (?1, ?2) ON CONFLICT (version) DO NOTHING",
            )?
            .execute(params![version, fingerprint])?;
        Ok(added > 0)
    }
}

/// Whether a token works at the time `?2`.
const WORKS: &str = "t.revoked_at IS NULL AND (t.expires_at IS NULL OR t.expires_at > ?2) \
    AND (t.overlap_until IS NULL OR t.overlap_until > ?2)";

/// The tokens that a statement on a text and a time finds.
fn tokens(on: &Connection, sql: &str, text: &str, unix_seconds: u64) -> Result<Vec<TokenRecord>, Failure> {
    let mut statement = on.prepare_cached(sql)?;
    let found = statement.query_map(params![text, signed(unix_seconds)], rows::token)?;
    Ok(found.map(|stored| stored.map(|stored| stored.record)).collect::<Result<_, _>>()?)
}
