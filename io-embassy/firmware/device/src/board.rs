//! Addresses and interrupts of Arm's mps2-an386 (Cortex-M4F, 25 MHz).

use core::ptr;

use cortex_m::interrupt::InterruptNumber;
use cortex_m::peripheral::NVIC;

/// Core clock.
pub const CORE_HZ: u32 = 25_000_000;
/// Registers of the LAN9118.
pub const ETHERNET: usize = 0x4020_0000;
/// Registers of the first CMSDK UART.
pub const UART: usize = 0x4000_4000;
/// Registers of the CMSDK watchdog.
pub const WATCHDOG: usize = 0x4000_8000;

const ETHERNET_IRQ: u16 = 13;
/// FPGA I/O: a 32-bit counter that never stops, and what its clock is divided by, less one.
const COUNTER: *const u32 = 0x4002_8018 as *const u32;
const PRESCALER: *mut u32 = 0x4002_801C as *mut u32;

/// Lets [`counter`] run at `hz`, which divides [`CORE_HZ`].
pub fn start_counter(hz: u32) {
    // SAFETY: a register of the board that is always writable.
    unsafe { ptr::write_volatile(PRESCALER, CORE_HZ / hz - 1) }
}

/// The free-running counter; wraps.
#[must_use]
pub fn counter() -> u32 {
    // SAFETY: a register of the board that is always readable.
    unsafe { ptr::read_volatile(COUNTER) }
}

#[derive(Clone, Copy)]
struct Irq(u16);

// SAFETY: the number is that of the board's manual, and within the NVIC's range.
unsafe impl InterruptNumber for Irq {
    fn number(self) -> u16 {
        self.0
    }
}

/// Lets the Ethernet controller interrupt.
pub fn enable_ethernet() {
    // SAFETY: its handler shares no data with critical sections that mask by priority.
    unsafe { NVIC::unmask(Irq(ETHERNET_IRQ)) }
}

#[cortex_m_rt::exception]
unsafe fn DefaultHandler(irq: i16) {
    if u16::try_from(irq) == Ok(ETHERNET_IRQ) {
        crate::lan9118::on_interrupt();
    } else {
        crate::console::fail("unexpected interrupt");
    }
}

#[cortex_m_rt::exception]
unsafe fn HardFault(frame: &cortex_m_rt::ExceptionFrame) -> ! {
    crate::console::Line::new("fault").number("pc", frame.pc()).number("lr", frame.lr()).print();
    crate::console::exit(false)
}
