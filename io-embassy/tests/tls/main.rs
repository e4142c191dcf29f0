//! TLS of the device against rustls as the server, over a line in memory: what is trusted, what is
//! refused and how that is named, and what the bytes of a stranger must not do.

mod kafka;
mod peer;
mod rogue;
mod session;

use kavka_core::CloseReason;
use kavka_embassy::tls::{Fault, NoRandom, Tls};
use rustls::version::TLS12;

use peer::{Authority, HOST, Line, Peer};
use session::{Outcome, run, run_with};

/// Seconds of a day, and some time at which certificates of tests are valid.
const DAY: u64 = 24 * 3600;
const NOW: u64 = 1_800_000_000;
/// Brokers obey `max_fragment_length`, and rustls this.
const FRAGMENT: usize = 4096;

fn system(out: &mut [u8]) -> Result<(), NoRandom> {
    use rand_core::RngCore as _;
    rand_core::OsRng.fill_bytes(out);
    Ok(())
}

/// Goes to the peer and exchanges bytes with it, at a time at which its certificate is valid.
fn to(host: &str, authority: &Authority, peer: Peer) -> Outcome {
    run(host, Tls::new(&authority.der, &system).clock(&|| Some(NOW)), peer)
}

fn fault(outcome: &Outcome) -> Fault {
    outcome.fault.expect("a fault")
}

#[test]
fn a_good_peer_gets_and_sends_all_bytes() {
    let authority = Authority::new();
    let outcome = to(HOST, &authority, Peer::new(authority.server(&[HOST])));
    assert_eq!((outcome.fault, outcome.echoed), (None, session::LENGTH));
    assert_eq!(outcome.server_name.as_deref(), Some(HOST));
}

#[test]
fn bytes_one_by_one_and_in_odd_pieces_make_no_difference() {
    let authority = Authority::new();
    for piece in [1, 3, 1000] {
        let peer = Peer { piece, ..Peer::new(authority.server(&[HOST])) };
        let outcome = to(HOST, &authority, peer);
        assert_eq!((outcome.fault, outcome.echoed), (None, session::LENGTH), "{piece}");
    }
}

#[test]
fn hosts_may_be_addresses_and_end_in_a_dot() {
    let authority = Authority::new();
    for (host, named) in [("10.0.2.2", None), ("broker.example.", Some("broker.example"))] {
        let peer = Peer::new(authority.server(&["10.0.2.2", "broker.example"]));
        let outcome = to(host, &authority, peer);
        assert_eq!((outcome.fault, outcome.server_name.as_deref()), (None, named), "{host}");
    }
}

#[test]
fn a_certificate_in_between_is_followed() {
    let authority = Authority::new();
    let between = authority.between();
    let outcome = to(HOST, &authority, Peer::new(between.server(&[HOST])));
    assert_eq!(outcome.fault, None);
}

#[test]
fn a_certificate_of_another_issuer_host_or_time_is_refused() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let good = || Peer::new(authority.server(&[HOST]));
    let at = |now: u64| run(HOST, Tls::new(&authority.der, &system).clock(&|| Some(now)), good());

    let outcome = to(HOST, &stranger, good());
    assert_eq!((fault(&outcome), outcome.close), (Fault::Issuer, Some(CloseReason::Certificate)));
    let other = Peer::new(authority.server(&["elsewhere.example"]));
    assert_eq!(fault(&to(HOST, &authority, other)), Fault::Name);
    assert_eq!(fault(&to("10.0.2.2", &authority, good())), Fault::Name);

    let (late, early) = (NOW + 2 * DAY, NOW - 2 * DAY);
    let expired = Fault::Expired { not_after: NOW + DAY, now: late };
    assert_eq!(fault(&at(late)), expired);
    assert_eq!(fault(&at(early)), Fault::NotYetValid { not_before: NOW - DAY, now: early });
    assert!(expired.to_string().contains(&late.to_string()), "{expired}");
    for outcome in [at(late), at(early)] {
        assert_eq!((outcome.close, outcome.requests), (Some(CloseReason::Certificate), 0));
    }
}

