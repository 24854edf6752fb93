//! Every knob of the engine.

use core::net::{Ipv4Addr, Ipv6Addr};
use core::time::Duration;

use lw4o6_wire::{EcnMode, Ipv6Prefix};

/// Configuration of an [`Aftr`](crate::Aftr).
///
/// Checked once, when it becomes an `Aftr` or replaces the one in force; every field may change at
/// run time except where its documentation says otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AftrConfig {
    /// Tunnel endpoint addresses besides those that bindings name. Default none.
    pub aftr_addresses: Vec<Ipv6Addr>,
    /// IPv6 addresses of the box that answer echo. Default none.
    pub own_ipv6: Vec<Ipv6Addr>,
    /// IPv4 addresses of the box. They answer echo; the first is the source of `ICMPv4` towards the
    /// Internet (RFC 1812 §4.3.2.4, R-177) and must not lie in 192.0.0.0/29.
    pub own_ipv4: Vec<Ipv4Addr>,
    /// MTU of the IPv4 side in bytes of IPv4 packet, 68 to 65535. Default 1500.
    pub ipv4_mtu: u16,
    /// MTU of the path to the B4s in bytes of IPv6 packet, 1280 to 65535. Default 1540, so that a
    /// 1500-byte IPv4 packet fits (RFC 6333 §5.3).
    pub ipv6_mtu: u16,
    /// Largest reassembled tunnel packet accepted, outer header included (RFC 8676 softwire-path-mru).
    /// Default 1540; values below are raised to it, because 1500-byte packets must get through.
    pub path_mru: u16,

    /// A packet with Don't Fragment that is too big for the tunnel (D-1). Default [`DfPolicy::Rfc2473`].
    pub df_policy: DfPolicy,
    /// Port key of an echo request from the Internet (D-3). Default [`InboundEcho::Identifier`].
    pub inbound_echo_request: InboundEcho,
    /// DSCP of the outer header (D-6). Default [`DscpEncap::Uniform`].
    pub dscp_encap: DscpEncap,
    /// DSCP of the inner header after decapsulation (D-6). Default [`DscpDecap::Uniform`].
    pub dscp_decap: DscpDecap,
    /// ECN of the outer header (RFC 6040 §4.3). Default normal mode.
    pub ecn_encap: EcnMode,
    /// Hop limit of the outer header (D-7). Default 64.
    pub hop_limit: u8,
    /// TTL and hop limit of our own ICMP errors. Default 64, which echo answers always have.
    pub own_ttl: u8,
    /// Flow label of the outer header (RFC 6438 §3). Default [`FlowLabel::Hash`].
    pub flow_label: FlowLabel,
    /// Tunnel encapsulation limit to send (RFC 2473 §4.1.1). Default none.
    pub encap_limit: Option<u8>,
    /// B4 to B4 traffic (D-13). Default [`Hairpin::Local`].
    pub hairpin: Hairpin,
    /// Protocols without ports on a shared address (D-10). Default [`UnknownProtocol::Discard`].
    pub unknown_protocol: UnknownProtocol,
    /// IPv4 outside every pool. Default [`ForeignIpv4::Local`].
    pub foreign_ipv4: ForeignIpv4,
    /// A softwire packet that matches no binding. Default [`UnboundSource::Unreachable`].
    pub unbound_source: UnboundSource,
    /// An IPv4 packet that matches no binding. Default [`UnboundDestination::HostUnreachable`].
    pub unbound_destination: UnboundDestination,
    /// RFC 1918 and 100.64/10 as inner destination. Default [`PrivateDestination::Drop`].
    pub private_destination: PrivateDestination,
    /// Packets from the Internet with a source in our own pool. Default
    /// [`PoolSource::Drop`].
    pub pool_source: PoolSource,
    /// IPv6 ranges B4s may use. Default empty: any.
    pub subscriber_prefixes: Vec<Ipv6Prefix>,
    /// In-tunnel services at 192.0.0.1. Default [`TunnelService::Off`].
    pub tunnel_service: TunnelService,
    /// Fragment the inner packet instead of the outer one, where DF allows (RFC 4459 §3.4). Default
    /// [`InnerFragmentation::Off`].
    pub inner_fragmentation: InnerFragmentation,
    /// Path MTU discovery towards the B4s. Default [`Pmtud::Static`].
    pub pmtud: Pmtud,
    /// Clamp the TCP MSS option to what fits the tunnel. Default [`MssClamp::Off`].
    pub mss_clamp: MssClamp,

    /// ICMP in both families.
    pub icmp: IcmpConfig,
    /// Reassembly of tunnel packets.
    pub reassembly: ReassemblyConfig,
    /// IPv4 fragments on shared addresses, from both sides.
    pub fragments: FragmentConfig,
    /// No `ICMPv6` 1/5 for this long after the start. Default zero; programs set 30 s.
    pub boot_grace: Duration,
    /// Bytes of a worker's slab: held fragments, reassembled packets, queued output. Fixed when the
    /// worker is made. Default 4 MiB, at least 512 KiB.
    pub slab_bytes: usize,
    /// Softwires that each worker has counters for, of 64 bytes, rounded up to a power of two with a
    /// quarter to spare; packets of others are counted as
    /// [`SoftwireUncountedPackets`](crate::Counter::SoftwireUncountedPackets). Fixed when the worker is made.
    /// Default 0: none; at most 16,777,216.
    pub softwire_counters: usize,
}

