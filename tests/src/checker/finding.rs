//! What is wrong, and in which lines.

use core::fmt;

/// How many findings of one kind are kept; more are only counted.
const KEPT: usize = 100;

/// The kinds of finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    /// Acknowledged, within what was read, but not read by any process.
    Lost,
    /// Acknowledged, and after everything read by a process that claims to have read all.
    Unseen,
    /// At two places of the log.
    Duplicated,
    /// Two records at one offset.
    TwoValues,
    /// Acknowledged at another place than the one where it was read.
    Misplaced,
    /// After a later one of the same producer in the same partition.
    Reordered,
    /// A later record of the same key was written to another partition before it.
    KeyReordered,
    /// A process's position passed existing records without reading them.
    Skipped,
    /// A process read an offset that does not follow the one before it.
    Repeated,
    /// Read, although the producer reported that it was certainly not written.
    FailedRead,
    /// Read, although no process sent it.
    Phantom,
    /// A process noticed growth of a topic too late, or never.
    GrowthLate,
    /// A process's partition count decreased.
    CountBack,
    /// A process uses more memory than its limit.
    MemoryAbove,
    /// A line that is not possible.
    Malformed,
}

impl What {
    /// All of them, in order.
    pub const ALL: [Self; 15] = [
        Self::Lost,
        Self::Unseen,
        Self::Duplicated,
        Self::TwoValues,
        Self::Misplaced,
        Self::Reordered,
        Self::KeyReordered,
        Self::Skipped,
        Self::Repeated,
        Self::FailedRead,
        Self::Phantom,
        Self::GrowthLate,
        Self::CountBack,
        Self::MemoryAbove,
        Self::Malformed,
    ];
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lost => "lost",
            Self::Unseen => "unseen at the end",
            Self::Duplicated => "duplicated",
            Self::TwoValues => "two values at one offset",
            Self::Misplaced => "misplaced",
            Self::Reordered => "reordered",
            Self::KeyReordered => "key reordered",
            Self::Skipped => "skipped",
            Self::Repeated => "repeated",
            Self::FailedRead => "failed, but read",
            Self::Phantom => "read, but never sent",
            Self::GrowthLate => "growth noticed late",
            Self::CountBack => "count went back",
            Self::MemoryAbove => "memory above its limit",
            Self::Malformed => "malformed history",
        })
    }
}

/// A line of a history: files count from 0, lines from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct At(u64);

impl At {
    const FILE: u32 = 48;
    /// No line.
    pub(super) const NONE: Self = Self(0);

    /// Returns line `number` of file `file`.
    #[must_use]
    pub fn new(file: u16, number: u64) -> Self {
        Self((u64::from(file) << Self::FILE) | (number & ((1 << Self::FILE) - 1)))
    }
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (file, line) = (self.0 >> Self::FILE, self.0 & ((1 << Self::FILE) - 1));
        if file > 0 { write!(f, "{}:{line}", file + 1) } else { write!(f, "{line}") }
    }
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Its kind.
    pub what: What,
    /// The process: the producer of a record, or the process that read or knew wrongly.
    pub process: String,
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: Option<u32>,
    /// The offset, of the first record where there are several.
    pub offset: Option<i64>,
    /// The lines that show it.
    pub lines: Vec<At>,
    /// Further text.
    pub text: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: process {}", self.what, self.process)?;
        if !self.topic.is_empty() {
            write!(f, ", topic {}", self.topic)?;
        }
        if let Some(partition) = self.partition {
            write!(f, ", partition {partition}")?;
        }
        if let Some(offset) = self.offset {
            write!(f, ", offset {offset}")?;
        }
        for (n, line) in self.lines.iter().enumerate() {
            write!(f, "{}{line}", if n == 0 { ", lines " } else { " " })?;
        }
        write!(f, ": {}", self.text)
    }
}

/// The findings so far.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub(super) kept: Vec<Finding>,
    counts: [u64; What::ALL.len()],
}

impl Findings {
    /// Adds a finding; `finding` is only called when it is kept.
    pub(super) fn add(&mut self, what: What, finding: impl FnOnce() -> Finding) {
        let count = &mut self.counts[what as usize];
        *count += 1;
        if *count <= KEPT as u64 {
            self.kept.push(finding());
        }
    }

    /// Returns the number of all findings, kept or not.
    pub(super) fn total(&self) -> u64 {
        self.counts.iter().sum()
    }
}
