//! A broker's end of its connections, in the clear or over TLS.

use std::io::{ErrorKind, Read as _, Write as _};
use std::sync::Arc;

use embassy_net::Stack;
use embassy_net::tcp::TcpSocket;
use embassy_time::{Duration, Timer, with_timeout};
use kavka_tests::sim::Rng;
use rustls::{ServerConfig, ServerConnection};

use crate::brokers::buffer;

/// One place for a connection, for one after the other.
pub(crate) struct Line {
    socket: TcpSocket<'static>,
    rng: Rng,
    tls: Option<Arc<ServerConfig>>,
    session: Option<ServerConnection>,
}

impl Line {
    pub(crate) fn new(stack: Stack<'static>, tls: Option<Arc<ServerConfig>>, rng: Rng) -> Self {
        let mut socket = TcpSocket::new(stack, buffer(4096), buffer(4096));
        socket.set_nagle_enabled(false);
        // A client that is gone without a word must not keep its place.
        socket.set_keep_alive(Some(Duration::from_secs(1)));
        socket.set_timeout(Some(Duration::from_secs(4)));
        Self { socket, rng, tls, session: None }
    }

    /// Waits for a connection; whether there is one.
    pub(crate) async fn accept(&mut self, port: u16) -> bool {
        let session = |config| ServerConnection::new(config).expect("a session");
        self.session = self.tls.clone().map(session);
        self.socket.accept(port).await.is_ok()
    }

    /// Ends the connection, in order if the peer is still there.
    pub(crate) async fn close(&mut self) {
        self.socket.close();
        let _ = with_timeout(Duration::from_millis(100), self.socket.flush()).await;
        self.socket.abort();
        let _ = with_timeout(Duration::from_millis(100), self.socket.flush()).await;
    }

    /// Fills all of `room`; `None` when the connection is over.
    pub(crate) async fn read_exact(&mut self, mut room: &mut [u8]) -> Option<()> {
        while !room.is_empty() {
            match self.read(room).await? {
                0 => return None,
                read => room = &mut room[read..],
            }
        }
        Some(())
    }

    async fn read(&mut self, room: &mut [u8]) -> Option<usize> {
        loop {
            let Some(session) = &mut self.session else { return self.socket.read(room).await.ok() };
            match session.reader().read(room) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                read => return read.ok(),
            }
            let mut piece = [0; 700];
            let len = self.socket.read(&mut piece).await.ok()?;
            let mut rest = piece.get(..len).filter(|piece| !piece.is_empty())?;
            session.read_tls(&mut rest).ok().filter(|read| *read == len)?;
            let processed = session.process_new_packets();
            self.send_records().await?; // of a failure, too
            processed.ok()?;
        }
    }

    /// Sends all of `bytes`; `None` when the connection is over.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> Option<()> {
        let Some(session) = &mut self.session else { return self.send(bytes).await };
        session.writer().write_all(bytes).ok()?;
        self.send_records().await
    }

    /// What TLS has to send: responses of a handshake, encrypted bytes, alerts.
    async fn send_records(&mut self) -> Option<()> {
        let mut records = Vec::new();
        while let Some(session) = self.session.as_mut().filter(|session| session.wants_write()) {
            session.write_tls(&mut records).ok()?;
        }
        self.send(&records).await
    }

    /// Often whole, often in small segments with a pause between them.
    async fn send(&mut self, mut bytes: &[u8]) -> Option<()> {
        while !bytes.is_empty() {
            let rng = &mut self.rng;
            let most = if rng.below(2) == 0 { bytes.len() } else { 1 + rng.below(40) as usize };
            let written = self.socket.write(&bytes[..most.min(bytes.len())]).await.ok()?;
            bytes = &bytes[written..];
            if self.rng.below(4) == 0 {
                Timer::after_micros(self.rng.below(1500)).await;
            }
        }
        Some(())
    }
}
