//! PKI: authorities of one's own and the certificates that they give. The API of Vault's engine of that name
//! (<https://developer.hashicorp.com/vault/api-docs/secret/pki>); formats and decisions: docs/design/pki.md.
//!
//! Layout below the mount's view: `issuer/<id>` an [`Issuer`](issuer::Issuer), `issuer-name/<name>` and `issuer-cert/<SHA-256>` its id;
//! `key/<id>` a [`Key`](keys::Key), `key-name/<name>` and `key-public/<SHA-256>` its id, and below `ring/` the same key in the
//! [keyring](crate::keyring); `cert/<serial>` a [`Stored`](stored::Stored) certificate, `revoked/<serial>` a
//! [`Revocation`](stored::Revocation); `role/<name>`; `config/…`; `crl/<issuer>` its [lists](crl).

mod acme;
mod allowed;
mod authority;
mod bundle;
mod certificates;
mod chain;
mod config;
mod constraints;
mod crl;
mod hostname;
mod import;
mod issuer;
mod keys;
mod leaf;
mod ocsp;
mod parsed;
mod revoke;
mod role;
mod root;
mod serial;
mod signer;
mod stored;
mod subject;
mod tidy;
mod urls;
mod uses;
mod validity;
mod verbatim;

use crate::keyring::{Keyring, Materials};
use coffer_crypto::x509::Certificate;
use coffer_engine::{Ctx, Declare, Engine, Mount, Request};
use coffer_types::{Error, Kind, Result};
use quick_cache::sync::Cache;
use std::sync::Arc;

/// The engine.
pub struct Pki {
    materials: Arc<Materials>,
    /// Issuers' certificates, parsed, by the issuer's id. They can't be stale: an issuer's certificate never changes, and ids are never
    /// given twice.
    certificates: Cache<String, Arc<Certificate>>,
    parsed: parsed::Parsed,
}

/// Issuers' certificates kept parsed: a few kilobytes each.
const KEPT: usize = 200;

impl Engine for Pki {
    const KIND: &'static str = "pki";

    fn open(_: &Mount) -> Result<Self> {
        Ok(Self { materials: Arc::default(), certificates: Cache::new(KEPT), parsed: parsed::Parsed::default() })
    }

    fn declare(d: &mut Declare<Self>) {
        d.about("Issues certificates of its own authorities, and revokes them.");
        config::declare(d);
        urls::declare(d);
        keys::declare(d);
        issuer::declare(d);
        import::declare(d);
        root::declare(d);
        authority::declare(d);
        role::declare(d);
        leaf::declare(d);
        verbatim::declare(d);
        revoke::declare(d);
        certificates::declare(d);
        crl::declare(d);
        ocsp::declare(d);
        acme::declare(d);
        tidy::declare(d);
        d.beat(beat);
        d.otherwise(|_, _| async { Err(unsupported_path()) });
    }
}

type Cx = Ctx<Pki>;

fn keyring(cx: &Cx) -> Keyring {
    Keyring::new(cx.view.below("ring/"), cx.engine.materials.clone())
}

/// What the mount does by the clock: says whether there is more to do at once.
async fn beat(cx: Cx) -> Result<bool> {
    Ok(crl::beat(&cx).await? | tidy::beat(&cx).await? | acme::beat(&cx).await?)
}

/// List in pages.
#[derive(Request)]
struct Page {
    /// The key after which the page begins.
    #[field(query, default)]
    after: String,
    /// How many at most; 0 for all.
    #[field(query, default)]
    limit: i64,
}

impl Page {
    fn after(&self) -> Option<&str> {
        (!self.after.is_empty()).then_some(self.after.as_str())
    }

    fn limit(&self) -> usize {
        usize::try_from(self.limit).ok().filter(|limit| *limit > 0).unwrap_or(usize::MAX)
    }
}

fn unsupported_path() -> Error {
    Error::new(Kind::NotFound, "1 error occurred:\n\t* unsupported path\n\n")
}

/// A random UUID.
fn new_id(cx: &Cx) -> String {
    struct Source<'a>(&'a Cx);
    impl coffer_crypto::random::Random for Source<'_> {
        fn fill(&self, out: &mut [u8]) {
            self.0.fill_random(out);
        }
    }
    coffer_crypto::random::uuid(&Source(cx))
}

/// What the reference takes for its own fault (500) though the caller's input is wrong; clients know it so.
fn failed(text: impl std::fmt::Display) -> Error {
    Error::new(Kind::Internal, format!("1 error occurred:\n\t* {text}\n\n"))
}

/// A name of an issuer or a key: letters, digits, `_`, inside also `-` and `.`.
fn is_name(name: &str) -> bool {
    let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    let edge = |c: char| c.is_ascii_alphanumeric() || c == '_';
    !name.is_empty() && name.chars().all(inner) && name.starts_with(edge) && name.ends_with(edge) && name.len() <= 255
}

/// Keys of indexes and ids are stored as bare texts.
async fn read_text(cx: &Cx, key: &str) -> Result<Option<String>> {
    let Some(bytes) = cx.view.get_bytes(key).await? else { return Ok(None) };
    String::from_utf8(bytes.to_vec()).map(Some).map_err(|_| Error::internal("an index of issuers or keys does not read"))
}

fn put_text(cx: &Cx, key: &str, text: &str) {
    cx.view.put_bytes(key, zeroize::Zeroizing::new(text.as_bytes().to_vec()));
}

fn fingerprint(bytes: &[u8]) -> String {
    coffer_crypto::digest::Algorithm::Sha256.digest(&[bytes]).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
