//! X.509: certificates and requests for them, read and made, the way from one to a trusted one, and whether one was revoked;
//! revocation lists and OCSP replies are made here too. <https://www.rfc-editor.org/rfc/rfc5280>
//!
//! What comes in is hostile: everything is read strictly and whole, nothing panics, and what is not understood is refused.

mod certificate;
mod chain;
mod crl;
mod der;
mod extensions;
mod issue;
mod list;
mod ocsp;
mod oid;
mod request;
mod responder;
mod signature;
mod subject;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

mod write;

#[cfg(test)]
mod tests;

pub use certificate::{Certificate, Extension, extension_text};
pub use chain::{Untrusted, check_pinned, client_path};
pub use crl::RevocationList;
pub use der::Malformed;
pub use extensions::{AddressRange, BasicConstraints, Extensions, KeyUses, NameConstraints, Names, Policy, Subtrees};
pub use issue::{Draft, PemBlock, key_id, pem, pem_blocks};
pub use list::{Entry, ListParams, Reason};
pub use ocsp::{NoAnswer, Question, Status};
pub use oid::Oid;
pub use request::{Request, request};
pub use responder::{CertificateId, OcspAnswer, OcspError, OcspRequest, Said};
pub use signature::SignatureAlgorithm;
pub use subject::Subject;
pub use write::LAST_SECOND;
