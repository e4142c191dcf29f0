//! What a listener does that wants SASL: all mechanisms of Kafka, sessions that end, and brokers
//! that cannot be trusted. Written from the RFCs, with no code of the client under test.

use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use kafka_protocol::messages::{
    RequestKind, ResponseKind, SaslAuthenticateResponse, SaslHandshakeResponse,
};
use kafka_protocol::protocol::StrBytes;
use sha2::{Digest, Sha256, Sha512};

const UNSUPPORTED_MECHANISM: i16 = 33;
const ILLEGAL_STATE: i16 = 34;
const FAILED: i16 = 58;
/// A login within this time of the last one is a request like others (KIP-368).
const LEAST_INTERVAL: Duration = Duration::from_secs(1);

type MacOf = dyn Fn(&[u8], &[u8]) -> Vec<u8>;
type HashOf = dyn Fn(&[u8]) -> Vec<u8>;

/// How a broker deviates from SCRAM.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tamper {
    /// Not at all.
    #[default]
    No,
    /// Its nonce does not begin with the client's.
    Nonce,
    /// Its nonce is the client's.
    NoNonce,
    /// Its proof is wrong: it does not know the password.
    Signature,
    /// It has no proof.
    NoSignature,
    /// A challenge that is no base64.
    Salt,
    /// An extension that has to be understood.
    Extension,
    /// `e=` in place of its proof.
    Error,
    /// It accepts without a challenge.
    Nothing,
}

/// What a listener accepts.
#[derive(Clone, Debug)]
pub struct Sasl {
    /// Mechanisms that it has.
    pub mechanisms: Vec<&'static str>,
    /// Passwords by user, for PLAIN and SCRAM.
    pub users: BTreeMap<String, String>,
    /// Tokens that are valid, for OAUTHBEARER.
    pub tokens: Vec<String>,
    /// SCRAM iterations.
    pub iterations: u32,
    /// How long a session lasts (`connections.max.reauth.ms`).
    pub lifetime: Option<Duration>,
    /// Deviations.
    pub tamper: Tamper,
}

impl Default for Sasl {
    /// All mechanisms, and the user `alice` with the password `alice-secret`.
    fn default() -> Self {
        Self {
            mechanisms: vec!["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"],
            users: [("alice".to_owned(), "alice-secret".to_owned())].into(),
            tokens: vec!["good.token".to_owned()],
            iterations: 4096,
            lifetime: None,
            tamper: Tamper::No,
        }
    }
}

#[derive(Clone, Debug, Default)]
enum State {
    #[default]
    New,
    Chosen(String),
    Challenged {
        mechanism: String,
        user: String,
        first: String,
        challenge: String,
    },
    Refusing,
    Ready,
    Failed,
}

/// The state of one connection.
#[derive(Clone, Debug, Default)]
pub struct Login {
    state: State,
    user: Option<String>,
    mechanism: String,
    at: Duration,
    ends: Option<Duration>,
    nonces: u32,
    /// How often it logged in.
    pub count: u32,
}

/// What a request leads to.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// It is of the login: this response.
    Respond(Box<ResponseKind>),
    /// The broker closes the connection.
    Close,
    /// It is none of the login, and is served.
    Serve,
}

impl Verdict {
    fn respond(body: impl Into<ResponseKind>) -> Self {
        Self::Respond(Box::new(body.into()))
    }
}

/// A message of the client as the mechanism judges it.
enum Judged {
    Continue(Vec<u8>, State),
    Accept(Vec<u8>, String),
    Refuse(&'static str),
}

impl Login {
    /// Handles a request in this version.
    pub fn handle(&mut self, sasl: &Sasl, now: Duration, body: &RequestKind, v: i16) -> Verdict {
        match body {
            RequestKind::SaslHandshake(request) => {
                self.choose(sasl, now, request.mechanism.as_str())
            }
            RequestKind::SaslAuthenticate(request) => {
                self.authenticate(sasl, now, &request.auth_bytes, v)
            }
            RequestKind::ApiVersions(_) if matches!(self.state, State::New) => Verdict::Serve,
            _ if !matches!(self.state, State::Ready) => Verdict::Close,
            _ if self.ends.is_some_and(|ends| ends <= now) => Verdict::Close,
            _ => Verdict::Serve,
        }
    }

