//! Uses that somebody is told of, inside a writing transaction.

use serde_json::json;

use super::{Failure, Tables, Writing};
use crate::domain::Network;
use crate::tokens::store::ChangeKind;
use crate::tokens::store::leaks::shown_word;
use crate::tokens::store::sightings::{
    DecoyTold, DecoyUses, KnownNetwork, MOST_KNOWN_NETWORKS, NetworkNoted, QUIET_SECONDS, Sighting,
};
use crate::tokens::{Moment, TokenState};

/// The statements on networks.
pub(in crate::tokens::store) trait SightingTables {
    /// When the last entry of a kind about a subject was written, in milliseconds since 1970.
    fn last_told(&self, subject: &str, kind: ChangeKind) -> Result<Option<u64>, Failure>;

    /// The networks of a family, by network.
    fn networks_of(&self, family: &str) -> Result<Vec<KnownNetwork>, Failure>;

    /// Adds a network, or replaces when it was seen last.
    fn put_network(&self, family: &str, known: &KnownNetwork) -> Result<(), Failure>;

    fn delete_network(&self, family: &str, network: &Network) -> Result<(), Failure>;
}

const fn quiet_until(last_unix_millis: u64) -> u64 {
    (last_unix_millis / 1_000).saturating_add(QUIET_SECONDS)
}

impl<T: Tables> Writing<'_, T> {
    /// Whether the time is over in which no more is told after what was told last. What was told by a clock far ahead
    /// silences nothing.
    pub(super) fn is_over(&self, last_unix_millis: u64) -> bool {
        let (last, now) = (last_unix_millis / 1_000, self.seconds());
        quiet_until(last_unix_millis) <= now || last > now.saturating_add(QUIET_SECONDS)
    }

    pub(in crate::tokens::store) fn decoy_used(&mut self, uses: &DecoyUses) -> Result<DecoyTold, Failure> {
        let found = self.on.token(&uses.last.token_id)?.map(|stored| stored.record);
        let is_armed = |state| state == TokenState::Active;
        let Some(decoy) = found.filter(|one| one.is_decoy && is_armed(one.state_at(self.seconds()))) else {
            return Ok(DecoyTold::Unknown);
        };
        let kind = ChangeKind::DecoyUsed;
        if let Some(last) = self.on.last_told(&decoy.id, kind)?.filter(|last| !self.is_over(*last)) {
            return Ok(DecoyTold::NotBefore { unix_seconds: quiet_until(last) });
        }
        let mut body = seen(&uses.last);
        body["workspace"] = decoy.workspace.as_str().into();
        body["name"] = decoy.name.into();
        body["count"] = uses.count.into();
        body["first_at"] = json!(Moment(uses.first_at_unix_seconds));
        self.append(kind, &decoy.id, &body);
        self.enqueue_with_operator(&decoy.workspace)?;
        Ok(DecoyTold::Told)
    }

    /// Notes those of which it is not known already that they are nothing new.
    pub(in crate::tokens::store) fn note_networks(
        &mut self,
        sightings: &[Sighting],
        known: &[bool],
        learning_seconds: u64,
    ) -> Result<Vec<NetworkNoted>, Failure> {
        let note = |(sighting, is_known): (&Sighting, &bool)| {
            if *is_known { Ok(NetworkNoted::Known) } else { self.note_network(sighting, learning_seconds) }
        };
        sightings.iter().zip(known).map(note).collect()
    }

    fn note_network(&mut self, sighting: &Sighting, learning_seconds: u64) -> Result<NetworkNoted, Failure> {
        let Some(token) = self.on.token(&sighting.token_id)?.map(|stored| stored.record) else {
            return Ok(NetworkNoted::Unknown);
        };
        let (now, network) = (self.seconds(), sighting.network());
        let known = self.on.networks_of(&token.family)?;
        if let Some(found) = known.iter().find(|one| one.network == network) {
            if found.is_stale(now) {
                self.on.put_network(&token.family, &KnownNetwork { seen_unix_seconds: now, ..*found })?;
            }
            return Ok(NetworkNoted::Known);
        }
        if known.len() >= MOST_KNOWN_NETWORKS {
            let Some(old) = known.iter().find(|one| one.is_forgotten(now)) else {
                return Ok(NetworkNoted::Roaming);
            };
            self.on.delete_network(&token.family, &old.network)?;
        }
        let new = KnownNetwork { network, first_seen_unix_seconds: now, seen_unix_seconds: now };
        self.on.put_network(&token.family, &new)?;
        let first = known.iter().map(|one| one.first_seen_unix_seconds).min();
        if first.is_none_or(|first| now < first.saturating_add(learning_seconds)) {
            return Ok(NetworkNoted::Learnt);
        }
        let kind = ChangeKind::TokenNewNetwork;
        let last = self.on.last_told(&token.id, kind)?;
        let mut body = seen(sighting);
        body["workspace"] = token.workspace.as_str().into();
        body["name"] = token.name.into();
        body["network"] = json!(network);
        body["known"] = json!(known.iter().map(|one| one.network).collect::<Vec<_>>());
        self.append(kind, &token.id, &body);
        if last.is_none_or(|last| self.is_over(last)) {
            self.enqueue(&token.workspace)?;
        }
        Ok(NetworkNoted::Told)
    }
}

fn seen(sighting: &Sighting) -> serde_json::Value {
    json!({"address": sighting.address.to_canonical(), "user_agent": shown_word(&sighting.user_agent),
           "request_id": shown_word(&sighting.request_id), "at": Moment(sighting.at_unix_seconds)})
}
