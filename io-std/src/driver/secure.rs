//! TLS of one connection, between the client's bytes and its socket.

use std::io::{self, IoSlice, Read, Write};
use std::net::TcpStream;
use std::ops::Range;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, HandshakeKind};

use crate::tls::{explain, take_requested};

/// Bytes that are taken from a socket at once: rustls itself takes 4 KiB, a quarter of a record.
const INCOMING: usize = 32 << 10;

/// How far a step went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moved {
    /// It moved so many bytes.
    Bytes(usize),
    /// The socket is not ready.
    Blocked,
}

pub(super) struct Secure {
    tls: Box<ClientConnection>,
    /// Bytes of the application wait in it.
    buffered: bool,
    /// What came from the socket, and which part of it is still encrypted.
    incoming: Box<[u8]>,
    encrypted: Range<usize>,
    /// The peer has requested a certificate, and has sent nothing since that shows whether it
    /// accepts ours.
    judges_us: bool,
}

impl Secure {
    /// Begins a connection to a host by the name that it was found under.
    pub(super) fn new(config: &Arc<ClientConfig>, host: &str) -> io::Result<Self> {
        let host = host.strip_suffix('.').unwrap_or(host);
        let name = ServerName::try_from(host.to_owned()).map_err(|error| {
            io::Error::new(io::ErrorKind::InvalidInput, format!("TLS: {host:?}: {error}"))
        })?;
        let tls = ClientConnection::new(config.clone(), name);
        let mut tls = tls.map_err(|error| explain(&error, false))?;
        tls.set_buffer_limit(Some(256 << 10));
        Ok(Self {
            tls: Box::new(tls),
            buffered: false,
            incoming: vec![0; INCOMING].into(),
            encrypted: 0..0,
            judges_us: false,
        })
    }

    /// Whether the handshake is complete and an earlier session was resumed.
    pub(super) fn is_resumed(&self) -> bool {
        self.tls.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    pub(super) fn is_handshaking(&self) -> bool {
        self.tls.is_handshaking()
    }

    /// Whether there is something to read that no socket reports.
    pub(super) fn holds_bytes(&self) -> bool {
        self.buffered || self.holds_encrypted()
    }

    pub(super) fn holds_encrypted(&self) -> bool {
        !self.encrypted.is_empty()
    }

    /// Whether encrypted bytes wait for the socket.
    pub(super) fn wants_write(&self) -> bool {
        self.tls.wants_write()
    }

    /// Writes encrypted bytes until there are none, or the socket is full.
    pub(super) fn flush(&mut self, socket: &TcpStream) -> io::Result<Moved> {
        match self.write_out(socket) {
            // An alert that came before says more.
            Err(error) => match self.fill(socket) {
                Err(reason) => Err(reason),
                Ok(_) => Err(self.ended(error)),
            },
            moved => moved,
        }
    }

    /// Returns why the stream ended. A peer that does not accept our certificate may say so by that
    /// alone.
    fn ended(&self, error: io::Error) -> io::Error {
        if self.judges_us {
            let text = format!(
                "TLS: closed after the broker had requested a certificate of this client: {error}"
            );
            return io::Error::new(io::ErrorKind::PermissionDenied, text);
        }
        match error.kind() {
            io::ErrorKind::UnexpectedEof if self.is_handshaking() => {
                let text = "closed during the TLS handshake; is it a port without TLS?";
                io::Error::new(io::ErrorKind::UnexpectedEof, text)
            }
            _ => error,
        }
    }

    fn write_out(&mut self, socket: &TcpStream) -> io::Result<Moved> {
        let (mut socket, mut moved) = (socket, 0);
        while self.tls.wants_write() {
            match self.tls.write_tls(&mut socket) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => moved += written,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(Moved::Blocked);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Moved::Bytes(moved))
    }

    /// Takes bytes to send; returns how many, 0 while the socket has to take others first.
    pub(super) fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.tls.writer().write_vectored(slices)
    }

    /// Reads encrypted bytes once if there are none, and decrypts some. Returns how many.
    pub(super) fn fill(&mut self, socket: &TcpStream) -> io::Result<Moved> {
        let mut from = socket;
        if self.encrypted.is_empty() {
            self.encrypted = match from.read(&mut self.incoming) {
                Ok(0) => return Err(self.ended(io::ErrorKind::UnexpectedEof.into())),
                Ok(read) => 0..read,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(Moved::Blocked);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => 0..0,
                Err(error) => return Err(self.ended(error)),
            };
        }
        let mut bytes = &self.incoming[self.encrypted.clone()];
        let taken = match bytes {
            [] => 0,
            // Nothing is taken after the peer has ended the stream.
            _ => match self.tls.read_tls(&mut bytes)? {
                0 => return Err(self.ended(io::ErrorKind::UnexpectedEof.into())),
                taken => taken,
            },
        };
        self.encrypted.start += taken;
        let processed = self.tls.process_new_packets();
        self.judges_us |= take_requested();
        match processed {
            Ok(state) => self.buffered = state.plaintext_bytes_to_read() > 0,
            Err(error) => {
                // An alert says why, if the socket takes it.
                let _ = self.write_out(socket);
                return Err(explain(&error, self.judges_us));
            }
        }
        Ok(Moved::Bytes(taken))
    }

    /// Reads bytes of the application; blocked while more of the peer are needed.
    pub(super) fn read(&mut self, room: &mut [u8]) -> io::Result<Moved> {
        let space = room.len();
        match self.tls.reader().read(room) {
            Ok(0) => Err(self.ended(io::ErrorKind::UnexpectedEof.into())),
            Ok(read) => {
                self.judges_us = false;
                self.buffered = read == space;
                Ok(Moved::Bytes(read))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.buffered = false;
                Ok(Moved::Blocked)
            }
            Err(error) => Err(error),
        }
    }
}
