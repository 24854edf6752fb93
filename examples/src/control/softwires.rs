//! Softwires shown, added, removed, replaced.

use std::collections::BTreeSet;

use lw4o6_binding::formats::json as model;
use lw4o6_binding::formats::{ImportError, ImportErrorKind, ImportedBinding, Place};
use lw4o6_binding::{
    Binding, Change, Clock, Expiry, InsertError, Origin, Seq, SoftwireKey, UpdateError,
};
use serde_json::json;

use super::commit::Done;
use super::{Addition, Answer, Control, Page, Refusal, Reply, SoftwireView, TrafficView};

/// Softwires on a page at most.
const MOST_ON_A_PAGE: usize = 1000;

/// Softwires that one request adds; more go in by replacing the table.
const MOST_ADDED: usize = 1024;

impl Control {
    /// A page of softwires, ordered by address and port set.
    pub(super) fn softwires(&self, page: Page) -> Result<Answer, Refusal> {
        let limit = match page.limit {
            0 => 100,
            limit => limit.min(MOST_ON_A_PAGE),
        };
        let bindings = &self.router.bindings;
        let later = |binding: &&Binding| {
            page.ipv4.is_none_or(|ipv4| binding.ipv4 == ipv4)
                && page.b4.is_none_or(|b4| binding.b4 == b4)
        };
        let mut found: Vec<&Binding> = match page.b4 {
            Some(b4) => {
                let all = bindings.by_b4(b4).filter(later);
                all.filter(|b| page.after.is_none_or(|after| after < b.key()))
                    .take(limit + 1)
                    .collect()
            }
            None => bindings
                .after(page.after.as_ref())
                .filter(later)
                .take(limit + 1)
                .collect(),
        };
        let more = found.len() > limit;
        found.truncate(limit);
        let next = found.last().filter(|_| more);
        let next = next.map(|binding| super::key_text(&binding.key()));
        let views = found.iter().map(|binding| SoftwireView {
            traffic: self.traffic_of(binding),
            ..SoftwireView::of(binding, &self.clock)
        });
        Answer::json(&json!({
            "softwires": views.collect::<Vec<_>>(),
            "next": next,
            "table": self.table_numbers(),
        }))
    }

    fn traffic_of(&self, binding: &Binding) -> Option<TrafficView> {
        if !self.config.file.run.softwire_counters {
            return None;
        }
        let traffic = self.router.aftr.softwire_traffic(&counted_as(binding));
        Some(TrafficView {
            upstream_packets: traffic.upstream_packets,
            upstream_bytes: traffic.upstream_bytes,
            downstream_packets: traffic.downstream_packets,
            downstream_bytes: traffic.downstream_bytes,
        })
    }

    /// Lets the next subscriber of a softwire begin to be counted from zero.
    pub(super) fn forget_traffic(&self, change: &Change) {
        if !self.config.file.run.softwire_counters {
            return;
        }
        match change {
            Change::Removed { binding, .. } => {
                self.router.aftr.forget_softwire(&counted_as(binding));
            }
            Change::Replaced { old, new } if old.b4 != new.b4 => {
                self.router.aftr.forget_softwire(&counted_as(old));
            }
            Change::BulkReplaced { bindings, .. } => {
                let bound: BTreeSet<_> = bindings.iter().map(counted_as).collect();
                for (key, _) in self.router.aftr.softwire_traffics() {
                    if !bound.contains(&key) {
                        self.router.aftr.forget_softwire(&key);
                    }
                }
            }
            // Who has the softwire stays the same.
            Change::Added(_)
            | Change::Replaced { .. }
            | Change::Renewed(_)
            | Change::Quarantined(_)
            | Change::QuarantineEnded(_) => {}
            // A kind of change that is newer than this program.
            _ => {}
        }
    }

    /// Version and generation, beside everything that was read from the table.
    pub(super) fn table_numbers(&self) -> serde_json::Value {
        let bindings = &self.router.bindings;
        json!({
            "softwires": bindings.len(),
            "version": bindings.version(),
            "generation": bindings.generation(),
        })
    }

    /// All of them or none: what the first ones have decided is taken back where one is refused.
    pub(super) fn add(&mut self, addition: &Addition, reply: Reply) {
        match self.decide_all(addition) {
            Ok(seqs) => {
                let done = Done::Added(seqs.len());
                self.wait(&seqs, done, Some(reply));
            }
            Err(refused) => {
                // Who asked may have gone away.
                let _ = reply.send(Err(refused));
            }
        }
    }

