//! The board, its network and its watchdog, without Kafka.

use core::time::Duration;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::thread;

use crate::Failure;
use crate::board::{Board, Setup};

/// Gets an address, and a MiB back that it sends. Then a board whose task stops is ended by its
/// watchdog.
pub(crate) fn run() -> Result<(), Failure> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let port = listener.local_addr()?.port();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept()?;
        let mut bytes = [0; 16 * 1024];
        loop {
            let len = stream.read(&mut bytes)?;
            if len == 0 {
                return Ok::<(), std::io::Error>(());
            }
            stream.write_all(&bytes[..len])?;
        }
    });
    let board = Board::start(&Setup::new("network").argument("port", port))?;
    let up = board.wait("up", Duration::from_secs(20), |_| Ok(()))?;
    let echo = board.wait("echo", Duration::from_secs(60), |_| Ok(()))?;
    let stack = board.wait("stack", Duration::from_secs(5), |_| Ok(()))?;
    println!(
        "address after {} ms, {} bytes there and back in {} ms, stack {} B",
        up.number("ms")?,
        echo.number("bytes")?,
        echo.number("ms")?,
        stack.number("used")?
    );
    drop(board);
    let starved = Board::start(&Setup::new("network").argument("starve", 1))?;
    let up = starved.wait("up", Duration::from_secs(20), |_| Ok(()))?;
    let bite = starved.bite(Duration::from_secs(20))?;
    let after = bite.at.saturating_duration_since(up.at);
    println!("the watchdog of a board that stopped bites after {:.1} s", after.as_secs_f32());
    Ok(())
}
