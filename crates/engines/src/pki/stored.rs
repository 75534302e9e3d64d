//! Certificates and revocations as they are kept.
//!
//! `cert/<serial>` is not JSON: a million of them stand there, and tidying reads them all. One byte of format, the last second of the
//! certificate's validity (8 bytes, big-endian, since 1970), the length of the issuer's id in one byte and the id (empty where the issuer is
//! not of this mount), the certificate in DER.

use super::Cx;
use crate::keyring::PublicBytes;
use coffer_engine::Record;
use coffer_types::{Error, Result, Timestamp};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// A certificate that was issued, or an authority's own.
pub(super) struct Stored {
    /// Seconds since 1970.
    pub(super) not_after: i64,
    /// Empty where it is not known.
    pub(super) issuer: String,
    pub(super) der: Vec<u8>,
}

const FORMAT: u8 = 1;

impl Stored {
    pub(super) fn put(cx: &Cx, serial_key: &str, issuer: &str, not_after: i64, der: &[u8]) {
        let mut bytes = Zeroizing::new(Vec::with_capacity(10 + issuer.len() + der.len()));
        bytes.push(FORMAT);
        bytes.extend_from_slice(&not_after.to_be_bytes());
        // Ids are UUIDs: 36 bytes.
        bytes.push(u8::try_from(issuer.len()).unwrap_or(0));
        bytes.extend_from_slice(issuer.as_bytes());
        bytes.extend_from_slice(der);
        cx.view.put_bytes(&format!("cert/{serial_key}"), bytes);
    }

    pub(super) async fn find(cx: &Cx, serial_key: &str) -> Result<Option<Self>> {
        let Some(bytes) = cx.view.get_bytes(&format!("cert/{serial_key}")).await? else { return Ok(None) };
        Self::read(&bytes).map(Some).ok_or_else(|| Error::internal("a stored certificate does not read"))
    }

    pub(super) fn delete(cx: &Cx, serial_key: &str) {
        cx.view.delete(&format!("cert/{serial_key}"));
    }

    /// The stored keys of certificates behind `after` in their order, `limit` at most.
    pub(super) async fn page(cx: &Cx, after: Option<&str>, limit: usize) -> Result<Vec<String>> {
        cx.view.children("cert/", after, limit).await
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let (&FORMAT, rest) = bytes.split_first()? else { return None };
        let (not_after, rest) = rest.split_first_chunk::<8>()?;
        let (&length, rest) = rest.split_first()?;
        let (issuer, der) = rest.split_at_checked(usize::from(length))?;
        let issuer = std::str::from_utf8(issuer).ok()?.to_owned();
        Some(Self { not_after: i64::from_be_bytes(*not_after), issuer, der: der.to_vec() })
    }
}

/// A certificate that was taken back: what lists and OCSP say of it, without another look at the certificate.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Revocation {
    /// The serial number in hexadecimal without a sign's zero, as in the key.
    pub(super) serial: String,
    /// The issuer in this mount whose list it stands on; empty if there is none.
    pub(super) issuer: String,
    pub(super) revoked: Timestamp,
    /// The last second of its validity, since 1970: after it no list needs to name it.
    pub(super) not_after: i64,
    pub(super) certificate: PublicBytes,
}

impl Record for Revocation {
    const FORMAT: u8 = 1;
}

impl Revocation {
    pub(super) async fn find(cx: &Cx, serial_key: &str) -> Result<Option<Self>> {
        cx.view.get(&format!("revoked/{serial_key}")).await
    }

    pub(super) fn put(&self, cx: &Cx) -> Result<()> {
        cx.view.put(&format!("revoked/{}", self.serial), self)
    }

    pub(super) fn delete(cx: &Cx, serial_key: &str) {
        cx.view.delete(&format!("revoked/{serial_key}"));
    }

    pub(super) async fn page(cx: &Cx, after: Option<&str>, limit: usize) -> Result<Vec<String>> {
        cx.view.children("revoked/", after, limit).await
    }
}
