//! A database that was away when it was opened.

use std::sync::atomic::Ordering;

use super::PostgresStore;
use super::pool::Begin;
use super::schema;
use crate::tokens::Error;
use crate::tokens::store::reachable::Reachable;

impl PostgresStore {
    pub(super) fn bring_up_to_date(&self) -> Result<(), Error> {
        let Some(writers) = &self.writers else { return Ok(()) };
        self.in_transaction(writers, Begin::Schema, |session| schema::bring_up_to_date(session, &self.place))
    }
}

impl Reachable for PostgresStore {
    fn reach(&self) -> Result<(), Error> {
        if self.is_reached.load(Ordering::Acquire) {
            return Ok(());
        }
        let found = self.read_now(|session| schema::found(session, &self.place))?;
        if found == 0 {
            return Err(Error::Store {
                place: self.place.clone(),
                source: "it has no tables of tollgate".into(),
            });
        }
        if found < schema::SCHEMA {
            self.bring_up_to_date()?;
        }
        self.is_reached.store(true, Ordering::Release);
        Ok(())
    }

    fn admit_changes(&self) {
        self.admits_changes.store(true, Ordering::Release);
    }
}
