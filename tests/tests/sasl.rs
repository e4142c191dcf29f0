//! The mechanisms (feature `sasl`) on their own: published exchanges, and brokers that lie.

use kavka_core::login::{
    Exchange, Hash, Mechanism, Next, OauthBearer, Plain, Scram, Sha256, Sha512,
};
use kavka_core::wire::{SliceSink, Writer};
use kavka_core::{LoginFault, NoEntropy, Secret};

fn secret(text: &str) -> Secret<'static> {
    Secret::owned(text.as_bytes().into())
}

/// Returns the message that is due.
fn message(mechanism: &dyn Mechanism, exchange: &Exchange) -> String {
    let mut room = [0; 1024];
    let mut sink = SliceSink::new(&mut room);
    mechanism.write(exchange, &mut Writer::new(&mut sink)).expect("1 KiB is enough");
    String::from_utf8(sink.written().to_vec()).expect("text")
}

/// The nonce of all clients here.
const NONCE: &str = "YW55IGNhcm5hbCBwbGVhc3Vy";

fn scram<H: Hash>(user: &str, password: &str) -> Scram<'static, H> {
    let source = |out: &mut [u8]| -> Result<(), NoEntropy> {
        out.copy_from_slice(b"any carnal pleasur");
        Ok(())
    };
    Scram::owned(user, secret(password), Box::new(source)).expect("a name and a password")
}

/// Lets a mechanism take a challenge, and compute as long as it has to; returns how often, too.
fn take<M: Mechanism>(
    login: &mut M,
    exchange: &mut Exchange,
    bytes: &str,
) -> (Result<Next, LoginFault>, u32) {
    let (mut next, mut slices) = (login.receive(exchange, bytes.as_bytes()), 0);
    while next == Ok(Next::Compute) {
        slices += 1;
        while login.compute() {
            slices += 1;
        }
        next = login.resume(exchange);
    }
    (next, slices)
}

/// Runs an exchange up to the last message of the client.
fn answered<H: Hash>(login: &mut Scram<'_, H>, challenge: &str) -> Result<Exchange, LoginFault> {
    let mut exchange = Exchange::new();
    assert_eq!(login.begin(&mut exchange), Ok(Next::Send));
    assert_eq!(take(login, &mut exchange, challenge).0?, Next::Send);
    Ok(exchange)
}

/// One exchange of others: nonce, challenge, the last message, and the broker's proof.
fn replay<H: Hash>(user: &str, password: &str, [nonce, rest, proof, theirs]: [&str; 4]) {
    let mut login = scram::<H>(user, password);
    let mut exchange = Exchange::new();
    login.begin(&mut exchange).expect("a nonce");
    // The nonce of the other client in place of ours.
    exchange.truncate(0);
    exchange.keep(nonce.as_bytes()).expect("space");
    exchange.mark = u16::try_from(nonce.len()).expect("a short nonce");
    assert_eq!(message(&login, &exchange), format!("n,,n={user},r={nonce}"));
    let (next, _) = take(&mut login, &mut exchange, &format!("r={nonce}{rest}"));
    assert_eq!(next, Ok(Next::Send), "{user}");
    let whole = rest.split(',').next().expect("the nonce of the server");
    assert_eq!(message(&login, &exchange), format!("c=biws,r={nonce}{whole},p={proof}"));
    let lie = theirs.replace(&theirs[2..3], if &theirs[2..3] == "A" { "B" } else { "A" });
    let next = login.receive(&mut exchange, lie.as_bytes());
    assert_eq!(next, Err(LoginFault::Signature), "{lie}");
    assert_eq!(login.receive(&mut exchange, theirs.as_bytes()), Ok(Next::Done));
}

