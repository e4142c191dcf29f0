//! Over one stream that loses bytes when a read is dropped half-way.

use embassy_futures::select::{Either, select};
use embassy_net::Stack;
use embassy_net::tcp::{Error, TcpReader, TcpSocket};
use embassy_time::{Duration, Timer, with_timeout};
use embedded_io_async::{ErrorType, Read};
use kavka_core::{Client, CloseReason, Config, Limits, Storage};
use kavka_embassy::stream::{Pump, StreamDriver, StreamMem};
use kavka_tests::sim::{Journal, Options};

use crate::brokers::{Named, buffer, start};
use crate::cancel::{Case, Habit, check, serve};
use crate::executor::{Executor, Shared, shared};
use crate::wire::{BROKERS, cable};

type Memory = StreamMem<700, 300>;

/// A reader as that of TLS may be: it has taken bytes from below while it still works on them.
struct Fragile<'a>(TcpReader<'a>);

impl ErrorType for Fragile<'_> {
    type Error = Error;
}

impl Read for Fragile<'_> {
    async fn read(&mut self, room: &mut [u8]) -> Result<usize, Error> {
        let mut bytes = [0; 64];
        let most = bytes.len().min(room.len());
        let read = self.0.read(&mut bytes[..most]).await?;
        Timer::after_micros(300).await; // dropped here, they are lost
        room[..read].copy_from_slice(&bytes[..read]);
        Ok(read)
    }
}

/// The loop that an application writes.
async fn drive(mut pump: Pump<'static, 700, 300>, stack: Stack<'static>) {
    let (rx, tx) = (buffer(2048), buffer(2048));
    loop {
        let wanted = pump.wanted().await;
        assert_eq!(wanted.host, BROKERS.to_string().as_str());
        let mut socket = TcpSocket::new(stack, rx, tx);
        socket.set_nagle_enabled(false);
        match socket.connect((BROKERS, wanted.port)).await {
            Ok(()) => {
                let (reader, writer) = socket.split();
                pump.run(Fragile(reader), writer).await;
            }
            Err(_) => pump.refuse(CloseReason::Refused),
        }
        socket.abort();
        let _ = socket.flush().await;
    }
}

/// Connects that hung, by how they ended.
#[derive(Default)]
struct Hung {
    started: u32,
    given_up: u32,
    limited: u32,
}

/// The same over a connect that hangs at first, as a modem's may.
async fn drive_patiently(
    mut pump: Pump<'static, 700, 300>,
    stack: Stack<'static>,
    limit: Duration,
    hung: Shared<Hung>,
) {
    let (rx, tx) = (buffer(2048), buffer(2048));
    loop {
        let wanted = pump.wanted().await;
        let mut socket = TcpSocket::new(stack, &mut *rx, &mut *tx);
        let hangs = hung.borrow().started < 2;
        hung.borrow_mut().started += u32::from(hangs);
        let connect = async {
            if hangs {
                core::future::pending::<()>().await;
            }
            socket.connect((BROKERS, wanted.port)).await
        };
        match select(with_timeout(limit, connect), pump.given_up()).await {
            Either::First(Ok(Ok(()))) => {
                let (reader, writer) = socket.split();
                pump.run(Fragile(reader), writer).await;
            }
            Either::First(Ok(Err(_))) => pump.refuse(CloseReason::Refused),
            Either::First(Err(_)) => {
                hung.borrow_mut().limited += 1;
                pump.refuse(CloseReason::Refused);
            }
            Either::Second(()) => hung.borrow_mut().given_up += 1,
        }
        socket.abort();
        let _ = socket.flush().await;
    }
}

/// Sends a record where the first two connects hang; returns how many of them the client gave up,
/// and how many the limit of the loop ended.
#[track_caller]
fn over_a_connect_that_hangs(timeout: u64, limit: u64) -> (u32, u32) {
    let mut executor = Executor::new();
    executor.step = Duration::from_millis(1);
    let (device, far) = cable(&mut executor);
    let options = Options { brokers: 1, ..Options::default() };
    let (brokers, bootstrap) = start(&mut executor, far, 1, Named::ByAddress, options);
    brokers.borrow_mut().cluster.create_topic("t", 1).expect("created");
    let mut config = Config::new(bootstrap.leak());
    config.connect_timeout = core::time::Duration::from_secs(timeout);
    let client = Client::new(config, Storage::heap(&Limits::small()), [1; 32]).expect("a client");
    let (socket, pump) = Box::leak(Box::new(Memory::new())).split();
    let hung = shared(Hung::default());
    executor.spawn(drive_patiently(pump, device, Duration::from_secs(limit), hung.clone()));
    let mut driver = StreamDriver::new(client, [socket]);
    let topic = driver.topic("t").expect("a topic");
    let journal = shared(Journal::default());
    journal.borrow_mut().send(topic, "record");
    let served = journal.clone();
    executor.spawn(async move {
        loop {
            serve(&mut driver, &mut served.borrow_mut());
            driver.turn().await;
        }
    });
    let sent = || journal.borrow().sent_all();
    let in_time = executor.run_until(Duration::from_secs(10), sent);
    let hung = hung.borrow();
    assert!(in_time, "{} given up, {} limited, and nothing sent", hung.given_up, hung.limited);
    (hung.given_up, hung.limited)
}

#[test]
fn a_pump_learns_that_a_connect_which_hangs_was_given_up() {
    assert_eq!(over_a_connect_that_hangs(2, 60), (2, 0));
}

/// The loop in the documentation of `stream` has one, since the client may wait for long.
#[test]
fn a_limit_of_the_loop_ends_a_connect_that_hangs() {
    assert_eq!(over_a_connect_that_hangs(60, 2), (0, 2));
}

fn check_stream(seed: u64, habit: Habit) {
    let case = Case { seed, habit, named: Named::ByAddress, brokers: 1 };
    check(case, |executor: &mut Executor, stack, client| {
        let (socket, pump) = Box::leak(Box::new(Memory::new())).split();
        executor.spawn(drive(pump, stack));
        StreamDriver::new(client, [socket])
    });
}

#[test]
fn a_fragile_stream_loses_nothing_although_turns_are_dropped() {
    for seed in 1..=6 {
        check_stream(seed, Habit::Patient);
        check_stream(seed, Habit::Hasty);
        check_stream(seed, Habit::Random);
    }
}
