//! Memory from outside: lent slices or, with `alloc`, boxes that are allocated once. Everything
//! here is all-zero when empty, so that a static of it lands in `.bss`.

mod blocks;
mod index;
mod list;
mod slots;

use core::ops::{Deref, DerefMut};
use core::slice::SliceIndex;

use crate::time::{Span, Tick};

pub(crate) use blocks::{Blocks, Chain, ChainSink, Slices};
pub(crate) use index::{Index, Place, hash, hash_bytes};
pub(crate) use list::{List, Node, Nodes};
pub(crate) use slots::Slots;

/// A table whose memory is lent or owned; its users do not distinguish them.
pub(crate) enum Mem<'d, T> {
    Lent(&'d mut [T]),
    #[cfg(any(feature = "alloc", test))]
    Owned(alloc::boxed::Box<[T]>),
}

impl<T> Deref for Mem<'_, T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        match self {
            Self::Lent(slice) => slice,
            #[cfg(any(feature = "alloc", test))]
            Self::Owned(slice) => slice,
        }
    }
}

impl<T> DerefMut for Mem<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        match self {
            Self::Lent(slice) => slice,
            #[cfg(any(feature = "alloc", test))]
            Self::Owned(slice) => slice,
        }
    }
}

impl<T, I: SliceIndex<[T]>> core::ops::Index<I> for Mem<'_, T> {
    type Output = I::Output;

    #[cfg_attr(feature = "std", inline)]
    #[cfg_attr(not(feature = "std"), inline(never))]
    fn index(&self, at: I) -> &I::Output {
        &(**self)[at]
    }
}

impl<T, I: SliceIndex<[T]>> core::ops::IndexMut<I> for Mem<'_, T> {
    #[cfg_attr(feature = "std", inline)]
    #[cfg_attr(not(feature = "std"), inline(never))]
    fn index_mut(&mut self, at: I) -> &mut I::Output {
        &mut (**self)[at]
    }
}

impl<T> Mem<'_, T> {
    /// Keeps only the first `len` entries.
    pub(crate) fn shorten(&mut self, len: usize) {
        match self {
            Self::Lent(slice) => {
                let whole = core::mem::take(slice);
                let len = len.min(whole.len());
                *slice = &mut whole[..len];
            }
            #[cfg(any(feature = "alloc", test))]
            Self::Owned(slice) => {
                let mut whole = core::mem::take(slice).into_vec();
                whole.truncate(len);
                *slice = whole.into_boxed_slice();
            }
        }
    }
}

/// Half a word: a device has many links, and never more entries than that.
#[cfg(target_pointer_width = "64")]
type Number = u32;
#[cfg(not(target_pointer_width = "64"))]
type Number = u16;

/// An index into a table, or none, which is zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Link(Number);

impl Link {
    pub(crate) const NONE: Self = Self(0);
    /// Entries that a table may have.
    pub(crate) const MOST: usize = Number::MAX as usize - 1;

    #[inline]
    pub(crate) const fn to(index: usize) -> Self {
        Self(index as Number + 1)
    }

    #[inline]
    pub(crate) const fn get(self) -> Option<usize> {
        match self.0 {
            0 => None,
            n => Some(n as usize - 1),
        }
    }

    pub(crate) const fn is_none(self) -> bool {
        self.0 == 0
    }
}

/// SplitMix64: jitter, sticky partitions and client instance ids. Not for secrets.
#[derive(Debug)]
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: [u8; 32]) -> Self {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        for part in seed.as_chunks::<8>().0 {
            state = mix(state ^ u64::from_le_bytes(*part));
        }
        Self(state)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// Returns a number evenly distributed in `0..bound`; 0 for a bound of 0.
    pub(crate) fn below(&mut self, bound: u32) -> u32 {
        ((u64::from(bound) * (self.next() >> 32)) >> 32) as u32
    }

    /// Returns a time span times a factor in 0.8 .. 1.2 (KIP-580).
    pub(crate) fn jitter(&mut self, span: Span) -> Span {
        span.scaled(819 + self.below(410))
    }
}

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Returns `now` plus `base * 2^failures`, at most `max`, jittered; `failures` counts from 0
/// (KIP-580).
pub(crate) fn backoff(rng: &mut Rng, now: Tick, base: Span, max: Span, failures: u8) -> Tick {
    let times = guard!("pauses grow", 1 << failures.min(16) => 1);
    now + rng.jitter(base.times(times).min(max))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_stays_within_a_fifth() {
        let mut rng = Rng::new([3; 32]);
        for _ in 0..10_000 {
            let d = rng.jitter(Span::from_secs(1)).millis();
            assert!((799..=1200).contains(&d), "{d}");
        }
    }

    #[test]
    fn backoff_doubles_up_to_its_maximum() {
        let mut rng = Rng::new([9; 32]);
        let (base, max) = (Span::from_millis(100), Span::from_secs(1));
        for (failures, nominal) in [(0, 100), (1, 200), (2, 400), (3, 800), (4, 1000), (40, 1000)] {
            let d = Tick::ZERO.until(backoff(&mut rng, Tick::ZERO, base, max, failures)).millis();
            assert!((nominal * 79 / 100..=nominal * 121 / 100).contains(&d), "{failures}: {d}");
        }
    }

    #[test]
    fn every_seed_byte_counts() {
        let first = Rng::new([0; 32]).next();
        for i in 0..32 {
            let mut seed = [0; 32];
            seed[i] = 1;
            assert_ne!(Rng::new(seed).next(), first, "byte {i}");
        }
    }
}
