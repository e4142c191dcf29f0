//! A name server that knows one name (RFC 1035).

use std::net::UdpSocket;
use std::thread;

use crate::Failure;

/// The name that it knows: of this host, as the board sees it.
const NAME: &str = "kafka.example";
/// QTYPE A, QCLASS IN.
const ADDRESS: [u8; 4] = [0, 1, 0, 1];
/// A pointer to the name in the query, an address that holds for a minute: 10.0.2.2.
const RESPONSE: [u8; 16] = [0xC0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 10, 0, 2, 2];

/// Starts it; it ends with this program. Returns the name.
pub(crate) fn serve() -> Result<&'static str, Failure> {
    let socket = UdpSocket::bind(("127.0.0.1", 53))
        .map_err(|error| format!("no name server on 127.0.0.1:53: {error}"))?;
    thread::spawn(move || {
        let mut query = [0; 512];
        while let Ok((len, from)) = socket.recv_from(&mut query) {
            if let Some(response) = query.get(..len).and_then(respond) {
                let _ = socket.send_to(&response, from);
            }
        }
    });
    Ok(NAME)
}

/// The response to a query for one name: the address, or that there is no such name.
fn respond(query: &[u8]) -> Option<Vec<u8>> {
    let mut wanted: Vec<u8> = Vec::new();
    for label in NAME.split('.') {
        wanted.push(u8::try_from(label.len()).ok()?);
        wanted.extend(label.as_bytes());
    }
    wanted.push(0);
    let expected = query.get(12..)?;
    let known = expected.starts_with(&wanted) && expected[wanted.len()..].starts_with(&ADDRESS);
    let end = 12 + expected.iter().position(|byte| *byte == 0)? + 1 + ADDRESS.len();
    let mut bytes = query.get(..2)?.to_vec();
    bytes.extend([0x84, if known { 0 } else { 3 }]); // a response, with authority; NXDOMAIN
    bytes.extend([0, 1, 0, u8::from(known), 0, 0, 0, 0]);
    bytes.extend(query.get(12..end)?);
    if known {
        bytes.extend(RESPONSE);
    }
    Some(bytes)
}