#[test]
fn without_a_clock_all_but_the_dates_is_checked() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let blind = |authority: &Authority, peer| run(HOST, Tls::new(&authority.der, &system), peer);
    let between = authority.between().server(&[HOST]);
    for server in [authority.server(&[HOST]), between] {
        assert_eq!(blind(&authority, Peer::new(server)).fault, None);
    }
    let other = Peer::new(authority.server(&["elsewhere.example"]));
    assert_eq!(fault(&blind(&authority, other)), Fault::Name);
    let strange = Peer::new(stranger.server(&[HOST]));
    assert_eq!(fault(&blind(&authority, strange)), Fault::Issuer);
}

#[test]
fn what_is_no_authority_for_others_is_named() {
    let authority = Authority::new();
    let tls = Tls::new(b"-----BEGIN CERTIFICATE-----", &system);
    let outcome = run(HOST, tls, Peer::new(authority.server(&[HOST])));
    assert_eq!((fault(&outcome), outcome.sent), (Fault::Authority, 0));
    // Signed by a certificate that may sign none.
    let leaf = authority.leaf();
    let outcome = to(HOST, &authority, Peer::new(leaf.server(&[HOST])));
    assert!(matches!(fault(&outcome), Fault::Issuer | Fault::Certificate), "{outcome:?}");
    let outcome = to(HOST, &authority, Peer::new(authority.own_server()));
    assert_eq!(fault(&outcome), Fault::SelfSigned);
}

