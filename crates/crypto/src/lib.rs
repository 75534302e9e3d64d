//! The one room that links a cryptography library.
//!
//! Everything that needs a cipher, a digest, a signature or a random byte asks here, so that one page of reading answers
//! which algorithms Coffer uses, and one crate changes when the library does. The clock is never read, and randomness is an
//! argument ([`random::Random`]), so that a test can replay any run.

pub mod aead;
pub mod cipher;
pub mod digest;
pub mod jws;
pub mod jwt;
pub mod kdf;
pub mod key_wrap;
pub mod login;
pub mod mac;
pub mod md5;
pub mod memory;
pub mod password;
pub mod pk;
pub mod random;
pub mod shamir;
pub mod sigv4;
pub mod ssh;
pub mod totp;
pub mod wide_gcm;
pub mod x509;

pub use zeroize::{Zeroize, Zeroizing};
