//! kavka without its driver: a hand-written loop over its own sockets.
//!
//! Watches a topic, reports when partitions are added, and prints its records:
//! `cargo run --example custom_loop -- localhost:9092 readings`
#![cfg(unix)]
#![allow(
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc,
    reason = "an ordinary program for hosts"
)]

use std::error::Error;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant as Clock};

use kavka_core::{
    Action, Client, CloseReason, Config, ConnId, Event, Instant, Limits, Start, Storage,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let bootstrap = args.next().unwrap_or_else(|| "localhost:9092".into());
    let topic = args.next().unwrap_or_else(|| "readings".into());
    let started = Clock::now();
    run(&bootstrap, &topic, || Instant::from_micros(started.elapsed().as_micros() as u64))
}

fn run(bootstrap: &str, name: &str, clock: impl Fn() -> Instant) -> Result<(), Box<dyn Error>> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed)?;
    let limits = Limits::server();
    let mut client = Client::new(Config::new(bootstrap), Storage::heap(&limits), seed)?;
    let topic = client.topic(name)?;
    client.assign_all(clock(), topic, Start::Earliest)?;
    let mut sockets: Vec<(ConnId, TcpStream)> = Vec::new();
    loop {
        let now = clock();
        client.handle_timeout(now);
        while let Some(action) = client.poll_action(now) {
            match action {
                Action::Connect { conn } => match connect(client.address(conn)) {
                    Ok(socket) => {
                        client.handle_connected(clock(), conn);
                        sockets.push((conn, socket));
                    }
                    Err(error) => {
                        eprintln!("cannot connect: {error}");
                        client.handle_closed(clock(), conn, CloseReason::Refused);
                    }
                },
                Action::Close { conn } => sockets.retain(|(open, _)| *open != conn),
                _ => {}
            }
        }
        let now = clock(); // a connect took its time
        sockets.retain_mut(|(conn, socket)| match exchange(&mut client, now, *conn, socket) {
            Ok(()) => true,
            Err(error) => {
                eprintln!("connection lost: {error}");
                client.handle_closed(now, *conn, CloseReason::Reset);
                false
            }
        });
        while let Some((event, _commands)) = client.poll_event(clock()) {
            report(&event)?;
        }
        wait(&sockets, client.poll_timeout().map(|due| clock().until(due)))?;
    }
}

fn report(event: &Event<'_>) -> Result<(), Box<dyn Error>> {
    match event {
        Event::Records(batch) => {
            for record in batch.records() {
                let record = record.map_err(|why| format!("{why:?}"))?;
                let value = String::from_utf8_lossy(record.value.unwrap_or_default());
                let partition = batch.topic_partition().partition;
                println!("partition {partition} offset {}: {value}", record.offset);
            }
        }
        Event::PartitionsAdded { from, to, by, .. } => {
            println!("PartitionsAdded: {from} -> {to} (broker {}, {:?})", by.broker, by.signal);
        }
        Event::TopicReady { partitions, .. } => println!("TopicReady: {partitions} partitions"),
        other => println!("{other:?}"),
    }
    Ok(())
}

/// Blocks for as long as the connect takes, which a loop with more to do would not.
fn connect(address: Option<(&str, u16)>) -> io::Result<TcpStream> {
    let mut failed = ErrorKind::AddrNotAvailable.into();
    for address in address.ok_or(ErrorKind::NotFound)?.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, Duration::from_secs(2)) {
            Ok(socket) => {
                socket.set_nodelay(true)?;
                socket.set_nonblocking(true)?;
                return Ok(socket);
            }
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

fn exchange(
    client: &mut Client<'_>,
    now: Instant,
    conn: ConnId,
    socket: &mut TcpStream,
) -> io::Result<()> {
    while let Some(bytes) = client.poll_transmit(now, conn) {
        let mut slices = [IoSlice::new(&[]); 64];
        let n = slices.iter_mut().zip(bytes).map(|(s, b)| *s = IoSlice::new(b)).count();
        match socket.write_vectored(&slices[..n]) {
            Err(e) if e.kind() == ErrorKind::WouldBlock => break,
            written => client.handle_transmitted(now, conn, written?),
        }
    }
    loop {
        let room = client.recv_buffer(conn);
        if room.is_empty() {
            return Ok(()); // events come first; TCP holds the rest back
        }
        match socket.read(room) {
            Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(()),
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            read => client.handle_received(now, conn, read?),
        }
    }
}

/// Until a socket can be read or the client has something to do. (A loop that sends much would
/// also wait for sockets that were full to become writable.)
fn wait(sockets: &[(ConnId, TcpStream)], at_most: Option<Duration>) -> io::Result<()> {
    let mut fds: Vec<_> =
        sockets.iter().map(|(_, socket)| PollFd::new(socket, PollFlags::IN)).collect();
    let timeout = at_most.and_then(|time| Timespec::try_from(time).ok());
    match poll(&mut fds, timeout.as_ref()) {
        Err(rustix::io::Errno::INTR) => Ok(()),
        ended => Ok(ended.map(|_| ())?),
    }
}
