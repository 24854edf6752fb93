//! The engine as a [`Subject`].

use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use lw4o6_aftr::config::{
    B4IcmpSource, DfPolicy, DscpDecap, DscpEncap, FlowLabel, ForeignIpv4, FragmentHandling,
    Hairpin, InboundEcho, InnerFragmentation, MssClamp, Pmtud, PoolSource, PrivateDestination,
    QuotedChecksum, Switch, TunnelService, UnboundDestination, UnboundSource, UnknownProtocol,
};
use lw4o6_aftr::{
    Aftr, AftrConfig, Cause, Counter, Destination, DropReason, Kind, Output, Side, Verdict, Worker,
};
use lw4o6_binding::table::{AtomicU64, Pool, Slot, TableConfig, TableWriter, arena_words};
use lw4o6_wire::b4_addr::Ipv6Prefix;
use lw4o6_wire::{EcnMode, FrameBuf, HEADROOM, Instant};

use super::run::Subject;
use crate::model::{
    ModelBinding, ModelClamp, ModelConfig, ModelDestination, ModelEcho, ModelFragments,
    ModelHairpin, ModelKind, ModelOutcome, ModelSide, ModelVerdict,
};

const TABLE: TableConfig = TableConfig {
    softwires: 64,
    aftrs: 16,
    readers: 2,
    hash_seed: *b"not a secret !!!",
};

/// An engine with one worker.
#[derive(Debug)]
pub struct Engine {
    aftr: Aftr,
    worker: Worker,
    writer: TableWriter,
    out: Vec<u8>,
}

thread_local! {
    /// The table's memory. A table needs it for good; runs use it one after the other.
    static ARENA: &'static [AtomicU64] = {
        let words: Vec<AtomicU64> = (0..arena_words(&TABLE)).map(|_| AtomicU64::new(0)).collect();
        words.leak()
    };
}

impl Engine {
    /// An engine with these knobs and bindings.
    ///
    /// # Panics
    ///
    /// Where the engine refuses what the operations never get wrong.
    #[must_use]
    #[expect(clippy::expect_used, reason = "a refusal is a failed test")]
    pub fn new(config: &ModelConfig, bindings: &[ModelBinding]) -> Self {
        let arena = ARENA.with(|arena| *arena);
        for word in arena {
            word.store(0, Ordering::Relaxed);
        }
        let pools: Vec<Pool> = config
            .pools
            .iter()
            .map(|p| Pool {
                first: p.first.to_bits(),
                last: p.last.to_bits(),
                offset: p.offset,
                len: p.len,
            })
            .collect();
        let (writer, shared) = TableWriter::new(TABLE, arena, &pools).expect("a table");
        let aftr = Aftr::new(knobs(config), shared, [7; 32]).expect("a valid configuration");
        let worker = aftr.worker().expect("a worker");
        let mut engine = Self {
            aftr,
            worker,
            writer,
            out: vec![0; HEADROOM + 70_000],
        };
        for binding in bindings {
            engine.add(binding);
        }
        engine
    }

    /// What waits, with the frame of the last batch that it follows.
    #[expect(clippy::panic, reason = "a packet without end is a failed test")]
    fn poll(&mut self) -> Vec<(usize, ModelDestination, Vec<u8>)> {
        let mut outputs = Vec::new();
        loop {
            let Some(mut out) = FrameBuf::new(&mut self.out, HEADROOM, 0) else {
                return outputs;
            };
            match self.worker.poll_frame(&mut out) {
                Ok(Some(Output { to, after })) => {
                    outputs.push((after, destination(to), out.packet().to_vec()));
                }
                Ok(None) => return outputs,
                Err(error) => panic!("a buffer for every packet is too small: {error}"),
            }
        }
    }

