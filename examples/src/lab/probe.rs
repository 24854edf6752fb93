//! ICMP echo requests, and what comes back: ping, traceroute, path MTU.

use std::io::{ErrorKind, Read};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use lw4o6_wire::ethernet::MacAddr;
use lw4o6_wire::icmpv4::{Icmpv4Header, Icmpv4Type};
use lw4o6_wire::quote::{QuotedKey, ipv4_quote};
use lw4o6_wire::{IpProtocol, Ipv4Fields, Ipv4Packet, checksum};
use serde::{Deserialize, Serialize};
use socket2::{Domain, Protocol, Socket, Type};

use super::craft;
use super::raw::{self, Hex, Inject};
use crate::stopwatch::Stopwatch;

/// Largest IPv4 packet.
const ROOM: usize = 65_535;

/// One echo request.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Probe {
    /// Source address.
    pub from: Ipv4Addr,
    /// Destination.
    pub to: Ipv4Addr,
    /// Identifier; on a shared address one of its ports.
    pub ident: u16,
    /// Sequence number.
    pub sequence: u16,
    /// Time to live.
    pub ttl: u8,
    /// Length of the whole IPv4 packet in bytes, at least 28.
    pub len: u16,
    /// Whether it must not be fragmented.
    pub dont_fragment: bool,
    /// How long to wait, in milliseconds.
    pub patience: u64,
    /// Past the kernel's IP, which cuts or refuses what it knows to be too long.
    pub below: Option<Below>,
}

/// The Ethernet header of a frame that does not come from the kernel.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Below {
    /// Interface it leaves by.
    pub interface: String,
    /// Its destination.
    pub dst: [u8; 6],
    /// Its source.
    pub src: [u8; 6],
}

/// What an echo request drew.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// Who answered.
    pub from: Ipv4Addr,
    /// ICMP type.
    pub kind: u8,
    /// ICMP code.
    pub code: u8,
    /// Next-hop MTU of "fragmentation needed", else 0.
    pub mtu: u16,
    /// Time to live at arrival.
    pub ttl: u8,
    /// Round trip in milliseconds.
    pub ms: f64,
}

impl Answer {
    /// Whether it is an echo reply.
    #[must_use]
    pub fn is_reply(&self) -> bool {
        self.kind == Icmpv4Type::ECHO_REPLY.0
    }
}

/// Sends an echo request and waits for what it draws; `None` where nothing comes in time.
///
/// # Errors
///
/// Where the kernel does not let us.
pub fn send(probe: &Probe) -> Result<Option<Answer>, String> {
    let mut socket = icmp_socket(probe.from).map_err(|error| format!("ICMP socket: {error}"))?;
    let packet = packet(probe);
    let watch = Stopwatch::start();
    if let Some(below) = &probe.below {
        let frame = craft::frame(MacAddr(below.dst), MacAddr(below.src), &packet);
        raw::inject(&Inject {
            interface: below.interface.clone(),
            frames: vec![Hex(frame)],
            gap: 0,
        })?;
    } else {
        let to = SocketAddrV4::new(probe.to, 0).into();
        socket
            .send_to(&packet, &to)
            .map_err(|error| format!("echo to {}: {error}", probe.to))?;
    }
    let wanted = |message: &[u8], from| is_answer(probe, message, from);
    wait_for(
        &mut socket,
        Duration::from_millis(probe.patience),
        watch,
        wanted,
    )
}

/// A raw socket that receives every ICMP message to `address` and sends whole IPv4 packets.
pub(super) fn icmp_socket(address: Ipv4Addr) -> std::io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4))?;
    socket.set_header_included_v4(true)?;
    socket.bind(&SocketAddrV4::new(address, 0).into())?;
    Ok(socket)
}

/// Waits for the first ICMP message that is `wanted`.
pub(super) fn wait_for(
    socket: &mut Socket,
    patience: Duration,
    watch: Stopwatch,
    wanted: impl Fn(&[u8], Ipv4Addr) -> bool,
) -> Result<Option<Answer>, String> {
    let mut buffer = vec![0; ROOM];
    loop {
        let left = patience.saturating_sub(watch.elapsed());
        if left.is_zero() {
            return Ok(None);
        }
        socket
            .set_read_timeout(Some(left))
            .map_err(|error| error.to_string())?;
        let len = match socket.read(&mut buffer) {
            Ok(len) => len,
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) =>
            {
                continue;
            }
            Err(error) => return Err(format!("ICMP socket: {error}")),
        };
        let Ok(packet) = Ipv4Packet::split(buffer.get(..len).unwrap_or_default()) else {
            continue;
        };
        if !wanted(packet.payload, packet.header.src()) {
            continue;
        }
        if let Ok((icmp, _)) = Icmpv4Header::split(packet.payload) {
            let too_long = (icmp.type_(), icmp.code()) == (Icmpv4Type::UNREACHABLE, 4);
            return Ok(Some(Answer {
                from: packet.header.src(),
                kind: icmp.type_().0,
                code: icmp.code(),
                mtu: if too_long { icmp.next_hop_mtu() } else { 0 },
                ttl: packet.header.ttl(),
                ms: watch.elapsed().as_secs_f64() * 1000.0,
            }));
        }
    }
}

