//! Support for kavka's tests: scripted peers, simulated brokers on loopback, real Kafka clusters,
//! and a checker of their histories.

pub mod chaos;
pub mod checker;
pub mod history;
pub mod kafka;
pub mod oidc;
pub mod packed;
pub mod pki;
pub mod script;
pub mod sim;

/// The examples of README.md, compiled.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;

/// That of the package for servers.
#[cfg(doctest)]
#[doc = include_str!("../../io-std/README.md")]
pub struct PackageReadme;

/// The loop of docs/loop.md, compiled.
#[cfg(doctest)]
#[doc = include_str!("../../docs/loop.md")]
pub struct Loop;
