//! Below TLS: looks at the front of every record before embedded-tls does.
//!
//! embedded-tls 0.19 panics on records that anyone can send (ciphertexts of nothing, and handshake
//! messages in the clear after the handshake), does not keep the code of alerts, and does
//! not distinguish what is no TLS at all. What no good peer sends ends the connection here.

use core::cell::Cell;

use embassy_futures::yield_now;
use embedded_io_async::{Error, ErrorKind, ErrorType, Read, Write};
use embedded_tls::TlsError;

use super::Fault;
use crate::stream::Half;

/// Types of records (RFC 8446, section 5.1).
const CHANGE_CIPHER_SPEC: u8 = 20;
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const APPLICATION_DATA: u8 = 23;
/// Bytes in the front of a record: type, version, length.
const FRONT: usize = 5;
/// The tag of AES-GCM, and the type inside: no ciphertext is shorter.
const SHORTEST: u16 = 17;
/// Alert: the peer has not the version of the hello.
const PROTOCOL_VERSION: u8 = 70;

/// An error of a stream, of which only the kind is known.
#[derive(Clone, Copy, Debug)]
pub(super) struct Broken(ErrorKind);

impl Broken {
    pub(super) fn of(error: impl Error) -> Self {
        Self(error.kind())
    }
}

impl core::fmt::Display for Broken {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("the stream below TLS broke")
    }
}

impl core::error::Error for Broken {}

impl Error for Broken {
    fn kind(&self) -> ErrorKind {
        self.0
    }
}

/// What may come next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The peer's hello, or an alert.
    Hello,
    /// Ciphertexts, and a record that means nothing (RFC 8446, appendix D.4).
    Handshake,
    /// Ciphertexts alone.
    Open,
}

/// Where in its records the peer is.
pub(super) struct Watch {
    phase: Cell<Phase>,
    front: Cell<[u8; FRONT]>,
    /// Bytes of the front that have come.
    have: Cell<usize>,
    /// Bytes of the content that have not.
    left: Cell<u16>,
    room: u16,
    fault: Cell<Option<Fault>>,
}

impl Watch {
    /// For a peer whose records are at most `room` bytes.
    pub(super) fn new(room: usize) -> Self {
        Self {
            phase: Cell::new(Phase::Hello),
            front: Cell::new([0; FRONT]),
            have: Cell::new(0),
            left: Cell::new(0),
            room: u16::try_from(room).unwrap_or(u16::MAX),
            fault: Cell::new(None),
        }
    }

    pub(super) fn fault(&self) -> Option<Fault> {
        self.fault.get()
    }

    /// Keeps the first fault: later ones follow from it.
    pub(super) fn fail(&self, fault: Fault) {
        self.fault.set(self.fault.get().or(Some(fault)));
    }

    /// Whether a record of the handshake is over.
    fn rests(&self) -> bool {
        let between = self.left.get() == 0 && self.have.get().is_multiple_of(FRONT);
        between && self.phase.get() == Phase::Handshake
    }

    /// The handshake is over.
    pub(super) fn open(&self) {
        self.phase.set(Phase::Open);
    }

    /// Returns what an error of embedded-tls in the handshake comes from, where neither this nor
    /// the verifier saw it.
    pub(super) fn blame(&self, error: TlsError) -> Fault {
        let in_hello = self.phase.get() == Phase::Hello && self.have.get() == 0;
        match error {
            TlsError::IoError if in_hello => Fault::NoAnswer,
            TlsError::IoError => Fault::Ended,
            TlsError::Io(_) => Fault::Reset,
            TlsError::HandshakeAborted(_, alert) => Fault::Alert(alert as u8),
            TlsError::InvalidKeyShare
            | TlsError::InvalidCipherSuite
            | TlsError::UnknownExtensionType => Fault::NothingInCommon,
            // A message that ends behind its record.
            TlsError::InvalidCertificate | TlsError::InvalidCertificateRequest => Fault::Split,
            // An alert in the handshake, encrypted.
            TlsError::InvalidRecord => Fault::Rejected,
            _ => Fault::Protocol,
        }
    }

