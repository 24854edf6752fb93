//! Sections that change the engine's behavior; every key has the engine's default.

use std::time::Duration;

use lw4o6_aftr::config as engine;
use lw4o6_binding::SystemPorts;
use lw4o6_wire::{EcnMode, Ipv6Prefix};
use serde::{Deserialize, Serialize};

use super::text::Text;

/// Declares a kebab-case enum that mirrors one of the engine's.
macro_rules! mirror {
    ($(#[$doc:meta])+ $name:ident => $engine:ty { $($variant:ident),+ $(,)? }) => {
        $(#[$doc])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        #[allow(missing_docs, reason = "each variant is the engine's of the same name")]
        pub enum $name { $($variant),+ }

        impl From<$name> for $engine {
            fn from(knob: $name) -> Self {
                match knob { $($name::$variant => Self::$variant,)+ }
            }
        }

        impl From<$engine> for $name {
            fn from(knob: $engine) -> Self {
                match knob { $(<$engine>::$variant => Self::$variant,)+ }
            }
        }
    };
}

mirror!(
    /// See [`engine::DfPolicy`].
    DfPolicy => engine::DfPolicy { Rfc2473, OuterFragment }
);
mirror!(
    /// See [`engine::InboundEcho`].
    InboundEcho => engine::InboundEcho { Identifier, Port0, Drop }
);
mirror!(
    /// See [`engine::DscpDecap`].
    DscpDecap => engine::DscpDecap { Uniform, Pipe }
);
mirror!(
    /// See [`engine::UnknownProtocol`].
    UnknownProtocol => engine::UnknownProtocol { Discard, ProtocolUnreachable }
);
mirror!(
    /// See [`engine::ForeignIpv4`].
    ForeignIpv4 => engine::ForeignIpv4 { Local, Unbound }
);
mirror!(
    /// See [`engine::UnboundSource`].
    UnboundSource => engine::UnboundSource { Discard, Unreachable }
);
mirror!(
    /// See [`engine::UnboundDestination`].
    UnboundDestination => engine::UnboundDestination { Discard, HostUnreachable }
);
mirror!(
    /// See [`engine::PrivateDestination`].
    PrivateDestination => engine::PrivateDestination { Drop, Forward }
);
mirror!(
    /// See [`engine::PoolSource`].
    PoolSource => engine::PoolSource { Drop, Forward }
);
mirror!(
    /// See [`engine::InnerFragmentation`].
    InnerFragmentation => engine::InnerFragmentation { Off, On }
);
mirror!(
    /// See [`engine::Pmtud`].
    Pmtud => engine::Pmtud { Static, Dynamic }
);
mirror!(
    /// See [`engine::B4IcmpSource`].
    B4IcmpSource => engine::B4IcmpSource { ServiceAddress, Public }
);
mirror!(
    /// See [`engine::QuotedChecksum`].
    QuotedChecksum => engine::QuotedChecksum { Verify, Ignore }
);
mirror!(
    /// See [`engine::FragmentHandling`].
    FragmentHandling => engine::FragmentHandling { Follow, Reassemble, Off }
);
mirror!(
    /// See [`engine::Switch`].
    Switch => engine::Switch { On, Off }
);
mirror!(
    /// See [`EcnMode`].
    Ecn => EcnMode { Normal, Compatibility }
);
mirror!(
    /// See [`SystemPorts`].
    SystemPortPolicy => SystemPorts { Allow, Warn, Refuse }
);

/// DSCP of the outer header: `"uniform"` or a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "needs \"uniform\" or a number from 0 to 63")]
pub enum DscpEncap {
    /// This value.
    Fixed(u8),
    /// That of the inner packet.
    Named(Uniform),
}

/// The word `uniform`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Uniform {
    /// The word.
    Uniform,
}

/// Flow label: `"hash"`, `"hash-addresses"` or a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "needs \"hash\", \"hash-addresses\" or a number from 0 to 1048575"
)]
pub enum FlowLabel {
    /// This value.
    Constant(u32),
    /// A hash.
    Named(FlowHash),
}

/// What the flow label is a hash of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FlowHash {
    /// Addresses, protocol and ports.
    Hash,
    /// Addresses and protocol.
    HashAddresses,
}

/// MSS clamp: `"off"`, `"tunnel"` or a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "needs \"off\", \"tunnel\" or a number from 88 to 65535"
)]
pub enum MssClamp {
    /// This value.
    To(u16),
    /// By name.
    Named(MssName),
}

/// Named values of [`MssClamp`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MssName {
    /// Not clamped.
    Off,
    /// To the tunnel MTU less 40.
    Tunnel,
}

