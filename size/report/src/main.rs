//! `report BASELINE ELF...`: flash (text + data) and static RAM (data + bss) of each image, and
//! what it adds to the baseline. Sums are those of `size`: every allocated section counts. Fails
//! when an image has more data than the baseline: memory that is not all zero costs flash, too.

use std::path::Path;
use std::process::ExitCode;
use std::{env, fs};

use object::elf::{SHF_ALLOC, SHF_WRITE, SHT_NOBITS};
use object::{Object, ObjectSection, SectionFlags};

/// Bytes of an image.
#[derive(Clone, Copy, Default)]
struct Sizes {
    text: u64,
    data: u64,
    bss: u64,
}

impl Sizes {
    fn of(path: &str) -> Result<Self, Box<dyn std::error::Error>> {
        let bytes = fs::read(path)?;
        let image = object::File::parse(&*bytes)?;
        let mut sizes = Self::default();
        for section in image.sections() {
            let SectionFlags::Elf { sh_type, sh_flags, .. } = section.flags() else { continue };
            if sh_flags.0 & SHF_ALLOC.0 == 0 {
                continue;
            }
            let sum = match (sh_type == SHT_NOBITS, sh_flags.0 & SHF_WRITE.0 != 0) {
                (true, _) => &mut sizes.bss,
                (false, true) => &mut sizes.data,
                (false, false) => &mut sizes.text,
            };
            *sum += section.size();
        }
        Ok(sizes)
    }

    fn flash(self) -> u64 {
        self.text + self.data
    }

    fn ram(self) -> u64 {
        self.data + self.bss
    }
}

fn main() -> ExitCode {
    let paths: Vec<String> = env::args().skip(1).collect();
    let mut baseline = None;
    let mut ok = true;
    println!(
        "{:<20}{:>9}{:>7}{:>9}{:>9}{:>9}{:>10}{:>10}",
        "image", "text", "data", "bss", "flash", "RAM", "+flash", "+RAM"
    );
    for path in &paths {
        let sizes = match Sizes::of(path) {
            Ok(sizes) => sizes,
            Err(error) => {
                eprintln!("{path}: {error}");
                return ExitCode::FAILURE;
            }
        };
        let base = *baseline.get_or_insert(sizes);
        let name = Path::new(path).file_name().unwrap_or_default().to_string_lossy();
        if sizes.data > base.data {
            eprintln!("{path}: {} bytes of .data that should lie in .bss", sizes.data - base.data);
            ok = false;
        }
        let Sizes { text, data, bss } = sizes;
        let (flash, ram) = (sizes.flash(), sizes.ram());
        let (more_flash, more_ram) =
            (flash.saturating_sub(base.flash()), ram.saturating_sub(base.ram()));
        println!(
            "{name:<20}{text:>9}{data:>7}{bss:>9}{flash:>9}{ram:>9}{more_flash:>10}{more_ram:>10}"
        );
    }
    if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
