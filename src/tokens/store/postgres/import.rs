//! New tokens, and what an import would add, as rows.

use std::collections::HashMap;

use tokio_postgres::types::{ToSql, Type};

use super::pool::Session;
use super::rows;
use crate::tokens::store::StoredToken;
use crate::tokens::store::columns::{network_texts, pepper_number, quota_text, signed};
use crate::tokens::store::failure::Failure;
use crate::tokens::store::writing::ImportTables;
use crate::tokens::{Digest, TokenRecord, WorkspaceRecord};

/// Lists within a list come as JSON: an array of arrays is flattened.
const INSERT: &str = "INSERT INTO tollgate.token (id, family, number, workspace, name, scopes, role, own_limit, \
    created_at, expires_at, pepper, digest, is_foreign, allowed_networks, is_decoy) \
    SELECT id, family, number, workspace, name, ARRAY(SELECT json_array_elements_text(scopes::json)), role, own_limit, \
    created_at, expires_at, pepper, digest, is_foreign, ARRAY(SELECT json_array_elements_text(networks::json)), is_decoy \
    FROM unnest($1::text[], $2::text[], $3::int8[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], \
    $9::int8[], $10::int8[], $11::int4[], $12::bytea[], $13::bool[], $14::text[], $15::bool[]) \
    AS added (id, family, number, workspace, name, scopes, role, own_limit, created_at, expires_at, pepper, digest, \
    is_foreign, networks, is_decoy)";

/// Adds tokens in one statement.
pub(super) fn insert(on: &Session<'_>, tokens: &[StoredToken]) -> Result<(), Failure> {
    fn texts(tokens: &[StoredToken], of: fn(&TokenRecord) -> &str) -> Vec<&str> {
        tokens.iter().map(|token| of(&token.record)).collect()
    }
    fn each<'t, V>(tokens: &'t [StoredToken], of: fn(&'t StoredToken) -> V) -> Vec<V> {
        tokens.iter().map(of).collect()
    }
    let json = |words: &[String]| serde_json::Value::from(words).to_string();
    let scopes: Vec<String> = tokens.iter().map(|token| json(&token.record.scopes)).collect();
    let networks: Vec<String> =
        tokens.iter().map(|token| json(&network_texts(&token.record.allowed_networks))).collect();
    on.execute(
        INSERT,
        &[
            (&texts(tokens, |token| &token.id), Type::TEXT_ARRAY),
            (&texts(tokens, |token| &token.family), Type::TEXT_ARRAY),
            (&each(tokens, |token| signed(token.record.number)), Type::INT8_ARRAY),
            (&texts(tokens, |token| &token.workspace), Type::TEXT_ARRAY),
            (&texts(tokens, |token| &token.name), Type::TEXT_ARRAY),
            (&scopes, Type::TEXT_ARRAY),
            (&texts(tokens, |token| token.role.name()), Type::TEXT_ARRAY),
            (&each(tokens, |token| token.record.own_limit.map(quota_text)), Type::TEXT_ARRAY),
            (&each(tokens, |token| signed(token.record.created_at_unix_seconds)), Type::INT8_ARRAY),
            (&each(tokens, |token| token.record.expires_at_unix_seconds.map(signed)), Type::INT8_ARRAY),
            (&each(tokens, |token| i32::from(pepper_number(token.digest.scheme))), Type::INT4_ARRAY),
            (&each(tokens, |token| &token.digest.bytes[..]), Type::BYTEA_ARRAY),
            (&each(tokens, |token| token.foreign), Type::BOOL_ARRAY),
            (&networks, Type::TEXT_ARRAY),
            (&each(tokens, |token| token.record.is_decoy), Type::BOOL_ARRAY),
        ],
    )?;
    Ok(())
}

impl ImportTables for Session<'_> {
    fn workspaces_of(&self, digests: &[Digest]) -> Result<HashMap<Digest, String>, Failure> {
        let bytes: Vec<&[u8]> = digests.iter().map(|digest| &digest.bytes[..]).collect();
        let peppers: Vec<i32> = digests.iter().map(|digest| pepper_number(digest.scheme).into()).collect();
        let sql = "WITH wanted AS (SELECT * FROM unnest($1::bytea[], $2::int4[]) AS wanted (digest, pepper)) \
                   SELECT t.pepper, t.digest, t.workspace FROM wanted JOIN tollgate.token t USING (digest, pepper) \
                   UNION ALL SELECT f.pepper, f.digest, t.workspace FROM wanted \
                   JOIN tollgate.former_digest f USING (digest, pepper) JOIN tollgate.token t ON t.id = f.token";
        let parameters: [(&(dyn ToSql + Sync), Type); 2] =
            [(&bytes, Type::BYTEA_ARRAY), (&peppers, Type::INT4_ARRAY)];
        let found = self.query(sql, &parameters)?;
        found.iter().map(|row| Ok((rows::digest(row, 0, 1)?, row.try_get(2)?))).collect()
    }

    fn workspaces(&self, ids: &[&str]) -> Result<Vec<WorkspaceRecord>, Failure> {
        let sql = format!("{} WHERE id = ANY($1)", rows::WORKSPACE);
        self.query(&sql, &[(&ids, Type::TEXT_ARRAY)])?.iter().map(rows::workspace).collect()
    }
}
