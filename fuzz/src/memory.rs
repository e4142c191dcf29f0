//! An allocator that counts, and that refuses more than a limit: the client must not allocate, and
//! the codec that it is compared with must not exhaust the machine's memory.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
    static LIMIT: Cell<usize> = const { Cell::new(usize::MAX) };
}

struct Counting;

// SAFETY: all memory comes from and goes to `System`, under the same layouts; null is a legal
// result.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        if layout.size() > LIMIT.get() {
            return core::ptr::null_mut();
        }
        // SAFETY: the caller's guarantees are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: `at` was allocated by `alloc` above, so by `System`.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Returns the result of `act`.
///
/// # Panics
/// When it allocates.
#[track_caller]
pub(crate) fn still<T>(act: impl FnOnce() -> T) -> T {
    let before = COUNT.get();
    let result = act();
    let count = COUNT.get() - before;
    assert!(count == 0, "{count} allocations");
    result
}

/// Runs `act`; a single allocation above `limit` bytes fails in it.
pub(crate) fn within<T>(limit: usize, act: impl FnOnce() -> T) -> T {
    /// Lifts the limit, also when `act` panics.
    struct Lift;
    impl Drop for Lift {
        fn drop(&mut self) {
            LIMIT.set(usize::MAX);
        }
    }
    let _lift = Lift;
    LIMIT.set(limit);
    act()
}
