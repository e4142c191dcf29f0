//! What members printed.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::PathBuf;

use crate::Failure;
use crate::delays::Delays;
use crate::writer::Place;

/// Files of members that still write to them.
#[derive(Default)]
pub(crate) struct Logs {
    files: Vec<(PathBuf, u64)>,
    read: HashMap<Place, u32>,
    /// Of records that were read for the first time.
    pub(crate) delays: Delays,
    /// Lines that are none of places: what a member said when it failed.
    pub(crate) said: Vec<String>,
}

impl Logs {
    pub(crate) fn add(&mut self, path: PathBuf) {
        self.files.push((path, 0));
    }

    /// Reads what came since the last time.
    pub(crate) fn update(&mut self) -> Result<(), Failure> {
        for (path, at) in &mut self.files {
            let Ok(mut file) = File::open(&*path) else { continue };
            file.seek(SeekFrom::Start(*at))?;
            let mut text = String::new();
            file.read_to_string(&mut text)?;
            let whole = text.rfind('\n').map_or(0, |end| end + 1);
            *at += whole as u64;
            for line in text[..whole].lines() {
                let mut parts = line.split(' ').map(str::parse::<i64>);
                let (Some(Ok(partition)), Some(Ok(offset)), Some(Ok(late)), None) =
                    (parts.next(), parts.next(), parts.next(), parts.next())
                else {
                    self.said.push(line.to_owned());
                    continue;
                };
                let times = self.read.entry((u32::try_from(partition)?, offset)).or_default();
                *times += 1;
                if *times == 1 {
                    self.delays.0.push(u64::try_from(late)?);
                }
            }
        }
        Ok(())
    }

    pub(crate) fn has(&self, place: &Place) -> bool {
        self.read.contains_key(place)
    }

    /// Returns how many records were read, each counted once.
    pub(crate) fn len(&self) -> usize {
        self.read.len()
    }

    /// Returns how often a record was read after the first time.
    pub(crate) fn doubled(&self) -> u64 {
        self.read.values().map(|times| u64::from(times - 1)).sum()
    }
}
