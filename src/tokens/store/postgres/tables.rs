//! The statements of a writing transaction.

use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};

use super::pool::{LOCK_HEAD, Session};
use super::{import, jwt_revocations, operators, outbox, rows};
use crate::domain::OverrideHolder;
use crate::tokens::store::columns::{network_texts, pepper_number, quota_text, signed};
use crate::tokens::store::failure::Failure;
use crate::tokens::store::writing::{NewMessage, Tables};
use crate::tokens::store::{LogEntry, StoredOperator, StoredToken};
use crate::tokens::{
    Digest, JwtRevocation, JwtsRevoked, OperatorRecord, OverrideRecord, TokenRecord, WorkspaceRecord,
};

/// The channel on which it is said that the log has grown.
pub(super) const CHANNEL: &str = "tollgate";

/// Whether a token works at the time `$2`.
const WORKS: &str = "t.revoked_at IS NULL AND (t.expires_at IS NULL OR t.expires_at > $2) \
    AND (t.overlap_until IS NULL OR t.overlap_until > $2)";

impl Session<'_> {
    pub(super) fn head(&self, more: &str) -> Result<(u64, [u8; 32]), Failure> {
        head_of(self.query_opt(&format!("SELECT seq, hash FROM tollgate.head {more}"), &[])?)
    }

    /// The tokens that a statement on a text and a time finds.
    fn tokens(&self, sql: &str, text: &str, unix_seconds: u64) -> Result<Vec<TokenRecord>, Failure> {
        let found = self.query(sql, &[(&text, Type::TEXT), (&signed(unix_seconds), Type::INT8)])?;
        found.iter().map(|row| Ok(rows::token(row)?.record)).collect()
    }

    /// The first token that a condition on one parameter finds.
    fn token_where(&self, condition: &str, value: &str) -> Result<Option<StoredToken>, Failure> {
        let sql = format!("{} WHERE {condition} LIMIT 1", rows::TOKEN);
        self.query_opt(&sql, &[(&value, Type::TEXT)])?.as_ref().map(rows::token).transpose()
    }
}

fn head_of(row: Option<Row>) -> Result<(u64, [u8; 32]), Failure> {
    let row = row.ok_or_else(|| super::failure::unreadable(0))?;
    Ok((rows::unsigned(&row, 0)?, rows::hash(&row, 1)?))
}

