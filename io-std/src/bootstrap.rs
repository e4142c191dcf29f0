//! Bootstrap lists as people write them.

use std::fmt::Write as _;

/// Kafka's port, where an address names none.
const PORT: u16 = 9092;
/// Longest host name.
const LONGEST: usize = 255;

/// Rewrites a bootstrap list as `host:port,host:port`, the form that the core reads.
///
/// Addresses are separated by commas, semicolons or white space, may have the name of `protocol` as
/// scheme, such as `PLAINTEXT://`, and have port 9092 where they name none. The error says which
/// one cannot be used, and why.
pub(crate) fn normalize(list: &str, protocol: &str) -> Result<String, String> {
    let mut plain = String::with_capacity(list.len());
    let items = list.split(|c: char| c == ',' || c == ';' || c.is_whitespace());
    let mut seen = Vec::new();
    for item in items.filter(|item| !item.is_empty()) {
        let (host, port) = address(item, protocol).map_err(|why| format!("{item:?}: {why}"))?;
        let known = (host.to_ascii_lowercase(), port);
        if seen.contains(&known) {
            continue;
        }
        let comma = if seen.is_empty() { "" } else { "," };
        let (open, close) = if host.contains(':') { ("[", "]") } else { ("", "") };
        // Writing to a string cannot fail.
        let _ = write!(plain, "{comma}{open}{}{close}:{port}", known.0);
        seen.push(known);
    }
    if seen.is_empty() {
        return Err("the list of bootstrap addresses is empty".into());
    }
    Ok(plain)
}

fn address<'a>(item: &'a str, protocol: &str) -> Result<(&'a str, u16), String> {
    let rest = match item.split_once("://") {
        Some((scheme, rest)) => {
            check_scheme(scheme, protocol)?;
            rest
        }
        None => item,
    };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let (host, port) = if let Some(inner) = rest.strip_prefix('[') {
        let (host, behind) = inner.split_once(']').ok_or("the bracket is not closed")?;
        check_v6(host)?;
        let port = match behind.strip_prefix(':') {
            Some(port) => Some(port),
            None if behind.is_empty() => None,
            None => return Err("after the bracket only :port may follow".into()),
        };
        (host, port)
    } else {
        let (host, port) = match rest.split_once(':') {
            Some((_, port)) if port.contains(':') => {
                return Err("write an IPv6 address in brackets, as in [::1]:9092".into());
            }
            Some((host, port)) => (host, Some(port)),
            None => (rest, None),
        };
        check_host(host)?;
        (host, port)
    };
    if host.len() > LONGEST {
        return Err(format!("the host name is longer than {LONGEST} bytes"));
    }
    let wrong = |port: &str| format!("the port {port:?} is not a number from 1 to 65535");
    let port = match port {
        None => PORT,
        // `parse` alone would take a sign.
        Some(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => {
            text.parse().ok().filter(|port| *port > 0).ok_or_else(|| wrong(text))?
        }
        Some(text) => return Err(wrong(text)),
    };
    Ok((host, port))
}

fn check_scheme(scheme: &str, protocol: &str) -> Result<(), String> {
    match scheme.to_ascii_uppercase().as_str() {
        scheme if scheme == protocol => Ok(()),
        "PLAINTEXT" | "SSL" | "SASL_SSL" | "SASL_PLAINTEXT" => Err(format!(
            "{scheme} is not {protocol}, which this client is set to: see Config::tls (--tls) and \
             Config::sasl (--sasl)"
        )),
        _ => Err(format!("{scheme}:// is not understood; write host:port")),
    }
}

fn check_v6(host: &str) -> Result<(), String> {
    let address = host.split_once('%').map_or(host, |(address, _)| address);
    match address.parse::<std::net::Ipv6Addr>() {
        Ok(_) => Ok(()),
        Err(_) => Err(format!("{host:?} is no IPv6 address")),
    }
}

fn check_host(host: &str) -> Result<(), String> {
    if host.is_empty() {
        return Err("the host is missing".into());
    }
    // A resolver would take it for an IPv4 address.
    if host.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("a number is no host; write host:port".into());
    }
    // Names in other scripts are left to the resolver.
    let fits = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_');
    match host.chars().find(|c| !fits(*c)) {
        Some(c) => Err(format!("a host name has no {c:?}")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_understood_as_people_write_them() {
        let cases = [
            ("a:1", "a:1"),
            ("a:1,b:2", "a:1,b:2"),
            ("a:1;b:2", "a:1,b:2"),
            (" a:1 , b:2\n", "a:1,b:2"),
            ("a:1 b:2", "a:1,b:2"),
            ("a:1,,b:2,", "a:1,b:2"),
            ("a", "a:9092"),
            ("PLAINTEXT://a:1", "a:1"),
            ("plaintext://A.Example/,PLAINTEXT://[::1]:5", "a.example:9092,[::1]:5"),
            ("LOCALHOST:9092", "localhost:9092"),
            ("[::1]", "[::1]:9092"),
            ("[fe80::1%eth0]:9092", "[fe80::1%eth0]:9092"),
            ("10.0.0.1", "10.0.0.1:9092"),
            ("a:1,A:1,a:2", "a:1,a:2"),
            ("kafka_1.internal:9092", "kafka_1.internal:9092"),
        ];
        for (list, plain) in cases {
            assert_eq!(normalize(list, "PLAINTEXT").as_deref(), Ok(plain), "{list:?}");
        }
    }

    #[test]
    fn what_cannot_be_an_address_is_refused_with_its_reason() {
        let cases = [
            ("", "empty"),
            (" ,; ", "empty"),
            ("SSL://a:1", "SSL is not PLAINTEXT"),
            ("b:1,sasl_ssl://a:1", "sasl_ssl is not PLAINTEXT"),
            ("http://a:1", "http:// is not understood"),
            ("a:", "the port \"\""),
            ("a:0", "1 to 65535"),
            ("a:65536", "1 to 65535"),
            ("a:+1", "1 to 65535"),
            ("a:9092/x", "the port \"9092/x\""),
            (":9092", "the host is missing"),
            ("::1", "in brackets"),
            ("::1:9092", "in brackets"),
            ("[::1", "not closed"),
            ("[::1]9092", "only :port"),
            ("[x]:1", "no IPv6 address"),
            ("user@a:1", "no '@'"),
            ("a:9092;27801", "a number is no host"),
        ];
        for (list, why) in cases {
            let refused = normalize(list, "PLAINTEXT").expect_err(list);
            assert!(refused.contains(why), "{list:?}: {refused}");
        }
        assert_eq!(normalize("sasl_ssl://a:1", "SASL_SSL").as_deref(), Ok("a:1"));
        assert!(normalize("PLAINTEXT://a:1", "SASL_SSL").is_err());
        assert!(normalize(&"a".repeat(256), "PLAINTEXT").is_err_and(|why| why.contains("255")));
    }
}
