//! The other side: certificates, rustls, and the line between.

use core::cell::RefCell;
use core::future::poll_fn;
use core::task::Poll;
use std::collections::VecDeque;
use std::io::{Read as _, Write as _};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use embedded_io_async::{ErrorKind, ErrorType, Read, Write};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{RootCertStore, ServerConfig, ServerConnection, SupportedProtocolVersion};

use crate::{DAY, FRAGMENT, NOW};

/// Whom the device connects to, mostly.
pub(crate) const HOST: &str = "broker-1.example";

/// Whoever signs certificates.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    key: Vec<u8>,
    pub(crate) der: Vec<u8>,
    /// Those between it and the one that everybody trusts.
    chain: Vec<CertificateDer<'static>>,
}

fn params(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).expect("names");
    let at = |seconds: u64| (UNIX_EPOCH + Duration::from_secs(seconds)).into();
    (params.not_before, params.not_after) = (at(NOW - DAY), at(NOW + DAY));
    params
}

fn ca(is_ca: IsCa) -> CertificateParams {
    let mut params = params(&[]);
    params.distinguished_name.push(DnType::CommonName, format!("authority {:x}", rand()));
    params.is_ca = is_ca;
    params
}

/// Keeps the names of authorities apart.
fn rand() -> u64 {
    use rand_core::RngCore as _;
    rand_core::OsRng.next_u64()
}

impl Authority {
    pub(crate) fn new() -> Self {
        let (params, key) = (ca(IsCa::Ca(BasicConstraints::Unconstrained)), key());
        let certificate = params.self_signed(&key).expect("an authority");
        let der = certificate.der().to_vec();
        let own = key.serialize_der();
        Self { issuer: Issuer::new(params, key), key: own, der, chain: Vec::new() }
    }

    /// One that this one signed.
    pub(crate) fn between(&self) -> Self {
        self.signs(ca(IsCa::Ca(BasicConstraints::Unconstrained)))
    }

    /// One that may not sign, and does.
    pub(crate) fn leaf(&self) -> Self {
        self.signs(ca(IsCa::ExplicitNoCa))
    }

    fn signs(&self, mut params: CertificateParams) -> Self {
        // Valid later than the others, so that there is more than one beginning.
        params.not_before += Duration::from_secs(DAY / 2);
        let key = key();
        let certificate = params.signed_by(&key, &self.issuer).expect("signed");
        let own = key.serialize_der();
        let der = certificate.der().clone();
        let chain = vec![der.clone()];
        Self { issuer: Issuer::new(params, key), key: own, der: der.to_vec(), chain }
    }

    /// A server with a certificate for these hosts.
    pub(crate) fn server(&self, names: &[&str]) -> ServerConfig {
        self.server_of(names, rustls::ALL_VERSIONS)
    }

    pub(crate) fn server_of(
        &self,
        names: &[&str],
        versions: &[&'static SupportedProtocolVersion],
    ) -> ServerConfig {
        let builder = ServerConfig::builder_with_protocol_versions(versions).with_no_client_auth();
        let (chain, secret) = self.identity(names);
        builder.with_single_cert(chain, secret).expect("a server")
    }

    /// A server that wants a certificate of its client.
    pub(crate) fn mutual_server(&self, names: &[&str]) -> ServerConfig {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(self.der.clone())).expect("an authority");
        let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).build().expect("a verifier");
        let builder = ServerConfig::builder().with_client_cert_verifier(verifier);
        let (chain, secret) = self.identity(names);
        builder.with_single_cert(chain, secret).expect("a server")
    }

    /// A server that has a certificate, and not its key.
    pub(crate) fn impostor(&self, names: &[&str]) -> ServerConfig {
        let (chain, _) = self.identity(names);
        let other = PrivateKeyDer::try_from(key().serialize_der()).expect("a key");
        let other = rustls::crypto::ring::sign::any_supported_type(&other).expect("a key");
        let both = SingleCertAndKey::from(CertifiedKey::new(chain, other));
        ServerConfig::builder().with_no_client_auth().with_cert_resolver(Arc::new(both))
    }

    /// A server with the certificate of the authority itself.
    pub(crate) fn own_server(&self) -> ServerConfig {
        let secret = PrivateKeyDer::try_from(self.key.clone()).expect("a key");
        let chain = vec![CertificateDer::from(self.der.clone())];
        let builder = ServerConfig::builder().with_no_client_auth();
        builder.with_single_cert(chain, secret).expect("a server")
    }

    fn identity(&self, names: &[&str]) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let own = key();
        let certificate = params(names).signed_by(&own, &self.issuer).expect("signed");
        let mut chain = vec![certificate.der().clone()];
        chain.extend(self.chain.iter().cloned());
        (chain, PrivateKeyDer::try_from(own.serialize_der()).expect("a key"))
    }
}

fn key() -> KeyPair {
    KeyPair::generate().expect("a key")
}

/// When bytes are inserted: in the handshake, behind the peer's hello, or after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    Handshake,
    Open,
}

/// Returns what is said to a hello.
type Answer = fn(&[u8]) -> Vec<u8>;

