//! A certificate and its private key, as a listener is given them: whether the two belong together.

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::path::Path;

/// A chain of certificates from a PEM file, the server's own first.
pub struct Chain(Vec<CertificateDer<'static>>);

impl Chain {
    /// # Errors
    /// The file can't be read or holds no certificate; in words, without the file's name.
    pub fn read(path: &Path) -> Result<Self, String> {
        let text = std::fs::read(path).map_err(|e| e.to_string())?;
        match CertificateDer::pem_slice_iter(&text).collect::<Result<Vec<_>, _>>() {
            Ok(chain) if chain.is_empty() => Err("it holds no certificate".into()),
            Ok(chain) => Ok(Self(chain)),
            Err(e) => Err(e.to_string()),
        }
    }

    /// The server's own certificate, in DER.
    pub fn own(&self) -> &[u8] {
        self.0.first().map_or(&[], |own| own)
    }

    /// Whether the private key in a PEM file is that of the chain's own certificate.
    ///
    /// # Errors
    /// Why not, in words: no key in it, of a kind that can't be used, or another's.
    pub fn belongs_to(self, key: &Path) -> Result<(), String> {
        let key = PrivateKeyDer::from_pem_file(key).map_err(|e| e.to_string())?;
        let signer = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key)
            .map_err(|e| format!("it is of a kind that can't be used: {e}"))?;
        let pair = rustls::sign::CertifiedKey::new(self.0, signer);
        pair.keys_match().map_err(|e| format!("it does not belong to the certificate: {e}"))
    }
}