    fn choose(&mut self, sasl: &Sasl, now: Duration, mechanism: &str) -> Verdict {
        let list = sasl.mechanisms.iter().map(|name| StrBytes::from_static_str(name)).collect();
        let response = SaslHandshakeResponse::default().with_mechanisms(list);
        let again = matches!(self.state, State::Ready);
        let early = again && (self.count > 1 && now < self.at + LEAST_INTERVAL);
        if early || !(again || matches!(self.state, State::New)) {
            return Verdict::respond(response.with_error_code(ILLEGAL_STATE));
        }
        if !sasl.mechanisms.contains(&mechanism) {
            self.state = State::Failed;
            return Verdict::respond(response.with_error_code(UNSUPPORTED_MECHANISM));
        }
        if again && mechanism != self.mechanism {
            return Verdict::Close;
        }
        self.state = State::Chosen(mechanism.to_owned());
        Verdict::respond(response)
    }

    fn authenticate(&mut self, sasl: &Sasl, now: Duration, bytes: &[u8], v: i16) -> Verdict {
        let response = SaslAuthenticateResponse::default();
        let judged = match core::mem::take(&mut self.state) {
            State::Chosen(mechanism) => {
                self.mechanism.clone_from(&mechanism);
                self.first(sasl, mechanism, bytes)
            }
            State::Challenged { mechanism, user, first, challenge } => {
                last(sasl, &mechanism, user, &first, &challenge, bytes)
            }
            State::Refusing => Judged::Refuse("{\"status\":\"invalid_token\"}"),
            state => {
                self.state = state;
                return Verdict::respond(response.with_error_code(ILLEGAL_STATE));
            }
        };
        match judged {
            Judged::Continue(bytes, state) => {
                self.state = state;
                Verdict::respond(response.with_auth_bytes(Bytes::from(bytes)))
            }
            Judged::Accept(_, user) if self.user.as_ref().is_some_and(|old| *old != user) => {
                self.fail("another principal")
            }
            Judged::Accept(bytes, user) => {
                (self.state, self.user, self.at) = (State::Ready, Some(user), now);
                self.ends = sasl.lifetime.filter(|_| v >= 1).map(|lifetime| now + lifetime);
                self.count += 1;
                let millis = sasl.lifetime.map_or(0, |l| i64::try_from(l.as_millis()).unwrap_or(0));
                let response = response.with_auth_bytes(Bytes::from(bytes));
                Verdict::respond(response.with_session_lifetime_ms(if v >= 1 { millis } else { 0 }))
            }
            Judged::Refuse(why) => self.fail(why),
        }
    }

    fn fail(&mut self, why: &'static str) -> Verdict {
        self.state = State::Failed;
        Verdict::respond(
            SaslAuthenticateResponse::default()
                .with_error_code(FAILED)
                .with_error_message(Some(StrBytes::from_static_str(why))),
        )
    }

    /// Judges the first message of a mechanism.
    fn first(&mut self, sasl: &Sasl, mechanism: String, bytes: &[u8]) -> Judged {
        let Ok(text) = core::str::from_utf8(bytes) else { return Judged::Refuse("no text") };
        match mechanism.as_str() {
            "PLAIN" => {
                let parts: Vec<_> = text.split('\0').collect();
                let [_, user, password] = parts[..] else {
                    return Judged::Refuse("Invalid SASL/PLAIN response: expected 3 tokens");
                };
                match sasl.users.get(user) {
                    Some(right) if right == password => Judged::Accept(Vec::new(), user.into()),
                    _ => Judged::Refuse("Authentication failed: Invalid username or password"),
                }
            }
            "OAUTHBEARER" => {
                let token = text.split('\u{1}').find_map(|part| part.strip_prefix("auth=Bearer "));
                match token {
                    Some(token) if sasl.tokens.iter().any(|known| known == token) => {
                        Judged::Accept(Vec::new(), "bearer".into())
                    }
                    _ => {
                        Judged::Continue(b"{\"status\":\"invalid_token\"}".into(), State::Refusing)
                    }
                }
            }
            _ => self.challenge(sasl, mechanism, text),
        }
    }

