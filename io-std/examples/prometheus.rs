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

use kavka_std::{
    Config, Consumer, ConsumerMetrics, NetMetrics, Producer, ProducerMetrics, Record, Start,
};

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

/// `client`: what the names begin with.
fn connections(out: &mut String, client: &str, net: &NetMetrics) -> fmt::Result {
    writeln!(out, "{client}_connections {}", net.connections)?;
    writeln!(out, "{client}_disconnects_total {}", net.disconnects)?;
    writeln!(out, "{client}_requests_total {}", net.requests)?;
    writeln!(out, "{client}_sent_bytes_total {}", net.bytes_out)?;
    writeln!(out, "{client}_received_bytes_total {}", net.bytes_in)?;
    for conn in &net.each {
        let of = format!("broker=\"{}\",slot=\"{}\"", Label(&conn.address), conn.slot);
        writeln!(out, "{client}_connection_requests_total{{{of}}} {}", conn.requests)?;
        writeln!(out, "{client}_connection_in_flight_requests{{{of}}} {}", conn.in_flight)?;
        writeln!(out, "{client}_connection_sent_bytes_total{{{of}}} {}", conn.bytes_out)?;
        writeln!(out, "{client}_connection_received_bytes_total{{{of}}} {}", conn.bytes_in)?;
        if let Some(took) = conn.round_trip {
            let took = took.as_secs_f64();
            writeln!(out, "{client}_connection_round_trip_seconds{{{of}}} {took}")?;
        }
    }
    Ok(())
}

/// How old the count of a topic's partitions and their leaders are.
fn ages(out: &mut String, client: &str, topic: &str, ages: [Option<Duration>; 2]) -> fmt::Result {
    for (name, age) in ["metadata_age", "leaders_age"].into_iter().zip(ages) {
        if let Some(age) = age {
            writeln!(out, "{client}_{name}_seconds{{{topic}}} {}", age.as_secs_f64())?;
        }
    }
    Ok(())
}

fn produced(out: &mut String, metrics: &ProducerMetrics) -> fmt::Result {
    writeln!(out, "kavka_producer_queue_bytes {}", metrics.queue_bytes)?;
    writeln!(out, "kavka_producer_parked_bytes {}", metrics.parked_bytes)?;
    writeln!(out, "kavka_producer_in_flight_records {}", metrics.in_flight)?;
    connections(out, "kavka_producer", &metrics.net)?;
    writeln!(out, "# TYPE kavka_producer_latency_seconds histogram")?;
    for (topic, sent) in &metrics.topics {
        let topic = format!("topic=\"{}\"", Label(topic));
        writeln!(out, "kavka_producer_records_total{{{topic}}} {}", sent.records)?;
        writeln!(out, "kavka_producer_failed_records_total{{{topic}}} {}", sent.failed)?;
        writeln!(out, "kavka_producer_batches_total{{{topic}}} {}", sent.batches)?;
        writeln!(out, "kavka_producer_bytes_total{{{topic}}} {}", sent.bytes)?;
        writeln!(out, "kavka_producer_partitions{{{topic}}} {}", sent.partitions)?;
        writeln!(out, "kavka_producer_retries_total{{{topic}}} {}", sent.retries)?;
        writeln!(out, "kavka_producer_errors_total{{{topic}}} {}", sent.errors)?;
        ages(out, "kavka_producer", &topic, [sent.age, sent.leaders_age])?;
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
    connections(out, "kavka_consumer", &metrics.net)?;
    for (topic, read) in &metrics.topics {
        let topic = format!("topic=\"{}\"", Label(topic));
        writeln!(out, "kavka_consumer_batches_total{{{topic}}} {}", read.batches)?;
        writeln!(out, "kavka_consumer_bytes_total{{{topic}}} {}", read.bytes)?;
        writeln!(out, "kavka_consumer_errors_total{{{topic}}} {}", read.errors)?;
        writeln!(out, "kavka_consumer_partitions{{{topic}}} {}", read.partitions)?;
        ages(out, "kavka_consumer", &topic, [read.age, read.leaders_age])?;
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
