//! Why a key service gave no key.

use std::fmt;

pub type Result<T, E = Fault> = std::result::Result<T, E>;

/// Whose fault it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// What was asked is malformed: a key's name, a wrapped key.
    Input,
    /// Ours to set right: credentials, files, variables.
    Setup,
    /// No answer.
    Unreachable,
    /// The service answered, with a refusal.
    Refused,
    /// The service answered with what is no answer.
    Protocol,
}

/// One failure. Neither field holds a secret: what services say is shortened and cleaned of what was sent to them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub kind: FaultKind,
    /// What was wrong, with the service's name.
    pub text: String,
    /// What would help, in a sentence of its own.
    pub hint: Option<String>,
}

impl Fault {
    fn new(kind: FaultKind, text: impl Into<String>) -> Self {
        Self { kind, text: text.into(), hint: None }
    }

    pub(crate) fn input(text: impl Into<String>) -> Self {
        Self::new(FaultKind::Input, text)
    }

    pub(crate) fn setup(text: impl Into<String>) -> Self {
        Self::new(FaultKind::Setup, text)
    }

    pub(crate) fn unreachable(text: impl Into<String>) -> Self {
        Self::new(FaultKind::Unreachable, text)
    }

    pub(crate) fn refused(text: impl Into<String>) -> Self {
        Self::new(FaultKind::Refused, text)
    }

    pub(crate) fn protocol(text: impl Into<String>) -> Self {
        Self::new(FaultKind::Protocol, text)
    }

    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)?;
        if let Some(hint) = &self.hint {
            write!(f, ". {hint}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Fault {}
