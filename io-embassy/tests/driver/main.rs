//! The driver over two network stacks of embassy-net, with a simulated cluster behind the other
//! one, in virtual time. Every test runs from several seeds.

mod away;
mod bad_luck;
mod brokers;
mod cancel;
mod dead;
mod executor;
mod ipv6;
mod line;
mod link;
mod sleep;
mod stream;
mod tls;
mod wire;
