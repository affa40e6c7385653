//! What is read, each as of one moment, and what is noted beside the log.

use tokio_postgres::types::Type;

use super::pool::Session;
use super::{jwt_revocations, operators, rows};
use crate::domain::OverrideHolder;
use crate::tokens::store::changed::BODY;
use crate::tokens::store::columns::signed;
use crate::tokens::store::failure::Failure;
use crate::tokens::store::{Changed, Changes, LogEntry, Row};
use crate::tokens::{Digest, HeldOverride, TokenRecord, WorkspaceRecord};

/// Rows of a snapshot that are fetched at once.
const PAGE: u32 = 5_000;

pub(super) fn workspaces(on: &Session<'_>, after: &str, count: u32) -> Result<Vec<WorkspaceRecord>, Failure> {
    let sql = format!("{} WHERE id > $1 ORDER BY id LIMIT $2", rows::WORKSPACE);
    let found = on.query(&sql, &[(&after, Type::TEXT), (&i64::from(count), Type::INT8)])?;
    found.iter().map(rows::workspace).collect()
}

pub(super) fn tokens(
    on: &Session<'_>,
    workspace: Option<&str>,
    after: &str,
    count: u32,
) -> Result<Vec<TokenRecord>, Failure> {
    let condition = match workspace {
        Some(_) => "t.workspace = $3 AND t.id > $1",
        None => "t.id > $1 AND $3 IS NULL",
    };
    let sql = format!("{} WHERE {condition} ORDER BY t.id LIMIT $2", rows::TOKEN);
    let count = i64::from(count);
    let found = on.query(&sql, &[(&after, Type::TEXT), (&count, Type::INT8), (&workspace, Type::TEXT)])?;
    found.iter().map(|row| Ok(rows::token(row)?.record)).collect()
}

pub(super) fn overrides(
    on: &Session<'_>,
    after: Option<(&OverrideHolder, &str)>,
    count: u32,
) -> Result<Vec<HeldOverride>, Failure> {
    let (kind, holder, policy) =
        after.map_or(("", "", ""), |(holder, policy)| (holder.kind(), holder.id(), policy));
    let sql = format!(
        "{} WHERE (kind, holder, policy) > ($1, $2, $3) ORDER BY kind, holder, policy LIMIT $4",
        rows::OVERRIDE
    );
    let found = on.query(
        &sql,
        &[(&kind, Type::TEXT), (&holder, Type::TEXT), (&policy, Type::TEXT), (&i64::from(count), Type::INT8)],
    )?;
    found.iter().map(rows::held_override).collect()
}

pub(super) fn log(on: &Session<'_>, after: u64, count: u32) -> Result<Vec<LogEntry>, Failure> {
    let sql = format!("{} WHERE seq > $1 ORDER BY seq LIMIT $2", rows::LOG);
    let found = on.query(&sql, &[(&signed(after), Type::INT8), (&i64::from(count), Type::INT8)])?;
    found.iter().map(rows::audited).collect()
}

/// Everything, a page at a time, as of the moment at which the transaction began.
pub(super) fn snapshot(on: &Session<'_>, load: &mut dyn FnMut(Row)) -> Result<(u64, [u8; 32]), Failure> {
    let head = on.head("")?;
    let mut after = String::new();
    loop {
        let page = workspaces(on, &after, PAGE)?;
        let Some(last) = page.last() else { break };
        after.clone_from(&last.id);
        for record in page {
            load(Row::Workspace(record));
        }
    }
    let sql = format!("{} WHERE t.id > $1 ORDER BY t.id LIMIT $2", rows::TOKEN);
    after.clear();
    loop {
        let page = on.query(&sql, &[(&after, Type::TEXT), (&i64::from(PAGE), Type::INT8)])?;
        for row in &page {
            let stored = rows::token(row)?;
            after.clone_from(&stored.record.id);
            load(Row::Token(Box::new(stored)));
        }
        if page.len() < PAGE as usize {
            break;
        }
    }
    few(on, load)?;
    Ok(head)
}

/// The rows of which there are few.
pub(super) fn few(on: &Session<'_>, load: &mut dyn FnMut(Row)) -> Result<(), Failure> {
    for operator in operators::all(on)? {
        load(Row::Operator(operator));
    }
    let mut after = String::new();
    loop {
        let page = jwt_revocations::after(on, &after, PAGE)?;
        let Some(last) = page.last() else { return Ok(()) };
        after.clone_from(&last.id);
        for revocation in page {
            load(Row::JwtRevocation(revocation));
        }
    }
}

