//! Which lines an image logs by defmt. What fills them in is left to `defmt-print`.

use std::collections::BTreeMap;

use crate::board::Board;
use crate::{Failure, check as holds, image};

/// Every frame names a line that the image has, and those with each of these texts are among them.
pub(crate) fn check(board: &Board, texts: &[&str]) -> Result<(), Failure> {
    let (lines, bytes) = (image::log_lines(board.image())?, board.logs()?);
    let mut counts = BTreeMap::new();
    // A zero ends a frame; the last one may be in the making.
    let end = bytes.iter().rposition(|byte| *byte == 0).unwrap_or_default();
    for frame in bytes[..end].split(|byte| *byte == 0).filter(|frame| !frame.is_empty()) {
        let frame = rzcobs::decode(frame).map_err(|_| "a damaged frame of defmt")?;
        let index = frame.first_chunk().ok_or("an empty frame of defmt")?;
        let line = lines.get(&u64::from(u16::from_le_bytes(*index)));
        *counts.entry(line.ok_or("a frame of defmt that names no line")?).or_insert(0_u32) += 1;
    }
    println!("{} bytes of log lines:", bytes.len());
    for (line, count) in &counts {
        println!("  {count} x {}", line.chars().take(80).collect::<String>());
    }
    for text in texts {
        let found = counts.keys().any(|line| line.contains(text));
        holds(found, || format!("{text:?} was never logged"))?;
    }
    Ok(())
}
