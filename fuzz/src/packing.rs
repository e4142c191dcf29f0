//! Encoders: what they pack in pieces unpacks to what it was, by both sets of decoders and step by
//! step, in the room that was promised; damage of it ends in order.

use std::cell::RefCell;
use std::collections::HashMap;

use kavka_core::codec::{
    Codec, Codecs, Compact, CompactPack, Fault, PIECE, Pack, Step, Unpack, packed_room,
};
use kavka_std::Compression;
use kavka_std::codec::{Decoders, Encoders};

use crate::input::Input;
use crate::memory::still;

/// Most bytes of a batch: of one in eight inputs, of others, and at levels that take long.
const LIMIT: usize = 160 << 10;
const USUAL_LIMIT: usize = 6 << 10;
const LIMIT_OF_SLOW: usize = 2 << 10;
/// Most pieces of a batch.
const PIECES: usize = 64;
/// Batches that one engine packs.
const ROUNDS: usize = 3;
/// Bytes behind an output, and what they must still be afterwards.
const BEHIND: usize = 64;
const UNTOUCHED: u8 = 0xa5;

/// Reads codec, level and set, then batches: contents, pieces and what goes wrong.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let codec = input.pick(&Codec::ALL);
    let level = input.pick(&[3, 1, 6, 9, 0, -1, -7, -131_072, 2, 4, 5, 7, 8, 12, 19, 22]);
    let size = input.byte();
    let compression = match size {
        0 => Compression::new(codec),
        _ => Compression::new(codec).at_level(level),
    };
    let mut engine = match input.one_in(2) {
        true => Engine::Small(Box::new(CompactPack::new())),
        false => Engine::fast(compression),
    };
    if !engine.codecs().has(codec) {
        assert!(!engine.begin(codec, 1), "{codec}");
        assert!(!engine.begin_unpacking(codec), "{codec}");
        return;
    }
    let slow = compression.level().is_some_and(|level| level > 9);
    let limit = match size % 8 {
        _ if slow => LIMIT_OF_SLOW,
        7 => LIMIT,
        _ => USUAL_LIMIT,
    };
    let mut before: Option<(Batch, Vec<u8>)> = None;
    for _ in 0..ROUNDS {
        if input.is_empty() && before.is_some() {
            break;
        }
        let batch = Batch::read(&mut input, limit);
        match input.below(16) {
            14 => wrong_length(&mut engine, codec, &batch, input.number()),
            15 => too_little_room(&mut engine, codec, &batch, &mut input),
            _ => {}
        }
        let beside = before.as_ref().filter(|_| input.one_in(2));
        let packed = pack(&mut engine, codec, &batch, beside);
        unpacks(&mut engine, codec, &batch, &packed);
        damage(&mut engine, codec, &batch, &packed, &mut input);
        before = Some((batch, packed));
    }
    engine.keep(compression);
}

thread_local! {
    /// Libraries take long to create their memory, and producers keep it as well.
    static ENGINES: RefCell<HashMap<String, Box<Encoders>>> = RefCell::default();
    static DECODERS: RefCell<(Compact, Decoders)> = RefCell::default();
}

/// A set of encoders; the small one does not allocate.
enum Engine {
    Small(Box<CompactPack>),
    Fast(Box<Encoders>),
}

impl Engine {
    fn fast(compression: Compression) -> Self {
        let kept = ENGINES.with_borrow_mut(|engines| engines.remove(&compression.to_string()));
        Self::Fast(kept.unwrap_or_else(|| Box::new(Encoders::new(compression))))
    }

    fn keep(self, compression: Compression) {
        if let Self::Fast(engine) = self {
            ENGINES.with_borrow_mut(|engines| engines.insert(compression.to_string(), engine));
        }
    }
}

impl Pack for Engine {
    fn codecs(&self) -> Codecs {
        match self {
            Self::Small(engine) => engine.codecs(),
            Self::Fast(engine) => engine.codecs(),
        }
    }

    fn begin(&mut self, codec: Codec, len: usize) -> bool {
        match self {
            Self::Small(engine) => still(|| engine.begin(codec, len)),
            Self::Fast(engine) => engine.begin(codec, len),
        }
    }

    fn pack(&mut self, input: &[u8], last: bool, output: &mut [u8]) -> Option<usize> {
        match self {
            Self::Small(engine) => still(|| engine.pack(input, last, output)),
            Self::Fast(engine) => engine.pack(input, last, output),
        }
    }

