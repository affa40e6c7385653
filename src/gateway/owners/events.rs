//! What became of a token and what it did, as one list: the audit trail and the journal, the latest first.

use std::fmt;

use crate::gateway::refuse_change::for_owner;
use crate::journal::{Journal, Kept, Place, Question, Which};
use crate::reply::Refusal;
use crate::tokens::TokenRecord;
use crate::tokens::store::{LogEntry, Store};

/// One of both.
#[derive(Debug)]
pub(super) enum Event {
    /// An entry of the audit trail.
    Change(LogEntry),
    /// An entry of the journal.
    Request(Kept),
}

/// Up to where both were shown. Each keeps an order of its own, so that nothing is left out or shown twice where the
/// clocks of several gateways disagree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Position {
    seq: Option<u64>,
    place: Option<Place>,
}

impl Position {
    /// The empty text is the beginning.
    pub(super) fn read(text: &str) -> Option<Self> {
        if text.is_empty() {
            return Some(Self::default());
        }
        let mut numbers = text.split('.').map(|part| match part {
            "" => Some(None),
            digits => digits.parse::<u64>().ok().map(Some),
        });
        let (seq, at, number) = (numbers.next()??, numbers.next()??, numbers.next()??);
        let place = match (at, number) {
            (Some(at_unix_millis), Some(number)) => Some(Place { at_unix_millis, number }),
            (None, None) => None,
            _ => return None,
        };
        numbers.next().is_none().then_some(Self { seq, place })
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |number: Option<u64>| number.map(|number| number.to_string()).unwrap_or_default();
        let (at, number) = self.place.map(|place| (place.at_unix_millis, place.number)).unzip();
        write!(f, "{}.{}.{}", text(self.seq), text(at), text(number))
    }
}

/// Up to `count` events about a token from a position on, and where the next page begins if there is one.
pub(super) fn page(
    store: &dyn Store,
    journal: Option<&dyn Journal>,
    token: &TokenRecord,
    from: Position,
    count: u32,
) -> Result<(Vec<Event>, Option<Position>), Refusal> {
    let changes = store.log_of(&[&token.id, &token.family], from.seq.unwrap_or(u64::MAX), count + 1);
    let changes = changes.map_err(|error| for_owner(&error))?;
    let question = Question {
        token_id: &token.id,
        which: Which::All,
        from_unix_millis: 0,
        before_unix_millis: u64::MAX,
        after: from.place,
        count: count + 1,
    };
    let requests = journal.map_or(Ok(Vec::new()), |journal| journal.entries(&question));
    let requests = requests.map_err(|error| {
        tracing::error!(%error, "what a token did cannot be shown");
        Refusal::RegistryUnavailable
    })?;
    let (mut changes, mut requests) = (changes.into_iter().peekable(), requests.into_iter().peekable());
    let (mut events, mut reached) = (Vec::new(), from);
    while events.len() < count as usize {
        let at = |change: &LogEntry| change.at_unix_millis;
        let is_change = match (changes.peek(), requests.peek()) {
            (Some(change), Some(request)) => at(change) >= request.entry.at_unix_millis,
            (Some(_), None) => true,
            (None, _) => false,
        };
        if is_change && let Some(change) = changes.next() {
            reached.seq = Some(change.seq);
            events.push(Event::Change(change));
        } else if let Some(request) = requests.next() {
            reached.place = Some(request.place());
            events.push(Event::Request(request));
        } else {
            return Ok((events, None));
        }
    }
    let goes_on = changes.peek().is_some() || requests.peek().is_some();
    Ok((events, goes_on.then_some(reached)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_read_as_it_is_written() {
        let place = Place { at_unix_millis: 7, number: 8 };
        for position in [
            Position::default(),
            Position { seq: Some(1), place: None },
            Position { seq: None, place: Some(place) },
            Position { seq: Some(9), place: Some(place) },
        ] {
            assert_eq!(Position::read(&position.to_string()), Some(position));
        }
        assert_eq!(Position::read(""), Some(Position::default()));
        for text in ["1", "1.2", "1.2.", "1..2", "a..", "1.2.3.4", "-1.."] {
            assert_eq!(Position::read(text), None, "{text}");
        }
    }
}
