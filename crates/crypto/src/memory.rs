//! Keys that stay out of swap and core dumps, and what the whole process does to the same end.

use std::fmt;

use rustix::mm::{MlockAllFlags, mlockall};
use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
use zeroize::Zeroize;

/// A 32-byte key alone on a page of its own, which is locked where the system allows, left out of core dumps, and wiped on drop.
pub struct LockedKey {
    page: Box<Page>,
    locked: bool,
}

/// One page for one key: unlocking it on drop can't unlock another key that happened to lie beside it. (Where the system's pages are larger
/// than 4 KiB, two keys can share one, and the first to go takes the lock of the other with it.)
#[repr(C, align(4096))]
pub(crate) struct Page([u8; 4096]);

impl LockedKey {
    /// Copies `key` into locked memory. The caller wipes its own copy (or uses [`LockedKey::take`]).
    pub fn new(key: &[u8; 32]) -> Self {
        let mut page = Box::new(Page([0; 4096]));
        // Locked before the key is in it, so that it never lies on a page that may be swapped.
        let locked = lock::lock(&page);
        page.0[..32].copy_from_slice(key);
        Self { page, locked }
    }

    /// Moves `key` into locked memory and wipes the original.
    pub fn take(key: &mut [u8; 32]) -> Self {
        let taken = Self::new(key);
        key.zeroize();
        taken
    }

    /// The key itself. Borrow it for the one call that needs it.
    pub fn expose(&self) -> &[u8; 32] {
        self.page.0.first_chunk().expect("a page is longer than a key")
    }

    /// Whether the system agreed to lock the page.
    pub fn is_locked(&self) -> bool {
        self.locked
    }
}

impl Drop for LockedKey {
    fn drop(&mut self) {
        self.page.0[..32].zeroize();
        if self.locked {
            lock::unlock(&self.page);
        }
    }
}

impl fmt::Debug for LockedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LockedKey(..)")
    }
}

/// What [`harden_process`] achieved. Each `Err` holds the system's own reason.
#[derive(Debug)]
#[must_use = "the operator should hear what the system refused"]
pub struct Hardening {
    /// Core dumps and attaching debuggers are off.
    pub dumps_off: Result<(), std::io::Error>,
    /// The whole address space is locked; `None` where that was not asked for.
    pub memory_locked: Option<Result<(), std::io::Error>>,
}

/// Turns core dumps off for the process, and locks all of its memory if `lock_all`.
///
/// Called once, first thing in `main`. Locking everything needs CAP_IPC_LOCK or a high RLIMIT_MEMLOCK, and makes later allocations
/// fail where the limit is reached; key pages are locked one by one in any case.
pub fn harden_process(lock_all: bool) -> Hardening {
    let limit = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    let dumpable = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    Hardening {
        dumps_off: limit.and(dumpable).map_err(Into::into),
        memory_locked: lock_all.then(|| mlockall(lock_flags()).map_err(Into::into)),
    }
}

/// Pages are locked as they come into use where the system can do that: to fill whole stacks and arenas at once would cost memory and
/// protect nothing.
fn lock_flags() -> MlockAllFlags {
    let all = MlockAllFlags::CURRENT | MlockAllFlags::FUTURE;
    #[cfg(target_os = "linux")]
    let all = all | MlockAllFlags::ONFAULT;
    all
}

/// The only unsafe code of the project: the system calls that lock memory take a raw address.
#[allow(unsafe_code, reason = "mlock, munlock and madvise take a raw address range; there is no safe form of them")]
mod lock {
    use std::ffi::c_void;

    use super::Page;

    /// Locks the page and leaves it out of core dumps; whether the lock was granted.
    pub(super) fn lock(page: &Page) -> bool {
        let (address, length) = range(page);
        // SAFETY: the range is exactly one live, page-aligned allocation, and the call neither reads nor writes it.
        let locked = unsafe { rustix::mm::mlock(address, length) }.is_ok();
        // Best effort, as the process is not dumpable at all once it is hardened.
        // SAFETY: as above; DONTDUMP changes nothing that the program can see.
        #[cfg(target_os = "linux")]
        unsafe { rustix::mm::madvise(address, length, rustix::mm::Advice::LinuxDontDump) }.unwrap_or_default();
        locked
    }

    /// Gives the page back to the system's ordinary care. Nothing hangs on it: a page that stays locked costs memory, not safety.
    pub(super) fn unlock(page: &Page) {
        let (address, length) = range(page);
        // SAFETY: the range is exactly one live, page-aligned allocation, and the call neither reads nor writes it.
        unsafe { rustix::mm::munlock(address, length) }.unwrap_or_default();
        // SAFETY: as above; DODUMP changes nothing that the program can see.
        #[cfg(target_os = "linux")]
        unsafe { rustix::mm::madvise(address, length, rustix::mm::Advice::LinuxDoDump) }.unwrap_or_default();
    }

    fn range(page: &Page) -> (*mut c_void, usize) {
        (std::ptr::from_ref(page).cast_mut().cast(), size_of::<Page>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_alone_on_its_page() {
        let a = LockedKey::new(&[1; 32]);
        let b = LockedKey::new(&[2; 32]);
        assert_eq!(a.expose(), &[1; 32]);
        assert_eq!(b.expose(), &[2; 32]);
        assert_eq!(a.expose().as_ptr() as usize % 4096, 0);
        drop(a);
        assert_eq!(b.expose(), &[2; 32]);
    }

    #[test]
    fn taking_wipes_the_original() {
        let mut raw = [9; 32];
        let key = LockedKey::take(&mut raw);
        assert_eq!(raw, [0; 32]);
        assert_eq!(key.expose(), &[9; 32]);
        assert_eq!(format!("{key:?}"), "LockedKey(..)");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_granted_lock_shows_in_the_kernels_count() {
        let locked_kb = || -> u64 {
            let status = std::fs::read_to_string("/proc/self/status").expect("readable");
            let line = status.lines().find(|line| line.starts_with("VmLck:")).expect("present");
            line.split_whitespace().nth(1).expect("a number").parse().expect("a number")
        };
        let keys: Vec<LockedKey> = (0..8).map(|_| LockedKey::new(&[3; 32])).collect();
        if keys.iter().all(LockedKey::is_locked) {
            assert!(locked_kb() >= 32);
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn hardening_turns_dumps_off() {
        let report = harden_process(false);
        assert!(report.dumps_off.is_ok());
        assert!(report.memory_locked.is_none());
        assert_eq!(rustix::process::dumpable_behavior().expect("known"), DumpableBehavior::NotDumpable);
        assert_eq!(rustix::process::getrlimit(Resource::Core).current, Some(0));
    }
}
