//! A loop of one's own with blocking sockets, one connection and one thread: the least that works.
//! See docs/loop.md.
//!
//! Sends each line of stdin as a record, and waits until all are acknowledged:
//! `seq 10 | cargo run --example blocking_loop -- localhost:9092 readings`
#![allow(
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc,
    reason = "an ordinary program for hosts"
)]

use std::error::Error;
use std::io::{self, BufRead, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant as Clock};

use kavka_core::{
    Action, Client, CloseReason, Config, ConnId, Event, Instant, Limits, ProduceError, Record,
    TopicId,
};

/// A program's own part: it owns its client, whose texts are copies.
struct Sender {
    client: Client<'static>,
    topic: TopicId,
    started: Clock,
    socket: Option<(ConnId, TcpStream)>,
    acknowledged: usize,
}

impl Sender {
    fn new(bootstrap: &str, topic: &str) -> Result<Self, Box<dyn Error>> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed)?;
        let mut client = Client::owned(Config::new(bootstrap), &Limits::small(), seed)?;
        // A blocking read waits for one socket alone.
        client.limit_connections(1);
        let topic = client.topic(topic)?;
        Ok(Self { client, topic, started: Clock::now(), socket: None, acknowledged: 0 })
    }

    fn now(&self) -> Instant {
        Instant::from_micros(self.started.elapsed().as_micros() as u64)
    }

    /// Sends a record; waits while there is no space for it.
    fn send(&mut self, value: &[u8]) -> Result<(), Box<dyn Error>> {
        loop {
            let now = self.now();
            match self.client.produce(now, self.topic, &Record::new(value)) {
                Ok(_) => return Ok(()),
                Err(ProduceError::Full | ProduceError::NotReady) => self.turn()?,
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Waits until `count` records are acknowledged.
    fn wait_for(&mut self, count: usize) -> Result<(), Box<dyn Error>> {
        let now = self.now();
        self.client.flush(now);
        while self.acknowledged < count {
            self.turn()?;
        }
        Ok(())
    }

    fn turn(&mut self) -> Result<(), Box<dyn Error>> {
        let now = self.now();
        self.client.handle_timeout(now);
        while let Some(action) = self.client.poll_action(self.now()) {
            match action {
                Action::Connect { conn } => self.connect(conn),
                Action::Close { conn } => drop(self.socket.take_if(|(open, _)| *open == conn)),
                _ => {}
            }
        }
        if let Err(why) = self.exchange()
            && let Some((conn, _)) = self.socket.take()
        {
            eprintln!("connection lost: {why}");
            let now = self.now();
            self.client.handle_closed(now, conn, CloseReason::Reset);
        }
        while let Some((event, _)) = self.client.poll_event(now) {
            match event {
                Event::Delivered { count, .. } => self.acknowledged += count as usize,
                Event::Failed { error, .. } => return Err(error.into()),
                _ => {}
            }
        }
        Ok(())
    }

    fn connect(&mut self, conn: ConnId) {
        let address = self.client.address(conn).map(|address| address.to_socket_addrs());
        let address = address.and_then(|found| found.ok()?.next());
        let opened = address.map(|to| TcpStream::connect_timeout(&to, Duration::from_secs(2)));
        let now = self.now();
        match opened {
            Some(Ok(socket)) => {
                // It costs latency alone when it fails.
                let _ = socket.set_nodelay(true);
                self.socket = Some((conn, socket));
                self.client.handle_connected(now, conn);
            }
            Some(Err(_)) => self.client.handle_closed(now, conn, CloseReason::Refused),
            None => self.client.handle_closed(now, conn, CloseReason::Unresolved),
        }
    }

    /// Writes all there is, then waits for bytes as long as the client allows.
    fn exchange(&mut self) -> io::Result<()> {
        let now = self.now();
        if let Some((conn, socket)) = &mut self.socket {
            while let Some(mut slices) = self.client.poll_transmit(now, *conn) {
                let Some(bytes) = slices.next() else { break };
                let written = socket.write(bytes)?;
                self.client.handle_transmitted(now, *conn, written);
            }
        }
        let due = self.client.poll_timeout();
        let wait = due.map_or(Duration::from_secs(1), |due| now.until(due));
        let Some((conn, socket)) = &mut self.socket else {
            std::thread::sleep(wait);
            return Ok(());
        };
        // Zero means no timeout to a socket.
        socket.set_read_timeout(Some(wait.max(Duration::from_millis(1))))?;
        let read = match self.client.recv_buffer(*conn) {
            [] => return Ok(()), // events come first
            space => socket.read(space),
        };
        let now = Instant::from_micros(self.started.elapsed().as_micros() as u64);
        match read {
            Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
            Ok(len) => {
                self.client.handle_received(now, *conn, len);
                Ok(())
            }
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Ok(()),
            Err(e) if e.kind() == ErrorKind::Interrupted => Ok(()),
            Err(e) => Err(e),
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let bootstrap = args.next().unwrap_or_else(|| "localhost:9092".into());
    let topic = args.next().unwrap_or_else(|| "readings".into());
    let mut sender = Sender::new(&bootstrap, &topic)?;
    let mut sent = 0;
    for line in io::stdin().lock().lines() {
        sender.send(line?.as_bytes())?;
        sent += 1;
    }
    sender.wait_for(sent)?;
    println!("{sent} records acknowledged");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::Sender;
    use kavka_tests::sim::{Options, Server};

    #[test]
    fn records_are_acknowledged_over_one_blocking_connection() {
        let server = Server::start(Options::default()).expect("brokers");
        server.with(|cluster| cluster.create_topic("t", 3)).expect("created");
        let mut sender = Sender::new(&server.bootstrap(), "t").expect("a client");
        for n in 0..1000 {
            sender.send(format!("{n}").as_bytes()).expect("taken");
        }
        sender.wait_for(1000).expect("acknowledged");
        let written = server.with(|c| (0..3).map(|p| c.log_len("t", p)).sum::<i64>());
        assert_eq!((written, sender.client.stats().misuses), (1000, 0));
    }
}
