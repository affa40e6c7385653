//! Room for the bytes of alerts until it is known whether they are GitHub's.
//!
//! Anybody may send an alert, and the ids of GitHub's keys are public. So that nobody keeps GitHub's alert out, an
//! address from which none of GitHub's ever came gets room for one alert, and all such addresses together leave a part
//! to those from which one came. The first bytes of each alert, and mostly that is all of it, have a room of their own, of
//! which an address gets a small share: to keep a short alert of a new address of GitHub's out takes hundreds of addresses.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The bytes of alerts that are held at once, in KiB.
const MOST_KIB: usize = 64 * 1024;
/// What of it strangers take together at most.
const MOST_OF_STRANGERS_KIB: usize = 48 * 1024;
/// What of the first bytes of alerts is held at once beside that.
const MOST_OF_FIRST_KIB: usize = 16 * 1024;
/// How much of that one address gets: some hundred tokens.
const FIRST_KIB: usize = 64;
/// The addresses that are remembered because an alert of GitHub's came from them, the last ones.
const MOST_PROVEN: usize = 1_024;

/// Who holds how much.
#[derive(Debug, Default)]
pub(super) struct Room(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    taken_kib: usize,
    of_strangers_kib: usize,
    strangers: HashMap<IpAddr, usize>,
    /// What each address holds of the room for first bytes.
    first: HashMap<IpAddr, usize>,
    first_kib: usize,
    proven: VecDeque<IpAddr>,
}

impl Room {
    /// No room yet, for an alert from an address.
    pub(super) fn enter(self: &Arc<Self>, address: IpAddr) -> Place {
        let address = network(address);
        let is_stranger = !self.state().proven.contains(&address);
        Place { room: Arc::clone(self), address, is_stranger, first_kib: 0, kib: 0 }
    }

    /// Remembers that an alert of GitHub's came from an address.
    pub(super) fn prove(&self, address: IpAddr) {
        let address = network(address);
        let mut state = self.state();
        if !state.proven.contains(&address) {
            if state.proven.len() == MOST_PROVEN {
                state.proven.pop_front();
            }
            state.proven.push_back(address);
        }
    }

    /// What all alerts hold together.
    #[cfg(test)]
    pub(super) fn held_kib(&self) -> usize {
        let state = self.state();
        state.first_kib + state.taken_kib
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// How much more of the room for first bytes an address may have.
    fn more_of_first(&self, address: IpAddr) -> usize {
        let its_own = FIRST_KIB.saturating_sub(self.first.get(&address).copied().unwrap_or(0));
        its_own.min(MOST_OF_FIRST_KIB - self.first_kib)
    }
}

/// The room that one alert takes, until this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    room: Arc<Room>,
    address: IpAddr,
    is_stranger: bool,
    /// Of the room for first bytes.
    first_kib: usize,
    kib: usize,
}

impl Place {
    /// Makes room for `bytes` in all, of at most `most_bytes`; false if there is none.
    #[must_use]
    pub(super) fn grow_to(&mut self, bytes: usize, most_bytes: usize) -> bool {
        let mut wanted = bytes.div_ceil(1024).saturating_sub(self.first_kib + self.kib);
        if wanted == 0 {
            return true;
        }
        let mut state = self.room.state();
        let of_first = state.more_of_first(self.address).min(wanted);
        if of_first > 0 {
            state.first_kib += of_first;
            *state.first.entry(self.address).or_insert(0) += of_first;
            self.first_kib += of_first;
            wanted -= of_first;
        }
        if wanted == 0 {
            return true;
        }
        if state.taken_kib + wanted > MOST_KIB {
            return false;
        }
        if self.is_stranger {
            let its_own = state.strangers.get(&self.address).copied().unwrap_or(0);
            if its_own + wanted > most_bytes.div_ceil(1024)
                || state.of_strangers_kib + wanted > MOST_OF_STRANGERS_KIB
            {
                return false;
            }
            state.of_strangers_kib += wanted;
            state.strangers.insert(self.address, its_own + wanted);
        }
        state.taken_kib += wanted;
        self.kib += wanted;
        true
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.first_kib + self.kib == 0 {
            return;
        }
        let mut state = self.room.state();
        state.first_kib -= self.first_kib;
        if let Some(its_own) = state.first.get_mut(&self.address) {
            *its_own -= self.first_kib;
            if *its_own == 0 {
                state.first.remove(&self.address);
            }
        }
        state.taken_kib -= self.kib;
        if self.is_stranger {
            state.of_strangers_kib -= self.kib;
            if let Some(its_own) = state.strangers.get_mut(&self.address) {
                *its_own -= self.kib;
                if *its_own == 0 {
                    state.strangers.remove(&self.address);
                }
            }
        }
    }
}

/// What one client has many of: an IPv6 network of /64 counts as one address.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() & !u128::from(u64::MAX)).into()),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1024 * 1024;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    fn full(room: &Arc<Room>, from: IpAddr) -> Option<Place> {
        let mut place = room.enter(from);
        place.grow_to(8 * MIB, 8 * MIB).then_some(place)
    }

    #[test]
    fn an_address_has_room_for_one_alert() {
        let room = Arc::new(Room::default());
        let first = full(&room, address(1));
        assert!(first.is_some());
        // As long as the room for its first bytes and an alert.
        assert!(full(&room, address(1)).is_none());
        let of_v6 = |last| IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, last]);
        let other = full(&room, of_v6(1));
        assert!(other.is_some() && full(&room, of_v6(2)).is_none(), "a network of /64 is one address");
        drop(first);
        assert!(full(&room, address(1)).is_some(), "it is given back");
    }

    #[test]
    fn strangers_leave_room_to_whom_an_alert_of_githubs_came_from() {
        let room = Arc::new(Room::default());
        room.prove(address(200));
        let strangers: Vec<Place> = (0..64).filter_map(|last| full(&room, address(last))).collect();
        assert_eq!(strangers.len(), 6);
        let github = [full(&room, address(200)), full(&room, address(200))];
        assert!(github.iter().all(Option::is_some));
        assert!(full(&room, address(200)).is_none(), "there is an end to all of it");
        drop((strangers, github));
        let state = room.state();
        assert_eq!((state.taken_kib, state.of_strangers_kib, state.strangers.len()), (0, 0, 0));
    }

    #[test]
    fn strangers_with_long_alerts_leave_room_for_short_ones_of_a_new_address() {
        let room = Arc::new(Room::default());
        let long: Vec<Place> = (0..64).filter_map(|last| full(&room, address(last))).collect();
        let mut short = room.enter(address(100));
        assert!(short.grow_to(FIRST_KIB * 1024, 8 * MIB), "the first bytes have a room of their own");
        assert!(!short.grow_to(MIB, 8 * MIB));
        let mut second = room.enter(address(100));
        assert!(!second.grow_to(MIB, 8 * MIB), "an address has its share of it");
        drop((long, short, second));
        let state = room.state();
        assert_eq!((state.first_kib, state.first.len(), state.taken_kib), (0, 0, 0));
    }

    #[test]
    fn only_so_many_addresses_are_remembered() {
        let room = Room::default();
        for number in 0..2 * MOST_PROVEN as u32 {
            room.prove(IpAddr::from(number.to_be_bytes()));
        }
        assert_eq!(room.state().proven.len(), MOST_PROVEN);
    }
}
