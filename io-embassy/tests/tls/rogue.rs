//! A peer that has the keys of its session, as any other end has, and breaks the rules:
//! embedded-tls 0.19 does not miss a certificate, and panics on a record with nothing in it.

use aes_gcm::aead::{Aead as _, Payload};
use aes_gcm::{Aes128Gcm, KeyInit as _, Nonce};
use hkdf::Hkdf;
use hmac::{Hmac, Mac as _};
use p256::ecdh::EphemeralSecret;
use p256::{EncodedPoint, PublicKey};
use rand_core::OsRng;
use sha2::{Digest as _, Sha256};

const HANDSHAKE: u8 = 22;
/// Where the key of a hello begins: after the identifier of P-256 and its length.
const SHARE: [u8; 4] = [0x00, 0x17, 0x00, 0x41];

fn expand(secret: &[u8], label: &str, context: &[u8], len: usize) -> Vec<u8> {
    let label = [b"tls13 ", label.as_bytes()].concat();
    let info = [
        &(len as u16).to_be_bytes()[..],
        &[label.len() as u8],
        &label,
        &[context.len() as u8],
        context,
    ];
    let mut out = vec![0; len];
    let expanded = Hkdf::<Sha256>::from_prk(secret).expect("a secret");
    expanded.expand(&info.concat(), &mut out).expect("not too long");
    out
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let [_, high, mid, low] = (body.len() as u32).to_be_bytes();
    [&[kind, high, mid, low], body].concat()
}

fn hello(public: &[u8]) -> Vec<u8> {
    let version = [0, 43, 0, 2, 3, 4];
    let share = [&[0, 51, 0, 69, 0, 23, 0, 65], public].concat();
    let extensions = [&version[..], &share].concat();
    let front = [&[3, 3][..], &[7; 32], &[0, 0x13, 0x01, 0]].concat();
    let len = (extensions.len() as u16).to_be_bytes();
    message(2, &[&front[..], &len, &extensions].concat())
}

/// The peer's side of a handshake.
struct Session {
    hello: Vec<u8>,
    traffic: Vec<u8>,
    so_far: Sha256,
}

impl Session {
    /// Answers a hello, which is a record.
    fn begin(record: &[u8]) -> Self {
        let theirs = record.get(5..).expect("a record");
        let at = theirs.windows(4).position(|four| four == SHARE).expect("a key of P-256") + 4;
        let theirs_key = PublicKey::from_sec1_bytes(&theirs[at..at + 65]).expect("a point");
        let secret = EphemeralSecret::random(&mut OsRng);
        let public = EncodedPoint::from(secret.public_key());
        let shared = secret.diffie_hellman(&theirs_key);
        let hello = hello(public.as_bytes());

        // RFC 8446, section 7.1.
        let (early, _) = Hkdf::<Sha256>::extract(None, &[0; 32]);
        let derived = expand(&early, "derived", &Sha256::digest([]), 32);
        let (handshake, _) = Hkdf::<Sha256>::extract(Some(&derived), shared.raw_secret_bytes());
        let so_far = Sha256::new().chain_update(theirs).chain_update(&hello);
        let traffic = expand(&handshake, "s hs traffic", &so_far.clone().finalize(), 32);
        Self { hello, traffic, so_far }
    }

    /// The hello and one record, as bytes of the wire.
    fn end(&self, plain: &[u8]) -> Vec<u8> {
        let (key, iv) =
            (expand(&self.traffic, "key", &[], 16), expand(&self.traffic, "iv", &[], 12));
        let [high, low] = (plain.len() as u16 + 16).to_be_bytes();
        let front = [23, 3, 3, high, low];
        let cipher = Aes128Gcm::new_from_slice(&key).expect("a key");
        let payload = Payload { msg: plain, aad: &front };
        let sealed = cipher.encrypt(Nonce::from_slice(&iv), payload).expect("sealed");
        let [high, low] = (self.hello.len() as u16).to_be_bytes();
        [&[HANDSHAKE, 3, 3, high, low], &self.hello[..], &front, &sealed].concat()
    }
}

/// A handshake without a certificate.
pub(crate) fn unnamed(record: &[u8]) -> Vec<u8> {
    let session = Session::begin(record);
    let extensions = message(8, &[0, 0]);
    let seen = session.so_far.clone().chain_update(&extensions).finalize();
    let finished = expand(&session.traffic, "finished", &[], 32);
    let mut mac = <Hmac<Sha256> as hmac::Mac>::new_from_slice(&finished).expect("a key");
    mac.update(&seen);
    let finished = message(20, &mac.finalize().into_bytes());
    session.end(&[&extensions[..], &finished, &[HANDSHAKE]].concat())
}

/// A record that has not even a type.
pub(crate) fn empty(record: &[u8]) -> Vec<u8> {
    Session::begin(record).end(&[])
}
