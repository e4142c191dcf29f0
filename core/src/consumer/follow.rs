//! Topics that are read as a whole.

use crate::config::Start;
use crate::memory::Link;

/// A topic of which all partitions are read, future ones included.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Follow {
    pub(super) active: bool,
    /// The partitions that existed at first are counted.
    pub(super) begun: bool,
    pub(super) blocked: bool,
    pub(super) start: Start,
    /// Number of partitions that existed at first; later ones were added (R12).
    pub(super) first: u32,
    pub(super) next: u32,
    /// Its partitions were checked since the topic is ready.
    pub(super) seen: bool,
    /// The topic had no id on the wire at that time.
    pub(super) nameless: bool,
    /// Its partitions begin paused.
    #[cfg(feature = "std")]
    pub(super) paused: bool,
    #[cfg(feature = "ordered-growth")]
    pub(super) growth: super::growth::Growth,
    /// The last of its partitions in a list that is being put into order.
    pub(super) last: Link,
}

impl Follow {
    pub(crate) const EMPTY: Self = Self {
        active: false,
        begun: false,
        blocked: false,
        start: Start::Earliest,
        first: 0,
        next: 0,
        seen: false,
        nameless: false,
        #[cfg(feature = "std")]
        paused: false,
        #[cfg(feature = "ordered-growth")]
        growth: super::growth::Growth::NONE,
        last: Link::NONE,
    };

    /// Returns what stays when the application begins or ends to read a topic as a whole.
    pub(super) const fn anew(self) -> Self {
        Self {
            seen: self.seen,
            nameless: self.nameless,
            #[cfg(feature = "ordered-growth")]
            growth: self.growth,
            ..Self::EMPTY
        }
    }
}
