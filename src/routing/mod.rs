//! The routing room.
