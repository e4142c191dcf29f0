//! What the file of an image contains.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use object::{Object as _, ObjectSection as _, ObjectSymbol as _, SectionKind};
use serde_json::Value;

use crate::Failure;

/// Bytes of RAM that it takes beside the stack.
pub(crate) fn static_ram(image: &Path) -> Result<u64, Failure> {
    Ok(sizes(image)?.1)
}

/// Bytes of flash and of RAM beside the stack that it takes.
pub(crate) fn sizes(image: &Path) -> Result<(u64, u64), Failure> {
    let bytes = fs::read(image)?;
    let file = object::File::parse(&*bytes)?;
    let sum = |kinds: &[SectionKind]| -> u64 {
        let sections = file.sections().filter(|section| kinds.contains(&section.kind()));
        sections.map(|section| section.size()).sum()
    };
    // What is set at the start lies in the flash, too.
    let flash = [SectionKind::Text, SectionKind::ReadOnlyData, SectionKind::Data];
    Ok((sum(&flash), sum(&[SectionKind::Data, SectionKind::UninitializedData])))
}

/// The texts that it logs by defmt, by their index: the addresses of symbols whose names are JSON.
pub(crate) fn log_lines(image: &Path) -> Result<HashMap<u64, String>, Failure> {
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
