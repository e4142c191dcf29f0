//! The highest version of each API that both sides of a connection speak.

use crate::wire::{
    ApiKey, Decode, api_versions, create_partitions, create_topics, delete_topics,
    describe_topic_partitions, fetch, init_producer_id, list_offsets, metadata, produce,
};

const COUNT: usize = 10;

/// What we speak.
const OURS: [(ApiKey, (i16, i16)); COUNT] = [
    (ApiKey::API_VERSIONS, api_versions::Answer::VERSIONS),
    (ApiKey::METADATA, metadata::Answer::VERSIONS),
    (ApiKey::PRODUCE, produce::Answer::VERSIONS),
    (ApiKey::FETCH, fetch::Answer::VERSIONS),
    (ApiKey::LIST_OFFSETS, list_offsets::Answer::VERSIONS),
    (ApiKey::DESCRIBE_TOPIC_PARTITIONS, describe_topic_partitions::Answer::VERSIONS),
    (ApiKey::INIT_PRODUCER_ID, init_producer_id::Answer::VERSIONS),
    (ApiKey::CREATE_TOPICS, create_topics::Answer::VERSIONS),
    (ApiKey::CREATE_PARTITIONS, create_partitions::Answer::VERSIONS),
    (ApiKey::DELETE_TOPICS, delete_topics::Answer::VERSIONS),
];

/// Of one connection: in a rolling upgrade brokers differ.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Versions {
    /// Highest common version + 1; 0 for none.
    best: [u8; COUNT],
}

impl Versions {
    pub(crate) const NONE: Self = Self { best: [0; COUNT] };

    /// Takes a range that the broker offers.
    pub(crate) fn offer(&mut self, api: ApiKey, min: i16, max: i16) {
        for (best, (ours, (our_min, our_max))) in self.best.iter_mut().zip(OURS) {
            let common = max.min(our_max);
            if ours == api && common >= min.max(our_min) {
                *best = u8::try_from(common + 1).unwrap_or(0);
            }
        }
    }

    /// The highest common version that is not above `cap`.
    pub(crate) fn best(&self, api: ApiKey, cap: i16) -> Option<i16> {
        let at = OURS.iter().position(|(ours, _)| *ours == api)?;
        let best = i16::from(self.best[at]) - 1;
        (best >= 0 && best.min(cap) >= OURS[at].1.0).then(|| best.min(cap))
    }

    /// The broker offers it and does not do it.
    pub(crate) fn forget(&mut self, api: ApiKey) {
        for (best, (ours, _)) in self.best.iter_mut().zip(OURS) {
            if ours == api {
                *best = 0;
            }
        }
    }

    pub(crate) fn has(&self, api: ApiKey) -> bool {
        self.best(api, i16::MAX).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_common_version_is_taken_and_capped() {
        let mut versions = Versions::NONE;
        assert_eq!(versions.best(ApiKey::FETCH, 99), None);
        versions.offer(ApiKey::FETCH, 0, 11);
        assert_eq!(versions.best(ApiKey::FETCH, 99), Some(11));
        versions.offer(ApiKey::FETCH, 4, 99);
        assert_eq!(versions.best(ApiKey::FETCH, 99), Some(18));
        assert_eq!(versions.best(ApiKey::FETCH, 12), Some(12));
        assert_eq!(versions.best(ApiKey::FETCH, 3), None, "below what we speak");
    }

    #[test]
    fn a_range_without_overlap_is_no_version() {
        let mut versions = Versions::NONE;
        versions.offer(ApiKey::PRODUCE, 0, 2);
        versions.offer(ApiKey::FETCH, 90, 99);
        versions.offer(ApiKey::METADATA, 7, 3);
        for api in [ApiKey::PRODUCE, ApiKey::FETCH, ApiKey::METADATA] {
            assert!(!versions.has(api), "{api:?}");
        }
    }
}
