//! A static seal's key gives way to a new one, before the server is up.

use super::{SealConfig, open_root, seal_root};
use crate::barrier::{ROOT_KEY, SEAL_CONFIG_KEY, commit_error, key, store_error};
use coffer_crypto::random::Random;
use coffer_storage::{Batch, Expect, Store};
use coffer_types::{Error, Result};

/// Seals the store's root key under `new`, named `new_id`, instead of `old`. One commit: whoever opens the store later needs
/// the one key or the other, never both.
///
/// # Errors
/// A bad request where `old` is not the store's key, or the store has no static seal.
pub async fn change_static_key(
    store: &dyn Store,
    old: &[u8; 32],
    new_id: &str,
    new: &[u8; 32],
    random: &dyn Random,
) -> Result<()> {
    let snapshot = store.snapshot();
    let missing = || Error::bad_request("the store is not initialised");
    let stands = snapshot.get(SEAL_CONFIG_KEY.as_bytes()).await.map_err(store_error)?.ok_or_else(missing)?;
    let sealed = snapshot.get(ROOT_KEY.as_bytes()).await.map_err(store_error)?.ok_or_else(missing)?;
    let config = SealConfig::stored(store).await?.ok_or_else(missing)?;
    if config.kind != "static" {
        return Err(Error::bad_request("the store has no static seal"));
    }
    let root = open_root(store, old)
        .await?
        .ok_or_else(|| Error::bad_request("unable to retrieve stored keys: the seal's key is not this store's"))?;
    let config = SealConfig { key_id: new_id.to_owned(), ..config };
    let batch = Batch::default()
        .check(key(SEAL_CONFIG_KEY)?, Expect::At(stands.revision))
        .check(key(ROOT_KEY)?, Expect::At(sealed.revision))
        .put(key(ROOT_KEY)?, seal_root(new, &root, random))
        .put(key(SEAL_CONFIG_KEY)?, serde_json::to_vec(&config).map_err(Error::internal)?);
    store.commit(batch).await.map_err(commit_error)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::{InitAsk, SealKind};
    use super::*;
    use crate::{Core, CoreConfig, Registry};
    use coffer_crypto::random::SeededRandom;
    use coffer_storage::memory::Memory;
    use coffer_types::{Kind, Secret, SystemClock};
    use std::sync::Arc;

    async fn open(store: &Arc<Memory>, seal: SealKind) -> Arc<Core> {
        let random = Arc::new(SeededRandom::for_tests_only(1));
        Core::open(CoreConfig::default(), seal, store.clone(), Registry::new(), Arc::new(SystemClock), random).await.unwrap()
    }

    fn seal(id: &str, byte: u8) -> SealKind {
        SealKind::Static { key_id: id.to_owned(), key: Secret::new([byte; 32]) }
    }

    #[tokio::test]
    async fn the_new_key_opens_and_the_old_one_no_longer() {
        let store = Arc::new(Memory::new());
        let random = SeededRandom::for_tests_only(2);
        open(&store, seal("one", 1)).await.initialize(InitAsk { shares: 1, threshold: 1 }).await.unwrap();
        let wrong = change_static_key(&*store, &[9; 32], "two", &[2; 32], &random).await.unwrap_err();
        assert_eq!(wrong.kind(), Kind::BadRequest);
        change_static_key(&*store, &[1; 32], "two", &[2; 32], &random).await.unwrap();
        assert_eq!(SealConfig::stored(&*store).await.unwrap().unwrap().key_id, "two");
        let new = open(&store, seal("two", 2)).await;
        new.unseal_by_itself().await.unwrap();
        assert!(!new.is_sealed());
        assert!(open(&store, seal("one", 1)).await.unseal_by_itself().await.is_err());
    }

    #[tokio::test]
    async fn an_empty_store_and_one_with_shares_are_refused() {
        let store = Arc::new(Memory::new());
        let random = SeededRandom::for_tests_only(2);
        assert!(change_static_key(&*store, &[1; 32], "two", &[2; 32], &random).await.is_err());
        open(&store, SealKind::Shamir).await.initialize(InitAsk { shares: 1, threshold: 1 }).await.unwrap();
        assert!(change_static_key(&*store, &[1; 32], "two", &[2; 32], &random).await.is_err());
    }
}
