//! The clock: `now` from the counter that never stops, alarms from SysTick.
//!
//! Counting SysTick interrupts instead would lose time when the host keeps the emulator waiting.

use core::cell::RefCell;
use core::task::Waker;

use cortex_m::peripheral::SYST;
use cortex_m::peripheral::syst::SystClkSource;
use critical_section::Mutex;
use embassy_time_driver::{Driver, TICK_HZ};
use embassy_time_queue_utils::Queue;

use crate::board;

/// In microseconds. Longer would be fine on a chip (up to 671 ms); QEMU looks after a connection
/// that its user network opens only when it wakes up.
const LONGEST_SLEEP: u64 = 1000;

struct State {
    /// How often the counter wrapped.
    wraps: u32,
    last: u32,
    alarm: Option<SYST>,
    queue: Queue,
}

struct Clock(Mutex<RefCell<State>>);

embassy_time_driver::time_driver_impl!(static CLOCK: Clock = Clock(Mutex::new(RefCell::new(
    State { wraps: 0, last: 0, alarm: None, queue: Queue::new() }
))));

impl State {
    /// Right as long as it is read once in 71 minutes, the time of one wrap: SysTick sees to it.
    fn now(&mut self) -> u64 {
        let count = board::counter();
        self.wraps += u32::from(count < self.last);
        self.last = count;
        u64::from(self.wraps) << 32 | u64::from(count)
    }

    fn set_alarm(&mut self) {
        let now = self.now();
        let next = self.queue.next_expiration(now); // wakes what is due
        let micros = next.saturating_sub(now).clamp(2, LONGEST_SLEEP) as u32;
        if let Some(alarm) = &mut self.alarm {
            // In this order: QEMU's timer stays stopped after running with a reload of 0.
            alarm.disable_counter();
            alarm.set_reload(micros * (board::CORE_HZ / 1_000_000) - 1);
            alarm.clear_current();
            alarm.enable_counter();
        }
    }
}

impl Clock {
    fn with<R>(&self, f: impl FnOnce(&mut State) -> R) -> R {
        critical_section::with(|cs| f(&mut self.0.borrow_ref_mut(cs)))
    }
}

impl Driver for Clock {
    fn now(&self) -> u64 {
        self.with(State::now)
    }

    fn schedule_wake(&self, at: u64, waker: &Waker) {
        self.with(|state| {
            if state.queue.schedule_wake(at, waker) {
                state.set_alarm();
            }
        });
    }
}

/// Starts it; before that time stands still.
pub fn start(mut alarm: SYST) {
    board::start_counter(TICK_HZ as u32);
    alarm.set_clock_source(SystClkSource::Core);
    alarm.enable_interrupt();
    CLOCK.with(|state| {
        state.alarm = Some(alarm);
        state.set_alarm();
    });
}

/// Milliseconds since the start, for reports.
#[must_use]
pub fn millis() -> u32 {
    (CLOCK.now() / 1000) as u32
}

#[cortex_m_rt::exception]
fn SysTick() {
    CLOCK.with(State::set_alarm);
}
