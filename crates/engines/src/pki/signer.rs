//! Signing with an issuer: the one way to its private key.

use super::issuer::{Issuer, Use};
use super::{Cx, failed, issuer, keys};
use crate::keyring::Material;
use coffer_crypto::pk::{KeyKind, PkError, PrivateKey};
use coffer_crypto::x509::{Certificate, SignatureAlgorithm};
use coffer_types::{Error, Result};
use std::sync::Arc;

/// An issuer that may be used so, with its key.
pub(super) struct Signer {
    pub(super) issuer: Arc<Issuer>,
    pub(super) certificate: Arc<Certificate>,
    key: Arc<Material>,
}

impl Signer {
    /// The issuer of an id, a name, or `default`, for one use.
    ///
    /// # Errors
    /// In the words of the reference, 500: no such issuer, it may not be used so, its key is not here.
    pub(super) async fn open(cx: &Cx, reference: &str, usage: Use) -> Result<Self> {
        let found = issuer::shared(cx, reference).await?;
        let found = found.ok_or_else(|| {
            failed(format!("could not fetch the CA certificate (was one set?): {}", issuer::unknown(reference)))
        })?;
        Self::of(cx, found, usage).await
    }

    /// The same of an issuer that was found already.
    pub(super) async fn of(cx: &Cx, issuer: Arc<Issuer>, usage: Use) -> Result<Self> {
        if !issuer.usage.contains(usage) {
            let (id, name) = (&issuer.id, if issuer.name.is_empty() { "unknown" } else { &issuer.name });
            return Err(failed(format!(
                "error fetching CA certificate: error while attempting to use issuer {id}: requested usage {} for issuer [id:{id} / \
                 name:{name}] but only had usage {}",
                usage.name(),
                issuer.usage.text()
            )));
        }
        if issuer.key_id.is_empty() {
            return Err(failed(format!("unable to use issuer {}: its private key is not here", issuer.id)));
        }
        let certificate = issuer.parsed(cx)?;
        let may = match usage {
            Use::Issuing => certificate.may_sign_certificates(),
            Use::CrlSigning => certificate.may_sign_lists(),
            Use::OcspSigning | Use::ReadOnly => true,
        };
        if !may {
            return Err(failed(format!("the key usage of issuer {}'s certificate does not allow {}", issuer.id, usage.name())));
        }
        let key = keys::material(cx, &issuer.key_id).await?;
        Ok(Self { issuer, certificate, key })
    }

    pub(super) fn kind(&self) -> KeyKind {
        // Only asymmetric keys come in here.
        self.key.spec.kind().unwrap_or(KeyKind::P256)
    }

    /// The algorithm of its signatures: `bits` of the digest, 0 for what fits the key.
    pub(super) fn algorithm(&self, bits: i64, pss: bool) -> SignatureAlgorithm {
        let of = |bits| SignatureAlgorithm::for_key(self.kind(), bits, pss);
        // Other numbers are taken for "what fits", as the reference takes them.
        let usual = || of(0).unwrap_or(SignatureAlgorithm::EcdsaSha256);
        u32::try_from(bits).ok().and_then(of).unwrap_or_else(usual)
    }

    /// Runs `work` with the private key: in place where a signature takes microseconds, else beside the async threads.
    pub(super) async fn sign<T: Send + 'static>(
        &self,
        cx: &Cx,
        work: impl FnOnce(&PrivateKey) -> Result<T, PkError> + Send + 'static,
    ) -> Result<T> {
        let key = self.key.clone();
        let run = move || match &key.private {
            Some(private) => work(private),
            None => Err(PkError::Failed),
        };
        let made = if keys::takes_long(self.kind()) { cx.compute(run).await? } else { run() };
        made.map_err(Error::internal)
    }
}
