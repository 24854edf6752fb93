//! The commit barrier seen from outside: who waits for which decision, and the stream of changes.

use std::sync::Arc;

use lw4o6_binding::{Change, Event, FailReason, LogLine, Quarantined, Seq};
use lw4o6_wire::Instant;
use serde_json::{Value, json};

use super::reload::PlannedReload;
use super::request::{SoftwireView, key_text};
use super::{Answer, Control, Logged, Refusal, Reply, Stored};

/// Number of a request that waits.
pub(super) type WaitingId = u64;

/// A request that is answered when its decisions are stored.
#[derive(Debug)]
pub(super) struct Waiting {
    reply: Option<Reply>,
    /// Decisions that have no outcome yet.
    open: usize,
    refused: Option<Refusal>,
    pub(super) done: Done,
}

/// What a request that waits was about.
#[derive(Debug)]
pub(super) enum Done {
    /// So many softwires added, and changed.
    Added(usize),
    /// A softwire removed.
    Removed,
    /// The table replaced; the counts as JSON.
    Table(Value),
    /// The configuration read again.
    Reload(Box<PlannedReload>),
}

impl Control {
    /// Lets a request wait for decisions.
    pub(super) fn wait(&mut self, seqs: &[Seq], done: Done, reply: Option<Reply>) {
        let id = self.next_waiting;
        self.next_waiting += 1;
        for seq in seqs {
            self.waits.entry(*seq).or_default().push(id);
        }
        let waiting = Waiting {
            reply,
            open: seqs.len(),
            refused: None,
            done,
        };
        self.waiting.insert(id, waiting);
    }

    /// Takes an outcome of the store.
    pub(super) fn stored(&mut self, stored: Stored) {
        match stored {
            Stored::Persisted(seq) => {
                self.troubles.store = None;
                self.router.bindings.handle_persisted(self.now, seq);
            }
            Stored::Failed(seq, why) => {
                tracing::error!(%seq, why, "the store did not take a change");
                self.troubles.store = Some(why);
                self.troubles.store_failures += 1;
                self.router.bindings.handle_persist_failed(self.now, seq);
                if let Some(store) = &mut self.store {
                    store.resume();
                }
            }
        }
    }

    /// Passes on what the bindings have to tell.
    pub(super) fn pump(&mut self) {
        loop {
            let mut confirmed = None;
            while let Some(event) = self.router.bindings.poll_event() {
                match event {
                    Event::Persist { seq, change } => {
                        self.newest = seq;
                        match &mut self.store {
                            Some(store) => store.record(seq, change),
                            None => confirmed = Some(seq),
                        }
                    }
                    Event::Committed { seq } => self.outcome(seq, None),
                    Event::Failed { seq, why, .. } => self.outcome(seq, Some(why)),
                    Event::Changed {
                        number,
                        change,
                        at,
                        version,
                    } => self.changed(number, &change, at, version),
                    Event::Lost { first, last } => self.lost(first, last),
                    Event::SystemPorts { key } => {
                        tracing::warn!(%key, "a shared port set has ports 0 to 1023 (R-022)");
                    }
                    // A kind of event that is newer than this program has nothing for it.
                    _ => {}
                }
            }
            // Without a store every decision takes effect at once.
            let Some(seq) = confirmed else { return };
            self.router.bindings.handle_persisted(self.now, seq);
        }
    }

    fn outcome(&mut self, seq: Seq, failed: Option<FailReason>) {
        for id in self.waits.remove(&seq).unwrap_or_default() {
            let Some(waiting) = self.waiting.get_mut(&id) else {
                continue;
            };
            waiting.open = waiting.open.saturating_sub(1);
            if let Some(why) = failed {
                waiting.refused.get_or_insert_with(|| not_committed(why));
            }
            if waiting.open == 0
                && let Some(waiting) = self.waiting.remove(&id)
            {
                self.finish(waiting);
            }
        }
    }

    fn finish(&mut self, waiting: Waiting) {
        let Waiting {
            reply,
            refused,
            done,
            ..
        } = waiting;
        let table = json!({
            "version": self.router.bindings.version(),
            "generation": self.router.bindings.generation(),
            "softwires": self.router.bindings.len(),
        });
        let with = |name: &str, value: Value| json!({ name: value, "table": table.clone() });
        let answer = match (done, refused) {
            (Done::Reload(plan), refused) => self.reloaded(*plan, refused).map(Answer::Json),
            (_, Some(refused)) => Err(refused),
            (Done::Added(count), None) => Ok(Answer::Json(with("added", count.into()))),
            (Done::Removed, None) => Ok(Answer::Json(with("removed", 1.into()))),
            (Done::Table(counts), None) => Ok(Answer::Json(with("replaced", counts))),
        };
        if let Err(refused) = &answer
            && reply.is_none()
        {
            tracing::error!("{refused}");
        }
        if let Some(reply) = reply {
            // Who asked may have gone away.
            let _ = reply.send(answer);
        }
    }

