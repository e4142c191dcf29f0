//! How long packing keeps the background thread from anything else: batches of 1 MB of JSON, at
//! the pace of the codec and its level, in CPU time of the thread.
//!
//!     cargo bench -p kavka-std --bench pack --features zstd [-- gzip:4 zstd:5]
#![allow(
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc,
    missing_docs,
    reason = "an ordinary program for hosts"
)]

use std::fmt::Write as _;
use std::time::Duration;

use kavka_std::Compression;
use kavka_std::codec::Encoders;
use kavka_std::kavka_core::codec::{PIECE, Pack, packed_room};

const BATCH: usize = 1 << 20;
const ROUNDS: usize = 12;

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
        "{:<10} {:>6} {:>8} {:>8} {:>12} {:>12}",
        "codec", "ratio", "MB/s", "turn", "median", "longest"
    );
    let named: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let usual = "snappy lz4 zstd:-5 zstd:1 zstd:3 zstd:6 zstd:9 zstd:12 gzip:1 gzip:6 gzip:9";
    let usual = usual.split(' ').map(str::to_owned).collect();
    for text in if named.is_empty() { usual } else { named } {
        let Ok(compression) = text.parse::<Compression>() else { continue };
        let Some(codec) = compression.codec() else { continue };
        let mut encoders = Encoders::new(compression);
        if !encoders.codecs().has(codec) {
            continue;
        }
        let mut output = vec![0; packed_room(PIECE)];
        let (mut turns, mut packed, mut pace) = (Vec::new(), 0, 0);
        for _ in 0..rounds {
            encoders.begin(codec, BATCH);
            packed = 0;
            pace = encoders.pace();
            let mut left = BATCH;
            for turn in input.chunks(pace) {
                let begun = cpu();
                for piece in turn.chunks(PIECE) {
                    left -= piece.len();
                    packed += encoders.pack(piece, left == 0, &mut output).expect("packed");
                }
                turns.push(cpu() - begun);
            }
        }
        turns.sort();
        let all: Duration = turns.iter().sum();
        println!(
            "{text:<10} {:>6.2} {:>8.0} {:>4} KiB {:>12.2?} {:>12.2?}",
            BATCH as f64 / packed as f64,
            (rounds * BATCH) as f64 / 1e6 / all.as_secs_f64(),
            pace >> 10,
            turns[turns.len() / 2],
            turns[turns.len() - 1],
        );
    }
}

/// CPU time of this thread.
fn cpu() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec.unsigned_abs(), now.tv_nsec as u32)
}
