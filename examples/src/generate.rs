//! `lwaftr generate`: a table of any size, and traffic over all of it.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use lw4o6_binding::formats::json::{Instance, Layout};
use lw4o6_binding::{Binding, Expiry, Origin};
use lw4o6_wire::ethernet::{EthernetFields, MacAddr};
use lw4o6_wire::{
    EtherType, Instant, IpProtocol, Ipv4Fields, Ipv6Fields, Ipv6Prefix, PortParams, b4_address,
    checksum,
};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Zipf};

use crate::capture::CaptureWriter;
use crate::config::{
    ConfigFile, Forwarding, FragmentKnobs, Hop, IcmpKnobs, InstanceSection, InternetSection,
    LinkAddress, MacFilter, ManagementSection, ReassemblyKnobs, RunSection, SoftwireSection,
    StateSection, TableKnobs, Text, unplaced,
};
use crate::error::Failure;
use crate::output;
use crate::progress::Progress;

/// First public address; the benchmark network of RFC 2544, and on from there.
const FIRST_IPV4: u32 = Ipv4Addr::new(198, 18, 0, 0).to_bits();

/// The AFTR of every generated softwire.
const AFTR: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 1);

/// Host on the Internet that the traffic goes to and comes from.
const REMOTE: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 80);

const INTERNET_MAC: MacAddr = MacAddr([0x02, 0, 0, 0, 0, 0x04]);
const INTERNET_HOP: MacAddr = MacAddr([0x02, 0, 0, 0, 0x01, 0x04]);
const SOFTWIRE_MAC: MacAddr = MacAddr([0x02, 0, 0, 0, 0, 0x06]);
const SOFTWIRE_HOP: MacAddr = MacAddr([0x02, 0, 0, 0, 0x01, 0x06]);

/// Bytes of an Ethernet frame around the packet: header and check sequence.
const ETHERNET_OVERHEAD: usize = 18;

/// IPv4 and UDP headers.
const HEADERS: usize = 28;

/// Time between two generated packets in the captures.
const SPACING_MICROS: u64 = 1;

/// What to generate.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Number of softwires.
    pub softwires: u32,
    /// Bits of PSID, 0 to 16.
    pub psid_length: u8,
    /// Traffic, if any.
    pub traffic: Option<Traffic>,
    /// Seed of the traffic.
    pub seed: u64,
}

/// Traffic over the generated softwires.
#[derive(Clone, Debug)]
pub struct Traffic {
    /// Packets in each capture.
    pub packets: u64,
    /// Ethernet frame on the IPv4 side, its check sequence included: 64 to 9,000 bytes.
    pub frame_size: usize,
    /// Which softwires are busy.
    pub flows: Flows,
    /// Packets from the Internet.
    pub v4_out: Option<PathBuf>,
    /// Packets from the B4s, 40 bytes longer.
    pub v6_out: Option<PathBuf>,
}

/// Which softwires are busy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Flows {
    /// All alike.
    Uniform,
    /// A few much more than others (exponent 1).
    Zipf,
}

/// Generates the configuration `to`, the softwire file beside it, and the captures.
///
/// # Errors
///
/// Where the plan cannot be met or a file not be written.
pub fn generate(plan: &Plan, to: &Path, progress: &Progress) -> Result<(), Failure> {
    let layout = PlanLayout::new(plan)?;
    if let Some(traffic) = &plan.traffic {
        layout.traffic(traffic, plan.seed, progress)?;
    }
    let mut instance = Instance::new("generated".to_owned(), plan.softwires, 1500, 1540);
    instance.bindings.reserve(plan.softwires as usize);
    for index in 0..plan.softwires {
        instance.bindings.push(layout.binding(index)?.into());
        progress.advance(1);
    }
    let head = format!(
        "Written by lwaftr generate: {} softwires with {} bits of PSID.",
        plan.softwires, plan.psid_length
    );
    output::write(to, &head, &file(to)?, &instance, Layout::Compact)
}

/// How softwires are numbered.
#[derive(Clone, Copy, Debug)]
struct PlanLayout {
    softwires: u32,
    psid_length: u8,
    /// PSIDs below hold ports 0 to 1023, which shared users should not have (RFC 7596 §5.1).
    first_psid: u32,
    /// Softwires on one address.
    per_address: u32,
}