/// RFC 7677, section 3; others were recorded by kafka-php with a real broker (BSD-3-Clause), or are
/// of xdg-go/scram (Apache-2.0).
#[test]
fn published_exchanges_are_repeated() {
    replay::<Sha256>(
        "user",
        "pencil",
        [
            "rOprNGfwEbeRWgbNEkqO",
            "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
            "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
            "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
        ],
    );
    replay::<Sha256>(
        "alice",
        "alice-secret",
        [
            "5Fr49BaTHKn0i9ytDBMw8YXNMOemtxbJ+opDL/miWK8=",
            "ou7tesfefbqo5ymk9dajioxiv,s=a3Vqa3JvOGRldzVpbWNxY3QwMXdzZW0yYg==,i=8192",
            "Ky7+xuihooYxDciXZYCr1j54tmc0y/ZvPN8So/1hi/w=",
            "v=AM496N+dPKeXeORuChQslmlCo+QHI8wy7CxRWOIMXdY=",
        ],
    );
    // Neither name nor password is normalised: Kafka's ScramFormatter does not, either.
    replay::<Sha256>(
        "ramo\u{301}n",
        "p\u{212b}ssword",
        [
            "clientNONCE",
            "serverNONCE,s=c2FsdFNBTFRzYWx0,i=4096",
            "oTfTL+YxW2HglmsPRO5VLdQk+oVt48HHrKppt+kYP2Y=",
            "v=mtXS1UbPSI9Ks9flMJwHBDfnmwcUwjpI8A/NlAT5c98=",
        ],
    );
    replay::<Sha512>(
        "user",
        "pencil",
        [
            "/uAp+YhRXyuq+1zS3YWsUsZHpxLfGkcQ",
            "4FHzBxBhPzykjGStpoxdfs4Nyp1mtC9B,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=10000",
            "E2tqtuwJz5ShFuck1/KeqZKCmGZe/Lxjyr6fTZio21wZ\
             tlpgyeYLNxxQXrLuK/FfMSCanyDRmI1q5KL1Tj54nQ==",
            "v=qKOkLNGdt0VrlVkoL3kXjhWmI4SjEfqw8ogXgikzbPOM\
             h6gloo8Mrboq/q3cz0/7hIvcQ1N9VL4m7iiSTTyolQ==",
        ],
    );
}

/// The proofs are those of Python's `hashlib` and `hmac`.
#[test]
fn names_are_escaped_and_passwords_are_not() {
    let challenge = format!("r={NONCE}abc,s=c2FsdCBvZiBhbGljZQ==,i=4096");
    let mut login = scram::<Sha256>("a,b=c", "p\u{aa}s");
    let mut exchange = Exchange::new();
    login.begin(&mut exchange).expect("a nonce");
    assert_eq!(message(&login, &exchange), format!("n,,n=a=2Cb=3Dc,r={NONCE}"));
    let exchange = answered(&mut login, &challenge).expect("an answer");
    let proof = "E/t76LvHAcrXZK8Gbb6CtGW9tZNxTLqxSzc6XMWU+6E=";
    assert_eq!(message(&login, &exchange), format!("c=biws,r={NONCE}abc,p={proof}"));
    let mut login = scram::<Sha256>("id", "secret").delegation_token();
    let mut exchange = Exchange::new();
    login.begin(&mut exchange).expect("a nonce");
    assert_eq!(message(&login, &exchange), format!("n,,n=id,r={NONCE},tokenauth=true"));
    let exchange = answered(&mut login, &challenge).expect("an answer");
    let proof = "tLnpMBYW42DxaK+NHcno4aBEcHERFlLTtYlGgfEZ9Gs=";
    assert_eq!(message(&login, &exchange), format!("c=biws,r={NONCE}abc,p={proof}"));
}

