//! Tokens of OAUTHBEARER from an OIDC server, by the client's own credentials (KIP-768): feature
//! `oidc`.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use base64ct::{Base64, Encoding};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::Value;
use ureq::tls::{Certificate, RootCerts, TlsConfig, TlsProvider};
use ureq::{Agent, http::StatusCode};

use crate::security::{Sasl, Token};

/// Time for one request.
const REQUEST: Duration = Duration::from_secs(10);
/// Pauses before the attempts after the first one; then the client pauses for 10 s.
const PAUSES: [Duration; 3] =
    [Duration::from_millis(100), Duration::from_millis(400), Duration::from_millis(1600)];
/// Bytes of the longest response.
const LONGEST: u64 = 256 << 10;
/// Tokens are renewed so long before they end, if they last for longer than [`SHORT`].
const BUFFER: u64 = 300;
const SHORT: u64 = 360;

/// Fetches tokens with the client's own credentials (OAuth's grant `client_credentials`), ahead of
/// the end of each.
///
/// ```no_run
/// # fn main() -> std::io::Result<()> {
/// use kavka_std::{Config, Oidc};
///
/// let login = Oidc::new("https://id.example/oauth2/token", "my-client", "the secret")?
///     .scope("kafka")
///     .sasl()?;
/// let config = Config::new("broker.example:9093").sasl(login);
/// # Ok(())
/// # }
/// ```
pub struct Oidc {
    url: String,
    authorization: Arc<Hidden>,
    scope: Option<String>,
    roots: Option<Vec<Certificate<'static>>>,
}

/// The header with the secret, erased when it is dropped.
struct Hidden(String);

impl Drop for Hidden {
    fn drop(&mut self) {
        let bytes = std::mem::take(&mut self.0).into_bytes();
        drop(kavka_core::Secret::owned(bytes.into_boxed_slice()));
    }
}

fn wrong(text: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, text.into())
}

/// Whether a URL is safe to send a secret to: encrypted, or to this machine.
fn is_safe(url: &str) -> bool {
    let host = |rest: &str| {
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let host = rest[..end].to_owned();
        match host.strip_prefix("[::1]") {
            Some(port) => port.is_empty() || port.starts_with(':'),
            None => {
                let name = host.split(':').next().unwrap_or_default();
                name == "localhost" || name == "127.0.0.1"
            }
        }
    };
    let safe = url.starts_with("https://") && url.len() > "https://".len();
    safe || url.strip_prefix("http://").is_some_and(host)
}

/// Encodes a text as in a form (`application/x-www-form-urlencoded`).
fn form(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'*' => {
                out.push(char::from(byte));
            }
            b' ' => out.push('+'),
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

impl Oidc {
    /// Creates it with the URL of the token endpoint, and id and secret of this client. They are
    /// sent as they are, as the Java client does by default (KAFKA-14496).
    ///
    /// # Errors
    /// When the URL is neither `https` nor on this machine, or id or secret are empty.
    pub fn new(url: &str, client_id: &str, client_secret: &str) -> io::Result<Self> {
        if !is_safe(url) {
            return Err(wrong(format!("{url}: the endpoint for tokens must be https://HOST/...")));
        }
        if client_id.is_empty() || client_secret.is_empty() {
            return Err(wrong("the id or the secret of the client is empty"));
        }
        let both = Hidden(format!("{client_id}:{client_secret}"));
        let header = format!("Basic {}", Base64::encode_string(both.0.as_bytes()));
        Ok(Self {
            url: url.to_owned(),
            authorization: Arc::new(Hidden(header)),
            scope: None,
            roots: None,
        })
    }

    /// Sets the scope that is requested.
    #[must_use]
    pub fn scope(mut self, scope: impl Into<String>) -> Self {
        self.scope = Some(scope.into());
        self
    }

    /// Trusts the authorities in a PEM text for that server, in place of those of the system.
    ///
    /// # Errors
    /// When it has no certificate.
    pub fn ca(mut self, pem: &[u8]) -> io::Result<Self> {
        let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
        let found = found.map_err(|error| wrong(format!("certificates: {error}")))?;
        if found.is_empty() {
            return Err(wrong("no certificate in PEM format"));
        }
        let found = found.iter().map(|der| Certificate::from_der(der).to_owned());
        self.roots.get_or_insert_default().extend(found);
        Ok(self)
    }

    /// The same for a PEM file.
    ///
    /// # Errors
    /// When the file cannot be read, or has no certificate.
    pub fn ca_file(self, path: impl AsRef<Path>) -> io::Result<Self> {
        let path = path.as_ref();
        let named =
            |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
        let pem = std::fs::read(path).map_err(named)?;
        self.ca(&pem).map_err(named)
    }

    /// Returns what clients log in with. Tokens are fetched on a thread of their own. While the
    /// server does not respond, or fails, it is tried again after 100 ms to 10 s. A refusal (4xx)
    /// fails what waits, with the words of the server.
    ///
    /// # Errors
    /// When the system has no authorities.
    pub fn sasl(self) -> io::Result<Sasl> {
        let agent = self.agent();
        let (url, header, scope) = (self.url, self.authorization, self.scope);
        let scope = scope.map_or_else(String::new, |scope| format!("&scope={}", form(&scope)));
        let body = format!("grant_type=client_credentials{scope}");
        Ok(Sasl::oauth_bearer(move || {
            let mut pauses = PAUSES.iter();
            loop {
                match fetch(&agent, &url, &header.0, &body) {
                    Err(error) if error.kind() != io::ErrorKind::PermissionDenied => {
                        let Some(pause) = pauses.next() else { return Err(error) };
                        thread::sleep(*pause);
                    }
                    result => return result,
                }
            }
        }))
    }

    fn agent(&self) -> Agent {
        let roots = match &self.roots {
            Some(roots) => RootCerts::new_with_certs(roots),
            None => RootCerts::PlatformVerifier,
        };
        let tls = TlsConfig::builder()
            .provider(TlsProvider::Rustls)
            .root_certs(roots)
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .build();
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_global(Some(REQUEST))
            .user_agent(concat!("kavka/", env!("CARGO_PKG_VERSION")))
            .tls_config(tls);
        config.build().new_agent()
    }
}

impl fmt::Debug for Oidc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Oidc").field("url", &self.url).finish_non_exhaustive()
    }
}

