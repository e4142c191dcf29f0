//! Our decoders against those of the `kafka-protocol` crate: what one of them reads, the other
//! reads too, with the same result.

mod reported;

use core::cell::Cell;
use core::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};

use bytes::{Buf, Bytes, BytesMut};
use kafka_protocol::messages::{ApiKey, ResponseKind};
use kavka_core::wire::{Decode, Malformed, Step};

use crate::apis::{COMPARED, versions};
use crate::input::Input;
use crate::memory::within;
use crate::with_response;

/// Largest single allocation that the other codec may make.
const LIMIT: usize = 1 << 20;

thread_local! {
    static FOREIGN: Cell<bool> = const { Cell::new(false) };
}

/// Silences panics of the other codec, which are caught and are no findings.
pub fn quiet_panics() {
    let hook = take_hook();
    set_hook(Box::new(move |info| {
        if !FOREIGN.get() {
            hook(info);
        }
    }));
}

/// The outcome of decoding a response.
#[derive(Debug)]
enum Read<T> {
    /// Its content, and the number of bytes after it.
    Done(T, usize),
    More,
    Bad(Malformed),
}

/// Reads API, version, body.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let api = input.pick(COMPARED);
    let (first, last) = versions(api);
    let version = first + i16::from(input.byte()) % (last - first + 1);
    let range = api.valid_versions();
    if version > range.max {
        return; // The other codec ends before ours.
    }
    let body = input.rest();
    if api == ApiKey::ApiVersions && body.starts_with(&[0, 35]) {
        return; // Theirs does not know that this comes in version 0 (KIP-511).
    }
    let ours = with_response!(api, read(version, body));
    let Some((theirs, behind)) = theirs(api, version, body) else {
        if let Read::Done(ours, _) = &ours {
            // A cursor that it takes for null puts it out of step (`is_other_null`).
            let cursor = ours.last().is_some_and(|item| item.starts_with("Cursor(Some"));
            let excused = has_known_tags(api, version) || cursor;
            assert!(excused, "{api:?} v{version}: theirs refuses, ours reads {ours:#?}");
        }
        return;
    };
    // In the form in which they would write it there must be no difference.
    let mut written = BytesMut::new();
    theirs.encode(&mut written, version).unwrap_or_else(|e| panic!("{theirs:?}: {e}"));
    let reported = reported::items(&theirs, version);
    match with_response!(api, read(version, &written)) {
        Read::Done(again, 0) if again == reported => {}
        // Theirs accepts, and writes, strings above 32,767 bytes.
        Read::Bad(Malformed::TooLong) => {}
        // It also accepts null where only later versions may have it.
        Read::Bad(Malformed::Length) if has_early_null(&theirs, version) => return,
        // It takes tags above 2^31 - 1 for negative ones, and writes them as such.
        _ if format!("{theirs:?}").contains("unknown_tagged_fields: {-") => return,
        other => panic!("{api:?} v{version}: {other:?}, not {reported:?}: written by {theirs:?}"),
    }
    let same = matches!(&ours, Read::Done(ours, left) if *left == behind && *ours == reported);
    let plain = *written == body[..body.len() - behind];
    assert!(
        same || (!plain && is_lenient(api, version, &ours, &theirs)),
        "{api:?} v{version}: ours {ours:?}, theirs {behind} behind {theirs:#?}"
    );
}

/// Returns whether theirs may read what we refuse, or read it differently; never what it would
/// write itself.
fn is_lenient(api: ApiKey, version: i16, ours: &Read<Vec<String>>, theirs: &ResponseKind) -> bool {
    match ours {
        // It does not check the order of tags.
        Read::Bad(Malformed::TagOrder) => true,
        // It accepts strings above 32,767 bytes.
        Read::Bad(Malformed::TooLong) => true,
        // It drops the bits of a varint above 32, as Java does.
        Read::Bad(Malformed::Varint) => true,
        _ => has_known_tags(api, version) || is_other_null(ours, theirs),
    }
}

/// Returns whether a name is null that only later versions allow to be.
fn has_early_null(theirs: &ResponseKind, version: i16) -> bool {
    match theirs {
        ResponseKind::DeleteTopics(response) => {
            version < 6 && response.responses.iter().any(|topic| topic.name.is_none())
        }
        ResponseKind::Metadata(response) => {
            version < 12 && response.topics.iter().any(|topic| topic.name.is_none())
        }
        _ => false,
    }
}

/// Returns whether the response has tagged fields that theirs knows. It ignores their sizes, and
/// reads something else where one is wrong; we read a field within its size, or not at all. It
/// refuses a field that only later versions have (Produce 9), which is an unknown one for us.
fn has_known_tags(api: ApiKey, version: i16) -> bool {
    let first = match api {
        ApiKey::ApiVersions => 3,
        ApiKey::Produce => 9,
        ApiKey::Fetch => 12,
        ApiKey::CreateTopics => 5,
        _ => i16::MAX,
    };
    version >= first
}

/// Returns whether the byte before the cursor is not 1, but one that Java and we take for
/// "present": theirs takes it for null.
fn is_other_null(ours: &Read<Vec<String>>, theirs: &ResponseKind) -> bool {
    let ResponseKind::DescribeTopicPartitions(theirs) = theirs else { return false };
    let null = match ours {
        Read::Done(items, _) => items.last().is_some_and(|item| item == "Cursor(None)"),
        Read::More | Read::Bad(_) => false,
    };
    theirs.next_cursor.is_none() && !null
}

fn read<D: Decode>(version: i16, mut body: &[u8]) -> Read<Vec<String>>
where
    for<'b> D::Item<'b>: Debug,
{
    let mut response = D::new(version).expect("a version in the range");
    let mut items = Vec::new();
    loop {
        match response.step(&mut body) {
            Ok(Step::Item(item)) => {
                items.push(format!("{item:?}"));
                items.pop_if(|item| reported::is_default(item));
            }
            Ok(Step::More { .. }) => return Read::More,
            Ok(Step::Done) => return Read::Done(items, body.len()),
            Err(why) => return Read::Bad(why),
        }
    }
}

/// Decodes with the other codec; `None` when it refuses, panics, or wants more memory than such a
/// body can need.
fn theirs(api: ApiKey, version: i16, body: &[u8]) -> Option<(ResponseKind, usize)> {
    let mut bytes = Bytes::copy_from_slice(body);
    FOREIGN.set(true);
    let read = catch_unwind(AssertUnwindSafe(|| {
        within(LIMIT, || ResponseKind::decode(api, &mut bytes, version).ok())
    }));
    FOREIGN.set(false);
    Some((read.ok()??, bytes.remaining()))
}