#[test]
fn a_challenge_that_cannot_be_trusted_gets_no_proof() {
    let long = format!("r={NONCE}{},s=c2FsdA==,i=4096", "x".repeat(2000));
    let salt = format!("r={NONCE}x,s={},i=4096", "AAAA".repeat(65));
    for (challenge, fault) in [
        ("r=YW55IGNhcm5hbCBwbGVhc3Vyx,s=c2FsdA==,i=4095", LoginFault::Iterations),
        ("r=YW55IGNhcm5hbCBwbGVhc3Vyx,s=c2FsdA==,i=0", LoginFault::Iterations),
        ("r=YW55IGNhcm5hbCBwbGVhc3Vyx,s=c2FsdA==,i=2147483648", LoginFault::Iterations),
        ("r=YW55IGNhcm5hbCBwbGVhc3Vyx,s=c2FsdA==,i=99999999999999", LoginFault::Iterations),
        ("r=YW55IGNhcm5hbCBwbGVhc3Vyx,s=c2FsdA==,i=-1", LoginFault::Message),
        ("r=YW55IGNhcm5hbCBwbGVhc3Vyx,s=c2FsdA==,i=", LoginFault::Message),
        ("r=YW55IGNhcm5hbCBwbGVhc3Vyx,s=c2FsdA==", LoginFault::Message),
        ("r=YW55IGNhcm5hbCBwbGVhc3Vyx,s=no base64,i=4096", LoginFault::Message),
        ("r=YW55IGNhcm5hbCBwbGVhc3Vyx,s=,i=4096", LoginFault::Message),
        ("r=wrongnonce,s=c2FsdA==,i=4096", LoginFault::Nonce),
        ("r=YW55IGNhcm5hbCBwbGVhc3Vy,s=c2FsdA==,i=4096", LoginFault::Nonce),
        ("r=,s=c2FsdA==,i=4096", LoginFault::Nonce),
        ("m=x,r=YW55IGNhcm5hbCBwbGVhc3Vyx,s=c2FsdA==,i=4096", LoginFault::Message),
        ("i=4096,s=c2FsdA==,r=YW55IGNhcm5hbCBwbGVhc3Vyx", LoginFault::Message),
        ("e=other-error", LoginFault::Server),
        ("invalid_response", LoginFault::Message),
        ("", LoginFault::Message),
        (&long, LoginFault::TooLong),
        (&salt, LoginFault::TooLong),
    ] {
        let mut login = scram::<Sha256>("alice", "alice-secret");
        assert_eq!(answered(&mut login, challenge).err(), Some(fault), "{challenge}");
    }
}

#[test]
fn a_broker_has_to_prove_that_it_knows_the_password() {
    let challenge = format!("r={NONCE}abc,s=c2FsdCBvZiBhbGljZQ==,i=4096");
    let right = "v=xgEOQK1AsxkNzSJERWunqhOPmA5KYVyVzzU8O+L/x84=";
    for (answer, result) in [
        (right, Ok(Next::Done)),
        ("v=xgEOQK1AsxkNzSJERWunqhOPmA5KYVyVzzU8O+L/x84=,x=y", Ok(Next::Done)),
        ("v=xgEOQK1AsxkNzSJERWunqhOPmA5KYVyVzzU8O+L/x80=", Err(LoginFault::Signature)),
        ("v=", Err(LoginFault::Signature)),
        ("v=xgEOQK1AsxkNzSJERWunqhOPmA5KYVyVzzU8O+L/", Err(LoginFault::Signature)),
        ("v=no base64", Err(LoginFault::Message)),
        ("e=invalid-proof", Err(LoginFault::Server)),
        ("", Err(LoginFault::Message)),
    ] {
        let mut login = scram::<Sha256>("alice", "alice-secret");
        let mut exchange = answered(&mut login, &challenge).expect("an answer");
        assert_eq!(login.receive(&mut exchange, answer.as_bytes()), result, "{answer}");
    }
    // Before the challenge nothing counts as a proof, either.
    let mut login = scram::<Sha256>("alice", "alice-secret");
    let mut exchange = Exchange::new();
    login.begin(&mut exchange).expect("a nonce");
    let early = login.receive(&mut exchange, right.as_bytes());
    assert_eq!(early, Err(LoginFault::Message));
}

