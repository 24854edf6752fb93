//! Frames as named fields, so that a difference has a name.
//!
//! Checksums are derived: they are verified here and are no fields of their own.

use std::collections::BTreeSet;

use lw4o6_wire::{Ipv4Packet, Ipv6Header, checksum, icmpv4, icmpv6};

type Fields = Vec<(String, Vec<u8>)>;

/// Names of the fields in which two frames differ.
pub fn differing(ours: &[u8], theirs: &[u8]) -> BTreeSet<String> {
    let (ours, theirs) = (ethernet(ours), ethernet(theirs));
    let names: Vec<_> = ours.iter().map(|(name, _)| name.clone()).collect();
    let other: Vec<_> = theirs.iter().map(|(name, _)| name.clone()).collect();
    if names != other {
        return [format!(
            "headers {} instead of {}",
            names.join(" "),
            other.join(" ")
        )]
        .into();
    }
    let both = ours.into_iter().zip(theirs);
    both.filter(|(ours, theirs)| ours.1 != theirs.1)
        .map(|(ours, _)| ours.0)
        .collect()
}

fn field(fields: &mut Fields, name: impl Into<String>, value: &[u8]) {
    fields.push((name.into(), value.to_vec()));
}

fn ethernet(frame: &[u8]) -> Fields {
    let parsed = lw4o6_wire::ethernet::split(frame).unwrap();
    let mut fields = Vec::new();
    field(&mut fields, "ethernet.dst", &parsed.dst.0);
    field(&mut fields, "ethernet.src", &parsed.src.0);
    if let Some(tag) = parsed.vlan {
        field(&mut fields, "vlan", &tag.0.to_be_bytes());
    }
    let first = parsed.payload.first().copied().unwrap_or_default();
    // Snabb's captures write the wrong EtherType for tunnel packets; the version says what they are.
    match first >> 4 {
        4 => ipv4(&mut fields, "ipv4", parsed.payload),
        6 => ipv6(&mut fields, parsed.payload),
        _ => field(&mut fields, "payload", parsed.payload),
    }
    fields
}

fn ipv6(fields: &mut Fields, packet: &[u8]) {
    let (header, payload) = Ipv6Header::split(packet).unwrap();
    field(fields, "ipv6.traffic-class", &[header.traffic_class()]);
    field(
        fields,
        "ipv6.flow-label",
        &header.flow_label().to_be_bytes(),
    );
    field(fields, "ipv6.next-header", &[header.next_header().0]);
    field(fields, "ipv6.hop-limit", &[header.hop_limit()]);
    field(fields, "ipv6.src", &header.src().octets());
    field(fields, "ipv6.dst", &header.dst().octets());
    match header.next_header().0 {
        4 => ipv4(fields, "inner", payload),
        44 => {
            field(fields, "fragment.next-header", &payload[..2]);
            field(fields, "fragment.offset", &payload[2..4]);
            field(fields, "fragment.ident", &payload[4..8]);
            // The first piece begins with the inner header.
            let inner_ends = if payload[2..4] == [0, 1] { 8 + 20 } else { 8 };
            if inner_ends > 8 {
                inner_header(fields, &payload[8..inner_ends]);
            }
            field(fields, "fragment.data", &payload[inner_ends..]);
        }
        58 => {
            assert!(icmpv6::verify(header.src(), header.dst(), payload));
            field(fields, "icmpv6.type", &payload[..1]);
            field(fields, "icmpv6.code", &payload[1..2]);
            field(fields, "icmpv6.body", &payload[4..]);
        }
        _ => field(fields, "ipv6.payload", payload),
    }
}

/// The header of an inner packet that goes on in other fragments.
fn inner_header(fields: &mut Fields, header: &[u8]) {
    assert!(checksum::verify(header));
    field(fields, "inner.ttl", &header[8..9]);
    field(
        fields,
        "inner.header",
        &[&header[..8], &header[9..10], &header[12..]].concat(),
    );
}

fn ipv4(fields: &mut Fields, name: &str, packet: &[u8]) {
    let packet = Ipv4Packet::split(packet).unwrap();
    assert!(packet.header_checksum_ok());
    let header = packet.header;
    let mut named = |what: &str, value: &[u8]| field(fields, format!("{name}.{what}"), value);
    named("tos", &[header.tos()]);
    named("ident", &header.ident().to_be_bytes());
    named("dont-fragment", &[u8::from(header.dont_fragment())]);
    named("more-fragments", &[u8::from(header.more_fragments())]);
    named("fragment-offset", &header.fragment_offset().to_be_bytes());
    named("ttl", &[header.ttl()]);
    named("protocol", &[header.protocol().0]);
    named("src", &header.src().octets());
    named("dst", &header.dst().octets());
    named("options", packet.options);
    let is_error = header.protocol().0 == 1 && matches!(packet.payload.first(), Some(3 | 11 | 12));
    if is_error && name != "quote" {
        assert!(icmpv4::verify(packet.payload));
        field(fields, "icmpv4.type", &packet.payload[..1]);
        field(fields, "icmpv4.code", &packet.payload[1..2]);
        field(fields, "icmpv4.rest", &packet.payload[4..8]);
        quote(fields, &packet.payload[8..]);
    } else {
        field(fields, format!("{name}.payload"), packet.payload);
    }
}

/// What an error quotes; it may be cut off, and its header may have been changed before the error arose.
fn quote(fields: &mut Fields, quoted: &[u8]) {
    field(
        fields,
        "quote.length",
        &u16::try_from(quoted.len()).unwrap().to_be_bytes(),
    );
    assert!(checksum::verify(&quoted[..20]));
    field(fields, "quote.ttl", &quoted[8..9]);
    field(
        fields,
        "quote.header",
        &[&quoted[..8], &quoted[9..10], &quoted[12..20]].concat(),
    );
    field(fields, "quote.payload", &quoted[20..]);
}
