//! Listeners and connections: bytes from a socket to the dialect, and back.
//!
//! One task a connection: it reads a request, lets the dialect make a call of it, awaits the core's answer and
//! writes it, with no channel and no other task in between. What is absent: nothing here decides anything about
//! a call; nothing here outlives its connection but the listeners' settings, which SIGHUP replaces.

mod activity;
mod body;
mod connection;
mod cors;
mod forwarded;
mod headers;
mod listen;
mod serve;
mod settings;
mod stream;
mod tls;
mod unix;

pub use listen::{Bound, ListenError, Wire, bind};
pub use serve::Serve;
pub use settings::Defaults;
pub use tls::TlsError;
