//! Bytes from other clients' tests.

use std::path::PathBuf;

use kavka_core::codec::{Codec, Fault, lz4, xxh32};
use serde_json::Value;

use super::{compact, fast, growing};

fn hex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks(2);
    digits.map(|two| u8::from_str_radix(str::from_utf8(two).unwrap(), 16).unwrap()).collect()
}

fn bytes(value: &Value) -> Vec<u8> {
    match value.get("utf8") {
        Some(text) => text.as_str().expect("text").as_bytes().to_vec(),
        None => hex(value["hex"].as_str().expect("hex")),
    }
}

#[test]
fn other_clients_bytes_are_unpacked() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("data/records/codecs.jsonl");
    let text = std::fs::read_to_string(path).expect("codecs.jsonl");
    let mut seen = 0;
    for line in text.lines() {
        let entry: Value = serde_json::from_str(line).expect("JSON");
        let (input, expected) = (&entry["input"], &entry["expected"]);
        let codec = match entry["algorithm"].as_str().expect("a name") {
            "snappy-raw" | "snappy-xerial" => Codec::Snappy,
            "lz4-frame-kafka-v1" => Codec::Lz4,
            "gzip-multi-member" => Codec::Gzip,
            "zstd-multi-frame" => Codec::Zstd,
            // Message sets of magic 0 have a checksum that is wrong in any other frame
            // (KAFKA-3160).
            "lz4-frame-kafka-v0" => {
                let input = bytes(input);
                assert_eq!(compact(Codec::Lz4, &input, 4096), Err(Fault::Checksum), "{line}");
                assert_eq!(fast(Codec::Lz4, &input, 4096), Err(Fault::Checksum), "{line}");
                let wanted = bytes(expected);
                let mut out = vec![0; wanted.len()];
                let len = lz4::unpack_unsummed(&input, &mut out);
                assert_eq!((len, out), (Ok(wanted.len()), wanted), "{line}");
                seen += 1;
                continue;
            }
            "lz4-header-checksum" => {
                let descriptor = hex(input["descriptor_hex"].as_str().expect("hex"));
                let checksum = u64::from((xxh32(&descriptor) >> 8) as u8);
                assert_eq!(Some(checksum), expected["hc"].as_u64(), "{line}");
                seen += 1;
                continue;
            }
            "xxh32" => {
                let hash = u64::from(xxh32(&bytes(input)));
                assert_eq!(Some(hash), expected["u32"].as_u64(), "{line}");
                seen += 1;
                continue;
            }
            other => panic!("nothing tests {other}"),
        };
        let (input, wanted) = (bytes(input), bytes(expected));
        if codec != Codec::Zstd {
            assert_eq!(compact(codec, &input, wanted.len()).as_ref(), Ok(&wanted), "{line}");
        }
        assert_eq!(fast(codec, &input, wanted.len()).as_ref(), Ok(&wanted), "{line}");
        assert_eq!(growing(codec, &input, 1 << 16).as_ref(), Ok(&wanted), "{line}");
        seen += 1;
    }
    assert_eq!(seen, 23, "lines of codecs.jsonl");
}

/// Redpanda writes the versions of xerial's header with the other byte order.
#[test]
fn the_versions_in_a_xerial_header_do_not_matter() {
    let input = hex("82534e415050590001000000010000000000000b0920504c41494e44415441");
    for unpacked in [compact(Codec::Snappy, &input, 9), fast(Codec::Snappy, &input, 9)] {
        assert_eq!(unpacked.as_deref(), Ok(b"PLAINDATA".as_slice()));
    }
}
