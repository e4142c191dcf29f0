//! The highest version of each API that both sides of a connection speak.

use crate::api::{Kind, ROWS};
use crate::wire::ApiKey;

/// Of one connection: in a rolling upgrade brokers differ.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Versions {
    /// Highest common version + 1 by kind of request; 0 for none.
    best: [u8; Kind::COUNT],
}

impl Versions {
    pub(crate) const NONE: Self = Self { best: [0; Kind::COUNT] };

    /// Takes a range that the broker offers.
    pub(crate) fn offer(&mut self, api: ApiKey, min: i16, max: i16) {
        for (best, row) in self.best.iter_mut().zip(&ROWS) {
            let common = max.min(row.versions.1);
            if row.api == api && common >= min.max(row.versions.0) {
                *best = u8::try_from(common + 1).unwrap_or(0);
            }
        }
    }

    /// The highest common version that is not above `cap`.
    pub(crate) fn best(&self, kind: Kind, cap: i16) -> Option<i16> {
        let best = (i16::from(self.best[kind as usize]) - 1).min(cap);
        (best >= 0 && best >= kind.row().versions.0).then_some(best)
    }

    /// The broker offers it and does not do it.
    pub(crate) fn forget(&mut self, kind: Kind) {
        self.best[kind as usize] = 0;
    }

    pub(crate) fn has(&self, kind: Kind) -> bool {
        self.best(kind, i16::MAX).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_common_version_is_taken_and_capped() {
        let mut versions = Versions::NONE;
        assert_eq!(versions.best(Kind::Fetch, 99), None);
        versions.offer(ApiKey::FETCH, 0, 11);
        assert_eq!(versions.best(Kind::Fetch, 99), Some(11));
        versions.offer(ApiKey::FETCH, 4, 99);
        assert_eq!(versions.best(Kind::Fetch, 99), Some(18));
        assert_eq!(versions.best(Kind::Fetch, 12), Some(12));
        assert_eq!(versions.best(Kind::Fetch, 3), None, "below what we speak");
    }

    #[test]
    fn a_range_without_overlap_is_no_version() {
        let mut versions = Versions::NONE;
        versions.offer(ApiKey::PRODUCE, 0, 2);
        versions.offer(ApiKey::FETCH, 90, 99);
        versions.offer(ApiKey::METADATA, 7, 3);
        for kind in [Kind::Produce, Kind::Fetch, Kind::Metadata] {
            assert!(!versions.has(kind), "{kind:?}");
        }
    }
}
