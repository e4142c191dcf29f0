//! `report RECORD IMAGES [--record REASON]`: flash (text + data), static RAM (data + bss) and the
//! largest stack frame of the images in a folder, and what they add to the first of them.
//!
//! RECORD lists the images, one per line, with their features and recorded sizes. Fails when one
//! grew by more than [`TOLERANCE`] per cent; `--record` records the new sizes and the reason. Fails
//! as well when an image has data that is not all zero (which costs flash, too), formats text, or
//! has a stack frame above [`FRAME`] bytes.

mod image;
mod record;

use std::process::ExitCode;
use std::{env, fs};

use image::Image;
use record::Record;

/// Growth that does not fail, in per cent.
const TOLERANCE: u64 = 2;
/// Largest stack frame in a turn, in bytes.
const FRAME: u64 = 1024;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let outcome = match args.as_slice() {
        [record, images] => report(record, images, None),
        [record, images, flag, reason] if flag == "--record" => {
            report(record, images, Some(reason))
        }
        _ => Err("usage: report RECORD IMAGES [--record REASON]".into()),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Prints the table; returns false when something is wrong.
fn report(path: &str, folder: &str, reason: Option<&str>) -> Outcome<bool> {
    let mut record = Record::parse(&fs::read_to_string(path)?)?;
    let mut bare: Option<Image> = None;
    let mut ok = true;
    println!("{:<14}{:>8}{:>8}{:>9}{:>9}{:>7}", "image", "flash", "RAM", "+flash", "+RAM", "frame");
    for line in &mut record.lines {
        let image = Image::read(&format!("{folder}/{}", line.name))?;
        let base = bare.get_or_insert_with(|| image.clone());
        let (flash, ram) = (image.flash(), image.ram());
        let (more, more_ram) = (flash - base.flash().min(flash), ram - base.ram().min(ram));
        let frame = image.largest_frame.as_ref();
        let bytes = frame.map_or("-".into(), |(bytes, _)| bytes.to_string());
        println!("{:<14}{flash:>8}{ram:>8}{more:>9}{more_ram:>9}{bytes:>7}", line.name);
        for complaint in complaints(&image, base, line) {
            // `--record` is for growth; the rest is wrong in any case.
            if !(reason.is_some() && complaint.is_growth) {
                println!("    {}", complaint.text);
                ok = false;
            }
        }
        (line.flash, line.ram) = (flash, ram);
    }
    if let (Some(reason), true) = (reason, ok) {
        record.reasons.push(reason.to_owned());
        fs::write(path, record.to_string())?;
    }
    Ok(ok)
}

struct Complaint {
    text: String,
    is_growth: bool,
}

fn complaints(image: &Image, bare: &Image, line: &record::Line) -> Vec<Complaint> {
    let mut list = Vec::new();
    let mut wrong = |text| list.push(Complaint { text, is_growth: false });
    // The control block of RTT, which transports defmt, is not all zero.
    if image.data > bare.data && !line.features.contains("defmt") {
        wrong(format!("{} bytes of .data should lie in .bss", image.data - bare.data));
    }
    if let Some(symbol) = &image.formats {
        wrong(format!("text is formatted on a device: {symbol}"));
    }
    if let Some((bytes, symbol)) = &image.largest_frame
        && *bytes > FRAME
    {
        wrong(format!("a stack frame of {bytes} bytes: {symbol}"));
    }
    for (what, is, was) in [("flash", image.flash(), line.flash), ("RAM", image.ram(), line.ram)] {
        if is * 100 > was * (100 + TOLERANCE) {
            let text = format!("{what} grew from {was} to {is} bytes, by more than {TOLERANCE} %");
            list.push(Complaint { text, is_growth: true });
        }
    }
    list
}
