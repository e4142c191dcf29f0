//! Which cluster a client belongs to: the first one whose id a response named. Its addresses may
//! lead to another cluster later, with topics of the same names.

#[cfg(feature = "one-cluster")]
use heapless::String;

#[cfg(feature = "one-cluster")]
use crate::record::Crc32c;
#[cfg(any(feature = "one-cluster", all(feature = "sasl", feature = "fail-early")))]
use crate::time::Span;
use crate::time::Tick;

/// Once every known address has led to another cluster, or has refused us, for this long, requests
/// fail: another one that leads to ours would have been found.
#[cfg(any(feature = "one-cluster", all(feature = "sasl", feature = "fail-early")))]
pub(super) const HOPELESS: Span = Span::from_millis(500);
/// Kafka's own ids have 22 characters. Of longer ones this many are kept, and a checksum of all.
#[cfg(feature = "one-cluster")]
const LONGEST: usize = 36;

/// A cluster id.
#[cfg(feature = "one-cluster")]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Name {
    text: String<LONGEST, u8>,
    crc: u32,
}

#[cfg(feature = "one-cluster")]
impl Name {
    fn of(id: &str) -> Self {
        let mut text = String::new();
        for char in id.chars() {
            if text.push(char).is_err() {
                break;
            }
        }
        Self { text, crc: Crc32c::of(id.as_bytes()) }
    }

    fn get(&self) -> Option<&str> {
        (!self.text.is_empty()).then_some(self.text.as_str())
    }
}

/// See the module. Empty, and never in disagreement, without the feature `one-cluster`.
#[derive(Default)]
pub(crate) struct Identity {
    #[cfg(feature = "one-cluster")]
    ours: Name,
    /// The bootstrap address that named it.
    #[cfg(feature = "one-cluster")]
    seed: Option<u32>,
    /// The one that a refused connection led to last; empty where that named none.
    #[cfg(feature = "one-cluster")]
    other: Name,
    /// Since when connections lead to another cluster, or are refused, and no broker of ours has
    /// responded.
    #[cfg(any(feature = "one-cluster", all(feature = "sasl", feature = "fail-early")))]
    pub(super) hopeless_since: Option<Tick>,
}

#[cfg(any(feature = "one-cluster", all(feature = "sasl", feature = "fail-early")))]
impl Identity {
    /// Notes that a connection leads to another cluster, or is refused.
    pub(super) fn strayed(&mut self, now: Tick) {
        self.hopeless_since.get_or_insert(now);
    }

    /// Notes that a broker of ours has responded.
    pub(super) fn found(&mut self) {
        self.hopeless_since = None;
    }
}

#[cfg(not(any(feature = "one-cluster", all(feature = "sasl", feature = "fail-early"))))]
impl Identity {
    #[expect(clippy::unused_self, reason = "as with the features")]
    pub(super) const fn strayed(&mut self, _: Tick) {}

    #[expect(clippy::unused_self, reason = "as with the features")]
    pub(super) const fn found(&mut self) {}
}

#[cfg(feature = "one-cluster")]
impl Identity {
    /// Whether a cluster id was named: every later one has to be the same.
    pub(crate) fn is_known(&self) -> bool {
        self.ours().is_some()
    }

    pub(crate) fn ours(&self) -> Option<&str> {
        self.ours.get()
    }

    pub(crate) fn other(&self) -> Option<&str> {
        self.other.get()
    }

    /// Returns the bootstrap address that named our cluster.
    pub(crate) fn seed(&self) -> Option<u32> {
        self.seed
    }

    /// Takes the cluster id of a response of a version that has it, from a broker or a bootstrap
    /// address. Returns whether it is that of this client's cluster. Before an id is known, one
    /// that names none is believed.
    pub(crate) fn admit(&mut self, id: Option<&str>, seed: Option<u32>) -> bool {
        let name = Name::of(id.unwrap_or_default());
        if !self.is_known() {
            (self.ours, self.seed) = (name, seed);
            return true;
        }
        if guard!("another cluster is refused", name != self.ours) {
            self.other = name;
            return false;
        }
        true
    }

    /// Returns what a snapshot keeps of the id, empty where it is not known.
    pub(crate) fn saved(&self) -> (&str, u32) {
        (&self.ours.text, self.ours.crc)
    }

    /// Takes what a snapshot kept.
    pub(crate) fn restore(&mut self, text: &str, crc: u32) {
        if !self.is_known() {
            self.ours = Name { crc, ..Name::of(text) };
        }
    }
}

#[cfg(not(feature = "one-cluster"))]
impl Identity {
    #[expect(clippy::unused_self, reason = "as with the feature")]
    pub(crate) const fn is_known(&self) -> bool {
        false
    }

    #[expect(clippy::unused_self, reason = "as with the feature")]
    pub(crate) const fn admit(&mut self, _: Option<&str>, _: Option<u32>) -> bool {
        true
    }

    #[expect(clippy::unused_self, reason = "as with the feature")]
    pub(crate) const fn saved(&self) -> (&'static str, u32) {
        ("", 0)
    }

    #[expect(clippy::unused_self, reason = "as with the feature")]
    pub(crate) const fn restore(&mut self, _: &str, _: u32) {}
}

#[cfg(all(test, feature = "one-cluster"))]
mod tests {
    use alloc::format;

    use super::*;

    #[test]
    fn the_first_id_is_ours_and_others_are_refused() {
        let mut identity = Identity::default();
        assert!(identity.admit(None, Some(0)) && identity.admit(Some(""), Some(0)));
        assert!(!identity.is_known());
        assert!(identity.admit(Some("a"), Some(3)) && identity.admit(Some("a"), None));
        assert!(!identity.admit(Some("b"), Some(1)));
        assert_eq!((identity.ours(), identity.other()), (Some("a"), Some("b")));
        assert_eq!(identity.seed(), Some(3), "the address that named it");
        assert!(!identity.admit(None, None), "a broker that names none");
        assert_eq!(identity.other(), None);
    }

    #[test]
    fn ids_that_are_too_long_to_be_kept_are_compared_as_a_whole() {
        let long = "x".repeat(LONGEST);
        let mut identity = Identity::default();
        assert!(identity.admit(Some(&format!("{long}1")), None));
        assert_eq!(identity.ours(), Some(long.as_str()));
        assert!(!identity.admit(Some(&format!("{long}2")), None));
        assert!(identity.admit(Some(&format!("{long}1")), None));
    }
}
