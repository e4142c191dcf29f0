//! A few requests in bytes, without the library under test: for readiness, and as an oracle of what
//! a broker reports. The versions used are offered by every broker from 1.1 to 4.4, except for the
//! one about KRaft.

use core::net::SocketAddr;
use core::time::Duration;
use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;

const API_FETCH: i16 = 1;
const API_METADATA: i16 = 3;
const API_VERSIONS: i16 = 18;
const API_CREATE_TOPICS: i16 = 19;
const API_DELETE_TOPICS: i16 = 20;
const API_CREATE_PARTITIONS: i16 = 37;
const API_DESCRIBE_QUORUM: i16 = 55;
/// Error of CreatePartitions for a count that the topic already has or exceeds.
pub const INVALID_PARTITIONS: i16 = 37;
/// Time that a broker may take for an admin request.
const ADMIN_TIMEOUT_MS: i32 = 30_000;
const LARGEST_RESPONSE: usize = 16 << 20;

/// One connection to one broker, one request at a time.
#[derive(Debug)]
pub struct Raw {
    stream: TcpStream,
    correlation: i32,
}

/// What one broker knows (Metadata v1).
#[derive(Clone, Debug, Default)]
pub struct Metadata {
    /// Ids of the live brokers.
    pub brokers: Vec<i32>,
    /// Id of the controller; with KRaft any live broker.
    pub controller: i32,
    /// Error of the requested topic; 3 if it is unknown. 0 if none was requested.
    pub error: i16,
    /// Its partitions, sorted by index.
    pub partitions: Vec<Partition>,
}

/// One partition in [`Metadata`].
#[derive(Clone, Debug)]
pub struct Partition {
    /// Error code, such as 5 without a leader.
    pub error: i16,
    /// From 0.
    pub index: i32,
    /// Broker id of the leader, -1 if there is none.
    pub leader: i32,
    /// Broker ids of all replicas.
    pub replicas: Vec<i32>,
    /// Broker ids of the replicas in sync.
    pub in_sync: Vec<i32>,
}

