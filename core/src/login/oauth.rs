//! OAUTHBEARER (RFC 7628, KIP-255, KIP-342): a token that the application fetches.

use core::fmt;

use zeroize::Zeroize;

use super::{Exchange, Mechanism, Next};
use crate::error::LoginFault;
use crate::memory::Mem;
use crate::wire::{Full, Writer};

/// The token has been sent; then the broker's refusal has been acknowledged.
const SENT: u8 = 1;
const REFUSED: u8 = 2;

/// Logs in with a bearer token. While there is none,
/// [`Action::NeedToken`](crate::Action::NeedToken) requests one, which
/// [`Commands::set_token`](crate::Commands::set_token) provides.
pub struct OauthBearer<'d> {
    token: Mem<'d, u8>,
    len: usize,
    extensions: &'d [(&'d str, &'d str)],
}

/// No bearer token: it is empty, too long for its memory, or has a character that none has (RFC
/// 6750); or an extension is wrong; or the mechanism takes no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct BadToken;

impl fmt::Display for BadToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a bearer token, or longer than its memory, or no token is used")
    }
}

impl core::error::Error for BadToken {}

/// Whether the extension can be sent: its name has letters only, and is not that of the token.
fn is_extension((name, value): &(&str, &str)) -> bool {
    let letters = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphabetic());
    let printable = |byte: u8| matches!(byte, b' '..=b'~' | b'\t' | b'\r' | b'\n');
    letters && *name != "auth" && value.bytes().all(printable)
}

fn is_token(token: &[u8]) -> bool {
    let fits = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(byte);
    !token.is_empty() && token.iter().all(fits)
}

impl<'d> OauthBearer<'d> {
    /// Creates it with memory for the longest token, and the SASL extensions that are sent with it
    /// (KIP-342), such as `logicalCluster`.
    ///
    /// # Errors
    /// When an extension cannot be sent: names have letters only, values what can be printed.
    pub fn new(
        memory: &'d mut [u8],
        extensions: &'d [(&'d str, &'d str)],
    ) -> Result<Self, BadToken> {
        Self::with(Mem::Lent(memory), extensions)
    }

    /// The same with memory of its own.
    ///
    /// # Errors
    /// As [`OauthBearer::new`].
    #[cfg(feature = "alloc")]
    pub fn owned(longest: usize, extensions: &'d [(&'d str, &'d str)]) -> Result<Self, BadToken> {
        Self::with(Mem::Owned(alloc::vec![0; longest].into_boxed_slice()), extensions)
    }

    fn with(token: Mem<'d, u8>, extensions: &'d [(&'d str, &'d str)]) -> Result<Self, BadToken> {
        let fit = extensions.iter().all(is_extension);
        match guard!("no extension adds fields of its own", fit => true) {
            true => Ok(Self { token, len: 0, extensions }),
            false => Err(BadToken),
        }
    }

    fn token(&self) -> &[u8] {
        self.token.get(..self.len).unwrap_or_default()
    }

    fn next(&self, exchange: &mut Exchange) -> Next {
        if self.len == 0 {
            return Next::Token;
        }
        exchange.phase = SENT;
        Next::Send
    }
}

impl Mechanism for OauthBearer<'_> {
    fn name(&self) -> &str {
        "OAUTHBEARER"
    }

    fn begin(&mut self, exchange: &mut Exchange) -> Result<Next, LoginFault> {
        Ok(self.next(exchange))
    }

    fn resume(&mut self, exchange: &mut Exchange) -> Result<Next, LoginFault> {
        Ok(self.next(exchange))
    }

    fn receive(&mut self, exchange: &mut Exchange, bytes: &[u8]) -> Result<Next, LoginFault> {
        if exchange.phase == SENT && !bytes.is_empty() {
            // Its reason, as JSON. The broker reports the failure after one more message.
            exchange.phase = REFUSED;
            return Ok(Next::Send);
        }
        match exchange.phase {
            SENT => Ok(Next::Done),
            _ => Err(LoginFault::Message),
        }
    }

    fn write(&self, exchange: &Exchange, out: &mut Writer<'_>) -> Result<(), Full> {
        if exchange.phase == REFUSED {
            return out.raw(b"\x01");
        }
        out.raw(b"n,,\x01auth=Bearer ")?;
        out.raw(self.token())?;
        for (name, value) in self.extensions {
            for part in ["\x01", name, "=", value] {
                out.raw(part.as_bytes())?;
            }
        }
        out.raw(b"\x01\x01")
    }

    fn take_token(&mut self, token: &[u8]) -> Result<(), BadToken> {
        let is_bad = !guard!("no token adds fields of its own", is_token(token) => true);
        let memory = self.token.get_mut(..token.len()).filter(|_| !is_bad).ok_or(BadToken)?;
        memory.copy_from_slice(token);
        self.len = token.len();
        Ok(())
    }
}

impl Drop for OauthBearer<'_> {
    fn drop(&mut self) {
        (*self.token).zeroize();
    }
}

impl fmt::Debug for OauthBearer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OauthBearer").field("extensions", &self.extensions).finish_non_exhaustive()
    }
}
