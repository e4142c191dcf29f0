//! What the examples share: the board, its network, and what it tells the host.

#![no_std]

pub mod board;
pub mod clock;
pub mod console;
pub mod executor;
pub mod lan9118;
pub mod network;
pub mod stack;
pub mod watchdog;
