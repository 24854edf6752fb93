//! Runs the same operations through two lwAFTRs and compares everything they do.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::check::Labels;
use super::ops::{Event, Ops, Player};
use super::world::{INITIAL, candidates};
use crate::model::{
    Model, ModelBinding, ModelConfig, ModelDestination, ModelOutcome, ModelSide, ModelVerdict,
};

/// Something that behaves like an lwAFTR.
pub trait Subject {
    /// Packets that arrive together; an outcome for each.
    fn process(&mut self, now: u64, side: ModelSide, packets: &[Vec<u8>]) -> Vec<ModelOutcome>;
    /// Time passes.
    fn timeout(&mut self, now: u64) -> Vec<(ModelDestination, Vec<u8>)>;
    /// A binding comes.
    fn add(&mut self, binding: &ModelBinding);
    /// A binding goes.
    fn remove(&mut self, binding: &ModelBinding);
    /// The knobs change.
    fn configure(&mut self, config: &ModelConfig);
    /// Packets dropped so far, by reason.
    fn drops(&self) -> BTreeMap<&'static str, u64>;
    /// Checks that only this subject can make: `Err` names what does not hold. `settled` says that
    /// nothing is kept any more.
    ///
    /// # Errors
    ///
    /// The first rule that is broken.
    fn audit(&self, _settled: bool) -> Result<(), String> {
        Ok(())
    }
}

impl Subject for Model {
    fn process(&mut self, now: u64, side: ModelSide, packets: &[Vec<u8>]) -> Vec<ModelOutcome> {
        packets
            .iter()
            .map(|packet| Self::process(self, now, side, packet))
            .collect()
    }

    fn timeout(&mut self, now: u64) -> Vec<(ModelDestination, Vec<u8>)> {
        Self::timeout(self, now)
    }

    fn add(&mut self, binding: &ModelBinding) {
        self.add_binding(*binding);
    }

    fn remove(&mut self, binding: &ModelBinding) {
        self.remove_binding(binding);
    }

    fn configure(&mut self, config: &ModelConfig) {
        self.set_knob(|knobs| knobs.clone_from(config));
    }

    fn drops(&self) -> BTreeMap<&'static str, u64> {
        Self::drops(self).clone()
    }
}

/// Where two lwAFTRs part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// Index of the operation.
    pub operation: usize,
    /// What each did, for people.
    pub text: String,
}

/// Counts of what a run saw. Each packet is in one of them, but for those that start with `*`.
pub type Seen = BTreeMap<String, u64>;

/// Operations that were played.
pub const OPERATIONS: &str = "*operations";
/// Batches of more than one packet.
pub const BATCHES: &str = "*batches";
/// Changes of the table or of the knobs.
pub const CHANGES: &str = "*changes";

/// Most packets in a batch, by a byte of the operation that brings the first one.
const BATCH_SIZES: [usize; 8] = [1, 1, 2, 3, 5, 8, 40, 300];

/// Packets from one side that the subject will get together.
#[derive(Debug)]
struct Batch {
    side: ModelSide,
    packets: Vec<Vec<u8>>,
    most: usize,
}

/// The model, the subject, and what is known about both.
struct Game<'a, S> {
    model: Model,
    subject: S,
    labels: Labels,
    seen: &'a mut Seen,
    now: u64,
    newest: u64,
    batch: Option<Batch>,
}

