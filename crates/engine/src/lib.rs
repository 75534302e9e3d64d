//! The engine API. An engine (or auth method, or a topic of `sys`) is a tree of declared routes over its view
//! of the barrier: typed request in, typed reply out. From the declaration come routing, field checks and
//! their errors, the create-or-update question, help, the OpenAPI document and the audit's masking.
//!
//! ```text
//! impl Engine for Totp {
//!     const KIND: &'static str = "totp";
//!     fn open(_: &Mount) -> Result<Self> { Ok(Self) }
//!     fn declare(d: &mut Declare<Self>) {
//!         d.about("Generates and checks one-time passwords.");
//!         d.at("keys").list(list);
//!         d.at("keys/{name}").read(read).write(put).exists(found).delete(remove);
//!     }
//! }
//! ```
//!
//! Handlers are plain `async fn(Ctx<E>, Request) -> Result<Reply<Response>>` that own their context: borrowed
//! contexts do not type-check with `Send` futures on stable Rust.
//!
//! What is absent: no engine sees HTTP, another mount's keys, the store, or a policy. No engine keeps state
//! between calls: what it reads and writes through [`View`] is one transaction, committed by the pipeline
//! after the handler returns, re-run on conflict. So a handler must have no effect but on its view; one that
//! reaches outside first says so with [`Ctx::intend`].

pub mod attempt;
// The derives name this crate by its name, also in here.
extern crate self as coffer_engine;

pub mod barcode;
pub mod call;
pub mod context;
pub mod declare;
pub mod field;
pub mod help;
pub mod lease;
pub mod openapi;
pub mod outside;
pub mod reply;
pub mod route;
pub mod template;
pub mod tools;
pub mod view;

#[cfg(feature = "testing")]
pub mod testing;

pub use attempt::{Attempt, Lockout};
pub use call::{
    Call, ClientCertificate, Credential, Fields, LeftOver, ListenerTraits, Permit, Principal, RawFields, Remote, RequestId,
    WrapAsk,
};
pub use coffer_macros::{Request, Response};
pub use context::{Ctx, Host, Mount, MountClass, Renewal};
pub use declare::{Declare, Engine};
pub use field::{Field, FieldKind, FromField, IntoField, NoInput, Request, Response, Source};
pub use lease::{Intent, LeaseKind, Terms};
pub use outside::Outside;
pub use reply::{Answer, Login, Reply, TokenKind};
pub use route::{Compiled, Endpoint, Erased, Found, Miss};
pub use view::{Record, Txn, View};

use std::future::Future;
use std::pin::Pin;

pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
