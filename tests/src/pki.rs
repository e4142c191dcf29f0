//! Certificates of authorities, brokers and clients that exist for one test.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use p12_keystore::{Certificate, KeyStore, KeyStoreEntry, PrivateKey, PrivateKeyChain};
use rcgen::{BasicConstraints, DnType, IsCa, Issuer, KeyPair};
pub use rcgen::{CertificateParams, date_time_ymd};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};

/// The password of stores.
pub const STORE_PASSWORD: &str = "store-secret";

/// An authority that signs certificates.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    der: Vec<u8>,
}

/// A certificate and its key.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The certificate, as PEM.
    pub certificate: String,
    /// The key, as PEM (PKCS#8).
    pub key: String,
    certificate_der: Vec<u8>,
    key_der: Vec<u8>,
}

fn store(alias: &str, entry: KeyStoreEntry) -> Vec<u8> {
    let mut store = KeyStore::new();
    store.add_entry(alias, entry);
    store.writer(STORE_PASSWORD).write().expect("a store")
}

fn parsed(der: &[u8]) -> Certificate {
    Certificate::from_der(der).expect("a certificate")
}

/// Returns how a listener encrypts: with its certificate, and the authority whose certificates it
/// wants of clients.
///
/// # Panics
/// When the certificate cannot be used.
#[must_use]
pub fn listener(
    identity: &Identity,
    clients: Option<&Authority>,
    versions: &[&'static SupportedProtocolVersion],
) -> Arc<ServerConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone());
    let builder = builder.with_protocol_versions(versions).expect("versions");
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from(authority.der.clone())).expect("an authority");
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(verifier.expect("a verifier"))
        }
    };
    let chain = vec![CertificateDer::from(identity.certificate_der.clone())];
    let key = PrivateKeyDer::try_from(identity.key_der.clone()).expect("a key");
    Arc::new(builder.with_single_cert(chain, key).expect("certificate and key fit"))
}

impl Authority {
    /// Creates one with a name of its own: two with one name would be taken for each other.
    ///
    /// # Panics
    /// When the system has no randomness.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "each is another one")]
    pub fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let mut params = CertificateParams::new([]).expect("no names");
        let name = format!("authority {}", COUNT.fetch_add(1, Ordering::Relaxed));
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        let (pem, der) = (certificate.pem(), certificate.der().to_vec());
        Self { issuer: Issuer::new(params, key), pem, der }
    }

    /// Returns its certificate, as PEM.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// Returns its certificate as bytes (DER).
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// Returns its certificate as a PKCS#12 store that Java trusts.
    ///
    /// # Panics
    /// When the system has no randomness.
    #[must_use]
    pub fn store(&self) -> Vec<u8> {
        store("authority", KeyStoreEntry::Certificate(parsed(&self.der)))
    }

    /// Returns a certificate for these names, with what `change` makes of it.
    ///
    /// # Panics
    /// When a name cannot be in a certificate.
    #[must_use]
    pub fn sign(&self, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Identity {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("names");
        change(&mut params);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        Identity::new(&certificate, &key)
    }

    /// Returns the certificate of a broker on loopback.
    #[must_use]
    pub fn server(&self) -> Identity {
        self.sign(&["localhost", "127.0.0.1"], |_| {})
    }

    /// Returns the certificate of a client with this name.
    #[must_use]
    pub fn client(&self, name: &str) -> Identity {
        self.sign(&[], |params| params.distinguished_name.push(DnType::CommonName, name))
    }
}

impl Identity {
    fn new(certificate: &rcgen::Certificate, key: &KeyPair) -> Self {
        Self {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
            certificate_der: certificate.der().to_vec(),
            key_der: key.serialize_der(),
        }
    }

    /// Returns a certificate for loopback that signed itself.
    ///
    /// # Panics
    /// When the system has no randomness.
    #[must_use]
    pub fn self_signed(change: impl FnOnce(&mut CertificateParams)) -> Self {
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let mut params = CertificateParams::new(names).expect("names");
        change(&mut params);
        let key = KeyPair::generate().expect("a key");
        Self::new(&params.self_signed(&key).expect("a certificate"), &key)
    }

    /// Returns key and certificate in one PEM text, as Kafka has them in a file.
    #[must_use]
    pub fn pem(&self) -> String {
        format!("{}{}", self.key, self.certificate)
    }

    /// Returns both as a PKCS#12 store.
    ///
    /// # Panics
    /// When the system has no randomness.
    #[must_use]
    pub fn store(&self) -> Vec<u8> {
        let key = PrivateKey::from_der(&self.key_der).expect("a key");
        let chain = PrivateKeyChain::new("1", key, [parsed(&self.certificate_der)]);
        store("identity", KeyStoreEntry::PrivateKeyChain(chain))
    }

    /// Returns the certificate as bytes (DER).
    #[must_use]
    pub fn certificate_der(&self) -> &[u8] {
        &self.certificate_der
    }

    /// Returns the key as bytes (PKCS#8, DER).
    #[must_use]
    pub fn key_der(&self) -> &[u8] {
        &self.key_der
    }
}
