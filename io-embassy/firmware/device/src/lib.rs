//! What the examples share: the board, its network, and what it reports to the host.

#![no_std]

use kavka_embassy::core::Event;

pub mod backlog;
pub mod board;
pub mod clock;
pub mod console;
pub mod executor;
pub mod in_flight;
pub mod lan9118;
pub mod network;
pub mod stack;
#[cfg(feature = "defmt")]
mod uart;
pub mod watchdog;

/// An event as a line of defmt, in images that have it.
#[cfg_attr(feature = "defmt", inline(never))] // or its frame would be part of every poll
pub fn note(event: &Event<'_>) {
    #[cfg(feature = "defmt")]
    defmt::info!("{}", event);
    let _ = event;
}

/// Value of a record that the host checks: `run`, `key` and `turn` as big-endian 32-bit numbers,
/// then dots.
#[must_use]
pub fn entry<const LEN: usize>(run: u32, key: u32, turn: u32) -> [u8; LEN] {
    let mut value = [b'.'; LEN];
    for (place, number) in value.chunks_exact_mut(4).zip([run, key, turn]) {
        place.copy_from_slice(&number.to_be_bytes());
    }
    value
}
