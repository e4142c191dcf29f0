//! TLS, from options, the environment and properties as Java and librdkafka name them.

use std::fs;

use clap::Args;
use kavka_std::{Tls, TlsBuilder};

use super::{Failure, lines};

#[derive(Args)]
pub(super) struct TlsArgs {
    /// Encrypt connections (TLS); brokers have to prove who they are
    #[arg(long, global = true, env = "KAVKA_TLS")]
    pub(super) tls: bool,
    /// File of the authorities to trust, in place of those of the system: PEM or PKCS#12; implies
    /// --tls
    #[arg(long, global = true, env = "KAVKA_CA", value_name = "FILE")]
    ca: Option<String>,
    /// File with the password of a PKCS#12 file of --ca; or KAVKA_CA_PASSWORD in the environment
    #[arg(long, global = true, value_name = "FILE")]
    ca_password_file: Option<String>,
    /// File of this client's certificate, and those above it: PEM, or PKCS#12 with the key; implies
    /// --tls
    #[arg(long, global = true, env = "KAVKA_CERT", value_name = "FILE")]
    cert: Option<String>,
    /// PEM file of this client's key, if it is not in that of --cert
    #[arg(long, global = true, env = "KAVKA_KEY", value_name = "FILE", requires = "cert")]
    key: Option<String>,
    /// File with the password of the key, or of a PKCS#12 file of --cert; or KAVKA_KEY_PASSWORD in
    /// the environment
    #[arg(long, global = true, value_name = "FILE")]
    key_password_file: Option<String>,
    /// Accept any certificate: whoever is on the way can read and change everything
    #[arg(long, global = true)]
    danger_accept_any_certificate: bool,
}

/// Certificates or a key.
pub(super) enum Source {
    File(String),
    /// PEM, as it stands in a property.
    Text(String),
}

impl Source {
    fn read(&self) -> Result<Vec<u8>, Failure> {
        match self {
            Self::File(path) => {
                fs::read(path).map_err(|error| Failure::Usage(format!("{path}: {error}")))
            }
            Self::Text(text) => Ok(text.clone().into_bytes()),
        }
    }

    fn wrong(&self, error: &std::io::Error) -> Failure {
        Failure::Usage(match self {
            Self::File(path) => format!("{path}: {error}"),
            Self::Text(_) => error.to_string(),
        })
    }
}

/// What is set of it.
#[derive(Default)]
pub(super) struct Encryption {
    ca: Option<Source>,
    ca_password: Option<String>,
    certificate: Option<Source>,
    store_password: Option<String>,
    key: Option<Source>,
    key_password: Option<String>,
    anyone: bool,
}

/// Whether a file is a store and no PEM text: a DER sequence, or Java's own format.
fn is_store(bytes: &[u8]) -> bool {
    bytes.first() == Some(&0x30) || bytes.starts_with(&[0xfe, 0xed, 0xfe, 0xed])
}

/// Returns what is in a file, without the end of its line.
pub(super) fn password_of(option: &str, file: &str) -> Result<String, Failure> {
    let text = fs::read_to_string(file)
        .map_err(|error| Failure::Usage(format!("{option} {file}: {error}")))?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    Ok(text.strip_suffix('\r').unwrap_or(text).to_owned())
}

