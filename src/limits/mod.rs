//! stub
/// stub
pub struct Admission<'r>(pub &'r ());