impl PlanLayout {
    fn new(plan: &Plan) -> Result<Self, Failure> {
        let len = plan.psid_length;
        if len > 16 {
            return Err(Failure::config(format!(
                "--psid-length {len}, needs 0 to 16"
            )));
        }
        let sets = 1u32 << len;
        // ceil(1024 / ports of a set)
        let first_psid = if len == 0 {
            0
        } else {
            1024u32.div_ceil(65_536 >> len)
        };
        let per_address = sets - first_psid;
        let addresses = plan.softwires.div_ceil(per_address.max(1));
        let room = Ipv4Addr::new(224, 0, 0, 0).to_bits() - FIRST_IPV4;
        if plan.softwires == 0 || addresses > room {
            let most = u64::from(room) * u64::from(per_address);
            let asked = plan.softwires;
            return Err(Failure::config(format!(
                "--softwires {asked}, needs 1 to {most}"
            )));
        }
        Ok(Self {
            softwires: plan.softwires,
            psid_length: len,
            first_psid,
            per_address,
        })
    }

    fn binding(&self, index: u32) -> Result<Binding, Failure> {
        let ipv4 = Ipv4Addr::from_bits(FIRST_IPV4 + index / self.per_address);
        let psid = self.first_psid + index % self.per_address;
        let ports = u16::try_from(psid).ok();
        let ports = ports.and_then(|psid| PortParams::new(0, self.psid_length, psid).ok());
        let ports = ports.ok_or_else(|| Failure::run("a generated PSID is out of range"))?;
        let subnet = (0x2001_0db8_u128 << 96) | (u128::from(index) << 64);
        let prefix = Ipv6Prefix::new(Ipv6Addr::from_bits(subnet), 64);
        let prefix = prefix.map_err(|error| Failure::run(error.to_string()))?;
        let psid = ports.is_shared().then(|| ports.psid());
        Ok(Binding {
            b4: b4_address(prefix, ipv4, psid),
            prefix_len: 128,
            ipv4,
            ports,
            aftr: AFTR,
            origin: Origin::Static,
            expires: Expiry::Never,
        })
    }

    fn traffic(&self, traffic: &Traffic, seed: u64, progress: &Progress) -> Result<(), Failure> {
        let smallest = ETHERNET_OVERHEAD + HEADERS;
        let size = traffic.frame_size;
        if size < smallest.max(64) || size > 9_000 {
            return Err(Failure::config(format!(
                "--frame-size {size}, needs 64 to 9000"
            )));
        }
        let open = |path: &Option<PathBuf>| path.as_deref().map(CaptureWriter::create).transpose();
        let (mut v4, mut v6) = (open(&traffic.v4_out)?, open(&traffic.v6_out)?);
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let zipf = Zipf::new(f64::from(self.softwires), 1.0);
        let zipf = zipf.map_err(|error| Failure::run(error.to_string()))?;
        for number in 0..traffic.packets {
            let time = Instant::from_micros(number * SPACING_MICROS);
            if let Some(v4) = &mut v4 {
                let (binding, port) = self.pick(traffic.flows, &zipf, &mut random)?;
                v4.write(time, &from_internet(&binding, port, size))?;
            }
            if let Some(v6) = &mut v6 {
                let (binding, port) = self.pick(traffic.flows, &zipf, &mut random)?;
                v6.write(time, &from_b4(&binding, port, size))?;
            }
            progress.advance(1);
        }
        v4.into_iter().chain(v6).try_for_each(CaptureWriter::finish)
    }

    /// A busy softwire and a port of its set.
    fn pick(
        &self,
        flows: Flows,
        zipf: &Zipf<f64>,
        random: &mut ChaCha8Rng,
    ) -> Result<(Binding, u16), Failure> {
        let index = match flows {
            Flows::Uniform => random.random_range(0..self.softwires),
            Flows::Zipf => rank(zipf.sample(random)).min(self.softwires - 1),
        };
        let binding = self.binding(index)?;
        let nth = random.random_range(0..binding.ports.port_count());
        let port = binding
            .ports
            .ranges()
            .next()
            .map_or(0, |range| *range.start());
        // One range, because the offset is 0.
        let port = u32::from(port) + nth;
        Ok((binding, u16::try_from(port).unwrap_or(u16::MAX)))
    }
}

