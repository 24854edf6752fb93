//! `lw4o6-dump`: what is in a captured frame, layer by layer.

mod text;

use std::net::{Ipv4Addr, Ipv6Addr};

use lw4o6_wire::arp::{ArpOp, ArpPacket};
use lw4o6_wire::ethernet;
use lw4o6_wire::icmpv4::{self, Icmpv4Class, Icmpv4Header};
use lw4o6_wire::icmpv6::{self, Icmpv6Header, Icmpv6Type};
use lw4o6_wire::ndp::{NeighborAdvert, NeighborSolicit};
use lw4o6_wire::quote::{QuotedKey, ipv4_quote, tunnel_quote};
use lw4o6_wire::{
    EtherType, FragmentHeader, IpProtocol, Ipv4Header, Ipv4Packet, Ipv6Header, ipv6_ext, l4,
};
use serde::Serialize;

use crate::capture::CapturedFrame;

/// A decoded frame.
#[derive(Debug, Serialize)]
pub struct Message {
    /// Time stamp in seconds.
    pub time: f64,
    /// The headers, outermost first.
    pub layers: Vec<Layer>,
    /// What is malformed, if something is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// One header, or what one quotes.
#[derive(Debug, Serialize)]
#[serde(tag = "layer", rename_all = "kebab-case")]
#[expect(
    missing_docs,
    reason = "the fields are those of the header, by their usual names"
)]
pub enum Layer {
    /// Ethernet.
    Ethernet {
        src: String,
        dst: String,
        ethertype: u16,
    },
    /// 802.1Q.
    Vlan { vid: u16, pcp: u8 },
    /// ARP.
    Arp {
        op: &'static str,
        sender_mac: String,
        sender: Ipv4Addr,
        target: Ipv4Addr,
    },
    /// IPv6, the outer header of a softwire packet included.
    Ipv6 {
        src: Ipv6Addr,
        dst: Ipv6Addr,
        traffic_class: u8,
        flow_label: u32,
        hop_limit: u8,
        payload_len: u16,
        next_header: u8,
    },
    /// Tunnel encapsulation limit.
    EncapLimit { limit: u8 },
    /// IPv6 Fragment header; the offset is in bytes.
    Fragment {
        ident: u32,
        offset: u16,
        more: bool,
        next_header: u8,
    },
    /// IPv4; the fragment offset is in bytes.
    Ipv4 {
        src: Ipv4Addr,
        dst: Ipv4Addr,
        tos: u8,
        ttl: u8,
        total_len: u16,
        ident: u16,
        dont_fragment: bool,
        more_fragments: bool,
        fragment_offset: u16,
        protocol: u8,
    },
    /// A transport protocol with ports.
    Ports {
        protocol: String,
        src: u16,
        dst: u16,
        len: usize,
    },
    /// `ICMPv4` query.
    Icmpv4Query {
        r#type: u8,
        code: u8,
        ident: u16,
        #[serde(skip_serializing_if = "Option::is_none")]
        sequence: Option<u16>,
    },
    /// `ICMPv4` of another kind; the layers behind it are what it quotes.
    Icmpv4 {
        r#type: u8,
        code: u8,
        meaning: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        mtu: Option<u16>,
    },
    /// `ICMPv6`; the layers behind an error are what it quotes.
    Icmpv6 {
        r#type: u8,
        code: u8,
        meaning: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        mtu: Option<u32>,
        #[serde(skip_serializing_if = "Option::is_none")]
        pointer: Option<u32>,
    },
    /// Neighbor solicitation.
    NeighborSolicit {
        target: Ipv6Addr,
        source_mac: Option<String>,
    },
    /// Neighbor advertisement.
    NeighborAdvert {
        target: Ipv6Addr,
        target_mac: Option<String>,
        router: bool,
        solicited: bool,
        overrides: bool,
    },
    /// What an error quotes follows.
    Quoted,
    /// Something that is not decoded further.
    Data { protocol: String, len: usize },
}

