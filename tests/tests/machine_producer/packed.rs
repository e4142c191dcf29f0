//! Compressed batches: packed when they are chosen for a request, and never again.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use kafka_protocol::messages::{ApiKey, ProduceRequest};
use kavka_core::codec::{Codec, Codecs, CompactPack, PIECE, Pack, Step};
use kavka_core::wire::ErrorCode;
use kavka_core::{
    Config, ConfigError, Duration, Error, Event, Limits, Misuse, PeerFault, Storage, TopicId,
};
use kavka_std::codec::Encoders;
use kavka_tests::script::steps::warm_up;
use kavka_tests::script::{Requested, Script, World};

use super::culprits::refusal;

type Boxed = Box<dyn Pack + Send>;

/// Creates a client that packs with `encoders`, in pieces as long as they can be.
fn packing(
    world: World,
    codec: Codec,
    encoders: Boxed,
    change: impl FnOnce(&mut Config<'static>, &mut Limits),
) -> Script {
    let mut config =
        Config::new(world.bootstrap()).linger(Duration::from_millis(20)).compression(Some(codec));
    let mut limits = Limits::small();
    limits.pack_bytes = PIECE;
    change(&mut config, &mut limits);
    Script::over(world, config, Storage::heap(&limits).encoders(encoders))
}

/// A topic of one partition whose leader has acknowledged a record.
fn lz4() -> (Script, TopicId) {
    lz4_with(|_| ())
}

fn lz4_with(change: impl FnOnce(&mut Config<'static>)) -> (Script, TopicId) {
    let world = World::new(1).topic("t", 1);
    let encoders = Box::new(CompactPack::new());
    let mut s = packing(world, Codec::Lz4, encoders, |config, _| change(config));
    let t = s.ready("t");
    warm_up(&mut s, t, 0);
    (s, t)
}

/// A text that shrinks to a third or less.
fn text(n: usize, len: usize) -> String {
    format!("{n} {}", "all work and no play makes ".repeat(len / 27 + 1))[..len].to_owned()
}

/// One that does not shrink: digits of 64.
fn noise(seed: u64, len: usize) -> String {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(b'0' + (state >> 40) as u8 % 75)
    };
    (0..len).map(|_| next()).collect()
}

/// The bytes of the batches of a request.
fn bytes(requested: &Requested<ProduceRequest>) -> Vec<Vec<u8>> {
    let topics = requested.body.topic_data.iter();
    let parts = topics.flat_map(|topic| &topic.partition_data);
    parts.map(|part| part.records.clone().unwrap_or_default().to_vec()).collect()
}

/// Produces in one batch and returns its request.
fn one_batch(s: &mut Script, t: TopicId, values: &[String]) -> Requested<ProduceRequest> {
    for value in values {
        s.produce(t, 0, value);
    }
    let requested = s.expect::<ProduceRequest>();
    let batches = s.batches(&requested);
    assert_eq!(batches.len(), 1);
    assert_eq!(batches[0].values, values);
    requested
}

#[test]
fn batches_of_all_codecs_are_what_they_were() {
    type Set = (fn() -> Boxed, &'static [Codec]);
    let sets: [Set; 2] = [
        (|| Box::new(CompactPack::new()), &[Codec::Lz4, Codec::Snappy]),
        (|| Box::new(Encoders::default()), &Codec::ALL),
    ];
    for (encoders, codecs) in sets {
        for &codec in codecs {
            // One piece, several, one and a little more; and pieces that no block ends with.
            for (count, len, piece) in
                [(10, 100, PIECE), (150, 1000, PIECE), (66, 1000, PIECE), (30, 300, 1000)]
            {
                let world = World::new(1).topic("t", 1);
                let mut s = packing(world, codec, encoders(), |config, limits| {
                    config.batch_bytes = 1 << 20;
                    (limits.tx_blocks, limits.pack_bytes) = (512, piece);
                });
                let t = s.ready("t");
                warm_up(&mut s, t, 0);
                let values: Vec<_> = (0..count).map(|n| text(n, len)).collect();
                let requested = one_batch(&mut s, t, &values);
                let sent = &s.batches(&requested)[0];
                let case = format!("{codec}, {count} of {len}, {piece}: {:?}", sent.header);
                assert_eq!(sent.header.codec(), i16::from(codec.id()), "{case}");
                assert_eq!(sent.place(), (0, 1, count as i32), "{case}");
                assert!(sent.header.size < count * len / 2, "{case}");
                s.acknowledge(&requested, 1);
                assert_eq!(s.delivered(), [(count as u32, Some(1))], "{case}");
                assert_eq!(s.client.stats().blocks_used, 0, "{case}");
            }
        }
    }
}

#[test]
fn what_does_not_shrink_is_sent_as_it_is() {
    for (count, len) in [(1, 30), (10, 100), (150, 1000)] {
        for codec in Codec::ALL {
            let world = World::new(1).topic("t", 1);
            let mut s = packing(world, codec, Box::new(Encoders::default()), |config, limits| {
                config.batch_bytes = 1 << 20;
                limits.tx_blocks = 512;
            });
            let t = s.ready("t");
            warm_up(&mut s, t, 0);
            // Seven bits of eight are used: gzip and zstd would find that. Random bytes, then.
            let values: Vec<_> = (0..count).map(|n| noise(n, len)).collect();
            let shrinks = matches!(codec, Codec::Gzip | Codec::Zstd) && len > 30;
            let requested = one_batch(&mut s, t, &values);
            let header = s.batches(&requested)[0].header;
            let wanted = if shrinks { i16::from(codec.id()) } else { 0 };
            assert_eq!(header.codec(), wanted, "{codec}, {count} of {len}: {header:?}");
            s.acknowledge(&requested, 1);
            assert_eq!(s.delivered(), [(count as u32, Some(1))]);
        }
    }
}

/// What is incompressible after its first piece continues packed, and there is memory for it.
#[test]
fn a_batch_that_shrinks_only_at_its_beginning_is_packed_in_the_memory_of_its_own() {
    for codec in Codec::ALL {
        let world = World::new(1).topic("t", 1);
        let mut s = packing(world, codec, Box::new(Encoders::default()), |config, limits| {
            (config.batch_bytes, config.request_bytes) = (1 << 20, 2 << 20);
            limits.tx_blocks = 400;
        });
        let t = s.ready("t");
        warm_up(&mut s, t, 0);
        s.kill(1);
        let mut values: Vec<_> = (0..70).map(|n| text(n, 1000)).collect();
        let all = |values: &mut Vec<String>, s: &mut Script| {
            for value in values.iter() {
                s.produce(t, 0, value);
            }
            // The pool is full, but for what is kept for requests.
            loop {
                let value = noise(values.len() as u64, 1000);
                if s.try_produce(t, 0, &value).is_err() {
                    return;
                }
                values.push(value);
            }
        };
        all(&mut values, &mut s);
        assert!(values.len() > 200, "{}", values.len());
        s.world.node(1).up = true;
        let requested = s.expect::<ProduceRequest>();
        let batches = s.batches(&requested);
        assert_eq!(batches[0].header.codec(), i16::from(codec.id()), "{codec}");
        assert_eq!(batches[0].values, values, "{codec}");
        s.acknowledge(&requested, 1);
        assert_eq!(s.delivered(), [(values.len() as u32, Some(1))], "{codec}");
    }
}

#[test]
fn a_retry_has_the_same_bytes() {
    let (mut s, t) = lz4();
    let values: Vec<_> = (0..20).map(|n| text(n, 200)).collect();
    let requested = one_batch(&mut s, t, &values);
    let first = bytes(&requested);
    s.refuse(&requested, ErrorCode::NOT_ENOUGH_REPLICAS.0);
    let again = s.expect::<ProduceRequest>();
    assert_eq!(bytes(&again), first);
    s.cut(again.conn);
    let again = s.expect::<ProduceRequest>();
    assert_eq!(bytes(&again), first);
    s.acknowledge(&again, 5);
    assert_eq!(s.delivered(), [(20, Some(5))]);
}

/// "Packed" is not "sealed": the new sequence is in the header alone.
#[test]
fn a_new_epoch_rewrites_header_and_checksum_only() {
    let (mut s, t) = lz4();
    let lost = one_batch(&mut s, t, &[text(0, 500)]);
    let values: Vec<_> = (0..20).map(|n| text(n, 200)).collect();
    let second = one_batch(&mut s, t, &values);
    // The first one is gone, so the second has to begin a sequence.
    s.refuse(&lost, ErrorCode::INVALID_REQUIRED_ACKS.0);
    s.refuse(&second, ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER.0);
    let again = s.expect::<ProduceRequest>();
    let (before, after) = (&bytes(&second)[0], &bytes(&again)[0]);
    assert_eq!(before[61..], after[61..]);
    assert_eq!(before[..17], after[..17]);
    assert_ne!(before[17..21], after[17..21], "checksum");
    assert_eq!(before[21..51], after[21..51], "attributes to producer id");
    let place = s.batches(&again)[0].place();
    assert_eq!(place, (1, 0, 20));
    s.acknowledge(&again, 1);
    assert_eq!(s.delivered(), [(20, Some(1))]);
}

#[test]
fn a_batch_that_is_too_large_is_unpacked_split_and_packed_again() {
    for codec in Codec::ALL {
        for (count, len, piece) in [(21, 300, PIECE), (150, 1000, PIECE), (30, 300, 1000)] {
            let world = World::new(1).topic("t", 1);
            let mut s = packing(world, codec, Box::new(Encoders::default()), |config, limits| {
                config.batch_bytes = 1 << 20;
                (limits.tx_blocks, limits.pack_bytes) = (512, piece);
            });
            let t = s.ready("t");
            warm_up(&mut s, t, 0);
            let values: Vec<_> = (0..count).map(|n| text(n, len)).collect();
            let requested = one_batch(&mut s, t, &values);
            s.refuse(&requested, ErrorCode::MESSAGE_TOO_LARGE.0);
            let mut got = Vec::new();
            while got.len() < count {
                let requested = s.expect::<ProduceRequest>();
                let batch = s.batches(&requested).remove(0);
                let case = format!("{codec}, {count} of {len}: {:?}", batch.header);
                assert_eq!(batch.header.codec(), i16::from(codec.id()), "{case}");
                assert_eq!(batch.place(), (0, 1 + got.len() as i32, batch.values.len() as i32));
                assert!(batch.values.len() <= count.div_ceil(2), "{case}");
                got.extend(batch.values);
                s.acknowledge(&requested, 1);
            }
            assert_eq!(got, values, "{codec}");
            s.settle();
            assert_eq!(s.client.stats().blocks_used, 0);
        }
    }
}

#[test]
fn records_that_a_broker_blames_are_found_in_a_packed_batch() {
    type Failed = (u32, u32, Error);
    let code = ErrorCode::INVALID_RECORD;
    let (bad, other) = (Error::Broker(code), Error::BatchRefused(code));
    let cases: [(&[i32], &[Failed]); 6] = [
        (&[3], &[(0, 3, other), (3, 1, bad), (4, 6, other)]),
        (&[0, 1, 9], &[(0, 2, bad), (2, 7, other), (9, 1, bad)]),
        (&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9], &[(0, 10, bad)]),
        (&[], &[(0, 10, bad)]),
        (&[-1, 10, i32::MAX], &[(0, 10, bad)]),
        (&[5, 2, 5], &[(0, 5, other), (5, 1, bad), (6, 4, other)]),
    ];
    let both = cases.into_iter().flat_map(|case| [(case, false), (case, true)]);
    for ((named, wanted), resend) in both {
        let (mut s, t) = lz4_with(|config| config.resend_unblamed = resend);
        let values: Vec<_> = (0..10).map(|n| text(n, 300)).collect();
        let requested = one_batch(&mut s, t, &values);
        assert_eq!(s.batches(&requested)[0].header.codec(), 3);
        s.respond(&requested, refusal(&requested, code.0, named));
        s.settle();
        let failed: Vec<Failed> = s.take_reported(|reported| match reported.event()? {
            Event::Failed { first, count, error, maybe_written: false, .. } => {
                Some((first, count, error))
            }
            _ => None,
        });
        let (again, fail): (Vec<Failed>, Vec<Failed>) =
            wanted.iter().partition(|(.., error)| resend && *error == other);
        assert_eq!(failed, fail, "{named:?}, sent again: {resend}");
        let unblamed = again.iter().flat_map(|(first, count, _)| *first..first + count);
        let unblamed: Vec<_> = unblamed.map(|n| values[n as usize].clone()).collect();
        assert_eq!(got(&mut s, unblamed.len()), unblamed, "{named:?}");
        assert_eq!(s.client.stats().blocks_used, 0);
    }
}

/// Acknowledges requests until so many records came in packed batches, and returns their values.
fn got(s: &mut Script, count: usize) -> Vec<String> {
    let mut got = Vec::new();
    while got.len() < count {
        let requested = s.expect::<ProduceRequest>();
        for batch in s.batches(&requested) {
            assert!(batch.header.codec() == 3 || batch.values.len() == 1, "{:?}", batch.header);
            got.extend(batch.values);
        }
        s.acknowledge(&requested, 1);
    }
    s.settle();
    got
}

#[test]
fn zstd_is_refused_for_a_broker_that_does_not_know_it() {
    for (version, knows) in [(6, false), (7, true)] {
        let world = World::new(1).topic("t", 1).at_most(ApiKey::Produce, version);
        let mut s = packing(world, Codec::Zstd, Box::new(Encoders::default()), |_, _| {});
        let t = s.ready("t");
        s.produce(t, 0, &text(1, 500));
        if knows {
            let requested = s.expect::<ProduceRequest>();
            assert_eq!(s.batches(&requested)[0].header.codec(), 4);
            continue;
        }
        s.run(Duration::from_secs(1));
        let fault = PeerFault::NoCodec(Codec::Zstd);
        assert_eq!(s.failed(), [(1, Error::Peer(fault), false)]);
        assert_eq!(Error::Peer(fault).to_string(), "the broker is too old for zstd");
        s.none::<ProduceRequest>("the broker could not read it");
    }
}

#[test]
fn a_codec_without_encoder_or_scratch_is_a_wrong_configuration() {
    let config = Config::new("a:1").compression(Some(Codec::Zstd));
    let mut limits = Limits::small();
    let new = |limits: &Limits, encoders: Option<Boxed>| {
        let mut storage = Storage::heap(limits);
        if let Some(encoders) = encoders {
            storage = storage.encoders(encoders);
        }
        kavka_core::Client::new(config, storage, [7; 32]).err()
    };
    let refused = Some(ConfigError::NoEncoder(Codec::Zstd));
    assert_eq!(new(&limits, Some(Box::new(Encoders::default()))), refused, "no scratch");
    limits.pack_bytes = 1000;
    assert_eq!(new(&limits, None), refused);
    assert_eq!(new(&limits, Some(Box::new(CompactPack::new()))), refused);
    assert_eq!(new(&limits, Some(Box::new(Encoders::default()))), None);
}

/// Counts what is packed, and fails from some piece on.
struct Watched {
    inner: CompactPack,
    bytes: Arc<AtomicUsize>,
    pieces: usize,
    pace: usize,
}

impl Pack for Watched {
    fn codecs(&self) -> Codecs {
        self.inner.codecs()
    }

    fn pace(&self) -> usize {
        self.pace
    }

    fn begin(&mut self, codec: Codec, len: usize) -> bool {
        self.inner.begin(codec, len)
    }

    fn pack(&mut self, input: &[u8], last: bool, output: &mut [u8]) -> Option<usize> {
        self.bytes.fetch_add(input.len(), Relaxed);
        self.pieces = self.pieces.checked_sub(1)?;
        self.inner.pack(input, last, output)
    }

    fn begin_unpacking(&mut self, codec: Codec) -> bool {
        self.inner.begin_unpacking(codec)
    }

    fn unpack(&mut self, input: &[u8], output: &mut [u8]) -> Option<Step> {
        self.inner.unpack(input, output)
    }
}

fn watched(pieces: usize, partitions: usize) -> (Script, TopicId, Arc<AtomicUsize>) {
    paced(pieces, partitions, 4 * PIECE)
}

fn paced(pieces: usize, partitions: usize, pace: usize) -> (Script, TopicId, Arc<AtomicUsize>) {
    let bytes = Arc::new(AtomicUsize::new(0));
    let encoders = Watched { inner: CompactPack::new(), bytes: bytes.clone(), pieces, pace };
    let world = World::new(1).topic("t", partitions);
    let mut s = packing(world, Codec::Lz4, Box::new(encoders), |config, limits| {
        (config.batch_bytes, config.request_bytes) = (200_000, 1 << 20);
        limits.tx_blocks = 2048;
    });
    let t = s.ready("t");
    for partition in 0..partitions {
        warm_up(&mut s, t, partition as u32);
    }
    bytes.store(0, Relaxed);
    (s, t, bytes)
}

/// Produces and flushes 190 records of 1,000 bytes to each partition.
fn fill(s: &mut Script, t: TopicId, partitions: u32) {
    for n in 0..190 {
        for partition in 0..partitions {
            s.produce(t, partition, &text(n, 1000));
        }
    }
    let now = s.now();
    s.client.flush(now);
}

/// A turn of the loop packs a quarter of a MiB at most, or what the encoder says that it packs in
/// as long: responses must not wait for more.
#[test]
fn packing_takes_turns() {
    for pace in [4 * PIECE, PIECE, PIECE / 8] {
        let (mut s, t, bytes) = paced(usize::MAX, 8, pace);
        fill(&mut s, t, 8);
        let mut most = 0;
        let (mut turns, mut got) = (0, 0);
        s.until("all is sent", |s| {
            let packed = bytes.swap(0, Relaxed);
            most = most.max(packed);
            turns += usize::from(packed > 0);
            while let Some(requested) = s.take::<ProduceRequest>() {
                got += s.batches(&requested).iter().map(|batch| batch.values.len()).sum::<usize>();
                s.acknowledge(&requested, 1);
            }
            got == 190 * 8
        });
        let least = pace.min(PIECE);
        assert!((least..=pace + least).contains(&most), "{most} bytes at once, pace {pace}");
        assert!(turns >= 190 * 8 * 1000 / (pace + least), "{turns} turns, pace {pace}");
    }
}

/// Halves of a batch that is too large wait for their turn, as others do.
#[test]
fn a_batch_is_split_and_not_packed_in_the_same_turn() {
    let (mut s, t, bytes) = paced(usize::MAX, 1, PIECE / 8);
    fill(&mut s, t, 1);
    let requested = s.expect::<ProduceRequest>();
    bytes.store(0, Relaxed);
    s.refuse(&requested, ErrorCode::MESSAGE_TOO_LARGE.0);
    let mut most = 0;
    s.until("a half is sent", |s| {
        most = most.max(bytes.swap(0, Relaxed));
        s.waiting::<ProduceRequest>() > 0
    });
    assert!((1..=PIECE / 4).contains(&most), "{most} bytes packed at one point in time");
    let requested = s.expect::<ProduceRequest>();
    assert_eq!(s.batches(&requested)[0].header.codec(), 3);
}

/// LZ4 but for topics whose name is that of another codec.
struct ByTopic(Encoders);

impl Pack for ByTopic {
    fn codecs(&self) -> Codecs {
        self.0.codecs()
    }

    fn choose(&mut self, topic: &str, usual: Option<Codec>) -> Option<Codec> {
        let own = Codec::ALL.into_iter().find(|codec| codec.name() == topic);
        if topic == "none" { None } else { own.or(usual) }
    }

    fn begin(&mut self, codec: Codec, len: usize) -> bool {
        self.0.begin(codec, len)
    }

    fn pack(&mut self, input: &[u8], last: bool, output: &mut [u8]) -> Option<usize> {
        self.0.pack(input, last, output)
    }

    fn begin_unpacking(&mut self, codec: Codec) -> bool {
        self.0.begin_unpacking(codec)
    }

    fn unpack(&mut self, input: &[u8], output: &mut [u8]) -> Option<Step> {
        self.0.unpack(input, output)
    }
}

/// Codecs of topics are chosen by the encoders; a broker that does not know zstd gets the others.
#[test]
fn a_broker_without_zstd_gets_the_topics_of_other_codecs() {
    for (usual, version) in [(Some(Codec::Lz4), 6), (None, 6), (Some(Codec::Lz4), 9)] {
        let names = ["gzip", "zstd", "none", "t"];
        let world = names.iter().fold(World::new(1), |world, name| world.topic(name, 1));
        let world = world.at_most(ApiKey::Produce, version);
        let encoders = Box::new(ByTopic(Encoders::default()));
        let mut s = packing(world, Codec::Lz4, encoders, |config, limits| {
            config.compression = usual;
            limits.topics = 4;
        });
        for name in names {
            let topic = s.ready(name);
            for n in 0..10 {
                s.produce(topic, 0, &text(n, 300));
            }
        }
        s.run(Duration::from_secs(1));
        let mut got = std::collections::BTreeMap::new();
        while let Some(requested) = s.take::<ProduceRequest>() {
            for topic in &requested.body.topic_data {
                let records = topic.partition_data[0].records.clone().unwrap_or_default();
                // The low byte of the attributes.
                let codecs: &mut Vec<u8> = got.entry(topic.name.to_string()).or_default();
                codecs.push(records[22] & 7);
            }
            s.acknowledge(&requested, 1);
            s.run(Duration::from_millis(100));
        }
        let case = format!("{usual:?}, Produce {version}: {got:?}");
        let only = |name: &str, id| got[name].iter().all(|codec| *codec == id);
        assert!(only("gzip", 1) && only("none", 0), "{case}");
        assert!(only("t", if usual.is_some() { 3 } else { 0 }), "{case}");
        if version < 7 {
            assert!(!got.contains_key("zstd"), "{case}");
            let fault = PeerFault::NoCodec(Codec::Zstd);
            let failed = s.failed();
            let all = failed
                .iter()
                .all(|(.., error, maybe)| (*error, *maybe) == (Error::Peer(fault), false));
            assert!(all && failed.iter().map(|(count, ..)| count).sum::<u32>() == 10, "{failed:?}");
        } else {
            assert!(only("zstd", 4), "{case}");
            assert_eq!(s.failed(), [], "{case}");
        }
    }
}

#[test]
fn an_encoder_that_fails_at_first_is_done_without() {
    let (mut s, t, _) = watched(1, 1);
    let values: Vec<_> = (0..100).map(|n| text(n, 1000)).collect();
    let requested = one_batch(&mut s, t, &values);
    assert_eq!(s.batches(&requested)[0].header.codec(), 0);
}

#[test]
fn an_encoder_that_fails_in_the_middle_fails_the_batch_alone() {
    let (mut s, t, _) = watched(2, 1);
    for n in 0..100 {
        s.produce(t, 0, &text(n, 1000));
    }
    s.run(Duration::from_secs(1));
    assert_eq!(s.failed(), [(100, Error::Caller(Misuse::Encoder), false)]);
    assert_eq!(s.client.stats().blocks_used, 0);
    let requested = one_batch(&mut s, t, &[text(1, 1000)]);
    s.acknowledge(&requested, 1);
    assert_eq!(s.delivered(), [(1, Some(1))]);
}

/// Several batches are refused and others wait to be packed: the scratch is for one at a time, and
/// what fills the memory behind them cannot leave before.
#[test]
fn batches_are_split_beside_others_that_are_packed() {
    for tx_blocks in [240, 256, 270, 300, 512, 2048] {
        let world = World::new(1).topic("t", 3);
        let mut s = packing(world, Codec::Lz4, Box::new(CompactPack::new()), |config, limits| {
            config.batch_bytes = 40_000;
            limits.tx_blocks = tx_blocks;
        });
        let t = s.ready("t");
        for partition in 0..3 {
            warm_up(&mut s, t, partition);
        }
        let (mut sent, mut got, mut split) = ([0; 3], [0; 3], 0);
        let mut next = [(0, 1); 3];
        let end = s.now() + Duration::from_secs(60);
        while got != [400; 3] {
            // To all of them in turn, until the memory is full.
            for at in (0..3).cycle().take(3 * 400) {
                let value = text(sent[at], 1000);
                if sent[at] < 400 && s.try_produce(t, at as u32, &value).is_ok() {
                    sent[at] += 1;
                }
            }
            // Answered when no more are sent, so that many are refused together.
            s.run(Duration::from_millis(20));
            assert!(s.now() < end, "it hangs: {got:?} of {sent:?}");
            let waiting: Vec<_> = std::iter::from_fn(|| s.take::<ProduceRequest>()).collect();
            for requested in waiting {
                let mut body = Script::produce_response(&requested, 0, 1);
                for batch in s.batches(&requested) {
                    let ((epoch, sequence, count), at) = (batch.place(), batch.partition as usize);
                    // As a broker: size first, then the sequence, which a new epoch begins at 0.
                    let due = if epoch == next[at].0 { next[at].1 } else { 0 };
                    let code = match () {
                        () if count > 10 => ErrorCode::MESSAGE_TOO_LARGE.0,
                        () if sequence != due => ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER.0,
                        () => 0,
                    };
                    if code != 0 {
                        split += usize::from(count > 10);
                        for entry in &mut body.responses[0].partition_responses {
                            if entry.index == batch.partition {
                                (entry.error_code, entry.base_offset) = (code, -1);
                            }
                        }
                        continue;
                    }
                    next[at] = (epoch, due + count);
                    let got = &mut got[at];
                    for value in batch.values {
                        assert_eq!(value, text(*got, 1000), "partition {}", batch.partition);
                        *got += 1;
                    }
                }
                s.respond(&requested, body);
            }
        }
        assert!(split > 5, "{split} were split");
        s.settle();
        assert_eq!(s.failed(), []);
        assert_eq!(s.client.stats().blocks_used, 0);
    }
}

/// What a batch that is being packed has in memory is released when it ends before that.
#[test]
fn a_batch_that_expires_half_packed_leaves_nothing() {
    let (mut s, t, bytes) = watched(usize::MAX, 4);
    fill(&mut s, t, 4);
    s.settle();
    let packed = bytes.load(Relaxed);
    assert!((PIECE..190 * 4 * 1000).contains(&packed), "{packed}");
    // The loop is away for longer than a batch may take.
    s.sleep(Duration::from_secs(121));
    s.run(Duration::from_secs(1));
    assert!(!s.failed().is_empty());
    while let Some(requested) = s.take::<ProduceRequest>() {
        s.acknowledge(&requested, 1);
    }
    s.settle();
    assert_eq!(s.client.stats().blocks_used, 0);
}

/// A piece is in memory twice at most, and that in the scratch: what was packed is released.
#[test]
fn packing_takes_no_more_memory_than_the_batch_had() {
    let world = World::new(1).topic("t", 1);
    let mut s = packing(world, Codec::Lz4, Box::new(CompactPack::new()), |config, limits| {
        (config.batch_bytes, config.request_bytes) = (700_000, 1 << 20);
        limits.tx_blocks = 2048;
    });
    let t = s.ready("t");
    warm_up(&mut s, t, 0);
    let values: Vec<_> =
        (0..600).map(|n| if n < 70 { text(n, 1000) } else { noise(n as u64, 1000) }).collect();
    for value in &values {
        s.produce(t, 0, value);
    }
    let before = s.client.stats().blocks_used;
    assert!(before > 580, "{before}");
    let now = s.now();
    s.client.flush(now);
    let mut most = 0;
    s.until("it is sent", |s| {
        most = most.max(s.client.stats().blocks_used);
        s.waiting::<ProduceRequest>() > 0
    });
    assert!(most <= before + 1, "{most} blocks, {before} before");
    let requested = s.expect::<ProduceRequest>();
    assert_eq!(s.batches(&requested)[0].header.codec(), 3);
    assert_eq!(s.batches(&requested)[0].values, values);
}