impl Tables for Session<'_> {
    fn lock_head(&self) -> Result<(u64, [u8; 32]), Failure> {
        match self.locked_head() {
            Some(locked) => head_of(Some(locked)),
            None => head_of(self.query_opt(LOCK_HEAD, &[])?),
        }
    }

    fn append(&self, entries: &[LogEntry]) -> Result<(), Failure> {
        let Some(last) = entries.last() else { return Ok(()) };
        let texts = |of: fn(&LogEntry) -> &str| entries.iter().map(of).collect::<Vec<_>>();
        let sql = format!(
            "WITH added AS (INSERT INTO tollgate.log (seq, previous, hash, at_unix_millis, actor, kind, subject, body) \
             SELECT * FROM unnest($1::int8[], $2::bytea[], $3::bytea[], $4::int8[], $5::text[], $6::text[], \
             $7::text[], $8::text[])), \
             moved AS (UPDATE tollgate.head SET seq = $9, hash = $10 RETURNING seq) \
             SELECT pg_notify('{CHANNEL}', seq::text) FROM moved"
        );
        let seqs: Vec<i64> = entries.iter().map(|entry| signed(entry.seq)).collect();
        let times: Vec<i64> = entries.iter().map(|entry| signed(entry.at_unix_millis)).collect();
        let hashes = |of: fn(&LogEntry) -> &[u8; 32]| entries.iter().map(|entry| &of(entry)[..]).collect();
        let (previous, hash): (Vec<&[u8]>, Vec<&[u8]>) =
            (hashes(|entry| &entry.previous), hashes(|entry| &entry.hash));
        self.query(
            &sql,
            &[
                (&seqs, Type::INT8_ARRAY),
                (&previous, Type::BYTEA_ARRAY),
                (&hash, Type::BYTEA_ARRAY),
                (&times, Type::INT8_ARRAY),
                (&texts(|entry| &entry.actor), Type::TEXT_ARRAY),
                (&texts(|entry| &entry.kind), Type::TEXT_ARRAY),
                (&texts(|entry| &entry.subject), Type::TEXT_ARRAY),
                (&texts(|entry| &entry.body), Type::TEXT_ARRAY),
                (&signed(last.seq), Type::INT8),
                (&&last.hash[..], Type::BYTEA),
            ],
        )?;
        Ok(())
    }

    fn workspace(&self, id: &str) -> Result<Option<WorkspaceRecord>, Failure> {
        let sql = format!("{} WHERE id = $1", rows::WORKSPACE);
        self.query_opt(&sql, &[(&id, Type::TEXT)])?.as_ref().map(rows::workspace).transpose()
    }

    fn put_workspace(&self, record: &WorkspaceRecord) -> Result<(), Failure> {
        let sql = "INSERT INTO tollgate.workspace VALUES ($1, $2, $3, $4, $5, $6, $7, $8) \
                   ON CONFLICT (id) DO UPDATE SET \
                   region = $3, plan = $4, features = $5, state = $6, contacts = $7";
        self.execute(
            sql,
            &[
                (&record.id, Type::TEXT),
                (&signed(record.number), Type::INT8),
                (&record.region, Type::TEXT),
                (&record.plan.name(), Type::TEXT),
                (&record.features, Type::TEXT_ARRAY),
                (&record.state.name(), Type::TEXT),
                (&record.contacts, Type::TEXT_ARRAY),
                (&signed(record.created_at_unix_seconds), Type::INT8),
            ],
        )?;
        Ok(())
    }

    fn token(&self, id: &str) -> Result<Option<StoredToken>, Failure> {
        self.token_where("t.id = $1", id)
    }

    fn token_by_digest(&self, digests: &[Digest]) -> Result<Option<StoredToken>, Failure> {
        let bytes: Vec<&[u8]> = digests.iter().map(|digest| &digest.bytes[..]).collect();
        let peppers: Vec<i32> = digests.iter().map(|digest| pepper_number(digest.scheme).into()).collect();
        let sql = format!(
            "{} JOIN unnest($1::bytea[], $2::int4[]) WITH ORDINALITY AS wanted (digest, pepper, place) \
             ON t.digest = wanted.digest AND t.pepper = wanted.pepper ORDER BY wanted.place LIMIT 1",
            rows::TOKEN
        );
        let parameters: [(&(dyn ToSql + Sync), Type); 2] =
            [(&bytes, Type::BYTEA_ARRAY), (&peppers, Type::INT4_ARRAY)];
        self.query_opt(&sql, &parameters)?.as_ref().map(rows::token).transpose()
    }

    fn with_families(&self, ids: &[&str], unix_seconds: u64) -> Result<Vec<TokenRecord>, Failure> {
        let sql = format!(
            "{} WHERE t.id = ANY(ARRAY(SELECT id FROM tollgate.token WHERE id = ANY($1) UNION \
             SELECT t.id FROM tollgate.token AS named JOIN tollgate.token t ON t.family = named.family \
             WHERE named.id = ANY($1) AND {WORKS})) ORDER BY t.id",
            rows::TOKEN
        );
        let parameters: [(&(dyn ToSql + Sync), Type); 2] =
            [(&ids, Type::TEXT_ARRAY), (&signed(unix_seconds), Type::INT8)];
        self.query(&sql, &parameters)?.iter().map(|row| Ok(rows::token(row)?.record)).collect()
    }

    fn working_predecessors(&self, id: &str, unix_seconds: u64) -> Result<Vec<TokenRecord>, Failure> {
        let sql = format!(
            "WITH RECURSIVE before (before_id) AS (SELECT id FROM tollgate.token WHERE replaced_by = $1 \
             UNION SELECT id FROM tollgate.token JOIN before ON replaced_by = before_id) \
             {} JOIN before ON t.id = before_id WHERE {WORKS} ORDER BY t.id",
            rows::TOKEN
        );
        self.tokens(&sql, id, unix_seconds)
    }

    fn working_tokens(&self, workspace: &str, unix_seconds: u64) -> Result<u64, Failure> {
        let sql = format!("SELECT count(*) FROM tollgate.token t WHERE t.workspace = $1 AND {WORKS}");
        let parameters = [(&workspace as _, Type::TEXT), (&signed(unix_seconds) as _, Type::INT8)];
        let row = self.query_opt(&sql, &parameters)?;
        row.map_or(Ok(0), |row| rows::unsigned(&row, 0))
    }

    fn revoke_some_of(
        &self,
        workspace: &str,
        (unix_seconds, reason): (u64, &str),
        count: u32,
    ) -> Result<Vec<(String, String)>, Failure> {
        let sql = "UPDATE tollgate.token SET revoked_at = $2, revoked_reason = $3 WHERE id IN \
                   (SELECT id FROM tollgate.token WHERE workspace = $1 AND revoked_at IS NULL ORDER BY id LIMIT $4) \
                   RETURNING id, name";
        let (at, count) = (signed(unix_seconds), i64::from(count));
        let parameters: [(&(dyn ToSql + Sync), Type); 4] =
            [(&workspace, Type::TEXT), (&at, Type::INT8), (&reason, Type::TEXT), (&count, Type::INT8)];
        let revoked = self.query(sql, &parameters)?;
        revoked.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
    }

    fn insert_tokens(&self, tokens: &[StoredToken]) -> Result<(), Failure> {
        import::insert(self, tokens)
    }

    fn set_token(&self, record: &TokenRecord) -> Result<(), Failure> {
        let sql = "UPDATE tollgate.token SET name = $2, allowed_networks = $3 WHERE id = $1";
        let networks = network_texts(&record.allowed_networks);
        self.execute(
            sql,
            &[(&record.id, Type::TEXT), (&record.name, Type::TEXT), (&networks, Type::TEXT_ARRAY)],
        )?;
        Ok(())
    }

    fn set_replaced(&self, id: &str, overlap_until_unix_seconds: u64, by: &str) -> Result<(), Failure> {
        let sql = "UPDATE tollgate.token SET overlap_until = $2, replaced_by = $3 WHERE id = $1";
        let until = signed(overlap_until_unix_seconds);
        self.execute(sql, &[(&id, Type::TEXT), (&until, Type::INT8), (&by, Type::TEXT)])?;
        Ok(())
    }

    fn set_revoked(&self, id: &str, unix_seconds: u64, reason: &str) -> Result<(), Failure> {
        let sql = "UPDATE tollgate.token SET revoked_at = $2, revoked_reason = $3 WHERE id = $1";
        let at = signed(unix_seconds);
        self.execute(sql, &[(&id, Type::TEXT), (&at, Type::INT8), (&reason, Type::TEXT)])?;
        Ok(())
    }

    fn set_all_revoked(&self, revoked: &[(String, String)], unix_seconds: u64) -> Result<(), Failure> {
        let sql = "UPDATE tollgate.token t SET revoked_at = $3, revoked_reason = gone.reason \
                   FROM unnest($1::text[], $2::text[]) AS gone (id, reason) WHERE t.id = gone.id";
        let (ids, reasons): (Vec<&str>, Vec<&str>) =
            revoked.iter().map(|(id, reason)| (id.as_str(), reason.as_str())).unzip();
        let at = signed(unix_seconds);
        self.execute(sql, &[(&ids, Type::TEXT_ARRAY), (&reasons, Type::TEXT_ARRAY), (&at, Type::INT8)])?;
        Ok(())
    }

    fn put_override(&self, holder: &OverrideHolder, record: &OverrideRecord) -> Result<(), Failure> {
        let sql = "INSERT INTO tollgate.limit_override VALUES ($1, $2, $3, $4, $5, $6, $7) \
                   ON CONFLICT (kind, holder, policy) DO UPDATE SET quota = $4, until = $5, reason = $6, set_at = $7";
        self.execute(
            sql,
            &[
                (&holder.kind(), Type::TEXT),
                (&holder.id(), Type::TEXT),
                (&record.policy, Type::TEXT),
                (&quota_text(record.quota), Type::TEXT),
                (&signed(record.until_unix_seconds), Type::INT8),
                (&record.reason, Type::TEXT),
                (&signed(record.set_at_unix_seconds), Type::INT8),
            ],
        )?;
        Ok(())
    }

    fn delete_override(&self, holder: &OverrideHolder, policy: &str) -> Result<(), Failure> {
        let sql = "DELETE FROM tollgate.limit_override WHERE kind = $1 AND holder = $2 AND policy = $3";
        let (kind, id) = (holder.kind(), holder.id());
        self.execute(sql, &[(&kind, Type::TEXT), (&id, Type::TEXT), (&policy, Type::TEXT)])?;
        Ok(())
    }

    fn delete_ended_overrides(&self, holder: &OverrideHolder, unix_seconds: u64) -> Result<(), Failure> {
        let sql = "DELETE FROM tollgate.limit_override WHERE kind = $1 AND holder = $2 AND until <= $3";
        let (kind, id, now) = (holder.kind(), holder.id(), signed(unix_seconds));
        self.execute(sql, &[(&kind, Type::TEXT), (&id, Type::TEXT), (&now, Type::INT8)])?;
        Ok(())
    }

    fn insert_message(&self, message: &NewMessage) -> Result<(), Failure> {
        outbox::insert(self, message)
    }

    fn insert_owed(&self, leaks: &[(u64, String)], at_unix_millis: u64) -> Result<(), Failure> {
        outbox::insert_owed(self, leaks, at_unix_millis)
    }

    fn give_up(
        &self,
        message_id: &str,
        attempt: u32,
        at_unix_millis: u64,
        why: &str,
    ) -> Result<Option<LogEntry>, Failure> {
        outbox::give_up(self, message_id, attempt, at_unix_millis, why)
    }

    fn operator(&self, name: &str) -> Result<Option<StoredOperator>, Failure> {
        Ok(operators::named(self, &[name])?.pop())
    }

    fn operators_held(&self) -> Result<u64, Failure> {
        operators::held(self)
    }

    fn insert_operator(&self, record: &OperatorRecord, digest: &Digest) -> Result<(), Failure> {
        operators::insert(self, record, digest)
    }

    fn set_operator_revoked(&self, name: &str, unix_seconds: u64) -> Result<(), Failure> {
        operators::set_revoked(self, name, unix_seconds)
    }

    fn jwt_revocation_of(&self, jwts: &JwtsRevoked) -> Result<Option<JwtRevocation>, Failure> {
        jwt_revocations::of(self, jwts)
    }

    fn jwt_revocations_held(&self) -> Result<u64, Failure> {
        jwt_revocations::held(self)
    }

    fn put_jwt_revocation(&self, record: &JwtRevocation) -> Result<(), Failure> {
        jwt_revocations::put(self, record)
    }

    fn delete_ended_jwt_revocations(&self, unix_seconds: u64) -> Result<(), Failure> {
        jwt_revocations::delete_ended(self, unix_seconds)
    }

    fn insert_fingerprint(&self, version: u16, fingerprint: &[u8; 32]) -> Result<bool, Failure> {
        let sql = "INSERT INTO tollgate.pepper (version, fingerprint) VALUES ($1, $2) ON CONFLICT (version) DO NOTHING";
        let parameters = [(&i32::from(version) as _, Type::INT4), (&&fingerprint[..] as _, Type::BYTEA)];
        Ok(self.execute(sql, &parameters)? > 0)
    }
}
