//! Credentials of a client (feature `sasl`).

use std::collections::BTreeSet;

use kavka_core::login::{Exchange, Mechanism, OauthBearer, Plain, Scram, Sha256};
use kavka_core::wire::{SliceSink, Writer};
use kavka_core::{Entropy, LoginFault, NoEntropy, Secret};

/// A counter instead of a generator.
struct Counting(u8);

impl Entropy for Counting {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), NoEntropy> {
        for byte in out {
            self.0 = self.0.wrapping_mul(5).wrapping_add(101);
            *byte = self.0;
        }
        Ok(())
    }
}

#[test]
fn a_dropped_secret_leaves_zeros() {
    let mut memory = *b"correct horse battery staple";
    let secret = Secret::lent(&mut memory);
    assert_eq!(secret.expose(), b"correct horse battery staple");
    drop(secret);
    assert!(memory.iter().all(|byte| *byte == 0), "{memory:?}");
}

/// Returns the message that is due.
fn message(mechanism: &dyn Mechanism, exchange: &Exchange) -> Vec<u8> {
    let mut room = [0; 512];
    let mut sink = SliceSink::new(&mut room);
    mechanism.write(exchange, &mut Writer::new(&mut sink)).expect("512 bytes are enough");
    sink.written().to_vec()
}

fn nonce(entropy: &mut (dyn Entropy + Send)) -> Result<String, LoginFault> {
    let mut password = *b"sesame";
    let login = Scram::<Sha256>::new("ali", Secret::lent(&mut password), entropy);
    let mut login = login.expect("a name and a password");
    let mut exchange = Exchange::new();
    login.begin(&mut exchange)?;
    let first = String::from_utf8(message(&login, &exchange)).expect("text");
    Ok(first.strip_prefix("n,,n=ali,r=").expect("the first message").to_owned())
}

#[test]
fn a_dropped_login_leaves_zeros() {
    let (mut first, mut second, mut token) = (*b"sesame", *b"sesame", [0; 6]);
    let mut source = Counting(0);
    drop(Plain::new("ali", Secret::lent(&mut first)));
    drop(Scram::<Sha256>::new("ali", Secret::lent(&mut second), &mut source));
    let mut bearer = OauthBearer::new(&mut token, &[]).expect("no extensions");
    bearer.take_token(b"sesame").expect("a token");
    drop(bearer);
    assert_eq!((first, second, token), ([0; 6], [0; 6], [0; 6]));
}

#[test]
fn nothing_shows_a_secret() {
    let mut source = Counting(0);
    let secret = || Secret::owned(b"sesame".to_vec().into_boxed_slice());
    assert_eq!(secret().expose(), b"sesame");
    assert_eq!(format!("{:?}", secret()), "Secret(..)");
    let plain = Plain::new("ali", secret()).expect("a name and a password");
    assert_eq!(format!("{plain:?}"), r#"Plain { user: "ali", .. }"#);
    let scram = Scram::<Sha256>::new("ali", secret(), &mut source).expect("both");
    let shown = r#"Scram { mechanism: "SCRAM-SHA-256", user: "ali", .. }"#;
    assert_eq!(format!("{scram:?}"), shown);
    let mut bearer = OauthBearer::owned(100, &[]).expect("no extensions");
    bearer.take_token(b"sesame").expect("a token");
    assert!(!format!("{bearer:?}").contains("sesame"));
    let mut exchange = Exchange::new();
    exchange.keep(b"sesame").expect("space");
    assert!(!format!("{exchange:?}").contains("sesame") && exchange.kept() == b"sesame");
}

#[test]
fn nonces_are_printable_and_differ() {
    let mut source = Counting(1);
    let nonces: Vec<_> = (0..14).map(|_| nonce(&mut source).expect("a nonce")).collect();
    for nonce in &nonces {
        assert!(nonce.bytes().all(|c| c.is_ascii_graphic() && c != b','), "{nonce:?}");
        assert_eq!(nonce.len(), 24);
    }
    assert_eq!(nonces.iter().collect::<BTreeSet<_>>().len(), nonces.len());
}

#[test]
fn a_nonce_is_the_random_bytes_in_base64() {
    let mut source = |out: &mut [u8]| {
        out.copy_from_slice(b"any carnal pleasur");
        Ok(())
    };
    assert_eq!(nonce(&mut source).as_deref(), Ok("YW55IGNhcm5hbCBwbGVhc3Vy"));
}

#[test]
fn a_source_that_fails_makes_no_nonce() {
    let mut fails = |_: &mut [u8]| Err(NoEntropy);
    assert_eq!(nonce(&mut fails), Err(LoginFault::Entropy));
    let mut zeros = |_: &mut [u8]| Ok(());
    assert_eq!(nonce(&mut zeros), Err(LoginFault::Entropy));
}
