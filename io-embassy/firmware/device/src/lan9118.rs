//! Driver of the LAN9118 Ethernet controller: frames go through two FIFOs, word by word.
//!
//! The interrupt does no more than to mask itself and to wake the network task. Numbers are those
//! of the SMSC LAN9118 data sheet.

use core::ptr;
use core::sync::atomic::AtomicU32;
use core::sync::atomic::Ordering::Relaxed;
use core::task::Context;

use embassy_net_driver::{Capabilities, Driver, HardwareAddress, LinkState};
use embassy_sync::blocking_mutex::raw::CriticalSectionRawMutex;
use embassy_sync::waitqueue::GenericAtomicWaker;

use static_cell::ConstStaticCell;

use crate::board;

/// An Ethernet frame without its checksum.
const FRAME: usize = 1514;
/// The checksum, which the controller leaves behind a frame.
const FCS: usize = 4;
/// A frame with its two command words, rounded up.
const TX_ROOM: u32 = FRAME as u32 + 16;
/// Full frames that the receive FIFO of 10,560 bytes holds; what comes beyond is lost.
const RX_FRAMES: usize = 6;

const RX_DATA: usize = 0x00;
const TX_DATA: usize = 0x20;
const RX_STATUS: usize = 0x40;
const TX_STATUS: usize = 0x48;
const IRQ_CFG: usize = 0x54;
const INT_STS: usize = 0x58;
const INT_EN: usize = 0x5C;
const BYTE_TEST: usize = 0x64;
const FIFO_INT: usize = 0x68;
const RX_CFG: usize = 0x6C;
const TX_CFG: usize = 0x70;
const HW_CFG: usize = 0x74;
const RX_DP_CTL: usize = 0x78;
const RX_FIFO_INF: usize = 0x7C;
const TX_FIFO_INF: usize = 0x80;
const MAC_CSR_CMD: usize = 0xA4;
const MAC_CSR_DATA: usize = 0xA8;

/// Registers behind `MAC_CSR_CMD`.
const MAC_CR: u32 = 1;
const MAC_ADDRH: u32 = 2;
const MAC_ADDRL: u32 = 3;
const MII_ACC: u32 = 6;
const MII_DATA: u32 = 7;

/// Registers of the PHY, behind `MII_ACC`.
const PHY_STATUS: u32 = 1;
const PHY_INTERRUPTS: u32 = 29;
const PHY_INTERRUPT_MASK: u32 = 30;
const LINK_UP: u32 = 1 << 2;
/// Negotiation is over, or the link is down.
const LINK_NEWS: u32 = 1 << 6 | 1 << 4;

const INT_FRAME: u32 = 1 << 3; // more frames than FIFO_INT allows
const INT_ROOM: u32 = 1 << 9; // more room to send than FIFO_INT requests
const INT_PHY: u32 = 1 << 18;
const BUSY: u32 = 1 << 31;

static WAKER: GenericAtomicWaker<CriticalSectionRawMutex> =
    GenericAtomicWaker::new(CriticalSectionRawMutex::new());

fn read(register: usize) -> u32 {
    // SAFETY: a register of the controller, which stays mapped.
    unsafe { ptr::read_volatile((board::ETHERNET + register) as *const u32) }
}

fn write(register: usize, value: u32) {
    // SAFETY: as above.
    unsafe { ptr::write_volatile((board::ETHERNET + register) as *mut u32, value) }
}

fn wait_while(register: usize, bit: u32) {
    while read(register) & bit != 0 {}
}

fn mac_read(index: u32) -> u32 {
    write(MAC_CSR_CMD, BUSY | 1 << 30 | index);
    wait_while(MAC_CSR_CMD, BUSY);
    read(MAC_CSR_DATA)
}

fn mac_write(index: u32, value: u32) {
    write(MAC_CSR_DATA, value);
    write(MAC_CSR_CMD, BUSY | index);
    wait_while(MAC_CSR_CMD, BUSY);
}

/// One exchange with the PHY, which has address 1.
fn mii(register: u32, direction: u32) {
    mac_write(MII_ACC, 1 << 11 | register << 6 | direction << 1 | 1);
    while mac_read(MII_ACC) & 1 != 0 {}
}

fn phy_read(register: u32) -> u32 {
    mii(register, 0);
    mac_read(MII_DATA)
}

fn phy_write(register: u32, value: u32) {
    mac_write(MII_DATA, value);
    mii(register, 1);
}

/// To be called when the controller interrupts.
pub fn on_interrupt() {
    write(INT_EN, 0);
    WAKER.wake();
}

/// Whole words that hold a frame.
type Frame = [u8; FRAME + FCS + 2];

// Not in the driver itself, which is moved several times until the network task runs: each move
// would be three kilobytes of stack.
static FRAMES: ConstStaticCell<[Frame; 2]> = ConstStaticCell::new([[0; FRAME + FCS + 2]; 2]);

/// The controller.
pub struct Lan9118 {
    address: [u8; 6],
    received: &'static mut Frame,
    to_send: &'static mut Frame,
    burst: usize,
    link: LinkState,
}

