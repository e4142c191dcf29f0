//! Hosts with several addresses. This program has its own `getaddrinfo`, as such a name need not
//! exist on a machine: `127-0-0-2.127-0-0-1.test` has these two, in this order.
#![cfg(target_os = "linux")]
#![allow(
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc,
    reason = "an ordinary program for hosts"
)]

use std::ffi::{CStr, c_char, c_int};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use kavka_core::{Client, Config, Error, Event, Limits, Storage};
use kavka_std::{Admin, Driver};
use kavka_tests::sim::{Options, Server};
use socket2::{Domain, Socket, Type};

const FIRST: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 1);
const OTHER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
/// How long a silent address delays the next one.
const NEXT: Duration = Duration::from_secs(2);
const LONG: Duration = Duration::from_secs(60);

/// Resolves only the names of this file.
///
/// Like the function of the C library: `node` is a string, `list` can be written.
/// As the function of the C library: `node` is a string, `list` can be written.
#[unsafe(no_mangle)]
unsafe extern "C" fn getaddrinfo(
    node: *const c_char,
    _service: *const c_char,
    _hints: *const libc::addrinfo,
    list: *mut *mut libc::addrinfo,
) -> c_int {
    // SAFETY: the caller passes a string.
    let name = unsafe { CStr::from_ptr(node) }.to_str().unwrap_or_default();
    let Some(name) = name.strip_suffix(".test") else { return libc::EAI_NONAME };
    // A look-up that waits until the test lets it continue: `PORT+…` connects there and reads.
    let (slow, name) = name.split_once("+").unwrap_or(("", name));
    if let Ok(port) = slow.parse::<u16>() {
        let mut gate = TcpStream::connect((FIRST, port)).unwrap();
        let _ = gate.read(&mut [0]);
    }
    let mut next = std::ptr::null_mut();
    for part in name.split('.').rev() {
        let Ok(ip) = part.replace('-', ".").parse::<Ipv4Addr>() else { return libc::EAI_NONAME };
        let address = libc::sockaddr_in {
            sin_family: libc::AF_INET as libc::sa_family_t,
            sin_port: 0,
            sin_addr: libc::in_addr { s_addr: u32::from(ip).to_be() },
            sin_zero: [0; 8],
        };
        // Never freed: a few names, once each.
        let address = Box::leak(Box::new(address));
        next = Box::leak(Box::new(libc::addrinfo {
            ai_flags: 0,
            ai_family: libc::AF_INET,
            ai_socktype: libc::SOCK_STREAM,
            ai_protocol: 0,
            ai_addrlen: size_of::<libc::sockaddr_in>() as libc::socklen_t,
            ai_addr: std::ptr::from_mut(address).cast(),
            ai_canonname: std::ptr::null_mut(),
            ai_next: next,
        }));
    }
    // SAFETY: the caller passes a pointer that can be written.
    unsafe { *list = next };
    0
}

/// Frees nothing, as nothing can be freed.
#[unsafe(no_mangle)]
extern "C" fn freeaddrinfo(_list: *mut libc::addrinfo) {}

/// A port that accepts no connection: its queue is full.
struct Silent {
    listener: TcpListener,
    _in_its_queue: TcpStream,
}

impl Silent {
    fn new(ip: Ipv4Addr, port: u16) -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from((ip, port)).into()).unwrap();
        socket.listen(0).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        let _in_its_queue = TcpStream::connect(address).unwrap();
        let beyond = TcpStream::connect_timeout(&address, Duration::from_millis(50));
        assert!(beyond.is_err(), "a full queue takes more");
        Self { listener: socket.into(), _in_its_queue }
    }

    fn port(&self) -> u16 {
        self.listener.local_addr().unwrap().port()
    }
}

fn server() -> (Server, u16) {
    let options = Options { brokers: 1, ..Options::default() };
    let server = Server::start(options).expect("a simulated broker");
    server.create_topic("t", 3).unwrap();
    let port = server.address(1).unwrap().port();
    (server, port)
}