/// A Zipf rank from 1 as an index from 0.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "ranks are whole numbers from 1 to the number of softwires"
)]
fn rank(sample: f64) -> u32 {
    (sample as u32).saturating_sub(1)
}

fn from_internet(binding: &Binding, port: u16, frame_size: usize) -> Vec<u8> {
    let ethernet = EthernetFields {
        dst: INTERNET_MAC,
        src: INTERNET_HOP,
        ethertype: EtherType::IPV4,
    };
    let packet = udp(
        (REMOTE, 443),
        (binding.ipv4, port),
        frame_size - ETHERNET_OVERHEAD,
    );
    [&ethernet.to_bytes()[..], &packet].concat()
}

fn from_b4(binding: &Binding, port: u16, frame_size: usize) -> Vec<u8> {
    let ethernet = EthernetFields {
        dst: SOFTWIRE_MAC,
        src: SOFTWIRE_HOP,
        ethertype: EtherType::IPV6,
    };
    let packet = udp(
        (binding.ipv4, port),
        (REMOTE, 443),
        frame_size - ETHERNET_OVERHEAD,
    );
    let outer = Ipv6Fields {
        traffic_class: 0,
        flow_label: 0,
        payload_len: u16::try_from(packet.len()).unwrap_or(u16::MAX),
        next_header: IpProtocol::IPV4,
        hop_limit: 64,
        src: binding.b4,
        dst: binding.aftr,
    };
    [&ethernet.to_bytes()[..], &outer.to_bytes(), &packet].concat()
}

/// A UDP packet of `len` bytes, all zero behind its headers.
fn udp(from: (Ipv4Addr, u16), to: (Ipv4Addr, u16), len: usize) -> Vec<u8> {
    let total_len = u16::try_from(len).unwrap_or(u16::MAX);
    let header = Ipv4Fields {
        tos: 0,
        total_len,
        ident: 0,
        dont_fragment: true,
        more_fragments: false,
        fragment_offset: 0,
        ttl: 64,
        protocol: IpProtocol::UDP,
        src: from.0,
        dst: to.0,
    };
    let mut datagram = vec![0; len.saturating_sub(20)];
    let fields = [from.1, to.1, total_len.saturating_sub(20), 0];
    for (to, from) in datagram
        .iter_mut()
        .zip(fields.iter().flat_map(|field| field.to_be_bytes()))
    {
        *to = from;
    }
    let mut sum = checksum::pseudo_v4(from.0, to.0, IpProtocol::UDP, total_len.saturating_sub(20));
    let sum = checksum::udp_wire(sum.add(&datagram).finish());
    for (to, from) in datagram.iter_mut().skip(6).zip(sum.to_be_bytes()) {
        *to = from;
    }
    [&header.to_bytes()[..], &datagram].concat()
}

fn file(to: &Path) -> Result<ConfigFile, Failure> {
    let address = LinkAddress::new(Ipv6Addr::new(0x2001, 0xdb8, 0xfffe, 0, 0, 0, 0, 1), 64);
    let address = address.map_err(|error| Failure::run(error.to_string()))?;
    Ok(ConfigFile {
        instance: InstanceSection {
            softwires: output::softwire_reference(to),
            name: None,
            aftr_addresses: Vec::new(),
        },
        internet: InternetSection {
            interface: None,
            mac: Some(Text(INTERNET_MAC)),
            vlan: None,
            address: unplaced(Ipv4Addr::new(203, 0, 113, 1)),
            more_addresses: Vec::new(),
            next_hop: Text(Hop::Mac(INTERNET_HOP)),
            mtu: unplaced(1500),
            accept: MacFilter::Own,
            proxy_arp: false,
        },
        softwire: SoftwireSection {
            interface: None,
            mac: Some(Text(SOFTWIRE_MAC)),
            vlan: None,
            address: Text(address),
            next_hop: Text(Hop::Mac(SOFTWIRE_HOP)),
            accept: MacFilter::Own,
        },
        forwarding: Forwarding::default(),
        icmp: IcmpKnobs::default(),
        reassembly: ReassemblyKnobs::default(),
        fragments: FragmentKnobs::default(),
        table: TableKnobs::default(),
        run: RunSection::default(),
        state: StateSection::default(),
        management: ManagementSection::default(),
    })
}
