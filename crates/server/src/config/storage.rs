//! The `storage` stanza: where ciphertext lies.

use super::setting::{Reading, Setting, block, labelled, stanza};
use super::suggest::nearest;
use super::tree::{At, Node};
use std::path::PathBuf;

/// Where ciphertext lies.
#[derive(Debug)]
pub struct Storage {
    /// Where the stanza stands.
    pub at: At,
    pub kind: StorageKind,
}

/// A kind of store, with what it needs to open.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StorageKind {
    /// Gone with the process.
    Memory,
    /// A directory on this machine.
    Embedded {
        path: PathBuf,
        /// What the stanza called itself: `embedded`, `file` or `raft`.
        written_as: &'static str,
    },
}

stanza! {
    /// The keys of `storage "embedded"`, and of `file`, which starts it.
    pub struct EmbeddedKeys in "storage" {
        /// The directory; it is made where it is missing.
        path: Option<PathBuf> = "";
    }
}

stanza! {
    /// The keys of `storage "raft"`, which starts the embedded store on one node.
    pub struct RaftKeys in "storage" {
        /// The directory; it is made where it is missing.
        path: Option<PathBuf> = "";
    }
    later {
        /// Nodes to join.
        retry_join: "blocks";
        /// Join without a vote.
        retry_join_as_non_voter: "a boolean";
    }
    ignored {
        /// This node's name.
        node_id = "there is one node";
        /// Scales raft's timing.
        performance_multiplier = "the embedded store has no raft timing";
        /// Log entries kept after a snapshot.
        trailing_logs = "the embedded store has no raft log";
        /// Log entries between snapshots.
        snapshot_threshold = "the embedded store has no raft log";
        /// How often to look whether a snapshot is due.
        snapshot_interval = "the embedded store has no raft log";
        /// The largest log entry.
        max_entry_size = "the embedded store has limits of its own";
        /// The largest log entry of a transaction.
        max_transaction_size = "the embedded store has limits of its own";
        /// How large mounts' and namespaces' tables may be.
        max_mount_and_namespace_table_entry_size = "the embedded store has limits of its own";
        /// How often autopilot looks for changed members.
        autopilot_reconcile_interval = "there is one node";
        /// How often autopilot asks for the state of members.
        autopilot_update_interval = "there is one node";
        /// The version that autopilot upgrades to.
        autopilot_upgrade_version = "there is one node";
        /// The zone for autopilot's redundancy.
        autopilot_redundancy_zone = "there is one node";
        /// Keep the log in a write-ahead log.
        raft_wal = "the embedded store has no raft log";
        /// Verify the log.
        raft_log_verifier_enabled = "the embedded store has no raft log";
        /// How often to verify the log.
        raft_log_verification_interval = "the embedded store has no raft log";
    }
}

/// Kinds that are known and can't be opened.
const LATER: [&str; 22] = [
    "consul",
    "etcd",
    "etcd3",
    "postgresql",
    "s3",
    "gcs",
    "azure",
    "dynamodb",
    "mysql",
    "mssql",
    "cockroachdb",
    "cassandra",
    "couchdb",
    "spanner",
    "swift",
    "zookeeper",
    "oci",
    "manta",
    "aerospike",
    "alicloudoss",
    "foundationdb",
    "pebbledb",
];
const BUILT: [&str; 4] = ["embedded", "inmem", "file", "raft"];

impl Setting for Storage {
    const KIND: &'static str = "a block";

    fn read(key: &str, node: &Node, cx: &mut Reading) -> Option<Self> {
        let blocks = labelled(key, node, cx)?;
        let [(label, body)] = blocks.as_slice() else {
            cx.error(&node.at, format!("only one kind of {key} can be used at a time"));
            return None;
        };
        let at = label.at.clone();
        let entries = block(key, body, cx)?;
        let kind = match label.name.as_str() {
            "inmem" | "inmem_ha" | "inmem_transactional" => StorageKind::Memory,
            "embedded" => embedded(EmbeddedKeys::from_entries(entries, cx)?.path, "embedded", &at, cx)?,
            "file" => {
                let kind = embedded(EmbeddedKeys::from_entries(entries, cx)?.path, "file", &at, cx)?;
                cx.note(&at, "storage \"file\" starts Coffer's embedded store at its path; files that Vault wrote are not read");
                kind
            }
            "raft" => {
                // The reason belongs to the stanza, so that it is told besides the key's own error.
                let several = entries.iter().any(|entry| entry.name.starts_with("retry_join") && !entry.node.is_off());
                if several {
                    cx.error(&at, "storage \"raft\" with several nodes is not built yet; without retry_join it starts the embedded store on one node");
                }
                let kind = embedded(RaftKeys::from_entries(entries, cx)?.path, "raft", &at, cx)?;
                cx.note(
                    &at,
                    "storage \"raft\" starts Coffer's embedded store on one node at its path; data that Vault wrote are not read",
                );
                kind
            }
            other if LATER.contains(&other) => {
                cx.error(&at, format!("storage {other:?} is not built yet; there are {}", BUILT.join(", ")));
                return None;
            }
            other => {
                let hint = nearest(other, BUILT.into_iter().chain(LATER))
                    .map_or(String::new(), |near| format!("; did you mean {near}?"));
                cx.error(&at, format!("unknown storage type {other}{hint}"));
                return None;
            }
        };
        Some(Self { at, kind })
    }
}

fn embedded(path: Option<PathBuf>, written_as: &'static str, at: &At, cx: &mut Reading) -> Option<StorageKind> {
    if path.is_none() {
        cx.error(at, format!("storage {written_as:?} needs a path"));
    }
    Some(StorageKind::Embedded { path: path?, written_as })
}
