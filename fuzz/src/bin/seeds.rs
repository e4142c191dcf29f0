//! Creates seeds from the project's golden bytes: `seeds FOLDER` writes `FOLDER/TARGET/NAME`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use kafka_protocol::messages::ApiKey;
use kavka_core::record::{BatchHeader, HEADER_LEN, parse_old};
use kavka_core::wire::{ApiKey as Key, Step, header};
use kavka_fuzz::apis::{APIS, versions};
use serde_json::Value;

/// Largest vector; longer ones add nothing for a fuzzer.
const LONGEST: usize = 2000;
/// Number of vectors of one API and version.
const ENOUGH: usize = 6;

fn main() {
    let folder = PathBuf::from(std::env::args().nth(1).expect("usage: seeds FOLDER"));
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data");
    let mut count = responses(&data, &folder);
    count += records(&data, &folder);
    count += message_sets(&data, &folder);
    count += conversations(&folder);
    count += packing(&folder);
    println!("{count} seeds in {}", folder.display());
}

fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    text.lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect()
}

fn bytes(line: &Value) -> Vec<u8> {
    let digits = line["hex"].as_str().expect("hex").as_bytes();
    let byte = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).expect("ASCII"), 16);
    digits.chunks(2).map(|pair| byte(pair).expect("hexadecimal")).collect()
}

fn write(folder: &Path, target: &str, name: &str, seed: &[u8]) {
    let folder = folder.join(target);
    std::fs::create_dir_all(&folder).expect("a folder can be made");
    std::fs::write(folder.join(name), seed).expect("a seed can be written");
}

/// Writes bodies of responses, for `responses` and `differential`.
fn responses(data: &Path, folder: &Path) -> usize {
    let files = ["vectors/wire_vectors.jsonl", "vectors/wire_recorded.jsonl"];
    let mut seen = Vec::new();
    for line in files.iter().flat_map(|file| lines(&data.join(file))) {
        let text = |name: &str| line[name].as_str().expect(name).to_owned();
        let api = APIS.iter().position(|api| format!("{api:?}") == text("api"));
        let Some(api) = api.filter(|_| text("direction") == "response") else { continue };
        let version = line["version"].as_i64().expect("a version") as i16;
        let body = body(&text("framing"), APIS[api], version, &bytes(&line));
        let like = seen.iter().filter(|known| **known == (api, version)).count();
        let (first, last) = versions(APIS[api]);
        if body.len() > LONGEST || like >= ENOUGH || !(first..=last).contains(&version) {
            continue;
        }
        seen.push((api, version));
        let place = [api as u8, (version - first) as u8];
        let name = format!("{}-{version}-{like}", text("api"));
        write(folder, "differential", &name, &[&place, &body[..]].concat());
        // Pieces of 1, 7, 60 and 3 bytes; a buffer of 64.
        let feed = [0, 6, 59, 2, 54];
        write(folder, "responses", &name, &[&place, &feed[..], &body].concat());
    }
    seen.len()
}

/// Returns a frame without length and header.
fn body(framing: &str, api: ApiKey, version: i16, bytes: &[u8]) -> Vec<u8> {
    let mut rest = match framing {
        "body" => return bytes.to_vec(),
        "frame" => &bytes[8..],
        _ => &bytes[4..],
    };
    if header::response_tags(Key(api as i16), version) {
        assert_eq!(header::Tags::new().step(&mut rest), Ok(Step::Done), "{api:?} v{version}");
    }
    rest.to_vec()
}

/// Writes record batches as they are, and with flags for what to repair after a change.
fn records(data: &Path, folder: &Path) -> usize {
    let mut seen = BTreeSet::new();
    for file in ["records/vectors.jsonl", "records/recorded.jsonl"] {
        for line in lines(&data.join(file)) {
            let bytes = bytes(&line);
            // One of each size is enough.
            if bytes.len() <= LONGEST && seen.insert(bytes.len()) {
                let name = format!("batch-{}", bytes.len());
                write(folder, "records", &name, &[&[7, 0], &bytes[..]].concat());
                packed(folder, &bytes);
            }
        }
    }
    seen.len()
}

/// Writes message sets as they are, with flags for what to repair, and what is inside of compressed
/// ones, for `codecs`.
fn message_sets(data: &Path, folder: &Path) -> usize {
    let mut seen = BTreeSet::new();
    for line in lines(&data.join("records/old.jsonl")) {
        let bytes = bytes(&line);
        let Ok(header) = parse_old(&bytes) else { continue };
        if bytes.len() <= LONGEST && seen.insert(bytes.len()) {
            let name = format!("set-{}", bytes.len());
            write(folder, "records", &name, &[&[8 + 16 + 2 + 4 + 32, 0], &bytes[..]].concat());
        }
        if let Some(place) = header.codec().checked_sub(1) {
            let body = header.body(&bytes);
            let name = format!("{place}-set-{}", body.len());
            write(folder, "codecs", &name, &[&[place], body].concat());
        }
    }
    seen.len()
}

