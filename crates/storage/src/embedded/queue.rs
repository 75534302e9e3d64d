//! Batches that wait for the committer.

use crate::{Batch, CommitError, Revision};
use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;
use tokio::sync::oneshot;

/// A group ends before the batch with which it would pass this many bytes.
const GROUP_BYTES: usize = 8 * 1024 * 1024;

/// The most batches in a group.
const GROUP_BATCHES: usize = 1024;

/// One batch and who waits for it.
pub(super) struct Request {
    pub(super) batch: Batch,
    pub(super) answer: oneshot::Sender<Result<Revision, CommitError>>,
}

/// First in, first out; many push, one takes.
#[derive(Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    filled: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Request>,
    closed: bool,
}

impl Queue {
    /// Adds a batch; gives where the answer comes, or nothing once the queue is closed.
    pub(super) fn push(&self, batch: Batch) -> Option<oneshot::Receiver<Result<Revision, CommitError>>> {
        let (answer, answered) = oneshot::channel();
        let mut state = self.state.lock();
        if state.closed {
            return None;
        }
        state.waiting.push_back(Request { batch, answer });
        drop(state);
        self.filled.notify_one();
        Some(answered)
    }

    /// What waits, up to a group's limits; waits for the first. `None` once it is closed and empty.
    pub(super) fn take_group(&self) -> Option<Vec<Request>> {
        let mut state = self.state.lock();
        while state.waiting.is_empty() {
            if state.closed {
                return None;
            }
            self.filled.wait(&mut state);
        }
        let mut group = Vec::new();
        let mut bytes = 0;
        while let Some(next) = state.waiting.front() {
            bytes += next.batch.size();
            if group.len() == GROUP_BATCHES || (bytes > GROUP_BYTES && !group.is_empty()) {
                break;
            }
            group.extend(state.waiting.pop_front());
        }
        Some(group)
    }

    /// Refuses new batches; those that wait are still taken.
    pub(super) fn close(&self) {
        self.state.lock().closed = true;
        self.filled.notify_one();
    }

    /// Refuses new batches and forgets those that wait, which tells them.
    pub(super) fn abandon(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        state.waiting.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Key;

    fn batch(bytes: usize) -> Batch {
        Batch::default().put(Key::try_from("k").unwrap(), vec![0; bytes - 1])
    }

    #[test]
    fn a_group_is_bounded_and_a_large_batch_goes_alone() {
        let queue = Queue::default();
        let _waiting: Vec<_> = [GROUP_BYTES + 1, 10, GROUP_BYTES - 10, 1].map(|bytes| queue.push(batch(bytes)).unwrap()).into();
        queue.close();
        let sizes: Vec<usize> = std::iter::from_fn(|| queue.take_group()).map(|group| group.len()).collect();
        assert_eq!(sizes, [1, 2, 1]);
    }

    #[test]
    fn a_closed_queue_takes_nothing_more_and_an_abandoned_one_tells_who_waits() {
        let queue = Queue::default();
        let mut answer = queue.push(batch(1)).unwrap();
        queue.close();
        assert!(queue.push(batch(1)).is_none());
        queue.abandon();
        assert!(answer.try_recv().is_err());
        assert!(queue.take_group().is_none());
    }
}
