//! The mechanisms against a peer that sends anything: in what order, and how long, comes from the
//! input.

use kavka_core::login::{EXCHANGE_BYTES, Exchange, Mechanism, Next, OauthBearer, Plain};
use kavka_core::login::{Scram, Sha256, Sha512};
use kavka_core::wire::{SliceSink, Writer};
use kavka_core::{LoginFault, NoEntropy, Secret};

use crate::input::Input;

/// Slices that one exchange may compute: those of the most iterations that are accepted here.
const SLICES: usize = 20_000 / 64 + 1;

/// Reads the mechanism, then a message for each step.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let mut password = *b"open sesame";
    let secret = Secret::lent(&mut password);
    let mut source = |out: &mut [u8]| -> Result<(), NoEntropy> {
        out.fill(7);
        Ok(())
    };
    match input.below(4) {
        0 => converse(&mut Plain::new("a,b=c", secret).expect("both"), input, 1),
        1 => {
            let mut token = [0; 64];
            let mut login = OauthBearer::new(&mut token, &[("a", "b")]).expect("an extension");
            // One that cannot be sent leaves the last one.
            let _ = login.take_token(b"first");
            let _ = login.take_token(input.take(80));
            converse(&mut login, input, 2);
        }
        2 => {
            let login = Scram::<Sha256>::new("a,b=c", secret, &mut source).expect("both");
            converse(&mut login.most_iterations(20_000), input, 2);
        }
        _ => {
            let login = Scram::<Sha512>::new("a,b=c", secret, &mut source).expect("both");
            converse(&mut login.most_iterations(20_000), input, 2);
        }
    }
}

fn message(login: &dyn Mechanism, exchange: &Exchange) -> Vec<u8> {
    let mut room = [0; 2 * EXCHANGE_BYTES];
    let mut sink = SliceSink::new(&mut room);
    login.write(exchange, &mut Writer::new(&mut sink)).expect("no message is that long");
    sink.written().to_vec()
}

/// Runs an exchange; SCRAM must not end without the proof, which no input can have but by chance.
fn converse(login: &mut dyn Mechanism, mut input: Input<'_>, messages: usize) {
    let mut exchange = Exchange::new();
    let mut next = login.begin(&mut exchange);
    let (mut sent, mut slices) = (0, 0);
    loop {
        next = match next {
            Ok(Next::Send) => {
                sent += 1;
                assert!(sent <= messages, "{sent} messages");
                let first = message(login, &exchange);
                assert_eq!(first, message(login, &exchange), "the same message again");
                assert!(!first.is_empty());
                // Often the nonce of the client, which a broker repeats.
                let mut bytes = Vec::new();
                if input.one_in(2) {
                    bytes.extend_from_slice(b"r=BwcHBwcHBwcHBwcHBwcHBwcH");
                }
                bytes.extend_from_slice(input.take(600));
                login.receive(&mut exchange, &bytes)
            }
            Ok(Next::Compute) => {
                while login.compute() {
                    slices += 1;
                    assert!(slices <= SLICES, "{slices} slices");
                }
                login.resume(&mut exchange)
            }
            Ok(Next::Done) => {
                assert!(!login.name().starts_with("SCRAM"), "without a proof");
                return;
            }
            Ok(_) => return,
            Err(fault) => {
                assert!(!matches!(fault, LoginFault::Entropy | LoginFault::State), "{fault:?}");
                return;
            }
        };
        assert!(exchange.kept().len() <= EXCHANGE_BYTES);
    }
}
