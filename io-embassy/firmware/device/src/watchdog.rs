//! The board's watchdog: bites when some task has not reported for too long.

use core::ptr;
use core::sync::atomic::{AtomicU32, Ordering};

use embassy_time::Timer;

use crate::{board, clock, console};

/// How long the watchdog waits for its food, in milliseconds.
pub const PATIENCE: u32 = 4000;
/// How often it is fed.
const MEAL: u64 = 250;

const LOAD: usize = 0x00;
const CONTROL: usize = 0x08;
const CLEAR: usize = 0x0C;
const LOCK: usize = 0xC00;
const UNLOCK: u32 = 0x1ACC_E551;

static REPORTED: AtomicU32 = AtomicU32::new(0);
static LONGEST: AtomicU32 = AtomicU32::new(0);

fn write(register: usize, value: u32) {
    // SAFETY: a register of the board that is always writable.
    unsafe { ptr::write_volatile((board::WATCHDOG + register) as *mut u32, value) }
}

/// Reports that task number `task` (0 to 31) works.
pub fn report(task: u32) {
    REPORTED.fetch_or(1 << task, Ordering::Relaxed);
}

/// The longest time without food so far, in milliseconds.
#[must_use]
pub fn longest_wait() -> u32 {
    LONGEST.load(Ordering::Relaxed)
}

/// Starts the watchdog, and feeds it whenever tasks 0 to `tasks - 1` have all reported.
#[embassy_executor::task]
pub async fn watch(tasks: u32) {
    write(LOCK, UNLOCK);
    write(LOAD, PATIENCE * (board::CORE_HZ / 1000));
    write(CONTROL, 0b11); // an NMI first, a reset when that is not served
    write(LOCK, 0);
    let all = (1 << tasks) - 1;
    let mut fed = clock::millis();
    loop {
        Timer::after_millis(MEAL).await;
        if REPORTED.load(Ordering::Relaxed) & all != all {
            continue;
        }
        REPORTED.store(0, Ordering::Relaxed);
        write(LOCK, UNLOCK);
        write(CLEAR, 1);
        write(LOCK, 0);
        let now = clock::millis();
        LONGEST.fetch_max(now - fed, Ordering::Relaxed);
        fed = now;
    }
}

#[cortex_m_rt::exception]
unsafe fn NonMaskableInt() {
    console::Line::new("watchdog").number("reported", REPORTED.load(Ordering::Relaxed)).print();
    console::fail("watchdog");
}
