//! TLS 1.3 by embedded-tls, with certificates checked by rustls-webpki: between a socket and the
//! [`Pump`] of a [`StreamSocket`](crate::stream::StreamSocket).
//!
//! Over embassy-net [`Link`] does everything; over another stream connect it yourself, then call
//! [`Tls::serve`]. Brokers obey the `max_fragment_length` that is sent (RFC 6066; Kafka since Java
//! 9), so that `IN` of 4.4 KB holds each of their records; a proxy that ignores it needs 16,640
//! bytes, which [`Fault::Record`] reports.
//!
//! What the firmware provides, and what happens when it is bad:
//!
//! - The CA, as DER, in place of every other: only what it signed is trusted. Another one:
//!   [`Fault::Issuer`], or [`Fault::Authority`] where it is no certificate.
//! - Randomness from a hardware generator. One that fails, or repeats itself within a handshake,
//!   ends the connection before a byte has left ([`Fault::Random`]). One that can be guessed cannot
//!   be noticed here: others can read everything.
//! - The time of day, in seconds since 1970. Without it the dates of certificates are not checked,
//!   which is logged; a wrong one refuses good certificates, with both times in the error.
//!
//! Certificates need ECDSA over P-256 with SHA-256, from the CA down. What a handshake computes
//! does not yield: meanwhile no other task of the executor runs.

mod fault;
#[cfg(feature = "net")]
mod link;
mod record;
mod trust;

use core::cell::Cell;
use core::fmt;

use embassy_futures::select::{Either, select};
use embassy_futures::yield_now;
use embassy_time::{Duration, with_timeout};
use embedded_io_async::{ErrorType, Read, Write};
use embedded_tls::{
    Aes128GcmSha256, CryptoProvider, CryptoRngCore, FlushPolicy, MaxFragmentLength, TlsConfig,
    TlsConnection, TlsContext, TlsError, TlsReader, TlsVerifier,
};
use kavka_core::CloseReason;
use rustls_pki_types::ServerName;

pub use fault::Fault;
#[cfg(feature = "net")]
pub use link::{Link, LinkMem};

use crate::stream::{Half, Pump, Wanted};
use record::{Below, Broken, Watch};
use trust::{Random, Verifier};

/// The longest record of TLS 1.3, in bytes: what `IN` has to be where `max_fragment_length` is
/// ignored.
pub const LONGEST_RECORD: usize = 16_640;

/// Bytes of a record beyond its content: its type, the tag, and room for padding.
const OVERHEAD: usize = 64;

/// A source of randomness failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRandom;

/// Fills all of a slice from a generator that is fit for cryptography.
pub type Fill<'d> = &'d dyn Fn(&mut [u8]) -> Result<(), NoRandom>;
/// Returns the time of day in seconds since 1970, if it is known.
pub type Clock<'d> = &'d dyn Fn() -> Option<u64>;
/// Takes what was wrong with a connection.
pub type Report<'d> = &'d dyn Fn(&Wanted, Fault);

/// What all TLS connections of a device have in common.
#[derive(Clone, Copy)]
pub struct Tls<'d> {
    authority: &'d [u8],
    random: Fill<'d>,
    clock: Option<Clock<'d>>,
    report: Option<Report<'d>>,
    limit: Duration,
}

impl fmt::Debug for Tls<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("limit", &self.limit).finish_non_exhaustive()
    }
}

impl<'d> Tls<'d> {
    /// With the certificate of the CA that signed those of the brokers, as DER, and a source of
    /// randomness.
    #[must_use]
    pub const fn new(authority: &'d [u8], random: Fill<'d>) -> Self {
        Self { authority, random, clock: None, report: None, limit: Duration::from_secs(10) }
    }

