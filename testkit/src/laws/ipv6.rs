//! `emit(parse(b)) == b` for IPv6 fixed headers, and setters change their own bits only.

use lw4o6_wire::{IpProtocol, Ipv6Header};

use super::prefix;

/// Input: a packet with link-layer padding.
pub fn law(data: &[u8]) {
    let quoted = Ipv6Header::split_quoted(data);
    let Ok((header, payload)) = Ipv6Header::split(data) else {
        if let Ok((header, payload)) = quoted {
            assert!(payload.len() < usize::from(header.payload_len()));
        }
        return;
    };
    let total = 40 + usize::from(header.payload_len());
    assert_eq!(payload.len() + 40, total);
    assert_eq!(quoted, Ok((header, payload)));
    assert_eq!(Ipv6Header::split(prefix(data, total)), quoted);
    assert!(Ipv6Header::split(prefix(data, total - 1)).is_err());
    let fields = header.fields();
    assert_eq!(fields.to_bytes(), *header.as_bytes());
    setters(fields.to_bytes());
}

fn setters(bytes: [u8; 40]) {
    let mut header = Ipv6Header::new(bytes);
    let mut expected = header.fields();
    header.set_traffic_class(!expected.traffic_class);
    expected.traffic_class = !expected.traffic_class;
    assert_eq!(header.fields(), expected);
    header.set_flow_label(u32::MAX);
    expected.flow_label = 0x000f_ffff;
    assert_eq!(header.fields(), expected);
    header.set_payload_len(!expected.payload_len);
    expected.payload_len = !expected.payload_len;
    header.set_next_header(IpProtocol::IPV4);
    expected.next_header = IpProtocol::IPV4;
    header.set_hop_limit(!expected.hop_limit);
    expected.hop_limit = !expected.hop_limit;
    assert_eq!(header.fields(), expected);
    header.set_src(expected.dst);
    expected.src = expected.dst;
    assert_eq!(header.fields(), expected);
    assert_eq!(header.version(), 6);
}
