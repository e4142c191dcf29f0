//! Setups and steps that many tests share.

mod cluster;
mod consume;
mod produce;

pub use cluster::{
    changed, count, disconnected, events, growths, metadata, poke, ready, recreated, with_id,
};
pub use consume::{
    Move, after, batch, fetch_at, fetch_with, moves, reading, reading_with, values, wanted,
};
pub use produce::{configured, next, send, small, take_all, warm, warm_up};
