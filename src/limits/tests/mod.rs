//! The room's promises, each refused way first. The clock is moved by hand; nothing sleeps.

mod all_or_nothing;
mod bounds;
mod calendar;
mod costs;
mod fleet;
mod counted_by;
mod foresee;
mod headers;
mod memory;
mod oracle;
mod overflow;
mod overrides;
mod reload;
mod saved;
mod settings;
mod standing;
mod store_faults;
mod world;
