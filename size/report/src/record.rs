//! The file of record: lines of `image features flash RAM`, and why they changed.

use std::fmt;

use crate::Outcome;

/// A recorded image.
pub struct Line {
    /// Its file.
    pub name: String,
    /// Features that it is built with, `-` for none.
    pub features: String,
    /// Bytes of flash.
    pub flash: u64,
    /// Bytes of static RAM.
    pub ram: u64,
}

/// The recorded images and reasons; see the module.
#[derive(Default)]
pub struct Record {
    /// Comments before the first image, kept as they are.
    pub head: Vec<String>,
    /// Images in the order of the file; the others are compared with the first.
    pub lines: Vec<Line>,
    /// Reasons of changes, oldest first.
    pub reasons: Vec<String>,
}

impl Record {
    /// Reads the file.
    pub fn parse(text: &str) -> Outcome<Self> {
        let mut record = Self::default();
        for line in text.lines() {
            if let Some(reason) = line.strip_prefix("## ") {
                record.reasons.push(reason.to_owned());
                continue;
            }
            if line.starts_with('#') || line.is_empty() {
                if record.lines.is_empty() {
                    record.head.push(line.to_owned());
                }
                continue;
            }
            let mut words = line.split_whitespace();
            let mut word = || words.next().ok_or_else(|| format!("too few words: {line}"));
            record.lines.push(Line {
                name: word()?.to_owned(),
                features: word()?.to_owned(),
                flash: word()?.parse()?,
                ram: word()?.parse()?,
            });
        }
        Ok(record)
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.head.iter().try_for_each(|line| writeln!(f, "{line}"))?;
        for line in &self.lines {
            let Line { name, features, flash, ram } = line;
            writeln!(f, "{name:<14} {features:<40} {flash:>7} {ram:>7}")?;
        }
        f.write_str("\n# Why they changed\n")?;
        self.reasons.iter().try_for_each(|reason| writeln!(f, "## {reason}"))
    }
}