/// Writes the compressed records of a batch, for `codecs`.
fn packed(folder: &Path, bytes: &[u8]) {
    let Ok(header) = BatchHeader::parse(bytes) else { return };
    let body = bytes.get(HEADER_LEN..header.total_len()).unwrap_or_default();
    if let Some(place) = header.codec().checked_sub(1).filter(|place| *place < 4) {
        let name = format!("{place}-{}", body.len());
        write(folder, "codecs", &name, &[&[place], body].concat());
    }
}

/// Writes calls that make a client send and read, each in some orders.
fn conversations(folder: &Path) -> usize {
    let mut count = 0;
    for memory in 0..4_u8 {
        for release in 0..6_u8 {
            // Topic, flow, assign and produce, flow; time; and so on.
            let begin = [memory, 0, 0, 0, 1, release, 10, 0, 0, 0, 0, 14, 3, 14, 3];
            let middle = [10, 0, 0, 0, 5, 0, 0, 10, 0, 0, 0, 1, 40, 0, 0, 0, 10, 0, 0, 0, 4];
            let flow = [14, 3, 14, 3, 0, 5, 14, 3, 5, 0, 7, 255, 0, 8, 9, 3, 14, 3];
            let name = format!("flow-{memory}-{release}");
            let seed = [&begin[..], &middle, &flow, &middle, &flow, &flow].concat();
            write(folder, "hostile", &name, &seed);
            // Compressed where memory is largest.
            let limits = if memory == 3 { 32 * (1 + release) } else { memory };
            let commands = [release, release, limits, 0, 0, 0];
            let script = [
                5, 0, 0, 0, 0, 2, 5, 0, 0, 0, 6, 0, 0, 5, 0, 0, 1, 9, 1, 7, 0, 3, 1, 5, 5, 0, 0, 5,
                2, 5, 3, 0, 0, 0, 1, 4, 3, 0, 1, 1, 1, 5, 0, 0, 8, 0, 1, 5, 5, 0, 0, 2, 7, 3, 3, 4,
                1, 6,
            ];
            write(folder, "commands", &name, &[&commands[..], &script, &script].concat());
            let frames = [memory, release, 0, 6, 59, 2, 9, 30, 0, 1];
            let talk = [0, 0, 1, 5, 0, 0, 0, 60, 0, 0, 1, 2, 3, 10, 0, 0, 40, 0, 2, 7];
            write(folder, "framing", &name, &[&frames[..], &talk, &talk, &talk].concat());
            count += 3;
        }
    }
    for api in 0..2 * APIS.len() as u8 {
        for version in 0..4_u8 {
            let fields = [api, version * 5, 5, 97, 98, 99, 100, 101, 7, 2, 3, 9, 9, 9, 130, 1, 140];
            let rest: Vec<u8> =
                (0..60_u8).map(|n| n.wrapping_mul(13).wrapping_add(api * version)).collect();
            let name = format!("fields-{api}-{version}");
            write(folder, "roundtrip", &name, &[&fields[..], &rest].concat());
            count += 1;
        }
    }
    count
}

/// Writes batches for the encoders: each codec and set, at some levels, in pieces.
fn packing(folder: &Path) -> usize {
    let mut count = 0;
    for codec in 0..4_u8 {
        for kind in 0..6_u8 {
            let fast = kind % 2;
            // Eight parts: words, literal bytes, a run, noise, and what was there before.
            let words = [4, 10, 7, 9, b'k', b'a', b'f', b'k', b'a', b' ', b'1', b'2', b'3', 0];
            let literal = [0, 2, 4, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13];
            let rest = [1, 14, 9, b'r', 2, 9, 3, 7, 5, 3, 8, 7, 5, 9, 4, 12, 3, 3, b'a', b'b'];
            let pieces = [0, [15, 11, 14, 5, 8, 2][usize::from(kind)], 7];
            // One byte changes, and another batch follows that the first one is unpacked beside.
            let end = [0, 1, 1, 0, 77, 1, 3, 255];
            let batch = [&[7][..], &words, &literal, &rest, &words, &pieces, &end].concat();
            let first = [codec, kind * 2, kind, 1 - fast];
            let seed = [&first[..], &batch, &batch].concat();
            write(folder, "packing", &format!("codec-{codec}-{kind}"), &seed);
            count += 1;
        }
    }
    count
}