/// The log's head and entries behind one, as one statement: a look that finds nothing new is one round trip.
pub(super) fn look() -> String {
    format!(
        "SELECT h.seq, h.hash, l.seq, l.kind, l.subject, l.previous, l.hash, l.body FROM tollgate.head h \
         LEFT JOIN LATERAL (SELECT seq, kind, subject, previous, hash, {BODY} AS body FROM tollgate.log \
         WHERE seq > $1 ORDER BY seq LIMIT $2) l ON true ORDER BY l.seq"
    )
}

/// What [`look`] for so many entries found: changes still without their rows, and what these are of.
pub(super) fn looked(found: &[tokio_postgres::Row], count: u32) -> Result<(Changes, Changed), Failure> {
    let first = found.first().ok_or_else(|| super::failure::unreadable(0))?;
    let hash = rows::hash(first, 1)?;
    let head = rows::unsigned(first, 0)?;
    let mut changes =
        Changes { head, hash_before: hash, hash_after: hash, seqs: Vec::new(), rows: Vec::new() };
    let mut about = Changed::default();
    for row in found {
        if row.try_get::<_, Option<i64>>(2)?.is_none() {
            break;
        }
        if changes.seqs.is_empty() {
            changes.hash_before = rows::hash(row, 5)?;
        }
        changes.hash_after = rows::hash(row, 6)?;
        changes.seqs.push(rows::unsigned(row, 2)?);
        about.note(row.try_get(3)?, row.try_get(4)?, row.try_get(7)?);
        if about.is_enough(count) {
            break;
        }
    }
    Ok((changes, about))
}

/// The rows of what changed, as they are now.
pub(super) fn changed_rows(on: &Session<'_>, about: &Changed) -> Result<Vec<Row>, Failure> {
    let mut changed = Vec::new();
    if !about.workspaces.is_empty() {
        let sql = format!("{} WHERE id = ANY($1) ORDER BY id", rows::WORKSPACE);
        for row in on.query(&sql, &[(&about.workspaces, Type::TEXT_ARRAY)])? {
            changed.push(Row::Workspace(rows::workspace(&row)?));
        }
    }
    if !about.tokens.is_empty() || !about.families.is_empty() {
        let sql = format!("{} WHERE t.id = ANY($1) OR t.family = ANY($2) ORDER BY t.id", rows::CHANGED_TOKEN);
        let ids = [(&about.tokens as _, Type::TEXT_ARRAY), (&about.families as _, Type::TEXT_ARRAY)];
        for row in on.query(&sql, &ids)? {
            changed.push(Row::Token(Box::new(rows::changed_token(&row)?)));
        }
    }
    if !about.operators.is_empty() {
        let names: Vec<&str> = about.operators.iter().map(String::as_str).collect();
        changed.extend(operators::named(on, &names)?.into_iter().map(Row::Operator));
    }
    if !about.revocations.is_empty() {
        let revocations = jwt_revocations::with_ids(on, &about.revocations)?;
        changed.extend(revocations.into_iter().map(Row::JwtRevocation));
    }
    Ok(changed)
}

pub(super) fn fingerprints(on: &Session<'_>) -> Result<Vec<Digest>, Failure> {
    let found = on.query("SELECT version, fingerprint FROM tollgate.pepper ORDER BY version", &[])?;
    found.iter().map(|row| rows::digest(row, 0, 1)).collect()
}

/// Sorted, so that two processes that write the same tokens' times never wait for each other in a circle.
pub(super) fn record_uses(on: &Session<'_>, uses: &[(&str, u64)]) -> Result<(), Failure> {
    let (ids, times): (Vec<&str>, Vec<i64>) = uses.iter().map(|(id, at)| (*id, signed(*at))).unzip();
    let sql = "INSERT INTO tollgate.token_use AS used (token, at) \
               SELECT t.id, max(v.at) FROM unnest($1::text[], $2::int8[]) AS v (id, at) \
               JOIN tollgate.token t ON t.id = v.id GROUP BY t.id ORDER BY t.id \
               ON CONFLICT (token) DO UPDATE SET at = excluded.at WHERE used.at < excluded.at";
    on.execute(sql, &[(&ids, Type::TEXT_ARRAY), (&times, Type::INT8_ARRAY)])?;
    Ok(())
}