    /// Takes frames together, as many as the worker takes.
    fn some(&mut self, now: Instant, side: Side, packets: &[Vec<u8>]) -> Vec<ModelOutcome> {
        let mut storage: Vec<Vec<u8>> = packets
            .iter()
            .map(|packet| vec![0xee; HEADROOM + packet.len() + 2048])
            .collect();
        let mut frames: Vec<FrameBuf<'_>> = storage
            .iter_mut()
            .zip(packets)
            .filter_map(|(storage, packet)| FrameBuf::with_headroom(storage, HEADROOM, packet))
            .collect();
        assert_eq!(frames.len(), packets.len(), "a packet fits its own buffer");
        let mut verdicts = vec![Verdict::Consumed; frames.len()];
        let taken = match (frames.as_mut_slice(), verdicts.as_mut_slice()) {
            ([frame], [verdict]) => {
                *verdict = self.worker.process(now, side, frame);
                1
            }
            (frames, verdicts) => self.worker.process_batch(now, side, frames, verdicts),
        };
        assert!(taken > 0, "an empty queue leaves room for a frame");
        let mut outcomes: Vec<ModelOutcome> = verdicts
            .into_iter()
            .zip(&frames)
            .take(taken)
            .map(|(verdict, frame)| outcome(verdict, frame.packet()))
            .collect();
        for (frame, packet) in frames.iter().zip(packets).skip(taken) {
            assert_eq!(frame.packet(), packet, "a frame behind the last one taken");
        }
        let mut newest = 0;
        for (after, to, frame) in self.poll() {
            assert!(
                after >= newest,
                "frames leave in the order of those they follow"
            );
            assert!(after < taken, "a frame follows one that was not taken");
            newest = after;
            outcomes[after].outputs.push((to, frame));
        }
        outcomes
    }
}

/// A verdict in the terms of the model.
fn outcome(verdict: Verdict, bytes: &[u8]) -> ModelOutcome {
    let bytes = Some(bytes.to_vec());
    let (verdict, frame, reason) = match verdict {
        Verdict::Forward(to) => (ModelVerdict::Forward(model_side(to)), bytes, None),
        Verdict::Reply(to, cause) => {
            let reason = match cause {
                Cause::Dropped(reason) => Some(reason.as_str()),
                Cause::EchoV4 | Cause::EchoV6 => None,
            };
            (ModelVerdict::Reply(model_side(to)), bytes, reason)
        }
        Verdict::Local(kind) => (ModelVerdict::Local(model_kind(kind)), bytes, None),
        Verdict::Consumed => (ModelVerdict::Consumed, None, None),
        Verdict::Drop(reason) => (ModelVerdict::Drop, None, Some(reason.as_str())),
    };
    ModelOutcome {
        verdict,
        frame,
        outputs: Vec::new(),
        reason,
    }
}

impl Subject for Engine {
    fn process(&mut self, now: u64, side: ModelSide, packets: &[Vec<u8>]) -> Vec<ModelOutcome> {
        let (now, side) = (Instant::from_micros(now), given_side(side));
        let mut outcomes = Vec::new();
        while outcomes.len() < packets.len() {
            outcomes.extend(self.some(now, side, &packets[outcomes.len()..]));
        }
        outcomes
    }

    fn timeout(&mut self, now: u64) -> Vec<(ModelDestination, Vec<u8>)> {
        self.worker.handle_timeout(Instant::from_micros(now));
        let outputs = self.poll().into_iter();
        outputs.map(|(_, to, frame)| (to, frame)).collect()
    }

    #[expect(clippy::expect_used, reason = "a refusal is a failed test")]
    fn add(&mut self, binding: &ModelBinding) {
        let aftr = self
            .writer
            .aftr(&binding.aftr.octets())
            .expect("room for an AFTR address");
        let slot = Slot {
            ipv4: binding.ipv4.to_bits(),
            psid: binding.psid,
            offset: binding.offset,
            len: binding.len,
            b4: binding.b4.octets(),
            aftr,
            flags: 0,
        };
        self.writer.insert(&slot).expect("room for a softwire");
    }

    fn remove(&mut self, binding: &ModelBinding) {
        assert!(
            self.writer.remove(binding.ipv4.to_bits(), binding.psid),
            "{binding:?} is not there"
        );
        self.writer.collect();
    }

    #[expect(clippy::expect_used, reason = "a refusal is a failed test")]
    fn configure(&mut self, config: &ModelConfig) {
        self.aftr
            .reconfigure(knobs(config))
            .expect("a valid configuration");
    }

