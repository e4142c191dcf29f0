//! TLS 1.3 over a socket of embassy-net, to brokers that speak it by rustls: by the module `tls` in
//! builds with that feature, else by embedded-tls as an application uses it itself.

use std::sync::{Arc, OnceLock};

use embassy_net::Stack;
use embassy_net::dns::DnsQueryType;
use embassy_net::tcp::TcpSocket;
use embassy_time::Duration;
use kavka_core::{Client, CloseReason, Config, Limits, Storage};
use kavka_embassy::stream::{Pump, StreamDriver, StreamMem, Wanted};
use kavka_tests::sim::{Journal, Options};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;

use crate::brokers::{Named, buffer, start};
use crate::cancel::{Case, Habit, check, serve};
use crate::executor::{Executor, shared};
use crate::wire::cable;

/// Longest record of the brokers, in bytes. Brokers in Java send up to 16 KiB in one.
const RECORD: usize = 1200;

type Memory = StreamMem<700, 300>;

/// A certificate authority, and a certificate that it signed.
struct Identity {
    authority: Vec<u8>,
    server: Arc<ServerConfig>,
}

impl Identity {
    /// Of a server for all brokers.
    fn new() -> Self {
        let key = || KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, key()).expect("an authority");
        let names: Vec<String> = (1..=3).map(|id| format!("broker-{id}.example")).collect();
        let (params, own) = (CertificateParams::new(names).expect("names"), key());
        let certificate = params.signed_by(&own, &authority).expect("signed");
        let secret = PrivateKeyDer::try_from(own.serialize_der()).expect("a key");
        let mut server = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], secret)
            .expect("a server");
        server.max_fragment_size = Some(RECORD);
        Self { authority: authority.der().to_vec(), server: Arc::new(server) }
    }

    /// One for all tests.
    fn get() -> &'static Self {
        static IDENTITY: OnceLock<Identity> = OnceLock::new();
        IDENTITY.get_or_init(Self::new)
    }
}

/// What brokers speak.
pub(crate) fn server() -> Arc<ServerConfig> {
    Identity::get().server.clone()
}

/// The loop that an application writes.
async fn drive(mut pump: Pump<'static, 700, 300>, stack: Stack<'static>, authority: &'static [u8]) {
    let windows = (buffer(2048), buffer(2048));
    let mut records = session::memory();
    loop {
        let wanted = pump.wanted().await;
        let mut socket = TcpSocket::new(stack, windows.0, windows.1);
        socket.set_nagle_enabled(false);
        match connect(stack, &mut socket, &wanted).await {
            Err(why) => pump.refuse(why),
            Ok(()) => {
                session::run(&mut pump, &wanted, &mut socket, &mut records, authority).await;
            }
        }
        socket.abort();
        let _ = socket.flush().await;
    }
}

async fn connect(
    stack: Stack<'static>,
    socket: &mut TcpSocket<'_>,
    wanted: &Wanted,
) -> Result<(), CloseReason> {
    let found = stack.dns_query(&wanted.host, DnsQueryType::A).await;
    let address = found.ok().and_then(|all| all.first().copied()).ok_or(CloseReason::Unresolved)?;
    socket.connect((address, wanted.port)).await.map_err(|_| CloseReason::Refused)
}

fn driver(
    executor: &mut Executor,
    stack: Stack<'static>,
    client: Client<'static>,
    authority: &'static [u8],
) -> StreamDriver<'static, 700, 300> {
    let (socket, pump) = Box::leak(Box::new(Memory::new())).split();
    executor.spawn(drive(pump, stack, authority));
    StreamDriver::new(client, [socket])
}

#[test]
fn tls_loses_nothing_although_turns_are_dropped() {
    for seed in 1..=2 {
        for habit in [Habit::Patient, Habit::Hasty, Habit::Random] {
            let case = Case { seed, habit, named: Named::ByNameOverTls, brokers: 1 };
            check(case, |executor, stack, client| {
                driver(executor, stack, client, &Identity::get().authority)
            });
        }
    }
}

