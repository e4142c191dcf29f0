//! `instructions`: what a record costs the emulated core, to the instruction.

use core::time::Duration;

use crate::Failure;
use crate::board::{Board, Setup};

pub(crate) fn run() -> Result<(), Failure> {
    let board = Board::start(&Setup::new("instructions").counted())?;
    for word in ["produced", "consumed"] {
        let line = board.wait(word, Duration::from_secs(120), |_| Ok(()))?;
        println!("{} instructions per {word} record", line.number("instructions")?);
    }
    Ok(())
}
