//! SCRAM (RFC 5802, RFC 7677): the password stays here, and the broker proves that it knows it,
//! too.

use core::fmt;
use core::marker::PhantomData;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Digest;
use subtle::ConstantTimeEq;
use zeroize::Zeroize;

use super::plain::check;
use super::{Exchange, Mechanism, Next, NoCredentials, base64};
use crate::config::Text;
use crate::error::LoginFault;
use crate::secret::{Entropy, NoEntropy, Secret};
use crate::wire::{Full, Writer};

/// Iterations of PBKDF2 per [`Mechanism::compute`]: about 50 us on a server, 10 ms on a Cortex-M4.
const SLICE: u32 = 64;
/// Fewer make the password easy to guess for anyone who records the exchange (RFC 7677).
const LEAST: u32 = 4096;
/// More take too long; Kafka's brokers have 16,384 at most.
const MOST: u32 = if cfg!(feature = "std") { 1 << 20 } else { 16_384 };
/// Bytes of the longest salt; Kafka's have 26, Redpanda's 130.
const SALT: usize = 192;
/// Random bytes in a nonce: three of them are four characters.
const RANDOM: usize = 18;
const NONCE: usize = RANDOM / 3 * 4;
/// What comes before the nonce in a broker's first message.
const NONCE_NAME: &[u8] = b"r=";

/// The first message has been sent; the second; both signatures are known and the second is due.
const FIRST: u8 = 1;
const SALTED: u8 = 2;
const FINAL: u8 = 3;

/// A hash function: [`Sha256`] or [`Sha512`].
pub trait Hash: sealed::Algorithm {}

pub use algorithms::{Sha256, Sha512};

mod sealed {
    use hmac::{KeyInit, Mac};
    use zeroize::Zeroize;

    /// What SCRAM needs of one.
    pub trait Algorithm {
        const NAME: &'static str;
        type Mac: Mac + KeyInit + Clone + Send;
        type Out: Zeroize + AsRef<[u8]> + AsMut<[u8]> + Copy + Send;
        const ZERO: Self::Out;
        fn digest(bytes: &[u8]) -> Self::Out;
    }
}

mod algorithms {
    use super::{Digest, Hash, Hmac, sealed};

    macro_rules! algorithm {
        ($name:ident, $text:literal, $len:literal) => {
            #[doc = concat!("The hash of `", $text, "`.")]
            #[derive(Clone, Copy, Debug)]
            pub struct $name;

            impl sealed::Algorithm for $name {
                const NAME: &'static str = $text;
                type Mac = Hmac<sha2::$name>;
                type Out = [u8; $len];
                const ZERO: [u8; $len] = [0; $len];

                fn digest(bytes: &[u8]) -> [u8; $len] {
                    sha2::$name::digest(bytes).into()
                }
            }

            impl Hash for $name {}
        };
    }

    algorithm!(Sha256, "SCRAM-SHA-256", 32);
    algorithm!(Sha512, "SCRAM-SHA-512", 64);
}

/// A salt and how often the password is hashed with it.
#[derive(Clone, PartialEq, Eq)]
struct Salt {
    bytes: heapless::Vec<u8, SALT, u8>,
    iterations: u32,
}

impl Salt {
    const NONE: Self = Self { bytes: heapless::Vec::new(), iterations: 0 };
}

/// What the password becomes with a salt, kept for the next connections.
struct Keys<H: Hash> {
    salt: Salt,
    client: H::Out,
    server: H::Out,
}

/// PBKDF2 under way.
struct Job<H: Hash> {
    salt: Salt,
    mac: H::Mac,
    last: H::Out,
    sum: H::Out,
    left: u32,
}

impl<H: Hash> Drop for Keys<H> {
    fn drop(&mut self) {
        self.client.zeroize();
        self.server.zeroize();
    }
}

impl<H: Hash> Drop for Job<H> {
    fn drop(&mut self) {
        self.last.zeroize();
        self.sum.zeroize();
    }
}

/// A source of randomness, lent or owned.
enum Source<'d> {
    Lent(&'d mut (dyn Entropy + Send + 'd)),
    #[cfg(feature = "alloc")]
    Owned(alloc::boxed::Box<dyn Entropy + Send>),
}

impl Source<'_> {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), NoEntropy> {
        match self {
            Self::Lent(source) => source.fill(out),
            #[cfg(feature = "alloc")]
            Self::Owned(source) => source.fill(out),
        }
    }
}

