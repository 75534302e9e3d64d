//! X.509: certificates, the way from one to a trusted one, and whether one was revoked. <https://www.rfc-editor.org/rfc/rfc5280>
//!
//! What comes in is hostile: everything is read strictly and whole, nothing panics, and what is not understood is refused.

mod certificate;
mod chain;
mod crl;
mod der;
mod ocsp;
mod signature;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

#[cfg(test)]
mod tests;

pub use certificate::{Certificate, Extension, Names, extension_text};
pub use chain::{Untrusted, check_pinned, client_path};
pub use crl::RevocationList;
pub use der::Malformed;
pub use ocsp::{NoAnswer, Question, Status};
