//! The highest version of each API that both sides of a connection speak.

use crate::api::{Kind, ROWS};
use crate::error::PeerFault;
use crate::wire::ApiKey;

/// Later versions of Fetch and Produce name topics by id only (KIP-516).
pub(crate) const BY_NAME: i16 = 12;

/// Of one connection: in a rolling upgrade brokers differ.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Versions {
    /// The lowest and the highest version of the broker by kind of request, the latter + 1; 0 for
    /// an API that it does not have.
    offered: [(u8, u8); Kind::COUNT],
}

impl Versions {
    pub(crate) const NONE: Self = Self { offered: [(0, 0); Kind::COUNT] };

    /// Takes a range that the broker offers. An impossible range is ignored.
    pub(crate) fn offer(&mut self, api: ApiKey, min: i16, max: i16) {
        let range = match (u8::try_from(min), u8::try_from(max)) {
            (Ok(min), Ok(max)) if min <= max => (min, max.saturating_add(1)),
            // Far above any existing version.
            (Ok(min), Err(_)) if max > 0 => (min, u8::MAX),
            _ => return,
        };
        for (offered, row) in self.offered.iter_mut().zip(&ROWS) {
            if row.api == api {
                *offered = range;
            }
        }
    }

    /// Returns the highest common version that is not above `cap`.
    pub(crate) fn best(&self, kind: Kind, cap: i16) -> Option<i16> {
        let (min, end) = self.offered[kind as usize];
        let (least, most) = kind.row().versions;
        let best = (i16::from(end) - 1).min(most).min(cap);
        let least = guard!("no version below the broker's", i16::from(min).max(least) => least);
        (end > 0 && best >= least).then_some(best)
    }

    /// Returns why no request of this kind can be sent, if that is so.
    pub(crate) fn lacks(&self, kind: Kind) -> Option<PeerFault> {
        let ((min, end), api) = (self.offered[kind as usize], kind.api());
        match end {
            _ if self.has(kind) => None,
            0 => Some(PeerFault::NoApi(api)),
            _ => Some(PeerFault::NoCommonVersion {
                api,
                min: i16::from(min),
                max: i16::from(end) - 1,
            }),
        }
    }

    /// Returns why no request of this kind can be sent about topics without an id, if others can.
    pub(crate) fn lacks_names(&self, kind: Kind) -> Option<PeerFault> {
        let (api, min) = (kind.api(), i16::from(self.offered[kind as usize].0));
        let unnamed = self.has(kind) && self.best(kind, BY_NAME).is_none();
        unnamed.then_some(PeerFault::NoTopicIds { api, min })
    }

    /// Forgets an API that the broker offers but does not support.
    pub(crate) fn forget(&mut self, kind: Kind) {
        self.offered[kind as usize] = (0, 0);
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
        versions.offer(ApiKey::FETCH, 13, 18);
        assert_eq!(versions.best(Kind::Fetch, 12), None, "below what the broker speaks");
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
