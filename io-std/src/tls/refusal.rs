//! Why a handshake failed, for people: whether it is about certificates, and about whose.

use std::cell::Cell;
use std::io;
use std::sync::Arc;

use rustls::client::ResolvesClientCert;
use rustls::sign::CertifiedKey;
use rustls::{AlertDescription, CertificateError, Error, SignatureScheme};

/// Seconds from 1970 to 2024: an earlier time of day is wrong.
const YEAR_2024: u64 = 1_704_067_200;

thread_local! {
    /// A peer has requested a certificate of this client since this was read last. Sessions are
    /// resumed only with the same resolver, so that it cannot be one for each connection.
    static REQUESTED: Cell<bool> = const { Cell::new(false) };
}

/// Chooses the certificate of this client, and notes that it was requested.
#[derive(Debug)]
pub(super) struct Noting(pub(super) Arc<dyn ResolvesClientCert>);

impl ResolvesClientCert for Noting {
    fn resolve(&self, issuers: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        REQUESTED.set(true);
        self.0.resolve(issuers, schemes)
    }

    fn only_raw_public_keys(&self) -> bool {
        self.0.only_raw_public_keys()
    }

    fn has_certs(&self) -> bool {
        self.0.has_certs()
    }
}

/// Whether the bytes that this thread has processed since the last call requested a certificate.
pub(crate) fn take_requested() -> bool {
    REQUESTED.take()
}

/// Whether an alert is about our certificate.
fn is_about_ours(alert: AlertDescription) -> bool {
    use AlertDescription as Alert;
    matches!(
        alert,
        Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateRevoked
            | Alert::CertificateExpired
            | Alert::CertificateUnknown
            | Alert::CertificateRequired
            | Alert::UnknownCA
            | Alert::AccessDenied
    )
}

/// Returns what an error about the peer's certificate means.
fn meaning(error: &CertificateError) -> &'static str {
    match error {
        CertificateError::UnknownIssuer => "; no trusted authority signed it",
        CertificateError::NotValidYetContext { time, .. } if time.as_secs() < YEAR_2024 => {
            "; the clock of this system is not set"
        }
        // webpki's.
        CertificateError::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => {
            "; the broker shows the certificate of an authority, such as one that signed itself: \
             give it one that the authority signed"
        }
        _ => "",
    }
}

/// Returns an error of TLS as one of the system, whose kind says whether it is about certificates.
/// `judged`: the peer has requested a certificate of this client, and not accepted it yet. Kafka
/// 2.4 with Java 17 repeats its first messages then in place of an alert.
pub(crate) fn explain(error: &Error, judged: bool) -> io::Error {
    let (kind, meaning) = match error {
        Error::InvalidCertificate(why) => (io::ErrorKind::PermissionDenied, meaning(why)),
        Error::NoCertificatesPresented => (io::ErrorKind::PermissionDenied, ""),
        Error::AlertReceived(alert) if is_about_ours(*alert) || judged => {
            let ours = "; the broker does not accept the certificate of this client, or wants one";
            (io::ErrorKind::PermissionDenied, ours)
        }
        _ if judged => {
            let ours = "; after the broker had requested a certificate of this client";
            (io::ErrorKind::PermissionDenied, ours)
        }
        _ => (io::ErrorKind::InvalidData, ""),
    };
    io::Error::new(kind, format!("TLS: {error}{meaning}"))
}
