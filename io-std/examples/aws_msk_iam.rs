//! A mechanism of the application's own: AWS_MSK_IAM, which logs in at Amazon MSK with an access
//! key of AWS. Its message is a request that is signed as AWS signs them (Signature Version 4):
//! `AWS_REGION=eu-west-1 AWS_ACCESS_KEY_ID=.. AWS_SECRET_ACCESS_KEY=.. \
//! cargo run --features tls --example aws_msk_iam -- b-1.name.kafka.eu-west-1.amazonaws.com:9098`
//!
//! MSK takes 20 new connections a second from each address, so that a pause between attempts of a
//! second and more is advisable.
#![allow(
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc,
    reason = "an ordinary program for hosts"
)]

use std::env::{self, VarError};
use std::error::Error;
use std::time::{SystemTime, UNIX_EPOCH};

use hmac::{Hmac, KeyInit, Mac};
use kavka_std::kavka_core::LoginFault;
use kavka_std::kavka_core::login::{Exchange, Mechanism, Next};
use kavka_std::kavka_core::wire::{Full, Writer};
use kavka_std::{Admin, Config, Sasl, Tls};
use sha2::{Digest, Sha256};

/// The SHA-256 of nothing: the request has no body.
const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
/// For how many seconds the signature is valid.
const EXPIRES: u32 = 900;

#[derive(Clone)]
struct Iam {
    region: String,
    key: String,
    secret: String,
    /// Of temporary keys.
    token: Option<String>,
    /// The broker whose exchange begins.
    host: String,
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    // HMAC takes keys of any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return Vec::new() };
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

/// Encodes a text as in a query (RFC 3986).
fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let one = |byte| match plain(byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    text.bytes().map(one).collect()
}

/// Returns seconds since 1970 as `20260131T235959Z` (Howard Hinnant's `civil_from_days`).
fn stamp(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400 + 719_468, seconds % 86_400);
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year + u64::from(month <= 2);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
}

/// Returns the signature of a canonical request (Signature Version 4).
fn sign(secret: &str, stamp: &str, scope: &str, request: &str) -> String {
    let hash = hex(&Sha256::digest(request.as_bytes()));
    let text = format!("AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hash}");
    let first = format!("AWS4{secret}").into_bytes();
    hex(&mac(&scope.split('/').fold(first, |key, part| mac(&key, part)), &text))
}

impl Iam {
    /// Returns the message for a broker, at a time.
    fn message(&self, host: &str, stamp: &str) -> String {
        let day = stamp.split('T').next().unwrap_or_default();
        let scope = format!("{day}/{}/kafka-cluster/aws4_request", self.region);
        let credential = format!("{}/{scope}", self.key);
        let mut query = format!(
            "Action=kafka-cluster%3AConnect&X-Amz-Algorithm=AWS4-HMAC-SHA256\
             &X-Amz-Credential={}&X-Amz-Date={stamp}&X-Amz-Expires={EXPIRES}",
            encoded(&credential)
        );
        let mut token = String::new();
        if let Some(text) = &self.token {
            query.push_str(&format!("&X-Amz-Security-Token={}", encoded(text)));
            token = format!("\"x-amz-security-token\":\"{text}\",");
        }
        query.push_str("&X-Amz-SignedHeaders=host");
        let request = format!("GET\n/\n{query}\nhost:{host}\n\nhost\n{EMPTY}");
        let signature = sign(&self.secret, stamp, &scope, &request);
        format!(
            "{{\"version\":\"2020_10_22\",\"host\":\"{host}\",\"user-agent\":\"kavka\",\
             \"action\":\"kafka-cluster:Connect\",\"x-amz-algorithm\":\"AWS4-HMAC-SHA256\",\
             \"x-amz-credential\":\"{credential}\",\"x-amz-date\":\"{stamp}\",{token}\
             \"x-amz-signedheaders\":\"host\",\"x-amz-expires\":\"{EXPIRES}\",\
             \"x-amz-signature\":\"{signature}\"}}"
        )
    }
}

impl Mechanism for Iam {
    fn name(&self) -> &str {
        "AWS_MSK_IAM"
    }

