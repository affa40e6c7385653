//! Where the state of limits is kept over a restart.

use std::io;
use std::sync::Arc;

use super::node::Node;
use crate::clock::Now;
use crate::config::Config;
use crate::limits::{Counters, Saver};
use crate::tokens::Mint;

/// Derives the key of the file from the peppers, so that another installation's file is known.
const FILE: &[u8] = b"tollgate: file of saved limits";

/// The counters that an earlier process saved, or new ones.
pub(super) fn counters(config: &Config, mint: &Mint, secret: [u8; 32], now: Now) -> Arc<Counters> {
    let Some(file) = &config.limits_saving.file else { return Counters::new(secret) };
    let keys: Vec<[u8; 32]> = mint.peppers().derive_each(FILE).collect();
    let counters = Counters::restored(file, &keys, secret, config.limits.max_cells(), now);
    counters.changed(now);
    counters
}

/// Starts the thread that saves them.
pub(super) fn save_every(config: &Config, node: &Node) -> io::Result<Option<Saver>> {
    let saving = &config.limits_saving;
    let Some(file) = saving.file.clone() else { return Ok(None) };
    let key = node.mint.peppers().derive(FILE);
    node.counters.save_every(node.clock.clone(), file, key, saving.every).map(Some)
}
