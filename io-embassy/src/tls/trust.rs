//! Whom to believe: randomness, and the certificate of the peer.

use core::cell::RefCell;
use core::fmt;
use core::time::Duration;

use embassy_sync::blocking_mutex::Mutex;
use embassy_sync::blocking_mutex::raw::CriticalSectionRawMutex;
use embedded_tls::{
    Aes128GcmSha256, CertificateEntryRef, CertificateRef, CertificateVerifyRef, Sha256,
    SignatureScheme, TlsError, TlsVerifier,
};
use heapless::Vec;
use p256::ecdsa::signature::Verifier as _;
use p256::ecdsa::{Signature, VerifyingKey};
use rand_core::{CryptoRng, RngCore};
use rustls_pki_types::{
    AlgorithmIdentifier, CertificateDer, InvalidSignature, ServerName,
    SignatureVerificationAlgorithm, TrustAnchor, UnixTime, alg_id,
};
use sha2::Digest as _;
use webpki::{EndEntityCert, Error, KeyUsage, anchor_from_trusted_cert};

use super::record::Watch;
use super::{Fault, Fill};

/// Certificates between that of the peer and the CA.
const BETWEEN: usize = 4;
/// A signature of ECDSA over P-256, as DER.
const SIGNATURE: usize = 72;
/// A point of P-256, not compressed.
const POINT: usize = 65;
/// What is signed begins with 64 spaces and this (RFC 8446, section 4.4.3); the hash follows.
const CONTEXT: &[u8] = b"TLS 1.3, server CertificateVerify\0";
const SIGNED: usize = 64 + CONTEXT.len() + 32;

/// The source of randomness, as embedded-tls wants it. One that fails stops the connection before
/// anything leaves.
pub(super) struct Random<'d> {
    fill: Fill<'d>,
    watch: &'d Watch,
    last: [u8; 8],
}

impl<'d> Random<'d> {
    pub(super) const fn new(fill: Fill<'d>, watch: &'d Watch) -> Self {
        Self { fill, watch, last: [0; 8] }
    }
}

impl RngCore for Random<'_> {
    fn next_u32(&mut self) -> u32 {
        self.next_u64() as u32
    }

    fn next_u64(&mut self) -> u64 {
        let mut bytes = [0; 8];
        self.fill_bytes(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    fn fill_bytes(&mut self, out: &mut [u8]) {
        let filled = (self.fill)(out);
        let first = out.first_chunk().copied();
        let is_stuck = first.is_some_and(|first| first == [0; 8] || first == self.last);
        if filled.is_err() || is_stuck {
            self.watch.fail(Fault::Random);
            // Nothing that is computed with it leaves. Zeros would be no key, and tried again.
            out.fill(1);
        }
        self.last = first.unwrap_or(self.last);
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), rand_core::Error> {
        self.fill_bytes(out);
        Ok(())
    }
}

impl CryptoRng for Random<'_> {}

/// ECDSA over P-256 with SHA-256.
#[derive(Debug)]
struct Ecdsa;

impl SignatureVerificationAlgorithm for Ecdsa {
    fn verify_signature(
        &self,
        key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), InvalidSignature> {
        let key = VerifyingKey::from_sec1_bytes(key).map_err(|_| InvalidSignature)?;
        let signature = Signature::from_der(signature).map_err(|_| InvalidSignature)?;
        key.verify(message, &signature).map_err(|_| InvalidSignature)
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        alg_id::ECDSA_P256
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        alg_id::ECDSA_SHA256
    }
}

/// Takes the public key out of a certificate: as an algorithm that only looks at it.
struct KeyOf(Mutex<CriticalSectionRawMutex, RefCell<Vec<u8, POINT, u8>>>);

impl fmt::Debug for KeyOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyOf")
    }
}

impl SignatureVerificationAlgorithm for KeyOf {
    fn verify_signature(&self, key: &[u8], _: &[u8], _: &[u8]) -> Result<(), InvalidSignature> {
        self.0.lock(|place| {
            *place.borrow_mut() = Vec::from_slice(key).map_err(|_| InvalidSignature)?;
            Ok(())
        })
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        alg_id::ECDSA_P256
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        alg_id::ECDSA_SHA256
    }
}

/// What the peer has shown.
enum Shown {
    Nothing,
    /// A certificate that is good; its key, and the hash of all messages up to it.
    Certificate(Vec<u8, POINT, u8>, Sha256),
    /// The same, and what is to prove that it has the key.
    Claim(Vec<u8, POINT, u8>, Sha256, Vec<u8, SIGNATURE, u8>),
}

/// Checks the certificate of a peer: issuer, dates, name, and the proof that the peer has its key.
pub(super) struct Verifier<'v> {
    authority: &'v [u8],
    name: ServerName<'v>,
    now: Option<u64>,
    shown: Shown,
    fault: Option<Fault>,
}

impl<'v> Verifier<'v> {
    pub(super) fn new(
        authority: &'v [u8],
        name: ServerName<'v>,
        now: Option<u64>,
    ) -> Result<Self, Fault> {
        let certificate = CertificateDer::from_slice(authority);
        anchor_from_trusted_cert(&certificate).map_err(|_| Fault::Authority)?;
        Ok(Self { authority, name, now, shown: Shown::Nothing, fault: None })
    }

    pub(super) const fn fault(&self) -> Option<Fault> {
        self.fault
    }

