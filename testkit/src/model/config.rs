//! The model's knobs: those of the engine, in plain types.

use core::net::{Ipv4Addr, Ipv6Addr};

/// Everything that changes what the model does. Times are microseconds, sizes bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelConfig {
    /// Tunnel endpoints besides those that bindings name.
    pub aftr_addresses: Vec<Ipv6Addr>,
    /// IPv6 addresses of the box.
    pub own_ipv6: Vec<Ipv6Addr>,
    /// IPv4 addresses of the box; the first is the source of `ICMPv4` to the Internet.
    pub own_ipv4: Vec<Ipv4Addr>,
    /// Pools of addresses that are ours even where no binding uses them.
    pub pools: Vec<ModelPool>,
    /// MTU of the IPv4 side.
    pub ipv4_mtu: usize,
    /// MTU towards the B4s.
    pub ipv6_mtu: usize,
    /// Largest reassembled tunnel packet.
    pub path_mru: usize,
    /// D-1: `true` fragments the outer packet whatever DF says.
    pub df_outer_fragment: bool,
    /// D-3.
    pub inbound_echo: ModelEcho,
    /// D-6, towards the B4: `None` copies the DSCP.
    pub dscp_encap_fixed: Option<u8>,
    /// D-6, from the B4: `true` leaves the inner DSCP alone.
    pub dscp_decap_pipe: bool,
    /// RFC 6040 §4.3 compatibility mode.
    pub ecn_compatibility: bool,
    /// Outer hop limit.
    pub hop_limit: u8,
    /// TTL and hop limit of own packets.
    pub own_ttl: u8,
    /// `Some` fixes the flow label.
    pub flow_label: Option<u32>,
    /// Where it is not fixed, it follows from addresses and protocol alone.
    pub flow_label_addresses: bool,
    /// Tunnel encapsulation limit to send.
    pub encap_limit: Option<u8>,
    /// D-13.
    pub hairpin: ModelHairpin,
    /// D-10: answer protocols without ports with 3/2.
    pub protocol_unreachable: bool,
    /// IPv4 outside every pool is treated like an unbound destination.
    pub foreign_unbound: bool,
    /// 1/5 for packets without binding.
    pub answer_unbound_source: bool,
    /// 3/1 for packets without binding.
    pub answer_unbound_destination: bool,
    /// Private addresses are acceptable destinations.
    pub forward_private: bool,
    /// Sources of our own pool are acceptable from the Internet.
    pub forward_pool_source: bool,
    /// IPv6 ranges of the B4s; empty allows all.
    pub subscriber_prefixes: Vec<(Ipv6Addr, u8)>,
    /// The in-tunnel service exists.
    pub tunnel_service: bool,
    /// Fragment inside the tunnel where DF is clear.
    pub inner_fragmentation: bool,
    /// Path MTU discovery towards the B4s.
    pub pmtud: bool,
    /// TCP MSS clamp.
    pub mss_clamp: ModelClamp,
    /// Incoming `ICMPv4` is processed.
    pub incoming_icmpv4: bool,
    /// `ICMPv4` messages processed per second.
    pub incoming_icmpv4_rate: Option<u64>,
    /// `ICMPv4` errors are generated.
    pub generate_v4: bool,
    /// `ICMPv6` errors are generated.
    pub generate_v6: bool,
    /// Tunnel errors are processed.
    pub tunnel_errors: bool,
    /// Errors per second and instance, `ICMPv4` and `ICMPv6`.
    pub instance_rates: [u64; 2],
    /// Burst of it.
    pub instance_burst: u64,
    /// Errors per second and source.
    pub source_rate: u64,
    /// Burst of it.
    pub source_burst: u64,
    /// Time after the start in which nobody is told to provision anew.
    pub boot_grace: u64,
    /// Echo answers per second.
    pub echo_rate: u64,
    /// TOS of `ICMPv4` errors.
    pub icmpv4_tos: u8,
    /// `ICMPv4` errors to B4s come from the public address.
    pub b4_icmp_public: bool,
    /// The header checksum of quoted packets is looked at.
    pub verify_quoted_checksum: bool,
    /// Fragments in one IPv6 datagram.
    pub reassembly_fragments: usize,
    /// IPv6 reassembly time.
    pub reassembly_timeout: u64,
    /// What becomes of IPv4 fragments on shared addresses.
    pub fragment_handling: ModelFragments,
    /// Fragments in one IPv4 datagram.
    pub fragments: usize,
    /// Time a fragment waits for its first one.
    pub fragment_timeout: u64,
}

/// A run of addresses with one way of sharing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModelPool {
    /// First address.
    pub first: Ipv4Addr,
    /// Last address.
    pub last: Ipv4Addr,
    /// PSID offset a.
    pub offset: u8,
    /// PSID length k.
    pub len: u8,
}

/// D-3: the port that an echo request from the Internet stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModelEcho {
    /// Its identifier.
    Identifier,
    /// Port 0.
    Port0,
    /// None, it is dropped.
    Drop,
}

/// D-13: B4 to B4 traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModelHairpin {
    /// Turned around here.
    Local,
    /// Sent to the IPv4 side.
    ToIpv4Side,
    /// Dropped.
    Drop,
}

/// IPv4 fragments on shared addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModelFragments {
    /// They go where their first one goes.
    Follow,
    /// Those from the Internet are put together; those from B4s are followed.
    Reassemble,
    /// They are dropped.
    Off,
}

/// TCP MSS clamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModelClamp {
    /// Off.
    Off,
    /// To what fits the tunnel.
    ToTunnel,
    /// To this value.
    To(u16),
}

impl Default for ModelConfig {
    fn default() -> Self {
        Self {
            aftr_addresses: Vec::new(),
            own_ipv6: Vec::new(),
            own_ipv4: Vec::new(),
            pools: Vec::new(),
            ipv4_mtu: 1500,
            ipv6_mtu: 1540,
            path_mru: 1540,
            df_outer_fragment: false,
            inbound_echo: ModelEcho::Identifier,
            dscp_encap_fixed: None,
            dscp_decap_pipe: false,
            ecn_compatibility: false,
            hop_limit: 64,
            own_ttl: 64,
            flow_label: None,
            flow_label_addresses: false,
            encap_limit: None,
            hairpin: ModelHairpin::Local,
            protocol_unreachable: false,
            foreign_unbound: false,
            answer_unbound_source: true,
            answer_unbound_destination: true,
            forward_private: false,
            forward_pool_source: false,
            subscriber_prefixes: Vec::new(),
            tunnel_service: false,
            inner_fragmentation: false,
            pmtud: false,
            mss_clamp: ModelClamp::Off,
            incoming_icmpv4: true,
            incoming_icmpv4_rate: None,
            generate_v4: true,
            generate_v6: true,
            tunnel_errors: true,
            instance_rates: [2_000; 2],
            instance_burst: 2_000,
            source_rate: 10,
            source_burst: 10,
            echo_rate: 2_000,
            icmpv4_tos: 0xc0,
            b4_icmp_public: false,
            verify_quoted_checksum: true,
            reassembly_fragments: 64,
            reassembly_timeout: 60_000_000,
            boot_grace: 0,
            fragment_handling: ModelFragments::Follow,
            fragments: 64,
            fragment_timeout: 15_000_000,
        }
    }
}
