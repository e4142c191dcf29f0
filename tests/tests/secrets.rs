//! Credentials of a client (feature `sasl`).

use std::collections::BTreeSet;

use kavka_core::{Entropy, Login, NoEntropy, Secret};

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

#[test]
fn a_dropped_login_leaves_zeros() {
    let mut memory = *b"sesame";
    let mut source = Counting(0);
    drop(Login::new("ali", Secret::lent(&mut memory), &mut source));
    assert_eq!(memory, [0; 6]);
}

#[test]
fn nothing_shows_a_secret() {
    let mut source = Counting(0);
    let secret = || Secret::owned(b"sesame".to_vec().into_boxed_slice());
    assert_eq!(secret().expose(), b"sesame");
    assert_eq!(format!("{:?}", secret()), "Secret(..)");
    let login = Login::new("ali", secret(), &mut source);
    assert_eq!(format!("{login:?}"), r#"Login { user: "ali", .. }"#);
}

#[test]
fn nonces_are_printable_and_differ() {
    let mut source = Counting(1);
    let mut login = Login::new("ali", Secret::lent(&mut []), &mut source);
    let nonces: Vec<_> = (0..14).map(|_| login.nonce().expect("a nonce")).collect();
    for nonce in &nonces {
        assert!(nonce.iter().all(|c| c.is_ascii_graphic() && *c != b','), "{nonce:?}");
    }
    assert_eq!(nonces.iter().collect::<BTreeSet<_>>().len(), nonces.len());
}

#[test]
fn a_nonce_is_the_random_bytes_in_base64() {
    let mut source = |out: &mut [u8]| {
        out.copy_from_slice(b"any carnal pleasur");
        Ok(())
    };
    let mut login = Login::new("ali", Secret::lent(&mut []), &mut source);
    assert_eq!(login.nonce(), Ok(*b"YW55IGNhcm5hbCBwbGVhc3Vy"));
}

#[test]
fn a_source_that_fails_makes_no_nonce() {
    let mut fails = |_: &mut [u8]| Err(NoEntropy);
    assert_eq!(Login::new("ali", Secret::lent(&mut []), &mut fails).nonce(), Err(NoEntropy));
    let mut zeros = |_: &mut [u8]| Ok(());
    assert_eq!(Login::new("ali", Secret::lent(&mut []), &mut zeros).nonce(), Err(NoEntropy));
}
