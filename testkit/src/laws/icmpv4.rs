//! ICMPv4 errors verify, carry what they were asked to, and edits keep a checksum valid.

use lw4o6_wire::checksum::{Sum, Update};
use lw4o6_wire::icmpv4::{
    Icmpv4Class, Icmpv4ErrorKind, Icmpv4Header, Icmpv4Type, MAX_QUOTE, error_header, quote_of,
    verify,
};

use super::fill_checksum;

/// Input: two bytes that choose an error or are a new identifier, then a message, which is also
/// what the error quotes.
pub fn law(data: &[u8]) {
    let Some((&choice, message)) = data.split_first_chunk() else {
        return;
    };
    let choice = u16::from_be_bytes(choice);
    built(kind(choice), message);
    let Ok((header, rest)) = Icmpv4Header::split(message) else {
        assert!(message.len() < 8);
        return;
    };
    assert_eq!(rest.len() + 8, message.len());
    if let Icmpv4Class::Query { ident, .. } = header.class() {
        assert_eq!(ident, header.ident());
        assert!(!header.type_().is_error());
    }
    edits(message, choice);
}

fn kind(choice: u16) -> Icmpv4ErrorKind {
    match choice % 8 {
        0 => Icmpv4ErrorKind::HostUnreachable,
        1 => Icmpv4ErrorKind::ProtocolUnreachable,
        2 => Icmpv4ErrorKind::PortUnreachable,
        3 => Icmpv4ErrorKind::AdminProhibited,
        4 => Icmpv4ErrorKind::TimeExceeded,
        5 => Icmpv4ErrorKind::ReassemblyTimeExceeded,
        _ => Icmpv4ErrorKind::FragmentationNeeded { mtu: choice },
    }
}

fn built(kind: Icmpv4ErrorKind, packet: &[u8]) {
    let quote = quote_of(packet);
    assert_eq!(quote.len(), packet.len().min(MAX_QUOTE));
    let bytes = error_header(kind, quote);
    let message = [&bytes[..], quote].concat();
    assert!(verify(&message));
    let header = Icmpv4Header::split(&message).map(|(h, _)| (h.type_(), h.code(), h.rest()));
    let (type_, code) = kind.type_and_code();
    let mut rest = [0; 4];
    if let Icmpv4ErrorKind::FragmentationNeeded { mtu } = kind {
        let [hi, lo] = mtu.to_be_bytes();
        rest = [0, 0, hi, lo];
    }
    assert_eq!(header, Ok((type_, code, rest)));
    assert!(type_.is_error());
}

fn edits(message: &[u8], ident: u16) {
    let mut edited = message.to_vec();
    fill_checksum(&mut edited, 2, Sum::new());
    if edited.iter().all(|byte| *byte == 0) {
        return; // the one case where an update and a full sum differ
    }
    if let Some(mut header) = Icmpv4Header::from_mut(&mut edited) {
        let checksum = Update::new(header.checksum()).u16(header.ident(), ident);
        header.set_ident(ident);
        header.set_checksum(checksum.finish());
        assert_eq!(header.ident(), ident);
    }
    let nothing = |bytes: &[u8]| {
        bytes
            .iter()
            .enumerate()
            .all(|(at, b)| *b == 0 || at == 2 || at == 3)
    };
    assert!(verify(&edited) || nothing(&edited));
    if let Some(mut header) = Icmpv4Header::from_mut(&mut edited) {
        header.make_echo_reply();
        assert_eq!((header.type_(), header.code()), (Icmpv4Type::ECHO_REPLY, 0));
    }
    assert!(verify(&edited) || nothing(&edited));
    assert_eq!(edited.get(6..), message.get(6..));
}
