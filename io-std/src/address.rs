//! Addresses as text.

/// Returns `host:port` in the form that a bootstrap list has it: an IPv6 address in brackets.
pub(crate) fn text(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

#[cfg(test)]
mod tests {
    use super::text;

    #[test]
    fn an_ipv6_address_is_in_brackets() {
        assert_eq!(text("::1", 9092), "[::1]:9092");
        assert_eq!(text("b1.example", 9092), "b1.example:9092");
    }
}