impl<S: Subject> Game<'_, S> {
    fn count(&mut self, name: &str) {
        match self.seen.get_mut(name) {
            Some(count) => *count += 1,
            None => {
                self.seen.insert(name.to_owned(), 1);
            }
        }
    }

    fn play(&mut self, event: Event, chunk: &[u8]) -> Result<(), String> {
        if let Event::Packet(side, packet) = event {
            return self.arrive(side, packet, chunk);
        }
        self.flush()?;
        match &event {
            Event::Wait(time) => {
                self.now += time;
                self.newest = self.newest.max(self.now);
                let wanted = self.model.timeout(self.now);
                let got = self.subject.timeout(self.now);
                same_outputs(&self.model, wanted, got)?;
            }
            Event::Back(time) => self.now = self.now.saturating_sub(*time),
            Event::Packet(..) | Event::Add(_) | Event::Remove(_) | Event::Knobs(_) => {
                self.count(CHANGES);
                arrange(&event, &mut self.model, &mut self.subject);
            }
        }
        self.subject
            .audit(false)
            .map_err(|text| format!("{}\n{text}", describe(&event)))
    }

    fn arrive(&mut self, side: ModelSide, packet: Vec<u8>, chunk: &[u8]) -> Result<(), String> {
        if self.batch.as_ref().is_some_and(|batch| batch.side != side) {
            self.flush()?;
        }
        let size = chunk.last().copied().map_or(0, usize::from);
        let most = BATCH_SIZES[size % BATCH_SIZES.len()];
        let packets = Vec::new();
        let batch = self.batch.get_or_insert(Batch {
            side,
            packets,
            most,
        });
        batch.packets.push(packet);
        if batch.packets.len() < batch.most {
            return Ok(());
        }
        self.flush()
    }

    /// Gives the subject the packets that wait, together, and the model one after the other.
    fn flush(&mut self) -> Result<(), String> {
        let Some(Batch { side, packets, .. }) = self.batch.take() else {
            return Ok(());
        };
        let wanted: Vec<ModelOutcome> = packets
            .iter()
            .map(|packet| self.model.process(self.now, side, packet))
            .collect();
        let got = self.subject.process(self.now, side, &packets);
        if packets.len() > 1 {
            self.count(BATCHES);
        }
        for (at, packet) in packets.iter().enumerate() {
            let (wanted, got) = (&wanted[at], &got[at]);
            self.count(&name_of(packet, wanted));
            self.labels
                .check(&self.model, packet, got)
                .and_then(|()| same_outcome(&self.model, wanted, got))
                .map_err(|text| {
                    let what = describe(&Event::Packet(side, packet.clone()));
                    format!("{} of {} together, {what}\n{text}", at + 1, packets.len())
                })?;
        }
        same_drops(&self.model, &self.subject)
            .and_then(|()| self.subject.audit(false))
            .map_err(|text| format!("{} packets from {side:?}\n{text}", packets.len()))
    }

    /// Waits long enough for every fragment that is still kept.
    fn end(&mut self) -> Result<(), String> {
        self.flush()?;
        let end = self.newest + 200_000_000;
        let (wanted, got) = (self.model.timeout(end), self.subject.timeout(end));
        same_outputs(&self.model, wanted, got).and_then(|()| self.subject.audit(true))
    }
}

/// Plays `ops` on the model and on what `make` builds from knobs and bindings.
///
/// # Errors
///
/// The first difference. Its operation is the one after which it showed, so that those up to it
/// show it again.
pub fn play<S: Subject>(
    ops: &Ops,
    make: impl FnOnce(&ModelConfig, &[ModelBinding]) -> S,
    seen: &mut Seen,
) -> Result<(), Mismatch> {
    let config = ops.config();
    let bindings = &candidates()[..INITIAL];
    let start = 1_000_000;
    let mut game = Game {
        model: Model::new(config.clone(), bindings.to_vec()),
        subject: make(&config, bindings),
        labels: Labels::default(),
        seen,
        now: start,
        newest: start,
        batch: None,
    };
    let mut player = Player::default();
    for (operation, chunk) in ops.chunks.iter().enumerate() {
        game.count(OPERATIONS);
        for event in player.events(chunk, game.model.config()) {
            game.play(event, chunk).map_err(|text| Mismatch {
                operation,
                text: format!("at {} µs: {text}", game.now),
            })?;
        }
    }
    let operation = ops.chunks.len();
    game.end().map_err(|text| Mismatch { operation, text })
}

