//! The tokens room.
