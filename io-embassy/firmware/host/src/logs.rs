//! Which lines an image logs by defmt. What fills them in is left to `defmt-print`.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;

use object::{Object as _, ObjectSection as _, ObjectSymbol as _};
use serde_json::Value;

use crate::board::Board;
use crate::{Failure, check as holds};

/// Every frame names a line that the image has, and those with each of these texts are among them.
pub(crate) fn check(board: &Board, texts: &[&str]) -> Result<(), Failure> {
    let (image, bytes) = board.logs()?;
    let lines = lines_of(image)?;
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

/// The texts of an image by their index: the addresses of symbols whose names are JSON.
fn lines_of(image: &Path) -> Result<HashMap<u64, String>, Failure> {
    let bytes = fs::read(image)?;
    let file = object::File::parse(&*bytes)?;
    let section = file.section_by_name(".defmt").ok_or("the image has no lines of defmt")?;
    let symbols = file.symbols().filter(|symbol| symbol.section_index() == Some(section.index()));
    let lines = symbols.filter_map(|symbol| {
        let name: Value = serde_json::from_str(symbol.name().ok()?).ok()?;
        Some((symbol.address(), name.get("data")?.as_str()?.to_owned()))
    });
    Ok(lines.collect())
}