    fn audit(&self, settled: bool) -> Result<(), String> {
        use Counter::{
            Consumed, Discarded, Dropped, Echoed, Forwarded, LateConsumed, LateDropped, LateEchoed,
            LateForwarded, LateLocal, LateReplied, Local, Merged, Reassembled, ReceivedInternet,
            ReceivedSoftwire, Released, Replied,
        };
        let counters = self.worker.counters();
        let sum = |all: &[Counter]| -> u64 { all.iter().map(|&c| counters.get(c)).sum() };
        let mut books = vec![
            (
                "every frame has one fate",
                sum(&[ReceivedSoftwire, ReceivedInternet]),
                sum(&[Forwarded, Replied, Echoed, Local, Consumed, Dropped]),
            ),
            (
                "every drop has one reason",
                counters.dropped(),
                sum(&[Dropped, Replied, LateDropped, LateReplied, Discarded]),
            ),
            (
                "what was put together or let go has one fate",
                sum(&[Reassembled, Released]),
                sum(&[
                    LateForwarded,
                    LateReplied,
                    LateEchoed,
                    LateLocal,
                    LateConsumed,
                    LateDropped,
                ]),
            ),
        ];
        if settled {
            let kept = sum(&[Consumed, LateConsumed]);
            let out = sum(&[Merged, Released, Discarded]);
            books.push(("what was kept is accounted for", kept, out));
        }
        match books.into_iter().find(|(_, left, right)| left != right) {
            None => Ok(()),
            Some((law, left, right)) => Err(format!("{law}: {left} against {right}")),
        }
    }

    fn drops(&self) -> BTreeMap<&'static str, u64> {
        let counters = self.worker.counters();
        DropReason::ALL
            .iter()
            .map(|&r| (r.as_str(), counters.drops(r)))
            .filter(|x| x.1 > 0)
            .collect()
    }
}

fn given_side(side: ModelSide) -> Side {
    match side {
        ModelSide::Softwire => Side::Softwire,
        ModelSide::Internet => Side::Internet,
    }
}

fn model_side(side: Side) -> ModelSide {
    match side {
        Side::Softwire => ModelSide::Softwire,
        Side::Internet => ModelSide::Internet,
    }
}

fn model_kind(kind: Kind) -> ModelKind {
    match kind {
        Kind::Own => ModelKind::Own,
        Kind::Tunnelled { b4, aftr } => ModelKind::Tunnelled { b4, aftr },
        Kind::Foreign => ModelKind::Foreign,
    }
}

fn destination(to: Destination) -> ModelDestination {
    match to {
        Destination::Side(side) => ModelDestination::Side(model_side(side)),
        Destination::Local(kind) => ModelDestination::Local(model_kind(kind)),
    }
}

/// One of two values.
fn either<T>(choice: bool, yes: T, no: T) -> T {
    if choice { yes } else { no }
}

fn switch(on: bool) -> Switch {
    either(on, Switch::On, Switch::Off)
}

/// The engine's knobs for those of the model.
fn knobs(model: &ModelConfig) -> AftrConfig {
    let mut config = AftrConfig::default();
    config.aftr_addresses.clone_from(&model.aftr_addresses);
    config.own_ipv6.clone_from(&model.own_ipv6);
    config.own_ipv4.clone_from(&model.own_ipv4);
    config.ipv4_mtu = model.ipv4_mtu as u16;
    config.ipv6_mtu = model.ipv6_mtu as u16;
    config.path_mru = model.path_mru as u16;
    config.df_policy = either(
        model.df_outer_fragment,
        DfPolicy::OuterFragment,
        DfPolicy::Rfc2473,
    );
    config.inbound_echo_request = match model.inbound_echo {
        ModelEcho::Identifier => InboundEcho::Identifier,
        ModelEcho::Port0 => InboundEcho::Port0,
        ModelEcho::Drop => InboundEcho::Drop,
    };
    config.dscp_encap = model
        .dscp_encap_fixed
        .map_or(DscpEncap::Uniform, DscpEncap::Fixed);
    config.dscp_decap = either(model.dscp_decap_pipe, DscpDecap::Pipe, DscpDecap::Uniform);
    config.ecn_encap = either(
        model.ecn_compatibility,
        EcnMode::Compatibility,
        EcnMode::Normal,
    );
    config.hop_limit = model.hop_limit;
    config.own_ttl = model.own_ttl;
    let hash = either(
        model.flow_label_addresses,
        FlowLabel::HashAddresses,
        FlowLabel::Hash,
    );
    config.flow_label = model.flow_label.map_or(hash, FlowLabel::Constant);
    config.encap_limit = model.encap_limit;
    config.hairpin = match model.hairpin {
        ModelHairpin::Local => Hairpin::Local,
        ModelHairpin::ToIpv4Side => Hairpin::ToIpv4Side,
        ModelHairpin::Drop => Hairpin::Drop,
    };
    config.mss_clamp = match model.mss_clamp {
        ModelClamp::Off => MssClamp::Off,
        ModelClamp::ToTunnel => MssClamp::ToTunnel,
        ModelClamp::To(max) => MssClamp::To(max),
    };
    policies(model, &mut config);
    limits(model, &mut config);
    config
}

