//! What a client logs in with.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use kavka_core::login::{Mechanism, OauthBearer, Plain, Scram, Sha256, Sha512};
use kavka_core::{ConfigError, NoEntropy, Secret};

/// Bytes of the longest token.
const LONGEST_TOKEN: usize = 64 << 10;

/// Returns a mechanism of the application's own, for each client.
type Make = Arc<dyn Fn() -> Box<dyn Mechanism + Send> + Send + Sync>;
/// Names and values that are sent with a token.
type Extensions = &'static [(&'static str, &'static str)];
/// Fetches a token.
pub(crate) type Fetch = Arc<dyn Fn() -> io::Result<Token> + Send + Sync>;

/// What a client logs in with (SASL): [`Config::sasl`](crate::Config::sasl). The password is kept
/// in memory that is erased when the last clone is dropped, and is never shown.
#[derive(Clone)]
pub struct Sasl(Kind);

#[derive(Clone)]
enum Kind {
    Plain(String, Arc<Secret<'static>>),
    Scram256(String, Arc<Secret<'static>>),
    Scram512(String, Arc<Secret<'static>>),
    Bearer(Fetch, Extensions),
    Own(Make),
}

/// A bearer token.
pub struct Token {
    text: Secret<'static>,
    lifetime: Option<Duration>,
}

impl Token {
    /// Creates it with how long it is valid, if that is known: at 80 % of it the next one is
    /// fetched.
    #[must_use]
    pub fn new(token: impl Into<String>, lifetime: Option<Duration>) -> Self {
        Self { text: secret(token.into()), lifetime }
    }

    pub(crate) fn parts(&self) -> (&[u8], Option<Duration>) {
        (self.text.expose(), self.lifetime)
    }
}

fn secret(text: String) -> Secret<'static> {
    Secret::owned(text.into_bytes().into_boxed_slice())
}

impl Sasl {
    /// PLAIN: the broker gets name and password as they are, so does everyone on the way to it
    /// unless the connection is encrypted.
    #[must_use]
    pub fn plain(user: impl Into<String>, password: impl Into<String>) -> Self {
        Self(Kind::Plain(user.into(), Arc::new(secret(password.into()))))
    }

    /// SCRAM-SHA-256: the password stays here.
    #[must_use]
    pub fn scram_sha_256(user: impl Into<String>, password: impl Into<String>) -> Self {
        Self(Kind::Scram256(user.into(), Arc::new(secret(password.into()))))
    }

    /// SCRAM-SHA-512: the password stays here.
    #[must_use]
    pub fn scram_sha_512(user: impl Into<String>, password: impl Into<String>) -> Self {
        Self(Kind::Scram512(user.into(), Arc::new(secret(password.into()))))
    }

    /// OAUTHBEARER: `fetch` returns a token, and is called on a thread of its own, at first and
    /// ahead of the end of each token. If it fails it is called again after 10 s, and what waits
    /// for a login fails with its error in the end, or at once if that is of the kind
    /// `PermissionDenied`.
    #[must_use]
    pub fn oauth_bearer(fetch: impl Fn() -> io::Result<Token> + Send + Sync + 'static) -> Self {
        Self(Kind::Bearer(Arc::new(fetch), &[]))
    }

    /// Sends these names and values with each token (SASL extensions, KIP-342), such as
    /// `logicalCluster` of Confluent Cloud. They stay in memory until the process ends.
    #[must_use]
    pub fn extensions(self, all: &[(&str, &str)]) -> Self {
        let leak = |text: &str| -> &'static str { String::leak(text.to_owned()) };
        let all: Vec<_> = all.iter().map(|(name, value)| (leak(name), leak(value))).collect();
        match self.0 {
            Kind::Bearer(fetch, _) => Self(Kind::Bearer(fetch, all.leak())),
            _ => self,
        }
    }

    /// A mechanism of the application's own; `make` is called once for each client.
    #[must_use]
    pub fn own(make: impl Fn() -> Box<dyn Mechanism + Send> + Send + Sync + 'static) -> Self {
        Self(Kind::Own(Arc::new(make)))
    }

    /// Returns the mechanism with this name, if it is one with a password.
    #[must_use]
    pub fn named(
        mechanism: &str,
        user: impl Into<String>,
        password: impl Into<String>,
    ) -> Option<Self> {
        Some(match mechanism.to_ascii_uppercase().as_str() {
            "PLAIN" => Self::plain(user, password),
            "SCRAM-SHA-256" => Self::scram_sha_256(user, password),
            "SCRAM-SHA-512" => Self::scram_sha_512(user, password),
            _ => return None,
        })
    }

    /// Whether the password is readable on the way to the broker.
    #[cfg_attr(not(feature = "cli"), allow(dead_code))]
    #[must_use]
    pub fn sends_password(&self) -> bool {
        matches!(self.0, Kind::Plain(..))
    }

    pub(crate) fn fetch(&self) -> Option<Fetch> {
        match &self.0 {
            Kind::Bearer(fetch, _) => Some(fetch.clone()),
            _ => None,
        }
    }

    pub(crate) fn mechanism(&self) -> Result<Box<dyn Mechanism + Send>, ConfigError> {
        let copy = |password: &Secret<'_>| Secret::owned(password.expose().into());
        let system = || {
            Box::new(|out: &mut [u8]| -> Result<(), NoEntropy> {
                getrandom::fill(out).map_err(|_| NoEntropy)
            })
        };
        let bad = |_| ConfigError::Credentials;
        Ok(match &self.0 {
            Kind::Plain(user, password) => {
                Box::new(Plain::owned(user, copy(password)).map_err(bad)?)
            }
            Kind::Scram256(user, password) => {
                let login = Scram::<Sha256>::owned(user, copy(password), system());
                Box::new(login.map_err(bad)?)
            }
            Kind::Scram512(user, password) => {
                let login = Scram::<Sha512>::owned(user, copy(password), system());
                Box::new(login.map_err(bad)?)
            }
            Kind::Bearer(_, extensions) => {
                let login = OauthBearer::owned(LONGEST_TOKEN, extensions);
                Box::new(login.map_err(|_| ConfigError::Credentials)?)
            }
            Kind::Own(make) => make(),
        })
    }
}

impl fmt::Debug for Sasl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, user) = match &self.0 {
            Kind::Plain(user, _) => ("PLAIN", Some(user)),
            Kind::Scram256(user, _) => ("SCRAM-SHA-256", Some(user)),
            Kind::Scram512(user, _) => ("SCRAM-SHA-512", Some(user)),
            Kind::Bearer(..) => ("OAUTHBEARER", None),
            Kind::Own(_) => ("own", None),
        };
        f.debug_struct("Sasl").field("mechanism", &name).field("user", &user).finish()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("lifetime", &self.lifetime).finish_non_exhaustive()
    }
}
