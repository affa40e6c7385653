//! What a gateway starts with: from the store, or without it from the saved registry alone.

use std::sync::Arc;

use super::{Error, Mint, Random, Registry, Rules};
use crate::clock::Now;
use crate::domain::Regions;

/// Opens the store and reads the registry.
///
/// If the store is a database that cannot be reached, and there is a good saved registry, that is what is known until
/// the database can be read; nothing is changed before. Otherwise a store that cannot be read is an error, as in
/// [`Mint::open`] and [`Registry::open_saved`]. Blocks.
pub fn open(
    rules: &Rules,
    regions: &Regions,
    random: fn() -> Box<dyn Random>,
    now: Now,
) -> Result<(Arc<Mint>, Arc<Registry>), Error> {
    let file = rules.snapshot_file.as_deref();
    let opened = Mint::open(rules, regions, random(), now)
        .and_then(|mint| Registry::open_saved(&mint, file, now).map(|registry| (Arc::new(mint), registry)));
    let away = match opened {
        Err(error) if error.is_of_the_store() => error,
        opened => return opened,
    };
    let (Some(file), Some(store)) = (file, rules.store.open_later()?) else { return Err(away) };
    let mint = Mint::open_away(rules, regions, random(), store)?;
    let Some(registry) = Registry::open_away(&mint, file, &away, now) else { return Err(away) };
    Ok((Arc::new(mint), registry))
}
