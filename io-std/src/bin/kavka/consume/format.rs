//! `-f`: format strings as kcat has them.

use std::io::{self, Write};

use kavka_std::Received;

use crate::text::escape;

/// A format string, ready to be used.
pub(super) struct Format(Vec<Token>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Text(Vec<u8>),
    Payload,
    PayloadLen,
    PayloadLenBinary,
    Key,
    KeyLen,
    Timestamp,
    Headers,
    Topic,
    Partition,
    Offset,
}

impl Format {
    pub(super) fn new(text: &str) -> Result<Self, String> {
        let (mut tokens, mut plain) = (Vec::new(), Vec::new());
        let mut rest = text;
        while let Some(at) = rest.find(['%', '\\']) {
            let (before, from) = rest.split_at(at);
            plain.extend_from_slice(before.as_bytes());
            let mut taken = 2;
            if from.starts_with('\\') {
                let (byte, len) = escape(from)?;
                plain.push(byte);
                taken = len;
            } else {
                match token(from.chars().nth(1))? {
                    Token::Text(text) => plain.extend(text),
                    token => {
                        if !plain.is_empty() {
                            tokens.push(Token::Text(core::mem::take(&mut plain)));
                        }
                        tokens.push(token);
                    }
                }
            }
            rest = from.get(taken..).unwrap_or_default();
        }
        plain.extend_from_slice(rest.as_bytes());
        if !plain.is_empty() {
            tokens.push(Token::Text(plain));
        }
        Ok(Self(tokens))
    }

    /// `null`: printed for keys and payloads that are null.
    pub(super) fn write(
        &self,
        out: &mut impl Write,
        record: &Received<'_>,
        null: &[u8],
    ) -> io::Result<()> {
        let length = |bytes: Option<&[u8]>| {
            bytes.map_or(-1, |bytes| i64::try_from(bytes.len()).unwrap_or(i64::MAX))
        };
        for token in &self.0 {
            match token {
                Token::Text(text) => out.write_all(text)?,
                Token::Payload => out.write_all(record.value.unwrap_or(null))?,
                Token::PayloadLen => write!(out, "{}", length(record.value))?,
                Token::PayloadLenBinary => {
                    let length = i32::try_from(length(record.value)).unwrap_or(i32::MAX);
                    out.write_all(&length.to_be_bytes())?;
                }
                Token::Key => out.write_all(record.key.unwrap_or(null))?,
                Token::KeyLen => write!(out, "{}", length(record.key))?,
                Token::Timestamp => write!(out, "{}", record.timestamp)?,
                Token::Headers => {
                    for (n, header) in record.headers.enumerate() {
                        out.write_all(if n == 0 { b"" } else { b"," })?;
                        out.write_all(header.name)?;
                        out.write_all(b"=")?;
                        out.write_all(header.value.unwrap_or(b"NULL"))?;
                    }
                }
                Token::Topic => out.write_all(record.topic.as_bytes())?,
                Token::Partition => write!(out, "{}", record.partition)?,
                Token::Offset => write!(out, "{}", record.offset)?,
            }
        }
        Ok(())
    }
}

/// What a percent sign with this letter stands for.
fn token(letter: Option<char>) -> Result<Token, String> {
    Ok(match letter {
        Some('s') => Token::Payload,
        Some('S') => Token::PayloadLen,
        Some('R') => Token::PayloadLenBinary,
        Some('k') => Token::Key,
        Some('K') => Token::KeyLen,
        Some('T') => Token::Timestamp,
        Some('h') => Token::Headers,
        Some('t') => Token::Topic,
        Some('p') => Token::Partition,
        Some('o') => Token::Offset,
        Some('n') => Token::Text(b"\n".to_vec()),
        Some('%') => Token::Text(b"%".to_vec()),
        Some(other) => return Err(format!("%{other} means nothing; see --help")),
        None => return Err("% stands at the end; write %% for a percent sign".into()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received<'a>(key: Option<&'a [u8]>, value: Option<&'a [u8]>) -> Received<'a> {
        Received {
            topic: "t",
            partition: 3,
            offset: 9,
            timestamp: 5,
            key,
            value,
            headers: Default::default(),
        }
    }

    #[track_caller]
    fn formatted(format: &str, record: &Received<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        Format::new(format).expect(format).write(&mut out, record, b"").expect("memory");
        out
    }

    #[test]
    fn every_token_has_its_meaning() {
        let record = received(Some(b"key"), Some(b"value"));
        let all = r"%t [%p] at %o:\t%k(%K)=%s(%S) %T <%h> 100%%%n\n\x41";
        let want = "t [3] at 9:\tkey(3)=value(5) 5 <> 100%\n\nA";
        assert_eq!(String::from_utf8_lossy(&formatted(all, &record)), want);
        assert_eq!(formatted("%R", &record), [0, 0, 0, 5]);
        let empty = received(None, None);
        assert_eq!(formatted("%k|%K|%s|%S", &empty), b"|-1||-1");
        assert_eq!(formatted("%R", &empty), [255; 4]);
        assert_eq!(formatted("ž%sž", &record), "žvaluež".as_bytes());
    }

    #[test]
    fn a_format_that_means_nothing_is_refused() {
        for (format, why) in [
            ("%x", "%x"),
            ("a%", "end"),
            ("%ž", "%ž"),
            (r"%s\x", r"\x needs"),
            (r"\q%s", r"\q means nothing"),
            (r"\%s", r"\% means nothing"),
            (r"%s\", "end"),
        ] {
            let refused = Format::new(format).err().expect(format);
            assert!(refused.contains(why), "{refused}");
        }
    }
}
