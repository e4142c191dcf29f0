//! A loop of one's own over mio: many sockets, connects that do not block, writes that are cut
//! short, edge-triggered readiness. See docs/loop.md.
//!
//! Prints the records of a topic, and of partitions that are added to it:
//! `cargo run --example mio_loop -- localhost:9092 readings`
#![allow(
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc,
    reason = "an ordinary program for hosts"
)]

use std::error::Error;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::ToSocketAddrs;
use std::time::{Duration, Instant as Clock};

use kavka_core::{
    Action, Client, CloseReason, Config, ConnId, Event, Instant, Limits, Start, Storage,
};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

struct Socket {
    conn: ConnId,
    stream: TcpStream,
    connected: bool,
    /// Edges come once: what was not read or written to the end is remembered.
    readable: bool,
    writable: bool,
}

struct Loop<'d> {
    client: Client<'d>,
    poll: Poll,
    /// By slot of the connection, which is the token.
    sockets: Vec<Option<Socket>>,
    started: Clock,
}

impl<'d> Loop<'d> {
    fn new(client: Client<'d>) -> io::Result<Self> {
        Ok(Self { client, poll: Poll::new()?, sockets: Vec::new(), started: Clock::now() })
    }

    fn now(&self) -> Instant {
        Instant::from_micros(self.started.elapsed().as_micros() as u64)
    }

    /// One turn; waits at most for `most`.
    fn turn(
        &mut self,
        most: Duration,
        mut on_event: impl FnMut(&Event<'_>),
    ) -> Result<(), Box<dyn Error>> {
        let now = self.now();
        self.client.handle_timeout(now);
        while let Some(action) = self.client.poll_action(now) {
            match action {
                Action::Connect { conn } => {
                    if let Err(error) = self.connect(conn) {
                        eprintln!("cannot connect: {error}");
                        self.client.handle_closed(now, conn, CloseReason::Refused);
                    }
                }
                // Dropped, it is deregistered and closed.
                Action::Close { conn } => {
                    let socket = self.sockets.get_mut(conn.slot());
                    socket.map(|socket| socket.take_if(|open| open.conn == conn));
                }
                _ => {}
            }
        }
        for place in &mut self.sockets {
            let Some(socket) = place else { continue };
            if let Err(error) = socket.exchange(&mut self.client, now) {
                eprintln!("connection lost: {error}");
                self.client.handle_closed(now, socket.conn, CloseReason::Reset);
                *place = None;
            }
        }
        while let Some((event, _commands)) = self.client.poll_event(now) {
            on_event(&event);
        }
        let due = self.client.poll_timeout().map(|due| self.now().until(due));
        self.wait(due.map_or(most, |due| due.min(most)))?;
        Ok(())
    }

    /// Begins a connect. The look-up of a name blocks, which a loop with more to do would give to
    /// a thread; its first address is tried, and a real loop tries the others too.
    fn connect(&mut self, conn: ConnId) -> io::Result<()> {
        let address = self.client.address(conn).ok_or(ErrorKind::NotFound)?;
        let address = address.to_socket_addrs()?.next().ok_or(ErrorKind::NotFound)?;
        let mut stream = TcpStream::connect(address)?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut stream, Token(conn.slot()), interest)?;
        let slot = conn.slot();
        if self.sockets.len() <= slot {
            self.sockets.resize_with(slot + 1, || None);
        }
        let socket = Socket { conn, stream, connected: false, readable: false, writable: false };
        self.sockets[slot] = Some(socket);
        Ok(())
    }

    fn wait(&mut self, most: Duration) -> io::Result<()> {
        let mut events = Events::with_capacity(64);
        match self.poll.poll(&mut events, Some(most)) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        for event in &events {
            if let Some(Some(socket)) = self.sockets.get_mut(event.token().0) {
                socket.readable |= event.is_readable() || event.is_error();
                socket.writable |= event.is_writable() || event.is_error();
            }
        }
        Ok(())
    }
}

