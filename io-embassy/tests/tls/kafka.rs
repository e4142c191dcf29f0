//! A real broker that obeys `max_fragment_length`: 64 KiB come through memory for records of 4 KiB.

use core::cell::{Cell, RefCell};
use core::future::{Future, poll_fn};
use core::pin::pin;
use core::sync::atomic::{AtomicU32, Ordering};
use core::task::{Context, Poll, Waker};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use embassy_time::{Duration, MockDriver};
use embedded_io_async::{ErrorKind, ErrorType, Read, Write};
use kavka_core::login::{Exchange, Mechanism, Next, Scram, Sha256};
use kavka_core::wire::{Full, Writer};
use kavka_core::{
    Client, Config, Event, Limits, LoginFault, NoEntropy, Record, Secret, Start, Storage,
};
use kavka_embassy::now;
use kavka_embassy::stream::{Pump, StreamDriver, StreamMem};
use kavka_embassy::tls::{Tls, TlsMem};
use kavka_tests::kafka::{self, PASSWORD, Secure, Spec, USER, Version};
use kavka_tests::pki::Authority;

use crate::session::IN;
use crate::{NOW, system};

const RECORDS: usize = 160;
const VALUE: usize = 1000;
/// The longest record that TLS brought, header included.
const MOST: usize = 4096 + 17;

/// A socket of the system that does not block.
struct Tcp<'a> {
    stream: &'a TcpStream,
    longest: &'a Cell<usize>,
}

impl ErrorType for Tcp<'_> {
    type Error = ErrorKind;
}

fn poll<T>(cx: &mut Context<'_>, done: std::io::Result<T>) -> Poll<Result<T, ErrorKind>> {
    match done {
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
            cx.waker().wake_by_ref();
            Poll::Pending
        }
        done => Poll::Ready(done.map_err(|_| ErrorKind::ConnectionReset)),
    }
}

impl Read for Tcp<'_> {
    async fn read(&mut self, room: &mut [u8]) -> Result<usize, ErrorKind> {
        // What is wanted is the rest of a record, or its front.
        self.longest.set(self.longest.get().max(room.len()));
        poll_fn(|cx| poll(cx, self.stream.read(room))).await
    }
}

impl Write for Tcp<'_> {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, ErrorKind> {
        poll_fn(|cx| poll(cx, self.stream.write(bytes))).await
    }

    async fn flush(&mut self) -> Result<(), ErrorKind> {
        Ok(())
    }
}

/// Counts how often a login computes.
struct Counted<'a> {
    scram: Scram<'a, Sha256>,
    slices: &'a AtomicU32,
}

impl Mechanism for Counted<'_> {
    fn name(&self) -> &str {
        self.scram.name()
    }

    fn begin(&mut self, exchange: &mut Exchange) -> Result<Next, LoginFault> {
        self.scram.begin(exchange)
    }

    fn receive(&mut self, exchange: &mut Exchange, bytes: &[u8]) -> Result<Next, LoginFault> {
        self.scram.receive(exchange, bytes)
    }

    fn write(&self, exchange: &Exchange, out: &mut Writer<'_>) -> Result<(), Full> {
        self.scram.write(exchange, out)
    }

    fn compute(&mut self) -> bool {
        self.slices.fetch_add(1, Ordering::Relaxed);
        self.scram.compute()
    }

    fn resume(&mut self, exchange: &mut Exchange) -> Result<Next, LoginFault> {
        self.scram.resume(exchange)
    }
}

async fn network(mut pump: Pump<'_, 1024, 1024>, tls: Tls<'_>, longest: &Cell<usize>) {
    let mut records = Box::new(TlsMem::<IN, 2048>::new());
    loop {
        let wanted = pump.wanted().await;
        let stream = TcpStream::connect((wanted.host.as_str(), wanted.port)).expect("a broker");
        stream.set_nonblocking(true).expect("a socket");
        let tcp = || Tcp { stream: &stream, longest };
        let (reader, writer) = (tcp(), tcp());
        let ended = tls.serve(&mut pump, &wanted, &mut records, reader, writer).await;
        assert_eq!(ended, Ok(()));
    }
}

