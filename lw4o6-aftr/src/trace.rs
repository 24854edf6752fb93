//! What a packet went through: the binding it met, the checks it passed, the one it failed.
//!
//! For an operator with one subscriber on the telephone. A worker without a filter pays one branch
//! for each frame; with one it looks at every frame twice, and keeps a record of those that match.

use core::fmt;
use core::net::{Ipv4Addr, Ipv6Addr};

use lw4o6_wire::l4::Ports;
use lw4o6_wire::{Instant, IpProtocol, PortParams};

pub use self::check::Check;
use crate::{Cause, Kind, Side, Verdict};

mod check;
mod packet;
mod tracer;

pub(crate) use self::tracer::Tracer;

/// Which packets are traced: those that all of this is true of. Default: every one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TraceFilter {
    /// Source or destination of the IPv4 packet, in a tunnel or not, or of an ARP message.
    pub ipv4: Option<Ipv4Addr>,
    /// Source or destination port of it, or the identifier of an echo.
    pub port: Option<u16>,
    /// Source or destination of the tunnel packet or `ICMPv6` message, or the B4 of the binding.
    pub b4: Option<Ipv6Addr>,
    /// Which outcomes.
    pub only: Only,
}

/// Which outcomes are traced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Only {
    /// All of them.
    #[default]
    Everything,
    /// Packets that were dropped, with or without an answer.
    Drops,
}

/// Where a packet was when the record was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// It had come in.
    In,
    /// It had been put together from fragments just now, or let go by its first fragment. The record
    /// follows that of the frame which brought it about.
    Late,
    /// It was a datagram whose fragments had been held until their time was up.
    Held,
    /// It was about to leave by a port.
    Out,
}

/// What a traced packet went through.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Trace {
    /// When.
    pub at: Instant,
    /// The side that it came from; of [`Way::Out`] the one that it goes to.
    pub side: Side,
    /// Where it was.
    pub way: Way,
    /// Its bytes, without an Ethernet header.
    pub len: usize,
    /// Its IPv6 header, where it had one.
    pub outer: Option<Outer>,
    /// Its IPv4 header, where it had one.
    pub inner: Option<Inner>,
    /// The binding that it met.
    pub binding: Option<Binding>,
    /// The checks that it passed, in order.
    pub passed: Vec<Check>,
    /// The one that it failed.
    pub failed: Option<Check>,
    /// What became of it.
    pub verdict: Verdict,
    /// The ICMP message that was sent in its place.
    pub answer: Option<Answer>,
}

/// An IPv6 header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outer {
    /// Source.
    pub src: Ipv6Addr,
    /// Destination.
    pub dst: Ipv6Addr,
    /// Next header of the fixed header.
    pub next: IpProtocol,
}

/// An IPv4 header, and the ports behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inner {
    /// Source.
    pub src: Ipv4Addr,
    /// Destination.
    pub dst: Ipv4Addr,
    /// Protocol.
    pub protocol: IpProtocol,
    /// Ports, where the protocol has them and this is no later fragment.
    pub ports: Option<Ports>,
    /// The identifier of an echo or timestamp, or type and code of another `ICMPv4` message.
    pub icmp: Option<Icmp>,
    /// Fragment offset in bytes, and whether others follow; of a fragment.
    pub fragment: Option<(u16, bool)>,
    /// TTL.
    pub ttl: u8,
}

/// An ICMP message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Icmp {
    /// Type.
    pub kind: u8,
    /// Code.
    pub code: u8,
    /// Identifier, of those that have one.
    pub ident: Option<u16>,
}

/// A binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binding {
    /// The B4.
    pub b4: Ipv6Addr,
    /// The AFTR address.
    pub aftr: Option<Ipv6Addr>,
    /// Public address and port set; not known where the ports of a fragment came from elsewhere.
    pub softwire: Option<(Ipv4Addr, PortParams)>,
}

/// An answer of the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Where it went.
    pub to: Side,
    /// 4 or 6.
    pub version: u8,
    /// Type.
    pub kind: u8,
    /// Code.
    pub code: u8,
}

impl Trace {
    /// Whether the packet was dropped, with or without an answer.
    #[must_use]
    pub const fn is_drop(&self) -> bool {
        matches!(
            self.verdict,
            Verdict::Drop(_) | Verdict::Reply(_, Cause::Dropped(_))
        )
    }

    /// Where it was: `in`, `late`, `held` or `out`.
    #[must_use]
    pub const fn way(&self) -> &'static str {
        match self.way {
            Way::In => "in",
            Way::Late => "late",
            Way::Held => "held",
            Way::Out => "out",
        }
    }

    /// What became of it, in a word; drop reasons by their names.
    #[must_use]
    pub const fn outcome(&self) -> &'static str {
        match self.verdict {
            Verdict::Forward(Side::Softwire) => "to the softwire side",
            Verdict::Forward(Side::Internet) => "to the Internet",
            Verdict::Reply(_, Cause::EchoV4 | Cause::EchoV6) => "echo answered",
            Verdict::Local(Kind::Own) => "local",
            Verdict::Local(Kind::Tunnelled { .. }) => "local, tunnelled",
            Verdict::Local(Kind::Foreign) => "not ours",
            Verdict::Consumed => "kept",
            Verdict::Reply(_, Cause::Dropped(reason)) | Verdict::Drop(reason) => reason.as_str(),
        }
    }
}

/// One line for people.
impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.at.as_micros();
        let side = match self.side {
            Side::Softwire => "softwire",
            Side::Internet => "internet",
        };
        let (seconds, rest) = (micros / 1_000_000, micros % 1_000_000);
        write!(
            f,
            "{seconds}.{rest:06} {side} {} {} bytes",
            self.way(),
            self.len
        )?;
        if let Some(outer) = self.outer {
            write!(f, " {} > {}", outer.src, outer.dst)?;
        }
        if let Some(inner) = self.inner {
            write!(f, " {inner}")?;
        }
        if let Some(binding) = self.binding {
            write!(f, "; binding {binding}")?;
        }
        f.write_str("; passed")?;
        for check in &self.passed {
            write!(f, " {check}")?;
        }
        match self.failed {
            Some(check) => {
                let reference = check.reference();
                write!(f, "; failed {check} ({reference}): {}", self.outcome())?;
            }
            None => write!(f, "; {}", self.outcome())?,
        }
        if let Some(Answer {
            version,
            kind,
            code,
            ..
        }) = self.answer
        {
            write!(f, "; answered ICMPv{version} {kind}/{code}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { src, dst, .. } = self;
        match self.ports {
            Some(ports) => write!(f, "{src}:{} > {dst}:{}", ports.src, ports.dst)?,
            None => write!(f, "{src} > {dst}")?,
        }
        write!(f, " {:?}", self.protocol)?;
        if let Some(Icmp { kind, code, ident }) = self.icmp {
            write!(f, " {kind}/{code}")?;
            if let Some(ident) = ident {
                write!(f, " id {ident}")?;
            }
        }
        if let Some((offset, more)) = self.fragment {
            let plus = if more { "+" } else { "" };
            write!(f, " fragment {offset}{plus}")?;
        }
        write!(f, " ttl {}", self.ttl)
    }
}

impl fmt::Display for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.b4)?;
        if let Some((ipv4, set)) = self.softwire {
            let (a, k, psid) = (set.offset(), set.len(), set.psid());
            write!(f, " {ipv4} a={a} k={k} psid={psid}")?;
        }
        match self.aftr {
            Some(aftr) => write!(f, " at {aftr}"),
            None => Ok(()),
        }
    }
}
