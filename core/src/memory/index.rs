//! An index over the entries of a table: an entry is found by name or number. With the feature
//! `index` a hash index, chained through links, for large tables; else all entries are searched.

pub(crate) use of_build::*;

/// Hashed: no scan of all entries.
#[cfg(all(feature = "index", not(kavka_lean)))]
mod of_build {
    use super::super::{Link, Mem};

    /// The memory of an index for each entry: two of them.
    pub(crate) type Place = Link;

    /// See the module. The table itself computes an entry's hash, and compares entries.
    pub(crate) struct Index<'d> {
        heads: Mem<'d, Link>,
        next: Mem<'d, Link>,
    }

    impl<'d> Index<'d> {
        /// Creates an index; both tables have a place for each entry of the table.
        pub(crate) const fn new(heads: Mem<'d, Link>, next: Mem<'d, Link>) -> Self {
            Self { heads, next }
        }

        #[inline]
        fn bucket(&self, hash: u32) -> usize {
            // The high half of a product: no division, and all bits count.
            ((u64::from(hash) * self.heads.len() as u64) >> 32) as usize
        }

        /// Returns the first entry that may have this hash; the others follow it ([`Index::next`]).
        /// Entries that are in no index may be among them.
        #[inline]
        pub(crate) fn first(&self, hash: u32) -> Link {
            self.heads.get(self.bucket(hash)).copied().unwrap_or_default()
        }

        /// Returns the entry after this one.
        #[inline]
        pub(crate) fn next(&self, at: usize) -> Link {
            self.next[at]
        }

        /// Inserts an entry that must not be in the index.
        #[cfg_attr(not(feature = "std"), inline(never))]
        pub(crate) fn insert(&mut self, hash: u32, at: usize) {
            let bucket = self.bucket(hash);
            self.next[at] = self.heads[bucket];
            self.heads[bucket] = Link::to(at);
        }

        /// Removes an entry, if it is in the index.
        #[cfg_attr(not(feature = "std"), inline(never))]
        pub(crate) fn remove(&mut self, hash: u32, at: usize) {
            let bucket = self.bucket(hash);
            let behind = self.next[at];
            let mut link = self.heads[bucket];
            if link == Link::to(at) {
                self.heads[bucket] = behind;
            }
            while let Some(before) = link.get() {
                link = self.next[before];
                if guard!("a chain continues behind who leaves it", link == Link::to(at)) {
                    self.next[before] = behind;
                }
            }
            self.next[at] = Link::NONE;
        }
    }

    /// Spreads a number over 32 bits (the finalizer of MurmurHash3).
    #[inline]
    pub(crate) const fn hash(n: u32) -> u32 {
        let n = (n ^ (n >> 16)).wrapping_mul(0x85eb_ca6b);
        let n = (n ^ (n >> 13)).wrapping_mul(0xc2b2_ae35);
        n ^ (n >> 16)
    }

    /// Returns a hash of bytes (FNV-1a).
    #[cfg_attr(not(feature = "std"), inline(never))]
    pub(crate) fn hash_bytes(bytes: &[u8]) -> u32 {
        let mixed = bytes.iter().fold(0x811c_9dc5_u32, |hash, byte| {
            (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
        });
        hash(mixed)
    }
}

/// Searched: every entry may be the right one, the unused ones too.
#[cfg(not(all(feature = "index", not(kavka_lean))))]
mod of_build {
    use super::super::{Link, Mem};

    /// No memory.
    #[derive(Clone, Copy, Debug)]
    pub(crate) struct Place;

    impl Place {
        pub(crate) const NONE: Self = Self;
    }

    /// See the module.
    pub(crate) struct Index<'d>(Mem<'d, Place>);

    impl<'d> Index<'d> {
        pub(crate) fn new(_: Mem<'d, Place>, next: Mem<'d, Place>) -> Self {
            Self(next)
        }

        #[inline]
        pub(crate) fn first(&self, _: u32) -> Link {
            if self.0.is_empty() { Link::NONE } else { Link::to(0) }
        }

        #[inline]
        pub(crate) fn next(&self, at: usize) -> Link {
            if at + 1 < self.0.len() { Link::to(at + 1) } else { Link::NONE }
        }

        pub(crate) const fn insert(&mut self, _: u32, _: usize) {}

        pub(crate) const fn remove(&mut self, _: u32, _: usize) {}
    }

    pub(crate) const fn hash(_: u32) -> u32 {
        0
    }

    pub(crate) const fn hash_bytes(_: &[u8]) -> u32 {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::{Mem, Rng};

    #[test]
    fn what_was_put_in_is_found_until_it_is_taken_out() {
        let (mut heads, mut next) = ([Place::NONE; 9], [Place::NONE; 9]);
        let mut index = Index::new(Mem::Lent(&mut heads), Mem::Lent(&mut next));
        let mut keys = [None; 9];
        let mut rng = Rng::new([8; 32]);
        for step in 0..20_000 {
            let (at, key) = (rng.below(9) as usize, rng.below(20));
            match keys[at].take() {
                Some(key) => index.remove(hash(key), at),
                None if !keys.contains(&Some(key)) => {
                    index.insert(hash(key), at);
                    keys[at] = Some(key);
                }
                None => {}
            }
            for key in 0..20 {
                let mut link = index.first(hash(key));
                let mut found = None;
                while let Some(at) = link.get() {
                    if keys[at] == Some(key) {
                        found = Some(at);
                    }
                    link = index.next(at);
                }
                let right = keys.iter().position(|k| *k == Some(key));
                assert_eq!(found, right, "step {step}, key {key}");
            }
        }
    }
}
