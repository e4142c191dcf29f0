//! Logins, from options, the environment and properties as Java and librdkafka name them.

use std::fs;
use std::io;

use clap::Args;
use kavka_std::{Config, Oidc, Sasl, Tls, Token};

use super::encryption::{Encryption, TlsArgs, password_of};
use super::{Failure, lines};

#[derive(Args)]
pub(super) struct SecurityArgs {
    /// Log in with this mechanism: PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER
    #[arg(long, global = true, env = "KAVKA_SASL", value_name = "MECHANISM")]
    sasl: Option<String>,
    /// Name to log in with; for OAUTHBEARER the id of this client
    #[arg(long, global = true, env = "KAVKA_USER", value_name = "NAME")]
    user: Option<String>,
    /// File with the password, or the secret of this client, without the end of its line; or
    /// KAVKA_PASSWORD in the environment
    #[arg(long, global = true, value_name = "FILE")]
    password_file: Option<String>,
    /// For OAUTHBEARER: the server that issues tokens (https://HOST/PATH)
    #[arg(long, global = true, env = "KAVKA_OIDC_URL", value_name = "URL")]
    oidc_url: Option<String>,
    /// For OAUTHBEARER: the scope that is requested of that server
    #[arg(long, global = true, env = "KAVKA_OIDC_SCOPE", value_name = "SCOPE")]
    oidc_scope: Option<String>,
    /// PEM file of the authorities to trust for that server, in place of those of the system
    #[arg(long, global = true, env = "KAVKA_OIDC_CA", value_name = "FILE")]
    oidc_ca: Option<String>,
    /// For OAUTHBEARER: a file with the token, which is read again for each login
    #[arg(long, global = true, env = "KAVKA_TOKEN_FILE", value_name = "FILE")]
    token_file: Option<String>,
    #[command(flatten)]
    tls: TlsArgs,
}

/// `security.protocol`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Plaintext,
    SaslPlaintext,
    Ssl,
    SaslSsl,
}

impl Protocol {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        match text.to_ascii_uppercase().as_str() {
            "PLAINTEXT" => Ok(Self::Plaintext),
            "SASL_PLAINTEXT" => Ok(Self::SaslPlaintext),
            "SSL" => Ok(Self::Ssl),
            "SASL_SSL" => Ok(Self::SaslSsl),
            _ => Err("must be PLAINTEXT, SASL_PLAINTEXT, SSL or SASL_SSL".into()),
        }
    }

    const fn logs_in(self) -> bool {
        matches!(self, Self::SaslPlaintext | Self::SaslSsl)
    }

    const fn is_secure(self) -> bool {
        matches!(self, Self::Ssl | Self::SaslSsl)
    }
}

/// What is set of it.
#[derive(Default)]
pub(super) struct Security {
    pub(super) protocol: Option<Protocol>,
    pub(super) mechanism: Option<String>,
    pub(super) user: Option<String>,
    pub(super) password: Option<String>,
    /// Where tokens come from: a server, or a file.
    url: Option<String>,
    scope: Option<String>,
    oidc_ca: Option<String>,
    extensions: Vec<(String, String)>,
    sasl: Option<Sasl>,
    pub(super) encryption: Encryption,
    tls: Option<Tls>,
}

/// Returns the value of an option in a line for Java's login modules, such as `username="ali"`.
fn jaas_option(line: &str, name: &str) -> Option<String> {
    let at = line.find(&format!(" {name}="))?;
    let rest = line.get(at + name.len() + 2..)?;
    let Some(quoted) = rest.strip_prefix('"') else {
        return Some(rest.split([' ', ';']).next().unwrap_or_default().to_owned());
    };
    let (mut text, mut escaped) = (String::new(), false);
    for char in quoted.chars() {
        match char {
            '\\' if !escaped => escaped = true,
            '"' if !escaped => return Some(text),
            char => {
                text.push(char);
                escaped = false;
            }
        }
    }
    None
}

/// Those of Kafka that there are.
const MECHANISMS: [&str; 4] = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"];

