//! The limits room.
