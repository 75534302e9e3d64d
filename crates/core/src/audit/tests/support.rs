//! Calls, devices and logs for the tests of the audit.

use crate::audit::*;
use coffer_crypto::random::SeededRandom;
use coffer_engine::reply::Answer;
use coffer_engine::{Call, Credential, Fields, ListenerTraits, MountClass, Principal, Remote, TokenKind};
use coffer_types::{Clock, Dialect, Object, Operation, Path, Result, Secret, Span, Timestamp, json};
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

pub(in crate::audit) const TOKEN: &str = "hvs.the-token";
pub(in crate::audit) const ACCESSOR: &str = "the-accessor";

pub(in crate::audit) struct Noon;

impl Clock for Noon {
    fn now(&self) -> Timestamp {
        Timestamp(1_795_404_202_752_717_010)
    }
}

pub(in crate::audit) fn try_broker(configured: Vec<AuditDeviceSpec>) -> Result<Broker> {
    Broker::new(Arc::new(Noon), Arc::new(SeededRandom::for_tests_only(1)), configured)
}

pub(in crate::audit) fn broker_with(configured: Vec<AuditDeviceSpec>) -> Broker {
    try_broker(configured).unwrap()
}

pub(in crate::audit) fn broker() -> Broker {
    broker_with(Vec::new())
}

pub(in crate::audit) fn spec(path: &str, kind: &str, options: &[(&str, &str)]) -> AuditDeviceSpec {
    let options = options.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    AuditDeviceSpec::new(path, kind, "", options).unwrap()
}

/// An audit file in a directory of its own.
pub(in crate::audit) struct Log {
    pub(in crate::audit) dir: tempfile::TempDir,
    pub(in crate::audit) path: String,
}

impl Log {
    pub(in crate::audit) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.log").to_str().unwrap().to_owned();
        Self { dir, path }
    }

    /// A broker that writes here, as the device `file/`. The test line stands first.
    pub(in crate::audit) async fn broker(&self, options: &[(&str, &str)]) -> Broker {
        let broker = broker();
        let options: Vec<_> = options.iter().copied().chain([("file_path", self.path.as_str())]).collect();
        broker.enable(spec("file", "file", &options), &Salt::from_bytes([1; 32])).await.unwrap();
        broker
    }

    pub(in crate::audit) fn text(&self) -> String {
        std::fs::read_to_string(&self.path).unwrap()
    }

    pub(in crate::audit) fn lines(&self) -> Vec<serde_json::Value> {
        let text = self.text();
        assert!(text.is_empty() || text.ends_with('\n'));
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

pub(in crate::audit) fn object(text: &str) -> Object {
    json::parse(text.as_bytes(), &json::Limits::NONE).unwrap().into_object().unwrap()
}

pub(in crate::audit) fn call(operation: Operation, path: &str) -> Call {
    Call {
        id: "5e847b8b-5266-a781-db1d-7f8807fb0b63".into(),
        dialect: Dialect::Vault,
        credential: Credential::Token(Secret::from(TOKEN)),
        operation,
        path: Path::parse(path).unwrap(),
        verb: None,
        fields: Fields::default(),
        wrap: None,
        remote: Remote { ip: Some([127, 0, 0, 1].into()), port: 54774, certificate: None },
        listener: Arc::new(ListenerTraits::default()),
        headers: Vec::new(),
    }
}

static PRINCIPAL: LazyLock<Principal> = LazyLock::new(|| Principal {
    entity_id: "".into(),
    display_name: "token-Web-App".into(),
    policies: ["app".into(), "default".into()].into(),
    accessor: ACCESSOR.into(),
    kind: TokenKind::Service,
    cubbyhole: None,
    token_key: "k".into(),
    root: false,
});
static METADATA: LazyLock<BTreeMap<String, String>> = LazyLock::new(|| [("team".to_owned(), "x".to_owned())].into());
static TOKEN_POLICIES: LazyLock<[String; 2]> = LazyLock::new(|| ["app".to_owned(), "default".to_owned()]);
static GRANTING: LazyLock<[Box<str>; 1]> = LazyLock::new(|| ["app".into()]);

/// An allowed call on `secret/`.
pub(in crate::audit) fn entry(call: &Call) -> Entry<'_> {
    Entry {
        call,
        operation: call.operation,
        mount: Some(MountInfo {
            point: "secret/",
            kind: "kv",
            accessor: "kv_0b73d53b",
            class: MountClass::Engine,
            version: "v1.19.0+builtin",
            clear_request: &[],
            clear_response: &[],
        }),
        token: Some(TokenInfo {
            principal: &PRINCIPAL,
            token_policies: &*TOKEN_POLICIES,
            identity_policies: &[],
            metadata: &METADATA,
            ttl: Span::from_secs(3600),
            issued: Timestamp::from_secs(1_795_404_000),
            remaining_uses: None,
        }),
        decision: Some(Decision { allowed: true, granting: &*GRANTING }),
        error: None,
        plain: &[],
    }
}

/// A whole call: both lines.
pub(in crate::audit) async fn write_one(broker: &Broker) -> std::result::Result<(), Unaudited> {
    let call = call(Operation::Read, "secret/data/a");
    let opened = broker.begin(&entry(&call)).await?;
    broker.end(opened, Ok(&Answer::default())).await
}
