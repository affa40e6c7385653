//! Taking over the tokens of another system, from plain texts or from hashes.
//!
//! One token a line: `TOKEN`, `TOKEN<tab>WORKSPACE` or `TOKEN<tab>WORKSPACE<tab>REGION`, where `TOKEN` is the
//! plain text, `sha256:HEX`, or `hmac:VERSION:HEX` under a pepper of that version. Empty lines and lines that
//! start with `#` are skipped. A line that cannot be taken is reported by its number and never quoted.
//!
//! Importing the same file again changes nothing; a revoked token stays revoked, unless the pepper that it was hashed under
//! was retired since: then nobody can tell any more that it was there. The same token once as plain text and once as
//! a hash is seen to be the same if the hash came first.

use std::io::BufRead;

use crate::domain::{Network, Plan, Role};

use super::mint::{check_scopes, check_workspace_id, end, networks};
use super::store::{Act, Imported, ImportedToken, NewToken};
use super::{Digest, Error, Mint, Scheme};

const BATCH: usize = 5_000;
const SHORTEST_CHARACTERS: usize = 12;

/// The longest token that can be imported or looked up.
pub(super) const LONGEST_BYTES: usize = 512;
const LONGEST_LINE_BYTES: u64 = 4_096;

/// What holds for every line that does not say otherwise.
#[derive(Clone, Debug)]
pub struct ImportDefaults {
    /// The workspace of a line that names none.
    pub workspace: Option<String>,
    /// The region of a workspace that is made although its line names none.
    pub region: Option<String>,
    /// The plan of a workspace that is made.
    pub plan: Plan,
    /// The scopes of the tokens; empty takes the configured ones.
    pub scopes: Vec<String>,
    /// The role of the tokens.
    pub role: Role,
    /// How long they live from now; [`None`] is for ever.
    pub lifetime_seconds: Option<u64>,
    /// Where they may be used from; from everywhere if there are none.
    pub allowed_networks: Vec<Network>,
}

/// A line that was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineRefused {
    /// Its number, from 1.
    pub line: u64,
    /// Why not, and what to do.
    pub reason: String,
}

/// How far an import has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImportCount {
    /// Lines read.
    pub lines: u64,
    /// Tokens that were new.
    pub added: u64,
    /// Tokens that were there already.
    pub known: u64,
    /// Lines that were not taken.
    pub refused: u64,
}

impl Mint {
    /// Imports a file line by line, five thousand in a transaction. `report` is called after each batch with
    /// the count so far and the batch's refused lines. Stops at the first failure of the store or the file;
    /// what was counted is in the store, and importing again goes on from there.
    pub fn import(
        &self,
        act: Act<'_>,
        file: &mut dyn BufRead,
        defaults: &ImportDefaults,
        report: &mut dyn FnMut(&ImportCount, &[LineRefused]),
    ) -> Result<ImportCount, Error> {
        self.check_pepper()?;
        self.check_defaults(act, defaults)?;
        let mut count = ImportCount::default();
        let mut lines = Lines { file, buffer: Vec::new() };
        loop {
            let (mut batch, mut numbers, mut refused) = (Vec::new(), Vec::new(), Vec::new());
            let mut ended = false;
            while batch.len() < BATCH && refused.len() < BATCH {
                let Some(line) = lines.next()? else {
                    ended = true;
                    break;
                };
                let made_at = act.now.unix_millis.saturating_add(count.lines / BATCH as u64);
                count.lines += 1;
                match self.item(act, (made_at, line), defaults) {
                    Ok(None) => {}
                    Ok(Some(item)) => {
                        batch.push(item);
                        numbers.push(count.lines);
                    }
                    Err(reason) => refused.push(LineRefused { line: count.lines, reason }),
                }
            }
            let results = if batch.is_empty() { Vec::new() } else { self.store.import(act, &batch)? };
            for (line, (item, result)) in numbers.into_iter().zip(batch.iter().zip(results)) {
                match refusal(item, &result) {
                    Some(reason) => refused.push(LineRefused { line, reason }),
                    None if result == Imported::Added => count.added += 1,
                    None => count.known += 1,
                }
            }
            refused.sort_unstable_by_key(|refused| refused.line);
            count.refused += refused.len() as u64;
            report(&count, &refused);
            if ended {
                return Ok(count);
            }
        }
    }

    fn check_defaults(&self, act: Act<'_>, defaults: &ImportDefaults) -> Result<(), Error> {
        if let Some(workspace) = &defaults.workspace {
            check_workspace_id(workspace)?;
        }
        if let Some(region) = &defaults.region {
            self.region_letter(region)?;
        }
        end(act, defaults.lifetime_seconds)?;
        networks(&defaults.allowed_networks)?;
        check_scopes(&defaults.scopes)
    }

