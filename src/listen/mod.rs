//! The listen room.
