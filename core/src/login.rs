//! Logging in (SASL): the mechanisms, and what they share. An exchange of messages belongs to one
//! connection, a mechanism with its password to the client; `connection` and `client` know when
//! which message is due.
//!
//! ```
//! use kavka_core::login::Plain;
//! use kavka_core::{Client, Config, Resources, Secret};
//!
//! let mut password = *b"opensesame";
//! let mut login = Plain::new("ali", Secret::lent(&mut password)).expect("a name and a password");
//! let mut memory = Resources::<3, 1, 4, 4096, 64>::new();
//! let storage = memory.storage().login(&mut login);
//! let client = Client::new(Config::new("broker:9094"), storage, [7; 32])?;
//! # Ok::<(), kavka_core::ConfigError>(())
//! ```

#[cfg(feature = "scram")]
mod base64;
mod oauth;
mod plain;
#[cfg(feature = "scram")]
mod scram;

use core::fmt;

use heapless::Vec;
use zeroize::Zeroize;

use crate::error::LoginFault;
use crate::wire::{Full, Length, Writer};

pub use oauth::{BadToken, OauthBearer};
pub use plain::{NoCredentials, Plain};
#[cfg(feature = "scram")]
pub use scram::{Hash, Scram, Sha256, Sha512};

/// Bytes that a mechanism can keep for each connection while it logs in: what brokers send as a
/// nonce and a salt for SCRAM is 60 to 330 bytes.
pub const EXCHANGE_BYTES: usize = 384;

/// What an exchange does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
#[repr(u8)]
pub enum Next {
    /// [`Mechanism::write`] has a message for the broker.
    Send = 1,
    /// The mechanism has to compute before: [`Mechanism::compute`], then [`Mechanism::resume`].
    Compute,
    /// The application has to provide a token before: [`Mechanism::resume`] follows.
    Token,
    /// The exchange is complete, as far as the client is concerned.
    Done,
}

/// A way of logging in. Those of Kafka are in this module; an application may have its own.
///
/// Many connections log in at once, so that all that belongs to one of them is in its
/// [`Exchange`]. No method may take long.
pub trait Mechanism {
    /// Returns the name that brokers know it by, such as `PLAIN`.
    fn name(&self) -> &str;

    /// Is called right before an exchange begins, with the host of the broker, for mechanisms that
    /// sign its name. Feature `std`.
    #[cfg(feature = "std")]
    fn connecting_to(&mut self, _: &str) {}

    /// Begins an exchange, which is empty.
    ///
    /// # Errors
    /// When there can be none: the connection is closed, with this reason.
    fn begin(&mut self, exchange: &mut Exchange) -> Result<Next, LoginFault>;

    /// Takes the broker's response to the last message.
    ///
    /// # Errors
    /// When the broker must not be trusted, or cannot be understood: the connection is closed, with
    /// this reason.
    fn receive(&mut self, exchange: &mut Exchange, bytes: &[u8]) -> Result<Next, LoginFault>;

    /// Writes the message that is due. It may be called several times for the same message, which
    /// must not change.
    ///
    /// # Errors
    /// [`Full`] when the writer is full.
    fn write(&self, exchange: &Exchange, out: &mut Writer<'_>) -> Result<(), Full>;

    /// Computes a little, well below a millisecond on a server. Returns whether there is more to
    /// do.
    fn compute(&mut self) -> bool {
        false
    }

    /// Continues an exchange that waits for a computation or a token.
    ///
    /// # Errors
    /// As for [`Mechanism::receive`].
    fn resume(&mut self, _: &mut Exchange) -> Result<Next, LoginFault> {
        Ok(Next::Send)
    }

    /// Takes a token for exchanges from now on.
    ///
    /// # Errors
    /// When it is no token, or the mechanism takes none: the last one stays.
    fn take_token(&mut self, _: &[u8]) -> Result<(), BadToken> {
        Err(BadToken)
    }
}

/// What a mechanism keeps for one connection. Its memory is overwritten with zeros when the
/// exchange is over.
pub struct Exchange {
    /// For the mechanism; 0 at the beginning.
    pub phase: u8,
    /// For the mechanism, such as a place in what is kept; 0 at the beginning.
    pub mark: u16,
    kept: Vec<u8, EXCHANGE_BYTES, u16>,
}

impl Exchange {
    pub(crate) const EMPTY: Self = Self { phase: 0, mark: 0, kept: Vec::new() };

    /// Creates an exchange: for tests of a mechanism.
    #[must_use]
    pub const fn new() -> Self {
        Self::EMPTY
    }

    /// Appends to what is kept.
    ///
    /// # Errors
    /// When it is more than [`EXCHANGE_BYTES`].
    pub fn keep(&mut self, bytes: &[u8]) -> Result<(), LoginFault> {
        self.kept.extend_from_slice(bytes).map_err(|_| LoginFault::TooLong)
    }

    /// Returns what is kept.
    #[must_use]
    pub fn kept(&self) -> &[u8] {
        &self.kept
    }

    /// Forgets everything but the first bytes.
    pub fn truncate(&mut self, len: usize) {
        if let Some(rest) = self.kept.get_mut(len..) {
            rest.zeroize();
        }
        self.kept.truncate(len);
    }

    /// Forgets everything but these bytes of what is kept.
    pub fn keep_only(&mut self, from: usize, to: usize) {
        let to = to.min(self.kept.len());
        let from = from.min(to);
        self.kept.copy_within(from..to, 0);
        self.truncate(to - from);
    }

    /// Back to the beginning.
    pub(crate) fn reset(&mut self) {
        self.truncate(0);
        (self.phase, self.mark) = (0, 0);
    }
}

impl Default for Exchange {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.reset();
    }
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange").field("phase", &self.phase).finish_non_exhaustive()
    }
}

/// A mechanism, lent or owned.
pub(crate) enum Handle<'d> {
    Lent(&'d mut (dyn Mechanism + Send + 'd)),
    #[cfg(feature = "alloc")]
    Owned(alloc::boxed::Box<dyn Mechanism + Send>),
}

impl<'d> Handle<'d> {
    pub(crate) fn get(&self) -> &(dyn Mechanism + Send + 'd) {
        match self {
            Self::Lent(mechanism) => *mechanism,
            #[cfg(feature = "alloc")]
            Self::Owned(mechanism) => &**mechanism,
        }
    }

    pub(crate) fn get_mut(&mut self) -> &mut (dyn Mechanism + Send + 'd) {
        match self {
            Self::Lent(mechanism) => *mechanism,
            #[cfg(feature = "alloc")]
            Self::Owned(mechanism) => &mut **mechanism,
        }
    }
}

/// Returns how long the message is that is due.
pub(crate) fn length(mechanism: &dyn Mechanism, exchange: &Exchange) -> usize {
    let mut sink = Length;
    let mut writer = Writer::new(&mut sink);
    // A sink that takes everything is never full.
    let _ = mechanism.write(exchange, &mut writer);
    writer.written()
}