fn policies(model: &ModelConfig, config: &mut AftrConfig) {
    config.unknown_protocol = either(
        model.protocol_unreachable,
        UnknownProtocol::ProtocolUnreachable,
        UnknownProtocol::Discard,
    );
    config.foreign_ipv4 = either(
        model.foreign_unbound,
        ForeignIpv4::Unbound,
        ForeignIpv4::Local,
    );
    config.unbound_source = either(
        model.answer_unbound_source,
        UnboundSource::Unreachable,
        UnboundSource::Discard,
    );
    config.unbound_destination = either(
        model.answer_unbound_destination,
        UnboundDestination::HostUnreachable,
        UnboundDestination::Discard,
    );
    config.private_destination = either(
        model.forward_private,
        PrivateDestination::Forward,
        PrivateDestination::Drop,
    );
    config.pool_source = either(
        model.forward_pool_source,
        PoolSource::Forward,
        PoolSource::Drop,
    );
    config.subscriber_prefixes = model
        .subscriber_prefixes
        .iter()
        .filter_map(|&(address, len)| Ipv6Prefix::new(address, len).ok())
        .collect();
    config.tunnel_service = either(model.tunnel_service, TunnelService::On, TunnelService::Off);
    config.inner_fragmentation = either(
        model.inner_fragmentation,
        InnerFragmentation::On,
        InnerFragmentation::Off,
    );
    config.pmtud = either(model.pmtud, Pmtud::Dynamic, Pmtud::Static);
    let icmp = &mut config.icmp;
    icmp.incoming_v4 = switch(model.incoming_icmpv4);
    icmp.generate_v4 = switch(model.generate_v4);
    icmp.generate_v6 = switch(model.generate_v6);
    icmp.tunnel_errors = switch(model.tunnel_errors);
    icmp.v4_tos = model.icmpv4_tos;
    icmp.b4_source = either(
        model.b4_icmp_public,
        B4IcmpSource::Public,
        B4IcmpSource::ServiceAddress,
    );
    icmp.quoted_checksum = either(
        model.verify_quoted_checksum,
        QuotedChecksum::Verify,
        QuotedChecksum::Ignore,
    );
}

fn limits(model: &ModelConfig, config: &mut AftrConfig) {
    let icmp = &mut config.icmp;
    icmp.incoming_v4_rate = model.incoming_icmpv4_rate.map(|rate| rate as u32);
    let [v4, v6] = model.instance_rates;
    icmp.instance_rate_v4 = v4 as u32;
    icmp.instance_rate_v6 = v6 as u32;
    icmp.instance_burst = model.instance_burst as u32;
    icmp.source_rate = model.source_rate as u32;
    icmp.source_burst = model.source_burst as u32;
    icmp.echo_rate = model.echo_rate as u32;
    config.boot_grace = Duration::from_micros(model.boot_grace);
    config.reassembly.fragments = model.reassembly_fragments;
    config.reassembly.timeout = Duration::from_micros(model.reassembly_timeout);
    config.reassembly.bytes_per_b4 = config.reassembly.bytes;
    config.fragments.handling = match model.fragment_handling {
        ModelFragments::Follow => FragmentHandling::Follow,
        ModelFragments::Reassemble => FragmentHandling::Reassemble,
        ModelFragments::Off => FragmentHandling::Off,
    };
    config.fragments.fragments = model.fragments;
    config.fragments.timeout = Duration::from_micros(model.fragment_timeout);
    config.fragments.bytes_per_source = config.fragments.bytes;
}
