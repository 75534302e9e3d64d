//! What an engine sees of the barrier: the keys below one prefix, in one transaction.

use crate::BoxFuture;
use coffer_types::{Error, Result, secret};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;
use zeroize::Zeroizing;

/// A plaintext value, shared with the barrier's cache, wiped when the last holder lets go.
pub type Plain = Arc<secret::Bytes>;

/// One transaction over the barrier: reads see one snapshot and this transaction's own writes; every value
/// read becomes a precondition of the commit. Made and committed by the pipeline.
pub trait Txn: Send + Sync {
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Plain>>>;
    fn put(&self, key: String, value: secret::Bytes);
    fn delete(&self, key: String);
    /// Child names below `prefix` (which ends in `/` or is empty), folders with a trailing `/`, in byte order,
    /// strictly after `after`. A list is a snapshot read, not a precondition.
    fn children<'a>(&'a self, prefix: &'a str, after: Option<&'a str>, limit: usize) -> BoxFuture<'a, Result<Vec<String>>>;
    /// Whole keys below `prefix`, strictly after the whole key `after`.
    fn keys<'a>(&'a self, prefix: &'a str, after: Option<&'a str>, limit: usize) -> BoxFuture<'a, Result<Vec<String>>>;
    /// Run once this is durable, with the number of its commit; dropped, not run, where it never is. For counts in memory
    /// that follow the store.
    fn on_commit(&self, _then: OnCommit) {}
}

/// See [`Txn::on_commit`].
pub type OnCommit = Box<dyn FnOnce(u64) + Send>;

/// A stored structure: one byte of format, then JSON. Yesterday's formats are read by [`Record::upgrade`].
pub trait Record: Serialize + DeserializeOwned + Send {
    const FORMAT: u8;

    /// Reads an older format. The default knows none.
    fn upgrade(format: u8, body: &[u8]) -> Result<Self> {
        let length = body.len();
        Err(Error::internal(format!("a record of {length} bytes has format {format}, this program knows up to {}", Self::FORMAT)))
    }
}

/// Reads a record's bytes.
pub fn decode<T: Record>(bytes: &[u8]) -> Result<T> {
    match bytes.split_first() {
        Some((format, body)) if *format == T::FORMAT => {
            // serde_json quotes no values in its errors, only positions and field names.
            serde_json::from_slice(body).map_err(|e| Error::internal(format!("a stored record does not read: {e}")))
        }
        Some((format, body)) => T::upgrade(*format, body),
        None => Err(Error::internal("an empty stored record")),
    }
}

/// A record's bytes.
pub fn encode<T: Record>(record: &T) -> Result<secret::Bytes> {
    let mut out = Zeroizing::new(Vec::with_capacity(256));
    out.push(T::FORMAT);
    serde_json::to_writer(&mut *out, record).map_err(|e| Error::internal(format!("a record does not write: {e}")))?;
    Ok(out)
}

/// For `skip_serializing_if`: what a record's `default` gives back need not be stored.
pub fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// The keys below one prefix. Cheap to clone.
#[derive(Clone)]
pub struct View {
    txn: Arc<dyn Txn>,
    prefix: Arc<str>,
}

impl View {
    pub fn new(txn: Arc<dyn Txn>, prefix: Arc<str>) -> Self {
        Self { txn, prefix }
    }

    /// The transaction under a view of everything, which only the server's own engines have.
    pub fn transaction(&self) -> Option<Arc<dyn Txn>> {
        self.prefix.is_empty().then(|| self.txn.clone())
    }

    /// A smaller view.
    #[must_use]
    pub fn below(&self, prefix: &str) -> Self {
        Self { txn: self.txn.clone(), prefix: self.key(prefix).into() }
    }

    /// The key as the barrier knows it.
    pub fn whole_key(&self, key: &str) -> String {
        self.key(key)
    }

    fn key(&self, key: &str) -> String {
        let mut whole = String::with_capacity(self.prefix.len() + key.len());
        whole.push_str(&self.prefix);
        whole.push_str(key);
        whole
    }

    pub async fn get_bytes(&self, key: &str) -> Result<Option<Plain>> {
        self.txn.get(&self.key(key)).await
    }

    pub fn put_bytes(&self, key: &str, value: secret::Bytes) {
        self.txn.put(self.key(key), value);
    }

    pub async fn get<T: Record>(&self, key: &str) -> Result<Option<T>> {
        self.get_bytes(key).await?.map(|bytes| decode(&bytes)).transpose()
    }

    pub fn put<T: Record>(&self, key: &str, record: &T) -> Result<()> {
        self.put_bytes(key, encode(record)?);
        Ok(())
    }

    pub fn delete(&self, key: &str) {
        self.txn.delete(self.key(key));
    }

    /// See [`Txn::on_commit`].
    pub fn on_commit(&self, then: OnCommit) {
        self.txn.on_commit(then);
    }

    pub async fn exists(&self, key: &str) -> Result<bool> {
        Ok(self.get_bytes(key).await?.is_some())
    }

    /// See [`Txn::children`]; `folder` is empty or ends in `/`.
    pub async fn children(&self, folder: &str, after: Option<&str>, limit: usize) -> Result<Vec<String>> {
        self.txn.children(&self.key(folder), after, limit).await
    }

    /// Keys below `folder`, relative to this view, strictly after the relative key `after`.
    pub async fn keys(&self, folder: &str, after: Option<&str>, limit: usize) -> Result<Vec<String>> {
        let after = after.map(|a| self.key(a));
        let keys = self.txn.keys(&self.key(folder), after.as_deref(), limit).await?;
        Ok(keys.into_iter().map(|k| k[self.prefix.len()..].to_owned()).collect())
    }
}
