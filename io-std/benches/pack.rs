//! How long packing keeps the background thread from anything else: batches of 1 MB of JSON, at
//! the pace of the core, 256 KiB in a turn of the loop.
//!
//!     cargo bench -p kavka-std --bench pack --features zstd
#![allow(
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc,
    missing_docs,
    reason = "an ordinary program for hosts"
)]

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use kavka_std::Compression;
use kavka_std::codec::Encoders;
use kavka_std::kavka_core::codec::{PIECE, Pack, packed_room};

const BATCH: usize = 1 << 20;
/// Pieces that are packed in a turn.
const TURN: usize = 4;
const ROUNDS: usize = 40;

fn main() {
    // `cargo test` runs it, too.
    let rounds = if std::env::args().any(|arg| arg == "--bench") { ROUNDS } else { 1 };
    let mut input = String::new();
    for n in 0.. {
        let (room, level) = (n * 7919 % 97, n * 104_729 % 1000);
        let _ = write!(input, r#"{{"sensor":"pump-{room}","at":{n},"level":{level}}}"#);
        if input.len() >= BATCH {
            break;
        }
    }
    let input = &input.as_bytes()[..BATCH];
    println!(
        "{:<10} {:>6} {:>8} {:>12} {:>12}",
        "codec", "ratio", "MB/s", "median turn", "longest"
    );
    for text in ["snappy", "lz4", "zstd:1", "zstd:3", "zstd:9", "gzip:1", "gzip:6", "gzip:9"] {
        let Ok(compression) = text.parse::<Compression>() else { continue };
        let Some(codec) = compression.codec() else { continue };
        let mut encoders = Encoders::new(compression);
        if !encoders.codecs().has(codec) {
            continue;
        }
        let mut output = vec![0; packed_room(PIECE)];
        let (mut turns, mut packed) = (Vec::new(), 0);
        for _ in 0..rounds {
            encoders.begin(codec, BATCH);
            packed = 0;
            let pieces: Vec<_> = input.chunks(PIECE).collect();
            let last = pieces.len() - 1;
            for (turn, pieces) in pieces.chunks(TURN).enumerate() {
                let begun = Instant::now();
                for (n, piece) in pieces.iter().enumerate() {
                    let is_last = turn * TURN + n == last;
                    packed += encoders.pack(piece, is_last, &mut output).expect("packed");
                }
                turns.push(begun.elapsed());
            }
        }
        turns.sort();
        let all: Duration = turns.iter().sum();
        println!(
            "{text:<10} {:>6.2} {:>8.0} {:>12.2?} {:>12.2?}",
            BATCH as f64 / packed as f64,
            (rounds * BATCH) as f64 / 1e6 / all.as_secs_f64(),
            turns[turns.len() / 2],
            turns[turns.len() - 1],
        );
    }
}