#[test]
fn keys_are_computed_in_slices_and_once_for_each_salt() {
    let mut login = scram::<Sha256>("alice", "alice-secret");
    let mut slices = |salt: &str, count: u32| {
        let mut exchange = Exchange::new();
        login.begin(&mut exchange).expect("a nonce");
        let challenge = format!("r={NONCE}abc,s={salt},i={count}");
        let (next, slices) = take(&mut login, &mut exchange, &challenge);
        assert_eq!(next, Ok(Next::Send));
        slices
    };
    assert_eq!(slices("c2FsdA==", 4096), 64);
    assert_eq!(slices("c2FsdA==", 4096), 0, "the keys are known");
    assert_eq!(slices("c2FsdA==", 4160), 65);
    assert_eq!(slices("U0FMVA==", 4160), 65);
}

#[test]
fn names_and_passwords_that_cannot_be_sent_are_refused() {
    for (user, password) in [("", "x"), ("x", ""), ("a\0b", "x"), ("a", "x\0y")] {
        assert!(Plain::new(user, secret(password)).is_err(), "{user:?} {password:?}");
        let source = |_: &mut [u8]| -> Result<(), NoEntropy> { Ok(()) };
        let scram = Scram::<Sha256>::owned(user, secret(password), Box::new(source));
        assert!(scram.is_err(), "{user:?} {password:?}");
    }
    let plain = Plain::new("instance#ali", secret("p\u{e8}ncil")).expect("both can be sent");
    assert_eq!(message(&plain, &Exchange::new()), "\0instance#ali\0p\u{e8}ncil");
}

#[test]
fn a_bearer_token_is_sent_with_its_extensions() {
    let extensions = [("logicalCluster", "lkc-1"), ("identityPoolId", "pool 2")];
    let mut login = OauthBearer::owned(100, &extensions).expect("extensions");
    let mut exchange = Exchange::new();
    assert_eq!(login.begin(&mut exchange), Ok(Next::Token), "there is none yet");
    login.take_token(b"abc.DEF-_~+/=").expect("a token");
    assert_eq!(login.resume(&mut exchange), Ok(Next::Send));
    let wanted = "n,,\u{1}auth=Bearer abc.DEF-_~+/=\u{1}logicalCluster=lkc-1\u{1}\
                  identityPoolId=pool 2\u{1}\u{1}";
    assert_eq!(message(&login, &exchange), wanted);
    assert_eq!(login.receive(&mut exchange, b""), Ok(Next::Done));
}

#[test]
fn a_refused_bearer_token_is_acknowledged() {
    let mut login = OauthBearer::owned(100, &[]).expect("no extensions");
    login.take_token(b"abc").expect("a token");
    let mut exchange = Exchange::new();
    assert_eq!(login.begin(&mut exchange), Ok(Next::Send));
    assert_eq!(login.receive(&mut exchange, b"{\"status\":\"invalid_token\"}"), Ok(Next::Send));
    assert_eq!(message(&login, &exchange), "\u{1}");
    assert_eq!(login.receive(&mut exchange, b""), Err(LoginFault::Message), "an error is due");
}

#[test]
fn what_would_add_fields_is_no_token_and_no_extension() {
    let mut login = OauthBearer::owned(8, &[]).expect("no extensions");
    login.take_token(b"good").expect("a token");
    for bad in [&b"a\x01b"[..], b"", b"a b", b"a\n", b"123456789", "\u{e8}".as_bytes()] {
        assert!(login.take_token(bad).is_err(), "{bad:?}");
    }
    let mut exchange = Exchange::new();
    login.begin(&mut exchange).expect("the last token");
    assert!(message(&login, &exchange).contains("Bearer good"));
    for bad in [("auth", "x"), ("", "x"), ("a b", "x"), ("a1", "x"), ("a", "x\u{1}y")] {
        let list = [bad];
        assert!(OauthBearer::owned(8, &list).is_err(), "{bad:?}");
    }
}