/// How the other side behaves.
pub(crate) struct Peer {
    pub(crate) server: ServerConfig,
    /// Bytes of a read at most.
    pub(crate) piece: usize,
    /// Bytes of a record at most; without a limit it begins with the longest one.
    pub(crate) fragment: Option<usize>,
    /// Says this in place of TLS, then ends.
    pub(crate) says: Option<Vec<u8>>,
    /// Ends after so many bytes.
    pub(crate) ends_after: Option<usize>,
    /// Someone on the line inserts this.
    pub(crate) inserted: Option<(Line, Vec<u8>)>,
    /// Never says anything.
    pub(crate) mute: bool,
    /// Answers the hello with this.
    pub(crate) answers: Option<Answer>,
}

impl Peer {
    pub(crate) fn new(server: ServerConfig) -> Self {
        let (piece, fragment) = (usize::MAX, Some(FRAGMENT));
        let (says, ends_after, inserted) = (None, None, None);
        let (mute, answers) = (false, None);
        Self { server, piece, fragment, says, ends_after, inserted, mute, answers }
    }

    /// Waits for a client.
    pub(crate) fn listen(self) -> Side {
        let Self { mut server, piece, fragment, says, ends_after, inserted, mute, answers } = self;
        server.max_fragment_size = fragment.map(|bytes| bytes + 5);
        let tls = ServerConnection::new(Arc::new(server)).expect("a connection");
        let out = says.clone().unwrap_or_default().into();
        Side(Rc::new(RefCell::new(State {
            tls,
            piece,
            ended: says.is_some(),
            speaks: says.is_none() && !mute && answers.is_none(),
            answers,
            ends_after,
            inserted,
            out,
            said: 0,
            received: 0,
            requests: 0,
            floods: fragment.is_none(),
        })))
    }
}

struct State {
    tls: ServerConnection,
    piece: usize,
    ended: bool,
    speaks: bool,
    answers: Option<Answer>,
    ends_after: Option<usize>,
    inserted: Option<(Line, Vec<u8>)>,
    out: VecDeque<u8>,
    said: usize,
    received: usize,
    requests: usize,
    /// Sends 16 KiB at once.
    floods: bool,
}

impl State {
    /// Takes bytes of the client and echoes what is in them.
    fn take(&mut self, mut bytes: &[u8]) {
        self.received += bytes.len();
        if let Some(answer) = self.answers.take() {
            self.out.extend(answer(bytes));
        }
        while self.speaks && !bytes.is_empty() {
            if self.tls.read_tls(&mut bytes).is_err() {
                break;
            }
            if self.tls.process_new_packets().is_err() {
                self.ended = true;
            }
            if self.floods && !self.tls.is_handshaking() {
                self.floods = false;
                self.tls.writer().write_all(&[0; 16 * 1024]).expect("room");
            }
            let mut plain = [0; 16 * 1024];
            while let Ok(read) = self.tls.reader().read(&mut plain) {
                if read == 0 {
                    break;
                }
                self.requests += read;
                self.tls.writer().write_all(&plain[..read]).expect("room");
            }
            self.talk();
        }
    }

    fn talk(&mut self) {
        let mut bytes = Vec::new();
        while self.tls.wants_write() {
            if self.tls.write_tls(&mut bytes).is_err() {
                break;
            }
        }
        let due = match self.inserted {
            Some((Line::Handshake, _)) => !bytes.is_empty(),
            Some((Line::Open, _)) => !self.tls.is_handshaking(),
            None => false,
        };
        if due && let Some((line, inserted)) = self.inserted.take() {
            // Behind the hello, or the first record.
            let first = 5 + usize::from(u16::from_be_bytes([bytes[3], bytes[4]]));
            let at = if line == Line::Handshake { first } else { 0 };
            bytes.splice(at..at, inserted);
        }
        self.out.extend(bytes);
    }

    fn give(&mut self, room: &mut [u8]) -> Option<usize> {
        let left = self.ends_after.map_or(usize::MAX, |end| end - self.said.min(end));
        let len = room.len().min(self.piece).min(self.out.len()).min(left);
        if len == 0 && !self.ended && left > 0 {
            return None;
        }
        for place in &mut room[..len] {
            *place = self.out.pop_front().unwrap_or_default();
        }
        self.said += len;
        Some(len)
    }
}

/// The device's end of the line; clones are the same.
#[derive(Clone)]
pub(crate) struct Side(Rc<RefCell<State>>);

impl Side {
    pub(crate) fn server_name(&self) -> Option<String> {
        self.0.borrow().tls.server_name().map(str::to_owned)
    }

    /// Bytes that came in all, and those of requests in them.
    pub(crate) fn received(&self) -> (usize, usize) {
        let state = self.0.borrow();
        (state.received, state.requests)
    }
}

impl ErrorType for Side {
    type Error = ErrorKind;
}

impl Read for Side {
    async fn read(&mut self, room: &mut [u8]) -> Result<usize, ErrorKind> {
        poll_fn(|cx| match self.0.borrow_mut().give(room) {
            Some(read) => Poll::Ready(Ok(read)),
            None => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        })
        .await
    }
}

impl Write for Side {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, ErrorKind> {
        self.0.borrow_mut().take(bytes);
        Ok(bytes.len())
    }

    async fn flush(&mut self) -> Result<(), ErrorKind> {
        Ok(())
    }
}
