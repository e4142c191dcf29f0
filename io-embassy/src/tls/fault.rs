//! What can be wrong with a connection over TLS, and what to do about it.

use core::fmt;

/// Why there is no connection over TLS, or no longer one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Fault {
    /// The source of randomness failed, or gave the same bytes twice.
    Random,
    /// What was given as the CA is no certificate.
    Authority,
    /// The name of the host is neither one of DNS nor an address.
    Host,
    /// The peer closed the connection during the hello, without a byte.
    NoAnswer,
    /// The first bytes are not those of TLS.
    NoTls,
    /// The peer has no TLS 1.3.
    NoTls13,
    /// The peer's hello has another key exchange or cipher than P-256 and AES-128-GCM.
    NothingInCommon,
    /// The peer ended the handshake with this alert (RFC 8446, section 6).
    Alert(u8),
    /// An alert after the handshake, before any response.
    Rejected,
    /// The certificate is not from the CA.
    Issuer,
    /// The certificate has expired: seconds of UNIX time.
    Expired {
        /// Its last second.
        not_after: u64,
        /// What the clock of the device says.
        now: u64,
    },
    /// The certificate is not valid yet: seconds of UNIX time.
    NotYetValid {
        /// Its first second.
        not_before: u64,
        /// What the clock of the device says.
        now: u64,
    },
    /// The certificate is for another host.
    Name,
    /// The certificate is that of a CA.
    SelfSigned,
    /// The certificate, or that of its issuer, has another key or signature than ECDSA over P-256
    /// with SHA-256.
    Algorithm,
    /// The certificate is wrong in another way.
    Certificate,
    /// The peer did not prove that it has the key of the certificate.
    Proof,
    /// A record is longer than the memory for it.
    Record {
        /// Bytes of the record.
        len: u16,
        /// Bytes that there is memory for.
        room: u16,
    },
    /// A message of the handshake, mostly the certificates, is longer than one record.
    Split,
    /// The peer changed its keys, which is not supported: with Kafka after 128 GiB.
    Rekeyed,
    /// The peer broke TLS, or someone interferes.
    Protocol,
    /// No response within the limit.
    Silent,
    /// The peer ended the connection.
    Ended,
    /// The connection broke.
    Reset,
}

impl Fault {
    /// Returns what is wrong and what to do, without numbers.
    #[must_use]
    pub const fn cause(self) -> &'static str {
        match self {
            Self::Random => {
                "the source of randomness failed: without a generator that works there is no TLS"
            }
            Self::Authority => "the CA that was given is no certificate in DER",
            Self::Host => "the host is neither a name of DNS nor an address",
            Self::NoAnswer => "closed during the hello of TLS: is it a plaintext port?",
            Self::NoTls => "does not speak TLS: is it a plaintext port, or no broker?",
            Self::NoTls13 => "has no TLS 1.3, which Kafka has since 2.6 on Java 11",
            Self::NothingInCommon => {
                "chose another version, key exchange or cipher than TLS 1.3, P-256, AES-128-GCM"
            }
            Self::Alert(42 | 46 | 48 | 116) => {
                "does not accept this device, which has no certificate of its own (mutual TLS)"
            }
            Self::Alert(_) => "refused the handshake",
            Self::Rejected => {
                "ended the session right after the handshake: does it want a certificate of the \
                 device?"
            }
            Self::Issuer => {
                "its certificate is not from the CA that was given: give that of the cluster"
            }
            Self::Expired { .. } => {
                "its certificate has expired: renew it, or set the clock of the device"
            }
            Self::NotYetValid { .. } => {
                "its certificate is not valid yet: set the clock of the device"
            }
            Self::Name => {
                "its certificate is for another host: it needs the name that the broker advertises"
            }
            Self::SelfSigned => "its certificate is that of a CA: have one signed for the broker",
            Self::Algorithm => {
                "its certificates have other keys than ECDSA over P-256 with SHA-256"
            }
            Self::Certificate => "its certificate is invalid",
            Self::Proof => "did not prove that it has the key of its certificate",
            Self::Record { .. } => {
                "its record is longer than the memory for it: a proxy that ignores \
                 max_fragment_length needs 16,640 bytes"
            }
            Self::Split => {
                "its certificates take more than one record: fewer of them, or more memory"
            }
            Self::Rekeyed => "changed its keys, which is not supported: a new connection helps",
            Self::Protocol => "broke TLS, or someone interferes",
            Self::Silent => "did not respond in time",
            Self::Ended => "ended the connection",
            Self::Reset => "the connection broke",
        }
    }

    /// Returns its name as one word, such as `issuer`.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Random => "random",
            Self::Authority => "authority",
            Self::Host => "host",
            Self::NoAnswer => "no-answer",
            Self::NoTls => "no-tls",
            Self::NoTls13 => "no-tls-1.3",
            Self::NothingInCommon => "nothing-in-common",
            Self::Alert(_) => "alert",
            Self::Rejected => "rejected",
            Self::Issuer => "issuer",
            Self::Expired { .. } => "expired",
            Self::NotYetValid { .. } => "not-yet-valid",
            Self::Name => "name",
            Self::SelfSigned => "self-signed",
            Self::Algorithm => "algorithm",
            Self::Certificate => "certificate",
            Self::Proof => "proof",
            Self::Record { .. } => "record",
            Self::Split => "split",
            Self::Rekeyed => "rekeyed",
            Self::Protocol => "protocol",
            Self::Silent => "silent",
            Self::Ended => "ended",
            Self::Reset => "reset",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.cause())?;
        match self {
            Self::Alert(code) => write!(f, " (alert {code})"),
            Self::Expired { not_after, now } => {
                write!(f, " (valid until {not_after}, now is {now}, in seconds since 1970)")
            }
            Self::NotYetValid { not_before, now } => {
                write!(f, " (valid from {not_before}, now is {now}, in seconds since 1970)")
            }
            Self::Record { len, room } => write!(f, " ({len} bytes, memory for {room})"),
            _ => Ok(()),
        }
    }
}

impl core::error::Error for Fault {}
