//! A slow, obvious lwAFTR to compare the engine with.
//!
//! Written from the RFCs and the project's decisions only. Bindings stand in a list that is searched
//! from the front, packets are copied at every step, memory is unlimited. What the engine must do
//! the same way, this does in the plainest way there is.

mod bucket;
mod chain;
mod config;
mod downstream;
mod encap;
mod errors;
mod fragments;
mod keys;
mod packet;
mod reassembly;
mod table;
mod tunnel_errors;
mod upstream;

use core::net::Ipv6Addr;
use std::collections::BTreeMap;

pub use config::{ModelClamp, ModelConfig, ModelEcho, ModelFragments, ModelHairpin, ModelPool};
pub use packet::{icmpv6_checksum, internet_checksum};
pub use table::{ModelBinding, port_in_set};

use bucket::Bucket;
use fragments::FragmentStore;
use reassembly::ReassemblyStore;
use table::Table;

/// Which network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ModelSide {
    /// IPv6.
    Softwire,
    /// IPv4.
    Internet,
}

/// Whose packet a local one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ModelKind {
    /// The box's own.
    Own,
    /// An in-tunnel service packet.
    Tunnelled {
        /// Outer source.
        b4: Ipv6Addr,
        /// Outer destination.
        aftr: Ipv6Addr,
    },
    /// Somebody else's.
    Foreign,
}

/// What happens to a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModelVerdict {
    /// It goes on.
    Forward(ModelSide),
    /// An answer goes back; the reason stands in [`ModelOutcome::reason`] unless it is an echo.
    Reply(ModelSide),
    /// The owner gets it as it came.
    Local(ModelKind),
    /// It is kept.
    Consumed,
    /// It is dropped.
    Drop,
}

/// Where a frame made beside the first one goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ModelDestination {
    /// To a network.
    Side(ModelSide),
    /// To the owner.
    Local(ModelKind),
}

/// Everything that comes of one packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelOutcome {
    /// What happens to the packet.
    pub verdict: ModelVerdict,
    /// The bytes that leave with the verdict.
    pub frame: Option<Vec<u8>>,
    /// The bytes that leave beside it, in order.
    pub outputs: Vec<(ModelDestination, Vec<u8>)>,
    /// The drop reason, of a drop or of a reply to a dropped packet.
    pub reason: Option<&'static str>,
}

/// A packet is not forwarded.
#[derive(Clone, Debug)]
struct Refusal {
    reason: &'static str,
    answer: Option<(ModelSide, Vec<Vec<u8>>)>,
}

impl From<&'static str> for Refusal {
    fn from(reason: &'static str) -> Self {
        Self {
            reason,
            answer: None,
        }
    }
}

/// What one packet turns into.
#[derive(Clone, Debug)]
enum Action {
    Forward(ModelSide, Vec<Vec<u8>>),
    Echo(ModelSide, Vec<Vec<u8>>),
    Local(ModelKind),
    /// Kept until a first fragment or the rest of a datagram arrives.
    Held,
    /// Kept before, complete now: this packet takes its way.
    Reassembled(ModelSide, Vec<u8>),
}

type Step = Result<Action, Refusal>;

/// The model.
#[derive(Clone, Debug)]
pub struct Model {
    config: ModelConfig,
    table: Table,
    now: u64,
    /// When the first packet came or time first passed.
    started: Option<u64>,
    instance: [Bucket; 2],
    echo: Bucket,
    incoming: Bucket,
    sources: BTreeMap<Vec<u8>, Bucket>,
    reassembly: ReassemblyStore,
    ipv4_reassembly: ReassemblyStore,
    fragments: FragmentStore,
    pmtu: BTreeMap<Ipv6Addr, (usize, u64)>,
    /// The packet being processed, with what stands behind its end.
    arrived: Vec<u8>,
    /// Fragments whose first one has arrived in this call.
    released: Vec<(ModelSide, Vec<u8>)>,
    /// The packet being processed is one of them: it has been noted before.
    noted: bool,
    /// The packet being processed was put together here.
    whole: bool,
    drops: BTreeMap<&'static str, u64>,
}

impl Model {
    /// A model with these bindings.
    #[must_use]
    pub fn new(config: ModelConfig, bindings: Vec<ModelBinding>) -> Self {
        let mut table = Table::default();
        bindings.into_iter().for_each(|binding| table.add(binding));
        Self {
            config,
            table,
            now: 0,
            started: None,
            instance: [Bucket::default(); 2],
            echo: Bucket::default(),
            incoming: Bucket::default(),
            sources: BTreeMap::new(),
            reassembly: ReassemblyStore::default(),
            ipv4_reassembly: ReassemblyStore::default(),
            fragments: FragmentStore::default(),
            pmtu: BTreeMap::new(),
            arrived: Vec::new(),
            released: Vec::new(),
            noted: false,
            whole: false,
            drops: BTreeMap::new(),
        }
    }

    /// Adds a binding. The caller keeps to the rules of the table.
    pub fn add_binding(&mut self, binding: ModelBinding) {
        self.table.add(binding);
    }