/// Decodes a captured frame.
#[must_use]
pub fn decode(frame: &CapturedFrame) -> Message {
    let mut decoder = Decoder { layers: Vec::new() };
    let error = decoder.ethernet(&frame.bytes).err();
    let cut = u64::from(frame.original_len) > frame.bytes.len() as u64;
    let error = error.map(|error| {
        if cut {
            format!(
                "{error} (the capture holds {} of {} bytes)",
                frame.bytes.len(),
                frame.original_len
            )
        } else {
            error
        }
    });
    #[expect(
        clippy::cast_precision_loss,
        reason = "microseconds since 1970 fit 53 bits until 2255"
    )]
    let time = frame.time.as_micros() as f64 / 1e6;
    Message {
        time,
        layers: decoder.layers,
        error,
    }
}

struct Decoder {
    layers: Vec<Layer>,
}

/// What is malformed.
type Decoded = Result<(), String>;

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

impl Decoder {
    fn ethernet(&mut self, frame: &[u8]) -> Decoded {
        let parsed = ethernet::split(frame).map_err(text)?;
        let (src, dst) = (parsed.src.to_string(), parsed.dst.to_string());
        self.layers.push(Layer::Ethernet {
            src,
            dst,
            ethertype: parsed.ethertype.0,
        });
        if let Some(tag) = parsed.vlan {
            self.layers.push(Layer::Vlan {
                vid: tag.vid(),
                pcp: tag.pcp(),
            });
        }
        match parsed.ethertype {
            EtherType::IPV4 => self.ipv4(parsed.payload),
            EtherType::IPV6 => self.ipv6(parsed.payload),
            EtherType::ARP => self.arp(parsed.payload),
            other => self.data(format!("{other:?}"), parsed.payload.len()),
        }
    }

    fn data(&mut self, protocol: String, len: usize) -> Decoded {
        self.layers.push(Layer::Data { protocol, len });
        Ok(())
    }

    fn arp(&mut self, payload: &[u8]) -> Decoded {
        let (packet, _) = ArpPacket::split(payload).map_err(text)?;
        let arp = packet.fields();
        let op = if arp.op == ArpOp::REQUEST {
            "request"
        } else {
            "reply"
        };
        let sender_mac = arp.sender_mac.to_string();
        let (sender, target) = (arp.sender_ip, arp.target_ip);
        self.layers.push(Layer::Arp {
            op,
            sender_mac,
            sender,
            target,
        });
        Ok(())
    }

    fn ipv6(&mut self, packet: &[u8]) -> Decoded {
        let (header, payload) = Ipv6Header::split(packet).map_err(text)?;
        self.ipv6_header(&header);
        let walk = ipv6_ext::walk(header.next_header(), payload).map_err(text)?;
        self.encap_limit(&walk);
        let Some(fragment) = walk.fragment else {
            return self.ipv6_payload(&header, walk.next, walk.payload);
        };
        self.fragment(fragment);
        if !fragment.is_atomic() && fragment.offset != 0 {
            return self.data(format!("{:?}", fragment.next), walk.payload.len());
        }
        let walk = walk.past_fragment().map_err(text)?;
        if fragment.is_atomic() {
            return self.ipv6_payload(&header, walk.next, walk.payload);
        }
        // The rest of the datagram is elsewhere, so lengths are not judged.
        match walk.next {
            IpProtocol::IPV4 => self.quoted_ipv4(walk.payload),
            other => self.data(format!("{other:?}"), walk.payload.len()),
        }
    }

    fn ipv6_payload(
        &mut self,
        header: &Ipv6Header<&[u8; 40]>,
        next: IpProtocol,
        payload: &[u8],
    ) -> Decoded {
        match next {
            IpProtocol::IPV4 => self.ipv4(payload),
            IpProtocol::ICMPV6 => self.icmpv6(header, payload),
            other => self.transport(other, payload),
        }
    }

    fn ipv6_header(&mut self, header: &Ipv6Header<&[u8; 40]>) {
        self.layers.push(Layer::Ipv6 {
            src: header.src(),
            dst: header.dst(),
            traffic_class: header.traffic_class(),
            flow_label: header.flow_label(),
            hop_limit: header.hop_limit(),
            payload_len: header.payload_len(),
            next_header: header.next_header().0,
        });
    }

    fn encap_limit(&mut self, walk: &lw4o6_wire::ExtWalk<'_>) {
        if let Some(limit) = walk.encap_limit {
            self.layers.push(Layer::EncapLimit { limit: limit.limit });
        }
    }

