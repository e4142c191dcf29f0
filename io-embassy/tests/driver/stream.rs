//! Over one stream that loses bytes when a read is dropped half-way.

use embassy_futures::select::{Either, select};
use embassy_net::Stack;
use embassy_net::tcp::{Error, TcpReader, TcpSocket};
use embassy_time::{Duration, Timer};
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

/// The same over a connect that hangs at first, as a modem's may.
async fn drive_patiently(
    mut pump: Pump<'static, 700, 300>,
    stack: Stack<'static>,
    given_up: Shared<u32>,
) {
    let (rx, tx) = (buffer(2048), buffer(2048));
    loop {
        let wanted = pump.wanted().await;
        let mut socket = TcpSocket::new(stack, &mut *rx, &mut *tx);
        let hangs = *given_up.borrow() < 2;
        let connect = async {
            if hangs {
                core::future::pending::<()>().await;
            }
            socket.connect((BROKERS, wanted.port)).await
        };
        match select(connect, pump.given_up()).await {
            Either::First(Ok(())) => {
                let (reader, writer) = socket.split();
                pump.run(Fragile(reader), writer).await;
            }
            Either::First(Err(_)) => pump.refuse(CloseReason::Refused),
            Either::Second(()) => *given_up.borrow_mut() += 1,
        }
        socket.abort();
        let _ = socket.flush().await;
    }
}

#[test]
fn a_pump_learns_that_a_connect_which_hangs_was_given_up() {
    let mut executor = Executor::new();
    executor.step = Duration::from_millis(1);
    let (device, far) = cable(&mut executor);
    let options = Options { brokers: 1, ..Options::default() };
    let (brokers, bootstrap) = start(&mut executor, far, 1, Named::ByAddress, options);
    brokers.borrow_mut().cluster.create_topic("t", 1).expect("created");
    let mut config = Config::new(bootstrap.leak());
    config.connect_timeout = core::time::Duration::from_secs(2);
    let client = Client::new(config, Storage::heap(&Limits::small()), [1; 32]).expect("a client");
    let (socket, pump) = Box::leak(Box::new(Memory::new())).split();
    let given_up = shared(0);
    executor.spawn(drive_patiently(pump, device, given_up.clone()));
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
    assert!(in_time, "given up {} times, and nothing sent", given_up.borrow());
    assert_eq!(*given_up.borrow(), 2);
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
