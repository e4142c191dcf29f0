//! Logins, from options, the environment and properties as Java and librdkafka name them.

use std::fs;

use clap::Args;
use kavka_std::{Config, Sasl, Tls};

use super::{Failure, lines};

#[derive(Args)]
pub(super) struct SecurityArgs {
    /// Log in with this mechanism: PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512
    #[arg(long, global = true, env = "KAVKA_SASL", value_name = "MECHANISM")]
    sasl: Option<String>,
    /// Name to log in with
    #[arg(long, global = true, env = "KAVKA_USER", value_name = "NAME")]
    user: Option<String>,
    /// File with the password, without the end of its line; or KAVKA_PASSWORD in the environment
    #[arg(long, global = true, value_name = "FILE")]
    password_file: Option<String>,
    /// Encrypt connections (TLS); brokers have to prove who they are
    #[arg(long, global = true, env = "KAVKA_TLS")]
    tls: bool,
    /// PEM file of the authorities to trust, in place of those of the system; implies --tls
    #[arg(long, global = true, env = "KAVKA_CA", value_name = "FILE")]
    ca: Option<String>,
    /// PEM file of this client's certificate, and those above it; implies --tls
    #[arg(long, global = true, env = "KAVKA_CERT", value_name = "FILE", requires = "key")]
    cert: Option<String>,
    /// PEM file of this client's key, not encrypted
    #[arg(long, global = true, env = "KAVKA_KEY", value_name = "FILE", requires = "cert")]
    key: Option<String>,
    /// Accept any certificate: whoever is on the way can read and change everything
    #[arg(long, global = true)]
    danger_accept_any_certificate: bool,
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
    sasl: Option<Sasl>,
    pub(super) ca: Option<String>,
    pub(super) certificate: Option<String>,
    pub(super) key: Option<String>,
    pub(super) anyone: bool,
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
const MECHANISMS: [&str; 3] = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"];

fn unknown(mechanism: &str) -> String {
    format!("the mechanism {mechanism} is not supported: choose one of {}", MECHANISMS.join(", "))
}

impl Security {
    /// Takes what Java's clients have: a login module with name and password.
    pub(super) fn take_jaas(&mut self, line: &str) -> Result<(), String> {
        let module = line.split_whitespace().next().unwrap_or_default();
        if !module.ends_with(".PlainLoginModule") && !module.ends_with(".ScramLoginModule") {
            return Err("only PlainLoginModule and ScramLoginModule are supported".into());
        }
        let user = jaas_option(line, "username").ok_or("it has no username=\"...\"")?;
        let password = jaas_option(line, "password").ok_or("it has no password=\"...\"")?;
        (self.user, self.password) = (Some(user), Some(password));
        Ok(())
    }

    /// Takes the options, which override properties, and checks all of it.
    pub(super) fn take_options(&mut self, args: &SecurityArgs) -> Result<(), Failure> {
        let usage = |text: String| Err(Failure::Usage(text));
        self.mechanism = args.sasl.clone().or(self.mechanism.take());
        self.user = args.user.clone().or(self.user.take());
        if let Some(file) = &args.password_file {
            let text = fs::read_to_string(file)
                .map_err(|error| Failure::Usage(format!("--password-file {file}: {error}")))?;
            let text = text.strip_suffix('\n').unwrap_or(&text);
            self.password = Some(text.strip_suffix('\r').unwrap_or(text).to_owned());
        } else if let Ok(password) = std::env::var("KAVKA_PASSWORD") {
            self.password = Some(password);
        }
        self.take_tls(args)?;
        let protocol = self.protocol;
        let wanted = args.sasl.is_some() || protocol.is_some_and(Protocol::logs_in);
        if !wanted {
            if self.mechanism.is_some() || self.user.is_some() {
                lines::say("no login: neither --sasl nor security.protocol=SASL_SSL");
            }
            return Ok(());
        }
        let Some(mechanism) = self.mechanism.as_deref() else {
            return usage("a login needs a mechanism: --sasl, or sasl.mechanism".into());
        };
        if !MECHANISMS.contains(&&*mechanism.to_ascii_uppercase()) {
            return usage(unknown(mechanism));
        }
        let (Some(user), Some(password)) = (self.user.take(), self.password.take()) else {
            return usage(
                "a login needs --user and --password-file, or KAVKA_USER and KAVKA_PASSWORD, or \
                 sasl.username and sasl.password in --config"
                    .into(),
            );
        };
        let Some(sasl) = Sasl::named(mechanism, user, password) else {
            return usage(unknown(mechanism));
        };
        if sasl.sends_password() && self.tls.is_none() {
            lines::say("the password is sent readable, since the connection is not encrypted");
        }
        self.sasl = Some(sasl);
        Ok(())
    }

    fn take_tls(&mut self, args: &SecurityArgs) -> Result<(), Failure> {
        let any = args.danger_accept_any_certificate;
        let chosen = args.tls || args.ca.is_some() || args.cert.is_some() || any;
        if !chosen && !self.protocol.is_some_and(Protocol::is_secure) {
            return Ok(());
        }
        let usage = |error: std::io::Error| Failure::Usage(error.to_string());
        let mut tls = Tls::builder();
        if let Some(file) = args.ca.as_ref().or(self.ca.as_ref()) {
            tls = tls.ca_file(file).map_err(usage)?;
        }
        let certificate = args.cert.as_ref().or(self.certificate.as_ref());
        let key = args.key.as_ref().or(self.key.as_ref());
        if let (Some(certificate), Some(key)) = (certificate, key.or(certificate)) {
            tls = tls.client_files(certificate, key).map_err(usage)?;
        }
        if any || self.anyone {
            lines::say("any certificate is accepted: whoever is on the way can read everything");
            tls = tls.danger_accept_any_certificate();
        }
        self.tls = Some(tls.build().map_err(usage)?);
        Ok(())
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