    fn fragment(&mut self, fragment: FragmentHeader) {
        let FragmentHeader {
            next,
            offset,
            more,
            ident,
        } = fragment;
        self.layers.push(Layer::Fragment {
            ident,
            offset,
            more,
            next_header: next.0,
        });
    }

    fn ipv4(&mut self, packet: &[u8]) -> Decoded {
        let packet = Ipv4Packet::split(packet).map_err(text)?;
        self.ipv4_header(&packet.header);
        if !packet.header_checksum_ok() {
            return Err("Ipv4: header checksum is wrong".to_owned());
        }
        let protocol = packet.header.protocol();
        if packet.header.is_fragment() {
            return self.ipv4_fragment(&packet);
        }
        match protocol {
            IpProtocol::ICMP => self.icmpv4(packet.payload),
            other => self.transport(other, packet.payload),
        }
    }

    fn ipv4_fragment(&mut self, packet: &Ipv4Packet<'_>) -> Decoded {
        let protocol = packet.header.protocol();
        match l4::ports(protocol, packet.payload).filter(|_| packet.header.is_first()) {
            Some(ports) => self.ports(protocol, ports, packet.payload.len()),
            None => self.data(format!("{protocol:?}"), packet.payload.len()),
        }
    }

    fn ipv4_header(&mut self, header: &Ipv4Header<&[u8; 20]>) {
        self.layers.push(Layer::Ipv4 {
            src: header.src(),
            dst: header.dst(),
            tos: header.tos(),
            ttl: header.ttl(),
            total_len: header.total_len(),
            ident: header.ident(),
            dont_fragment: header.dont_fragment(),
            more_fragments: header.more_fragments(),
            fragment_offset: header.fragment_offset(),
            protocol: header.protocol().0,
        });
    }

    fn transport(&mut self, protocol: IpProtocol, payload: &[u8]) -> Decoded {
        if !protocol.has_ports() {
            return self.data(format!("{protocol:?}"), payload.len());
        }
        let result = l4::validate(protocol, payload).map_err(text);
        if let Some(ports) = l4::ports(protocol, payload) {
            self.ports(protocol, ports, payload.len())?;
        }
        result
    }

    fn ports(&mut self, protocol: IpProtocol, ports: l4::Ports, len: usize) -> Decoded {
        let l4::Ports { src, dst } = ports;
        self.layers.push(Layer::Ports {
            protocol: format!("{protocol:?}"),
            src,
            dst,
            len,
        });
        Ok(())
    }

