use coffer_core::CoreConfig;
use coffer_testkit::{Server, recorded, registry};

/// The groups that this server answers; each call of them is compared.
const GROUPS: [&str; 21] = [
    "uninit",
    "init",
    "sealed",
    "unseal",
    "health",
    "mounts",
    "auth_mounts",
    "policies",
    "token",
    "capabilities",
    "kv1",
    "kv2",
    "cubbyhole",
    "wrapping",
    "audit",
    "rekey_rotate_root",
    "seal",
    "identity",
    "userpass",
    "approle",
    "none",
];

#[tokio::test]
async fn recorded_calls_come_out_as_recorded() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../clients/golden/vault-http.jsonl");
    let recording = std::fs::read_to_string(path).unwrap();
    let config = CoreConfig { raw_storage_endpoint: true, allow_api_audit: true, ..CoreConfig::default() };
    let server = Server::sealed(registry(), config).await;
    let work = tempfile::tempdir().unwrap();
    let outcome = recorded::replay(&server, &recording, &GROUPS, &work.path().display().to_string()).await;
    for difference in &outcome.differences {
        println!("{} {}\n    {}", difference.group, difference.call, difference.what.join("\n    "));
    }
    assert!(outcome.differences.is_empty(), "{} passed, {} differ", outcome.passed, outcome.differences.len());
}
