//! A decoded frame as one line for people.

use std::fmt::{self, Display, Formatter};

use super::{Layer, Message};

impl Message {
    /// One line for people.
    #[must_use]
    pub fn line(&self) -> String {
        let layers: Vec<_> = self.layers.iter().map(Layer::to_string).collect();
        let error = self
            .error
            .as_ref()
            .map_or_else(String::new, |e| format!(" MALFORMED: {e}"));
        format!("{:.6} {}{error}", self.time, layers.join(" "))
    }
}

impl Display for Layer {
    #[expect(clippy::too_many_lines, reason = "one arm a layer and nothing else")]
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ethernet { src, dst, .. } => write!(f, "{src} > {dst}"),
            Self::Vlan { vid, .. } => write!(f, "vlan {vid}"),
            Self::Arp {
                op, sender, target, ..
            } => write!(f, "arp {op} {sender} > {target}"),
            Self::Ipv6 {
                src,
                dst,
                hop_limit,
                ..
            } => write!(f, "| {src} > {dst} hops {hop_limit}"),
            Self::EncapLimit { limit } => write!(f, "encapsulation limit {limit}"),
            Self::Fragment {
                ident,
                offset,
                more,
                ..
            } => {
                write!(
                    f,
                    "fragment {ident:#010x} at {offset}{}",
                    if *more { "+" } else { "" }
                )
            }
            Self::Ipv4 {
                src,
                dst,
                ttl,
                total_len,
                fragment_offset,
                more_fragments,
                ..
            } => {
                write!(f, "| {src} > {dst} ttl {ttl} len {total_len}")?;
                match (fragment_offset, more_fragments) {
                    (0, false) => Ok(()),
                    (offset, true) => write!(f, " fragment at {offset}+"),
                    (offset, false) => write!(f, " fragment at {offset}"),
                }
            }
            Self::Ports {
                protocol,
                src,
                dst,
                len,
            } => {
                write!(f, "{protocol} {src} > {dst} len {len}")
            }
            Self::Icmpv4Query {
                r#type,
                ident,
                sequence,
                ..
            } => {
                write!(f, "icmp query {type} id {ident}")?;
                sequence.map_or(Ok(()), |sequence| write!(f, " seq {sequence}"))
            }
            Self::Icmpv4 {
                r#type,
                code,
                meaning,
                mtu,
            } => {
                write!(f, "icmp {type}/{code} {meaning}")?;
                mtu.map_or(Ok(()), |mtu| write!(f, " mtu {mtu}"))
            }
            Self::Icmpv6 {
                r#type,
                code,
                meaning,
                mtu,
                pointer,
            } => {
                write!(f, "icmp6 {type}/{code} {meaning}")?;
                mtu.map_or(Ok(()), |mtu| write!(f, " mtu {mtu}"))?;
                pointer.map_or(Ok(()), |pointer| write!(f, " pointer {pointer}"))
            }
            Self::NeighborSolicit { target, .. } => write!(f, "who has {target}"),
            Self::NeighborAdvert {
                target, target_mac, ..
            } => {
                write!(
                    f,
                    "{target} is at {}",
                    target_mac.as_deref().unwrap_or("its sender")
                )
            }
            Self::Quoted => write!(f, "about"),
            Self::Data { protocol, len } => write!(f, "{protocol} {len} bytes"),
        }
    }
}