    fn decide_all(&mut self, addition: &Addition) -> Result<Vec<Seq>, Refusal> {
        let entries = self.read_entries(addition)?;
        if entries.is_empty() {
            let rule = "one binding-entry, or a list of some";
            return Err(Refusal::new(400, "binding-entry", rule, "there is none"));
        }
        if addition.replace && entries.len() > 1 {
            let rule = "a replacement cannot be taken back, so it comes alone";
            let what = format!("replace takes one softwire, not {}", entries.len());
            return Err(Refusal::new(400, "replace", rule, what));
        }
        if entries.len() > MOST_ADDED {
            let rule = format!("at most {MOST_ADDED} softwires; PUT /binding-table takes more");
            let what = format!("{} softwires in one request", entries.len());
            return Err(Refusal::new(413, "binding-entry", rule, what));
        }
        let (mut seqs, mut decided) = (Vec::new(), Vec::new());
        for imported in &entries {
            let binding = &imported.binding;
            match self.decide(binding, addition.replace) {
                Ok(seq) => {
                    seqs.push(seq);
                    if seq > self.newest {
                        decided.push(binding.key());
                    }
                }
                Err(error) => {
                    for key in decided {
                        // It waits, so there is something to take back.
                        let _ = self.router.bindings.revoke(self.now, &key);
                    }
                    let path = imported.place("").map(|place| place.to_string());
                    return Err(insert_refused(&short(&path.unwrap_or_default()), &error));
                }
            }
        }
        Ok(seqs)
    }

    fn decide(&mut self, binding: &Binding, replace: bool) -> Result<Seq, InsertError> {
        let bindings = &mut self.router.bindings;
        if replace {
            match bindings.update(self.now, *binding) {
                Ok(seq) => return Ok(seq),
                Err(UpdateError::Rule(error)) => return Err(error),
                Err(UpdateError::NotBound { .. }) => {}
            }
        }
        bindings.insert(self.now, *binding)
    }

    fn read_entries(&self, addition: &Addition) -> Result<Vec<ImportedBinding>, Refusal> {
        let list = entry_list(&addition.entries)?;
        let mut entries = self.import("{\"binding-entry\":", &list, "}")?;
        let expires = addition.lifetime.map(|seconds| {
            let lifetime = std::time::Duration::from_secs(seconds);
            Expiry::At(self.now + lifetime)
        });
        for ImportedBinding { binding, .. } in &mut entries {
            if binding.origin == Origin::Static {
                binding.origin = addition.origin.unwrap_or(Origin::Operator);
            }
            if binding.expires == Expiry::Never {
                binding.expires = expires.unwrap_or_default();
            }
        }
        Ok(entries)
    }

    /// Reads the JSON of a `binding-table` as if it stood in the softwire file.
    fn import(
        &self,
        before: &str,
        table: &[u8],
        behind: &str,
    ) -> Result<Vec<ImportedBinding>, Refusal> {
        let instance = &self.config.instance;
        let aftr = instance.default_aftr;
        let aftr =
            aftr.map(|aftr| format!("\"lw4o6-softwire-br:default-br-ipv6-addr\":\"{aftr}\","));
        let head = format!(
            "{{\"ietf-softwire-br:br-instances\":{{\"binding\":{{\"bind-instance\":[{{\"name\":\"\",\
             \"softwire-num-max\":{},\"softwire-payload-mtu\":{},\"softwire-path-mru\":{},{}\
             \"binding-table\":{before}",
            instance.softwire_num_max,
            instance.payload_mtu,
            instance.path_mru,
            aftr.unwrap_or_default(),
        );
        let text = [head.as_bytes(), table, behind.as_bytes(), b"}]}}}"].concat();
        let clock = Clock {
            instant: self.now,
            utc: self.clock.utc_of(self.now),
        };
        let instances = model::import(&text, clock).map_err(|error| import_refused(&error))?;
        let bindings = instances.into_iter().map(|instance| instance.bindings);
        Ok(bindings.flatten().collect())
    }

    pub(super) fn remove(&mut self, key: &SoftwireKey, reply: Reply) {
        match self.router.bindings.revoke(self.now, key) {
            Ok(seq) => self.wait(&[seq], Done::Removed, Some(reply)),
            Err(error) => {
                let path = super::key_text(key);
                let rule = "only what is bound can be removed";
                let refused = Refusal::new(404, path, rule, error.to_string());
                // Who asked may have gone away.
                let _ = reply.send(Err(refused));
            }
        }
    }

    /// Replaces all bindings, whoever made them. What is not in the configuration file and has no
    /// origin is the operator's.
    pub(super) fn replace_table(&mut self, body: &[u8], reply: Reply) {
        match self.decide_table(body) {
            Ok((seq, counts)) => self.wait(&[seq], Done::Table(counts), Some(reply)),
            Err(refused) => {
                // Who asked may have gone away.
                let _ = reply.send(Err(refused));
            }
        }
    }

    fn decide_table(&mut self, body: &[u8]) -> Result<(Seq, serde_json::Value), Refusal> {
        well_formed(body)?;
        let table = inner(body, "ietf-softwire-br:binding-table");
        let mut entries = self.import("", table, "")?;
        for ImportedBinding { binding, .. } in &mut entries {
            let same = self.router.bindings.get(&binding.key()) == Some(&*binding);
            if binding.origin == Origin::Static && !same {
                binding.origin = Origin::Operator;
            }
        }
        let all = entries.iter().map(|imported| imported.binding).collect();
        let report = self.router.bindings.replace(self.now, all);
        let report = report.map_err(|error| {
            let place = entries.get(error.index).and_then(|entry| entry.place(""));
            let place = place.map(|place| place.to_string()).unwrap_or_default();
            insert_refused(&short(&place), &error.error)
        })?;
        let counts = json!({
            "added": report.added, "removed": report.removed, "changed": report.changed,
            "unchanged": report.unchanged, "expired": report.expired,
        });
        Ok((report.seq, counts))
    }
}

