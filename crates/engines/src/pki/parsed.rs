//! Records that every issuance reads, decoded once.
//!
//! A copy counts only for the very bytes that it was decoded from: the transaction reads the value each time, so that it stays a
//! precondition of the commit, and a copy is taken if the value is the same allocation, which the copy keeps alive so that no other can
//! take its place. What changed in the store is other bytes, and is decoded anew.

use coffer_engine::view::{Plain, decode};
use coffer_engine::{Record, View};
use coffer_types::Result;
use quick_cache::sync::Cache;
use std::any::Any;
use std::sync::Arc;

/// Copies kept: a kilobyte or two each.
const KEPT: usize = 500;

type Copy = (Plain, Arc<dyn Any + Send + Sync>);

/// Decoded records, by their whole key.
pub(super) struct Parsed(Cache<String, Copy>);

impl Default for Parsed {
    fn default() -> Self {
        Self(Cache::new(KEPT))
    }
}

impl Parsed {
    /// The record under a key of this view.
    pub(super) async fn get<T: Record + Sync + 'static>(&self, view: &View, key: &str) -> Result<Option<Arc<T>>> {
        let Some(bytes) = view.get_bytes(key).await? else { return Ok(None) };
        let key = view.whole_key(key);
        if let Some((known, copy)) = self.0.get(&key)
            && Arc::ptr_eq(&known, &bytes)
            && let Ok(copy) = copy.downcast::<T>()
        {
            return Ok(Some(copy));
        }
        let decoded = Arc::new(decode::<T>(&bytes)?);
        self.0.insert(key, (bytes, decoded.clone()));
        Ok(Some(decoded))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::Pki;
    use crate::pki::config::Issuers;
    use coffer_engine::testing::Bench;

    #[test]
    fn a_copy_never_outlives_what_the_store_holds() {
        let bench = Bench::new::<Pki>("pki/", &[]);
        let parsed = Parsed::default();
        let with = |default: &str| Issuers { default: default.to_owned(), follow_latest: false };
        for default in ["a", "b", "b", "a"] {
            bench.within(async |view: View, _| view.put("config/issuers", &with(default))).unwrap();
            for _ in 0..2 {
                let read = bench.within(async |view: View, _| parsed.get::<Issuers>(&view, "config/issuers").await).unwrap();
                assert_eq!(read.map(|read| read.default.clone()).as_deref(), Some(default));
            }
            // Within one transaction its own write counts.
            let own = bench.within(async |view: View, _| {
                view.put("config/issuers", &with("own"))?;
                parsed.get::<Issuers>(&view, "config/issuers").await
            });
            assert_eq!(own.unwrap().map(|read| read.default.clone()).as_deref(), Some("own"));
        }
        bench
            .within(async |view: View, _| {
                view.delete("config/issuers");
                Ok(())
            })
            .unwrap();
        assert!(bench.within(async |view: View, _| parsed.get::<Issuers>(&view, "config/issuers").await).unwrap().is_none());
    }
}
