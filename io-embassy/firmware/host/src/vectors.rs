//! `vectors`: the codec gives the same on the board as on this host.

use core::time::Duration;

use crate::board::{Board, Setup};
use crate::{Failure, check};

pub(crate) fn run() -> Result<(), Failure> {
    let mut expected = Vec::new();
    agreement::each(|digest| expected.push(digest));
    let board = Board::start(&Setup::new("vectors"))?;
    for (number, (name, sum)) in (0..).zip(&expected) {
        let line = board.wait("vector", Duration::from_secs(60), |_| Ok(()))?;
        let (got, same) = (line.number("sum")?, line.number("number")? == number);
        check(same && got == *sum, || format!("{name}: {got:#x} on the board, {sum:#x} here"))?;
        check(*sum != 0, || format!("{name}: wrong, here and there"))?;
    }
    board.wait("end", Duration::from_secs(10), |_| Ok(()))?;
    println!("{} vectors agree", expected.len());
    Ok(())
}
