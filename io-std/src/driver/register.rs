//! The one place with `unsafe`: a socket that is registered with a poller for as long as it lives.
#![allow(unsafe_code)]

use std::io;
use std::net::TcpStream;
use std::sync::Arc;

use polling::{Event, PollMode, Poller};

/// How the poller reports readiness.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Again and again while a socket is ready: fewer reads for small responses.
    #[default]
    Level,
    /// Once per change: fewer changes of interest for large streams. Not every platform has it.
    Edge,
}

/// A non-blocking socket and its registration; dropping it ends both, in this order.
pub(super) struct Registered {
    socket: TcpStream,
    poller: Arc<Poller>,
    key: usize,
    mode: PollMode,
    interest: (bool, bool),
}

impl Registered {
    /// Registers `socket`, for the moment for its becoming writable: that ends a connect.
    pub(super) fn new(
        poller: &Arc<Poller>,
        socket: TcpStream,
        key: usize,
        mode: Mode,
    ) -> io::Result<Self> {
        let mode = match mode {
            Mode::Level => PollMode::Level,
            Mode::Edge => PollMode::Edge,
        };
        // SAFETY: the source must be deleted from the poller before it is closed. `Registered`
        // owns both the socket and a handle of the poller, neither can be moved out, and `drop`
        // deletes the one from the other before its fields are dropped.
        unsafe { poller.add_with_mode(&socket, Event::writable(key), mode)? };
        Ok(Self { socket, poller: poller.clone(), key, mode, interest: (false, true) })
    }

    /// The socket.
    pub(super) fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// What to report. Without any interest even a hang-up is reported at most once.
    pub(super) fn set_interest(&mut self, read: bool, write: bool) -> io::Result<()> {
        if self.interest == (read, write) {
            return Ok(());
        }
        let mode = if read || write { self.mode } else { PollMode::Oneshot };
        self.poller.modify_with_mode(&self.socket, Event::new(self.key, read, write), mode)?;
        self.interest = (read, write);
        Ok(())
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        // It can only fail when the poller has lost the socket already.
        let _ = self.poller.delete(&self.socket);
    }
}
