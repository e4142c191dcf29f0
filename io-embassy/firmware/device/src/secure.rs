//! TLS below the client, and its login: what an image with feature `tls` has in place of bare
//! sockets.
//!
//! Arguments: `ca`, a file of the host with the CA as DER; `now`, the time of day in seconds since
//! 1970, without which the dates of certificates are not checked; `entropy`; `user`, `password`.

use core::sync::atomic::{AtomicU32, Ordering};

use embassy_executor::Spawner;
use embassy_net::Stack;
use kavka_embassy::core::{Secret, Storage};
use kavka_embassy::stream::{StreamSocket, Wanted};
use kavka_embassy::tls::{Fault, Link, LinkMem, Tls};
use static_cell::{ConstStaticCell, StaticCell};

use crate::console::{self, Arguments, Line, need};
use crate::{clock, executor, random};

/// Connections at a time.
pub const CONNECTIONS: usize = 2;
/// Sockets of the stack: those, and that of DNS.
pub const SOCKETS: usize = CONNECTIONS + 1;
/// Records that are received: brokers are requested to send no more than 4 KiB in one.
const IN: usize = 4096 + 320;
/// Records that are sent.
const OUT: usize = 2048 + 128;

type Memory = LinkMem<2048, IN, OUT>;
/// The client's end of a connection.
pub type Socket = StreamSocket<'static, 1024, OUT>;

/// Longest password, in bytes.
const PASSWORD: usize = 64;

/// Seconds since 1970 when the board started; 0 where that is not known.
static STARTED: AtomicU32 = AtomicU32::new(0);

#[embassy_executor::task(pool_size = CONNECTIONS)]
async fn run(mut link: Link<'static, IN, OUT>, tls: &'static Tls<'static>) -> ! {
    link.run(tls).await
}

/// Starts the network's ends of the connections, and returns those of the client.
#[inline(never)] // or its frame would be part of every poll of the task that starts it
pub fn sockets(
    spawner: Spawner,
    stack: Stack<'static>,
    arguments: &Arguments,
) -> [Socket; CONNECTIONS] {
    static MEMORY: ConstStaticCell<[Memory; CONNECTIONS]> =
        ConstStaticCell::new([const { Memory::new() }; CONNECTIONS]);
    static TLS: StaticCell<Tls<'static>> = StaticCell::new();
    STARTED.store(arguments.number("now", 0), Ordering::Relaxed);
    random::start(arguments);
    let tls = Tls::new(authority(arguments), &|out| {
        random::fill(out);
        Ok(())
    });
    let tls = &*TLS.init(tls.clock(&time_of_day).report(&report));
    MEMORY.take().each_mut().map(|memory| {
        let (socket, link) = memory.split(stack);
        executor::spawn(spawner, run(link, tls));
        socket
    })
}

/// The CA that signed the certificates of the brokers.
fn authority(arguments: &Arguments) -> &'static [u8] {
    static AUTHORITY: ConstStaticCell<[u8; 1024]> = ConstStaticCell::new([0; 1024]);
    console::file(need(arguments.get("ca"), "ca"), AUTHORITY.take())
}

fn time_of_day() -> Option<u64> {
    match STARTED.load(Ordering::Relaxed) {
        0 => None,
        started => Some(u64::from(started) + u64::from(clock::millis() / 1000)),
    }
}

fn report(_: &Wanted, fault: Fault) {
    Line::new("refused").word("why", fault.word()).print();
}

/// Lets the client log in.
#[inline(never)]
pub fn login(storage: Storage<'static>, arguments: &'static Arguments) -> Storage<'static> {
    static BYTES: ConstStaticCell<[u8; PASSWORD]> = ConstStaticCell::new([0; PASSWORD]);
    let (user, text) =
        (need(arguments.get("user"), "user"), need(arguments.get("password"), "password"));
    let password = need(BYTES.take().get_mut(..text.len()), "password");
    password.copy_from_slice(text.as_bytes());
    with_mechanism(storage, user, Secret::lent(password))
}

#[cfg(not(feature = "scram"))]
fn with_mechanism(
    storage: Storage<'static>,
    user: &'static str,
    password: Secret<'static>,
) -> Storage<'static> {
    use kavka_embassy::core::login::Plain;
    static LOGIN: StaticCell<Plain<'static>> = StaticCell::new();
    storage.login(LOGIN.init(need(Plain::new(user, password).ok(), "login")))
}

#[cfg(feature = "scram")]
fn with_mechanism(
    storage: Storage<'static>,
    user: &'static str,
    password: Secret<'static>,
) -> Storage<'static> {
    use kavka_embassy::core::login::{Scram, Sha256};
    use kavka_embassy::core::{Entropy, NoEntropy};

    struct Board;

    impl Entropy for Board {
        fn fill(&mut self, out: &mut [u8]) -> Result<(), NoEntropy> {
            random::fill(out);
            Ok(())
        }
    }

    static BOARD: ConstStaticCell<Board> = ConstStaticCell::new(Board);
    static LOGIN: StaticCell<Scram<'static, Sha256>> = StaticCell::new();
    let login = Scram::<Sha256>::new(user, password, BOARD.take());
    storage.login(LOGIN.init(need(login.ok(), "login")))
}
