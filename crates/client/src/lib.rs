//! The HTTP client of the command line and of everything that talks to a Coffer or Vault server.
//!
//! [`Config`] says where the server is and as whom to speak; it comes from flags and the environment.
//! [`Client`] sends a [`Request`] and gives a [`Response`] or an [`Error`] whose text is the one that
//! users of Vault's command line know. [`Blocking`] is the same for callers without a runtime.

mod address;
mod answer;
pub mod certificate;
mod client;
mod connect;
mod env;
mod error;
mod instead;
pub mod keyservice;
pub mod kms;
mod proxy;
mod request;
mod tls;
pub mod token;

pub use address::Address;
pub use answer::{Answer, Auth, Wrap};
pub use client::{Blocking, Client, Config, Response, Show, Stream};
pub use env::{Environment, parse_bool};
pub use error::{Api, Error, Result};
pub use instead::Instead;
pub use proxy::Proxy;
pub use request::{Method, Request};
pub use tls::Tls;
