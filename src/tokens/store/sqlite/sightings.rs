//! Networks that tokens were seen from, as rows.

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::rows::{signed, unreadable, unsigned};
use super::{Failure, SqliteStore, rows};
use crate::domain::Network;
use crate::tokens::Error;
use crate::tokens::store::sightings::{
    DecoyTold, DecoyUses, KnownNetwork, NetworkNoted, Sighting, Sightings,
};
use crate::tokens::store::writing::SightingTables;
use crate::tokens::store::{Act, ChangeKind};

/// The table of schema 6.
pub(super) const TABLE: &str = "
CREATE TABLE known_network (
    family TEXT NOT NULL,
    network TEXT NOT NULL,
    first_seen INTEGER NOT NULL,
    seen INTEGER NOT NULL,
    PRIMARY KEY (family, network)
) STRICT, WITHOUT ROWID;
";

fn network(row: &Row<'_>) -> rusqlite::Result<KnownNetwork> {
    let text: String = row.get(0)?;
    Ok(KnownNetwork {
        network: Network::parse(&text).ok_or_else(|| unreadable(0))?,
        first_seen_unix_seconds: unsigned(row, 1)?,
        seen_unix_seconds: unsigned(row, 2)?,
    })
}

impl SightingTables for Connection {
    fn last_told(&self, subject: &str, kind: ChangeKind) -> Result<Option<u64>, Failure> {
        let sql = "SELECT at_unix_millis FROM log WHERE subject = ?1 AND kind = ?2 ORDER BY seq DESC LIMIT 1";
        let mut statement = self.prepare_cached(sql)?;
        Ok(statement.query_row([subject, kind.name()], |row| unsigned(row, 0)).optional()?)
    }

    fn networks_of(&self, family: &str) -> Result<Vec<KnownNetwork>, Failure> {
        let sql = "SELECT network, first_seen, seen FROM known_network WHERE family = ?1 ORDER BY network";
        Ok(self.prepare_cached(sql)?.query_map([family], network)?.collect::<Result<_, _>>()?)
    }

    fn put_network(&self, family: &str, known: &KnownNetwork) -> Result<(), Failure> {
        let sql = "INSERT INTO known_network VALUES (?1, ?2, ?3, ?4) \
                   ON CONFLICT (family, network) DO UPDATE SET seen = ?4";
        let (first, seen) = (known.first_seen_unix_seconds, known.seen_unix_seconds);
        self.prepare_cached(sql)?.execute(params![
            family,
            known.network.to_string(),
            signed(first),
            signed(seen)
        ])?;
        Ok(())
    }

    fn delete_network(&self, family: &str, network: &Network) -> Result<(), Failure> {
        self.prepare_cached("DELETE FROM known_network WHERE family = ?1 AND network = ?2")?
            .execute([family, &network.to_string()])?;
        Ok(())
    }
}

impl Sightings for SqliteStore {
    fn decoys_used(&self, act: Act<'_>, uses: &[DecoyUses]) -> Result<Vec<DecoyTold>, Error> {
        self.write(act, |writing| uses.iter().map(|uses| writing.decoy_used(uses)).collect())
    }

    fn note_networks(
        &self,
        act: Act<'_>,
        sightings: &[Sighting],
        learning_seconds: u64,
    ) -> Result<Vec<NetworkNoted>, Error> {
        let known = self.read(|on| {
            let sql = "SELECT k.network, k.first_seen, k.seen FROM token t JOIN known_network k \
                       ON k.family = t.family AND k.network = ?2 WHERE t.id = ?1";
            let mut statement = on.prepare_cached(sql)?;
            let mut is_known = |sighting: &Sighting| {
                let text = sighting.network().to_string();
                let found = statement.query_row([&sighting.token_id, &text], network).optional()?;
                Ok(found.is_some_and(|found| !found.is_stale(act.now.unix_seconds())))
            };
            sightings.iter().map(&mut is_known).collect::<Result<Vec<bool>, Failure>>()
        })?;
        if known.iter().all(|is_known| *is_known) {
            return Ok(vec![NetworkNoted::Known; known.len()]);
        }
        self.write(act, |writing| writing.note_networks(sightings, &known, learning_seconds))
    }

    fn known_networks(&self, token_id: &str) -> Result<Vec<KnownNetwork>, Error> {
        self.read(|on| {
            let token = rows::token_by_id(on, token_id)?;
            let token = token.ok_or_else(|| Error::TokenUnknown(token_id.to_owned()))?;
            on.networks_of(&token.record.family)
        })
    }
}
