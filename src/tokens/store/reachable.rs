//! A store that may be away when it is opened. Part of [`super::Store`].

use crate::tokens::Error;

/// Coming to a store late. Nothing is to be done for one that was there when it was opened.
pub trait Reachable {
    /// Gets the store ready to be read. Reading does it by itself.
    fn reach(&self) -> Result<(), Error> {
        Ok(())
    }

    /// Lets the store be changed: it was found to be the right one.
    fn admit_changes(&self) {}
}
