//! The network stack alone: gets an address, makes one TCP exchange, and ends.
//!
//! Arguments: `port` of a server on the host that sends back what it gets; with `starve=1` the task
//! stops instead, and the watchdog bites.

#![no_std]
#![no_main]

use core::future;

use embassy_executor::Spawner;
use embassy_net::tcp::TcpSocket;
use embassy_net::{Ipv4Address, Stack, StackResources};
use kavka_device::console::{self, Arguments, Line};
use kavka_device::{clock, executor, network, stack, watchdog};
use static_cell::ConstStaticCell;

static RESOURCES: ConstStaticCell<StackResources<3>> = ConstStaticCell::new(StackResources::new());
static RECEIVED: ConstStaticCell<[u8; 4096]> = ConstStaticCell::new([0; 4096]);
static TO_SEND: ConstStaticCell<[u8; 4096]> = ConstStaticCell::new([0; 4096]);

#[cortex_m_rt::entry]
fn main() -> ! {
    executor::start(|spawner| {
        let arguments = Arguments::read();
        let stack = network::start(spawner, arguments, RESOURCES.take(), 1);
        executor::spawn(spawner, app(spawner, stack, arguments));
    })
}

#[embassy_executor::task]
async fn app(spawner: Spawner, stack: Stack<'static>, arguments: &'static Arguments) {
    executor::spawn(spawner, watchdog::watch(1));
    network::up(stack).await;
    if arguments.number("starve", 0) != 0 {
        future::pending::<()>().await;
    }
    let echoed = echo(stack, arguments.number("port", 7)).await;
    let (used, size) = stack::used();
    Line::new("stack").number("used", used).number("size", size).print();
    Line::new("executor").number("polls", executor::polls()).print();
    console::exit(echoed.is_some())
}

async fn echo(stack: Stack<'_>, port: u32) -> Option<()> {
    let mut socket = TcpSocket::new(stack, RECEIVED.take(), TO_SEND.take());
    let host = (Ipv4Address::new(10, 0, 2, 2), port as u16);
    socket.connect(host).await.ok()?;
    let begun = clock::millis();
    let mut bytes = 0;
    while bytes < 1 << 20 {
        watchdog::report(0);
        let sent = socket.write(&[7; 1024]).await.ok()?;
        let mut back = 0;
        while back < sent {
            back += socket.read_with(|got| (got.len(), got.len())).await.ok()?;
        }
        bytes += sent;
    }
    Line::new("echo").number("bytes", bytes as u32).number("ms", clock::millis() - begun).print();
    socket.close();
    socket.flush().await.ok()
}
