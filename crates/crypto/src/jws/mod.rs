//! Signed JSON web tokens, compact form (RFC 7515, 7518, 7519, 8037): one reader and one writer for all who need them; and the
//! flattened form as ACME has it ([`Flat`]).
//!
//! What is absent: `none`, every HMAC (so a public key can never be taken for a shared one), unprotected headers, more than
//! one signature, `crit`, detached and unencoded payloads. The algorithm must fit the key's kind and curve; the caller says which
//! algorithms it takes at all. Claims come only out of [`verify`]: there is no way to read them of a token that was not verified,
//! but for [`peek`], whose type says so.

mod algorithm;
mod flat;
mod keys;
mod sign;
mod token;

pub use algorithm::Algorithm;
pub use flat::Flat;
pub use keys::{BadKey, KeySet, MAX_KEYS, PublicKey};
pub use sign::{SignError, Signer};
pub use token::{Header, MAX_TOKEN_BYTES, Refused, Unverified, Verified, peek, verify};