    fn changed(&mut self, number: u64, change: &Change, instant: Instant, version: u64) {
        let at = self.clock.utc_of(instant);
        self.changed = at;
        if let Some(store) = &mut self.store {
            store.note(change);
        }
        self.history.follow(at, change);
        self.forget_traffic(change);
        let subscriber_mask = self.router.bindings.config().policy.subscriber_mask;
        let logged = Logged {
            number,
            at,
            instant,
            version,
            change,
            subscriber_mask,
            clock: &self.clock,
        };
        if let Some(log) = &mut self.log {
            match log.write(&logged) {
                Ok(()) => self.troubles.log = None,
                Err(error) => {
                    tracing::error!(%error, "the log of binding changes");
                    self.troubles.log = Some(error.to_string());
                    self.troubles.log_failures += 1;
                }
            }
        }
        if tracing::enabled!(tracing::Level::DEBUG) {
            let clock = &self.clock;
            let line = LogLine {
                change,
                at,
                version,
                subscriber_mask,
                clock,
            };
            tracing::debug!("{line}");
        }
        if !self.followers.is_empty() {
            let event = self.event(&logged);
            self.tell(&event);
        }
    }

    /// Some changes did not fit in the queue: everyone gets the table as a whole.
    fn lost(&mut self, first: u64, last: u64) {
        tracing::warn!(
            first,
            last,
            "changes came too fast; the table is read again"
        );
        self.tell(&json!({ "event": "lost", "first": first, "last": last }));
        let bindings = &self.router.bindings;
        let version = bindings.version();
        let change = Change::BulkReplaced {
            version,
            bindings: Arc::new(bindings.iter().copied().collect()),
        };
        self.changed(last, &change, self.now, version);
    }

    /// Sends a line to all who follow; who is too slow misses lines and is told how many.
    fn tell(&mut self, event: &Value) {
        let line = event.to_string();
        self.followers.retain_mut(|follower| follower.send(&line));
    }

    //
    fn event(&self, logged: &Logged<'_>) -> Value {
        let view = |binding| {
            serde_json::to_value(SoftwireView::of(binding, &self.clock)).unwrap_or_default()
        };
        let waits = |waits: &Quarantined| json!({ "softwire": { "key": key_text(&waits.key) }, "b4": waits.b4 });
        let (event, facts) = match logged.change {
            Change::Added(binding) => ("added", json!({ "softwire": view(binding) })),
            Change::Renewed(binding) => ("renewed", json!({ "softwire": view(binding) })),
            Change::Replaced { old, new } => (
                "replaced",
                json!({ "softwire": view(new), "was": view(old) }),
            ),
            Change::Removed { binding, reason } => {
                (reason.as_str(), json!({ "softwire": view(binding) }))
            }
            Change::Quarantined(softwire) => ("quarantined", waits(softwire)),
            Change::QuarantineEnded(softwire) => ("quarantine-ended", waits(softwire)),
            Change::BulkReplaced { bindings, .. } => {
                ("replaced-all", json!({ "softwires": bindings.len() }))
            }
            // A kind of change that is newer than this program.
            _ => ("changed", json!({})),
        };
        let mut line = json!({
            "number": logged.number,
            "time": logged.at.to_string(),
            "version": logged.version,
            "event": event,
        });
        if let (Some(line), Value::Object(facts)) = (line.as_object_mut(), facts) {
            line.extend(facts);
            if let Some(notification) = self.notification(logged.change) {
                line.insert(NOTIFICATION.to_owned(), notification);
            }
        }
        line
    }

    /// What a NETCONF server would send about the change (RFC 8676 §5.2).
    //
    fn notification(&self, change: &Change) -> Option<Value> {
        let (leaf, binding) = match change {
            Change::Added(binding) => ("added-entry", binding),
            Change::Replaced { new, .. } => ("modified-entry", new),
            Change::Removed { binding, .. } => ("invalid-entry", binding),
            Change::Renewed(_)
            | Change::Quarantined(_)
            | Change::QuarantineEnded(_)
            | Change::BulkReplaced { .. } => return None,
            // A kind of change that is newer than this program.
            _ => return None,
        };
        // A new entry is an address in the model, the others refer to their key.
        let is_prefix = binding.prefix_len < 128 && leaf != "added-entry";
        let entry = if is_prefix {
            binding.prefix().to_string()
        } else {
            binding.b4.to_string()
        };
        let name = &self.config.instance.name;
        Some(json!({ "bind-name": name, leaf: [entry] }))
    }
}

/// Name of the notification of RFC 8676.
const NOTIFICATION: &str = "ietf-softwire-br:softwire-binding-instance-event";

fn not_committed(why: FailReason) -> Refusal {
    let (status, rule, what) = match why {
        FailReason::NotStored => (
            503,
            "what is not stored takes no effect",
            "it could not be stored",
        ),
        FailReason::Withdrawn => (
            409,
            "the newer request wins",
            "the softwire was removed while this waited for the store",
        ),
        FailReason::Expired => (409, "R-059", "its lifetime was over before it was stored"),
        FailReason::NoRoom => (507, "R-066", "the table of the packet path has no room"),
        // A newer reason.
        _ => (500, "", "it did not take effect"),
    };
    Refusal::new(status, "", rule, what)
}
