//! Over one stream that loses bytes when a read is dropped half-way.

use embassy_net::Stack;
use embassy_net::tcp::{Error, TcpReader, TcpSocket};
use embassy_time::Timer;
use embedded_io_async::{ErrorType, Read};
use kavka_core::CloseReason;
use kavka_embassy::stream::{Pump, StreamDriver, StreamMem};

use crate::brokers::{Named, buffer};
use crate::cancel::{Case, Habit, check};
use crate::executor::Executor;
use crate::wire::BROKERS;

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