fn arrange(event: &Event, model: &mut Model, subject: &mut impl Subject) {
    match event {
        Event::Add(binding) if !model.bindings().contains(binding) => {
            model.add_binding(*binding);
            subject.add(binding);
        }
        Event::Remove(binding) if model.bindings().contains(binding) => {
            model.remove_binding(binding);
            subject.remove(binding);
        }
        Event::Knobs(knobs) => {
            model.set_knob(|k| k.clone_from(knobs));
            subject.configure(knobs);
        }
        Event::Packet(..) | Event::Wait(_) | Event::Back(_) | Event::Add(_) | Event::Remove(_) => {}
    }
}

fn name_of(packet: &[u8], outcome: &ModelOutcome) -> String {
    let kind = match packet {
        [0x60..=0x6f, _, _, _, _, _, 58, ..] => "ICMPv6",
        [0x60..=0x6f, ..] => "IPv6",
        [_, _, _, _, _, _, _, _, _, 1, ..] => "ICMPv4",
        _ => "IPv4",
    };
    match (outcome.verdict, outcome.reason) {
        (ModelVerdict::Drop, Some(reason)) => format!("drop {reason}"),
        (ModelVerdict::Reply(_), Some(reason)) => format!("answer {reason}"),
        (ModelVerdict::Local(crate::model::ModelKind::Tunnelled { .. }), _) => "tunnelled".into(),
        (ModelVerdict::Consumed, _) if !outcome.outputs.is_empty() => "released".into(),
        (verdict, _) => format!("{kind} {verdict:?}"),
    }
}

fn same_drops(model: &Model, subject: &impl Subject) -> Result<(), String> {
    let (wanted, got) = (model.drops(), subject.drops());
    let mut text = String::new();
    let names = wanted.keys().chain(got.keys());
    for name in names.collect::<std::collections::BTreeSet<_>>() {
        let (w, g) = (wanted.get(name).unwrap_or(&0), got.get(name).unwrap_or(&0));
        if w != g && !is_storage(name) {
            let _ = writeln!(text, "drops counted for {name}: model {w}, engine {g}");
        }
    }
    if text.is_empty() { Ok(()) } else { Err(text) }
}

/// Reasons that are also counted for fragments which were kept and then given up.
fn is_storage(name: &str) -> bool {
    matches!(
        name,
        "ipv6-fragment-overlap"
            | "ipv6-fragment-count"
            | "ipv6-reassembled-too-big"
            | "ipv6-reassembly-ecn"
            | "ipv6-reassembly-timeout"
            | "ipv4-fragment-overlap"
            | "ipv4-fragment-conflict"
            | "ipv4-fragment-count"
            | "ipv4-reassembly-ecn"
            | "ipv4-reassembly-timeout"
            | "fragment-no-first"
            | "fragment-refused"
    )
}

fn same_outcome(model: &Model, wanted: &ModelOutcome, got: &ModelOutcome) -> Result<(), String> {
    let mut text = String::new();
    if wanted.verdict != got.verdict || wanted.reason != got.reason {
        let _ = writeln!(text, "model  {:?} {:?}", wanted.verdict, wanted.reason);
        let _ = writeln!(text, "engine {:?} {:?}", got.verdict, got.reason);
        return Err(text);
    }
    let mask = |frame: &Vec<u8>| masked(model, frame);
    if wanted.frame.as_ref().map(mask) != got.frame.as_ref().map(mask) {
        let show = |frame: &Option<Vec<u8>>| frame.as_ref().map_or("none".into(), |f| hex(f));
        let _ = writeln!(text, "{:?} {:?}", wanted.verdict, wanted.reason);
        let _ = writeln!(text, "model  frame {}", show(&wanted.frame));
        let _ = writeln!(text, "engine frame {}", show(&got.frame));
        return Err(text);
    }
    same_list(model, &wanted.outputs, &got.outputs)
}

fn same_outputs(
    model: &Model,
    mut wanted: Vec<(ModelDestination, Vec<u8>)>,
    mut got: Vec<(ModelDestination, Vec<u8>)>,
) -> Result<(), String> {
    // What becomes due at the same time has no order of its own.
    wanted.sort();
    got.sort();
    same_list(model, &wanted, &got)
}

