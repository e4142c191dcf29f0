//! Serves the metrics of a producer and a consumer as Prometheus text.
//!
//! `cargo run -p kavka-std --example prometheus -- localhost:9092 readings`, then
//! `curl http://127.0.0.1:9464/metrics`
#![allow(
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc,
    reason = "an ordinary program for hosts"
)]

use std::fmt::{self, Write as _};
use std::io::{self, BufRead, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use kavka_std::{Config, Consumer, ConsumerMetrics, Producer, ProducerMetrics, Record, Start};

type Failure = Box<dyn std::error::Error>;

/// What goes between the quotes of a label.
struct Label<'a>(&'a str);

impl fmt::Display for Label<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| match c {
            '\\' | '"' => write!(f, "\\{c}"),
            '\n' => f.write_str("\\n"),
            c => f.write_char(c),
        })
    }
}

fn produced(out: &mut String, metrics: &ProducerMetrics) -> fmt::Result {
    writeln!(out, "kavka_producer_queue_bytes {}", metrics.queue_bytes)?;
    writeln!(out, "kavka_producer_parked_bytes {}", metrics.parked_bytes)?;
    writeln!(out, "kavka_producer_in_flight_records {}", metrics.in_flight)?;
    writeln!(out, "kavka_producer_connections {}", metrics.net.connections)?;
    writeln!(out, "kavka_producer_disconnects_total {}", metrics.net.disconnects)?;
    writeln!(out, "kavka_producer_requests_total {}", metrics.net.requests)?;
    writeln!(out, "# TYPE kavka_producer_latency_seconds histogram")?;
    for (topic, sent) in &metrics.topics {
        let topic = format!("topic=\"{}\"", Label(topic));
        writeln!(out, "kavka_producer_records_total{{{topic}}} {}", sent.records)?;
        writeln!(out, "kavka_producer_failed_records_total{{{topic}}} {}", sent.failed)?;
        writeln!(out, "kavka_producer_batches_total{{{topic}}} {}", sent.batches)?;
        writeln!(out, "kavka_producer_bytes_total{{{topic}}} {}", sent.bytes)?;
        writeln!(out, "kavka_producer_partitions{{{topic}}} {}", sent.partitions)?;
        if let Some(age) = sent.age {
            writeln!(out, "kavka_producer_metadata_age_seconds{{{topic}}} {}", age.as_secs_f64())?;
        }
        let (name, count) = ("kavka_producer_latency_seconds", sent.latency.count());
        for (bound, count) in sent.latency.buckets() {
            let bound = bound.as_secs_f64();
            writeln!(out, "{name}_bucket{{{topic},le=\"{bound}\"}} {count}")?;
        }
        writeln!(out, "{name}_bucket{{{topic},le=\"+Inf\"}} {count}")?;
        writeln!(out, "{name}_sum{{{topic}}} {}", sent.latency.sum().as_secs_f64())?;
        writeln!(out, "{name}_count{{{topic}}} {count}")?;
    }
    Ok(())
}

fn consumed(out: &mut String, metrics: &ConsumerMetrics) -> fmt::Result {
    writeln!(out, "kavka_consumer_queue_bytes {}", metrics.queue_bytes)?;
    writeln!(out, "kavka_consumer_connections {}", metrics.net.connections)?;
    writeln!(out, "kavka_consumer_disconnects_total {}", metrics.net.disconnects)?;
    writeln!(out, "kavka_consumer_requests_total {}", metrics.net.requests)?;
    for (topic, read) in &metrics.topics {
        let topic = format!("topic=\"{}\"", Label(topic));
        writeln!(out, "kavka_consumer_batches_total{{{topic}}} {}", read.batches)?;
        writeln!(out, "kavka_consumer_bytes_total{{{topic}}} {}", read.bytes)?;
        writeln!(out, "kavka_consumer_errors_total{{{topic}}} {}", read.errors)?;
        writeln!(out, "kavka_consumer_partitions{{{topic}}} {}", read.partitions)?;
        if let Some(age) = read.age {
            writeln!(out, "kavka_consumer_metadata_age_seconds{{{topic}}} {}", age.as_secs_f64())?;
        }
        for (partition, lag) in &read.lag {
            writeln!(out, "kavka_consumer_lag{{{topic},partition=\"{partition}\"}} {lag}")?;
        }
    }
    Ok(())
}

/// One scrape: a request, and the metrics as its response.
pub(crate) fn serve(
    peer: &TcpStream,
    producer: &Producer,
    consumer: &Consumer,
) -> Result<(), Failure> {
    peer.set_read_timeout(Some(Duration::from_secs(5)))?;
    for line in BufReader::new(peer).lines() {
        if line?.is_empty() {
            break; // the end of the request's head
        }
    }
    let mut body = String::new();
    produced(&mut body, &producer.metrics().wait()?)?;
    consumed(&mut body, &consumer.metrics().wait()?)?;
    let (kind, length) = ("text/plain; version=0.0.4", body.len());
    let mut peer: &TcpStream = peer;
    write!(peer, "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n")?;
    write!(peer, "Connection: close\r\n\r\n{body}")?;
    Ok(peer.flush()?)
}

fn main() -> Result<(), Failure> {
    let mut args = std::env::args().skip(1);
    let bootstrap = args.next().unwrap_or_else(|| "localhost:9092".into());
    let topic = args.next().unwrap_or_else(|| "readings".into());
    let producer = Producer::new(Config::new(&bootstrap))?;
    let consumer = Consumer::assign_all(Config::new(&bootstrap).start(Start::Earliest), &[&topic])?;
    let listener = TcpListener::bind("127.0.0.1:9464")?;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            loop {
                let _ = producer.send(&topic, &Record::new(b"21.5"));
                match consumer.next_timeout(Duration::from_millis(100)) {
                    Ok(_) => {}
                    Err(error) => eprintln!("{error}"),
                }
            }
        });
        for peer in listener.incoming() {
            let served =
                peer.map_err(Failure::from).and_then(|peer| serve(&peer, &producer, &consumer));
            if let Err(error) = served {
                writeln!(io::stderr(), "scrape: {error}")?;
            }
        }
        Ok(())
    })
}