/// The name under which the engine counts a softwire.
fn counted_as(binding: &Binding) -> lw4o6_aftr::SoftwireKey {
    lw4o6_aftr::SoftwireKey {
        ipv4: binding.ipv4,
        offset: binding.ports.offset(),
        len: binding.ports.len(),
        psid: binding.ports.psid(),
    }
}

/// The entries in a request: a list as it is, one entry as a list, RESTCONF's form (RFC 8040 §4.4.1).
fn entry_list(body: &[u8]) -> Result<Vec<u8>, Refusal> {
    well_formed(body)?;
    let list = inner(body, "ietf-softwire-br:binding-entry").trim_ascii();
    if list.first() == Some(&b'[') {
        return Ok(list.to_vec());
    }
    Ok([b"[", list, b"]"].concat())
}

/// Refuses what is no JSON, with the place in what was sent.
fn well_formed(body: &[u8]) -> Result<(), Refusal> {
    match serde_json::from_slice::<serde::de::IgnoredAny>(body) {
        Ok(_) => Ok(()),
        Err(error) => {
            let place = format!("line {} column {}", error.line(), error.column());
            Err(Refusal::new(400, place, "RFC 8259", error.to_string()))
        }
    }
}

/// The value in an object of the one member `name`; all of `body` in any other.
fn inner<'a>(body: &'a [u8], name: &str) -> &'a [u8] {
    let value = || {
        let members = body.trim_ascii().strip_prefix(b"{")?.strip_suffix(b"}")?;
        let name = format!("\"{name}\"");
        let behind = members.trim_ascii().strip_prefix(name.as_bytes())?;
        let value = behind.trim_ascii().strip_prefix(b":")?;
        well_formed(value).is_ok().then_some(value)
    };
    value().unwrap_or(body)
}

/// The path of an entry without what stands before the table.
fn short(path: &str) -> String {
    let inside = path.split_once("/binding-table/").map(|(_, inside)| inside);
    inside.unwrap_or(path).to_owned()
}

fn import_refused(error: &ImportError) -> Refusal {
    let path = match &error.place {
        Place::Path(path) => short(path),
        Place::Line(_) | Place::Column { .. } => error.place.to_string(),
    };
    let rule = if let ImportErrorKind::Value { rule, .. } = &error.kind {
        (*rule).to_owned()
    } else {
        "RFC 8676 §5.2, RFC 7951".to_owned()
    };
    Refusal::new(400, path, rule, error.kind.to_string())
}

/// A binding that breaks a rule.
pub(super) fn insert_refused(path: &str, error: &InsertError) -> Refusal {
    let (status, rule) = match error {
        InsertError::PortParams(_) => (400, "R-021"),
        InsertError::PortLayout { .. } => (409, "R-019 (RFC 7597 §5.1)"),
        InsertError::Overlap { .. } => (409, "R-023 (RFC 7596 §3)"),
        InsertError::Duplicate { .. } => (409, "R-023 (RFC 7596 §3)"),
        InsertError::B4Address { .. } | InsertError::AftrAddress { .. } => (400, "R-064"),
        InsertError::AftrIsB4 { .. } | InsertError::AftrAmongB4s { .. } => {
            (409, "R-064 (RFC 2473 §4.1.2)")
        }
        InsertError::Ipv4Address { .. } => (400, "a public address is unicast"),
        InsertError::PrefixLength { .. } | InsertError::PrefixAddress { .. } => {
            (400, "RFC 7596 §5.1")
        }
        InsertError::TooManySoftwires { .. } => (507, "R-066 (RFC 8676 §5.2)"),
        InsertError::TooManyAftrs { .. } | InsertError::NoRoom { .. } => (507, "docs/LIMITS.md"),
        InsertError::SubscriberLimit { .. } => (409, "R-067 (RFC 7785 §4)"),
        InsertError::MoveLimited { .. } => (409, "R-068 (RFC 7785 §4)"),
        InsertError::Quarantined { .. } | InsertError::StateLost { .. } => {
            (409, "R-065 (RFC 6888 REQ-8)")
        }
        InsertError::SystemPorts { .. } => (409, "R-022 (RFC 7596 §5.1)"),
        InsertError::Expired { .. } => (400, "R-059"),
        InsertError::Pending { .. }
        | InsertError::ReplacePending { .. }
        | InsertError::Waiting { .. } => (409, "one change of a softwire at a time"),
        InsertError::TooManyPending { .. } => (503, "docs/LIMITS.md"),
        // A newer rule.
        _ => (409, "RFC 7596 §6.1"),
    };
    Refusal::new(status, path, rule, error.to_string())
}