    fn begin_unpacking(&mut self, codec: Codec) -> bool {
        match self {
            Self::Small(engine) => still(|| engine.begin_unpacking(codec)),
            Self::Fast(engine) => engine.begin_unpacking(codec),
        }
    }

    fn unpack(&mut self, input: &[u8], output: &mut [u8]) -> Option<Step> {
        match self {
            Self::Small(engine) => still(|| engine.unpack(input, output)),
            Self::Fast(engine) => engine.unpack(input, output),
        }
    }
}

/// The records of a batch, and the lengths of its pieces.
struct Batch {
    bytes: Vec<u8>,
    pieces: Vec<usize>,
}

impl Batch {
    fn read(input: &mut Input<'_>, limit: usize) -> Self {
        let mut bytes = Vec::new();
        for _ in 0..=input.below(8) {
            part(input, &mut bytes);
            bytes.truncate(limit);
        }
        // As a producer does, or of any length each.
        let all_alike = !input.one_in(4);
        let mut pieces = Vec::new();
        let (mut left, mut piece) = (bytes.len(), 0);
        while left > 0 {
            if piece == 0 || !all_alike {
                piece = length(input).max(bytes.len() / PIECES).clamp(1, PIECE);
            }
            let len = if pieces.len() < PIECES { piece.min(left) } else { PIECE.min(left) };
            pieces.push(len);
            left -= len;
        }
        if pieces.is_empty() {
            pieces.push(0);
        }
        Self { bytes, pieces }
    }

    /// The pieces, and whether each is the last one.
    fn each(&self) -> impl Iterator<Item = (&[u8], bool)> {
        let mut rest = &self.bytes[..];
        self.pieces.iter().enumerate().map(move |(at, len)| {
            let (piece, after) = rest.split_at(*len);
            rest = after;
            (piece, at + 1 == self.pieces.len())
        })
    }

    fn largest(&self) -> usize {
        self.pieces.iter().copied().max().unwrap_or(0)
    }
}

/// A length, mostly one around which encoders change their way.
fn length(input: &mut Input<'_>) -> usize {
    const EDGES: [usize; 16] =
        [0, 4, 12, 13, 15, 60, 64, 128, 255, 256, 1000, 4096, 8192, 0x4000, 0x8000, 0x1_0000];
    (input.pick(&EDGES) + input.below(32)).saturating_sub(2)
}

/// Appends bytes: literal ones, a run, noise, some of those before, or words.
fn part(input: &mut Input<'_>, to: &mut Vec<u8>) {
    let len = length(input);
    match input.below(5) {
        0 => to.extend_from_slice(input.take(len)),
        1 => to.resize(to.len() + len, input.byte()),
        2 => {
            let mut state = u64::from(input.byte()) << 8 | 1;
            // Fewer bits of each byte shrink.
            let mask = 0xff >> input.below(8);
            to.extend((0..len).map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                (state >> 40) as u8 & mask
            }));
        }
        3 if !to.is_empty() => {
            let back = 1 + length(input) % to.len();
            for _ in 0..len {
                to.push(to[to.len() - back]);
            }
        }
        _ => {
            let most = 1 + input.below(32);
            let word = input.take(most);
            let mut count = 0_u8;
            let end = to.len() + len;
            while to.len() < end {
                to.extend_from_slice(word);
                to.push(count);
                count = count.wrapping_mul(5).wrapping_add(1);
            }
            to.truncate(end);
        }
    }
}

/// Packs a piece; looks at the bytes behind the output.
fn piece(engine: &mut Engine, input: &[u8], last: bool, room: usize) -> Option<Vec<u8>> {
    let mut output = vec![UNTOUCHED; room + BEHIND];
    let len = engine.pack(input, last, &mut output[..room]);
    assert_eq!(output[room..], [UNTOUCHED; BEHIND], "written beyond the output");
    output.truncate(len?);
    assert!(output.len() <= room, "{} of {room} bytes", output.len());
    Some(output)
}