impl Lan9118 {
    /// Resets and starts the controller; `None` where there is none, and the second time.
    ///
    /// Its FIFO holds six frames: each of `connections` may have its share in flight (of one
    /// frame, each would wait for a delayed acknowledgement).
    #[must_use]
    pub fn start(connections: usize) -> Option<Self> {
        if read(BYTE_TEST) != 0x8765_4321 {
            return None;
        }
        write(HW_CFG, 1);
        wait_while(HW_CFG, 1);
        write(HW_CFG, 1 << 20 | 5 << 16); // must be 1; 5 KiB to send, the rest to receive
        write(INT_EN, 0);
        write(INT_STS, !0);
        write(FIFO_INT, TX_ROOM.div_ceil(64) << 24);
        write(IRQ_CFG, 1 << 8 | 1 << 4 | 1); // on, active high, push-pull
        write(RX_CFG, 0);
        write(TX_CFG, 1 << 15 | 1 << 14); // empties the FIFOs
        write(TX_CFG, 1 << 2 | 1 << 1); // on; old statuses may be lost
        phy_write(PHY_INTERRUPT_MASK, LINK_NEWS);
        let (low, high) = (mac_read(MAC_ADDRL).to_le_bytes(), mac_read(MAC_ADDRH).to_le_bytes());
        mac_write(MAC_CR, 1 << 20 | 1 << 3 | 1 << 2); // full duplex, both ways on
        let [received, to_send] = FRAMES.try_take()?;
        Some(Self {
            address: [low[0], low[1], low[2], low[3], high[0], high[1]],
            received,
            to_send,
            burst: (RX_FRAMES / connections.max(1)).max(2),
            link: link(),
        })
    }
}

fn link() -> LinkState {
    if phy_read(PHY_STATUS) & LINK_UP != 0 { LinkState::Up } else { LinkState::Down }
}

fn can_send() -> bool {
    read(TX_FIFO_INF) & 0xFFFF >= TX_ROOM
}

fn has_frame() -> bool {
    read(RX_FIFO_INF) >> 16 & 0xFF != 0
}

/// True when `holds` does; else the interrupt wakes the task once it may. Checked again after the
/// interrupt is on, as the news may have come in between.
fn holds_or_wakes(cx: &Context, interrupt: u32, holds: fn() -> bool) -> bool {
    if holds() {
        return true;
    }
    WAKER.register(cx.waker());
    write(INT_STS, interrupt);
    critical_section::with(|_| write(INT_EN, read(INT_EN) | interrupt | INT_PHY));
    holds()
}

impl Driver for Lan9118 {
    type RxToken<'a> = Received<'a>;
    type TxToken<'a> = ToSend<'a>;

    fn receive(&mut self, cx: &mut Context) -> Option<(Received<'_>, ToSend<'_>)> {
        loop {
            // A frame is taken only when a reply to it can be sent.
            if !holds_or_wakes(cx, INT_FRAME, has_frame) || !holds_or_wakes(cx, INT_ROOM, can_send)
            {
                return None;
            }
            let status = read(RX_STATUS);
            let len = (status >> 16 & 0x3FFF) as usize;
            if status & 1 << 15 == 0 && (14 + FCS..=FRAME + FCS).contains(&len) {
                for word in self.received.chunks_exact_mut(4).take(len.div_ceil(4)) {
                    word.copy_from_slice(&read(RX_DATA).to_le_bytes());
                }
                let frame = self.received.get_mut(..len - FCS).unwrap_or_default();
                return Some((Received(frame), ToSend(self.to_send)));
            }
            write(RX_DP_CTL, BUSY); // a bad frame: go past it
            wait_while(RX_DP_CTL, BUSY);
        }
    }

    fn transmit(&mut self, cx: &mut Context) -> Option<ToSend<'_>> {
        holds_or_wakes(cx, INT_ROOM, can_send).then_some(ToSend(self.to_send))
    }

    fn link_state(&mut self, cx: &mut Context) -> LinkState {
        WAKER.register(cx.waker());
        if read(INT_STS) & INT_PHY != 0 {
            let _ = phy_read(PHY_INTERRUPTS); // reading clears them
            self.link = link();
        }
        self.link
    }

    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::default();
        capabilities.max_transmission_unit = FRAME;
        capabilities.max_burst_size = Some(self.burst);
        capabilities
    }

    fn hardware_address(&self) -> HardwareAddress {
        HardwareAddress::Ethernet(self.address)
    }
}

/// A frame that came.
pub struct Received<'a>(&'a mut [u8]);

impl embassy_net_driver::RxToken for Received<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, f: F) -> R {
        f(self.0)
    }
}

/// Bytes of all frames that were sent.
static SENT: AtomicU32 = AtomicU32::new(0);

/// Returns how many bytes of frames were sent since the start: headers of Ethernet, IP and TCP and
/// acknowledgements of what was received are part of it.
pub fn sent() -> u32 {
    SENT.load(Relaxed)
}

/// Space for a frame that is sent.
pub struct ToSend<'a>(&'a mut [u8]);

impl embassy_net_driver::TxToken for ToSend<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let len = len.min(FRAME);
        let result = f(&mut self.0[..len]);
        SENT.fetch_add(len as u32, Relaxed);
        while read(TX_FIFO_INF) >> 16 & 0xFF != 0 {
            let _ = read(TX_STATUS); // of frames sent before
        }
        write(TX_DATA, 1 << 13 | 1 << 12 | len as u32); // first and last piece
        write(TX_DATA, len as u32);
        for word in self.0.chunks_exact(4).take(len.div_ceil(4)) {
            let mut bytes = [0; 4];
            bytes.copy_from_slice(word);
            write(TX_DATA, u32::from_le_bytes(bytes));
        }
        result
    }
}