impl Socket {
    /// Moves what can be moved now.
    fn exchange(&mut self, client: &mut Client<'_>, now: Instant) -> io::Result<()> {
        if !self.connected {
            if !self.writable {
                return Ok(());
            }
            if let Some(error) = self.stream.take_error()? {
                return Err(error);
            }
            self.stream.peer_addr()?;
            self.stream.set_nodelay(true)?;
            self.connected = true;
            client.handle_connected(now, self.conn);
        }
        while self.writable
            && let Some(bytes) = client.poll_transmit(now, self.conn)
        {
            let mut slices = [IoSlice::new(&[]); 64];
            let n = slices.iter_mut().zip(bytes).map(|(s, b)| *s = IoSlice::new(b)).count();
            match self.stream.write_vectored(&slices[..n]) {
                Err(e) if e.kind() == ErrorKind::WouldBlock => self.writable = false,
                written => client.handle_transmitted(now, self.conn, written?),
            }
        }
        while self.readable {
            let space = client.recv_buffer(self.conn);
            if space.is_empty() {
                return Ok(()); // events come first, and then the rest is read
            }
            match self.stream.read(space) {
                Err(e) if e.kind() == ErrorKind::WouldBlock => self.readable = false,
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                read => client.handle_received(now, self.conn, read?),
            }
        }
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let bootstrap = args.next().unwrap_or_else(|| "localhost:9092".into());
    let name = args.next().unwrap_or_else(|| "readings".into());
    let mut seed = [0; 32];
    getrandom::fill(&mut seed)?;
    let client = Client::new(Config::new(&bootstrap), Storage::heap(&Limits::server()), seed)?;
    let mut kafka = Loop::new(client)?;
    let (now, topic) = (kafka.now(), kafka.client.topic(&name)?);
    kafka.client.assign_all(now, topic, Start::Earliest)?;
    loop {
        kafka.turn(Duration::from_secs(60), |event| match event {
            Event::Records(batch) => {
                for record in batch.records().flatten() {
                    let value = String::from_utf8_lossy(record.value.unwrap_or_default());
                    println!("{} {}: {value}", batch.topic_partition().partition, record.offset);
                }
            }
            other => eprintln!("{other:?}"),
        })?;
    }
}

#[cfg(test)]
mod tests {
    use super::Loop;
    use kavka_core::{Client, Config, Event, Limits, ProduceError, Record, Start};
    use kavka_tests::sim::{Options, Server};
    use std::time::Duration;

    #[test]
    fn what_is_written_over_mio_is_read_over_mio() {
        let server = Server::start(Options::default()).expect("brokers");
        server.create_topic("t", 4).expect("created");
        let client = Client::owned(Config::new(&server.bootstrap()), &Limits::small(), [1; 32]);
        let mut kafka = Loop::new(client.expect("a client")).expect("a poller");
        let topic = kafka.client.topic("t").expect("watched");
        let now = kafka.now();
        kafka.client.assign_all(now, topic, Start::Earliest).expect("assigned");
        let (mut sent, mut read, mut bytes, mut cut) = (0, 0, 0, false);
        while read < 2000 {
            let value = [7; 500];
            while sent < 2000 {
                let now = kafka.now();
                match kafka.client.produce(now, topic, &Record::new(&value)) {
                    Ok(_) => sent += 1,
                    Err(ProduceError::Full | ProduceError::NotReady) => break,
                    Err(error) => panic!("{error}"),
                }
            }
            let turned = kafka.turn(Duration::from_secs(1), |event| {
                if let Event::Records(batch) = event {
                    for record in batch.records().flatten() {
                        read += 1;
                        bytes += record.value.unwrap_or_default().len();
                    }
                }
            });
            turned.expect("a poller");
            if read > 500 && !core::mem::replace(&mut cut, true) {
                server.disconnect(1);
            }
        }
        assert_eq!((read, bytes, kafka.client.stats().misuses), (2000, 1_000_000, 0));
    }
}