/// `[forwarding]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
#[expect(
    missing_docs,
    reason = "each key is the engine's knob of the same name"
)]
pub struct Forwarding {
    pub df_policy: DfPolicy,
    pub inbound_echo_request: InboundEcho,
    pub dscp_encap: DscpEncap,
    pub dscp_decap: DscpDecap,
    pub ecn_encap: Ecn,
    pub hop_limit: u8,
    pub own_ttl: u8,
    pub flow_label: FlowLabel,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encap_limit: Option<u8>,
    pub unknown_protocol: UnknownProtocol,
    pub foreign_ipv4: ForeignIpv4,
    pub unbound_source: UnboundSource,
    pub unbound_destination: UnboundDestination,
    pub private_destination: PrivateDestination,
    pub pool_source: PoolSource,
    pub subscriber_prefixes: Vec<Text<Ipv6Prefix>>,
    pub inner_fragmentation: InnerFragmentation,
    pub pmtud: Pmtud,
    pub mss_clamp: MssClamp,
    /// Seconds after the start without `ICMPv6` 1/5.
    pub boot_grace: u64,
    /// Bytes of a worker's slab.
    pub slab_bytes: usize,
}

/// `[icmp]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
#[expect(
    missing_docs,
    reason = "each key is the engine's knob of the same name"
)]
pub struct IcmpKnobs {
    pub tunnel_errors: Switch,
    /// `ICMPv4` errors per second and instance; those of `ICMPv6` are in the model.
    pub instance_rate: u32,
    pub instance_burst: u32,
    pub source_rate: u32,
    pub source_burst: u32,
    pub echo_rate: u32,
    pub v4_tos: u8,
    pub b4_source: B4IcmpSource,
    pub quoted_checksum: QuotedChecksum,
}

/// `[reassembly]`, of tunnel packets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
#[expect(
    missing_docs,
    reason = "each key is the engine's knob of the same name"
)]
pub struct ReassemblyKnobs {
    pub contexts: usize,
    pub bytes: usize,
    pub bytes_per_b4: usize,
    pub fragments: usize,
    /// Seconds.
    pub timeout: u64,
}

/// `[fragments]`, IPv4, on shared addresses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
#[expect(
    missing_docs,
    reason = "each key is the engine's knob of the same name"
)]
pub struct FragmentKnobs {
    pub handling: FragmentHandling,
    pub contexts: usize,
    pub bytes: usize,
    pub bytes_per_source: usize,
    pub fragments: usize,
    /// Seconds.
    pub timeout: u64,
}

/// `[table]`, rules of the binding table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct TableKnobs {
    /// Shared sets that contain ports 0 to 1023.
    pub system_ports: SystemPortPolicy,
}

impl Default for Forwarding {
    fn default() -> Self {
        Self::of(&engine::AftrConfig::default())
    }
}

impl Forwarding {
    /// The knobs of `config`.
    #[must_use]
    pub fn of(config: &engine::AftrConfig) -> Self {
        Self {
            df_policy: config.df_policy.into(),
            inbound_echo_request: config.inbound_echo_request.into(),
            dscp_encap: match config.dscp_encap {
                engine::DscpEncap::Uniform => DscpEncap::Named(Uniform::Uniform),
                engine::DscpEncap::Fixed(dscp) => DscpEncap::Fixed(dscp),
            },
            dscp_decap: config.dscp_decap.into(),
            ecn_encap: config.ecn_encap.into(),
            hop_limit: config.hop_limit,
            own_ttl: config.own_ttl,
            flow_label: match config.flow_label {
                engine::FlowLabel::Hash => FlowLabel::Named(FlowHash::Hash),
                engine::FlowLabel::HashAddresses => FlowLabel::Named(FlowHash::HashAddresses),
                engine::FlowLabel::Constant(label) => FlowLabel::Constant(label),
            },
            encap_limit: config.encap_limit,
            unknown_protocol: config.unknown_protocol.into(),
            foreign_ipv4: config.foreign_ipv4.into(),
            unbound_source: config.unbound_source.into(),
            unbound_destination: config.unbound_destination.into(),
            private_destination: config.private_destination.into(),
            pool_source: config.pool_source.into(),
            subscriber_prefixes: config
                .subscriber_prefixes
                .iter()
                .copied()
                .map(Text)
                .collect(),
            inner_fragmentation: config.inner_fragmentation.into(),
            pmtud: config.pmtud.into(),
            mss_clamp: match config.mss_clamp {
                engine::MssClamp::Off => MssClamp::Named(MssName::Off),
                engine::MssClamp::ToTunnel => MssClamp::Named(MssName::Tunnel),
                engine::MssClamp::To(mss) => MssClamp::To(mss),
            },
            boot_grace: config.boot_grace.as_secs(),
            slab_bytes: config.slab_bytes,
        }
    }

