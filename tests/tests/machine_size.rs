//! The memory of a device: `Resources` for one connection of 4 KiB, 8 KiB to send, two topics and
//! eight partitions in use.

use kavka_core::{BLOCK_BYTES, Client, Resources};

type Device = Resources<1, 2, 8, 4096, 16>;

/// The promised total for this device, in bytes, with all that a host build has: logins,
/// reasons, groups, aborted transactions.
const PROMISED: usize = 23 * 1024;

#[test]
fn a_device_needs_23_kib() {
    let size = size_of::<Device>();
    let buffers = 4096 + 16 * BLOCK_BYTES;
    assert!(size > buffers, "{size} bytes hold {buffers} bytes of buffers");
    assert!(size <= PROMISED, "{size} bytes, {PROMISED} promised");
}

/// What is on the stack or in a task beside `Resources`, with all features and links of a server.
#[test]
fn the_client_itself_is_small() {
    let size = size_of::<Client<'_>>();
    assert!(size <= 4500, "{size} bytes");
}