    /// Checks the dates of certificates, too, where the clock knows the time.
    #[must_use]
    pub const fn clock(mut self, clock: Clock<'d>) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Calls `report` for every connection that fails.
    #[must_use]
    pub const fn report(mut self, report: Report<'d>) -> Self {
        self.report = Some(report);
        self
    }

    /// Sets how long connecting, and then the handshake, may take. Default: 10 s.
    #[must_use]
    pub const fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Performs the handshake over a stream that is connected to where [`Pump::wanted`] said, then
    /// moves bytes until the stream ends or the client drops it. To be awaited to its end.
    ///
    /// # Errors
    /// When the handshake fails, or the peer breaks TLS later. It is logged, reported, and known to
    /// the client: [`Fault::close_reason`].
    pub async fn serve<const RX: usize, const TX: usize, const IN: usize, const OUT: usize>(
        &self,
        pump: &mut Pump<'_, RX, TX>,
        wanted: &Wanted,
        records: &mut TlsMem<IN, OUT>,
        reader: impl Read,
        writer: impl Write,
    ) -> Result<(), Fault> {
        let outcome = self.session(pump, wanted, records, reader, writer).await;
        records.clear();
        if let Err(fault) = outcome {
            let (_host, _port, _cause) = (wanted.host.as_str(), wanted.port, fault.cause());
            note!(warn, "{}:{}: {}", _host, _port, _cause);
            if let Some(report) = self.report {
                report(wanted, fault);
            }
        }
        outcome
    }

    async fn session<const RX: usize, const TX: usize, const IN: usize, const OUT: usize>(
        &self,
        pump: &mut Pump<'_, RX, TX>,
        wanted: &Wanted,
        records: &mut TlsMem<IN, OUT>,
        reader: impl Read,
        writer: impl Write,
    ) -> Result<(), Fault> {
        let watch = Watch::new(IN);
        let (reader, writer) = (Half::new(reader), Half::new(writer));
        let below = Below::new(&reader, &writer, &watch);
        let mut tls: TlsConnection<'_, _, Aes128GcmSha256> =
            TlsConnection::new(below, &mut records.incoming, &mut records.outgoing);
        // Each write would wait for its acknowledgement otherwise.
        tls.set_flush_policy(FlushPolicy::Relaxed);
        let opening = self.open(&mut tls, &wanted.host, &watch, fragment(IN));
        let opened = match select(with_timeout(self.limit, opening), pump.given_up()).await {
            Either::First(opened) => opened.unwrap_or(Err(Fault::Silent)),
            Either::Second(()) => return Ok(()),
        };
        if let Err(fault) = opened {
            pump.refuse(fault.close_reason());
            return Err(fault);
        }
        let broken = Cell::new(None);
        let (reader, writer) = tls.split();
        let reader = Opened { tls: reader, heard: false, broken: &broken };
        let reason = |why| {
            let fault = watch.fault().or(broken.get());
            fault.map_or(why, Fault::close_reason)
        };
        pump.run_as(reader, writer, &reason).await;
        watch.fault().or(broken.get()).map_or(Ok(()), Err)
    }

    /// The handshake.
    async fn open<R: Read, W: Write>(
        &self,
        tls: &mut TlsConnection<'_, Below<'_, R, W>, Aes128GcmSha256>,
        host: &str,
        watch: &Watch,
        fragment: Option<MaxFragmentLength>,
    ) -> Result<(), Fault> {
        // Certificates and SNI have names without the dot of DNS's root.
        let host = host.strip_suffix('.').unwrap_or(host);
        let name = ServerName::try_from(host).map_err(|_| Fault::Host)?;
        let now = self.clock.and_then(|clock| clock());
        if now.is_none() {
            note!(warn, "no time of day: the dates of certificates are not checked");
        }
        let mut config = TlsConfig::new();
        if matches!(name, ServerName::DnsName(_)) {
            config = config.with_server_name(host);
        }
        if let Some(fragment) = fragment {
            config = config.with_max_fragment_length(fragment);
        }
        let mut trust = Trust {
            random: Random::new(self.random, watch),
            verifier: Verifier::new(self.authority, name, now)?,
        };
        let opened = tls.open(TlsContext::new(&config, &mut trust)).await;
        if let Some(fault) = trust.verifier.fault().or(watch.fault()) {
            return Err(fault);
        }
        opened.map_err(|error| watch.blame(error))?;
        // So far anyone gets. Nothing of the client has left, and what was computed took long.
        yield_now().await;
        trust.verifier.prove()?;
        watch.open();
        Ok(())
    }
}

/// Memory of one connection for records: `IN` bytes to receive, `OUT` to send. All zero when new.
///
/// `IN` of 4,160, 2,112 or 1,088 and more lets brokers send records of 4,096, 2,048 or 1,024
/// bytes, and their certificates have to fit in one of these; [`LONGEST_RECORD`] takes any. `OUT`
/// is 512 at least; each record of it carries 22 bytes beyond those of Kafka.
pub struct TlsMem<const IN: usize, const OUT: usize> {
    incoming: [u8; IN],
    outgoing: [u8; OUT],
}

impl<const IN: usize, const OUT: usize> TlsMem<IN, OUT> {
    /// Empty memory.
    #[must_use]
    pub const fn new() -> Self {
        const { assert!(IN >= 512 + OVERHEAD && OUT >= 512 && OUT <= 4096 + 128) };
        Self { incoming: [0; IN], outgoing: [0; OUT] }
    }