impl Raw {
    /// Connects; every read and write may take up to `timeout`.
    ///
    /// # Errors
    /// Those of the socket.
    pub fn connect(address: SocketAddr, timeout: Duration) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, timeout)?;
        stream.set_read_timeout(Some(timeout))?;
        stream.set_write_timeout(Some(timeout))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, correlation: 0 })
    }

    /// Returns the versions of `api` that the broker offers, if any.
    ///
    /// # Errors
    /// Those of the socket, and a response that ends too soon.
    pub fn api_range(&mut self, api: i16) -> io::Result<Option<(i16, i16)>> {
        let response = self.call(API_VERSIONS, 0, &[])?;
        let mut input = Input(&response);
        input.i16()?;
        let ranges = input.array(|input| Ok((input.i16()?, input.i16()?, input.i16()?)))?;
        Ok(ranges.into_iter().find(|range| range.0 == api).map(|(_, min, max)| (min, max)))
    }

    /// Returns brokers, and partitions of `topic` if one is requested.
    ///
    /// # Errors
    /// Those of the socket, and a response that ends too soon.
    pub fn metadata(&mut self, topic: Option<&str>) -> io::Result<Metadata> {
        let mut body = Vec::new();
        body.extend(i32::from(topic.is_some()).to_be_bytes());
        topic.iter().for_each(|name| put_string(&mut body, name));
        let response = self.call(API_METADATA, 1, &body)?;
        let mut input = Input(&response);
        let brokers = input.array(|input| {
            let id = input.i32()?;
            input.string()?;
            input.i32()?;
            input.string()?;
            Ok(id)
        })?;
        let controller = input.i32()?;
        let mut topics = input.array(|input| {
            let error = input.i16()?;
            input.string()?;
            input.take(1)?;
            Ok((error, input.array(partition)?))
        })?;
        let (error, mut partitions) = topics.pop().unwrap_or_default();
        partitions.sort_by_key(|partition| partition.index);
        Ok(Metadata { brokers, controller, error, partitions })
    }

    /// Sends Fetch v4 to a leader; returns the high watermark and the batches from `offset` on, the
    /// first of which may begin before it and the last of which may be cut.
    ///
    /// # Errors
    /// Those of the socket, a response that ends too soon, and a refusal.
    pub fn fetch(
        &mut self,
        topic: &str,
        partition: i32,
        offset: i64,
    ) -> io::Result<(i64, Vec<u8>)> {
        let mut body = (-1i32).to_be_bytes().to_vec(); // no replica
        body.extend([0; 4]); // without a wait
        body.extend(1i32.to_be_bytes());
        body.extend((1i32 << 20).to_be_bytes());
        body.push(0); // read_uncommitted
        body.extend(1i32.to_be_bytes());
        put_string(&mut body, topic);
        body.extend(1i32.to_be_bytes());
        body.extend(partition.to_be_bytes());
        body.extend(offset.to_be_bytes());
        body.extend((1i32 << 20).to_be_bytes());
        let response = self.call(API_FETCH, 4, &body)?;
        let mut input = Input(&response);
        input.take(4 + 4)?; // throttle time, one topic
        input.string()?;
        input.take(4 + 4)?; // one partition, its index
        let error = input.i16()?;
        if error != 0 {
            return Err(io::Error::other(format!("Fetch of {topic}: error {error}")));
        }
        let high_watermark = input.i64()?;
        input.i64()?;
        input.array(|input| input.take(16))?; // aborted transactions
        let len = usize::try_from(input.i32()?).unwrap_or(0);
        Ok((high_watermark, input.take(len)?.to_vec()))
    }

    /// Sends CreateTopics v2; returns the error code, 0 when created.
    ///
    /// # Errors
    /// Those of the socket, and a response that ends too soon.
    pub fn create_topic(&mut self, name: &str, partitions: i32, replicas: i16) -> io::Result<i16> {
        let mut body = 1i32.to_be_bytes().to_vec();
        put_string(&mut body, name);
        body.extend(partitions.to_be_bytes());
        body.extend(replicas.to_be_bytes());
        body.extend([0; 8]); // no assignments, no configs
        body.extend(ADMIN_TIMEOUT_MS.to_be_bytes());
        body.push(0); // not validate_only
        self.admin(API_CREATE_TOPICS, 2, &body)
    }

    /// Sends CreatePartitions v0 up to `count` in all; returns the error code, 0 when done.
    ///
    /// # Errors
    /// Those of the socket, and a response that ends too soon.
    pub fn create_partitions(&mut self, name: &str, count: i32) -> io::Result<i16> {
        let mut body = 1i32.to_be_bytes().to_vec();
        put_string(&mut body, name);
        body.extend(count.to_be_bytes());
        body.extend((-1i32).to_be_bytes()); // the broker assigns
        body.extend(ADMIN_TIMEOUT_MS.to_be_bytes());
        body.push(0);
        self.admin(API_CREATE_PARTITIONS, 0, &body)
    }

    /// Sends DeleteTopics v1; returns the error code, 0 when deleted.
    ///
    /// # Errors
    /// Those of the socket, and a response that ends too soon.
    pub fn delete_topic(&mut self, name: &str) -> io::Result<i16> {
        let mut body = 1i32.to_be_bytes().to_vec();
        put_string(&mut body, name);
        body.extend(ADMIN_TIMEOUT_MS.to_be_bytes());
        self.admin(API_DELETE_TOPICS, 1, &body)
    }

    /// Sends DescribeQuorum v0 (KRaft only); returns the node id of the active controller.
    ///
    /// # Errors
    /// Those of the socket, and a response that ends too soon.
    pub fn active_controller(&mut self) -> io::Result<i32> {
        let topic = "__cluster_metadata";
        // Flexible from version 0: tags end the header, lengths are one too high.
        let mut body = vec![0, 2, topic.len() as u8 + 1];
        body.extend(topic.bytes());
        body.extend([2, 0, 0, 0, 0, 0, 0, 0]); // one partition, index 0; ends of tags
        let response = self.call(API_DESCRIBE_QUORUM, 0, &body)?;
        let mut input = Input(&response);
        input.take(1)?;
        let error = input.i16()?;
        if error != 0 {
            return Err(io::Error::other(format!("DescribeQuorum: error {error}")));
        }
        input.take(1 + 1 + topic.len() + 1 + 4 + 2)?; // up to the partition's error code
        input.i32()
    }

    /// Their responses begin the same way: throttle time, then per topic its name and error code.
    fn admin(&mut self, api: i16, version: i16, body: &[u8]) -> io::Result<i16> {
        let response = self.call(api, version, body)?;
        let mut input = Input(&response);
        input.i32()?;
        input.i32()?;
        input.string()?;
        input.i16()
    }

    /// Sends one request with header v1 and returns its response after the correlation id.
    fn call(&mut self, api: i16, version: i16, body: &[u8]) -> io::Result<Vec<u8>> {
        self.correlation += 1;
        let mut request = vec![0; 4];
        request.extend(api.to_be_bytes());
        request.extend(version.to_be_bytes());
        request.extend(self.correlation.to_be_bytes());
        put_string(&mut request, "launcher");
        request.extend(body);
        let len = u32::try_from(request.len() - 4).map_err(io::Error::other)?;
        request[..4].copy_from_slice(&len.to_be_bytes());
        self.exchange(&request).map_err(|error| match error.kind() {
            // From a socket with a time limit; its own text is "resource temporarily unavailable".
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                let text = format!("no response to a request with API key {api} in time");
                io::Error::new(io::ErrorKind::TimedOut, text)
            }
            _ => error,
        })
    }

    fn exchange(&mut self, request: &[u8]) -> io::Result<Vec<u8>> {
        self.stream.write_all(request)?;
        let mut len = [0; 4];
        self.stream.read_exact(&mut len)?;
        let len = usize::try_from(u32::from_be_bytes(len)).map_err(io::Error::other)?;
        if !(4..=LARGEST_RESPONSE).contains(&len) {
            return Err(io::Error::other(format!("a response of {len} bytes")));
        }
        let mut response = vec![0; len];
        self.stream.read_exact(&mut response)?;
        let id = Input(&response).i32()?;
        if id != self.correlation {
            return Err(io::Error::other(format!("answer {id} to request {}", self.correlation)));
        }
        Ok(response.split_off(4))
    }
}

