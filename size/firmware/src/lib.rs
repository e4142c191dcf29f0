//! Parts of every image: a clock, and a byte pipe instead of a network. Both are registers, so that
//! the compiler cannot predict the input and has to keep all code that might be reached.

#![no_std]

pub mod events;
#[cfg(feature = "defmt")]
mod log;
pub mod net;
#[cfg(feature = "consumer")]
pub mod orders;
#[cfg(feature = "producer")]
pub mod readings;

use core::ptr;

/// CMSDK timer 0 of the mps2 boards: its counter.
const TIMER: *const u32 = 0x4000_0004 as *const u32;
/// CMSDK UART 0: data, then status (bit 0: transmitter full, bit 1: a byte has arrived).
const UART: *mut u32 = 0x4000_4000 as *mut u32;
const UART_STATUS: *const u32 = 0x4000_4004 as *const u32;
/// LEDs of the board.
const LEDS: *mut u32 = 0x4002_8000 as *mut u32;

/// Returns the microseconds since boot.
#[must_use]
pub fn micros() -> u64 {
    // SAFETY: a register that is always readable.
    u64::from(unsafe { ptr::read_volatile(TIMER) })
}

/// Returns a byte from the peer, if one has arrived.
#[must_use]
pub fn read() -> Option<u8> {
    // SAFETY: registers that are always readable.
    unsafe { (ptr::read_volatile(UART_STATUS) & 2 != 0).then(|| ptr::read_volatile(UART) as u8) }
}

/// Passes a byte to the peer; returns false when it has to wait.
#[must_use]
pub fn write(byte: u8) -> bool {
    // SAFETY: registers that are always accessible.
    unsafe {
        let ready = ptr::read_volatile(UART_STATUS) & 1 == 0;
        if ready {
            ptr::write_volatile(UART, u32::from(byte));
        }
        ready
    }
}

/// Fills `room` with the bytes that have arrived; returns how many.
#[must_use]
pub fn read_some(room: &mut [u8]) -> usize {
    room.iter_mut().zip(core::iter::from_fn(read)).map(|(place, byte)| *place = byte).count()
}

/// Passes as much of `bytes` as the peer takes; returns how much.
#[must_use]
pub fn write_some(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|byte| write(**byte)).count()
}

/// Outputs `value`, so that its computation cannot be left out.
pub fn signal(value: u32) {
    // SAFETY: a register that is always writable.
    unsafe { ptr::write_volatile(LEDS, value) }
}