/// A client of one broker, whose events show how connecting went.
struct Loop<'d>(Driver<'d>);

impl<'d> Loop<'d> {
    fn new(bootstrap: &'d str) -> Self {
        let storage = Storage::heap(&Limits::small());
        let client = Client::new(Config::new(bootstrap), storage, [5; 32]).unwrap();
        let mut driver = Driver::new(client).unwrap();
        driver.topic("t").unwrap();
        Self(driver)
    }

    /// Runs until the topic is known, whatever fails before.
    fn ready(&mut self, time: Duration) -> Option<u32> {
        let until = Instant::now() + time;
        while let Some(result) = self.run(until.saturating_duration_since(Instant::now())) {
            if let Ok(partitions) = result {
                return Some(partitions);
            }
        }
        None
    }

    /// Runs until the topic is known, a connection fails, or the time is over.
    fn run(&mut self, time: Duration) -> Option<Result<u32, Error>> {
        let until = Instant::now() + time;
        loop {
            while let Some((event, _)) = self.0.poll_event() {
                match event {
                    Event::TopicReady { partitions, .. } => return Some(Ok(partitions)),
                    Event::Disconnected { error, .. } => return Some(Err(error)),
                    _ => {}
                }
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            self.0.turn(Some(left)).unwrap();
        }
    }
}

#[test]
fn the_next_address_is_tried_when_one_refuses() {
    let (_server, port) = server();
    let bootstrap = format!("127-0-0-2.127-0-0-3.127-0-0-1.test:{port}");
    let begun = Instant::now();
    assert_eq!(Loop::new(&bootstrap).run(LONG), Some(Ok(3)));
    let took = begun.elapsed();
    assert!(took < NEXT, "{took:?}: a refusal was waited out");
}

#[test]
fn the_next_address_is_tried_when_one_is_silent() {
    let (_server, port) = server();
    let _silent = Silent::new(OTHER, port);
    let bootstrap = format!("127-0-0-2.127-0-0-1.test:{port}");
    let begun = Instant::now();
    assert_eq!(Loop::new(&bootstrap).run(LONG), Some(Ok(3)));
    let took = begun.elapsed();
    assert!(took >= NEXT && took < 4 * NEXT, "after {took:?}");
}

#[test]
fn the_last_address_has_all_the_time_that_a_connection_has() {
    let silent = Silent::new(OTHER, 0);
    let refuses = format!("127-0-0-1.127-0-0-2.test:{}", silent.port());
    let mut client = Loop::new(&refuses);
    assert_eq!(client.run(NEXT + NEXT / 4), None, "given up as if there were another address");
    // Space in the queue: the system's next try succeeds, a second or four later.
    drop(silent.listener.accept().unwrap());
    let requested = std::thread::spawn(move || {
        let mut first = [0; 4];
        let (mut stream, _) = silent.listener.accept().unwrap();
        stream.read_exact(&mut first).unwrap();
        u32::from_be_bytes(first)
    });
    let ended = client.run(LONG);
    assert!(matches!(ended, Some(Err(_))), "it asked, and was hung up on: {ended:?}");
    assert!(requested.join().unwrap() > 8, "a request");
}

#[test]
fn all_addresses_that_refuse_are_one_failure() {
    let port = Silent::new(FIRST, 0).port();
    let bootstrap = format!("127-0-0-2.127-0-0-3.test:{port}");
    let ended = Loop::new(&bootstrap).run(LONG);
    assert!(matches!(ended, Some(Err(_))), "{ended:?}");
}

/// Accepts connections at `OTHER`. Returns how many it accepted.
fn bad_peer(port: u16, greeting: &'static [u8], holds: bool) -> Arc<AtomicUsize> {
    let listener = TcpListener::bind((OTHER, port)).unwrap();
    let taken = Arc::new(AtomicUsize::new(0));
    let count = taken.clone();
    std::thread::spawn(move || {
        let mut held = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            count.fetch_add(1, Ordering::SeqCst);
            if !greeting.is_empty() {
                let _ = stream.read(&mut [0; 256]);
                let _ = stream.write_all(greeting);
            }
            if holds {
                held.push(stream);
            }
        }
    });
    taken
}

