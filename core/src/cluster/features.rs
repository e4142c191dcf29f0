//! The features that the cluster has finalized (KIP-584), as ApiVersions responses have them.

/// The least level of `transaction.version` with which each end of a transaction raises the epoch
/// (KIP-890).
const IMPLICIT: i16 = 2;

/// What is known of features. Brokers differ for a while after a change: the newest counts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Features {
    /// -1 while no broker has named one.
    epoch: i64,
    transactions: i16,
}

impl Features {
    pub(crate) const NONE: Self = Self { epoch: -1, transactions: 0 };

    /// Notes what a response says: epoch, and level of `transaction.version`.
    pub(crate) fn note(&mut self, (epoch, transactions): (Option<i64>, i16)) {
        let epoch = epoch.unwrap_or(-1);
        if guard!("the newest features count", epoch >= self.epoch) {
            *self = Self { epoch, transactions };
        }
    }

    /// Whether Produce adds partitions to transactions, and each end raises the epoch.
    pub(crate) const fn adds_implicitly(&self) -> bool {
        self.transactions >= IMPLICIT
    }
}

#[cfg(test)]
mod tests {
    use super::Features;

    #[test]
    fn the_newest_epoch_counts() {
        let mut features = Features::NONE;
        features.note((None, 0));
        assert!(!features.adds_implicitly());
        features.note((Some(7), 2));
        assert!(features.adds_implicitly());
        features.note((Some(6), 0));
        features.note((None, 0));
        assert!(features.adds_implicitly(), "brokers that are behind");
        features.note((Some(8), 1));
        assert!(!features.adds_implicitly(), "a downgrade");
    }
}
