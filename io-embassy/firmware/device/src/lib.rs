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
#[cfg(feature = "tls")]
pub mod random;
#[cfg(feature = "tls")]
pub mod secure;
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

/// The same, but with readings after the numbers as a sensor would write them: temperature,
/// humidity, pressure and voltage. They drift, and their last digits are noise.
#[must_use]
pub fn sample<const LEN: usize>(run: u32, key: u32, turn: u32) -> [u8; LEN] {
    let mut value = entry(run, key, turn);
    let noise = turn.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
    let readings = [
        (b't', 204 + turn / 64 % 32 + (noise >> 30)),
        (b'h', 407 + (noise >> 27 & 7)),
        (b'p', 10_132 + (noise >> 26 & 1)),
        (b'u', 331 - (noise >> 24 & 3)),
    ];
    let mut text = value.get_mut(12..).unwrap_or_default().chunks_exact_mut(9);
    for (place, (name, tenths)) in text.by_ref().zip(readings) {
        // `t= 21.4  `: from the last digit to the first.
        place.copy_from_slice(b" =    .  ");
        place[0] = name;
        let mut rest = tenths;
        for at in [7, 5, 4, 3, 2] {
            if rest == 0 {
                break;
            }
            place[at] = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
    }
    value
}