    fn clear(&mut self) {
        self.incoming.fill(0);
        self.outgoing.fill(0);
    }
}

impl<const IN: usize, const OUT: usize> Default for TlsMem<IN, OUT> {
    fn default() -> Self {
        Self::new()
    }
}

/// Returns what a peer is requested to limit its records to.
const fn fragment(room: usize) -> Option<MaxFragmentLength> {
    Some(match room {
        LONGEST_RECORD.. => return None,
        room if room >= 4096 + OVERHEAD => MaxFragmentLength::Bits12,
        room if room >= 2048 + OVERHEAD => MaxFragmentLength::Bits11,
        room if room >= 1024 + OVERHEAD => MaxFragmentLength::Bits10,
        _ => MaxFragmentLength::Bits9,
    })
}

/// What embedded-tls needs besides a stream.
struct Trust<'v> {
    random: Random<'v>,
    verifier: Verifier<'v>,
}

impl CryptoProvider for Trust<'_> {
    type CipherSuite = Aes128GcmSha256;
    type Signature = [u8; 0]; // of a client with a certificate of its own

    fn rng(&mut self) -> impl CryptoRngCore {
        &mut self.random
    }

    fn verifier(&mut self) -> Result<&mut impl TlsVerifier<Aes128GcmSha256>, TlsError> {
        Ok(&mut self.verifier)
    }
}

/// What is read after the handshake.
struct Opened<'a, S> {
    tls: TlsReader<'a, S, Aes128GcmSha256>,
    /// Something was read: a peer that ends the session now accepted it before.
    heard: bool,
    broken: &'a Cell<Option<Fault>>,
}

impl<S> ErrorType for Opened<'_, S> {
    type Error = Broken;
}

impl<'a, S: Read + 'a> Read for Opened<'a, S> {
    async fn read(&mut self, room: &mut [u8]) -> Result<usize, Broken> {
        match self.tls.read(room).await {
            Ok(read) => {
                self.heard = true;
                Ok(read)
            }
            // In order, or cut off: Kafka's own lengths show whether something is missing.
            Err(TlsError::ConnectionClosed | TlsError::IoError) => Ok(0),
            Err(error) => {
                let fault = match error {
                    TlsError::InternalError if self.heard => Some(Fault::Ended),
                    // An alert; embedded-tls does not say which.
                    TlsError::InternalError => Some(Fault::Rejected),
                    TlsError::Unimplemented => Some(Fault::Rekeyed),
                    TlsError::Io(_) => None,
                    _ => Some(Fault::Protocol),
                };
                self.broken.set(fault);
                Err(Broken::of(error))
            }
        }
    }
}

impl Fault {
    /// Returns what the client takes the end of the connection for.
    #[must_use]
    pub const fn close_reason(self) -> CloseReason {
        match self {
            Self::Issuer
            | Self::Expired { .. }
            | Self::NotYetValid { .. }
            | Self::Name
            | Self::SelfSigned
            | Self::Algorithm
            | Self::Certificate
            | Self::Proof
            | Self::Rejected => CloseReason::Certificate,
            Self::Alert(42..=46 | 48 | 49 | 116) => CloseReason::Certificate,
            Self::Ended => CloseReason::Ended,
            Self::Reset => CloseReason::Reset,
            Self::Silent => CloseReason::Silent,
            _ => CloseReason::Tls,
        }
    }
}