    /// Returns the key of the peer, if its certificates are good.
    #[inline(never)] // or its frame would be part of every poll of the handshake
    fn check(&self, message: &CertificateRef<'_>) -> Result<Vec<u8, POINT, u8>, Fault> {
        let mut all = message.entries.iter().map(|entry| match entry {
            CertificateEntryRef::X509(der) | CertificateEntryRef::RawPublicKey(der) => {
                CertificateDer::from_slice(der)
            }
        });
        let own = all.next().ok_or(Fault::Proof)?;
        let between: Vec<_, BETWEEN, u8> = all.take(BETWEEN).collect();
        let authority = CertificateDer::from_slice(self.authority);
        let anchor = anchor_from_trusted_cert(&authority).map_err(|_| Fault::Authority)?;
        let own = EndEntityCert::try_from(&own).map_err(|_| Fault::Certificate)?;
        match self.now {
            Some(now) => chain(&own, anchor, &between, now).map_err(blame)?,
            None => chain_at_any_time(&own, anchor, &between).map_err(blame)?,
        }
        own.verify_is_valid_for_subject_name(&self.name).map_err(blame)?;
        let key = KeyOf(Mutex::new(RefCell::new(Vec::new())));
        own.verify_signature(&key, &[], &[]).map_err(blame)?;
        Ok(key.0.into_inner().into_inner())
    }

    /// Whether the peer has signed all messages with the key of its certificate. A peer that sent
    /// no certificate, or no signature, has proven nothing.
    #[inline(never)]
    pub(super) fn prove(&self) -> Result<(), Fault> {
        let Shown::Claim(key, hash, signature) = &self.shown else { return Err(Fault::Proof) };
        let mut signed = [b' '; SIGNED];
        let (_, rest) = signed.split_at_mut(64);
        let (context, place) = rest.split_at_mut(CONTEXT.len());
        context.copy_from_slice(CONTEXT);
        place.copy_from_slice(&hash.clone().finalize());
        Ecdsa.verify_signature(key, &signed, signature).map_err(|_| Fault::Proof)
    }

    fn refuse(&mut self, fault: Fault) -> TlsError {
        (self.shown, self.fault) = (Shown::Nothing, Some(fault));
        TlsError::InvalidCertificate
    }
}

/// Whether the certificates lead to the CA at a time.
fn chain(
    own: &EndEntityCert<'_>,
    anchor: TrustAnchor<'_>,
    between: &[CertificateDer<'_>],
    now: u64,
) -> Result<(), Error> {
    let time = UnixTime::since_unix_epoch(Duration::from_secs(now));
    let usage = KeyUsage::server_auth();
    own.verify_for_usage(&[&Ecdsa], &[anchor], between, time, usage, None, None).map(|_| ())
}

/// The same at the first time at which all of them are valid, where none is known: all but the
/// dates is checked.
fn chain_at_any_time(
    own: &EndEntityCert<'_>,
    anchor: TrustAnchor<'_>,
    between: &[CertificateDer<'_>],
) -> Result<(), Error> {
    let mut now = 0;
    // Each attempt passes the beginning of one more certificate.
    for _ in 0..=BETWEEN {
        match chain(own, anchor.clone(), between, now) {
            Err(Error::CertNotValidYet { not_before, .. }) => now = not_before.as_secs(),
            done => return done,
        }
    }
    chain(own, anchor, between, now)
}

fn blame(error: Error) -> Fault {
    match error {
        Error::UnknownIssuer | Error::InvalidSignatureForPublicKey => Fault::Issuer,
        Error::CertExpired { time, not_after } => {
            Fault::Expired { not_after: not_after.as_secs(), now: time.as_secs() }
        }
        Error::CertNotValidYet { time, not_before } => {
            Fault::NotYetValid { not_before: not_before.as_secs(), now: time.as_secs() }
        }
        Error::CertNotValidForName(_) => Fault::Name,
        Error::CaUsedAsEndEntity => Fault::SelfSigned,
        Error::UnsupportedSignatureAlgorithmContext(_)
        | Error::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => Fault::Algorithm,
        _ => Fault::Certificate,
    }
}

impl TlsVerifier<Aes128GcmSha256> for Verifier<'_> {
    fn set_hostname_verification(&mut self, _: &str) -> Result<(), TlsError> {
        Ok(()) // it is known
    }

    fn verify_certificate(
        &mut self,
        transcript: &Sha256,
        certificates: CertificateRef<'_>,
    ) -> Result<(), TlsError> {
        match (self.check(&certificates), &self.shown) {
            (Ok(key), Shown::Nothing) => {
                self.shown = Shown::Certificate(key, transcript.clone());
                Ok(())
            }
            (Ok(_), _) => Err(self.refuse(Fault::Protocol)),
            (Err(fault), _) => Err(self.refuse(fault)),
        }
    }

    /// Keeps the signature for [`Verifier::prove`], so that the task can yield before.
    fn verify_signature(&mut self, proof: CertificateVerifyRef<'_>) -> Result<(), TlsError> {
        if !matches!(proof.signature_scheme, SignatureScheme::EcdsaSecp256r1Sha256) {
            return Err(self.refuse(Fault::Algorithm));
        }
        let signature = Vec::from_slice(proof.signature);
        match (core::mem::replace(&mut self.shown, Shown::Nothing), signature) {
            (Shown::Certificate(key, hash), Ok(signature)) => {
                self.shown = Shown::Claim(key, hash, signature);
                Ok(())
            }
            _ => Err(self.refuse(Fault::Proof)),
        }
    }
}
