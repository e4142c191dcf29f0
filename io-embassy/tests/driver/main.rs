//! The driver over two network stacks of embassy-net, with a simulated cluster behind the other
//! one, in virtual time. Every test runs from several seeds.

mod bad_luck;
mod brokers;
mod cancel;
mod executor;
mod link;
mod sleep;
mod stream;
mod wire;
