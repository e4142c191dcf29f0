//! Two network stacks of embassy-net with a cable between them.

use core::cell::Cell;
use core::task::{Context, Waker};
use std::collections::VecDeque;
use std::rc::Rc;

use embassy_net::{
    Config, ConfigV6, Ipv4Address, Ipv4Cidr, Ipv6Address, Ipv6Cidr, Runner, Stack, StackResources,
    StaticConfigV4, StaticConfigV6,
};
use embassy_net_driver::{Capabilities, Driver, HardwareAddress, LinkState, RxToken, TxToken};
use kavka_tests::sim::Rng;

use crate::executor::{Executor, Shared, shared};

/// Addresses of the stack with the brokers.
pub(crate) const BROKERS: Ipv4Address = v4(1);
pub(crate) const BROKERS_V6: Ipv6Address = v6(1);

/// On the same link as everybody else.
pub(crate) const fn v4(number: u8) -> Ipv4Address {
    Ipv4Address::new(10, 0, 0, number)
}

const fn v6(number: u8) -> Ipv6Address {
    Ipv6Address::new(0xfd00, 0, 0, 0, 0, 0, 0, number as u16)
}

/// One direction of the cable.
struct Lane {
    packets: VecDeque<Vec<u8>>,
    reader: Option<Waker>,
    loss: Rc<Cell<u64>>,
    rng: Rng,
}

/// One end of the cable.
struct Port {
    from: Shared<Lane>,
    to: Shared<Lane>,
    hardware: HardwareAddress,
}

struct Packet(Vec<u8>);
struct Send<'a>(&'a Shared<Lane>);

impl RxToken for Packet {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(mut self, f: F) -> R {
        f(&mut self.0)
    }
}

impl TxToken for Send<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut packet = vec![0; len];
        let result = f(&mut packet);
        let mut lane = self.0.borrow_mut();
        if lane.rng.below(100) < lane.loss.get() {
            return result;
        }
        lane.packets.push_back(packet);
        if let Some(reader) = lane.reader.take() {
            reader.wake();
        }
        result
    }
}

impl Driver for Port {
    type RxToken<'a> = Packet;
    type TxToken<'a> = Send<'a>;

    fn receive(&mut self, cx: &mut Context<'_>) -> Option<(Packet, Send<'_>)> {
        let mut lane = self.from.borrow_mut();
        if let Some(packet) = lane.packets.pop_front() {
            return Some((Packet(packet), Send(&self.to)));
        }
        lane.reader = Some(cx.waker().clone());
        None
    }

    fn transmit(&mut self, _: &mut Context<'_>) -> Option<Send<'_>> {
        Some(Send(&self.to))
    }

    fn link_state(&mut self, _: &mut Context<'_>) -> LinkState {
        LinkState::Up
    }

    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::default();
        capabilities.max_transmission_unit = 1500;
        capabilities
    }

    fn hardware_address(&self) -> HardwareAddress {
        self.hardware
    }
}

/// The device's stack and that of the brokers, both running.
pub(crate) fn cable(executor: &mut Executor) -> (Stack<'static>, Stack<'static>) {
    bad_cable(executor, &Rc::new(Cell::new(0)))
}

/// The same as Ethernet: a sender first requests the link address.
pub(crate) fn ethernet(executor: &mut Executor) -> (Stack<'static>, Stack<'static>) {
    let hardware = |number| HardwareAddress::Ethernet([2, 0, 0, 0, 0, number]);
    lay(executor, &Rc::new(Cell::new(0)), [hardware(2), hardware(1)])
}

/// The same with a cable that loses so many of 100 packets, from now on; 100: it is cut.
pub(crate) fn bad_cable(
    executor: &mut Executor,
    loss: &Rc<Cell<u64>>,
) -> (Stack<'static>, Stack<'static>) {
    lay(executor, loss, [HardwareAddress::Ip; 2])
}

fn lay(
    executor: &mut Executor,
    loss: &Rc<Cell<u64>>,
    hardware: [HardwareAddress; 2],
) -> (Stack<'static>, Stack<'static>) {
    let lane = |seed| {
        let (packets, loss) = (VecDeque::new(), loss.clone());
        shared(Lane { packets, reader: None, loss, rng: Rng(seed) })
    };
    let (there, back) = (lane(1), lane(2));
    let device = Port { from: back.clone(), to: there.clone(), hardware: hardware[0] };
    let brokers = Port { from: there, to: back, hardware: hardware[1] };
    (stack(executor, device, 2), stack(executor, brokers, 1))
}

fn stack(executor: &mut Executor, port: Port, number: u8) -> Stack<'static> {
    let mut old = StaticConfigV4 {
        address: Ipv4Cidr::new(v4(number), 24),
        gateway: None,
        dns_servers: Default::default(),
    };
    old.dns_servers.push(BROKERS).expect("room for one");
    let mut config = Config::ipv4_static(old);
    config.ipv6 = ConfigV6::Static(StaticConfigV6 {
        address: Ipv6Cidr::new(v6(number), 64),
        gateway: None,
        dns_servers: Default::default(),
    });
    let resources = Box::leak(Box::new(StackResources::<32>::new()));
    let (stack, runner) = embassy_net::new(port, config, resources, number.into());
    executor.spawn(run(runner));
    stack
}

async fn run(mut runner: Runner<'static, Port>) {
    runner.run().await;
}
