//! The queue of revocations, oldest first. Bounded by whoever puts something in.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::{Reach, Revoked};
use crate::domain::TokenId;
use crate::tokens::{Error, JwtRevocation, Store};

/// Writes a revocation; may be called again after it failed, and after it succeeded.
pub(super) type Write = dyn Fn(&dyn Store) -> Result<(), Error> + Send + Sync;

/// Revocations with numbers that are never given again.
#[derive(Default)]
pub(super) struct Queue {
    all: VecDeque<Waiting>,
    /// Numbers by what they take out of force.
    numbers: HashMap<String, u64>,
    /// Of which relatives are to be looked for.
    unsearched: Vec<u64>,
    last_number: u64,
}

/// One revocation.
pub(super) struct Waiting {
    number: u64,
    pub(super) revoked: Revoked,
    write: Arc<Write>,
    /// Somebody is writing it for the first time, so nobody else need try.
    is_at_work: bool,
    /// Others of its family that end with it; [`None`] until they were looked for.
    pub(super) relatives: Option<Vec<TokenId>>,
}

impl Queue {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// How many the store has failed to write.
    pub(super) fn waiting(&self) -> usize {
        self.all.iter().filter(|one| !one.is_at_work).count()
    }

    /// The number of a revocation of the same that waits.
    pub(super) fn of(&self, revoked: &Revoked) -> Option<u64> {
        self.numbers.get(&revoked.key()).copied()
    }

    pub(super) fn push(&mut self, revoked: Revoked, write: Arc<Write>) -> u64 {
        self.last_number += 1;
        let number = self.last_number;
        self.numbers.insert(revoked.key(), number);
        self.all.push_back(Waiting { number, revoked, write, is_at_work: true, relatives: None });
        number
    }

    /// Has one wait for its turn to be written.
    pub(super) fn wait(&mut self, number: u64) {
        let Some(one) = self.get_mut(number) else { return };
        one.is_at_work = false;
        if one.relatives.is_none() {
            self.unsearched.push(number);
        }
    }

    /// Up to `count` that wait, the oldest first.
    pub(super) fn due(&self, count: usize) -> Vec<(u64, Arc<Write>)> {
        let waiting = self.all.iter().filter(|one| !one.is_at_work).take(count);
        waiting.map(|one| (one.number, Arc::clone(&one.write))).collect()
    }

    /// Whether it waits and its relatives are still to be told.
    pub(super) fn lacks_relatives(&mut self, number: u64) -> bool {
        self.get_mut(number).is_some_and(|one| one.relatives.is_none())
    }

    fn get_mut(&mut self, number: u64) -> Option<&mut Waiting> {
        let place = self.all.binary_search_by_key(&number, |one| one.number).ok()?;
        self.all.get_mut(place)
    }

    pub(super) fn remove(&mut self, numbers: &[u64]) -> Vec<Waiting> {
        let mut gone = Vec::new();
        for number in numbers {
            if let Ok(place) = self.all.binary_search_by_key(number, |one| one.number) {
                gone.extend(self.all.remove(place));
            }
        }
        for one in &gone {
            self.numbers.remove(&one.revoked.key());
        }
        gone
    }

    pub(super) fn jwts(&self) -> impl Iterator<Item = &JwtRevocation> {
        self.all.iter().filter_map(|one| match &one.revoked {
            Revoked::Jwts(revocation) => Some(revocation),
            Revoked::Token { .. } | Revoked::Operator(_) | Revoked::Workspace(_) => None,
        })
    }

    /// Tokens that wait and whose relatives were not looked for, each told once.
    pub(super) fn take_unsearched(&mut self) -> Vec<(u64, TokenId, Reach)> {
        let mut numbers = std::mem::take(&mut self.unsearched);
        numbers.sort_unstable();
        numbers.dedup();
        let token = |number| match &self.get_mut(number)?.revoked {
            Revoked::Token { id, reach } => Some((number, id.clone(), *reach)),
            Revoked::Jwts(_) | Revoked::Operator(_) | Revoked::Workspace(_) => None,
        };
        numbers.into_iter().filter_map(token).collect()
    }

    pub(super) fn set_relatives(&mut self, number: u64, relatives: Vec<TokenId>) {
        if let Some(one) = self.get_mut(number) {
            one.relatives = Some(relatives);
        }
    }
}
