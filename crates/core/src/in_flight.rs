//! The calls that are being answered, and how many were.

use coffer_engine::Call;
use coffer_types::{Operation, Timestamp};
use parking_lot::Mutex;
use std::sync::Arc;

/// Notes calls from their beginning to their end. Every call pays for it, so it takes one short lock at each end.
#[derive(Default)]
pub struct InFlight(Mutex<Slots>);

#[derive(Default)]
struct Slots {
    calls: Vec<Option<(Arc<Call>, Timestamp)>>,
    free: Vec<usize>,
    begun: [u64; Operation::ALL.len()],
}

/// A call under way; dropping it ends it.
#[must_use = "dropping it ends the call"]
pub struct Begun<'a> {
    of: &'a InFlight,
    slot: usize,
}

impl InFlight {
    pub fn begin(&self, call: &Arc<Call>, now: Timestamp) -> Begun<'_> {
        let mut slots = self.0.lock();
        slots.begun[call.operation as usize] += 1;
        let entry = Some((call.clone(), now));
        let slot = match slots.free.pop() {
            Some(slot) => {
                slots.calls[slot] = entry;
                slot
            }
            None => {
                slots.calls.push(entry);
                slots.calls.len() - 1
            }
        };
        Begun { of: self, slot }
    }

    /// Those under way with the time of their beginning, in no order.
    pub fn calls(&self) -> Vec<(Arc<Call>, Timestamp)> {
        self.0.lock().calls.iter().flatten().cloned().collect()
    }

    /// How many calls of each operation have begun since the start.
    pub fn begun(&self) -> [(Operation, u64); Operation::ALL.len()] {
        let begun = self.0.lock().begun;
        Operation::ALL.map(|operation| (operation, begun[operation as usize]))
    }
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        let mut slots = self.of.0.lock();
        // The call itself goes after the lock.
        let _ended = slots.calls[self.slot].take();
        slots.free.push(self.slot);
        drop(slots);
    }
}
