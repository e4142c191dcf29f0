//! A server on loopback that issues tokens (OIDC), over HTTPS.

use std::io::{self, Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// A peer that says nothing for this long is given up.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a client requested: the header `Authorization`, and the body.
#[derive(Clone, Debug)]
pub struct Requested {
    /// The value of the header `Authorization`.
    pub authorization: String,
    /// The form.
    pub body: String,
}

/// The server. It runs until the process ends.
#[derive(Debug)]
pub struct TokenServer {
    port: u16,
    requested: Arc<Mutex<Vec<Requested>>>,
}

impl TokenServer {
    /// Starts it. `respond` returns status and body of the n-th response, from 0.
    ///
    /// # Panics
    /// When loopback has no port.
    pub fn start(
        tls: Arc<ServerConfig>,
        respond: impl Fn(usize) -> (u16, String) + Send + 'static,
    ) -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = socket.local_addr().expect("an address").port();
        let requested = Arc::new(Mutex::new(Vec::new()));
        let noted = requested.clone();
        thread::spawn(move || {
            let mut count = 0;
            for stream in socket.incoming().map_while(Result::ok) {
                let _ = stream.set_read_timeout(Some(PATIENCE));
                let Ok(session) = ServerConnection::new(tls.clone()) else { continue };
                let mut stream = StreamOwned::new(session, stream);
                // One that does not trust the certificate ends here.
                let Ok(request) = read(&mut stream) else { continue };
                noted.lock().unwrap_or_else(PoisonError::into_inner).push(request);
                let (status, body) = respond(count);
                count += 1;
                let _ = write(&mut stream, status, &body);
            }
        });
        Self { port, requested }
    }

    /// Returns the URL of the endpoint for tokens.
    #[must_use]
    pub fn url(&self) -> String {
        format!("https://localhost:{}/oauth2/token", self.port)
    }

    /// Returns what was requested so far.
    #[must_use]
    pub fn requested(&self) -> Vec<Requested> {
        self.requested.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn read(stream: &mut impl Read) -> io::Result<Requested> {
    let mut text = String::new();
    let mut chunk = [0; 1024];
    loop {
        let read = stream.read(&mut chunk)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        text.push_str(&String::from_utf8_lossy(&chunk[..read]));
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let header = |name: &str| {
            let line = head.lines().find_map(|line| {
                let (key, value) = line.split_once(':')?;
                key.eq_ignore_ascii_case(name).then_some(value.trim())
            });
            line.unwrap_or_default().to_owned()
        };
        if body.len() >= header("content-length").parse().unwrap_or(0) {
            let authorization = header("authorization");
            return Ok(Requested { authorization, body: body.to_owned() });
        }
    }
}

fn write(
    stream: &mut StreamOwned<ServerConnection, std::net::TcpStream>,
    status: u16,
    body: &str,
) -> io::Result<()> {
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 {status} Status\r\nContent-Type: application/json\r\nConnection: close\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    )?;
    stream.flush()?;
    stream.conn.send_close_notify();
    stream.flush()
}

/// Returns an unsigned token of a user, as brokers of tests accept it. It begins 10 s ago and lasts
/// from now for so many seconds, or has ended for as long if that is negative.
#[must_use]
pub fn unsigned(user: &str, lasts: i64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let now = i64::try_from(now).unwrap_or_default();
    let (from, to) = (now - 10 + lasts.min(0) * 2, now + lasts);
    let head = base64url(br#"{"alg":"none"}"#);
    let body = format!(r#"{{"sub":"{user}","iat":{from},"exp":{to}}}"#);
    format!("{head}.{}.", base64url(body.as_bytes()))
}

fn base64url(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte));
        let bits = bits << (8 * (3 - chunk.len()));
        for n in 0..=chunk.len() {
            text.push(char::from(DIGITS[(bits >> (18 - 6 * n) & 63) as usize]));
        }
    }
    text
}
