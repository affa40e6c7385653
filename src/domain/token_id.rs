//! The public name of a credential.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;

use arrayvec::ArrayString;

/// The longest name that is held in place; a token's id has 20 bytes.
const INLINE_BYTES: usize = 22;

/// A credential's public name: a token's id, or a JWT's client. Never the credential itself.
///
/// A token's id is held in place, so that a request neither allocates for it nor counts references to it.
#[derive(Clone)]
pub struct TokenId(Held);

#[derive(Clone)]
enum Held {
    Inline(ArrayString<INLINE_BYTES>),
    Shared(Arc<str>),
}

impl Deref for TokenId {
    type Target = str;

    fn deref(&self) -> &str {
        match &self.0 {
            Held::Inline(text) => text,
            Held::Shared(text) => text,
        }
    }
}

impl From<&str> for TokenId {
    fn from(text: &str) -> Self {
        Self(ArrayString::from(text).map_or_else(|_| Held::Shared(text.into()), Held::Inline))
    }
}

impl From<&Arc<str>> for TokenId {
    fn from(text: &Arc<str>) -> Self {
        Self(Held::Shared(Arc::clone(text)))
    }
}

impl PartialEq for TokenId {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for TokenId {}

impl Hash for TokenId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (**self).hash(state);
    }
}

impl std::borrow::Borrow<str> for TokenId {
    fn borrow(&self) -> &str {
        self
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl fmt::Debug for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_any_length_are_the_same_however_they_are_held() {
        for length in [0, 1, 20, 22, 23, 200] {
            let text = "é".repeat(length / 2) + &"x".repeat(length % 2);
            let (inline, shared) = (TokenId::from(&*text), TokenId::from(&Arc::from(&*text)));
            assert_eq!(&*inline, text);
            assert_eq!(inline, shared);
            assert_eq!(format!("{inline} {inline:?}"), format!("{text} {text:?}"));
        }
        assert!(size_of::<TokenId>() <= 32);
    }
}
