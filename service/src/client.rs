//! The address of the client of a request, also behind proxies.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use axum::http::HeaderMap;

use crate::env::Env;

/// The header to which each proxy appends the address of its peer.
const FORWARDED_FOR: &str = "x-forwarded-for";

/// Reads `TRUSTED_PROXY_HOPS`: the number of our own proxies in front.
pub fn trusted_hops_from_env(env: &mut Env<'_>) -> usize {
    env.or("TRUSTED_PROXY_HOPS", 0)
}

/// The client's address. `trusted_hops` is the number of our own proxies in front. They wrote the last
/// `trusted_hops` addresses in `X-Forwarded-For`; the client may have forged all others. With 0 the header is
/// ignored.
pub fn address(headers: &HeaderMap, peer: SocketAddr, trusted_hops: usize) -> IpAddr {
    let Some(nth) = trusted_hops.checked_sub(1) else { return peer.ip() };
    let forwarded = headers.get_all(FORWARDED_FOR);
    let lines: Vec<&str> = forwarded.iter().filter_map(|line| line.to_str().ok()).collect();
    let from_the_end = lines.iter().rev().flat_map(|line| line.rsplit(','));
    // A shorter list did not come through all of the proxies.
    from_the_end.map(str::trim).nth(nth).and_then(parse).unwrap_or(peer.ip())
}

/// The network by which limits count an address: an IPv4 address itself, the /64 of an IPv6 address. One
/// customer has at least a /64 (RFC 6177), and could use any of its 2^64 addresses. IPv4 mapped into IPv6
/// counts as IPv4.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]:80`
fn parse(text: &str) -> Option<IpAddr> {
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    text.parse().ok().or_else(with_port)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use axum::http::{HeaderName, HeaderValue};
    use proptest::prelude::*;

    use super::*;

    fn address_of(lines: &[&str], hops: usize) -> String {
        let name = HeaderName::from_static(FORWARDED_FOR);
        let headers: HeaderMap =
            lines.iter().map(|line| (name.clone(), HeaderValue::from_str(line).unwrap())).collect();
        address(&headers, "10.0.0.9:1234".parse().unwrap(), hops).to_string()
    }

    proptest! {
        /// For any addresses before those of the proxies, in any number of header lines.
        #[test]
        fn nothing_a_client_sends_changes_its_address(
            sent in proptest::collection::vec("[ -~]{0,30}", 0..4),
            ours in proptest::collection::vec(any::<Ipv4Addr>(), 1..4),
            same_line: bool,
        ) {
            let hops = ours.len();
            let written = ours.iter().map(Ipv4Addr::to_string).collect::<Vec<_>>().join(", ");
            let mut lines = sent;
            match lines.last_mut().filter(|_| same_line) {
                Some(last) => *last = format!("{last}, {written}"),
                None => lines.push(written),
            }
            let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
            prop_assert_eq!(address_of(&lines, hops), ours[0].to_string());
            prop_assert_eq!(address_of(&lines, 0), "10.0.0.9");
        }
    }

    #[test]
    fn only_addresses_written_by_trusted_proxies_count() {
        assert_eq!(address_of(&["203.0.113.7"], 0), "10.0.0.9");
        assert_eq!(address_of(&["203.0.113.7"], 1), "203.0.113.7");
        assert_eq!(address_of(&["1.1.1.1, 203.0.113.7"], 1), "203.0.113.7");
        assert_eq!(address_of(&["1.1.1.1, 203.0.113.7, 10.0.0.1"], 2), "203.0.113.7");
        assert_eq!(address_of(&["1.1.1.1", "203.0.113.7, 10.0.0.1"], 2), "203.0.113.7");
        assert_eq!(address_of(&["[2001:db8::1]:443"], 1), "2001:db8::1");
        for (lines, hops) in [(&["203.0.113.7"][..], 2), (&[], 1), (&["nonsense"], 1)] {
            assert_eq!(address_of(lines, hops), "10.0.0.9");
        }
    }
}