/// Sends all records, then reads them; returns the values.
async fn client(mut driver: StreamDriver<'_, 1024, 1024>, read: &RefCell<Vec<Vec<u8>>>) {
    let topic = driver.topic("t").expect("a topic");
    let (mut sent, mut delivered, mut assigned) = (0, 0, false);
    while read.borrow().len() < RECORDS {
        while sent < RECORDS && driver.produce(now(), topic, &Record::new(&value(sent))).is_ok() {
            sent += 1;
        }
        if delivered == RECORDS && !assigned {
            assigned = driver.assign_all(now(), topic, Start::Earliest).is_ok();
        }
        driver.turn().await;
        while let Some((event, _)) = driver.poll_event() {
            match event {
                Event::Delivered { count, .. } => delivered += count as usize,
                Event::Records(batch) => {
                    let values = batch.records().map(|record| record.expect("a record").value);
                    read.borrow_mut().extend(values.map(|value| value.expect("a value").to_vec()));
                }
                Event::Failed { error, .. } => panic!("{error}"),
                _ => {}
            }
        }
    }
}

fn value(turn: usize) -> Vec<u8> {
    (0..VALUE).map(|at| (turn * 7 + at * 31) as u8).collect()
}

#[test]
fn sixty_four_kib_of_a_real_broker_come_through_records_of_four() {
    let authority = Arc::new(Authority::new());
    let secure = Secure::over_tls(authority.clone());
    let spec = Spec::new(Version::V4_4_0, 1).secure(secure);
    let Some(cluster) = kafka::start_or_skip(spec) else { return };
    cluster.create("t", 1).expect("a new topic");

    let bootstrap = cluster.sasl_over_tls();
    let mut config = Config::new(&bootstrap);
    config.fetch_max_bytes = 128 * 1024;
    config.partition_max_bytes = 128 * 1024;
    let mut password = PASSWORD.as_bytes().to_vec();
    let mut random = |out: &mut [u8]| system(out).map_err(|_| NoEntropy);
    let login = Scram::<Sha256>::new(USER, Secret::lent(&mut password), &mut random);
    let slices = AtomicU32::new(0);
    let mut login = Counted { scram: login.expect("a name and a password"), slices: &slices };
    let mut limits = Limits::small();
    limits.conns = 1;
    let storage = Storage::heap(&limits).login(&mut login);
    let client_memory = Client::new(config, storage, [1; 32]).expect("a client");
    let mut memory = StreamMem::<1024, 1024>::new();
    let (socket, pump) = memory.split();
    let clock = || Some(NOW);
    let tls = Tls::new(authority.der(), &system).clock(&clock);
    let (longest, read) = (Cell::new(0), RefCell::new(Vec::new()));

    let mut network = pin!(network(pump, tls, &longest));
    let mut client = pin!(client(StreamDriver::new(client_memory, [socket]), &read));
    let cx = &mut Context::from_waker(Waker::noop());
    let begun = Instant::now();
    let (mut shown, mut most) = (0, 0);
    while client.as_mut().poll(cx).is_pending() {
        most = most.max(slices.swap(0, Ordering::Relaxed));
        assert!(network.as_mut().poll(cx).is_pending());
        let micros = begun.elapsed().as_micros() as u64;
        assert!(micros < 60_000_000, "{} records read in a minute", read.borrow().len());
        MockDriver::get().advance(Duration::from_micros(micros - shown));
        shown = micros;
        thread::yield_now();
    }
    // Four of 64 hashes each at most: other tasks run between.
    assert!((1..=if cfg!(feature = "sasl") { 4 } else { 16 }).contains(&most), "{most} slices");
    let read = read.borrow();
    assert!(read.iter().enumerate().all(|(turn, read)| *read == value(turn)));
    assert!((1000..=MOST).contains(&longest.get()), "a record of {} bytes", longest.get());
}