fn same_list(
    model: &Model,
    wanted: &[(ModelDestination, Vec<u8>)],
    got: &[(ModelDestination, Vec<u8>)],
) -> Result<(), String> {
    let mask = |list: &[(ModelDestination, Vec<u8>)]| -> Vec<(ModelDestination, Vec<u8>)> {
        list.iter()
            .map(|(to, frame)| (*to, masked(model, frame)))
            .collect()
    };
    if mask(wanted) == mask(got) {
        return Ok(());
    }
    let mut text = String::from("frames beside the verdict:\n");
    for (who, list) in [("model ", wanted), ("engine", got)] {
        for (to, frame) in list {
            let _ = writeln!(text, "{who} {to:?} {}", hex(frame));
        }
    }
    Err(text)
}

/// A frame without the fields that the implementation may choose.
fn masked(model: &Model, frame: &[u8]) -> Vec<u8> {
    let mut frame = frame.to_vec();
    if frame.len() >= 40 && frame[0] >> 4 == 6 {
        let chosen = model.config().flow_label.is_none() || frame[6] == 58;
        if chosen {
            frame[1] &= 0xf0;
            frame[2..4].fill(0);
        }
        if frame[6] == 44 && frame.len() >= 48 {
            frame[44..48].fill(0);
        }
    }
    frame
}

fn hex(bytes: &[u8]) -> String {
    let shown: String = bytes
        .iter()
        .take(160)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("{} bytes {shown}", bytes.len())
}

/// One event, for people.
#[must_use]
pub fn describe(event: &Event) -> String {
    match event {
        Event::Packet(side, packet) => format!("packet from {side:?}, {}", hex(packet)),
        Event::Wait(time) => format!("wait {time} µs"),
        Event::Back(time) => format!("set the clock back by {time} µs"),
        Event::Add(binding) => format!("add {binding:?}"),
        Event::Remove(binding) => format!("remove {binding:?}"),
        Event::Knobs(knobs) => format!("knobs {knobs:?}"),
    }
}

/// Deletes operations for as long as the run still fails, and returns what is left.
pub fn shrink(ops: &Ops, fails: impl Fn(&Ops) -> bool) -> Ops {
    let mut best = ops.clone();
    let mut size = best.chunks.len().div_ceil(2);
    while size > 0 {
        let mut at = 0;
        while at < best.chunks.len() {
            let mut fewer = best.clone();
            fewer.chunks.drain(at..(at + size).min(best.chunks.len()));
            if fails(&fewer) {
                best = fewer;
            } else {
                at += size;
            }
        }
        size /= 2;
    }
    let mut plain = best.clone();
    plain.knobs = [0; super::bytes::CHUNK];
    if fails(&plain) { plain } else { best }
}

/// Shrinks a failing run and says everything about it that is needed to repeat it.
pub fn report<S: Subject>(
    ops: &Ops,
    make: impl Fn(&ModelConfig, &[ModelBinding]) -> S,
) -> Option<String> {
    let failure = |ops: &Ops| play(ops, &make, &mut Seen::new()).err();
    let first = failure(ops)?;
    let mut short = ops.clone();
    short.chunks.truncate(first.operation + 1);
    let short = shrink(&short, |ops| failure(ops).is_some());
    let mismatch = failure(&short)?;
    let mut text = String::from("operations in order:\n");
    let mut player = Player::default();
    let mut knobs = short.config();
    for chunk in &short.chunks {
        for event in player.events(chunk, &knobs) {
            if let Event::Knobs(turned) = &event {
                knobs.clone_from(turned);
            }
            let _ = writeln!(text, "  {}", describe(&event));
        }
    }
    let _ = writeln!(text, "knobs at the start: {:?}", short.config());
    let _ = writeln!(text, "{}", mismatch.text);
    let _ = writeln!(text, "to repeat it:\n{}", short.to_text());
    Some(text)
}
