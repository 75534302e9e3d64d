//! How commits are told to those who cache.

use crate::{Key, Revision};
use parking_lot::Mutex;
use std::{fmt, sync::Arc};
use tokio::sync::broadcast;

/// How many commits a watcher may be behind before it is told that it lags.
const BACKLOG: usize = 1024;

/// One commit, as a watcher hears of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// Its revision. Consecutive events rise, and need not be adjacent numbers.
    pub revision: Revision,
    /// The keys that it wrote or removed, in the order of the batch.
    pub keys: Arc<[Key]>,
}

/// Hears every commit since it was made.
///
/// A cache that gets any [`WatchError`] no longer knows what is true: it must forget what it holds, and after
/// [`WatchError::Closed`] answer nothing.
pub struct Watch(broadcast::Receiver<Committed>);

/// Why a watcher missed commits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WatchError {
    /// It did not keep up, and this many commits are lost to it. It hears the later ones.
    Lagged(u64),
    /// The store was closed or failed. It hears nothing more.
    Closed,
}

impl Watch {
    /// The next commit; waits for one.
    ///
    /// # Errors
    /// See [`WatchError`].
    pub async fn next(&mut self) -> Result<Committed, WatchError> {
        self.0.recv().await.map_err(|error| match error {
            broadcast::error::RecvError::Lagged(count) => WatchError::Lagged(count),
            broadcast::error::RecvError::Closed => WatchError::Closed,
        })
    }

    /// The next commit if there is one already. After [`crate::Store::commit`] returned there is.
    ///
    /// # Errors
    /// See [`WatchError`].
    pub fn next_now(&mut self) -> Result<Option<Committed>, WatchError> {
        match self.0.try_recv() {
            Ok(committed) => Ok(Some(committed)),
            Err(broadcast::error::TryRecvError::Empty) => Ok(None),
            Err(broadcast::error::TryRecvError::Lagged(count)) => Err(WatchError::Lagged(count)),
            Err(broadcast::error::TryRecvError::Closed) => Err(WatchError::Closed),
        }
    }
}

/// The store's end: told of commits one after the other, in their order.
pub(crate) struct Publisher(Mutex<Option<broadcast::Sender<Committed>>>);

impl Publisher {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Some(broadcast::channel(BACKLOG).0)))
    }

    pub(crate) fn watch(&self) -> Watch {
        match self.0.lock().as_ref() {
            Some(sender) => Watch(sender.subscribe()),
            // A closed store's watch hears at once that it is closed.
            None => Watch(broadcast::channel(1).1),
        }
    }

    /// Tells a commit. `keys` is only asked for where somebody listens; a watcher that starts now hears
    /// this commit or sees it in its first snapshot, which is made after the watch.
    pub(crate) fn tell(&self, revision: Revision, keys: impl FnOnce() -> Arc<[Key]>) {
        let sender = self.0.lock();
        if let Some(sender) = sender.as_ref().filter(|sender| sender.receiver_count() > 0) {
            // The only error is that the last watcher has just gone, which is no error here.
            sender.send(Committed { revision, keys: keys() }).ok();
        }
    }

    pub(crate) fn close(&self) {
        *self.0.lock() = None;
    }
}

impl fmt::Display for WatchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lagged(count) => write!(f, "{count} commits passed unheard"),
            Self::Closed => write!(f, "the store is closed and tells no commits"),
        }
    }
}

impl std::error::Error for WatchError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn tell(publisher: &Publisher, revision: u64) {
        let key = Key::try_from(revision.to_string().as_str()).unwrap();
        publisher.tell(Revision(revision), || [key].into());
    }

    #[test]
    fn a_watcher_that_lags_is_told_so_and_then_goes_on() {
        let publisher = Publisher::new();
        let mut watch = publisher.watch();
        let behind = BACKLOG as u64 + 10;
        for revision in 1..=behind {
            tell(&publisher, revision);
        }
        assert!(matches!(watch.next_now(), Err(WatchError::Lagged(missed)) if missed >= 10));
        let mut last = None;
        while let Some(committed) = watch.next_now().unwrap() {
            last = Some(committed.revision);
        }
        assert_eq!(last, Some(Revision(behind)));
    }

    #[test]
    fn closing_ends_old_watches_and_new_ones() {
        let publisher = Publisher::new();
        let mut old = publisher.watch();
        tell(&publisher, 1);
        publisher.close();
        tell(&publisher, 2);
        assert_eq!(old.next_now().unwrap().unwrap().revision, Revision(1));
        assert_eq!(old.next_now(), Err(WatchError::Closed));
        assert_eq!(publisher.watch().next_now(), Err(WatchError::Closed));
    }
}