    /// Removes every binding equal to this one.
    pub fn remove_binding(&mut self, binding: &ModelBinding) {
        self.table.bindings.retain(|b| b != binding);
    }

    /// The bindings in force.
    #[must_use]
    pub fn bindings(&self) -> &[ModelBinding] {
        &self.table.bindings
    }

    /// The knobs in force.
    #[must_use]
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Turns knobs.
    pub fn set_knob(&mut self, turn: impl FnOnce(&mut ModelConfig)) {
        turn(&mut self.config);
    }

    /// Packets dropped so far, by reason. Held fragments that were given up are not in it.
    #[must_use]
    pub fn drops(&self) -> &BTreeMap<&'static str, u64> {
        &self.drops
    }

    /// Takes one packet. `now` is in microseconds.
    pub fn process(&mut self, now: u64, side: ModelSide, packet: &[u8]) -> ModelOutcome {
        self.clock(now);
        let mut outputs = Vec::new();
        let step = self.step(side, packet);
        let (verdict, frame, reason) = match step {
            Ok(Action::Reassembled(from, whole)) => {
                self.whole = true;
                let again = self.step(from, &whole);
                self.whole = false;
                self.aside(again, &whole, &mut outputs);
                (ModelVerdict::Consumed, None, None)
            }
            Ok(Action::Held) => (ModelVerdict::Consumed, None, None),
            Ok(Action::Local(kind)) => (ModelVerdict::Local(kind), Some(packet.to_vec()), None),
            Ok(Action::Forward(to, frames)) => {
                let first = spill(to, frames, &mut outputs);
                (ModelVerdict::Forward(to), first, None)
            }
            Ok(Action::Echo(to, frames)) => {
                let first = spill(to, frames, &mut outputs);
                (ModelVerdict::Reply(to), first, None)
            }
            Err(Refusal { reason, answer }) => {
                *self.drops.entry(reason).or_default() += 1;
                match answer {
                    None => (ModelVerdict::Drop, None, Some(reason)),
                    Some((to, frames)) => {
                        let first = spill(to, frames, &mut outputs);
                        (ModelVerdict::Reply(to), first, Some(reason))
                    }
                }
            }
        };
        while !self.released.is_empty() {
            let (side, packet) = self.released.remove(0);
            self.noted = true;
            let again = self.step(side, &packet);
            self.noted = false;
            self.aside(again, &packet, &mut outputs);
        }
        self.fragments.forget_complete();
        ModelOutcome {
            verdict,
            frame,
            outputs,
            reason,
        }
    }

    /// Lets time pass. Returns what that sets free.
    pub fn timeout(&mut self, now: u64) -> Vec<(ModelDestination, Vec<u8>)> {
        self.clock(now);
        self.fragments
            .expire(self.now, self.config.fragment_timeout);
        // Nobody is told about what came from the Internet: its source may be forged.
        let _ = self
            .ipv4_reassembly
            .expire(self.now, self.config.fragment_timeout);
        let firsts = self
            .reassembly
            .expire(self.now, self.config.reassembly_timeout);
        let mut outputs = Vec::new();
        for first in firsts {
            //
            if let Some(error) = self.icmpv6_error((3, 1, 0), &first) {
                outputs.push((ModelDestination::Side(ModelSide::Softwire), error));
            }
        }
        outputs
    }

    fn clock(&mut self, now: u64) {
        self.now = self.now.max(now);
        self.started.get_or_insert(self.now);
    }

    fn step(&mut self, side: ModelSide, packet: &[u8]) -> Step {
        self.arrived = packet.to_vec();
        match side {
            ModelSide::Softwire => self.upstream(packet),
            ModelSide::Internet => self.downstream(packet),
        }
    }

    /// The way of a packet that has no frame of its own.
    fn aside(&mut self, step: Step, packet: &[u8], outputs: &mut Vec<(ModelDestination, Vec<u8>)>) {
        let frames = match step {
            Ok(Action::Forward(to, frames) | Action::Echo(to, frames)) => Some((to, frames)),
            Ok(Action::Local(kind)) => {
                outputs.push((ModelDestination::Local(kind), packet.to_vec()));
                None
            }
            Ok(Action::Held | Action::Reassembled(..)) => None,
            Err(Refusal { reason, answer }) => {
                *self.drops.entry(reason).or_default() += 1;
                answer
            }
        };
        if let Some((to, frames)) = frames {
            outputs.extend(frames.into_iter().map(|f| (ModelDestination::Side(to), f)));
        }
    }
}

fn spill(
    to: ModelSide,
    frames: Vec<Vec<u8>>,
    outputs: &mut Vec<(ModelDestination, Vec<u8>)>,
) -> Option<Vec<u8>> {
    let mut frames = frames.into_iter();
    let first = frames.next();
    outputs.extend(frames.map(|frame| (ModelDestination::Side(to), frame)));
    first
}

#[cfg(test)]
mod tests;
