//! What a login leaves in the memory of the process: a scan for a password after its client has
//! ended. The only test of this binary, since others would leave theirs.

#![cfg(target_os = "linux")]

use std::fs::{self, File};
use std::os::unix::fs::FileExt;

use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::{
    ApiKey, ApiVersionsResponse, ResponseKind, SaslAuthenticateResponse, SaslHandshakeResponse,
};
use kavka_core::login::{Mechanism, Plain, Scram, Sha256};
use kavka_core::{Action, Client, Config, ConnId, Instant, Limits, NoEntropy, Secret, Storage};
use kavka_tests::sim::frame::Response;

/// The time of everything here.
const NOW: Instant = Instant::from_millis(1_000_000);
/// The password is this with each byte changed, so that the program does not hold it.
const MASK: u8 = 0x5a;
const MASKED: [u8; 24] = *b"an unusual word, masked!";

fn password() -> Secret<'static> {
    let mut bytes = Box::new([0; MASKED.len()]);
    for (to, from) in bytes.iter_mut().zip(MASKED) {
        *to = from ^ MASK;
    }
    Secret::owned(bytes)
}

/// Returns how often the password is in the memory of this process that can be written.
fn copies() -> usize {
    let maps = fs::read_to_string("/proc/self/maps").expect("the map of this process");
    let memory = File::open("/proc/self/mem").expect("the memory of this process");
    let (mut count, mut piece) = (0, vec![0; 1 << 20]);
    for line in maps.lines().filter(|line| line.contains(" rw")) {
        let (from, to) = line.split(' ').next().and_then(|at| at.split_once('-')).expect("a range");
        let address = |text| u64::from_str_radix(text, 16).expect("an address");
        let (mut at, end) = (address(from), address(to));
        while at < end {
            let len = piece.len().min(usize::try_from(end - at).expect("a length"));
            // Itself part of the memory that is scanned.
            piece.fill(0);
            let Ok(read) = memory.read_at(&mut piece[..len], at) else { break };
            let found = |window: &[u8]| window.iter().zip(MASKED).all(|(a, b)| *a == b ^ MASK);
            count += piece[..read].windows(MASKED.len()).filter(|window| found(window)).count();
            if read < 2 * MASKED.len() {
                break;
            }
            at += (read - MASKED.len() + 1) as u64;
        }
    }
    count
}

/// A broker that does not look at what it gets.
struct Peer {
    client: Client<'static>,
    conn: ConnId,
    correlation: i32,
}

impl Peer {
    fn connect(login: Box<dyn Mechanism + Send>) -> Self {
        let storage = Storage::heap(&Limits::small()).owned_login(login);
        let mut client = Client::new(Config::new("b:1"), storage, [7; 32]).expect("it works");
        client.topic("t").expect("a topic");
        let Some(Action::Connect { conn }) = client.poll_action(NOW) else {
            panic!("a connection is wanted");
        };
        client.handle_connected(NOW, conn);
        Self { client, conn, correlation: 0 }
    }

    /// Takes the next request, without looking, and responds.
    fn respond(&mut self, api: ApiKey, version: i16, body: impl Into<ResponseKind>) {
        while let Some(slices) = self.client.poll_transmit(NOW, self.conn) {
            let bytes = slices.map(<[u8]>::len).sum();
            self.client.handle_transmitted(NOW, self.conn, bytes);
        }
        self.correlation += 1;
        let (correlation, body) = (self.correlation, body.into());
        let frame = Response { api, version, correlation, body }.encode().expect("a response");
        self.client.recv_buffer(self.conn)[..frame.len()].copy_from_slice(&frame);
        self.client.handle_received(NOW, self.conn, frame.len());
        let _ = self.client.poll_timeout();
    }

    fn greet(&mut self) {
        let range =
            |api: ApiKey, max| ApiVersion::default().with_api_key(api as i16).with_max_version(max);
        let apis = vec![
            range(ApiKey::Metadata, 9),
            range(ApiKey::SaslHandshake, 1),
            range(ApiKey::SaslAuthenticate, 1),
        ];
        let versions = ApiVersionsResponse::default().with_api_keys(apis);
        self.respond(ApiKey::ApiVersions, 3, versions);
        self.respond(ApiKey::SaslHandshake, 1, SaslHandshakeResponse::default());
    }
}

#[test]
fn no_password_is_left_in_memory() {
    let held = password();
    assert!(copies() >= 1, "the scan finds what is there");
    drop(held);
    assert_eq!(copies(), 0, "a dropped secret");

    let plain = || Box::new(Plain::owned("alice", password()).expect("both"));
    for sent in [true, false] {
        let mut peer = Peer::connect(plain());
        peer.greet();
        if sent {
            peer.respond(ApiKey::SaslAuthenticate, 1, SaslAuthenticateResponse::default());
            assert_eq!(copies(), 1, "that of the mechanism: the request has left");
        } else {
            assert_eq!(copies(), 2, "the request waits to be sent");
            peer.client.disconnect(NOW);
            assert_eq!(copies(), 1, "that of the mechanism: the request is given up");
        }
        drop(peer);
        assert_eq!(copies(), 0, "PLAIN");
    }

    let source = |out: &mut [u8]| -> Result<(), NoEntropy> {
        out.fill(7);
        Ok(())
    };
    let scram = Scram::<Sha256>::owned("alice", password(), Box::new(source)).expect("both");
    let mut peer = Peer::connect(Box::new(scram));
    peer.greet();
    let challenge = "r=BwcHBwcHBwcHBwcHBwcHBwcHserver,s=c2FsdCBhbmQgbW9yZQ==,i=4096";
    let body = SaslAuthenticateResponse::default().with_auth_bytes(challenge.into());
    peer.respond(ApiKey::SaslAuthenticate, 1, body);
    for _ in 0..100 {
        peer.client.handle_timeout(NOW);
    }
    assert!(peer.client.poll_transmit(NOW, peer.conn).is_some(), "a proof");
    drop(peer);
    assert_eq!(copies(), 0, "SCRAM");
}