/// Logs in without sending the password: `Scram::<Sha256>` or `Scram::<Sha512>`.
///
/// Against a man in the middle only TLS helps, since Kafka has no channel binding.
pub struct Scram<'d, H: Hash> {
    user: Text<'d>,
    password: Secret<'d>,
    entropy: Source<'d>,
    most: u32,
    is_token: bool,
    keys: Keys<H>,
    job: Option<Job<H>>,
    hash: PhantomData<H>,
}

impl<'d, H: Hash> Scram<'d, H> {
    /// Creates it with a name, its password, and a source of randomness, which each connection
    /// needs.
    ///
    /// # Errors
    /// When the name or the password is empty, or has a NUL character.
    pub fn new(
        user: &'d str,
        password: Secret<'d>,
        entropy: &'d mut (dyn Entropy + Send + 'd),
    ) -> Result<Self, NoCredentials> {
        let password = check(user, password)?;
        Ok(Self::with(Text::Lent(user), password, Source::Lent(entropy)))
    }

    /// The same with a copy of the name, and a source of its own.
    ///
    /// # Errors
    /// As [`Scram::new`].
    #[cfg(feature = "alloc")]
    pub fn owned(
        user: &str,
        password: Secret<'d>,
        entropy: alloc::boxed::Box<dyn Entropy + Send>,
    ) -> Result<Self, NoCredentials> {
        let password = check(user, password)?;
        Ok(Self::with(Text::Owned(user.into()), password, Source::Owned(entropy)))
    }

    fn with(user: Text<'d>, password: Secret<'d>, entropy: Source<'d>) -> Self {
        let keys = Keys { salt: Salt::NONE, client: H::ZERO, server: H::ZERO };
        let (most, hash) = (MOST, PhantomData);
        Self { user, password, entropy, most, is_token: false, keys, job: None, hash }
    }

    /// Sets how many iterations a broker may request, 4096 or more. Default: 16,384, the most that
    /// Kafka's brokers have; 2^20 with `std`.
    #[must_use]
    pub fn most_iterations(mut self, most: u32) -> Self {
        self.most = most.max(LEAST);
        self
    }

    /// Name and password are those of a delegation token (KIP-48).
    #[must_use]
    pub fn delegation_token(mut self) -> Self {
        self.is_token = true;
        self
    }

    /// Returns a nonce of 144 random bits, printable and without commas.
    fn nonce(&mut self) -> Result<[u8; NONCE], NoEntropy> {
        let mut random = [0; RANDOM];
        self.entropy.fill(&mut random)?;
        if guard!("a source that gives zeros has failed", random == [0; RANDOM]) {
            return Err(NoEntropy);
        }
        let mut nonce = [0; NONCE];
        base64::encode(&random, &mut nonce);
        Ok(nonce)
    }

    /// Passes on the pieces of the first message that both sides sign.
    #[inline(never)]
    fn first(
        &self,
        nonce: &[u8],
        put: &mut dyn FnMut(&[u8]) -> Result<(), Full>,
    ) -> Result<(), Full> {
        put(b"n=")?;
        for byte in self.user.as_bytes() {
            put(match byte {
                b',' => b"=2C",
                b'=' => b"=3D",
                byte => core::slice::from_ref(byte),
            })?;
        }
        put(b",r=")?;
        put(nonce)?;
        if self.is_token { put(b",tokenauth=true") } else { Ok(()) }
    }

    /// Takes the broker's first message, which follows our nonce in what is kept.
    #[inline(never)]
    fn salt(&self, exchange: &Exchange) -> Result<Salt, LoginFault> {
        let (ours, message) = split(exchange);
        let theirs = Challenge::parse(message)?;
        let extends = theirs.nonce.len() > ours.len() && theirs.nonce.starts_with(ours);
        if guard!("the nonce of a broker begins with ours", !extends) {
            return Err(LoginFault::Nonce);
        }
        let allowed = LEAST..=self.most;
        if guard!("iterations have limits", !allowed.contains(&theirs.iterations)) {
            return Err(LoginFault::Iterations);
        }
        let mut salt = Salt { iterations: theirs.iterations, ..Salt::NONE };
        salt.bytes.resize(SALT, 0).map_err(|_| LoginFault::TooLong)?;
        let too_long = theirs.salt.len() > SALT.div_ceil(3) * 4;
        let decoded = base64::decode(theirs.salt, &mut salt.bytes);
        let fault = if too_long { LoginFault::TooLong } else { LoginFault::Message };
        let len = decoded.ok_or(fault)?;
        salt.bytes.truncate(len);
        match salt.bytes.is_empty() {
            true => Err(LoginFault::Message),
            false => Ok(salt),
        }
    }

    /// Whether the keys for the broker's salt are known; else begins to compute them.
    #[inline(never)]
    fn has_keys(&mut self, exchange: &Exchange) -> Result<bool, LoginFault> {
        let salt = self.salt(exchange)?;
        if salt == self.keys.salt {
            return Ok(true);
        }
        if self.job.is_none() {
            self.begin_job(salt)?;
        }
        Ok(false)
    }

    /// Signs, if the keys for the salt are known, or begins to compute them.
    fn sign(&mut self, exchange: &mut Exchange) -> Result<Next, LoginFault> {
        if !self.has_keys(exchange)? {
            return Ok(Next::Compute);
        }
        let (ours, message) = split(exchange);
        let nonce = Challenge::parse(message)?.nonce;
        let stored = H::digest(self.keys.client.as_ref());
        let mut proof = self.signature(stored.as_ref(), ours, message, nonce)?;
        for (byte, key) in proof.as_mut().iter_mut().zip(self.keys.client.as_ref()) {
            *byte ^= key;
        }
        let theirs = self.signature(self.keys.server.as_ref(), ours, message, nonce)?;
        // From now on: the whole nonce, our proof, and what the broker has to prove.
        let from = ours.len() + NONCE_NAME.len();
        let to = from + nonce.len();
        exchange.keep_only(from, to);
        exchange.keep(proof.as_ref())?;
        exchange.keep(theirs.as_ref())?;
        exchange.phase = FINAL;
        Ok(Next::Send)
    }

    #[inline(never)]
    fn begin_job(&mut self, salt: Salt) -> Result<(), LoginFault> {
        let mac = keyed::<H>(self.password.expose())?;
        let left = salt.iterations.saturating_sub(1);
        let job = self.job.insert(Job { salt, mac, last: H::ZERO, sum: H::ZERO, left });
        job.last = code::<H>(&job.mac, &[&job.salt.bytes, &[0, 0, 0, 1]]);
        job.sum = job.last;
        Ok(())
    }

    /// Keeps the keys that were computed.
    #[inline(never)]
    fn end_job(&mut self) {
        let Some(job) = self.job.take() else { return };
        let Ok(mac) = keyed::<H>(job.sum.as_ref()) else { return };
        self.keys.salt.clone_from(&job.salt);
        self.keys.client = code::<H>(&mac, &[b"Client Key"]);
        self.keys.server = code::<H>(&mac, &[b"Server Key"]);
    }

    /// Returns the signature under a key of all that was said.
    #[inline(never)]
    fn signature(
        &self,
        key: &[u8],
        ours: &[u8],
        message: &[u8],
        nonce: &[u8],
    ) -> Result<H::Out, LoginFault> {
        let mut mac = keyed::<H>(key)?;
        let signed = self.first(ours, &mut |piece| {
            mac.update(piece);
            Ok(())
        });
        signed.map_err(|Full| LoginFault::Message)?;
        for piece in [b",", message, b",c=biws,r=", nonce] {
            mac.update(piece);
        }
        Ok(out::<H>(mac))
    }

    /// Returns the nonce, our proof, and the broker's signature in what is kept.
    fn signed(exchange: &Exchange) -> (&[u8], &[u8], &[u8]) {
        let len = H::ZERO.as_ref().len();
        let kept = exchange.kept();
        let (rest, theirs) = kept.split_at(kept.len().saturating_sub(len));
        let (nonce, proof) = rest.split_at(rest.len().saturating_sub(len));
        (nonce, proof, theirs)
    }
}

