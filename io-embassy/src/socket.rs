//! What a [`Driver`](crate::Driver) needs of a connection.

use core::task::{Context, Poll};

use kavka_core::CloseReason;

/// A socket that is connected, read and written without waiting.
///
/// One of these is used for many connections, one after the other. A method that returns `Pending`
/// has registered the waker of the context for when another call may succeed; it keeps no hold of
/// the arguments. `Err` ends the connection: the driver calls [`Socket::close`] then, too.
pub trait Socket {
    /// Continues to connect to a host name or address. Called with the same arguments until it is
    /// `Ready` or until [`Socket::close`].
    fn poll_connect(
        &mut self,
        cx: &mut Context<'_>,
        host: &str,
        port: u16,
    ) -> Poll<Result<(), CloseReason>>;

    /// Puts received bytes to the front of `room`, which is not empty; how many. 0 is the end of
    /// the stream.
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        room: &mut [u8],
    ) -> Poll<Result<usize, CloseReason>>;

    /// Takes bytes from the front of `bytes`, which is not empty; how many, at least one.
    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<Result<usize, CloseReason>>;

    /// Ends the connection, or the attempt to establish it, in order if possible. Returns at once.
    fn close(&mut self);

    /// After [`Socket::close`]: ready when the peer was notified, so that the link may be switched
    /// off.
    fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<()>;
}