/// `ICMPv4` and `ICMPv6` policy.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct IcmpConfig {
    /// `ICMPv4` for pool addresses, from the Internet or from another B4 (RFC 8676
    /// allow-incoming-icmpv4); what a B4 sends out is no concern of it. Default [`Switch::On`].
    pub incoming_v4: Switch,
    /// Incoming `ICMPv4` messages processed per second (RFC 8676 icmpv4-rate). Default no limit.
    pub incoming_v4_rate: Option<u32>,
    /// `ICMPv4` errors of our own (RFC 8676 generate-icmpv4-errors). Default [`Switch::On`].
    pub generate_v4: Switch,
    /// `ICMPv6` errors of our own (RFC 8676 generate-icmpv6-errors). Default [`Switch::On`].
    pub generate_v6: Switch,
    /// `ICMPv6` tunnel errors from the access side. Default [`Switch::On`].
    pub tunnel_errors: Switch,
    /// `ICMPv4` errors per second and instance, relayed tunnel errors among them. Default 2,000.
    pub instance_rate_v4: u32,
    /// `ICMPv6` errors per second and instance (RFC 8676 icmpv6-rate). Default 2,000.
    pub instance_rate_v6: u32,
    /// Burst of the instance bucket of each family. Default 2,000.
    pub instance_burst: u32,
    /// Errors per second to one B4 or one IPv4 source. Default 10 (RFC 4443 §2.4(f)).
    pub source_rate: u32,
    /// Burst of each such bucket. Default 10.
    pub source_burst: u32,
    /// Echo answers per second and instance; apart from errors, so that pings starve no error.
    /// Default 2,000.
    pub echo_rate: u32,
    /// TOS byte of `ICMPv4` errors (D-8). Default 0xc0; the ECN bits are cleared.
    pub v4_tos: u8,
    /// Source of `ICMPv4` towards a B4. Default [`B4IcmpSource::ServiceAddress`].
    pub b4_source: B4IcmpSource,
    /// Header checksum of the packet an `ICMPv4` error quotes. Default
    /// [`QuotedChecksum::Verify`].
    pub quoted_checksum: QuotedChecksum,
}

/// Reassembly of tunnel packets (RFC 8200 §4.5).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReassemblyConfig {
    /// Datagrams under reassembly per worker. Default 1,024.
    pub contexts: usize,
    /// Bytes that all workers together hold, at most half of one worker's slab. Default 2 MiB.
    pub bytes: usize,
    /// Bytes that each worker holds for one B4. Default 128 KiB.
    pub bytes_per_b4: usize,
    /// Fragments in one datagram. Default 64.
    pub fragments: usize,
    /// Time from the first-arriving fragment. Default 60 s.
    pub timeout: Duration,
}

/// IPv4 fragments on shared addresses (RFC 7597 §8.3.2).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FragmentConfig {
    /// What is done about them. Default [`FragmentHandling::Follow`].
    pub handling: FragmentHandling,
    /// Datagrams followed per worker, and as many put together. Default 4,096.
    pub contexts: usize,
    /// Bytes that all workers together hold of fragments that came before their first one. Default
    /// 1 MiB. With [`FragmentHandling::Reassemble`] one half is for fragments to put together, the
    /// other for those from B4s.
    pub bytes: usize,
    /// Bytes that each worker holds for one source: a B4, or an IPv4 address of the Internet. Default
    /// 128 KiB.
    pub bytes_per_source: usize,
    /// Fragments in one datagram. Default 64.
    pub fragments: usize,
    /// Time a fragment waits for its first one or the others, and a context is kept. Default 15 s, at least 2 s.
    pub timeout: Duration,
}

