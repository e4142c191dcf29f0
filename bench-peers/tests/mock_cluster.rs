//! kavka against librdkafka's mock cluster: brokers by other authors.
//!
//! What it cannot do: it has no DescribeTopicPartitions, cannot grow a topic, and checks sequence
//! numbers of transactional producers only. A batch whose response was lost is therefore written
//! again, and while leaders move only one batch at a time keeps the order: a real leader refuses a
//! batch that comes before the one before it. It ends with a segmentation fault when a partition
//! without leader is requested in Produce 10 or Fetch 12 and later, whose responses name the new
//! leader: that test keeps it to earlier versions.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use kavka_std::{Config, Consumer, Producer, Record, Start};
use kavka_tests::kafka::ledger::{Entry, Ledger, Place, Report};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey as Api, RDKafkaRespErr as Code};

const TOPIC: &str = "readings";
const PARTITIONS: u32 = 4;
const BROKERS: i32 = 3;
const RECORDS: u32 = 5000;
const KEYS: u32 = 50;
/// Records a second.
const RATE: u32 = 2500;
/// For everything to be acknowledged, and then read.
const LIMIT: Duration = Duration::from_secs(40);

type Mock = MockCluster<'static, DefaultProducerContext>;

fn mock() -> Mock {
    let mock = MockCluster::new(BROKERS).unwrap();
    mock.create_topic(TOPIC, PARTITIONS as i32, BROKERS).unwrap();
    mock
}

fn config(mock: &Mock) -> Config {
    Config::new(mock.bootstrap_servers()).start(Start::Earliest)
}

/// Sends and reads [`RECORDS`] with keys while `trouble` lasts, which is notified when all are
/// sent.
fn load(mock: &Mock, trouble: impl FnOnce(&AtomicBool)) -> Report {
    load_as(mock, config(mock), trouble)
}

fn load_as(mock: &Mock, producer: Config, trouble: impl FnOnce(&AtomicBool)) -> Report {
    let producer = Producer::new(producer).unwrap();
    let consumer = Consumer::assign_all(config(mock), &[TOPIC]).unwrap();
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let reading = scope.spawn(|| read(&consumer, &over));
        let sending = scope.spawn(|| {
            // Also where sending panics, or the others would wait forever.
            let _over = Over(&over);
            send(&producer)
        });
        trouble(&over);
        let sent = sending.join().expect("the sending thread panicked");
        let mut ledger = reading.join().expect("the reading thread panicked");
        for (entry, place) in sent {
            ledger.acknowledge(entry, place);
        }
        ledger.report()
    })
}

struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

fn send(producer: &Producer) -> Vec<(Entry, Option<Place>)> {
    let begun = Instant::now();
    let mut waiting = Vec::new();
    for n in 0..RECORDS {
        let entry = Entry { run: 0, key: n % KEYS, turn: n / KEYS };
        let (key, value) = (entry.key_bytes(), entry.value(100));
        let record = Record::new(&value).key(key.as_bytes());
        waiting.push((entry, producer.send(TOPIC, &record).unwrap()));
        let due = Duration::from_secs(1) * n / RATE;
        thread::sleep(due.saturating_sub(begun.elapsed()));
    }
    let mut sent = Vec::new();
    for (entry, pending) in waiting {
        let result =
            pending.wait_timeout(LIMIT).unwrap_or_else(|_| panic!("{entry:?}: no response"));
        let reported = result.unwrap_or_else(|error| panic!("{entry:?}: {error}"));
        let place = reported.offset.map(|offset| Place { partition: reported.partition, offset });
        sent.push((entry, place));
    }
    sent
}

/// Reads until everything that was sent has come, each once or more.
fn read(consumer: &Consumer, over: &AtomicBool) -> Ledger {
    let mut ledger = Ledger::default();
    let mut deadline = None;
    while ledger.report().read < u64::from(RECORDS) {
        if over.load(Ordering::Acquire) {
            let deadline = *deadline.get_or_insert_with(|| Instant::now() + LIMIT);
            if Instant::now() > deadline {
                break;
            }
        }
        let chunk = consumer.next_timeout(Duration::from_millis(50)).unwrap();
        for record in chunk.iter().flat_map(|chunk| chunk.records()) {
            let record = record.unwrap();
            let entry = record.value.and_then(Entry::read).expect("a value of ours");
            ledger.read(entry, Place { partition: record.partition, offset: record.offset });
        }
    }
    ledger
}

fn assert_clean(report: &Report) {
    assert!(report.is_clean(), "{report}");
    assert_eq!((report.acknowledged, report.read), (RECORDS.into(), RECORDS.into()), "{report}");
}

/// As long as records are sent, every `pace`: what to do the n-th time.
fn meanwhile(over: &AtomicBool, pace: Duration, mut act: impl FnMut(i32)) {
    for n in 0.. {
        if over.load(Ordering::Acquire) {
            return;
        }
        act(n);
        thread::sleep(pace);
    }
}

#[test]
fn what_is_produced_is_consumed() {
    let mock = mock();
    assert_clean(&load(&mock, |_| ()));
}

#[test]
fn leaders_move_under_load() {
    let mock = mock();
    let one_in_flight = config(&mock).idempotent(false);
    let report = load_as(&mock, one_in_flight, |over| {
        meanwhile(over, Duration::from_millis(50), |n| {
            let (partition, leader) = (n % PARTITIONS as i32, 1 + (n * 7 / 4) % BROKERS);
            mock.partition_leader(TOPIC, partition, Some(leader)).unwrap();
        });
    });
    assert_clean(&report);
}

