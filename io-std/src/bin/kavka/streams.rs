//! Stdin and stdout, whose errors name them. Those of the standard library hide some: a stream that
//! was closed before the start is `/dev/null` to it, and one opened the wrong way takes everything.

use core::sync::atomic::{AtomicU64, Ordering};
use std::io::{self, BufWriter, Write};

use super::Failure;

#[cfg(unix)]
type Raw = std::fs::File;
#[cfg(not(unix))]
type Raw = io::Stdout;

/// Buffered stdout.
pub(super) type Out = BufWriter<Watched>;

/// Begins and ends of writes to stdout.
static WRITES: AtomicU64 = AtomicU64::new(0);

/// Stdout; one can see from another thread whether a write to it hangs.
pub(super) struct Watched(Raw);

impl Write for Watched {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        WRITES.fetch_add(1, Ordering::AcqRel);
        let written = self.0.write(bytes);
        WRITES.fetch_add(1, Ordering::AcqRel);
        written
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// The write that hangs now, if there is one.
pub(super) fn writing() -> Option<u64> {
    Some(WRITES.load(Ordering::Acquire)).filter(|writes| writes % 2 == 1)
}

/// Opens stdout. Before anything is requested, so that nothing is done that could not be reported.
pub(super) fn out() -> Result<Out, Failure> {
    Ok(BufWriter::with_capacity(64 << 10, Watched(raw_out().map_err(Failure::Stdout)?)))
}

#[cfg(unix)]
fn raw_out() -> io::Result<Raw> {
    use std::os::fd::AsFd;
    if at_start::stdout_was_closed() {
        return Err(io::Error::other("it is closed"));
    }
    Ok(io::stdout().as_fd().try_clone_to_owned()?.into())
}

#[cfg(not(unix))]
fn raw_out() -> io::Result<Raw> {
    Ok(io::stdout())
}

/// Opens stdin.
#[cfg(unix)]
pub(super) fn input() -> Result<impl io::BufRead, Failure> {
    use std::os::fd::AsFd;
    let owned = io::stdin().as_fd().try_clone_to_owned().map_err(stdin)?;
    Ok(io::BufReader::with_capacity(64 << 10, std::fs::File::from(owned)))
}

#[cfg(not(unix))]
pub(super) fn input() -> Result<impl io::BufRead, Failure> {
    Ok(io::stdin().lock())
}

/// Why stdin cannot be read.
pub(super) fn stdin(error: io::Error) -> Failure {
    Failure::Failed(format!("stdin: {error}"))
}

/// Whether stdout was open, noted before the standard library puts `/dev/null` in its place.
#[cfg(target_os = "linux")]
mod at_start {
    use core::sync::atomic::{AtomicBool, Ordering};

    static CLOSED: AtomicBool = AtomicBool::new(false);

    extern "C" fn note() {
        let open = rustix::io::fcntl_getfd(rustix::stdio::stdout()).is_ok();
        CLOSED.store(!open, Ordering::Relaxed);
    }

    // SAFETY: the section is a list of such functions, called before `main`. This one needs
    // nothing that is set up later: it makes one system call.
    #[used]
    #[unsafe(link_section = ".init_array")]
    static NOTE: extern "C" fn() = note;

    pub(super) fn stdout_was_closed() -> bool {
        CLOSED.load(Ordering::Relaxed)
    }
}

#[cfg(all(unix, not(target_os = "linux")))]
mod at_start {
    pub(super) fn stdout_was_closed() -> bool {
        false
    }
}
