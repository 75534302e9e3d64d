//! Networks that clients are bound to.

use std::net::IpAddr;

/// A network, `10.0.0.0/8` or one address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cidr {
    base: IpAddr,
    bits: u32,
}

impl Cidr {
    pub fn parse(text: &str) -> Option<Self> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse::<u32>().ok()?)),
            None => (text, None),
        };
        let base: IpAddr = address.trim().parse().ok()?;
        let width = if base.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(width);
        (bits <= width).then_some(Self { base, bits })
    }

    /// Whether all of `other` lies inside.
    pub fn covers(&self, other: &Self) -> bool {
        let same_kind = self.base.to_canonical().is_ipv4() == other.base.to_canonical().is_ipv4();
        same_kind && self.bits <= other.bits && self.contains(other.base)
    }

    pub fn contains(&self, ip: IpAddr) -> bool {
        // An IPv4 client of a dual-stack listener shows as a mapped IPv6 address.
        let (base, ip) = (self.base.to_canonical(), ip.to_canonical());
        let same = |base: u128, ip: u128, width: u32| self.bits == 0 || (base ^ ip) >> (width - self.bits) == 0;
        match (base, ip) {
            (IpAddr::V4(b), IpAddr::V4(i)) => same(u128::from(b.to_bits()), u128::from(i.to_bits()), 32),
            (IpAddr::V6(b), IpAddr::V6(i)) => same(b.to_bits(), i.to_bits(), 128),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks() {
        let c = |t: &str| Cidr::parse(t).unwrap();
        assert!(c("10.0.0.0/8").contains("10.9.8.7".parse().unwrap()));
        assert!(c("10.0.0.0/8").contains("::ffff:10.9.8.7".parse().unwrap()));
        assert!(!c("10.0.0.0/8").contains("11.0.0.1".parse().unwrap()));
        assert!(c("127.0.0.1").contains("127.0.0.1".parse().unwrap()));
        assert!(c("0.0.0.0/0").contains("1.2.3.4".parse().unwrap()));
        assert!(!c("0.0.0.0/0").contains("::1".parse().unwrap()));
        assert!(c("2001:db8::/32").contains("2001:db8:1::1".parse().unwrap()));
        for text in ["10.0.0.0/33", "x", "10.0.0.0/", "10.0.0/8", "::/129", ""] {
            assert_eq!(Cidr::parse(text), None, "{text}");
        }
    }
}
