//! TLS over a socket of embassy-net.

use embassy_futures::select::{Either, select};
use embassy_net::tcp::TcpSocket;
use embassy_net::{IpAddress, Stack};
use embassy_time::with_timeout;
use heapless::Vec;
use kavka_core::CloseReason;

use super::{Tls, TlsMem};
use crate::stream::{Pump, StreamMem, StreamSocket, Wanted};

/// Bytes that were decrypted and that the client has not taken yet.
const PIPE: usize = 1024;
/// Addresses of a name that are tried, one after the other.
const ADDRESSES: usize = 4;

/// Memory of one connection over TLS, all zero when new: `WINDOW` bytes for TCP each way, `IN` and
/// `OUT` for records as [`TlsMem`] has them.
pub struct LinkMem<const WINDOW: usize, const IN: usize, const OUT: usize> {
    stream: StreamMem<PIPE, OUT>,
    records: TlsMem<IN, OUT>,
    received: [u8; WINDOW],
    sent: [u8; WINDOW],
}

impl<const WINDOW: usize, const IN: usize, const OUT: usize> LinkMem<WINDOW, IN, OUT> {
    /// Empty memory.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            stream: StreamMem::new(),
            records: TlsMem::new(),
            received: [0; WINDOW],
            sent: [0; WINDOW],
        }
    }

    /// The driver's end and the network's end, for tasks of the same executor. The stack needs a
    /// socket for it, and one for names.
    pub fn split<'d>(
        &'d mut self,
        stack: Stack<'d>,
    ) -> (StreamSocket<'d, PIPE, OUT>, Link<'d, IN, OUT>) {
        let (socket, pump) = self.stream.split();
        let mut tcp = TcpSocket::new(stack, &mut self.received, &mut self.sent);
        tcp.set_nagle_enabled(false);
        (socket, Link { pump, stack, tcp, records: &mut self.records })
    }
}

impl<const WINDOW: usize, const IN: usize, const OUT: usize> Default for LinkMem<WINDOW, IN, OUT> {
    fn default() -> Self {
        Self::new()
    }
}

/// The network's end of one connection over TLS.
pub struct Link<'d, const IN: usize, const OUT: usize> {
    pump: Pump<'d, PIPE, OUT>,
    stack: Stack<'d>,
    tcp: TcpSocket<'d>,
    records: &'d mut TlsMem<IN, OUT>,
}

impl<const IN: usize, const OUT: usize> Link<'_, IN, OUT> {
    /// Connects whenever the client requests it, and moves bytes: all that a task of its own does.
    pub async fn run(&mut self, tls: &Tls<'_>) -> ! {
        loop {
            let wanted = self.pump.wanted().await;
            let connect = connect(self.stack, &mut self.tcp, &wanted);
            match select(with_timeout(tls.limit, connect), self.pump.given_up()).await {
                Either::First(Ok(Ok(()))) => {
                    let (reader, writer) = self.tcp.split();
                    // Reported where it was found.
                    let _ = tls.serve(&mut self.pump, &wanted, self.records, reader, writer).await;
                }
                Either::First(Ok(Err(why))) => self.pump.refuse(why),
                Either::First(Err(_)) => self.pump.refuse(CloseReason::Silent),
                Either::Second(()) => {}
            }
            self.tcp.abort();
            // The peer is gone, if that takes long.
            let _ = with_timeout(tls.limit, self.tcp.flush()).await;
        }
    }
}

/// Connects to one address of the host after the other.
async fn connect(
    stack: Stack<'_>,
    tcp: &mut TcpSocket<'_>,
    wanted: &Wanted,
) -> Result<(), CloseReason> {
    for address in addresses(stack, &wanted.host).await? {
        if tcp.connect((address, wanted.port)).await.is_ok() {
            return Ok(());
        }
    }
    Err(CloseReason::Refused)
}

async fn addresses(
    _stack: Stack<'_>,
    host: &str,
) -> Result<Vec<IpAddress, ADDRESSES, u8>, CloseReason> {
    if let Ok(address) = host.parse() {
        return Ok([address].into_iter().collect());
    }
    #[cfg(feature = "dns")]
    {
        let found = _stack.dns_query(host, embassy_net::dns::DnsQueryType::A).await;
        let found = found.map_err(|_| CloseReason::Unresolved)?;
        Ok(found.into_iter().take(ADDRESSES).collect())
    }
    #[cfg(not(feature = "dns"))]
    Err(CloseReason::Unresolved)
}
