//! Batches that cannot be read: where the advice leads.

use std::time::Duration;

use kavka_std::kavka_core::record::Crc32c;
use kavka_tests::script::fetch::Batch;
use kavka_tests::sim::{ApiKey, Fault, Server};

use crate::{Ran, fill, run, with_topic};

/// With a checksum that is right again.
fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    let crc = Crc32c::of(&bytes[21..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    bytes
}

/// The number behind `begin at`.
fn advised(ran: &Ran) -> String {
    let behind = ran.err.split("begin at ").nth(1).unwrap_or_else(|| panic!("no advice: {ran:?}"));
    behind.chars().take_while(char::is_ascii_digit).collect()
}

/// A batch of three records with this damage; what is printed of it, and where it ends if it says.
fn damaged(what: &str, mut bytes: Vec<u8>) -> (Vec<u8>, &'static str, Option<&'static str>) {
    let (printed, end) = match what {
        "checksum" => {
            bytes[70] ^= 1;
            return (bytes, "", Some("3"));
        }
        "length" => {
            bytes[8..12].copy_from_slice(&[0, 0, 0, 1]);
            return (bytes, "", None);
        }
        "negative length" => {
            bytes[8..12].fill(0xff);
            return (bytes, "", None);
        }
        "magic" => {
            bytes[16] = 7;
            return (bytes, "", None);
        }
        "second record" => {
            bytes[61 + 8] = 0x7e; // a record takes 8 bytes
            ("a", Some("3"))
        }
        "behind the last record" => {
            bytes.extend([0; 5]);
            bytes[11] += 5;
            ("abc", Some("3"))
        }
        "fewer records than it says" => {
            bytes[60] = 9;
            ("abc", Some("3"))
        }
        "negative last offset" => {
            bytes[23..27].fill(0xff);
            ("", None)
        }
        other => panic!("{other}"),
    };
    (sealed(bytes), printed, end)
}

/// Offsets 0 to 2 are in a damaged batch, and 3 and 4 are sound.
#[test]
fn reading_begins_behind_the_damage_where_the_advice_says() {
    for what in [
        "checksum",
        "length",
        "negative length",
        "magic",
        "second record",
        "behind the last record",
        "fewer records than it says",
        "negative last offset",
    ] {
        let server = with_topic(1);
        let honest = Batch::new(0, &["a", "b", "c"]).bytes();
        let (stored, printed, end) = damaged(what, honest.to_vec());
        server.with(|cluster| cluster.append_damaged("t", 0, &honest, &stored)).expect(what);
        fill(&server, 0, &["d", "e"]);
        let ran = run(&server, &["consume", "t", "-e"]);
        assert_eq!(ran.code, Some(1), "{what}: {ran:?}");
        assert_eq!(ran.text().replace('\n', ""), printed, "{what}: {ran:?}");
        let ran = ran.bad(1, &["read t, partition 0: ", "cannot be read", "begin at "]);
        let mut at = advised(&ran);
        assert!(end.is_none_or(|end| at == end), "{what}: {ran:?}");
        // Where the end of the batch is not known the next offset may be inside it.
        let mut rest = run(&server, &["consume", "t", "-e", "-o", &at]);
        while end.is_none() && rest.code != Some(0) && at != "3" {
            at = advised(&rest);
            rest = run(&server, &["consume", "t", "-e", "-o", &at]);
        }
        assert_eq!(rest.code, Some(0), "{what}: {rest:?}");
        assert_eq!(rest.text(), "d\ne\n", "{what} from {at}: {rest:?}");
    }
}

/// Nothing else would report it: reading ends with that batch.
#[test]
fn damage_behind_the_last_record_of_the_log_is_reported() {
    let server = with_topic(1);
    let honest = Batch::new(0, &["a", "b"]).bytes();
    let mut stored = honest.to_vec();
    stored.extend([0; 3]);
    stored[11] += 3;
    let stored = sealed(stored);
    server.with(|cluster| cluster.append_damaged("t", 0, &honest, &stored)).expect("a batch");
    let said = ["read t, partition 0: what follows the record before offset 2 cannot be read"];
    let ran = run(&server, &["consume", "t", "-e"]).bad(1, &said);
    assert_eq!(ran.text(), "a\nb\n");
    assert_eq!(advised(&ran), "2");
}

/// It hides what follows: the consumer continues where it claims to end, as Java's does.
#[test]
fn a_batch_that_claims_more_offsets_than_it_has_is_reported() {
    let overstated = |base: i64, values: &[&str], last_delta: i32| -> (Vec<u8>, Vec<u8>) {
        let mut batch = Batch::new(base, values);
        let honest = batch.bytes().to_vec();
        batch.last_delta = last_delta;
        (honest, batch.bytes().to_vec())
    };
    for (last_delta, said) in [
        (99, "the batch at offset 0 claims all offsets below 100, but the log ended at 5"),
        (3, "the batch before offset 4 claims offsets of the one that begins at 3"),
    ] {
        let server = with_topic(1);
        let (honest, stored) = overstated(0, &["a", "b", "c"], last_delta);
        server.with(|cluster| cluster.append_damaged("t", 0, &honest, &stored)).expect("a batch");
        let honest = Batch::new(3, &["d", "e"]).bytes();
        server.with(|cluster| cluster.append_batch("t", 0, &honest)).expect("a batch");
        let ran = run(&server, &["consume", "t", "-e"]).bad(1, &["read t, partition 0: ", said]);
        assert!(ran.text().starts_with("a\nb\nc\n"), "{ran:?}");
    }
}

/// Records that the consumer skips, as Java's does, at the end of the log and before it.
#[test]
fn records_that_no_batch_counts_or_that_another_hides_are_reported() {
    let hollow = |bytes: &mut Vec<u8>| bytes[57..61].fill(0);
    let overstated = |bytes: &mut Vec<u8>| bytes[23..27].copy_from_slice(&4_i32.to_be_bytes());
    type Damage<'a> = &'a dyn Fn(&mut Vec<u8>);
    let cases: [(&str, Damage<'_>, &str, &str); 2] = [
        ("uncounted", &hollow, "", "records from offset 0 on are skipped"),
        ("hidden", &overstated, "a\nb\nc\n", "records from offset 3 on are skipped"),
    ];
    for (what, damage, printed, moved) in cases {
        for more in [0, 1] {
            let server = with_topic(1);
            let honest = Batch::new(0, &["a", "b", "c"]).bytes();
            let mut stored = honest.to_vec();
            damage(&mut stored);
            let stored = sealed(stored);
            server.with(|cluster| cluster.append_damaged("t", 0, &honest, &stored)).expect(what);
            let mut want = printed.to_owned();
            if what == "hidden" {
                fill_batch(&server, 3, &["d", "e"]);
            }
            for n in 0..more {
                fill_batch(&server, server.log_len("t", 0), &["f"]);
                want += ["f\n"][n];
            }
            let said = ["read t, partition 0: ", moved];
            let ran = run(&server, &["consume", "t", "-e"]).bad(1, &said);
            assert_eq!(ran.text(), want, "{what}, {more} more: {ran:?}");
            assert!(ran.took < Duration::from_secs(5), "{what}: {:?}", ran.took);
        }
    }
}

fn fill_batch(server: &Server, base: i64, values: &[&str]) {
    let bytes = Batch::new(base, values).bytes();
    server.with(|cluster| cluster.append_batch("t", 0, &bytes)).expect("a batch");
}

/// The broker itself finds its log damaged, and says nothing of where that ends.
#[test]
fn what_a_broker_calls_corrupt_is_named_with_the_next_offset() {
    let server = with_topic(1);
    fill(&server, 0, &["a", "b"]);
    server.fault(1, ApiKey::Fetch, Fault::Error(2), 100);
    let ran = run(&server, &["consume", "t", "-e"]);
    let ran = ran.bad(1, &["t, partition 0", "corrupt", "begin at 1 or later"]);
    assert_eq!(ran.text(), "");
    server.with(|cluster| cluster.clear_faults());
    let rest = run(&server, &["consume", "t", "-e", "-o", &advised(&ran)]).good();
    assert_eq!(rest.text(), "b\n");
}