    /// Looks at bytes of the peer.
    fn see(&self, mut bytes: &[u8]) -> Result<(), Broken> {
        while let Some((first, rest)) = bytes.split_first() {
            let left = self.left.get();
            if left > 0 {
                self.see_content(left, bytes);
                let skipped = usize::from(left).min(bytes.len());
                self.left.set(left - skipped as u16);
                bytes = bytes.get(skipped..).unwrap_or_default();
                continue;
            }
            let (mut front, have) = (self.front.get(), self.have.get() % FRONT);
            if let Some(place) = front.get_mut(have) {
                *place = *first;
            }
            self.front.set(front);
            self.have.set(have + 1);
            bytes = rest;
            if have + 1 == FRONT {
                self.see_front(front)?;
            }
        }
        Ok(())
    }

    fn see_front(&self, [kind, major, _, high, low]: [u8; FRONT]) -> Result<(), Broken> {
        let len = u16::from_be_bytes([high, low]);
        let fault = match (self.phase.get(), kind) {
            _ if major != 3 => Some(Fault::NoTls),
            (Phase::Hello, HANDSHAKE) => {
                self.phase.set(Phase::Handshake);
                None
            }
            (Phase::Hello | Phase::Handshake, ALERT) if len == 2 => None,
            (Phase::Hello, _) => Some(Fault::NoTls),
            (Phase::Handshake, CHANGE_CIPHER_SPEC) if len == 1 => None,
            (Phase::Handshake | Phase::Open, APPLICATION_DATA) if len >= SHORTEST => None,
            _ => Some(Fault::Protocol),
        };
        let long = (len > self.room).then_some(Fault::Record { len, room: self.room });
        if let Some(fault) = fault.or(long) {
            self.fail(fault);
            return Err(Broken(ErrorKind::InvalidData));
        }
        self.left.set(len);
        Ok(())
    }

    /// Looks at the content, of which `left` bytes have not come before: the last of two bytes of
    /// an alert is its code.
    fn see_content(&self, left: u16, bytes: &[u8]) {
        let [kind, ..] = self.front.get();
        match bytes.get(usize::from(left) - 1) {
            Some(&PROTOCOL_VERSION) if kind == ALERT => self.fail(Fault::NoTls13),
            Some(code) if kind == ALERT => self.fail(Fault::Alert(*code)),
            _ => {}
        }
    }
}

/// The two halves of a stream below TLS as one that can be cloned, which embedded-tls requires in
/// order to be split itself.
pub(super) struct Below<'a, R, W> {
    reader: &'a Half<R>,
    writer: &'a Half<W>,
    watch: &'a Watch,
}

impl<'a, R, W> Below<'a, R, W> {
    pub(super) const fn new(reader: &'a Half<R>, writer: &'a Half<W>, watch: &'a Watch) -> Self {
        Self { reader, writer, watch }
    }
}

impl<R, W> Clone for Below<'_, R, W> {
    fn clone(&self) -> Self {
        Self { reader: self.reader, writer: self.writer, watch: self.watch }
    }
}

impl<R, W> ErrorType for Below<'_, R, W> {
    type Error = Broken;
}

impl<R: Read, W> Read for Below<'_, R, W> {
    async fn read(&mut self, room: &mut [u8]) -> Result<usize, Broken> {
        // What the record before made embedded-tls compute may have taken long.
        if self.watch.rests() {
            yield_now().await;
        }
        let read = self.reader.lock().await.read(room).await.map_err(Broken::of)?;
        self.watch.see(room.get(..read).unwrap_or_default())?;
        Ok(read)
    }
}

impl<R, W: Write> Write for Below<'_, R, W> {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, Broken> {
        // Nothing leaves that could be guessed.
        if self.watch.fault() == Some(Fault::Random) {
            return Err(Broken(ErrorKind::Other));
        }
        self.writer.lock().await.write(bytes).await.map_err(Broken::of)
    }

    async fn flush(&mut self) -> Result<(), Broken> {
        self.writer.lock().await.flush().await.map_err(Broken::of)
    }
}
