//! Runs tasks, and sleeps in WFI between them.
//!
//! Embassy's own loop sleeps in WFE, which QEMU takes for a mere pause: it would burn a core.

use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use embassy_executor::{SpawnError, SpawnToken, Spawner, raw};
use static_cell::StaticCell;

use crate::{clock, console};

static WOKEN: AtomicBool = AtomicBool::new(false);
static POLLS: AtomicU32 = AtomicU32::new(0);

#[unsafe(export_name = "__pender")]
fn pend(_: *mut ()) {
    WOKEN.store(true, Ordering::SeqCst);
}

/// How often a task was woken and the executor had something to do, since the start.
#[must_use]
pub fn polls() -> u32 {
    POLLS.load(Ordering::Relaxed)
}

/// Microseconds that all polls took, and the longest of them.
#[cfg(feature = "meter")]
#[must_use]
pub fn busy() -> (u32, u32) {
    (BUSY.load(Ordering::Relaxed), LONGEST.load(Ordering::Relaxed))
}

#[cfg(feature = "meter")]
static BUSY: AtomicU32 = AtomicU32::new(0);
#[cfg(feature = "meter")]
static LONGEST: AtomicU32 = AtomicU32::new(0);

/// Starts a task; each can run only once at a time.
pub fn spawn<S>(spawner: Spawner, task: Result<SpawnToken<S>, SpawnError>) {
    spawner.spawn(console::need(task.ok(), "spawn"));
}

/// Starts the clock and runs. Never returns; `begin` spawns the first task.
pub fn start(begin: impl FnOnce(Spawner)) -> ! {
    static EXECUTOR: StaticCell<raw::Executor> = StaticCell::new();
    let executor: &'static raw::Executor =
        EXECUTOR.init_with(|| raw::Executor::new(ptr::null_mut()));
    let core = console::need(cortex_m::Peripherals::take(), "peripherals");
    clock::start(core.SYST);
    // The deepest place of the stack is in here: frames of interrupts shall not come on top of it.
    critical_section::with(|_| begin(executor.spawner()));
    loop {
        cortex_m::interrupt::disable();
        if !WOKEN.swap(false, Ordering::SeqCst) {
            cortex_m::asm::wfi(); // ends with an interrupt that is pending, masked or not
        } else {
            POLLS.fetch_add(1, Ordering::Relaxed);
        }
        // SAFETY: there is no critical section around.
        unsafe { cortex_m::interrupt::enable() };
        #[cfg(feature = "meter")]
        let begun = crate::board::counter();
        // SAFETY: this is the only place that polls, and it is not entered from within.
        unsafe { executor.poll() };
        #[cfg(feature = "meter")]
        {
            let took = crate::board::counter().wrapping_sub(begun);
            BUSY.fetch_add(took, Ordering::Relaxed);
            LONGEST.fetch_max(took, Ordering::Relaxed);
        }
    }
}
