//! Sizes in an ELF file.

use std::collections::HashMap;
use std::fs;

use object::elf::{SHF_ALLOC, SHF_WRITE, SHT_NOBITS};
use object::{Object, ObjectSection, ObjectSymbol, SectionFlags};

use crate::Outcome;

/// Parts of the names of functions that run in a turn: core, adapter, and an example's task.
/// Starting a client puts it on the stack on its way to its static; other functions do not count.
const TURNS: [&str; 3] = ["10kavka_core", "13kavka_embassy", "app_task"];

/// A firmware image. Sums are those of `size`: every allocated section counts.
#[derive(Clone, Default)]
pub struct Image {
    text: u64,
    /// Bytes that are stored in flash and copied to RAM.
    pub data: u64,
    bss: u64,
    /// A symbol of the library's text formatting, if there is any.
    pub formats: Option<String>,
    /// Bytes and symbol of the largest frame that runs in a turn, if the compiler recorded them
    /// (`-Zemit-stack-sizes`).
    pub largest_frame: Option<(u64, String)>,
}

impl Image {
    /// Reads an ELF file.
    pub fn read(path: &str) -> Outcome<Self> {
        let bytes = fs::read(path).map_err(|error| format!("{path}: {error}"))?;
        let file = object::File::parse(&*bytes)?;
        let mut image = Self::default();
        for section in file.sections() {
            let SectionFlags::Elf { sh_type, sh_flags, .. } = section.flags() else { continue };
            if sh_flags.0 & SHF_ALLOC.0 == 0 {
                continue;
            }
            let sum = match (sh_type == SHT_NOBITS, sh_flags.0 & SHF_WRITE.0 != 0) {
                (true, _) => &mut image.bss,
                (false, true) => &mut image.data,
                (false, false) => &mut image.text,
            };
            *sum += section.size();
        }
        // `$t` and the like only mark the beginnings of code and data.
        let names = || {
            let named = file.symbols().filter_map(|s| Some((s.address(), s.name().ok()?)));
            named.filter(|(_, name)| !name.starts_with('$'))
        };
        // Both manglings of `core::fmt`.
        image.formats = names().find(|(_, n)| n.contains("4core3fmt")).map(|(_, n)| n.to_owned());
        if let Some(section) = file.section_by_name(".stack_sizes") {
            let names: HashMap<u64, &str> = names().collect();
            let named = frames(section.data()?).into_iter().map(|(address, bytes)| {
                // Thumb code has an odd address.
                let name = names.get(&address).or(names.get(&(address | 1))).unwrap_or(&"?");
                (bytes, (*name).to_owned())
            });
            let turns = named.filter(|(_, name)| TURNS.iter().any(|part| name.contains(part)));
            image.largest_frame = turns.max_by_key(|(bytes, _)| *bytes);
        }
        Ok(image)
    }

    /// Returns the bytes of flash.
    pub fn flash(&self) -> u64 {
        self.text + self.data
    }

    /// Returns the bytes of static RAM.
    pub fn ram(&self) -> u64 {
        self.data + self.bss
    }
}

/// Parses entries of a 32-bit address and a frame's bytes as LEB128.
fn frames(mut bytes: &[u8]) -> Vec<(u64, u64)> {
    let mut list = Vec::new();
    while let Some((address, rest)) = bytes.split_first_chunk::<4>() {
        bytes = rest;
        let (mut size, mut shift) = (0, 0);
        while let Some((byte, rest)) = bytes.split_first() {
            bytes = rest;
            size |= u64::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
        list.push((u64::from(u32::from_le_bytes(*address)), size));
    }
    list
}
