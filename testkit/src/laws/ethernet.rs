//! `emit(parse(b)) == b` for Ethernet headers, and nothing of the frame is lost.

use lw4o6_wire::ethernet::{EthernetFields, split};

use super::prefix;

/// Input: a frame.
pub fn law(data: &[u8]) {
    let Ok(frame) = split(data) else {
        assert!(data.len() < 18, "any 18 bytes are a header");
        return;
    };
    let fields = EthernetFields {
        dst: frame.dst,
        src: frame.src,
        ethertype: frame.ethertype,
    };
    let header = frame.vlan.map_or_else(
        || fields.to_bytes().to_vec(),
        |tag| fields.to_tagged_bytes(tag).to_vec(),
    );
    assert_eq!(header.len(), frame.header_len);
    assert_eq!([&header, frame.payload].concat(), data);
    for len in 0..frame.header_len {
        assert!(split(prefix(data, len)).is_err(), "accepted {len} bytes");
    }
    assert_eq!(frame.dst.to_string().parse(), Ok(frame.dst));
}