fn partition(input: &mut Input<'_>) -> io::Result<Partition> {
    Ok(Partition {
        error: input.i16()?,
        index: input.i32()?,
        leader: input.i32()?,
        replicas: input.array(Input::i32)?,
        in_sync: input.array(Input::i32)?,
    })
}

fn put_string(out: &mut Vec<u8>, text: &str) {
    let len = i16::try_from(text.len()).expect("a name of at most 32767 bytes");
    out.extend(len.to_be_bytes());
    out.extend(text.as_bytes());
}

struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, len: usize) -> io::Result<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(len).ok_or(io::ErrorKind::UnexpectedEof)?;
        self.0 = rest;
        Ok(head)
    }

    fn i16(&mut self) -> io::Result<i16> {
        let bytes = self.take(2)?.try_into().map_err(io::Error::other)?;
        Ok(i16::from_be_bytes(bytes))
    }

    fn i32(&mut self) -> io::Result<i32> {
        let bytes = self.take(4)?.try_into().map_err(io::Error::other)?;
        Ok(i32::from_be_bytes(bytes))
    }

    fn i64(&mut self) -> io::Result<i64> {
        let bytes = self.take(8)?.try_into().map_err(io::Error::other)?;
        Ok(i64::from_be_bytes(bytes))
    }

    /// Reads a string; null reads as empty.
    fn string(&mut self) -> io::Result<&'a [u8]> {
        let len = self.i16()?;
        self.take(usize::try_from(len).unwrap_or(0))
    }

    fn array<T>(&mut self, item: impl Fn(&mut Self) -> io::Result<T>) -> io::Result<Vec<T>> {
        (0..self.i32()?).map(|_| item(self)).collect()
    }
}
