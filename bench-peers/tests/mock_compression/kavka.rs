//! kavka.

use std::collections::BTreeSet;

use kavka_std::{Compression, Config, Consumer, Header, Producer, Record, Start};

use super::{Content, LIMIT, Mock, RECORDS, Row, content};

pub(super) fn write(mock: &Mock, topic: &str, compression: Compression, bytes: usize) -> Vec<Row> {
    let config = Config::new(mock.bootstrap_servers()).compression(compression).batch_bytes(bytes);
    let producer = Producer::new(config).unwrap();
    let send = |n| {
        let content = content(n);
        let headers = content.headers.iter();
        let headers: Vec<_> =
            headers.map(|(name, value)| Header { name, value: value.as_deref() }).collect();
        let mut record = Record::tombstone().timestamp(content.timestamp).headers(&headers);
        (record.key, record.value) = (content.key.as_deref(), content.value.as_deref());
        let pending = producer.send(topic, &record).unwrap();
        (content, pending)
    };
    let sent: Vec<_> = (0..RECORDS).map(send).collect();
    let row = |(content, pending): (_, kavka_std::Pending<kavka_std::Delivered>)| {
        let result = pending.wait_timeout(LIMIT).unwrap_or_else(|_| panic!("{topic}: no result"));
        let at = result.unwrap_or_else(|error| panic!("{topic}: {error}"));
        (at.partition, at.offset.expect("acks=all"), content)
    };
    sent.into_iter().map(row).collect()
}

/// Returns the records in order, the codecs of their batches and the bytes of these.
pub(super) fn read(mock: &Mock, topic: &str, count: usize) -> (Vec<Row>, BTreeSet<u8>, usize) {
    let config = Config::new(mock.bootstrap_servers()).start(Start::Earliest);
    let consumer = Consumer::assign_all(config, &[topic]).unwrap();
    let (mut rows, mut codecs, mut bytes) = (Vec::new(), BTreeSet::new(), 0);
    let owned = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
    while rows.len() < count {
        let chunk = consumer.next_timeout(LIMIT).unwrap_or_else(|error| panic!("{topic}: {error}"));
        let chunk = chunk.unwrap_or_else(|| panic!("{topic}: only {} of {count}", rows.len()));
        for batch in chunk.batches() {
            bytes += batch.bytes().len();
            // The low byte of the batch's attributes.
            codecs.insert(batch.bytes()[22] & 7);
            for record in batch.records() {
                let record = record.unwrap();
                let headers = record.headers;
                let headers =
                    headers.map(|h| (h.name_str().unwrap().to_owned(), owned(h.value))).collect();
                let (key, value) = (owned(record.key), owned(record.value));
                let content = Content { timestamp: record.timestamp, key, value, headers };
                rows.push((record.partition, record.offset, content));
            }
        }
    }
    rows.sort();
    (rows, codecs, bytes)
}