/// Requests a token once. A refusal is of the kind `PermissionDenied`.
fn fetch(agent: &Agent, url: &str, authorization: &str, body: &str) -> io::Result<Token> {
    let other = |text: String| io::Error::other(format!("{text} ({url})"));
    let sent = agent
        .post(url)
        .header("Authorization", authorization)
        .header("Accept", "application/json")
        .content_type("application/x-www-form-urlencoded")
        .send(body);
    let mut response = sent.map_err(|error| other(error.to_string()))?;
    let status = response.status();
    let read = response.body_mut().with_config().limit(LONGEST).read_to_string();
    let text = read.map_err(|error| other(error.to_string()))?;
    let json: Value = serde_json::from_str(&text).unwrap_or_default();
    if !status.is_success() {
        let words = refusal(status, &json);
        return Err(match status.is_client_error() && !is_temporary(status) {
            true => io::Error::new(io::ErrorKind::PermissionDenied, format!("{words} ({url})")),
            false => other(words),
        });
    }
    let token = ["access_token", "id_token"].iter().find_map(|name| json.get(name)?.as_str());
    let token = token.ok_or_else(|| other("the response has no access_token".into()))?;
    let seconds = json.get("expires_in").and_then(|value| {
        // Some servers send it as a text.
        value.as_u64().or_else(|| value.as_str()?.parse().ok())
    });
    Ok(Token::new(token, seconds.map(lifetime)))
}

/// Whether a status of 4xx is worth another attempt: a time-out, or too many requests.
fn is_temporary(status: StatusCode) -> bool {
    matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS)
}

/// Returns status and reason (RFC 6749, section 5.2), in a line.
fn refusal(status: StatusCode, json: &Value) -> String {
    let part = |name: &str| json.get(name).and_then(Value::as_str);
    let reason = match (part("error"), part("error_description")) {
        (Some(error), Some(words)) => format!("{error}: {words}"),
        (Some(words), None) | (None, Some(words)) => words.to_owned(),
        (None, None) => status.canonical_reason().unwrap_or("no reason").to_owned(),
    };
    let clean: String = reason.chars().filter(|c| !c.is_control()).take(70).collect();
    format!("{} {clean}", status.as_u16())
}

/// Returns how long the token counts: at 80 % of it the next one is fetched, which is five minutes
/// before its end where it lasts that long.
fn lifetime(seconds: u64) -> Duration {
    let early = seconds.saturating_sub(BUFFER).saturating_mul(5) / 4;
    Duration::from_secs(if seconds < SHORT { seconds } else { seconds.min(early) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_go_to_safe_urls_only() {
        for good in [
            "https://id.example/token",
            "http://localhost:8080/t",
            "http://127.0.0.1/",
            "http://[::1]:1/",
        ] {
            assert!(Oidc::new(good, "id", "secret").is_ok(), "{good}");
        }
        for bad in
            ["", "https://", "http://id.example/", "http://localhost.example/", "ftp://localhost/"]
        {
            assert!(Oidc::new(bad, "id", "secret").is_err(), "{bad}");
        }
        assert!(
            Oidc::new("https://h/", "", "s").is_err() && Oidc::new("https://h/", "i", "").is_err()
        );
    }

    #[test]
    fn tokens_are_renewed_early_enough() {
        // 80 % of what is returned.
        for (seconds, at) in [(60, 48), (300, 240), (3600, 2880), (86_400, 69_120), (1000, 700)] {
            let renewed = lifetime(seconds).as_secs() * 4 / 5;
            assert!(renewed.abs_diff(at) <= 1, "{seconds}: {renewed}");
        }
    }

    #[test]
    fn forms_are_encoded() {
        assert_eq!(form("a b/é&=+"), "a+b%2F%C3%A9%26%3D%2B");
    }

    #[test]
    fn nothing_shows_the_secret() {
        let oidc = Oidc::new("https://h/t", "id", "MARKER").expect("both");
        assert_eq!(format!("{oidc:?}"), "Oidc { url: \"https://h/t\", .. }");
    }
}
