//! One connection of a device: what it sends comes back, or it ends.

use core::future::{Future, poll_fn};
use core::pin::pin;
use core::task::{Context, Poll, Waker};

use embassy_time::{Duration, MockDriver};
use kavka_core::CloseReason;
use kavka_embassy::Socket;
use kavka_embassy::stream::{StreamMem, StreamSocket};
use kavka_embassy::tls::{Fault, Tls, TlsMem};

use crate::peer::{Peer, Side};

/// Bytes that are sent and come back: more than any buffer on the way.
pub(crate) const LENGTH: usize = 64 * 1024;
/// Memory for records.
pub(crate) const IN: usize = 4416;
const OUT: usize = 1024;
pub(crate) const PORT: u16 = 9094;

type Memory = StreamMem<700, 300>;

/// How it ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) fault: Option<Fault>,
    /// What the client is told.
    pub(crate) close: Option<CloseReason>,
    /// Bytes that came back as they were.
    pub(crate) echoed: usize,
    /// Bytes that reached the peer, and those of the client in them.
    pub(crate) sent: usize,
    pub(crate) requests: usize,
    pub(crate) server_name: Option<String>,
}

pub(crate) fn run(host: &str, tls: Tls<'_>, peer: Peer) -> Outcome {
    run_with(host, tls, peer)
}

pub(crate) fn run_with(host: &str, tls: Tls<'_>, peer: Peer) -> Outcome {
    let side = peer.listen();
    let (mut memory, mut records) = (Memory::new(), Box::new(TlsMem::<IN, OUT>::new()));
    let (mut socket, mut pump) = memory.split();
    let (mut fault, mut ended) = (None, None);
    {
        let network = async {
            let wanted = pump.wanted().await;
            let (reader, writer) = (side.clone(), side.clone());
            tls.serve(&mut pump, &wanted, &mut records, reader, writer).await.err()
        };
        let mut network = pin!(network);
        let mut client = pin!(client(&mut socket, host));
        let cx = &mut Context::from_waker(Waker::noop());
        let mut idle = 0;
        // Both are polled in turn: the client leaves at its end, and the network follows.
        while fault.is_none() {
            if let Poll::Ready(end) = network.as_mut().poll(cx) {
                fault = Some(end);
            }
            if ended.is_none()
                && let Poll::Ready(end) = client.as_mut().poll(cx)
            {
                ended = Some(end);
            }
            idle += 1;
            assert!(idle < 3_000_000, "it hangs");
            // Time passes where nobody says anything.
            if idle % 1_000_000 == 0 {
                MockDriver::get().advance(Duration::from_secs(11));
            }
        }
        if ended.is_none() {
            while client.as_mut().poll(cx).map(|end| ended = Some(end)).is_pending() {}
        }
    }
    let (echoed, close) = ended.expect("the client ended");
    let (sent, requests) = side.received();
    let (fault, server_name) = (fault.flatten(), Side::server_name(&side));
    Outcome { fault, close, echoed, sent, requests, server_name }
}

/// Returns how many bytes came back, and why no more did.
async fn client(
    socket: &mut StreamSocket<'_, 700, 300>,
    host: &str,
) -> (usize, Option<CloseReason>) {
    if let Err(why) = poll_fn(|cx| socket.poll_connect(cx, host, PORT)).await {
        socket.close();
        return (0, Some(why));
    }
    let byte = |at: usize| (at * 31 % 251) as u8;
    let (mut sent, mut echoed) = (0, 0);
    let close = poll_fn(|cx| {
        loop {
            let mut room = [0; 500];
            let piece: Vec<u8> = (sent..LENGTH.min(sent + 400)).map(byte).collect();
            let mut moved = false;
            if !piece.is_empty() {
                match socket.poll_write(cx, &piece) {
                    Poll::Ready(Ok(written)) => (sent, moved) = (sent + written, true),
                    Poll::Ready(Err(why)) => return Poll::Ready(Some(why)),
                    Poll::Pending => {}
                }
            }
            match socket.poll_read(cx, &mut room) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Some(CloseReason::Ended)),
                Poll::Ready(Ok(read)) => {
                    let right = (echoed..).map(byte).zip(&room[..read]).all(|(a, b)| a == *b);
                    assert!(right, "other bytes come back, after {echoed}");
                    (echoed, moved) = (echoed + read, true);
                }
                Poll::Ready(Err(why)) => return Poll::Ready(Some(why)),
                Poll::Pending => {}
            }
            if echoed == LENGTH {
                return Poll::Ready(None);
            }
            if !moved {
                return Poll::Pending;
            }
        }
    })
    .await;
    socket.close();
    (echoed, close)
}
