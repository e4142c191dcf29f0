//! An adapter over the byte pipe: connects, sends and receives.

use kavka_core::{Action, Client, CloseReason, ConnId, Instant, Resources};

use crate::{micros, read_some, write_some};

/// One broker connection, two topics, eight partitions, 4 KiB in, 16 blocks of 512 bytes out.
pub type Memory = Resources<1, 2, 8, 4096, 16>;

// The promise to devices: everything fits into 20 KiB.
const _: () = assert!(size_of::<Memory>() <= 20 * 1024);

/// Returns the client's clock.
#[must_use]
pub fn now() -> Instant {
    Instant::from_micros(micros())
}

/// Runs one turn: does what the client requests, and moves bytes as far as the pipe allows.
pub fn turn(client: &mut Client<'_>, open: &mut Option<ConnId>) {
    let now = now();
    client.handle_timeout(now);
    while let Some(action) = client.poll_action(now) {
        match action {
            Action::Connect { conn } if client.address(conn).is_some() => {
                *open = Some(conn);
                client.handle_connected(now, conn);
            }
            Action::Connect { conn } => client.handle_closed(now, conn, CloseReason::Unresolved),
            _ => *open = None,
        }
    }
    let Some(conn) = *open else { return };
    loop {
        let Some(slices) = client.poll_transmit(now, conn) else { break };
        let mut sent = 0;
        for slice in slices {
            let len = write_some(slice);
            sent += len;
            if len < slice.len() {
                break;
            }
        }
        if sent == 0 {
            break;
        }
        client.handle_transmitted(now, conn, sent);
    }
    let len = read_some(client.recv_buffer(conn));
    if len > 0 {
        client.handle_received(now, conn, len);
    }
}