/// Returns our nonce and the broker's message in what is kept.
fn split(exchange: &Exchange) -> (&[u8], &[u8]) {
    let kept = exchange.kept();
    kept.split_at(usize::from(exchange.mark).min(kept.len()))
}

fn keyed<H: Hash>(key: &[u8]) -> Result<H::Mac, LoginFault> {
    <H::Mac as KeyInit>::new_from_slice(key).map_err(|_| LoginFault::Message)
}

/// Returns the code of a message under the key of `mac`.
#[inline(never)] // or the states of several hashes would share a stack frame
fn code<H: Hash>(mac: &H::Mac, message: &[&[u8]]) -> H::Out {
    let mut mac = mac.clone();
    message.iter().for_each(|piece| mac.update(piece));
    out::<H>(mac)
}

fn out<H: Hash>(mac: H::Mac) -> H::Out {
    let mut out = H::ZERO;
    let bytes = mac.finalize().into_bytes();
    for (to, from) in out.as_mut().iter_mut().zip(&bytes) {
        *to = *from;
    }
    out
}

/// The broker's first message.
struct Challenge<'a> {
    nonce: &'a [u8],
    salt: &'a [u8],
    iterations: u32,
}

impl<'a> Challenge<'a> {
    /// Parses `r=..,s=..,i=..`; anything after it is for newer clients.
    fn parse(message: &'a [u8]) -> Result<Self, LoginFault> {
        let mut parts = message.split(|byte| *byte == b',');
        let mut part = |name: &[u8]| {
            parts.next().and_then(|part| part.strip_prefix(name)).ok_or(LoginFault::Message)
        };
        // "m=" in front would be an extension that has to be understood.
        let nonce = part(NONCE_NAME)?;
        let (salt, count) = (part(b"s=")?, part(b"i=")?);
        let digits = count.iter().try_fold(0_u32, |sum, byte| {
            let digit = byte.wrapping_sub(b'0');
            // What has more digits is above any limit.
            (digit < 10).then(|| sum.saturating_mul(10).saturating_add(u32::from(digit)))
        });
        let iterations = digits.filter(|_| !count.is_empty()).ok_or(LoginFault::Message)?;
        Ok(Self { nonce, salt, iterations })
    }
}

