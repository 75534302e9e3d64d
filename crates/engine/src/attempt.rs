//! Logins that fail: counted by the server for each mount and name, so that nobody can guess for long.

use crate::context::{Ctx, Inner};
use coffer_types::{Error, Result, Span};
use std::sync::Arc;

/// When a mount locks a name out; see [`Ctx::attempt`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lockout {
    /// After so many failures; 0 never.
    pub threshold: u32,
    /// For so long.
    pub duration: Span,
    /// Failures further back than this no longer count.
    pub reset: Span,
}

/// A login under way: say how it ended.
#[must_use = "a login ends with `failed` or `passed`"]
pub struct Attempt {
    inner: Arc<Inner>,
    alias: String,
}

impl<E> Ctx<E> {
    /// Begins a login under the name that its alias would have, before its proof is looked at, and whether or not
    /// there is such a name: both count alike. Case and spaces around it make no other name of it.
    ///
    /// # Errors
    /// Denied where the name is locked out after too many failures.
    pub fn attempt(&self, alias: &str) -> Result<Attempt> {
        let attempt = Attempt { inner: self.inner.clone(), alias: alias.trim().to_lowercase() };
        attempt.refuse_locked()?;
        Ok(attempt)
    }
}

impl Attempt {
    /// The proof did not hold: counts it, and gives back the error to answer with.
    pub fn failed(self, error: Error) -> Error {
        self.inner.host.count_failed_login(&self.inner.mount, &self.alias);
        error
    }

    /// The proof holds: what failed before is forgotten.
    ///
    /// # Errors
    /// Denied where others that ran at the same time have used up the tries meanwhile, so that no more than the threshold
    /// of guesses tells anything.
    pub fn passed(self) -> Result<()> {
        self.refuse_locked()?;
        self.inner.host.forget_failed_logins(&self.inner.mount, &self.alias);
        Ok(())
    }

    fn refuse_locked(&self) -> Result<()> {
        if self.inner.host.is_locked_out(&self.inner.mount, &self.alias) { Err(Error::denied()) } else { Ok(()) }
    }
}
