//! The conformance suite, for each kind.

use coffer_storage::{
    Store, conformance,
    embedded::{Embedded, Options},
    faults::Faults,
    memory::Memory,
};
use std::sync::Arc;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_conforms() {
    conformance::run(|| async { Arc::new(Memory::new()) as Arc<dyn Store> }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn embedded_conforms() {
    let root = tempfile::tempdir().unwrap();
    let count = std::cell::Cell::new(0);
    conformance::run(|| {
        count.set(count.get() + 1);
        let store = Embedded::open(&root.path().join(count.get().to_string()), Options::default());
        async { Arc::new(store.unwrap()) as Arc<dyn Store> }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_with_no_fault_conforms() {
    conformance::run(|| async { Arc::new(Faults::new(Arc::new(Memory::new()))) as Arc<dyn Store> }).await;
}