#[test]
fn a_broker_without_a_trusted_certificate_gets_no_request() {
    let stranger: &Identity = Box::leak(Box::new(Identity::new()));
    let mut executor = Executor::new();
    let (device, far) = cable(&mut executor);
    let options = Options { brokers: 1, ..Options::default() };
    let (brokers, bootstrap) = start(&mut executor, far, 1, Named::ByNameOverTls, options);
    let config = Config::new(bootstrap.leak());
    let client = Client::new(config, Storage::heap(&Limits::small()), [1; 32]).expect("a client");
    let mut driver = driver(&mut executor, device, client, &stranger.authority);
    driver.topic("t").expect("a topic");
    let journal = shared(Journal::default());
    executor.spawn(async move {
        loop {
            serve(&mut driver, &mut journal.borrow_mut());
            driver.turn().await;
        }
    });
    executor.run_for(Duration::from_secs(3));
    let brokers = brokers.borrow();
    assert!(brokers.accepted > 0, "nobody came");
    assert_eq!(brokers.requests, 0);
}

/// TLS with the module of this package.
#[cfg(feature = "tls")]
mod session {
    use embassy_net::tcp::TcpSocket;
    use kavka_embassy::stream::{Pump, Wanted};
    use kavka_embassy::tls::{NoRandom, Tls, TlsMem};
    use rand_core::{OsRng, RngCore as _};

    use super::RECORD;

    pub(super) type Memory = Box<TlsMem<{ RECORD + 256 }, 1024>>;

    pub(super) fn memory() -> Memory {
        Box::default()
    }

    pub(super) async fn run(
        pump: &mut Pump<'static, 700, 300>,
        wanted: &Wanted,
        socket: &mut TcpSocket<'_>,
        records: &mut Memory,
        authority: &[u8],
    ) {
        let system = |out: &mut [u8]| -> Result<(), NoRandom> {
            OsRng.fill_bytes(out);
            Ok(())
        };
        let (reader, writer) = socket.split();
        let _ = Tls::new(authority, &system).serve(pump, wanted, records, reader, writer).await;
    }
}

/// The same by an application itself.
#[cfg(not(feature = "tls"))]
mod session {
    use embassy_net::tcp::TcpSocket;
    use embedded_tls::pki::CertVerifier;
    use embedded_tls::{
        Aes128GcmSha256, Certificate, CryptoProvider, CryptoRngCore, FlushPolicy, NoClock,
        TlsConfig, TlsConnection, TlsContext, TlsError, TlsVerifier,
    };
    use kavka_core::CloseReason;
    use kavka_embassy::stream::{Half, Halves, Pump, Wanted};
    use rand_core::OsRng;

    use super::RECORD;

    pub(super) type Memory = (Vec<u8>, Vec<u8>);

    pub(super) fn memory() -> Memory {
        (vec![0; RECORD + 256], vec![0; 1024])
    }

    pub(super) async fn run(
        pump: &mut Pump<'static, 700, 300>,
        wanted: &Wanted,
        socket: &mut TcpSocket<'_>,
        records: &mut Memory,
        authority: &'static [u8],
    ) {
        let (reader, writer) = socket.split();
        let (reader, writer) = (Half::new(reader), Half::new(writer));
        let below = Halves::new(&reader, &writer);
        let mut tls = TlsConnection::new(below, &mut records.0, &mut records.1);
        tls.set_flush_policy(FlushPolicy::Relaxed);
        let config = TlsConfig::new().with_server_name(&wanted.host);
        let verifier = CertVerifier::new(Certificate::X509(authority));
        let belief = Belief { random: OsRng, verifier };
        match tls.open(TlsContext::new(&config, belief)).await {
            Ok(()) => {
                let (reader, writer) = tls.split();
                pump.run(reader, writer).await;
            }
            Err(_) => pump.refuse(CloseReason::Refused),
        }
    }

    /// Believes what one authority has signed.
    struct Belief {
        random: OsRng,
        verifier: CertVerifier<'static, Aes128GcmSha256, NoClock, 1024>,
    }

    impl CryptoProvider for Belief {
        type CipherSuite = Aes128GcmSha256;
        type Signature = [u8; 0]; // of a client with a certificate of its own

        fn rng(&mut self) -> impl CryptoRngCore {
            &mut self.random
        }

        fn verifier(&mut self) -> Result<&mut impl TlsVerifier<Aes128GcmSha256>, TlsError> {
            Ok(&mut self.verifier)
        }
    }
}