/// What is done about IPv4 fragments on shared addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum FragmentHandling {
    /// They are forwarded as they are, by the ports of their first one (RFC 7597 §8.3.2).
    #[default]
    Follow,
    /// Those from the Internet are put together before lookup (RFC 7597 §8.3.2, RFC 791 §3.2) and
    /// go on as one packet. Those from B4s are followed.
    Reassemble,
    /// They are dropped.
    Off,
}

/// A two-valued knob.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Switch {
    /// Done.
    On,
    /// Not done.
    Off,
}

/// A packet with Don't Fragment that is too big for the tunnel (D-1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum DfPolicy {
    /// Drop it and answer `ICMPv4` 3/4 (RFC 2473 §7.2(a)).
    #[default]
    Rfc2473,
    /// Fragment the outer packet (RFC 6333 §5.3 with erratum 5847).
    OuterFragment,
}

/// Port key of an echo request from the Internet (D-3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum InboundEcho {
    /// Its identifier (RFC 7596 §8.1).
    #[default]
    Identifier,
    /// Port 0, so that it reaches whoever holds the lowest set.
    Port0,
    /// Dropped.
    Drop,
}

/// DSCP of the outer header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum DscpEncap {
    /// That of the inner packet (RFC 6333 §7.1).
    #[default]
    Uniform,
    /// This value, 0 to 63 (RFC 2983 §3.1).
    Fixed(u8),
}

/// DSCP of the inner packet after decapsulation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum DscpDecap {
    /// That of the outer header (RFC 6333 §7.1).
    #[default]
    Uniform,
    /// Left as it is (RFC 2983 §3.1).
    Pipe,
}

/// Flow label of the outer header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum FlowLabel {
    /// A keyed hash of the inner source, destination and protocol, and of the ports where the packet is no
    /// fragment (RFC 6438 §3).
    #[default]
    Hash,
    /// A keyed hash of the inner source, destination and protocol only.
    HashAddresses,
    /// This value, 20 bits.
    Constant(u32),
}

/// B4 to B4 traffic (D-13).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Hairpin {
    /// Decapsulated and encapsulated again here (RFC 7596 §6.2).
    #[default]
    Local,
    /// Sent out of the IPv4 side. Can loop until the TTL ends.
    ToIpv4Side,
    /// Dropped.
    Drop,
}

/// Protocols without ports on a shared address (D-10).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum UnknownProtocol {
    /// Dropped in silence.
    #[default]
    Discard,
    /// Dropped with `ICMPv4` 3/2.
    ProtocolUnreachable,
}

/// IPv4 outside every pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ForeignIpv4 {
    /// Handed to the owner as [`Kind::Foreign`](crate::Kind::Foreign).
    #[default]
    Local,
    /// Dropped like an unbound destination, with its answer.
    Unbound,
}

/// A softwire packet that matches no binding (RFC 7596 §6.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum UnboundSource {
    /// Dropped in silence.
    Discard,
    /// Dropped with `ICMPv6` 1/5, within the rate limits.
    #[default]
    Unreachable,
}

/// An IPv4 packet that matches no binding (RFC 7596 §6.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum UnboundDestination {
    /// Dropped in silence.
    Discard,
    /// Dropped with `ICMPv4` 3/1, within the rate limits.
    #[default]
    HostUnreachable,
}

/// RFC 1918 and 100.64/10 as inner destination.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum PrivateDestination {
    /// Dropped.
    #[default]
    Drop,
    /// Forwarded; for operators who reach their own services that way.
    Forward,
}

/// Packets from the Internet with a source in our own pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum PoolSource {
    /// Dropped as spoofed (RFC 2827).
    #[default]
    Drop,
    /// Forwarded; needed where hairpinned traffic comes back from the IPv4 side.
    Forward,
}

/// In-tunnel services at 192.0.0.1 (RFC 6333 §5.7).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TunnelService {
    /// None; packets from 192.0.0.0/29 are dropped.
    #[default]
    Off,
    /// Packets 192.0.0.2 to 192.0.0.1 are handed to the owner.
    On,
}

