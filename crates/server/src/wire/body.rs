//! Reading a request's body, within its size, its time, and what all bodies together may take.

use bytes::Bytes;
use coffer_dialects::vault::Refusal;
use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};
use std::ops::Deref;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;
use zeroize::{Zeroize, Zeroizing};

/// A whole body.
#[derive(Debug)]
pub(super) enum Whole<'a> {
    /// It came in one piece: as it lies in the connection's buffer.
    Piece(Bytes),
    /// Put together; wiped on drop, and given back to the budget.
    Gathered { text: Zeroizing<Vec<u8>>, _spent: Spent<'a> },
}

impl Deref for Whole<'_> {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        match self {
            Self::Piece(bytes) => bytes,
            Self::Gathered { text, .. } => text,
        }
    }
}

/// How many bytes the bodies of all connections may take together while they arrive, so that many slow clients
/// with large bodies can't take all memory.
#[derive(Debug)]
pub(super) struct Budget {
    left: AtomicUsize,
}

/// A part of the budget, given back on drop.
#[derive(Debug)]
pub(super) struct Spent<'a> {
    budget: &'a Budget,
    bytes: usize,
}

impl Budget {
    pub(super) const fn new(bytes: usize) -> Self {
        Self { left: AtomicUsize::new(bytes) }
    }

    fn nothing(&self) -> Spent<'_> {
        Spent { budget: self, bytes: 0 }
    }
}

impl Spent<'_> {
    fn add(&mut self, bytes: usize) -> Result<(), Refusal> {
        let taken = self.budget.left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(bytes));
        taken.map_err(|_| Refusal::busy())?;
        self.bytes += bytes;
        Ok(())
    }
}

impl Drop for Spent<'_> {
    fn drop(&mut self) {
        self.budget.left.fetch_add(self.bytes, Relaxed);
    }
}

/// Reads `body` to its end: at most `limit` bytes (`None` is without limit), within `timeout`.
pub(super) async fn read(
    body: Incoming,
    limit: Option<usize>,
    timeout: Option<Duration>,
    budget: &Budget,
) -> Result<Whole<'_>, Refusal> {
    if body.is_end_stream() {
        return Ok(Whole::Piece(Bytes::new()));
    }
    let limit = limit.unwrap_or(usize::MAX);
    let too_large = || Refusal::too_large(u64::try_from(limit).unwrap_or(u64::MAX));
    // What says that it will be too large is not waited for.
    if usize::try_from(body.size_hint().lower()).map_or(true, |least| least > limit) {
        return Err(too_large());
    }
    let gather = gather(body, limit, too_large, budget);
    match timeout {
        None => gather.await,
        Some(timeout) => tokio::time::timeout(timeout, gather).await.unwrap_or_else(|_| Err(Refusal::too_slow())),
    }
}

async fn gather(
    mut body: Incoming,
    limit: usize,
    too_large: impl Fn() -> Refusal,
    budget: &Budget,
) -> Result<Whole<'_>, Refusal> {
    let first = loop {
        match next(&mut body).await? {
            None => return Ok(Whole::Piece(Bytes::new())),
            Some(piece) if piece.is_empty() => {}
            Some(piece) => break piece,
        }
    };
    if first.len() > limit {
        return Err(too_large());
    }
    if body.is_end_stream() {
        return Ok(Whole::Piece(first));
    }
    let mut spent = budget.nothing();
    let mut text = Zeroizing::new(Vec::new());
    append(&mut text, &first, &mut spent)?;
    drop(first);
    while let Some(piece) = next(&mut body).await? {
        if piece.len() > limit - text.len() {
            return Err(too_large());
        }
        append(&mut text, &piece, &mut spent)?;
    }
    Ok(Whole::Gathered { text, _spent: spent })
}

/// The next piece of data; trailers say nothing here.
async fn next(body: &mut Incoming) -> Result<Option<Bytes>, Refusal> {
    while let Some(frame) = body.frame().await {
        match frame.map(hyper::body::Frame::into_data) {
            Ok(Ok(piece)) => return Ok(Some(piece)),
            Ok(Err(_)) => {}
            Err(_) => return Err(Refusal::broken_off()),
        }
    }
    Ok(None)
}

/// Appends, growing by hand: what is left behind by a reallocation is wiped.
fn append(text: &mut Vec<u8>, piece: &[u8], spent: &mut Spent<'_>) -> Result<(), Refusal> {
    let needed = text.len() + piece.len();
    if needed > text.capacity() {
        let room = needed.max(text.capacity() * 2).max(16 << 10);
        spent.add(room - text.capacity())?;
        let mut larger = Vec::with_capacity(room);
        larger.extend_from_slice(text);
        text.zeroize();
        *text = larger;
    }
    text.extend_from_slice(piece);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_budget_is_shared_and_given_back() {
        let budget = Budget::new(100 << 10);
        let mut text = Vec::new();
        let mut spent = budget.nothing();
        append(&mut text, &[1; 60 << 10], &mut spent).unwrap();
        let (mut other, mut other_spent) = (Vec::new(), budget.nothing());
        assert!(append(&mut other, &[1; 60 << 10], &mut other_spent).is_err());
        assert!(other.is_empty());
        drop(spent);
        append(&mut other, &[1; 60 << 10], &mut other_spent).unwrap();
        drop(other_spent);
        assert_eq!(budget.left.load(Relaxed), 100 << 10);
    }

    #[test]
    fn growing_keeps_what_was_there() {
        let budget = Budget::new(usize::MAX);
        let mut spent = budget.nothing();
        let mut text = Vec::new();
        for n in 0..100_000u32 {
            append(&mut text, &n.to_be_bytes(), &mut spent).unwrap();
        }
        assert_eq!(text.len(), 400_000);
        assert!(text.chunks(4).enumerate().all(|(n, b)| b == u32::try_from(n).unwrap().to_be_bytes()));
        assert!(spent.bytes >= text.len());
    }
}
