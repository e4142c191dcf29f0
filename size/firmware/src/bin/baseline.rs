//! The board, the clock and the byte pipe, without kavka: an echo.

#![no_std]
#![no_main]

use cortex_m_rt::entry;
use kavka_size::{micros, read_some, write_some};
use panic_halt as _;

#[entry]
fn main() -> ! {
    let mut line = [0; 16];
    loop {
        let len = read_some(&mut line);
        line[0] ^= micros() as u8;
        let _ = write_some(&line[..len]);
    }
}
