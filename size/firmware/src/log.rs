//! Writes defmt's bytes to the byte pipe.

use defmt::{Encoder, Logger, global_logger};

use crate::write;

#[global_logger]
struct Pipe;

static mut ENCODER: Encoder = Encoder::new();

fn put(bytes: &[u8]) {
    for byte in bytes {
        while !write(*byte) {}
    }
}

// SAFETY: one thread and no interrupt logs, so that no two loggers are ever active at once.
unsafe impl Logger for Pipe {
    fn acquire() {
        // SAFETY: see above.
        unsafe { (*&raw mut ENCODER).start_frame(put) }
    }

    unsafe fn flush() {}

    unsafe fn release() {
        // SAFETY: see above.
        unsafe { (*&raw mut ENCODER).end_frame(put) }
    }

    unsafe fn write(bytes: &[u8]) {
        // SAFETY: see above.
        unsafe { (*&raw mut ENCODER).write(bytes, put) }
    }
}