impl Encryption {
    /// Takes a property, if it is one of these. Returns whether it is.
    pub(super) fn set(&mut self, key: &str, value: &str) -> Result<bool, String> {
        let text = || Some(Source::Text(value.into()));
        let file = || Some(Source::File(value.into()));
        match key {
            "ssl.ca.location" | "ssl.truststore.location" => self.ca = file(),
            "ssl.ca.pem" | "ssl.truststore.certificates" => self.ca = text(),
            "ssl.truststore.password" => self.ca_password = Some(value.into()),
            "ssl.certificate.location" | "ssl.keystore.location" => self.certificate = file(),
            "ssl.certificate.pem" | "ssl.keystore.certificate.chain" => self.certificate = text(),
            "ssl.keystore.password" => self.store_password = Some(value.into()),
            "ssl.key.location" => self.key = file(),
            "ssl.key.pem" | "ssl.keystore.key" => self.key = text(),
            "ssl.key.password" => self.key_password = Some(value.into()),
            "ssl.truststore.type" | "ssl.keystore.type" => {
                let kind = value.to_ascii_uppercase();
                if !["PEM", "PKCS12"].contains(&&*kind) {
                    return Err("must be PEM or PKCS12: convert it with keytool -importkeystore \
                         -srckeystore STORE -destkeystore STORE.p12 -deststoretype PKCS12"
                        .into());
                }
            }
            "enable.ssl.certificate.verification" => match value {
                "true" | "1" => self.anyone = false,
                "false" | "0" => self.anyone = true,
                _ => return Err("must be true or false".into()),
            },
            "ssl.endpoint.identification.algorithm" if value.eq_ignore_ascii_case("https") => {}
            "ssl.endpoint.identification.algorithm" => {
                return Err("the name in a certificate is always checked".into());
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Takes the options, which override properties. Returns whether one wants TLS.
    pub(super) fn take_options(&mut self, args: &TlsArgs) -> Result<bool, Failure> {
        if let Some(path) = &args.ca {
            (self.ca, self.ca_password) = (Some(Source::File(path.clone())), None);
        }
        if let Some(path) = &args.cert {
            self.certificate = Some(Source::File(path.clone()));
            (self.key, self.store_password, self.key_password) = (None, None, None);
        }
        if let Some(path) = &args.key {
            self.key = Some(Source::File(path.clone()));
        }
        for (option, file, variable, password) in [
            (
                "--ca-password-file",
                &args.ca_password_file,
                "KAVKA_CA_PASSWORD",
                &mut self.ca_password,
            ),
            (
                "--key-password-file",
                &args.key_password_file,
                "KAVKA_KEY_PASSWORD",
                &mut self.key_password,
            ),
        ] {
            if let Some(file) = file {
                *password = Some(password_of(option, file)?);
            } else if let Ok(text) = std::env::var(variable) {
                *password = Some(text);
            }
        }
        self.anyone |= args.danger_accept_any_certificate;
        Ok(args.tls
            || args.ca.is_some()
            || args.cert.is_some()
            || args.danger_accept_any_certificate)
    }

    /// Returns how connections are encrypted.
    pub(super) fn build(&self) -> Result<Tls, Failure> {
        let mut tls = Tls::builder();
        if let Some(source) = &self.ca {
            let bytes = source.read()?;
            let password = self.ca_password.as_deref().unwrap_or_default();
            let taken =
                if is_store(&bytes) { tls.ca_store(&bytes, password) } else { tls.ca(&bytes) };
            tls = taken.map_err(|error| source.wrong(&error))?;
        }
        if let Some(source) = &self.certificate {
            tls = self.identify(tls, source)?;
        }
        if self.anyone {
            lines::say("any certificate is accepted: whoever is on the way can read everything");
            tls = tls.danger_accept_any_certificate();
        }
        tls.build().map_err(|error| Failure::Usage(error.to_string()))
    }

    fn identify(&self, tls: TlsBuilder, source: &Source) -> Result<TlsBuilder, Failure> {
        let bytes = source.read()?;
        if is_store(&bytes) {
            let password = self.store_password.as_ref().or(self.key_password.as_ref());
            let taken = tls.client_store(&bytes, password.map_or("", String::as_str));
            return taken.map_err(|error| source.wrong(&error));
        }
        // Java has both in one file.
        let place = self.key.as_ref().unwrap_or(source);
        let key = place.read()?;
        let taken = match &self.key_password {
            Some(password) => tls.client_encrypted(&bytes, &key, password),
            None => tls.client(&bytes, &key),
        };
        taken.map_err(|error| place.wrong(&error))
    }
}
