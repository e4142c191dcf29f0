//! Lines of defmt by UART 0, the way out that the emulator has. On a chip with a debug probe it
//! would be `defmt-rtt`.

use core::cell::UnsafeCell;
use core::ptr;

use critical_section::RestoreState;
use defmt::{Encoder, Logger};

use crate::{board, console};

const DATA: usize = 0x00;
const STATE: usize = 0x04;
const CONTROL: usize = 0x08;
const BAUD: usize = 0x10;
/// Of `STATE`: no byte is taken.
const FULL: u32 = 1;
/// Of `CONTROL`: bytes are sent.
const SEND: u32 = 1;
/// Smallest divisor of the core clock.
const FASTEST: u32 = 16;

struct Frame {
    encoder: Encoder,
    restore: RestoreState,
    open: bool,
}

struct Shared(UnsafeCell<Frame>);

// SAFETY: it is used between `acquire` and `release` alone, with interrupts off.
unsafe impl Sync for Shared {}

static FRAME: Shared = Shared(UnsafeCell::new(Frame {
    encoder: Encoder::new(),
    restore: RestoreState::invalid(),
    open: false,
}));

#[defmt::global_logger]
struct Uart;

// SAFETY: a frame is whole, as no interrupt and no second frame comes in between.
unsafe impl Logger for Uart {
    fn acquire() {
        // SAFETY: `release` ends it.
        let restore = unsafe { critical_section::acquire() };
        // SAFETY: interrupts are off, and it is not in use.
        let frame = unsafe { &mut *FRAME.0.get() };
        if frame.open {
            console::fail("a line within a line");
        }
        (frame.open, frame.restore) = (true, restore);
        write(BAUD, FASTEST);
        write(CONTROL, SEND);
        frame.encoder.start_frame(send);
    }

    unsafe fn flush() {} // what is written is sent

    unsafe fn release() {
        // SAFETY: between `acquire` and here nothing else uses it.
        let frame = unsafe { &mut *FRAME.0.get() };
        frame.encoder.end_frame(send);
        frame.open = false;
        // SAFETY: that of `acquire`.
        unsafe { critical_section::release(frame.restore) };
    }

    unsafe fn write(bytes: &[u8]) {
        // SAFETY: between `acquire` and `release` nothing else uses it.
        let frame = unsafe { &mut *FRAME.0.get() };
        frame.encoder.write(bytes, send);
    }
}

fn send(bytes: &[u8]) {
    for byte in bytes {
        // SAFETY: a register of the board that is always readable.
        while unsafe { ptr::read_volatile((board::UART + STATE) as *const u32) } & FULL != 0 {}
        write(DATA, u32::from(*byte));
    }
}

fn write(register: usize, value: u32) {
    // SAFETY: a register of the board that is always writable.
    unsafe { ptr::write_volatile((board::UART + register) as *mut u32, value) }
}