    fn connecting_to(&mut self, host: &str) {
        host.clone_into(&mut self.host);
    }

    fn begin(&mut self, exchange: &mut Exchange) -> Result<Next, LoginFault> {
        // Many connections log in at once, so what belongs to one is in its exchange.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        exchange.keep(format!("{}\n{}", stamp(now), self.host).as_bytes())?;
        Ok(Next::Send)
    }

    fn write(&self, exchange: &Exchange, out: &mut Writer<'_>) -> Result<(), Full> {
        let kept = std::str::from_utf8(exchange.kept()).unwrap_or_default();
        let (stamp, host) = kept.split_once('\n').unwrap_or_default();
        out.raw(self.message(host, stamp).as_bytes())
    }

    fn receive(&mut self, _: &mut Exchange, bytes: &[u8]) -> Result<Next, LoginFault> {
        // Version and request id, as JSON.
        if bytes.is_empty() { Err(LoginFault::Message) } else { Ok(Next::Done) }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let bootstrap =
        env::args().nth(1).ok_or("brokers: b-1.name.kafka.REGION.amazonaws.com:9098")?;
    let iam = Iam {
        region: env::var("AWS_REGION")?,
        key: env::var("AWS_ACCESS_KEY_ID")?,
        secret: env::var("AWS_SECRET_ACCESS_KEY")?,
        token: match env::var("AWS_SESSION_TOKEN") {
            Err(VarError::NotPresent) => None,
            token => Some(token?),
        },
        host: String::new(),
    };
    let sasl = Sasl::own(move || Box::new(iam.clone()));
    let config = Config::new(bootstrap).tls(Tls::new()?).sasl(sasl);
    for topic in Admin::new(config)?.list_topics().wait()? {
        println!("{}", topic.name);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `get-vanilla` of AWS's test suite for Signature Version 4.
    #[test]
    fn requests_are_signed_as_in_the_suite_of_aws() {
        let request = format!(
            "GET\n/\n\nhost:example.amazonaws.com\nx-amz-date:20150830T123600Z\n\n\
             host;x-amz-date\n{EMPTY}"
        );
        let scope = "20150830/us-east-1/service/aws4_request";
        let secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
        let signature = sign(secret, "20150830T123600Z", scope, &request);
        assert_eq!(signature, "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31");
    }

    /// The example of Amazon S3's API reference for signatures in a query.
    #[test]
    fn queries_are_signed_as_in_the_reference_of_s3() {
        let credential = encoded("AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request");
        let request = format!(
            "GET\n/test.txt\nX-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={credential}\
             &X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host\n\
             host:examplebucket.s3.amazonaws.com\n\nhost\nUNSIGNED-PAYLOAD"
        );
        let scope = "20130524/us-east-1/s3/aws4_request";
        let secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
        let signature = sign(secret, "20130524T000000Z", scope, &request);
        assert_eq!(signature, "aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404");
    }

    #[test]
    fn times_are_those_of_the_calendar() {
        assert_eq!(stamp(0), "19700101T000000Z");
        assert_eq!(stamp(951_782_400), "20000229T000000Z");
        assert_eq!(stamp(1_440_938_160), "20150830T123600Z");
        assert_eq!(stamp(4_102_444_799), "20991231T235959Z");
    }

    #[test]
    fn a_message_names_its_broker_and_a_token() {
        let iam = Iam {
            region: "eu-west-1".into(),
            key: "KEY".into(),
            secret: "SECRET".into(),
            token: Some("a/b".into()),
            host: String::new(),
        };
        let message = iam.message("b-1.example", "20150830T123600Z");
        for part in [
            "\"host\":\"b-1.example\"",
            "\"x-amz-credential\":\"KEY/20150830/eu-west-1/kafka-cluster/aws4_request\"",
            "\"x-amz-security-token\":\"a/b\"",
        ] {
            assert!(message.contains(part), "{part} is missing: {message}");
        }
        assert!(!message.contains("SECRET"));
        assert_ne!(message, iam.message("b-2.example", "20150830T123600Z"));
    }
}