/// Packs a batch, and unpacks another one meanwhile.
fn pack(
    engine: &mut Engine,
    codec: Codec,
    batch: &Batch,
    beside: Option<&(Batch, Vec<u8>)>,
) -> Vec<u8> {
    assert!(engine.begin(codec, batch.bytes.len()), "{codec}");
    let mut packed = Vec::new();
    for (input, last) in batch.each() {
        let output = piece(engine, input, last, packed_room(input.len()));
        let output = output.unwrap_or_else(|| panic!("{codec}: the room is enough"));
        packed.extend_from_slice(&output);
        if let Some((other, packed)) = beside.filter(|_| batch.pieces.len() < 4) {
            assert_eq!(steps(engine, codec, other, packed).as_ref(), Some(&other.bytes), "{codec}");
        }
    }
    packed
}

/// Unpacks as a producer does: window and output for the largest piece, until all is there.
fn steps(engine: &mut Engine, codec: Codec, batch: &Batch, packed: &[u8]) -> Option<Vec<u8>> {
    assert!(engine.begin_unpacking(codec), "{codec}");
    let room = batch.largest();
    let mut output = vec![UNTOUCHED; room + BEHIND];
    let (mut at, mut all) = (0, Vec::new());
    while all.len() < batch.bytes.len() {
        let window = &packed[at..packed.len().min(at + packed_room(room))];
        let step = engine.unpack(window, &mut output[..room]);
        assert_eq!(output[room..], [UNTOUCHED; BEHIND], "written beyond the output");
        let Step { read, written } = step?;
        assert!(read <= window.len() && written <= room, "{read} read, {written} written");
        if read + written == 0 {
            return None;
        }
        at += read;
        all.extend_from_slice(&output[..written]);
    }
    Some(all)
}

/// Checks that all decoders give back what was packed.
fn unpacks(engine: &mut Engine, codec: Codec, batch: &Batch, packed: &[u8]) {
    let (bytes, len) = (&batch.bytes, batch.bytes.len());
    assert_eq!(steps(engine, codec, batch, packed).as_ref(), Some(bytes), "{codec} in steps");
    DECODERS.with_borrow_mut(|(compact, decoders)| {
        let mut out = vec![0; len];
        match compact.unpack(codec, packed, &mut out) {
            Err(Fault::Missing) => assert_eq!(codec, Codec::Zstd),
            unpacked => assert_eq!(unpacked.map(|len| &out[..len]), Ok(&bytes[..]), "{codec}"),
        }
        let mut out = Vec::new();
        let unpacked = decoders.unpack_to(codec, packed, &mut out, 0, len);
        assert_eq!(unpacked.map(|len| &out[..len]), Ok(&bytes[..]), "{codec}");
        if let Some(said) = decoders.unpacked_len(codec, packed) {
            assert_eq!(said, len as u64, "{codec}");
        }
    });
}

/// Begins with a wrong length: packing may fail, and the next batch is as good as ever.
fn wrong_length(engine: &mut Engine, codec: Codec, batch: &Batch, len: i64) {
    if engine.begin(codec, len as usize) {
        for (input, last) in batch.each() {
            if piece(engine, input, last, packed_room(input.len())).is_none() {
                break;
            }
        }
    }
}

/// Packs to outputs that may be too small.
fn too_little_room(engine: &mut Engine, codec: Codec, batch: &Batch, input: &mut Input<'_>) {
    assert!(engine.begin(codec, batch.bytes.len()), "{codec}");
    for (bytes, last) in batch.each() {
        let room = length(input).min(packed_room(bytes.len()));
        if piece(engine, bytes, last, room).is_none() {
            break;
        }
    }
}

/// Changes what was packed: unpacking it ends, and what it was can still be unpacked.
fn damage(engine: &mut Engine, codec: Codec, batch: &Batch, packed: &[u8], input: &mut Input<'_>) {
    let mut damaged = packed.to_vec();
    for _ in 0..input.below(4) {
        let place = (input.byte() as usize) << 8 | input.byte() as usize;
        let near = if input.one_in(2) { place } else { place & 0x3f };
        let at = near % damaged.len().max(1);
        match input.below(4) {
            0 => damaged.truncate(at),
            1 => drop(damaged.splice(at.., input.take(64).iter().copied())),
            _ => {
                if let Some(byte) = damaged.get_mut(at) {
                    *byte = input.byte();
                }
            }
        }
    }
    if damaged != packed {
        let _ = steps(engine, codec, batch, &damaged);
        assert_eq!(steps(engine, codec, batch, packed).as_ref(), Some(&batch.bytes), "{codec}");
    }
}
