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
    /// One packet at a time.
    fn process(&mut self, now: u64, side: ModelSide, packet: &[u8]) -> ModelOutcome;
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
    fn process(&mut self, now: u64, side: ModelSide, packet: &[u8]) -> ModelOutcome {
        Self::process(self, now, side, packet)
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

/// Counts of what a run saw.
pub type Seen = BTreeMap<String, u64>;

/// Plays `ops` on the model and on what `make` builds from knobs and bindings.
///
/// # Errors
///
/// The first difference.
pub fn play<S: Subject>(
    ops: &Ops,
    make: impl FnOnce(&ModelConfig, &[ModelBinding]) -> S,
    seen: &mut Seen,
) -> Result<(), Mismatch> {
    let config = ops.config();
    let bindings = &candidates()[..INITIAL];
    let mut model = Model::new(config.clone(), bindings.to_vec());
    let mut subject = make(&config, bindings);
    let mut labels = Labels::default();
    let mut player = Player::default();
    let mut now = 1_000_000;
    let mut newest = now;
    for (operation, chunk) in ops.chunks.iter().enumerate() {
        let events = player.events(chunk, model.config());
        for event in events {
            let done = match &event {
                Event::Packet(side, packet) => {
                    let wanted = model.process(now, *side, packet);
                    let got = subject.process(now, *side, packet);
                    *seen.entry(name_of(packet, &wanted)).or_default() += 1;
                    labels
                        .check(&model, packet, &got)
                        .and_then(|()| same_outcome(&model, &wanted, &got))
                        .and_then(|()| same_drops(&model, &subject))
                }
                Event::Wait(time) => {
                    now += time;
                    newest = newest.max(now);
                    let (wanted, got) = (model.timeout(now), subject.timeout(now));
                    same_outputs(&model, wanted, got)
                }
                Event::Back(time) => {
                    now = now.saturating_sub(*time);
                    Ok(())
                }
                Event::Add(_) | Event::Remove(_) | Event::Knobs(_) => {
                    arrange(&event, &mut model, &mut subject);
                    Ok(())
                }
            };
            if let Err(text) = done.and_then(|()| subject.audit(false)) {
                let text = format!("at {now} µs: {}\n{text}", describe(&event));
                return Err(Mismatch { operation, text });
            }
        }
    }
    // Long enough for every fragment that is still kept.
    let end = newest + 200_000_000;
    let (wanted, got) = (model.timeout(end), subject.timeout(end));
    let done = same_outputs(&model, wanted, got);
    let operation = ops.chunks.len();
    done.and_then(|()| subject.audit(true))
        .map_err(|text| Mismatch { operation, text })
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
