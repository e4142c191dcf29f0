//! Which cluster a client belongs to: the first one whose id a response named. Its addresses may
//! lead to another cluster later, with topics of the same names.

#[cfg(feature = "one-cluster")]
use heapless::String;

#[cfg(feature = "one-cluster")]
use crate::record::Crc32c;

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
    /// The one that a refused connection led to last.
    #[cfg(feature = "one-cluster")]
    other: Name,
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

    /// Takes the cluster id of a response. Returns whether it is that of this client's cluster.
    /// Brokers that name none are believed.
    pub(crate) fn admit(&mut self, id: Option<&str>) -> bool {
        let Some(id) = id.filter(|id| !id.is_empty()) else { return true };
        let name = Name::of(id);
        if !self.is_known() {
            self.ours = name;
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
    pub(crate) const fn admit(&mut self, _: Option<&str>) -> bool {
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
        assert!(identity.admit(None) && identity.admit(Some("")));
        assert!(!identity.is_known());
        assert!(identity.admit(Some("a")) && identity.admit(Some("a")));
        assert!(!identity.admit(Some("b")));
        assert_eq!((identity.ours(), identity.other()), (Some("a"), Some("b")));
        assert!(identity.admit(None), "a broker that names none");
    }

    #[test]
    fn ids_that_are_too_long_to_be_kept_are_compared_as_a_whole() {
        let long = "x".repeat(LONGEST);
        let mut identity = Identity::default();
        assert!(identity.admit(Some(&format!("{long}1"))));
        assert_eq!(identity.ours(), Some(long.as_str()));
        assert!(!identity.admit(Some(&format!("{long}2"))));
        assert!(identity.admit(Some(&format!("{long}1"))));
    }
}