/// Which packet is fragmented.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum InnerFragmentation {
    /// The outer one (RFC 6333 §5.3).
    #[default]
    Off,
    /// The inner one where Don't Fragment is clear.
    On,
}

/// Path MTU discovery towards the B4s.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Pmtud {
    /// Off: right for an anycast AFTR address (RFC 7597 §8.3.1).
    #[default]
    Static,
    /// On: a validated Packet Too Big lowers the MTU towards its B4 for 10 minutes.
    Dynamic,
}

/// TCP MSS clamping.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum MssClamp {
    /// Off.
    #[default]
    Off,
    /// To the tunnel MTU less 40 bytes, both directions.
    ToTunnel,
    /// To this many bytes, both directions.
    To(u16),
}

/// Source of `ICMPv4` towards a B4.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum B4IcmpSource {
    /// 192.0.0.1 (RFC 6333 §6.5).
    #[default]
    ServiceAddress,
    /// The first of [`AftrConfig::own_ipv4`].
    Public,
}

/// Header checksum of the packet an `ICMPv4` error quotes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum QuotedChecksum {
    /// Must be right (RFC 5508 REQ-3).
    #[default]
    Verify,
    /// Not looked at.
    Ignore,
}

impl AftrConfig {
    /// Whether an [`Aftr`](crate::Aftr) would take this configuration.
    ///
    /// # Errors
    ///
    /// The first field that cannot be.
    pub fn check(&self) -> Result<(), crate::ConfigError> {
        crate::settings::Settings::new(self.clone()).map(drop)
    }
}

impl Default for AftrConfig {
    fn default() -> Self {
        Self {
            aftr_addresses: Vec::new(),
            own_ipv6: Vec::new(),
            own_ipv4: Vec::new(),
            ipv4_mtu: 1500,
            ipv6_mtu: 1540,
            path_mru: 1540,
            df_policy: DfPolicy::default(),
            inbound_echo_request: InboundEcho::default(),
            dscp_encap: DscpEncap::default(),
            dscp_decap: DscpDecap::default(),
            ecn_encap: EcnMode::Normal,
            hop_limit: 64,
            own_ttl: 64,
            flow_label: FlowLabel::default(),
            encap_limit: None,
            hairpin: Hairpin::default(),
            unknown_protocol: UnknownProtocol::default(),
            foreign_ipv4: ForeignIpv4::default(),
            unbound_source: UnboundSource::default(),
            unbound_destination: UnboundDestination::default(),
            private_destination: PrivateDestination::default(),
            pool_source: PoolSource::default(),
            subscriber_prefixes: Vec::new(),
            tunnel_service: TunnelService::default(),
            inner_fragmentation: InnerFragmentation::default(),
            pmtud: Pmtud::default(),
            mss_clamp: MssClamp::default(),
            icmp: IcmpConfig::default(),
            reassembly: ReassemblyConfig::default(),
            fragments: FragmentConfig::default(),
            boot_grace: Duration::ZERO,
            slab_bytes: 4 << 20,
            softwire_counters: 0,
        }
    }
}

impl Default for IcmpConfig {
    fn default() -> Self {
        Self {
            incoming_v4: Switch::On,
            incoming_v4_rate: None,
            generate_v4: Switch::On,
            generate_v6: Switch::On,
            tunnel_errors: Switch::On,
            instance_rate_v4: 2_000,
            instance_rate_v6: 2_000,
            instance_burst: 2_000,
            source_rate: 10,
            source_burst: 10,
            echo_rate: 2_000,
            v4_tos: 0xc0,
            b4_source: B4IcmpSource::default(),
            quoted_checksum: QuotedChecksum::default(),
        }
    }
}

impl Default for ReassemblyConfig {
    fn default() -> Self {
        Self {
            contexts: 1_024,
            bytes: 2 << 20,
            bytes_per_b4: 128 << 10,
            fragments: 64,
            timeout: Duration::from_secs(60),
        }
    }
}

impl Default for FragmentConfig {
    fn default() -> Self {
        Self {
            handling: FragmentHandling::default(),
            contexts: 4_096,
            bytes: 1 << 20,
            bytes_per_source: 128 << 10,
            fragments: 64,
            timeout: Duration::from_secs(15),
        }
    }
}
