//! `instructions`: what a record costs the emulated core, to the instruction.

use core::time::Duration;

use crate::Failure;
use crate::board::{Board, Setup};

pub(crate) fn run() -> Result<(), Failure> {
    print("instructions", &["produced", "consumed"])
}

/// The same of telemetry's samples in batches of 4 KiB, as they are and compressed.
pub(crate) fn samples() -> Result<(), Failure> {
    print("instructions-lz4", &["sampled", "packed"])
}

fn print(image: &str, words: &[&str]) -> Result<(), Failure> {
    let board = Board::start(&Setup::new(image).counted())?;
    for word in words {
        let line = board.wait(word, Duration::from_secs(120), |_| Ok(()))?;
        println!("{} instructions per {word} record", line.number("instructions")?);
    }
    Ok(())
}
