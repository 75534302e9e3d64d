//! Asking something with one UDP packet.

use super::Fault;
use crate::BoxFuture;
use coffer_types::secret;
use std::time::Duration;

/// Sends a packet and waits for the one that answers it.
pub trait Datagrams: Send + Sync {
    /// The first packet from the asked address and port for which [`Question::answers`] holds; the others are dropped without
    /// a word, and the wait goes on.
    ///
    /// # Errors
    /// [`Unreachable`](super::FaultKind::Unreachable) where none came in time.
    fn ask<'a>(&'a self, question: Question<'a>) -> BoxFuture<'a, Result<secret::Bytes, Fault>>;
}

/// One question.
pub struct Question<'a> {
    pub host: &'a str,
    pub port: u16,
    pub packet: &'a [u8],
    /// How often the packet is sent, in equal parts of the time.
    pub tries: u32,
    /// For everything.
    pub timeout: Duration,
    /// Whether a packet is the answer: it is forged otherwise, or for someone else.
    pub answers: &'a (dyn Fn(&[u8]) -> bool + Send + Sync),
}