/// The next connect begins after the address that was tried last, however that one failed.
#[test]
fn the_next_connect_begins_after_an_address_that_takes_connections_and_fails() {
    let tls: &[u8] = &[0x15, 3, 3, 0, 2, 2, 0x46];
    let http: &[u8] = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n";
    for (what, greeting, holds) in [
        ("closes", &b""[..], false),
        ("TLS", tls, true),
        ("HTTP", http, false),
        ("silent", b"", true),
    ] {
        let (_server, port) = server();
        let taken = bad_peer(port, greeting, holds);
        let bootstrap = format!("127-0-0-2.127-0-0-1.test:{port}");
        assert_eq!(Loop::new(&bootstrap).ready(4 * NEXT), Some(3), "{what}");
        assert_eq!(taken.load(Ordering::SeqCst), 1, "{what}: tried again at once");
    }
}

/// One look-up per name runs at a time, and one that takes longer than a connection may is used by
/// the next connection.
#[test]
fn a_late_result_is_used_and_one_look_up_runs_at_a_time() {
    let (_server, port) = server();
    let gate = TcpListener::bind((FIRST, 0)).unwrap();
    let at = gate.local_addr().unwrap().port();
    let bootstrap = format!("{at}+127-0-0-1.test:{port}");
    let mut config = Config::new(&bootstrap);
    config.connect_timeout = Duration::from_millis(300);
    let client = Client::new(config, Storage::heap(&Limits::small()), [5; 32]).unwrap();
    let mut client = Loop(Driver::new(client).unwrap());
    client.0.topic("t").unwrap();
    for _ in 0..2 {
        assert!(matches!(client.run(LONG), Some(Err(_))), "given up, with its look-up in flight");
    }
    let first = gate.accept().unwrap();
    gate.set_nonblocking(true).unwrap();
    assert!(gate.accept().is_err(), "a second look-up of the same name");
    drop(first);
    assert_eq!(client.ready(2 * NEXT), Some(3));
    assert!(gate.accept().is_err(), "the late result was thrown away");
}

/// Responds to ApiVersions at `OTHER` as the broker behind it does, and to nothing else.
fn greets_alone(port: u16) -> Arc<AtomicUsize> {
    fn frame(from: &mut TcpStream, to: &mut TcpStream) -> std::io::Result<()> {
        let mut length = [0; 4];
        from.read_exact(&mut length)?;
        let mut rest = vec![0; u32::from_be_bytes(length) as usize];
        from.read_exact(&mut rest)?;
        to.write_all(&[&length[..], &rest].concat())
    }
    let listener = TcpListener::bind((OTHER, port)).unwrap();
    let taken = Arc::new(AtomicUsize::new(0));
    let count = taken.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            count.fetch_add(1, Ordering::SeqCst);
            std::thread::spawn(move || {
                let (mut client, mut broker) = (stream?, TcpStream::connect((FIRST, port))?);
                frame(&mut client, &mut broker)?;
                frame(&mut broker, &mut client)?;
                std::io::copy(&mut client, &mut std::io::sink())
            });
        }
    });
    taken
}

/// With a request that is not sent over a second connection meanwhile.
#[test]
fn the_next_address_is_tried_when_one_is_silent_after_its_greeting() {
    let (_server, port) = server();
    let taken = greets_alone(port);
    let bootstrap = format!("127-0-0-2.127-0-0-1.test:{port}");
    let admin = Admin::new(kavka_std::Config::new(bootstrap).admin_timeout(LONG)).unwrap();
    let begun = Instant::now();
    let topics = admin.list_topics().wait_timeout(LONG).expect("a result").unwrap();
    assert_eq!(topics.len(), 1);
    let took = begun.elapsed();
    assert!(took < 4 * NEXT, "after {took:?}");
    assert_eq!(taken.load(Ordering::SeqCst), 1, "the silent one is tried again");
}
