//! Connections over TLS, by rustls: feature `tls`.

mod refusal;
#[cfg(feature = "stores")]
mod stores;

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, RootCertStore, SignatureScheme};

pub(crate) use refusal::{explain, take_requested};
pub use rustls;

/// How connections are encrypted: [`Config::tls`](crate::Config::tls). By default a broker's
/// certificate has to be signed by an authority that the system trusts, and has to name the host
/// that is connected to. There is never a connection without TLS instead.
#[derive(Clone)]
pub struct Tls(Arc<ClientConfig>);

/// What [`Tls::builder`] builds from.
#[derive(Default)]
pub struct TlsBuilder {
    roots: Option<Vec<CertificateDer<'static>>>,
    client: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
    anyone: bool,
}

fn wrong(what: &str, error: impl fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("{what}: {error}"))
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    std::fs::read(path)
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
}

/// Returns the certificates in a PEM text, of which there has to be one.
fn certificates(pem: &[u8]) -> io::Result<Vec<CertificateDer<'static>>> {
    let hint = "convert a Java or PKCS#12 store with: openssl pkcs12 -in STORE -nokeys -out ca.pem";
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match all {
        Ok(all) if !all.is_empty() => Ok(all),
        Ok(_) => Err(wrong("no certificate in PEM format", hint)),
        Err(error) => Err(wrong("certificates", error)),
    }
}

impl Tls {
    /// Trusts what the system trusts, with no certificate of its own.
    ///
    /// # Errors
    /// When the system has no authorities.
    pub fn new() -> io::Result<Self> {
        Self::builder().build()
    }

    /// Begins with the defaults.
    #[must_use]
    pub fn builder() -> TlsBuilder {
        TlsBuilder::default()
    }

    /// Uses a configuration of the caller's, with the cryptography that it has.
    #[must_use]
    pub fn with(config: Arc<ClientConfig>) -> Self {
        let mut config = Arc::unwrap_or_clone(config);
        let resolver = refusal::Noting(config.client_auth_cert_resolver);
        config.client_auth_cert_resolver = Arc::new(resolver);
        Self(Arc::new(config))
    }

    pub(crate) fn config(&self) -> &Arc<ClientConfig> {
        &self.0
    }
}

impl TlsBuilder {
    /// Trusts the authorities in a PEM file, and no others.
    ///
    /// # Errors
    /// When the file cannot be read, or has no certificate.
    pub fn ca_file(self, path: impl AsRef<Path>) -> io::Result<Self> {
        let path = path.as_ref();
        let pem = read(path)?;
        self.ca(&pem).map_err(|error| wrong(&path.display().to_string(), error))
    }

    /// Trusts the authorities in a PEM text, and no others.
    ///
    /// # Errors
    /// When it has no certificate.
    pub fn ca(mut self, pem: &[u8]) -> io::Result<Self> {
        self.roots.get_or_insert_default().extend(certificates(pem)?);
        Ok(self)
    }

    /// Identifies this client with the certificates in one PEM file and the key in another, which
    /// may be the same.
    ///
    /// # Errors
    /// When a file cannot be read, or has no certificate or no key that can be used.
    pub fn client_files(
        self,
        certificates: impl AsRef<Path>,
        key: impl AsRef<Path>,
    ) -> io::Result<Self> {
        let (chain, secret) = (read(certificates.as_ref())?, read(key.as_ref())?);
        let place = key.as_ref().display().to_string();
        self.client(&chain, &secret).map_err(|error| wrong(&place, error))
    }

    /// Identifies this client with the certificates in one PEM text and the key in another.
    ///
    /// # Errors
    /// When there is no certificate or no key that can be used.
    pub fn client(mut self, chain: &[u8], key: &[u8]) -> io::Result<Self> {
        let encrypted = b"ENCRYPTED PRIVATE KEY";
        if key.windows(encrypted.len()).any(|window| window == encrypted) {
            let hint = "use TlsBuilder::client_encrypted (--key-password-file), or decrypt it \
                        with: openssl pkcs8 -in KEY -out PLAIN_KEY";
            return Err(wrong("the key is encrypted", hint));
        }
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| wrong("key", error))?;
        self.client = Some((certificates(chain)?, key));
        Ok(self)
    }

    /// Accepts any certificate: whoever is on the way to the brokers can read everything and write
    /// in the name of this client. For tests.
    #[must_use]
    pub fn danger_accept_any_certificate(mut self) -> Self {
        self.anyone = true;
        self
    }

    /// Builds it.
    ///
    /// # Errors
    /// When the system has no authorities, an authority is no certificate, or the key does not fit
    /// the client's certificate.
    pub fn build(self) -> io::Result<Tls> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| wrong("TLS", error))?;
        let verifier: Arc<dyn ServerCertVerifier> = match (self.anyone, self.roots) {
            (true, _) => Arc::new(Anyone(provider)),
            (false, None) => {
                let verifier = rustls_platform_verifier::Verifier::new(provider);
                Arc::new(verifier.map_err(|error| wrong("authorities of the system", error))?)
            }
            (false, Some(list)) => {
                let mut roots = RootCertStore::empty();
                for certificate in list {
                    roots.add(certificate).map_err(|error| wrong("authority", error))?;
                }
                let builder =
                    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider);
                builder.build().map_err(|error| wrong("authorities", error))?
            }
        };
        let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
        let config = match self.client {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => builder
                .with_client_auth_cert(chain, key)
                .map_err(|error| wrong("certificate and key of this client", error))?,
        };
        Ok(Tls::with(Arc::new(config)))
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls(..)")
    }
}

impl fmt::Debug for TlsBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsBuilder(..)")
    }
}

/// Accepts any certificate; only that the peer has its key is checked.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