fn usage<T>(text: impl Into<String>) -> Result<T, Failure> {
    Err(Failure::Usage(text.into()))
}

/// Tokens that something else writes to a file.
fn from_file(path: String) -> Sasl {
    Sasl::oauth_bearer(move || {
        let text = fs::read_to_string(&path)
            .map_err(|error| io::Error::new(error.kind(), format!("{path}: {error}")))?;
        Ok(Token::new(text.trim(), None))
    })
}

impl Security {
    /// Takes what Java's clients have: a login module with name and password, or with the
    /// credentials of an OIDC client.
    pub(super) fn take_jaas(&mut self, line: &str) -> Result<(), String> {
        let module = line.split_whitespace().next().unwrap_or_default();
        let bearer = module.ends_with(".OAuthBearerLoginModule");
        let known = module.ends_with(".PlainLoginModule") || module.ends_with(".ScramLoginModule");
        if !known && !bearer {
            return Err(
                "only PlainLoginModule, ScramLoginModule and OAuthBearerLoginModule are supported"
                    .into(),
            );
        }
        let names = if bearer { ["clientId", "clientSecret"] } else { ["username", "password"] };
        let [user, password] = names.map(|name| jaas_option(line, name));
        if bearer {
            // They may be properties of their own.
            self.user = user.or(self.user.take());
            self.password = password.or(self.password.take());
            self.scope = jaas_option(line, "scope").or(self.scope.take());
            return Ok(());
        }
        self.user = Some(user.ok_or("it has no username=\"...\"")?);
        self.password = Some(password.ok_or("it has no password=\"...\"")?);
        Ok(())
    }

    /// Takes a property, if it is one of these. Returns whether it is.
    pub(super) fn set(&mut self, key: &str, value: &str) -> Result<bool, String> {
        match key {
            "security.protocol" => self.protocol = Some(Protocol::parse(value)?),
            "sasl.mechanism" | "sasl.mechanisms" => self.mechanism = Some(value.into()),
            "sasl.username"
            | "sasl.oauthbearer.client.id"
            | "sasl.oauthbearer.client.credentials.client.id" => self.user = Some(value.into()),
            "sasl.password"
            | "sasl.oauthbearer.client.secret"
            | "sasl.oauthbearer.client.credentials.client.secret" => {
                self.password = Some(value.into());
            }
            "sasl.jaas.config" => self.take_jaas(value)?,
            "sasl.oauthbearer.token.endpoint.url" => self.url = Some(value.into()),
            "sasl.oauthbearer.scope" => self.scope = Some(value.into()),
            "sasl.oauthbearer.method" if value.eq_ignore_ascii_case("oidc") => {}
            "sasl.oauthbearer.method" => return Err("must be oidc".into()),
            "https.ca.location" => self.oidc_ca = Some(value.into()),
            "sasl.oauthbearer.extensions" => {
                for pair in value.split(',').filter(|pair| !pair.is_empty()) {
                    let (name, value) = pair.split_once('=').ok_or("must be NAME=VALUE,...")?;
                    self.extensions.push((name.into(), value.into()));
                }
            }
            _ => return self.encryption.set(key, value),
        }
        Ok(true)
    }

    /// Takes the options, which override properties, and checks all of it.
    pub(super) fn take_options(&mut self, args: &SecurityArgs) -> Result<(), Failure> {
        self.mechanism = args.sasl.clone().or(self.mechanism.take());
        self.user = args.user.clone().or(self.user.take());
        self.url = args.oidc_url.clone().or(self.url.take());
        self.scope = args.oidc_scope.clone().or(self.scope.take());
        self.oidc_ca = args.oidc_ca.clone().or(self.oidc_ca.take());
        if let Some(file) = &args.token_file {
            self.url = Some(format!("file:{file}"));
        }
        if let Some(file) = &args.password_file {
            self.password = Some(password_of("--password-file", file)?);
        } else if let Ok(password) = std::env::var("KAVKA_PASSWORD") {
            self.password = Some(password);
        }
        let chosen = self.encryption.take_options(&args.tls)?;
        if chosen || self.protocol.is_some_and(Protocol::is_secure) {
            self.tls = Some(self.encryption.build()?);
        }
        if args.sasl.is_none() && !self.protocol.is_some_and(Protocol::logs_in) {
            if self.mechanism.is_some() || self.user.is_some() {
                lines::say("no login: neither --sasl nor security.protocol=SASL_SSL");
            }
            return Ok(());
        }
        let Some(mechanism) = self.mechanism.take() else {
            return usage("a login needs a mechanism: --sasl, or sasl.mechanism");
        };
        let sasl = self.login(&mechanism.to_ascii_uppercase())?;
        if sasl.sends_password() && self.tls.is_none() {
            lines::say("the password is sent readable, since the connection is not encrypted");
        }
        self.sasl = Some(sasl);
        Ok(())
    }

