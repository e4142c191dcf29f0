//! Every response decoder at every version: whole, in pieces, through small buffers.

use core::fmt::Debug;

use kavka_core::wire::consumer_protocol::{Assignment, Subscription, Topics};
use kavka_core::wire::{Decode, Ints, Malformed, Step, fetch, header};

use crate::apis::APIS;
use crate::input::Input;
use crate::memory::still;
use crate::with_response;

/// How bytes arrive.
#[derive(Clone, Copy, Debug)]
struct Feed<'a> {
    /// Sizes of pieces, minus one, in turn; all at once when empty.
    pieces: &'a [u8],
    /// Items that need more bytes than this are skipped.
    buffer: usize,
}

impl Feed<'_> {
    const WHOLE: Self = Self { pieces: &[], buffer: usize::MAX };

    fn piece(&self, n: usize) -> usize {
        let size = n.checked_rem(self.pieces.len()).map(|n| self.pieces[n]);
        size.map_or(usize::MAX, |size| usize::from(size) + 1)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Done,
    /// Bytes were missing.
    More,
    Bad(Malformed),
}

#[derive(Debug, PartialEq)]
struct Outcome<T> {
    items: Vec<T>,
    used: usize,
    end: End,
}

/// Reads API, version, four sizes of pieces, size of the buffer minus ten, then the body.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let api = input.below(APIS.len() + 2);
    let (version, pieces, buffer) = (input.byte(), input.take(4), 10 + input.below(256));
    let feed = Feed { pieces, buffer: usize::MAX };
    match APIS.get(api) {
        Some(api) => with_response!(*api, check(version, input.rest(), feed, buffer)),
        None if api == APIS.len() => header_tags(input.rest(), feed),
        None => exchanged(input.rest()),
    }
    if APIS.get(api) == Some(&APIS[3]) {
        records_are_taken(version, Input::new(data.get(7..).unwrap_or_default()).rest(), pieces);
    }
}

/// What members of a group exchange: nothing that was not in the bytes.
fn exchanged(bytes: &[u8]) {
    if let Ok(read) = still(|| Subscription::read(bytes)) {
        assert!(read.topics.map(|name| 2 + name.len()).sum::<usize>() <= bytes.len());
        listed(read.owned, bytes);
    }
    if let Ok(read) = still(|| Assignment::read(bytes)) {
        listed(read.topics, bytes);
    }
}

fn listed(topics: Topics<'_>, bytes: &[u8]) {
    let len = |(name, list): (&str, Ints<'_>)| 6 + name.len() + 4 * list.len();
    assert!(topics.map(len).sum::<usize>() <= bytes.len());
}

/// Returns the version that a byte of the input stands for.
fn version_of<D: Decode>(byte: u8) -> i16 {
    let (first, last) = D::VERSIONS;
    first + i16::from(byte) % (last - first + 1)
}

fn check<'b, D: Decode>(version: u8, bytes: &'b [u8], feed: Feed<'_>, buffer: usize)
where
    D::Item<'b>: PartialEq + Debug,
{
    let version = version_of::<D>(version);
    let new = || D::new(version).expect("a version in the range");
    let whole = decode(&mut new(), bytes, Feed::WHOLE);
    let pieces = decode(&mut new(), bytes, feed);
    assert_eq!(whole, pieces, "whole and in pieces, version {version}");
    let small = decode(&mut new(), bytes, Feed { buffer, ..feed });
    // What is skipped is not checked, so a bad response may pass for a good one; not the reverse.
    if whole.end == End::Done {
        assert_eq!((small.end, small.used), (End::Done, whole.used), "version {version}");
        assert!(small.items.len() >= whole.items.len(), "an item was lost, version {version}");
        // Apart from what was skipped, the same items in the same order.
        let mut all = whole.items.iter();
        for item in &small.items {
            let skipped = format!("{item:?}") == "Skipped";
            assert!(skipped || all.any(|one| one == item), "{item:?}, version {version}");
        }
    }
}

fn decode<'b, D: Decode>(
    response: &mut D,
    bytes: &'b [u8],
    feed: Feed<'_>,
) -> Outcome<D::Item<'b>> {
    let (mut items, mut start, mut end, mut pieces) = (Vec::new(), 0, 0, 0);
    let mut steps = 0;
    let over = loop {
        steps += 1;
        assert!(steps <= 8 * bytes.len() + 16, "{steps} steps for {} bytes", bytes.len());
        let mut input = &bytes[start..end];
        let step = still(|| response.step(&mut input));
        start = end - input.len();
        match step {
            Ok(Step::Item(item)) => items.push(item),
            Ok(Step::Done) => break End::Done,
            Ok(Step::More { needed }) => {
                assert!(needed > end - start, "{needed} bytes needed, {} there", end - start);
                if needed > feed.buffer {
                    response.skip();
                    continue;
                }
                if end == bytes.len() {
                    break End::More;
                }
                let piece = feed.piece(pieces).min(feed.buffer - (end - start));
                end = bytes.len().min(end.saturating_add(piece));
                pieces += 1;
            }
            Err(why) => break End::Bad(why),
        }
    };
    // It stays at its end, whatever input follows.
    let mut input = &bytes[start..];
    match over {
        End::Done => {
            assert!(matches!(response.step(&mut input), Ok(Step::Done)), "more after Done")
        }
        End::Bad(_) => assert!(response.step(&mut input).is_err(), "continues after an error"),
        End::More => {}
    }
    Outcome { items, used: start, end: over }
}

/// Checks that record bytes taken by the caller, in any parts, equal those that the step drops.
fn records_are_taken(version: u8, bytes: &[u8], pieces: &[u8]) {
    let version = version_of::<fetch::Response>(version);
    let new = || fetch::Response::new(version).expect("a version in the range");
    let whole = decode(&mut new(), bytes, Feed::WHOLE);
    let (mut response, mut input, mut items) = (new(), bytes, Vec::new());
    let feed = Feed { pieces, buffer: usize::MAX };
    while let Ok(Step::Item(item)) = still(|| response.step(&mut input)) {
        items.push(item);
        assert!(items.len() <= whole.items.len(), "items come again, version {version}");
        let left = response.records_left() as usize;
        let part = left.min(input.len()).min(feed.piece(items.len()));
        input = &input[part..];
        response.take(u32::try_from(part).unwrap_or(u32::MAX));
    }
    assert_eq!(items, whole.items, "with records taken, version {version}");
}

fn header_tags(bytes: &[u8], feed: Feed<'_>) {
    let run = |feed: Feed<'_>| {
        let (mut tags, mut start, mut end) = (header::Tags::new(), 0, 0);
        for pieces in 0.. {
            let mut input = &bytes[start..end];
            let step = still(|| tags.step(&mut input));
            start = end - input.len();
            match step {
                Ok(Step::More { needed }) if end < bytes.len() => {
                    assert!(needed > end - start, "{needed} needed, {} there", end - start);
                    end = bytes.len().min(end.saturating_add(feed.piece(pieces)));
                }
                step => {
                    return (step.is_ok_and(|step| step == Step::Done), start, tags.unknown_tags());
                }
            }
        }
        unreachable!("pieces come to an end")
    };
    let (whole, pieces) = (run(Feed::WHOLE), run(feed));
    assert_eq!(whole, pieces, "whole and in pieces");
}