    fn item(
        &self,
        act: Act<'_>,
        (made_at, line): (u64, Line<'_>),
        defaults: &ImportDefaults,
    ) -> Result<Option<ImportedToken>, String> {
        let Line::Text(line) = line else { return Err("the line is too long".to_owned()) };
        let line = std::str::from_utf8(line).map_err(|_| "the line is not UTF-8".to_owned())?.trim_end();
        if line.is_empty() || line.starts_with('#') {
            return Ok(None);
        }
        let mut columns = line.split('\t');
        let token = columns.next().unwrap_or_default().trim();
        let mut column = || columns.next().map(str::trim).filter(|text| !text.is_empty());
        let workspace = column().or(defaults.workspace.as_deref());
        let workspace =
            workspace.ok_or("no workspace is named; add it after a tab, or say --workspace ID")?;
        check_workspace_id(workspace).map_err(|error| error.to_string())?;
        let region = column();
        if let Some(region) = region {
            self.region_letter(region).map_err(|error| error.to_string())?;
        }
        if columns.next().is_some() {
            return Err("there are more than three columns: token, workspace, region".to_owned());
        }
        let (digest, known_as, foreign) = self.digests(token)?;
        let scopes = if defaults.scopes.is_empty() { &self.rules.scopes } else { &defaults.scopes };
        let token = NewToken {
            id: self.token_id(made_at).map_err(|error| error.to_string())?,
            workspace: workspace.to_owned(),
            name: "imported".to_owned(),
            scopes: scopes.clone(),
            role: defaults.role,
            own_limit: None,
            allowed_networks: networks(&defaults.allowed_networks).map_err(|error| error.to_string())?,
            is_decoy: false,
            expires_at_unix_seconds: end(act, defaults.lifetime_seconds)
                .map_err(|error| error.to_string())?,
            digest,
            foreign,
        };
        Ok(Some(ImportedToken {
            token,
            known_as,
            region: region.map(str::to_owned),
            default_region: defaults.region.clone(),
            plan: defaults.plan,
        }))
    }

    /// What a token is stored as, what it may be stored as already, and whether our format does not show it.
    fn digests(&self, token: &str) -> Result<(Digest, Vec<Digest>, bool), String> {
        if let Some(hex) = token.strip_prefix("sha256:") {
            let digest = Digest { scheme: Scheme::Sha256, bytes: from_hex(hex)? };
            return Ok((digest, vec![digest], true));
        }
        if let Some(rest) = token.strip_prefix("hmac:") {
            let (version, hex) = rest.split_once(':').ok_or("write hmac:VERSION:HEX")?;
            let version = version.parse().map_err(|_| "the pepper version is no number".to_owned())?;
            if !self.peppers.holds(version) {
                return Err(format!(
                    "the pepper file has no version {version}; add it as a line `version:base64`"
                ));
            }
            let digest = Digest { scheme: Scheme::Hmac(version), bytes: from_hex(hex)? };
            return Ok((digest, vec![digest], true));
        }
        check_plain(token)?;
        let known_as = self.peppers.digests(token.as_bytes()).chain([Digest::sha256(token.as_bytes())]);
        let foreign = self.rules.format.recognise(token.as_bytes()).is_none();
        Ok((self.peppers.digest(token.as_bytes()), known_as.collect(), foreign))
    }
}

fn refusal(item: &ImportedToken, result: &Imported) -> Option<String> {
    let workspace = &item.token.workspace;
    match result {
        Imported::Added | Imported::Known => None,
        Imported::ElsewhereIn(other) => Some(format!("the token belongs to workspace `{other}` already")),
        Imported::OtherRegion(region) => Some(format!("workspace `{workspace}` lives in region `{region}`")),
        Imported::NoWorkspace => Some(format!(
            "there is no workspace `{workspace}`; add its region after another tab, or say --region NAME, and it is created"
        )),
        Imported::Deleted => Some(Error::WorkspaceDeleted(workspace.clone()).to_string()),
    }
}

/// A plain text must be one that a client can send: a `token68` (RFC 9110, section 11.2) that is not taken
/// for a JWT.
fn check_plain(token: &str) -> Result<(), String> {
    let body = token.trim_end_matches('=');
    let is_token68 = !body.is_empty()
        && body.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte));
    if !is_token68 {
        return Err("the token has characters that no Authorization field can carry".to_owned());
    }
    if token.len() < SHORTEST_CHARACTERS {
        return Err(format!(
            "the token is shorter than {SHORTEST_CHARACTERS} characters and could be guessed"
        ));
    }
    if token.len() > LONGEST_BYTES {
        return Err(format!("the token is longer than {LONGEST_BYTES} bytes"));
    }
    if token.bytes().filter(|byte| *byte == b'.').count() == 2 {
        return Err("the token has two dots and would be read as a JWT".to_owned());
    }
    Ok(())
}

fn from_hex(text: &str) -> Result<[u8; 32], String> {
    let error = || "the hash is not 64 hexadecimal digits".to_owned();
    let digits: Vec<u8> = text
        .chars()
        .map(|c| c.to_digit(16).map(|digit| digit as u8))
        .collect::<Option<_>>()
        .ok_or_else(error)?;
    let mut bytes = [0; 32];
    if digits.len() != 2 * bytes.len() {
        return Err(error());
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = pair[0] << 4 | pair[1];
    }
    Ok(bytes)
}

/// Reads lines of bounded length from a file of any length.
struct Lines<'f> {
    file: &'f mut dyn BufRead,
    buffer: Vec<u8>,
}

#[derive(Clone, Copy)]
enum Line<'b> {
    Text(&'b [u8]),
    TooLong,
}

impl Lines<'_> {
    fn next(&mut self) -> Result<Option<Line<'_>>, Error> {
        let failed = |source| Error::file(std::path::Path::new("the tokens to import"), "read", source);
        self.buffer.clear();
        let mut limited = std::io::Read::take(&mut *self.file, LONGEST_LINE_BYTES);
        let read = limited.read_until(b'\n', &mut self.buffer).map_err(failed)?;
        if read == 0 {
            return Ok(None);
        }
        if read as u64 == LONGEST_LINE_BYTES && self.buffer.last() != Some(&b'\n') {
            self.file.skip_until(b'\n').map_err(failed)?;
            return Ok(Some(Line::TooLong));
        }
        Ok(Some(Line::Text(&self.buffer)))
    }
}

#[cfg(test)]
mod tests;
