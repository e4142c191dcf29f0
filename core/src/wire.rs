//! Encode and decode, and nothing else: usable without the client.

/// The sink has no room for what was to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// Where encoded bytes go.
pub trait Sink {
    /// Appends `bytes`.
    ///
    /// # Errors
    /// `Full`: not all of them fit.
    fn put(&mut self, bytes: &[u8]) -> Result<(), Full>;
}
