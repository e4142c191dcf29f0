//! What authentication needs and no other part may touch: a password that is not shown, copied or
//! left in memory, and randomness that cannot be guessed.

use core::fmt;

use zeroize::Zeroize;

use crate::memory::Mem;

/// A password or another secret, of any number of bytes.
///
/// Its memory is lent or boxed, so that moving it leaves no copy; it cannot be cloned, `Debug` does
/// not show it, and when it is dropped its bytes are overwritten with zeros.
///
/// ```
/// use kavka_core::Secret;
///
/// let mut memory = *b"opensesame";
/// let secret = Secret::lent(&mut memory);
/// assert_eq!(secret.expose(), b"opensesame");
/// assert_eq!(format!("{secret:?}"), "Secret(..)");
/// drop(secret);
/// assert_eq!(memory, [0; 10]);
/// ```
///
/// ```compile_fail,E0599
/// # use kavka_core::Secret;
/// # let mut memory = [0; 4];
/// let copy = Secret::lent(&mut memory).clone();
/// ```
pub struct Secret<'d> {
    bytes: Mem<'d, u8>,
}

impl<'d> Secret<'d> {
    /// Takes ownership of all bytes of `memory`.
    #[must_use]
    pub const fn lent(memory: &'d mut [u8]) -> Self {
        Self { bytes: Mem::Lent(memory) }
    }

    /// Takes ownership of the bytes of a box. A `Vec` with spare capacity, or one that has grown,
    /// leaves copies in memory when it becomes a box: the caller has to avoid that.
    #[cfg(feature = "alloc")]
    #[must_use]
    pub const fn owned(bytes: alloc::boxed::Box<[u8]>) -> Self {
        Self { bytes: Mem::Owned(bytes) }
    }

    /// Returns the secret itself, for computations. A caller that copies it is responsible for the
    /// copy.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Secret<'_> {
    fn drop(&mut self) {
        (*self.bytes).zeroize();
    }
}

impl fmt::Debug for Secret<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// A source of randomness that is fit for cryptography: the operating system's, or the hardware
/// generator of a device. A client also has a seed, only for jitter, which tests fix and which need
/// not be secret.
///
/// Closures are sources, too:
///
/// ```
/// use kavka_core::login::{Scram, Sha256};
/// use kavka_core::{NoEntropy, Secret};
///
/// let mut password = *b"opensesame";
/// let mut system = |out: &mut [u8]| -> Result<(), NoEntropy> {
///     out.fill(7); // getrandom::fill(out).map_err(|_| NoEntropy)
///     Ok(())
/// };
/// let login = Scram::<Sha256>::new("ali", Secret::lent(&mut password), &mut system);
/// assert!(login.is_ok());
/// ```
pub trait Entropy {
    /// Fills all of `out`.
    ///
    /// # Errors
    /// When the source has failed, or has not gathered enough yet. The content of `out` is
    /// undefined then, and the caller may try again later.
    fn fill(&mut self, out: &mut [u8]) -> Result<(), NoEntropy>;
}

/// An [`Entropy`] source failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct NoEntropy;

impl fmt::Display for NoEntropy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the source of randomness gave nothing")
    }
}

impl core::error::Error for NoEntropy {}

impl<F: FnMut(&mut [u8]) -> Result<(), NoEntropy>> Entropy for F {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), NoEntropy> {
        self(out)
    }
}
