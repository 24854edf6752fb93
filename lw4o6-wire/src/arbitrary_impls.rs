//! Values for fuzz targets and property tests: all of them can stand in a packet as they are.

use arbitrary::{Arbitrary, Result, Unstructured};

use crate::{Ecn, FragmentHeader, IpProtocol, Ipv4Fields, Ipv6Fields, Ipv6Prefix, PortParams};

impl<'a> Arbitrary<'a> for IpProtocol {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        u.arbitrary().map(Self)
    }

    fn size_hint(depth: usize) -> (usize, Option<usize>) {
        u8::size_hint(depth)
    }
}

impl<'a> Arbitrary<'a> for Ecn {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        u.arbitrary().map(Self::from_bits)
    }

    fn size_hint(depth: usize) -> (usize, Option<usize>) {
        u8::size_hint(depth)
    }
}

impl<'a> Arbitrary<'a> for PortParams {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let offset = u.int_in_range(0..=16)?;
        let len = u.int_in_range(0..=16 - offset)?;
        let psid = u.arbitrary::<u16>()?.checked_shr((16 - len).into());
        let psid = psid.unwrap_or_default(); // a shift by 16: no PSID
        Ok(Self::new(offset, len, psid).unwrap_or(Self::FULL))
    }
}

impl<'a> Arbitrary<'a> for Ipv4Fields {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        Ok(Self {
            tos: u.arbitrary()?,
            total_len: u.int_in_range(20..=u16::MAX)?,
            ident: u.arbitrary()?,
            dont_fragment: u.arbitrary()?,
            more_fragments: u.arbitrary()?,
            fragment_offset: u.arbitrary::<u16>()? & !7,
            ttl: u.arbitrary()?,
            protocol: u.arbitrary()?,
            src: u.arbitrary::<u32>()?.into(),
            dst: u.arbitrary::<u32>()?.into(),
        })
    }
}

impl<'a> Arbitrary<'a> for Ipv6Fields {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        Ok(Self {
            traffic_class: u.arbitrary()?,
            flow_label: u.int_in_range(0..=0x000f_ffff)?,
            payload_len: u.arbitrary()?,
            next_header: u.arbitrary()?,
            hop_limit: u.arbitrary()?,
            src: u.arbitrary::<u128>()?.into(),
            dst: u.arbitrary::<u128>()?.into(),
        })
    }
}

impl<'a> Arbitrary<'a> for FragmentHeader {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        Ok(Self {
            next: u.arbitrary()?,
            offset: u.arbitrary::<u16>()? & !7,
            more: u.arbitrary()?,
            ident: u.arbitrary()?,
        })
    }
}

impl<'a> Arbitrary<'a> for Ipv6Prefix {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let address = u.arbitrary::<u128>()?.into();
        let len = u.int_in_range(0..=128)?;
        Ok(Self::new(address, len).unwrap_or(Self::host(address)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values come out for every input, and reach the ends of their ranges.
    #[test]
    fn values_survive_their_bytes() {
        let mut shapes = std::collections::BTreeSet::new();
        let mut random = 0x9e37_79b9_u32;
        for _ in 0..20_000 {
            let bytes: std::vec::Vec<u8> = (0..24)
                .flat_map(|_| {
                    random ^= random << 13;
                    random ^= random >> 17;
                    random ^= random << 5;
                    random.to_be_bytes()
                })
                .collect();
            let mut u = Unstructured::new(&bytes);
            let set: PortParams = u.arbitrary().unwrap();
            shapes.insert((set.offset(), set.len()));
            let v4: Ipv4Fields = u.arbitrary().unwrap();
            assert_eq!(crate::Ipv4Header::new(v4.to_bytes()).fields(), v4);
            let v6: Ipv6Fields = u.arbitrary().unwrap();
            assert_eq!(crate::Ipv6Header::new(v6.to_bytes()).fields(), v6);
            let fragment: FragmentHeader = u.arbitrary().unwrap();
            assert_eq!(FragmentHeader::parse(&fragment.to_bytes()), fragment);
        }
        assert_eq!(shapes.len(), 153);
    }
}
