//! Certificates and keys in files that need a password: PKCS#12, and PKCS#8 with encryption.

use std::io;

use p12_keystore::{Certificate, KeyStore, Pkcs12Archive, Pkcs12ImportPolicy};
use pkcs8::EncryptedPrivateKeyInfoRef;
use pkcs8::der::SecretDocument;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use super::{TlsBuilder, certificates, wrong};

/// The first bytes of a Java key store in its own format.
const JKS: [u8; 4] = [0xfe, 0xed, 0xfe, 0xed];
/// The label of an encrypted key in PEM.
const ENCRYPTED: &str = "ENCRYPTED PRIVATE KEY";

/// Whether a file is a PKCS#12 store, by its beginning (a DER sequence).
///
/// # Errors
/// When it is a store of another format.
fn is_store(bytes: &[u8]) -> io::Result<bool> {
    if bytes.starts_with(&JKS) {
        let hint = "convert it with: keytool -importkeystore -srckeystore STORE \
                    -destkeystore STORE.p12 -deststoretype PKCS12";
        return Err(wrong("a store of type JKS", hint));
    }
    Ok(bytes.first() == Some(&0x30))
}

fn archive(store: &[u8], password: &str) -> io::Result<Pkcs12Archive> {
    is_store(store)?;
    Pkcs12Archive::from_pkcs12(store, password)
        .map_err(|error| wrong("PKCS#12 store (is the password right?)", error))
}

fn der(certificate: &Certificate) -> CertificateDer<'static> {
    CertificateDer::from(certificate.as_der().to_vec())
}

impl TlsBuilder {
    /// Trusts the authorities in a PKCS#12 store, such as a truststore of Java, and no others.
    /// Feature `stores`.
    ///
    /// # Errors
    /// When it is no such store, the password is wrong, or it has no certificates.
    pub fn ca_store(mut self, store: &[u8], password: &str) -> io::Result<Self> {
        let certs = archive(store, password)?.certs;
        // Java marks what is trusted; other programs do not.
        let marked = certs.iter().any(|bag| bag.trusted);
        let trusted = |bag: &&p12_keystore::CertificateBag| match marked {
            true => bag.trusted,
            false => bag.local_key_id.is_none(),
        };
        let found: Vec<_> = certs.iter().filter(trusted).map(|bag| der(&bag.cert)).collect();
        if found.is_empty() {
            return Err(wrong("PKCS#12 store", "it has no certificate of an authority"));
        }
        self.roots.get_or_insert_default().extend(found);
        Ok(self)
    }

    /// Identifies this client with the first key in a PKCS#12 store, such as a keystore of Java,
    /// and its certificates. Feature `stores`.
    ///
    /// # Errors
    /// When it is no such store, the password is wrong, or it has no key with a certificate.
    pub fn client_store(mut self, store: &[u8], password: &str) -> io::Result<Self> {
        let archive = archive(store, password)?;
        let linked = KeyStore::from_pkcs12(store, password, Pkcs12ImportPolicy::Relaxed);
        let linked = linked.map_err(|error| wrong("PKCS#12 store", error))?;
        let (key, chain) = match linked.private_key_chain() {
            Some((_, chain)) if !chain.certs().is_empty() => {
                (chain.key(), chain.certs().iter().map(der).collect::<Vec<_>>())
            }
            // A key without an id: the certificates are its own, in order.
            _ => {
                let key = archive.keys.first().ok_or_else(|| wrong("PKCS#12 store", "no key"))?;
                (&key.key, archive.certs.iter().map(|bag| der(&bag.cert)).collect())
            }
        };
        if chain.is_empty() {
            return Err(wrong("PKCS#12 store", "the key has no certificate"));
        }
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.as_der().to_vec()));
        self.client = Some((chain, key));
        Ok(self)
    }

    /// Identifies this client with the certificates in one PEM text and the key in another, which
    /// is decrypted if it is encrypted (PKCS#8). Both may be the same. Feature `stores`.
    ///
    /// # Errors
    /// When there is no certificate or no key that can be used, or the password is wrong.
    pub fn client_encrypted(
        mut self,
        chain: &[u8],
        key: &[u8],
        password: &str,
    ) -> io::Result<Self> {
        let Some(pem) = encrypted_part(key) else { return self.client(chain, key) };
        let wrong_key = |error: &dyn std::fmt::Display| wrong("encrypted key", error);
        let (_, document) = SecretDocument::from_pem(pem).map_err(|error| wrong_key(&error))?;
        let info = EncryptedPrivateKeyInfoRef::try_from(document.as_bytes())
            .map_err(|error| wrong_key(&error))?;
        let plain = info
            .decrypt(password)
            .map_err(|error| wrong("encrypted key (is the password right?)", error))?;
        let key = PrivatePkcs8KeyDer::from(plain.as_bytes().to_vec());
        self.client = Some((certificates(chain)?, PrivateKeyDer::Pkcs8(key)));
        Ok(self)
    }
}

/// Returns the encrypted key in a PEM text, which may have certificates around it.
fn encrypted_part(text: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(text).ok()?;
    let (begin, end) =
        (format!("-----BEGIN {ENCRYPTED}-----"), format!("-----END {ENCRYPTED}-----"));
    let from = text.find(&begin)?;
    let to = from + text.get(from..)?.find(&end)? + end.len();
    text.get(from..to)
}