    /// Writes the knobs into `config`.
    pub fn apply(&self, config: &mut engine::AftrConfig) {
        config.df_policy = self.df_policy.into();
        config.inbound_echo_request = self.inbound_echo_request.into();
        config.dscp_encap = match self.dscp_encap {
            DscpEncap::Named(Uniform::Uniform) => engine::DscpEncap::Uniform,
            DscpEncap::Fixed(dscp) => engine::DscpEncap::Fixed(dscp),
        };
        config.dscp_decap = self.dscp_decap.into();
        config.ecn_encap = self.ecn_encap.into();
        config.hop_limit = self.hop_limit;
        config.own_ttl = self.own_ttl;
        config.flow_label = match self.flow_label {
            FlowLabel::Named(FlowHash::Hash) => engine::FlowLabel::Hash,
            FlowLabel::Named(FlowHash::HashAddresses) => engine::FlowLabel::HashAddresses,
            FlowLabel::Constant(label) => engine::FlowLabel::Constant(label),
        };
        config.encap_limit = self.encap_limit;
        config.unknown_protocol = self.unknown_protocol.into();
        config.foreign_ipv4 = self.foreign_ipv4.into();
        config.unbound_source = self.unbound_source.into();
        config.unbound_destination = self.unbound_destination.into();
        config.private_destination = self.private_destination.into();
        config.pool_source = self.pool_source.into();
        config.subscriber_prefixes = self.subscriber_prefixes.iter().map(|p| p.0).collect();
        config.inner_fragmentation = self.inner_fragmentation.into();
        config.pmtud = self.pmtud.into();
        config.mss_clamp = match self.mss_clamp {
            MssClamp::Named(MssName::Off) => engine::MssClamp::Off,
            MssClamp::Named(MssName::Tunnel) => engine::MssClamp::ToTunnel,
            MssClamp::To(mss) => engine::MssClamp::To(mss),
        };
        config.boot_grace = Duration::from_secs(self.boot_grace);
        config.slab_bytes = self.slab_bytes;
    }
}

impl Default for IcmpKnobs {
    fn default() -> Self {
        Self::of(&engine::AftrConfig::default().icmp)
    }
}

impl IcmpKnobs {
    /// The knobs of `icmp`.
    #[must_use]
    pub fn of(icmp: &engine::IcmpConfig) -> Self {
        Self {
            tunnel_errors: icmp.tunnel_errors.into(),
            instance_rate: icmp.instance_rate_v4,
            instance_burst: icmp.instance_burst,
            source_rate: icmp.source_rate,
            source_burst: icmp.source_burst,
            echo_rate: icmp.echo_rate,
            v4_tos: icmp.v4_tos,
            b4_source: icmp.b4_source.into(),
            quoted_checksum: icmp.quoted_checksum.into(),
        }
    }

    /// Writes the knobs into `icmp`.
    pub fn apply(&self, icmp: &mut engine::IcmpConfig) {
        icmp.tunnel_errors = self.tunnel_errors.into();
        icmp.instance_rate_v4 = self.instance_rate;
        icmp.instance_burst = self.instance_burst;
        icmp.source_rate = self.source_rate;
        icmp.source_burst = self.source_burst;
        icmp.echo_rate = self.echo_rate;
        icmp.v4_tos = self.v4_tos;
        icmp.b4_source = self.b4_source.into();
        icmp.quoted_checksum = self.quoted_checksum.into();
    }
}

impl Default for ReassemblyKnobs {
    fn default() -> Self {
        let engine = engine::ReassemblyConfig::default();
        Self {
            contexts: engine.contexts,
            bytes: engine.bytes,
            bytes_per_b4: engine.bytes_per_b4,
            fragments: engine.fragments,
            timeout: engine.timeout.as_secs(),
        }
    }
}

impl ReassemblyKnobs {
    /// Writes the knobs into `config`.
    pub fn apply(&self, config: &mut engine::ReassemblyConfig) {
        config.contexts = self.contexts;
        config.bytes = self.bytes;
        config.bytes_per_b4 = self.bytes_per_b4;
        config.fragments = self.fragments;
        config.timeout = Duration::from_secs(self.timeout);
    }
}

impl Default for FragmentKnobs {
    fn default() -> Self {
        let engine = engine::FragmentConfig::default();
        Self {
            handling: engine.handling.into(),
            contexts: engine.contexts,
            bytes: engine.bytes,
            bytes_per_source: engine.bytes_per_source,
            fragments: engine.fragments,
            timeout: engine.timeout.as_secs(),
        }
    }
}

impl FragmentKnobs {
    /// Writes the knobs into `config`.
    pub fn apply(&self, config: &mut engine::FragmentConfig) {
        config.handling = self.handling.into();
        config.contexts = self.contexts;
        config.bytes = self.bytes;
        config.bytes_per_source = self.bytes_per_source;
        config.fragments = self.fragments;
        config.timeout = Duration::from_secs(self.timeout);
    }
}

impl Default for TableKnobs {
    fn default() -> Self {
        Self {
            system_ports: SystemPorts::default().into(),
        }
    }
}
