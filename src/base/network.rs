//! A range of addresses: who is meant by `10.0.0.0/8`.

use std::fmt;
use std::net::IpAddr;

/// All addresses that begin with the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    first: IpAddr,
    prefix: u32,
}

impl Network {
    /// Reads `10.0.0.0/8`, `fd00::/8`, or an address alone. Bits behind the prefix must be nought:
    /// who writes `10.1.2.3/8` may mean something else.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let first: IpAddr = address.parse().ok()?;
        let bits = width(first);
        let prefix = match prefix {
            None => bits,
            Some(digits) => {
                let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
                let sound = plain && (digits == "0" || !digits.starts_with('0'));
                sound.then(|| digits.parse().ok()).flatten().filter(|prefix| *prefix <= bits)?
            }
        };
        let network = Self { first, prefix };
        (network.bits_of(first) == Some(value(first))).then_some(network)
    }

    /// Whether an address is in it. An IPv4 address that came over an IPv6 socket is IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.bits_of(address.to_canonical()) == Some(value(self.first))
    }

    /// The bits of an address up to the prefix; none for the other family.
    fn bits_of(&self, address: IpAddr) -> Option<u128> {
        let same_family = address.is_ipv4() == self.first.is_ipv4();
        let behind = width(address).saturating_sub(self.prefix);
        let mask = u128::MAX.checked_shl(behind).unwrap_or(0);
        same_family.then(|| value(address) & mask)
    }
}

fn width(address: IpAddr) -> u32 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn value(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(u32::from(address)),
        IpAddr::V6(address) => u128::from(address),
    }
}

impl fmt::Display for Network {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.first, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::Network;
    use proptest::prelude::{any, proptest};
    use std::net::{IpAddr, Ipv4Addr};

    fn within(network: &str, address: &str) -> bool {
        Network::parse(network).unwrap().contains(address.parse().unwrap())
    }

    #[test]
    fn a_network_holds_what_begins_like_it() {
        assert!(within("10.0.0.0/8", "10.255.1.2") && !within("10.0.0.0/8", "11.0.0.0"));
        assert!(within("192.0.2.7", "192.0.2.7") && !within("192.0.2.7", "192.0.2.6"));
        assert!(within("0.0.0.0/0", "203.0.113.9") && !within("0.0.0.0/0", "::1"));
        assert!(within("fd00::/8", "fdff::1") && !within("fd00::/8", "fe00::1"));
        assert!(within("::/0", "2001:db8::1"));
    }

    #[test]
    fn an_ipv4_client_of_an_ipv6_socket_is_found_by_its_own_address() {
        assert!(within("10.0.0.0/8", "::ffff:10.1.2.3"));
    }

    #[test]
    fn what_is_no_network_is_none() {
        for text in
            ["", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/08", "10.0.0.0/+8", "10.1.0.0/8", "::/129"]
        {
            assert_eq!(Network::parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn an_address_is_in_every_network_that_begins_with_its_bits(bits in any::<u32>(), prefix in 0_u32..=32) {
            let mask = u32::MAX.checked_shl(32 - prefix).unwrap_or(0);
            let text = format!("{}/{prefix}", Ipv4Addr::from(bits & mask));
            let network = Network::parse(&text).unwrap();
            assert!(network.contains(IpAddr::V4(Ipv4Addr::from(bits))));
            assert_eq!(network.to_string(), text);
            let other = bits ^ (1_u32.checked_shl(32 - prefix).unwrap_or(0));
            assert_eq!(network.contains(IpAddr::V4(Ipv4Addr::from(other))), other == bits);
        }
    }
}
