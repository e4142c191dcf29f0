//! The network stack on the board's Ethernet.

use embassy_executor::Spawner;
use embassy_net::{Config, Ipv4Address, Ipv4Cidr, Runner, Stack, StackResources, StaticConfigV4};

use crate::console::{self, Arguments, Line};
use crate::lan9118::Lan9118;
use crate::{board, clock, executor};

/// QEMU's user network: this board, and the host with its name server.
const BOARD: Ipv4Cidr = Ipv4Cidr::new(Ipv4Address::new(10, 0, 2, 15), 24);
const HOST: Ipv4Address = Ipv4Address::new(10, 0, 2, 2);

#[embassy_executor::task]
async fn run(mut runner: Runner<'static, Lan9118>) -> ! {
    runner.run().await
}

/// Starts the stack: with the address that DHCP gives, or with argument `address=fixed` without.
///
/// `connections` TCP connections at a time share the controller's memory.
#[inline(never)] // or its frame would be part of every poll of the task that starts it
pub fn start<const SOCKETS: usize>(
    spawner: Spawner,
    arguments: &Arguments,
    resources: &'static mut StackResources<SOCKETS>,
    connections: usize,
) -> Stack<'static> {
    let ethernet = console::need(Lan9118::start(connections), "ethernet");
    board::enable_ethernet();
    let config = if arguments.get("address") == Some("fixed") {
        let mut fixed =
            StaticConfigV4 { address: BOARD, gateway: Some(HOST), dns_servers: Default::default() };
        let _ = fixed.dns_servers.push(HOST);
        Config::ipv4_static(fixed)
    } else {
        Config::dhcpv4(Default::default())
    };
    let seed = u64::from(arguments.number("seed", 1));
    let (stack, runner) = embassy_net::new(ethernet, config, resources, seed);
    executor::spawn(spawner, run(runner));
    stack
}

/// Waits for an address, and prints it.
pub async fn up(stack: Stack<'_>) {
    stack.wait_config_up().await;
    Line::new("up").number("ms", clock::millis()).print();
}