#[test]
fn a_partition_is_without_leader_for_a_while() {
    let mock = mock();
    mock.apiversion(Api::Produce, Some(0), Some(9)).unwrap();
    mock.apiversion(Api::Fetch, Some(0), Some(11)).unwrap();
    let one_in_flight = config(&mock).idempotent(false);
    let report = load_as(&mock, one_in_flight, |over| {
        meanwhile(over, Duration::from_millis(300), |n| {
            let (partition, leader) = (n / 2 % PARTITIONS as i32, 1 + n % BROKERS);
            mock.partition_leader(TOPIC, partition, (n % 2 == 1).then_some(leader)).unwrap();
        });
        for partition in 0..PARTITIONS as i32 {
            mock.partition_leader(TOPIC, partition, Some(1)).unwrap();
        }
    });
    assert_clean(&report);
}

#[test]
fn brokers_go_down_and_come_back() {
    let mock = mock();
    let report = load(&mock, |over| {
        meanwhile(over, Duration::from_millis(200), |n| {
            let broker = 1 + n / 3 % BROKERS;
            match n % 3 {
                0 => mock.broker_down(broker).unwrap(),
                1 => (0..PARTITIONS as i32).for_each(|partition| {
                    mock.partition_leader(TOPIC, partition, Some(1 + broker % BROKERS)).unwrap();
                }),
                _ => mock.broker_up(broker).unwrap(),
            }
        });
        mock.broker_up(-1).unwrap();
    });
    // Batches whose responses were lost are written again, and those after them before: see above.
    let honest = Report { duplicated: 0, reordered: 0, misplaced: 0, ..report };
    assert!(honest.is_clean() && report.acknowledged == u64::from(RECORDS), "{report}");
}

#[test]
fn a_response_takes_its_time() {
    let mock = mock();
    mock.broker_round_trip_time(2, Duration::from_millis(150)).unwrap();
    assert_clean(&load(&mock, |_| ()));
}

/// Errors of one request, for the client to get over without losing anything.
fn errors(api: Api, idempotent: bool, codes: &[Code]) {
    let mock = mock();
    let report = load_as(&mock, config(&mock).idempotent(idempotent), |over| {
        let mut left = codes.iter();
        meanwhile(over, Duration::from_millis(100), |_| {
            if let Some(code) = left.next() {
                mock.request_errors(api, &[*code]);
            }
        });
        mock.clear_request_errors(api);
    });
    assert_clean(&report);
}

#[test]
fn produce_is_refused_for_many_reasons() {
    errors(
        Api::Produce,
        false,
        &[
            Code::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
            Code::RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE,
            Code::RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT,
            Code::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS,
            Code::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND,
            Code::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART,
            Code::RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR,
            Code::RD_KAFKA_RESP_ERR__TRANSPORT,
        ],
    );
}

#[test]
fn fetch_is_refused_for_many_reasons() {
    errors(
        Api::Fetch,
        true,
        &[
            Code::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
            Code::RD_KAFKA_RESP_ERR_FENCED_LEADER_EPOCH,
            Code::RD_KAFKA_RESP_ERR_UNKNOWN_LEADER_EPOCH,
            Code::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART,
            Code::RD_KAFKA_RESP_ERR_OFFSET_NOT_AVAILABLE,
            Code::RD_KAFKA_RESP_ERR_FETCH_SESSION_ID_NOT_FOUND,
            Code::RD_KAFKA_RESP_ERR_INVALID_FETCH_SESSION_EPOCH,
            Code::RD_KAFKA_RESP_ERR_UNKNOWN,
            Code::RD_KAFKA_RESP_ERR__TRANSPORT,
        ],
    );
}

#[test]
fn list_offsets_and_probes_are_refused() {
    errors(
        Api::ListOffsets,
        true,
        &[
            Code::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
            Code::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART,
            Code::RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE,
            Code::RD_KAFKA_RESP_ERR__TRANSPORT,
        ],
    );
}

#[test]
fn the_first_requests_of_a_client_are_refused() {
    let mock = mock();
    let transport = [Code::RD_KAFKA_RESP_ERR__TRANSPORT; 2];
    mock.request_errors(Api::ApiVersion, &transport);
    mock.request_errors(Api::Metadata, &transport);
    mock.request_errors(
        Api::InitProducerId,
        &[
            Code::RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS,
            Code::RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE,
            Code::RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT,
            Code::RD_KAFKA_RESP_ERR__TRANSPORT,
        ],
    );
    assert_clean(&load(&mock, |_| ()));
}

#[test]
fn old_versions_work_as_well() {
    let mock = mock();
    mock.apiversion(Api::Produce, Some(0), Some(7)).unwrap();
    mock.apiversion(Api::Fetch, Some(0), Some(11)).unwrap();
    mock.apiversion(Api::Metadata, Some(0), Some(7)).unwrap();
    mock.apiversion(Api::ListOffsets, Some(0), Some(4)).unwrap();
    mock.apiversion(Api::InitProducerId, Some(0), Some(1)).unwrap();
    assert_clean(&load(&mock, |_| ()));
}
