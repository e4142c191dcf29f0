//! The wire codec against golden bytes: other clients' test literals and recorded frames.

mod bad_input;
mod classic;
mod drive;
mod group_admin;
mod groups;
mod requests;
mod sasl;
mod transactions;
mod typed;
mod vectors;
mod walk;

use std::collections::HashMap;

use drive::{Feed, decode};
use vectors::{Vector, vectors};

/// Returns the responses among the vectors.
fn responses() -> impl Iterator<Item = Vector> {
    vectors().into_iter().filter(|vector| vector.response)
}

#[test]
fn every_response_walks_to_its_fields() {
    let mut count = 0;
    for vector in responses() {
        let (got, unknown, used) = walk::walk(&vector);
        assert_eq!(got, vector.known_body(), "{}", vector.id);
        assert_eq!(unknown, vector.unknown_tags(), "{}: unknown tags", vector.id);
        assert_eq!(used, vector.response_body().len(), "{}: bytes used", vector.id);
        count += 1;
    }
    println!("{count} responses walked");
    assert!(count >= 700, "{count} responses: vectors are missing");
}

#[test]
fn every_response_gives_typed_items_with_its_values() {
    for vector in responses() {
        let got = typed::fields(&vector);
        typed::compare(&vector.id, &got, &vector.known_body());
    }
}

/// Whole, byte by byte, and in random pieces: the same items.
#[test]
fn pieces_make_no_difference() {
    for (seed, vector) in (1..).zip(responses()) {
        let bytes = vector.response_body();
        let whole = decode(&vector.api, vector.version, bytes, Feed::whole());
        let whole = whole.unwrap_or_else(|e| panic!("{}: {e}", vector.id));
        assert!(whole.done, "{}: not done", vector.id);
        assert_eq!(whole.used, bytes.len(), "{}: bytes used", vector.id);
        for feed in [Feed::bytes(), Feed::pieces(seed, 5), Feed::pieces(seed, 300)] {
            let name = format!("{} {feed:?}", vector.id);
            let pieces = decode(&vector.api, vector.version, bytes, feed);
            let pieces = pieces.unwrap_or_else(|e| panic!("{name}: {e}"));
            assert!(pieces.done, "{name}: not done");
            assert_eq!(pieces.used, whole.used, "{name}: bytes used");
            assert_eq!(pieces.items, whole.items, "{name}");
        }
    }
}

/// What can never fit is skipped, the rest is reported, and the frame is read to its end.
#[test]
fn small_buffers_skip_and_continue() {
    let mut skipped = 0;
    for (seed, vector) in (1..).zip(responses()) {
        let bytes = vector.response_body();
        let whole = decode(&vector.api, vector.version, bytes, Feed::whole()).expect(&vector.id);
        for buffer in [10, 16, 40, 64, 128] {
            let name = format!("{} with {buffer} bytes", vector.id);
            let feed = Feed::pieces(seed, 30).buffer(buffer);
            let small = decode(&vector.api, vector.version, bytes, feed);
            let small = small.unwrap_or_else(|e| panic!("{name}: {e}"));
            assert!(small.done, "{name}: not done");
            assert_eq!(small.used, whole.used, "{name}: bytes used");
            // Skipped items apart, these are the items of the whole, in order, and none is lost.
            let mut all = whole.items.iter();
            for item in &small.items {
                let found = item == "Skipped" || all.any(|one| one == item);
                assert!(found, "{name}: {item} is not in the whole response");
            }
            let skips = small.items.iter().filter(|item| *item == "Skipped").count();
            assert!(small.items.len() >= whole.items.len(), "{name}: items are missing");
            skipped += skips;
        }
    }
    println!("{skipped} items skipped");
    assert!(skipped > 1000, "only {skipped} items were skipped");
}

#[test]
fn requests_are_encoded_to_the_same_bytes() {
    let (mut same, mut left_out) = (0, HashMap::<_, usize>::new());
    for vector in vectors().iter().filter(|vector| !vector.response) {
        match requests::encode(vector) {
            Ok(bytes) => {
                assert_eq!(hex(&bytes), hex(&vector.bytes), "{}", vector.id);
                same += 1;
            }
            Err(why) => *left_out.entry((vector.api.clone(), why)).or_default() += 1,
        }
    }
    println!("{same} requests encoded to the same bytes; left out, as our encoders cannot say it:");
    for ((api, why), count) in &left_out {
        println!("  {count} {api}: {why}");
    }
    assert!(same >= 600, "only {same} requests were compared");
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
