//! Networks that tokens were seen from, as rows.

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::failure::unreadable;
use super::pool::Session;
use super::{PostgresStore, rows};
use crate::domain::Network;
use crate::tokens::Error;
use crate::tokens::store::columns::signed;
use crate::tokens::store::failure::Failure;
use crate::tokens::store::sightings::{
    DecoyTold, DecoyUses, KnownNetwork, NetworkNoted, Sighting, Sightings,
};
use crate::tokens::store::writing::{SightingTables, Tables as _};
use crate::tokens::store::{Act, ChangeKind};

pub(super) const TABLE: &str = r#"
CREATE TABLE tollgate.known_network (
    family TEXT COLLATE "C" NOT NULL,
    network TEXT COLLATE "C" NOT NULL,
    first_seen BIGINT NOT NULL,
    seen BIGINT NOT NULL,
    PRIMARY KEY (family, network)
) WITH (fillfactor = 90);
"#;

fn network(row: &Row) -> Result<KnownNetwork, Failure> {
    Ok(KnownNetwork {
        network: Network::parse(row.try_get(0)?).ok_or_else(|| unreadable(0))?,
        first_seen_unix_seconds: rows::unsigned(row, 1)?,
        seen_unix_seconds: rows::unsigned(row, 2)?,
    })
}

/// Which of these are known and need no note, in their order.
fn known(on: &Session<'_>, sightings: &[Sighting], unix_seconds: u64) -> Result<Vec<bool>, Failure> {
    let ids: Vec<&str> = sightings.iter().map(|sighting| &*sighting.token_id).collect();
    let networks: Vec<String> = sightings.iter().map(|sighting| sighting.network().to_string()).collect();
    let sql = "SELECT k.network, k.first_seen, k.seen, v.place \
               FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS v (id, network, place) \
               JOIN tollgate.token t ON t.id = v.id \
               JOIN tollgate.known_network k ON k.family = t.family AND k.network = v.network";
    let mut known = vec![false; sightings.len()];
    for row in on.query(sql, &[(&ids, Type::TEXT_ARRAY), (&networks, Type::TEXT_ARRAY)])? {
        let place = usize::try_from(rows::unsigned(&row, 3)?).map_err(|_| unreadable(3))?;
        if let Some(is_known) = place.checked_sub(1).and_then(|place| known.get_mut(place)) {
            *is_known = !network(&row)?.is_stale(unix_seconds);
        }
    }
    Ok(known)
}

impl SightingTables for Session<'_> {
    fn last_told(&self, subject: &str, kind: ChangeKind) -> Result<Option<u64>, Failure> {
        let sql = "SELECT at_unix_millis FROM tollgate.log WHERE subject = $1 AND kind = $2 \
                   ORDER BY seq DESC LIMIT 1";
        let row = self.query_opt(sql, &[(&subject, Type::TEXT), (&kind.name(), Type::TEXT)])?;
        row.map(|row| rows::unsigned(&row, 0)).transpose()
    }

    fn networks_of(&self, family: &str) -> Result<Vec<KnownNetwork>, Failure> {
        let sql = "SELECT network, first_seen, seen FROM tollgate.known_network WHERE family = $1 \
                   ORDER BY network";
        self.query(sql, &[(&family, Type::TEXT)])?.iter().map(network).collect()
    }

    fn put_network(&self, family: &str, known: &KnownNetwork) -> Result<(), Failure> {
        let sql = "INSERT INTO tollgate.known_network VALUES ($1, $2, $3, $4) \
                   ON CONFLICT (family, network) DO UPDATE SET seen = $4";
        self.execute(
            sql,
            &[
                (&family, Type::TEXT),
                (&known.network.to_string(), Type::TEXT),
                (&signed(known.first_seen_unix_seconds), Type::INT8),
                (&signed(known.seen_unix_seconds), Type::INT8),
            ],
        )?;
        Ok(())
    }

    fn delete_network(&self, family: &str, network: &Network) -> Result<(), Failure> {
        let sql = "DELETE FROM tollgate.known_network WHERE family = $1 AND network = $2";
        self.execute(sql, &[(&family, Type::TEXT), (&network.to_string(), Type::TEXT)])?;
        Ok(())
    }
}

impl Sightings for PostgresStore {
    fn decoys_used(&self, act: Act<'_>, uses: &[DecoyUses]) -> Result<Vec<DecoyTold>, Error> {
        self.write(act, |writing| uses.iter().map(|uses| writing.decoy_used(uses)).collect())
    }

    fn note_networks(
        &self,
        act: Act<'_>,
        sightings: &[Sighting],
        learning_seconds: u64,
    ) -> Result<Vec<NetworkNoted>, Error> {
        let known = self.read(|on| known(on, sightings, act.now.unix_seconds()))?;
        if known.iter().all(|is_known| *is_known) {
            return Ok(vec![NetworkNoted::Known; known.len()]);
        }
        self.write(act, |writing| writing.note_networks(sightings, &known, learning_seconds))
    }

    fn known_networks(&self, token_id: &str) -> Result<Vec<KnownNetwork>, Error> {
        self.read(|on| {
            let token = on.token(token_id)?.ok_or_else(|| Error::TokenUnknown(token_id.to_owned()))?;
            on.networks_of(&token.record.family)
        })
    }
}
