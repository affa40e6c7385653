//! A value that cannot be formatted, so that it cannot reach a log, an error or a panic message.

use std::fmt;

/// Holds a secret text or key. `Debug` prints a fixed word and there is no `Display`; the only way to the
/// value is [`Secret::expose`], which is easy to search for in a review.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret<T>(T);

impl<T> Secret<T> {
    /// Wraps a value; from here on it is not printable.
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    /// The value itself. Every caller of this is a place where the secret may leave.
    pub const fn expose(&self) -> &T {
        &self.0
    }

    /// The value, given up by its wrapper.
    pub fn into_exposed(self) -> T {
        self.0
    }
}

impl<T> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

impl<'de, T: serde::Deserialize<'de>> serde::Deserialize<'de> for Secret<T> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(deserializer).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_never_prints_its_value() {
        let secret = Secret::new("hunter2".to_owned());
        assert_eq!(format!("{secret:?}"), "[secret]");
        assert_eq!(secret.expose(), "hunter2");
    }
}
