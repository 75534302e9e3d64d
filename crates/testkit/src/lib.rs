//! An in-memory server with a fake clock and seeded randomness: the real core and engines, called through the real
//! Vault dialect, without a wire. For tests.

pub mod engines;
pub mod recorded;

use bytes::Bytes;
use coffer_core::seal::SealKind;
use coffer_core::{Core, CoreConfig, Registry};
use coffer_crypto::random::{Random, SeededRandom, uuid};
use coffer_dialects::vault::{self, BodyLimits, DecodeContext, Rendering};
use coffer_engine::{ListenerTraits, Remote};
use coffer_storage::Store;
use coffer_storage::memory::Memory;
use coffer_types::json::{Json, Limits, parse};
use coffer_types::{Clock, Timestamp};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

/// A clock that stands still until a test turns it.
pub struct FakeClock(AtomicI64);

impl FakeClock {
    /// 2026-11-23T12:00:00Z.
    pub fn new() -> Self {
        Self(AtomicI64::new(Timestamp::from_secs(1_795_435_200).0))
    }

    pub fn advance(&self, by: Duration) {
        self.0.fetch_add(i64::try_from(by.as_nanos()).unwrap_or(i64::MAX), Ordering::SeqCst);
    }
}

impl Default for FakeClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for FakeClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }
}

/// A server.
pub struct Server {
    pub core: Arc<Core>,
    pub clock: Arc<FakeClock>,
    pub random: Arc<dyn Random>,
    pub store: Arc<dyn Store>,
    pub listener: Arc<ListenerTraits>,
    /// The root token, once [`Server::ready`] has made one.
    pub root: String,
    /// The unseal key's share.
    pub share: String,
}

/// A reply: status and document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replied {
    pub status: u16,
    pub headers: http::HeaderMap,
    pub body: Json,
    pub text: String,
}

impl Replied {
    /// The text at a place like `data/keys/0`, empty if there is none.
    pub fn text_at(&self, place: &str) -> &str {
        self.body.at(place).and_then(Json::as_str).unwrap_or_default()
    }

    /// The first error's text.
    pub fn error(&self) -> &str {
        self.text_at("errors/0")
    }
}

impl Server {
    /// A server with the engines of `registry`, not initialised.
    ///
    /// # Panics
    /// If it does not start: a test's own set-up.
    #[allow(clippy::expect_used, reason = "a test's own set-up")]
    pub async fn sealed(registry: Registry, config: CoreConfig) -> Self {
        let clock = Arc::new(FakeClock::new());
        let random: Arc<dyn Random> = Arc::new(SeededRandom::for_tests_only(7));
        let store: Arc<dyn Store> = Arc::new(Memory::new());
        let core = Core::open(config, SealKind::Shamir, store.clone(), registry, clock.clone(), random.clone())
            .await
            .expect("the core opens");
        let listener = Arc::new(ListenerTraits {
            unauthed_rekey: true,
            unauthed_generate_root: true,
            unauthed_metrics: false,
            unauthed_in_flight: false,
        });
        Self { core, clock, random, store, listener, root: String::new(), share: String::new() }
    }

    /// An initialised, open server.
    ///
    /// # Panics
    /// If it does not start.
    pub async fn ready(registry: Registry, config: CoreConfig) -> Self {
        let mut server = Self::sealed(registry, config).await;
        let init = server.call("PUT", "sys/init", "", r#"{"secret_shares":1,"secret_threshold":1}"#).await;
        assert_eq!(init.status, 200, "{}", init.text);
        server.share = init.text_at("keys/0").to_owned();
        server.root = init.text_at("root_token").to_owned();
        let open = server.call("PUT", "sys/unseal", "", &format!(r#"{{"key":"{}"}}"#, server.share)).await;
        assert_eq!(open.status, 200, "{}", open.text);
        server
    }

    /// One request below `/v1/`.
    pub async fn call(&self, method: &str, path: &str, token: &str, body: &str) -> Replied {
        self.request(method, &format!("/v1/{path}"), &[("X-Vault-Token", token)], body.as_bytes()).await
    }

    /// One request, whole.
    ///
    /// # Panics
    /// If it is no HTTP request at all.
    #[allow(clippy::expect_used, reason = "a test's own request")]
    pub async fn request(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Replied {
        let mut request = http::Request::builder().method(method).uri(path);
        for (name, value) in headers.iter().filter(|(_, value)| !value.is_empty()) {
            request = request.header(*name, *value);
        }
        let (parts, ()) = request.body(()).expect("a request").into_parts();
        let id: Box<str> = uuid(&*self.random).into();
        let remote = Remote { ip: Some(std::net::Ipv4Addr::LOCALHOST.into()), port: 40_000, certificate: None };
        let context = DecodeContext { id: id.clone(), remote, listener: self.listener.clone(), limits: &BodyLimits::default() };
        let response: http::Response<Bytes> = match vault::decode(&parts, body, context) {
            Ok(call) => vault::encode(self.core.serve(call).await, Rendering { id: &id, head: method == "HEAD" }),
            Err(refusal) => refusal.into_response(&parts.method),
        };
        let headers = response.headers().clone();
        let text = String::from_utf8_lossy(response.body()).into_owned();
        let body = parse(text.as_bytes(), &Limits::NONE).unwrap_or(Json::Null);
        Replied { status: response.status().as_u16(), headers, body, text }
    }
}

/// The engines that the server has.
///
/// # Panics
/// If a declaration is faulty.
#[allow(clippy::expect_used, reason = "a test's own set-up")]
pub fn registry() -> Registry {
    Registry::new()
        .engine::<coffer_engines::kv::V1>()
        .and_then(Registry::engine::<coffer_engines::kv::V2>)
        .and_then(Registry::engine::<coffer_engines::cubbyhole::Cubbyhole>)
        .and_then(Registry::engine::<coffer_engines::database::Database>)
        .and_then(Registry::engine::<coffer_engines::aws::Aws>)
        .and_then(Registry::engine::<coffer_engines::kubernetes::Kubernetes>)
        .and_then(Registry::engine::<coffer_engines::rabbitmq::RabbitMq>)
        .and_then(Registry::auth::<coffer_auth::cert::Cert>)
        .and_then(Registry::auth::<coffer_auth::clouds::aws::Aws>)
        .and_then(Registry::auth::<coffer_auth::clouds::azure::Azure>)
        .and_then(Registry::auth::<coffer_auth::clouds::gcp::Gcp>)
        .and_then(Registry::auth::<coffer_auth::github::GitHub>)
        .and_then(Registry::auth::<coffer_auth::okta::Okta>)
        .and_then(Registry::auth::<coffer_auth::jwt::Jwt>)
        .and_then(Registry::auth::<coffer_auth::jwt::Oidc>)
        .and_then(Registry::auth::<coffer_auth::kubernetes::Kubernetes>)
        .and_then(Registry::auth::<coffer_auth::userpass::Userpass>)
        .and_then(Registry::auth::<coffer_auth::approle::AppRole>)
        .and_then(Registry::engine::<coffer_engines::transit::Transit>)
        .and_then(Registry::engine::<coffer_engines::totp::Totp>)
        .and_then(Registry::engine::<coffer_engines::pki::Pki>)
        .and_then(Registry::engine::<coffer_engines::ssh::Ssh>)
        .and_then(Registry::auth::<coffer_auth::ldap::Ldap>)
        .and_then(Registry::auth::<coffer_auth::radius::Radius>)
        .expect("the engines' declarations hold")
}
