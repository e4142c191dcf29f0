//! For streams over a stream, such as TLS over TCP.

use embassy_sync::blocking_mutex::raw::NoopRawMutex;
use embassy_sync::mutex::Mutex;
use embedded_io_async::{ErrorType, Read, Write};

/// One half of a stream, for [`Halves`].
pub type Half<T> = Mutex<NoopRawMutex, T>;

/// The two halves of a stream as one that can be cloned, which the `split` of embedded-tls requires
/// of what lies below it.
///
/// ```text
/// let (reader, writer) = socket.split(); // of embassy-net
/// let (reader, writer) = (Half::new(reader), Half::new(writer));
/// let below = Halves::new(&reader, &writer);
/// let mut tls = TlsConnection::new(below, &mut record_in, &mut record_out);
/// tls.set_flush_policy(FlushPolicy::Relaxed); // else each write waits for its acknowledgement
/// tls.open(context).await?;
/// let (reader, writer) = tls.split();
/// pump.run(reader, writer).await;
/// ```
pub struct Halves<'a, R, W> {
    reader: &'a Half<R>,
    writer: &'a Half<W>,
}

impl<'a, R, W> Halves<'a, R, W> {
    /// Of these two. Clones that read at the same time wait for each other, and so do those that
    /// write.
    pub const fn new(reader: &'a Half<R>, writer: &'a Half<W>) -> Self {
        Self { reader, writer }
    }
}

impl<R, W> Clone for Halves<'_, R, W> {
    fn clone(&self) -> Self {
        Self { reader: self.reader, writer: self.writer }
    }
}

impl<R: ErrorType, W> ErrorType for Halves<'_, R, W> {
    type Error = R::Error;
}

impl<R: Read, W> Read for Halves<'_, R, W> {
    async fn read(&mut self, room: &mut [u8]) -> Result<usize, R::Error> {
        self.reader.lock().await.read(room).await
    }
}

impl<R: ErrorType, W: Write<Error = R::Error>> Write for Halves<'_, R, W> {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, R::Error> {
        self.writer.lock().await.write(bytes).await
    }

    async fn flush(&mut self) -> Result<(), R::Error> {
        self.writer.lock().await.flush().await
    }
}