impl<H: Hash> Mechanism for Scram<'_, H> {
    fn name(&self) -> &str {
        H::NAME
    }

    fn begin(&mut self, exchange: &mut Exchange) -> Result<Next, LoginFault> {
        let nonce = self.nonce().map_err(|NoEntropy| LoginFault::Entropy)?;
        exchange.keep(&nonce)?;
        (exchange.phase, exchange.mark) = (FIRST, NONCE as u16);
        Ok(Next::Send)
    }

    fn receive(&mut self, exchange: &mut Exchange, bytes: &[u8]) -> Result<Next, LoginFault> {
        if bytes.starts_with(b"e=") {
            return Err(LoginFault::Server);
        }
        if exchange.phase == FIRST {
            exchange.keep(bytes)?;
            exchange.phase = SALTED;
            return self.sign(exchange);
        }
        let proof = bytes.strip_prefix(b"v=").ok_or(LoginFault::Message)?;
        let proof = proof.split(|byte| *byte == b',').next().unwrap_or_default();
        let mut decoded = [0; 64];
        let len = base64::decode(proof, &mut decoded).ok_or(LoginFault::Message)?;
        let theirs = decoded.get(..len).unwrap_or_default();
        let (_, _, wanted) = Self::signed(exchange);
        let same = exchange.phase == FINAL && bool::from(theirs.ct_eq(wanted));
        match guard!("a broker proves that it knows the password", same => true) {
            true => Ok(Next::Done),
            false => Err(LoginFault::Signature),
        }
    }

    fn write(&self, exchange: &Exchange, out: &mut Writer<'_>) -> Result<(), Full> {
        if exchange.phase == FIRST {
            out.raw(b"n,,")?;
            return self.first(split(exchange).0, &mut |piece| out.raw(piece));
        }
        let (nonce, proof, _) = Self::signed(exchange);
        let mut text = [0; 88];
        let proof = base64::encode(proof, &mut text);
        for piece in [b"c=biws,r=", nonce, b",p=", proof] {
            out.raw(piece)?;
        }
        Ok(())
    }

    fn compute(&mut self) -> bool {
        let Some(job) = &mut self.job else { return false };
        let slice = job.left.min(guard!("keys are computed in slices", SLICE => u32::MAX));
        for _ in 0..slice {
            job.last = code::<H>(&job.mac, &[job.last.as_ref()]);
            for (sum, byte) in job.sum.as_mut().iter_mut().zip(job.last.as_ref()) {
                *sum ^= byte;
            }
        }
        job.left -= slice;
        if job.left > 0 {
            return true;
        }
        self.end_job();
        false
    }

    fn resume(&mut self, exchange: &mut Exchange) -> Result<Next, LoginFault> {
        self.sign(exchange)
    }
}

impl<H: Hash> fmt::Debug for Scram<'_, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scram")
            .field("mechanism", &H::NAME)
            .field("user", &&*self.user)
            .finish_non_exhaustive()
    }
}