#[test]
fn randomness_that_fails_or_repeats_lets_nothing_out() {
    let authority = Authority::new();
    let none = |_: &mut [u8]| Err(NoRandom);
    let stuck = |out: &mut [u8]| {
        out.fill(0xA5);
        Ok(())
    };
    let zeros = |_: &mut [u8]| Ok(());
    let sources: [kavka_embassy::tls::Fill<'_>; 3] = [&none, &stuck, &zeros];
    for source in sources {
        let outcome =
            run(HOST, Tls::new(&authority.der, source), Peer::new(authority.server(&[HOST])));
        assert_eq!((fault(&outcome), outcome.sent), (Fault::Random, 0));
        assert_eq!(outcome.close, Some(CloseReason::Tls));
    }
}

#[test]
fn what_is_no_tls_1_3_is_named() {
    let authority = Authority::new();
    let older = authority.server_of(&[HOST], &[&TLS12]);
    assert_eq!(fault(&to(HOST, &authority, Peer::new(older))), Fault::NoTls13);
    let says = |bytes: &[u8]| {
        let peer = Peer { says: Some(bytes.to_vec()), ..Peer::new(authority.server(&[HOST])) };
        fault(&to(HOST, &authority, peer))
    };
    assert_eq!(says(b""), Fault::NoAnswer);
    assert_eq!(says(b"HTTP/1.1 400 Bad Request\r\n\r\n"), Fault::NoTls);
    assert_eq!(says(b"\0\0\0\x10"), Fault::Ended);
    assert_eq!(says(b"\x15\x03\x03\0\x02\x02\x46"), Fault::NoTls13);
    assert_eq!(says(b"\x15\x03\x03\0\x02\x02\x28"), Fault::Alert(40));
    // A code that embedded-tls does not know.
    assert_eq!(says(b"\x15\x03\x03\0\x02\x02\xF0"), Fault::Alert(240));
}

#[test]
fn a_peer_that_closes_in_the_handshake_is_no_plaintext_port() {
    let authority = Authority::new();
    for len in [5, 60, 200, 400] {
        let peer = Peer { ends_after: Some(len), ..Peer::new(authority.server(&[HOST])) };
        assert_eq!(fault(&to(HOST, &authority, peer)), Fault::Ended, "{len}");
    }
}

#[test]
fn a_peer_that_wants_a_certificate_of_the_device_is_understood() {
    let authority = Authority::new();
    let outcome = to(HOST, &authority, Peer::new(authority.mutual_server(&[HOST])));
    assert_eq!((fault(&outcome), outcome.close), (Fault::Rejected, Some(CloseReason::Certificate)));
}

#[test]
fn a_record_longer_than_the_memory_is_named_with_both_lengths() {
    let authority = Authority::new();
    let peer = Peer { fragment: None, ..Peer::new(authority.server(&[HOST])) };
    let outcome = to(HOST, &authority, peer);
    let Fault::Record { len, room } = fault(&outcome) else { panic!("{outcome:?}") };
    assert!(len > 16_000 && usize::from(room) == session::IN, "{len} {room}");
    assert_eq!(outcome.close, Some(CloseReason::Tls));
}

#[test]
fn certificates_that_take_two_records_are_named() {
    let authority = Authority::new();
    let peer = Peer { fragment: Some(300), ..Peer::new(authority.server(&[HOST])) };
    assert_eq!(fault(&to(HOST, &authority, peer)), Fault::Split);
}

/// One of these makes embedded-tls panic; none comes from a good peer.
#[test]
fn records_that_someone_inserts_end_the_connection() {
    let authority = Authority::new();
    let empty = [&b"\x17\x03\x03\0\x10"[..], &[7; 16]].concat();
    let extensions = b"\x16\x03\x03\0\x06\x08\0\0\x02\0\0".to_vec();
    let alert = b"\x15\x03\x03\0\x02\x01\0".to_vec();
    for (line, inserted) in [
        (Line::Handshake, empty.clone()),
        (Line::Handshake, extensions.clone()),
        (Line::Open, empty),
        (Line::Open, extensions),
        (Line::Open, alert),
    ] {
        let peer = Peer {
            inserted: Some((line, inserted.clone())),
            ..Peer::new(authority.server(&[HOST]))
        };
        let outcome = to(HOST, &authority, peer);
        assert_eq!(fault(&outcome), Fault::Protocol, "{line:?} {}", inserted.escape_ascii());
    }
}

#[test]
fn a_peer_without_a_certificate_is_not_believed() {
    let authority = Authority::new();
    let peer = Peer { answers: Some(rogue::unnamed), ..Peer::new(authority.server(&[HOST])) };
    let outcome = to(HOST, &authority, peer);
    assert_eq!((fault(&outcome), outcome.close), (Fault::Proof, Some(CloseReason::Certificate)));
}

#[test]
fn a_peer_with_the_certificate_of_another_is_not_believed() {
    let authority = Authority::new();
    let outcome = to(HOST, &authority, Peer::new(authority.impostor(&[HOST])));
    assert_eq!((fault(&outcome), outcome.close), (Fault::Proof, Some(CloseReason::Certificate)));
    assert_eq!(outcome.requests, 0);
}

/// embedded-tls panics on it, whoever sent it.
#[test]
fn a_record_with_nothing_in_it_ends_the_connection() {
    let authority = Authority::new();
    let peer = Peer { answers: Some(rogue::empty), ..Peer::new(authority.server(&[HOST])) };
    assert_eq!(fault(&to(HOST, &authority, peer)), Fault::Protocol);
}

#[test]
fn a_peer_that_says_nothing_is_given_up_in_time() {
    let authority = Authority::new();
    let peer = Peer { mute: true, ..Peer::new(authority.server(&[HOST])) };
    let outcome = to(HOST, &authority, peer);
    assert_eq!((fault(&outcome), outcome.close), (Fault::Silent, Some(CloseReason::Silent)));
}

#[test]
fn every_fault_is_reported_with_its_host() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let seen = core::cell::RefCell::new(Vec::new());
    let report = |wanted: &kavka_embassy::stream::Wanted, fault: Fault| {
        seen.borrow_mut().push((wanted.host.to_string(), wanted.port, fault));
    };
    let tls = Tls::new(&stranger.der, &system).report(&report);
    run_with(HOST, tls, Peer::new(authority.server(&[HOST])));
    assert_eq!(*seen.borrow(), [(HOST.to_owned(), session::PORT, Fault::Issuer)]);
}
