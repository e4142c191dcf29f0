//! PLAIN (RFC 4616): name and password as they are, so for use over TLS.

use core::fmt;

use super::{Exchange, Mechanism, Next};
use crate::config::Text;
use crate::error::LoginFault;
use crate::secret::Secret;
use crate::wire::{Full, Writer};

/// Logs in with name and password, which the broker and everyone on the way to it can read.
pub struct Plain<'d> {
    user: Text<'d>,
    password: Secret<'d>,
}

/// The name or the password is empty, or has a character that the mechanism cannot send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct NoCredentials;

impl fmt::Display for NoCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name or the password is empty, or has a NUL character")
    }
}

impl core::error::Error for NoCredentials {}

/// Returns the password, if it can be one, and `user` a name.
pub(super) fn check<'d>(user: &str, password: Secret<'d>) -> Result<Secret<'d>, NoCredentials> {
    #[expect(clippy::manual_contains, reason = "the library's search takes 100 bytes of flash")]
    let is_bad = |bytes: &[u8]| bytes.is_empty() || bytes.iter().any(|byte| *byte == 0);
    match is_bad(user.as_bytes()) || is_bad(password.expose()) {
        true => Err(NoCredentials),
        false => Ok(password),
    }
}

impl<'d> Plain<'d> {
    /// Creates it with a name and its password.
    ///
    /// # Errors
    /// When one of them is empty, or has a NUL character, which separates them.
    pub fn new(user: &'d str, password: Secret<'d>) -> Result<Self, NoCredentials> {
        Ok(Self { user: Text::Lent(user), password: check(user, password)? })
    }

    /// The same with a copy of the name.
    ///
    /// # Errors
    /// As [`Plain::new`].
    #[cfg(feature = "alloc")]
    pub fn owned(user: &str, password: Secret<'d>) -> Result<Self, NoCredentials> {
        Ok(Self { user: Text::Owned(user.into()), password: check(user, password)? })
    }
}

impl Mechanism for Plain<'_> {
    fn name(&self) -> &str {
        "PLAIN"
    }

    fn begin(&mut self, _: &mut Exchange) -> Result<Next, LoginFault> {
        Ok(Next::Send)
    }

    fn receive(&mut self, _: &mut Exchange, _: &[u8]) -> Result<Next, LoginFault> {
        Ok(Next::Done)
    }

    fn write(&self, _: &Exchange, out: &mut Writer<'_>) -> Result<(), Full> {
        for part in [b"\0", self.user.as_bytes(), b"\0", self.password.expose()] {
            out.raw(part)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plain").field("user", &&*self.user).finish_non_exhaustive()
    }
}