    fn icmpv4(&mut self, message: &[u8]) -> Decoded {
        let (header, _) = Icmpv4Header::split(message).map_err(text)?;
        let (r#type, code) = (header.type_().0, header.code());
        let class = header.class();
        if let Icmpv4Class::Query { ident, .. } = class {
            let sequence = Some(header.sequence());
            self.layers.push(Layer::Icmpv4Query {
                r#type,
                code,
                ident,
                sequence,
            });
        } else {
            let mtu = ((r#type, code) == (3, 4)).then(|| header.next_hop_mtu());
            let meaning = meaning_v4(r#type, code);
            self.layers.push(Layer::Icmpv4 {
                r#type,
                code,
                meaning,
                mtu,
            });
        }
        if !icmpv4::verify(message) {
            return Err("Icmpv4: checksum is wrong".to_owned());
        }
        if class != Icmpv4Class::Error {
            return Ok(());
        }
        let quote = ipv4_quote(message).map_err(text)?;
        self.layers.push(Layer::Quoted);
        self.ipv4_header(&quote.header);
        self.quoted_key(quote.header.protocol(), quote.key(), quote.payload.len());
        Ok(())
    }

    /// An IPv4 packet of which the end may be missing.
    fn quoted_ipv4(&mut self, packet: &[u8]) -> Decoded {
        let quote = Ipv4Packet::split_quoted(packet).map_err(text)?;
        self.ipv4_header(&quote.header);
        self.quoted_key(quote.header.protocol(), quote.key(), quote.payload.len());
        Ok(())
    }

    fn quoted_key(&mut self, protocol: IpProtocol, key: QuotedKey, len: usize) {
        let name = format!("{protocol:?}");
        self.layers.push(match key {
            QuotedKey::Ports(l4::Ports { src, dst }) => Layer::Ports {
                protocol: name,
                src,
                dst,
                len,
            },
            QuotedKey::Ident { ident, request } => {
                let r#type = if request { 8 } else { 0 };
                Layer::Icmpv4Query {
                    r#type,
                    code: 0,
                    ident,
                    sequence: None,
                }
            }
            QuotedKey::Error | QuotedKey::NoPort | QuotedKey::Fragment | QuotedKey::Truncated => {
                Layer::Data {
                    protocol: name,
                    len,
                }
            }
        });
    }

    fn icmpv6(&mut self, outer: &Ipv6Header<&[u8; 40]>, message: &[u8]) -> Decoded {
        let (src, dst, hops) = (outer.src(), outer.dst(), outer.hop_limit());
        let (header, _) = Icmpv6Header::split(message).map_err(text)?;
        match header.type_() {
            Icmpv6Type::NEIGHBOR_SOLICIT => {
                let solicit = NeighborSolicit::parse(src, dst, hops, message).map_err(text)?;
                let source_mac = solicit.source_mac.map(|mac| mac.to_string());
                self.layers.push(Layer::NeighborSolicit {
                    target: solicit.target,
                    source_mac,
                });
                return Ok(());
            }
            Icmpv6Type::NEIGHBOR_ADVERT => {
                let advert = NeighborAdvert::parse(src, dst, hops, message).map_err(text)?;
                self.layers.push(Layer::NeighborAdvert {
                    target: advert.target,
                    target_mac: advert.target_mac.map(|mac| mac.to_string()),
                    router: advert.router,
                    solicited: advert.solicited,
                    overrides: advert.override_,
                });
                return Ok(());
            }
            _ => {}
        }
        self.icmpv6_header(&header);
        if !icmpv6::verify(src, dst, message) {
            return Err("Icmpv6: checksum is wrong".to_owned());
        }
        if !matches!(header.type_().0, 1..=4) {
            return Ok(());
        }
        let quote = tunnel_quote(message).map_err(text)?;
        self.layers.push(Layer::Quoted);
        self.ipv6_header(&quote.outer);
        if let Some(inner) = quote.inner {
            self.ipv4_header(&inner.header);
            self.quoted_key(inner.header.protocol(), inner.key(), inner.payload.len());
        }
        Ok(())
    }

    fn icmpv6_header(&mut self, header: &Icmpv6Header<&[u8; 8]>) {
        let (kind, code) = (header.type_(), header.code());
        self.layers.push(Layer::Icmpv6 {
            r#type: kind.0,
            code,
            meaning: meaning_v6(kind.0, code),
            mtu: (kind == Icmpv6Type::PACKET_TOO_BIG).then(|| header.mtu()),
            pointer: (kind == Icmpv6Type::PARAMETER_PROBLEM).then(|| header.pointer()),
        });
    }
}

fn meaning_v4(kind: u8, code: u8) -> String {
    let meaning = match (kind, code) {
        (3, 0) => "network unreachable",
        (3, 1) => "host unreachable",
        (3, 2) => "protocol unreachable",
        (3, 3) => "port unreachable",
        (3, 4) => "fragmentation needed",
        (3, 13) => "administratively prohibited",
        (3, _) => "unreachable",
        (4, _) => "source quench",
        (5, _) => "redirect",
        (11, 0) => "TTL expired",
        (11, 1) => "reassembly time exceeded",
        (12, _) => "parameter problem",
        _ => "other",
    };
    meaning.to_owned()
}

fn meaning_v6(kind: u8, code: u8) -> String {
    let meaning = match (kind, code) {
        (1, 0) => "no route",
        (1, 1) => "administratively prohibited",
        (1, 3) => "address unreachable",
        (1, 4) => "port unreachable",
        (1, 5) => "source address failed policy: no binding",
        (1, _) => "unreachable",
        (2, _) => "packet too big",
        (3, 0) => "hop limit exceeded",
        (3, 1) => "reassembly time exceeded",
        (4, 0) => "erroneous header field",
        (4, 1) => "unrecognized next header",
        (4, 2) => "unrecognized option",
        (4, 3) => "incomplete header chain in first fragment",
        (128, _) => "echo request",
        (129, _) => "echo reply",
        (133, _) => "router solicitation",
        (134, _) => "router advertisement",
        _ => "other",
    };
    meaning.to_owned()
}
