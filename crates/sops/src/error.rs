//! What goes wrong, whose fault it is, and the exit code that sops gives it.

use std::fmt;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, as coarse as sops' exit codes tell it apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Anything without a code of its own.
    Generic,
    /// The input can't be read: no such form, no metadata.
    Reading,
    /// The output can't be written.
    Writing,
    /// The tree can't be expressed in the output's format.
    Dumping,
    /// An AWS encryption context that is no list of `key:value`.
    KmsContext,
    /// The index or the value of `set` is malformed.
    SetFormat,
    /// Parameters that exclude one another, or of which one is missing.
    Conflict,
    /// The MAC could not be made.
    EncryptingMac,
    /// The tree could not be encrypted.
    Encrypting,
    /// The tree could not be decrypted.
    Decrypting,
    /// Keys of a file that isn't there.
    NoFileToChange,
    /// The MAC differs from the content, or can't be decrypted.
    MacMismatch,
    /// A tree path that is no path.
    TreePath,
    /// A file without any document.
    NoDocument,
    /// No file was named, or it isn't there.
    NoFile,
    /// A decryption order that names a type twice.
    DuplicateKeyType,
    /// No master key gave the data key.
    NoDataKey,
    /// The editor left the file as it was.
    Unmodified,
    /// There is no editor, or it failed.
    NoEditor,
    /// Two versions can't be compared.
    VersionCompare,
    /// The file holds metadata already.
    AlreadyEncrypted,
}

impl Fault {
    /// sops' exit code.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Generic => 1,
            Self::Reading => 2,
            Self::Writing => 3,
            Self::Dumping => 4,
            Self::KmsContext => 6,
            Self::SetFormat => 7,
            Self::Conflict => 8,
            Self::EncryptingMac => 21,
            Self::Encrypting => 23,
            Self::Decrypting => 25,
            Self::NoFileToChange => 49,
            Self::MacMismatch => 51,
            Self::TreePath => 91,
            Self::NoDocument => 92,
            Self::NoFile => 100,
            Self::DuplicateKeyType => 112,
            Self::NoDataKey => 128,
            Self::Unmodified => 200,
            Self::NoEditor => 201,
            Self::VersionCompare => 202,
            Self::AlreadyEncrypted => 203,
        }
    }
}

/// A fault with what a person needs to mend it: file, line, what is wrong and what to do. Never holds a secret: values are
/// named by their path and line, not shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    pub fault: Fault,
    /// What is wrong and what would be right, in one or a few lines.
    pub message: String,
    /// The file, where it is known. Libraries leave it out; the command line fills it in.
    pub file: Option<String>,
    /// The line, from 1.
    pub line: Option<u32>,
}

impl Error {
    pub fn new(fault: Fault, message: impl Into<String>) -> Self {
        Self { fault, message: message.into(), file: None, line: None }
    }

    pub fn generic(message: impl Into<String>) -> Self {
        Self::new(Fault::Generic, message)
    }

    /// Input that can't be read, at a line from 1; 0 is no line.
    pub fn reading(line: u32, message: impl Into<String>) -> Self {
        Self::new(Fault::Reading, message).at(line)
    }

    pub fn dumping(message: impl Into<String>) -> Self {
        Self::new(Fault::Dumping, message)
    }

    /// The line that it is about, unless it is 0 or one is known already.
    #[must_use]
    pub fn at(mut self, line: u32) -> Self {
        if self.line.is_none() && line > 0 {
            self.line = Some(line);
        }
        self
    }

    /// The file that it is about, unless one is known already.
    #[must_use]
    pub fn of(mut self, file: &str) -> Self {
        self.file.get_or_insert_with(|| file.to_owned());
        self
    }

    /// The same under another fault: what was a fault of the input can be one of the walk.
    #[must_use]
    pub fn as_fault(mut self, fault: Fault) -> Self {
        self.fault = fault;
        self
    }

    pub const fn exit_code(&self) -> u8 {
        self.fault.exit_code()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.file, self.line) {
            (Some(file), Some(line)) => write!(f, "{file}:{line}: ")?,
            (Some(file), None) => write!(f, "{file}: ")?,
            (None, Some(line)) => write!(f, "line {line}: ")?,
            (None, None) => {}
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_place_that_is_known_stays() {
        let error = Error::reading(3, "no value").at(9).of("a.yaml").of("b.yaml");
        assert_eq!((error.to_string().as_str(), error.exit_code()), ("a.yaml:3: no value", 2));
        assert_eq!(Error::reading(0, "empty").to_string(), "empty");
    }
}
