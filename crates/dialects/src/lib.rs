//! The wire protocols that clients already speak. A dialect turns bytes into a call and a reply into bytes.
//!
//! It is pure: no state, no decision, no I/O. What is absent: no dialect knows a mount, a policy or a store;
//! none has seen a socket. The server reads a request, [`pick`] says who speaks, that dialect's `decode` makes
//! the call, the core answers it, and the dialect's `encode` renders what came back.

pub mod pick;
mod unbuilt;
pub mod vault;
