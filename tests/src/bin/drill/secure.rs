//! TLS and a login, for all clients of a run.

use std::io;
use std::path::Path;

use kavka_std::kavka_core::login::{Scram, Sha256};
use kavka_std::kavka_core::{Client, Config as Settings, NoEntropy, Secret, Storage};
use kavka_std::{Config, Driver, Sasl, Tls};
use kavka_tests::kafka::{PASSWORD, USER};

/// What clients connect with; `None`: neither.
#[derive(Clone, Debug, Default)]
pub(crate) struct Security(Option<Tls>);

impl Security {
    /// Trusts the authority in this file.
    ///
    /// # Errors
    /// When the file cannot be used.
    pub(crate) fn of(authority: Option<&Path>) -> io::Result<Self> {
        let tls = authority.map(|file| Tls::builder().ca_file(file)?.build()).transpose();
        Ok(Self(tls?))
    }

    pub(crate) fn apply(&self, config: Config) -> Config {
        match &self.0 {
            Some(tls) => config.tls(tls.clone()).sasl(Sasl::scram_sha_256(USER, PASSWORD)),
            None => config,
        }
    }

    /// Creates a client of the core that does the same.
    ///
    /// # Errors
    /// Those of the system at the start.
    pub(crate) fn drive<'d>(
        &self,
        config: Settings<'d>,
        storage: Storage<'d>,
        seed: [u8; 32],
    ) -> Result<Driver<'d>, Box<dyn core::error::Error>> {
        let text = |error| format!("{error:?}");
        let Some(tls) = &self.0 else {
            return Ok(Driver::new(Client::new(config, storage, seed).map_err(text)?)?);
        };
        let password = Secret::owned(PASSWORD.as_bytes().into());
        // For one login of a test.
        let nonce = move |out: &mut [u8]| -> Result<(), NoEntropy> {
            out.fill_with(|| fastrand::u8(..));
            Ok(())
        };
        let login = Scram::<Sha256>::owned(USER, password, Box::new(nonce));
        let storage = storage.owned_login(Box::new(login.map_err(|_| "no credentials")?));
        let mut driver = Driver::new(Client::new(config, storage, seed).map_err(text)?)?;
        driver.secure(tls);
        Ok(driver)
    }
}