    fn challenge(&mut self, sasl: &Sasl, mechanism: String, text: &str) -> Judged {
        if sasl.tamper == Tamper::Nothing {
            return Judged::Accept(Vec::new(), "anyone".into());
        }
        let Some(first) = text.strip_prefix("n,,") else { return Judged::Refuse("no gs2 header") };
        let mut parts = first.split(',');
        let user = parts.next().and_then(|part| part.strip_prefix("n="));
        let nonce = parts.next().and_then(|part| part.strip_prefix("r="));
        let (Some(user), Some(nonce)) = (user, nonce) else { return Judged::Refuse("no SCRAM") };
        let user = user.replace("=2C", ",").replace("=3D", "=");
        self.nonces += 1;
        let nonce = match sasl.tamper {
            Tamper::Nonce => format!("x{nonce}{}", self.nonces),
            Tamper::NoNonce => nonce.to_owned(),
            _ => format!("{nonce}server{}", self.nonces),
        };
        let salt = match sasl.tamper {
            Tamper::Salt => "no base64!".to_owned(),
            _ => base64(salt(&user).as_bytes()),
        };
        let extension = if sasl.tamper == Tamper::Extension { "m=x," } else { "" };
        let challenge = format!("{extension}r={nonce},s={salt},i={}", sasl.iterations);
        let bytes = challenge.clone().into_bytes();
        let first = first.to_owned();
        Judged::Continue(bytes, State::Challenged { mechanism, user, first, challenge })
    }
}

fn salt(user: &str) -> String {
    format!("salt of {user} and more")
}

/// Judges the last message of SCRAM.
fn last(
    sasl: &Sasl,
    mechanism: &str,
    user: String,
    first: &str,
    challenge: &str,
    bytes: &[u8],
) -> Judged {
    const WRONG: &str = "Authentication failed during authentication due to invalid credentials";
    let Some(password) = sasl.users.get(&user) else { return Judged::Refuse(WRONG) };
    let Ok(text) = core::str::from_utf8(bytes) else { return Judged::Refuse(WRONG) };
    let Some((without, proof)) = text.rsplit_once(",p=") else { return Judged::Refuse(WRONG) };
    let nonce = challenge.trim_start_matches("m=x,").split(',').next().unwrap_or_default();
    if without != format!("c=biws,{nonce}") {
        return Judged::Refuse(WRONG);
    }
    let message = format!("{first},{challenge},{without}");
    let (salt, count) = (salt(&user), sasl.iterations);
    let (proven, signature) = match mechanism {
        "SCRAM-SHA-256" => {
            let mac = |key: &[u8], text: &[u8]| mac::<Hmac<Sha256>>(key, text);
            let hash = |bytes: &[u8]| Sha256::digest(bytes).to_vec();
            prove(&mac, &hash, password, salt.as_bytes(), count, message.as_bytes())
        }
        _ => {
            let mac = |key: &[u8], text: &[u8]| mac::<Hmac<Sha512>>(key, text);
            let hash = |bytes: &[u8]| Sha512::digest(bytes).to_vec();
            prove(&mac, &hash, password, salt.as_bytes(), count, message.as_bytes())
        }
    };
    if proof != base64(&proven) {
        return Judged::Refuse(WRONG);
    }
    let answer = match sasl.tamper {
        Tamper::Signature => format!("v={}", base64(&proven)),
        Tamper::NoSignature => String::new(),
        Tamper::Error => "e=other-error".to_owned(),
        _ => format!("v={}", base64(&signature)),
    };
    Judged::Accept(answer.into_bytes(), user)
}

fn mac<M: Mac + KeyInit>(key: &[u8], text: &[u8]) -> Vec<u8> {
    let Ok(mut mac) = <M as KeyInit>::new_from_slice(key) else { return Vec::new() };
    mac.update(text);
    mac.finalize().into_bytes().to_vec()
}

/// Returns the proof of the client, and the signature of the server (RFC 5802, section 3).
fn prove(
    mac: &MacOf,
    hash: &HashOf,
    password: &str,
    salt: &[u8],
    iterations: u32,
    message: &[u8],
) -> (Vec<u8>, Vec<u8>) {
    let salted = salted(mac, password, salt, iterations);
    let client = mac(&salted, b"Client Key");
    let proof = xor(&client, &mac(&hash(&client), message));
    (proof, mac(&mac(&salted, b"Server Key"), message))
}

/// Returns `Hi(password, salt, iterations)` (RFC 5802). Computed once for each: runs in virtual
/// time have thousands of logins.
fn salted(mac: &MacOf, password: &str, salt: &[u8], iterations: u32) -> Vec<u8> {
    type Known = BTreeMap<(String, Vec<u8>, u32), Vec<u8>>;
    static KNOWN: Mutex<Known> = Mutex::new(BTreeMap::new());
    let mut last = mac(password.as_bytes(), &[salt, &[0, 0, 0, 1]].concat());
    // The first block depends on the hash as well.
    let key = (password.to_owned(), last.clone(), iterations);
    let known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
    known.unwrap_or_else(|| {
        let mut salted = last.clone();
        for _ in 1..iterations {
            last = mac(password.as_bytes(), &last);
            salted = xor(&salted, &last);
        }
        let mut all = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(key, salted.clone());
        salted
    })
}

fn xor(a: &[u8], b: &[u8]) -> Vec<u8> {
    a.iter().zip(b).map(|(a, b)| a ^ b).collect()
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte));
        let bits = bits << (8 * (3 - chunk.len()));
        for n in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * n) & 63) as usize];
            text.push(if n <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    text
}