    fn login(&mut self, mechanism: &str) -> Result<Sasl, Failure> {
        if !MECHANISMS.contains(&mechanism) {
            let known = MECHANISMS.join(", ");
            return usage(format!(
                "the mechanism {mechanism} is not supported: choose one of {known}"
            ));
        }
        if mechanism == "OAUTHBEARER" {
            return self.bearer();
        }
        let (Some(user), Some(password)) = (self.user.take(), self.password.take()) else {
            return usage(
                "a login needs --user and --password-file, or KAVKA_USER and KAVKA_PASSWORD, or \
                 sasl.username and sasl.password in --config",
            );
        };
        match Sasl::named(mechanism, user, password) {
            Some(sasl) => Ok(sasl),
            None => usage(format!("the mechanism {mechanism} is not supported")),
        }
    }

    /// A login with tokens, of a server or of a file.
    fn bearer(&mut self) -> Result<Sasl, Failure> {
        let Some(url) = self.url.take() else {
            return usage(
                "OAUTHBEARER needs --token-file, or --oidc-url with --user and --password-file, \
                 or sasl.oauthbearer.token.endpoint.url in --config",
            );
        };
        let sasl = if let Some(path) = url.strip_prefix("file:") {
            from_file(path.strip_prefix("//").unwrap_or(path).to_owned())
        } else {
            let (Some(id), Some(secret)) = (self.user.take(), self.password.take()) else {
                return usage(
                    "--oidc-url needs the client's id and secret: --user and --password-file",
                );
            };
            let wrong = |error: io::Error| Failure::Usage(error.to_string());
            let mut oidc = Oidc::new(&url, &id, &secret).map_err(wrong)?;
            if let Some(scope) = self.scope.take() {
                oidc = oidc.scope(scope);
            }
            if let Some(file) = &self.oidc_ca {
                oidc = oidc.ca_file(file).map_err(wrong)?;
            }
            oidc.sasl().map_err(wrong)?
        };
        let extensions = self.extensions.iter().map(|(name, value)| (&**name, &**value));
        Ok(sasl.extensions(&extensions.collect::<Vec<_>>()))
    }

    pub(super) fn apply(&self, mut config: Config) -> Config {
        if let Some(sasl) = &self.sasl {
            config = config.sasl(sasl.clone());
        }
        if let Some(tls) = &self.tls {
            config = config.tls(tls.clone());
        }
        config
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_for_javas_login_modules_are_read() {
        let module = "org.apache.kafka.common.security.plain.PlainLoginModule required";
        for (options, user, password) in [
            (" username=\"ali\" password=\"open sesame\";", "ali", "open sesame"),
            (" password=\"a\\\"b\\\\\" username=\"x=y\";", "x=y", "a\"b\\"),
            (" username=ali password=sesame;", "ali", "sesame"),
        ] {
            let mut security = Security::default();
            security.take_jaas(&format!("{module}{options}")).expect(options);
            assert_eq!(security.user.as_deref(), Some(user), "{options}");
            assert_eq!(security.password.as_deref(), Some(password), "{options}");
        }
        for bad in ["", "x.OtherModule required a=b;", &format!("{module} username=\"a\";")] {
            assert!(Security::default().take_jaas(bad).is_err(), "{bad}");
        }
    }
}