fn is_answer(probe: &Probe, message: &[u8], from: Ipv4Addr) -> bool {
    let Ok((icmp, payload)) = Icmpv4Header::split(message) else {
        return false;
    };
    if icmp.type_() == Icmpv4Type::ECHO_REPLY {
        return from == probe.to
            && icmp.ident() == probe.ident
            && icmp.sequence() == probe.sequence
            && payload.iter().eq(filler(payload.len()).iter());
    }
    let quoted = ipv4_quote(message).ok().filter(|_| icmp.type_().is_error());
    quoted.is_some_and(|quoted| {
        quoted.header.dst() == probe.to
            && matches!(quoted.key(), QuotedKey::Ident { ident, .. } if ident == probe.ident)
            && Icmpv4Header::split(quoted.payload)
                .is_ok_and(|(request, _)| request.sequence() == probe.sequence)
    })
}

/// The whole IPv4 packet.
fn packet(probe: &Probe) -> Vec<u8> {
    let len = probe.len.max(28);
    let header = Ipv4Fields {
        tos: 0,
        total_len: len,
        ident: probe.sequence,
        dont_fragment: probe.dont_fragment,
        more_fragments: false,
        fragment_offset: 0,
        ttl: probe.ttl,
        protocol: IpProtocol::ICMP,
        src: probe.from,
        dst: probe.to,
    };
    let [i, j] = probe.ident.to_be_bytes();
    let [s, t] = probe.sequence.to_be_bytes();
    let mut message = vec![Icmpv4Type::ECHO_REQUEST.0, 0, 0, 0, i, j, s, t];
    message.extend(filler(usize::from(len - 28)));
    let sum = checksum::checksum(&message);
    if let Some(mut icmp) = Icmpv4Header::from_mut(&mut message) {
        icmp.set_checksum(sum);
    }
    [header.to_bytes().as_slice(), &message].concat()
}

fn filler(len: usize) -> Vec<u8> {
    (0..=255).cycle().take(len).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probe() -> Probe {
        Probe {
            from: Ipv4Addr::new(192, 0, 2, 1),
            to: Ipv4Addr::new(198, 51, 100, 2),
            ident: 7,
            sequence: 9,
            ttl: 64,
            len: 84,
            dont_fragment: true,
            patience: 0,
            below: None,
        }
    }

    #[test]
    fn the_request_is_a_valid_packet() {
        let bytes = packet(&probe());
        let packet = Ipv4Packet::split(&bytes).unwrap();
        assert!(packet.header_checksum_ok() && packet.header.dont_fragment());
        assert_eq!(bytes.len(), 84);
        assert!(lw4o6_wire::icmpv4::verify(packet.payload));
    }

    #[test]
    fn a_reply_counts_only_with_the_same_identifier_sequence_and_content() {
        let bytes = packet(&probe());
        let mut reply = bytes[20..].to_vec();
        reply[0] = 0;
        let to = probe().to;
        assert!(is_answer(&probe(), &reply, to));
        assert!(!is_answer(&probe(), &reply, Ipv4Addr::LOCALHOST));
        for at in [5, 7, 63] {
            let mut other = reply.clone();
            other[at] ^= 1;
            assert!(!is_answer(&probe(), &other, to), "byte {at}");
        }
    }

    #[test]
    fn an_error_counts_only_where_it_quotes_the_request() {
        let bytes = packet(&probe());
        let mut error = vec![11, 0, 0, 0, 0, 0, 0, 0];
        error.extend(&bytes[..28]);
        let hop = Ipv4Addr::new(198, 51, 100, 1);
        assert!(is_answer(&probe(), &error, hop));
        for at in [8 + 19, 8 + 25, 8 + 27] {
            let mut other = error.clone();
            other[at] ^= 1;
            assert!(!is_answer(&probe(), &other, hop), "byte {at}");
        }
    }
}
