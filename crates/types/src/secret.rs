//! Secrets are born boxed, wiped on drop, and can't be printed.

use std::fmt;
use zeroize::{Zeroize, Zeroizing};

/// A value that must not be seen. It lives in one heap box from birth (moving the `Secret` moves a
/// pointer, so no copy stays behind on a stack), is wiped when dropped, and has no `Debug`, `Display`
/// or `Serialize` that would show it. `clone` is deliberate: call [`Secret::duplicate`].
pub struct Secret<T: Zeroize>(Box<T>);

impl<T: Zeroize> Secret<T> {
    pub fn new(value: T) -> Self {
        Self(Box::new(value))
    }

    /// The one way to the value; grep for it to see who looks.
    pub fn expose(&self) -> &T {
        &self.0
    }

    pub fn expose_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

impl<T: Zeroize + Default> Secret<T> {
    /// Fills the value in place, so that it never stands anywhere else.
    pub fn init_with(fill: impl FnOnce(&mut T)) -> Self {
        let mut boxed = Box::<T>::default();
        fill(&mut boxed);
        Self(boxed)
    }
}

impl<T: Zeroize + Clone> Secret<T> {
    pub fn duplicate(&self) -> Self {
        Self(self.0.clone())
    }
}

impl From<&str> for Secret<String> {
    fn from(text: &str) -> Self {
        Self::new(text.to_owned())
    }
}

impl From<String> for Secret<String> {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

impl<T: Zeroize> Drop for Secret<T> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl<T: Zeroize> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Bytes that are wiped on drop: plaintext on its way between rooms.
pub type Bytes = Zeroizing<Vec<u8>>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_nothing() {
        let secret = Secret::from("canary-7f3a");
        assert_eq!(format!("{secret:?} {:?}", Some(&secret)), "Secret(..) Some(Secret(..))");
    }
}
