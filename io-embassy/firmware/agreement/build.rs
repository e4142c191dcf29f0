//! Turns the golden bytes of the tests into tables: a device reads no JSON.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

use serde_json::Value;

/// What devices have no decoders of: the feature `group` would be in all images.
const GROUPS: [&str; 4] =
    ["FindCoordinator", "ConsumerGroupHeartbeat", "OffsetCommit", "OffsetFetch"];

fn main() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../tests/data");
    println!("cargo:rerun-if-changed={}", data.display());
    let mut code = String::new();
    code.push_str("pub(crate) static RESPONSES: &[(&str, &str, i16, bool, &[u8])] = &[\n");
    for line in lines(&data, &["vectors/wire_vectors.jsonl", "vectors/wire_recorded.jsonl"]) {
        let of_groups = GROUPS.contains(&text(&line, "api"));
        if line["direction"] == "response" && !of_groups {
            let bytes = unhex(text(&line, "hex"));
            let front = match text(&line, "framing") {
                "body" => 0,
                "frame" => 8,
                _ => 4,
            };
            let (id, api, version) = (text(&line, "id"), text(&line, "api"), &line["version"]);
            let bytes = &bytes[front..];
            let _ = writeln!(code, "({id:?}, {api:?}, {version}, {}, &{bytes:?}),", front > 0);
        }
    }
    code.push_str("];\npub(crate) static BATCHES: &[(&str, &[u8])] = &[\n");
    for line in lines(&data, &["records/recorded.jsonl", "records/vectors.jsonl"]) {
        let _ = writeln!(code, "({:?}, &{:?}),", text(&line, "id"), unhex(text(&line, "hex")));
    }
    code.push_str("];\npub(crate) static HASHES: &[(bool, &[u8], u32)] = &[\n");
    for line in lines(&data, &["records/algorithms.jsonl"]) {
        let input = &line["input"];
        let hash = match text(&line, "algorithm") {
            "murmur2" => line["expected"]["i32"].as_i64().map(|hash| hash as u32),
            "crc32c" => line["expected"]["u32"].as_u64().map(|sum| sum as u32),
            _ => None,
        };
        let Some(hash) = hash else { continue };
        let bytes = match input["utf8"].as_str() {
            Some(text) => text.as_bytes().to_vec(),
            None => unhex(text(input, "hex")),
        };
        let is_crc = text(&line, "algorithm") == "crc32c";
        let _ = writeln!(code, "({is_crc}, &{bytes:?}, {hash}),");
    }
    code.push_str("];\n");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    fs::write(out.join("tables.rs"), code).expect("OUT_DIR can be written");
}

fn lines(data: &Path, files: &[&str]) -> Vec<Value> {
    let read = |file: &&str| fs::read_to_string(data.join(file)).expect("a file of the tests");
    let all: String = files.iter().map(read).collect();
    all.lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect()
}

fn text<'a>(line: &'a Value, name: &str) -> &'a str {
    line[name].as_str().expect("a text")
}

fn unhex(digits: &str) -> Vec<u8> {
    let pairs = digits.as_bytes().chunks(2).map(|pair| str::from_utf8(pair).expect("ASCII"));
    pairs.map(|pair| u8::from_str_radix(pair, 16).expect("hexadecimal")).collect()
}
