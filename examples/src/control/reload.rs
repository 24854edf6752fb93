//! The configuration read again, and taken where it can be.

use lw4o6_binding::table::Pool;
use lw4o6_binding::{Binding, LoadError, Origin, Policy};
use serde_json::{Value, json};

use super::commit::Done;
use super::softwires::insert_refused;
use super::{Answer, Control, ReadConfig, Refusal, Reply};
use crate::check::{Differences, differences};
use crate::config::Config;
use crate::error::Failure;
use crate::setup::{aftr_config, bindings_of, pools};

/// Who waits for the configuration to be read.
pub(super) struct Reload {
    reader: Box<dyn ReadConfig>,
    /// Those who asked before the reading that is under way began.
    reading: Vec<Asked>,
    /// Those who asked later: the file may have changed since.
    next: Vec<Asked>,
}

/// Somebody who wants a reload, or to know what it would do.
struct Asked {
    diff: bool,
    reply: Option<Reply>,
}

/// A reload that waits for the store.
#[derive(Debug)]
pub(super) struct PlannedReload {
    config: Config,
    differences: Differences,
    needs_restart: Vec<String>,
    before: Before,
}

/// What the bindings go back to where a reload comes to nothing.
#[derive(Debug)]
struct Before {
    policy: Policy,
    pools: Vec<Pool>,
    aftrs: Vec<std::net::Ipv6Addr>,
}

impl Reload {
    pub(super) fn new(reader: Box<dyn ReadConfig>) -> Self {
        Self {
            reader,
            reading: Vec::new(),
            next: Vec::new(),
        }
    }

    pub(super) fn is_reading(&self) -> bool {
        !self.reading.is_empty()
    }

    fn ask(&mut self, asked: Asked) {
        if self.reading.is_empty() {
            self.reading.push(asked);
            self.reader.begin();
        } else {
            self.next.push(asked);
        }
    }
}

impl Control {
    pub(super) fn ask_reload(&mut self, diff: bool, reply: Reply) {
        let reply = Some(reply);
        self.reload.ask(Asked { diff, reply });
    }

    /// SIGHUP.
    pub(super) fn hangup(&mut self) {
        if let Some(log) = &mut self.log
            && let Err(error) = log.reopen()
        {
            tracing::error!(%error, "the log of binding changes");
            self.troubles.log = Some(error.to_string());
            self.troubles.log_failures += 1;
        }
        self.reload.ask(Asked {
            diff: false,
            reply: None,
        });
    }

    /// The configuration was read: everyone who asked gets an answer.
    pub(super) fn read(&mut self, read: Result<Box<Config>, Failure>) {
        let asked = std::mem::take(&mut self.reload.reading);
        let (diffs, reloads): (Vec<_>, Vec<_>) = asked.into_iter().partition(|one| one.diff);
        match read.map_err(|failure| file_refused(&failure)) {
            Ok(config) => {
                for one in diffs {
                    answer(one.reply, self.would_change(&config));
                }
                // There is one at most: a second one waits for the next reading.
                if let Some(one) = reloads.into_iter().next() {
                    self.apply(*config, one.reply);
                }
            }
            Err(refused) => {
                if !reloads.is_empty() {
                    self.reload_refused(&refused);
                }
                for one in diffs.into_iter().chain(reloads) {
                    answer(one.reply, Err(refused.clone()));
                }
            }
        }
        for one in std::mem::take(&mut self.reload.next) {
            self.reload.ask(one);
        }
    }

    fn reload_refused(&mut self, refused: &Refusal) {
        tracing::error!("the configuration is not taken, the old one stays: {refused}");
        self.troubles.reload = Some(refused.to_string());
        self.troubles.reload_failures += 1;
    }

    fn would_change(&self, new: &Config) -> Result<Answer, Refusal> {
        let (merged, needs_restart) = self.merge(new.clone())?;
        let differences = self.compare(&merged)?;
        check_engine(&merged)?;
        Ok(Answer::Json(report(&differences, &needs_restart)))
    }

    /// The configuration `new` with the parts of the old one that hold until a restart; what these
    /// are.
    fn merge(&self, new: Config) -> Result<(Config, Vec<String>), Refusal> {
        let mut new = new;
        let old = &self.config.file;
        // An address that the interface gave is none that the file changes.
        new.file.internet.mac = new.file.internet.mac.or(old.internet.mac);
        new.file.softwire.mac = new.file.softwire.mac.or(old.softwire.mac);
        let mut merged = new.clone();
        let (old, file) = (&self.config.file, &mut merged.file);
        let mtu = file.internet.mtu.clone();
        file.internet.clone_from(&old.internet);
        file.internet.mtu = mtu;
        file.softwire.clone_from(&old.softwire);
        file.run.clone_from(&old.run);
        file.state.clone_from(&old.state);
        file.management.clone_from(&old.management);
        file.forwarding.slab_bytes = old.forwarding.slab_bytes;
        merged.instance.softwire_num_max = self.config.instance.softwire_num_max;
        let held = differences(&merged, &new).map_err(|failure| file_refused(&failure))?;
        Ok((merged, held.settings))
    }

    /// What `new` changes of what is in force: a command may have taken a softwire of the file away.
    fn compare(&self, new: &Config) -> Result<Differences, Refusal> {
        let mut old = self.config.clone();
        let table = self.router.bindings.iter();
        let of_the_file = table.filter(|binding| binding.origin == Origin::Static);
        old.instance.bindings = of_the_file.copied().map(Into::into).collect();
        differences(&old, new).map_err(|failure| file_refused(&failure))
    }

    fn apply(&mut self, new: Config, reply: Option<Reply>) {
        match self.plan(new) {
            Ok((plan, Some(seq))) => self.wait(&[seq], Done::Reload(Box::new(plan)), reply),
            Ok((plan, None)) => {
                let done = self.reloaded(plan, None);
                answer(reply, done.map(Answer::Json));
            }
            Err(refused) => {
                self.reload_refused(&refused);
                answer(reply, Err(refused));
            }
        }
    }

    fn plan(
        &mut self,
        new: Config,
    ) -> Result<(PlannedReload, Option<lw4o6_binding::Seq>), Refusal> {
        let (config, needs_restart) = self.merge(new)?;
        check_engine(&config)?;
        let differences = self.compare(&config)?;
        let bindings = &mut self.router.bindings;
        let before = Before {
            policy: bindings.config().policy,
            pools: bindings.config().pools.clone(),
            aftrs: bindings.config().aftrs.clone(),
        };
        let mut policy = before.policy;
        policy.system_ports = config.file.table.system_ports.into();
        bindings.set_policy(self.now, policy);
        bindings.set_pools(pools(&config.instance));
        bindings.set_aftrs(config.file.instance.aftr_addresses.clone());
        let all: Vec<Binding> = bindings_of(&config.instance).copied().collect();
        let diff = bindings.diff(&all);
        let same = diff.added.is_empty()
            && diff.changed.is_empty()
            && diff
                .removed
                .iter()
                .all(|gone| gone.origin != Origin::Static)
            && before.pools == bindings.config().pools
            && before.aftrs == bindings.config().aftrs;
        let mut plan = PlannedReload {
            config,
            differences,
            needs_restart,
            before,
        };
        if same {
            return Ok((plan, None));
        }
        match bindings.replace_configured(self.now, all) {
            Ok(report) => Ok((plan, Some(report.seq))),
            Err(error) => {
                self.go_back(&mut plan.before);
                Err(binding_refused(&plan.config, &error))
            }
        }
    }

    fn go_back(&mut self, before: &mut Before) {
        let bindings = &mut self.router.bindings;
        bindings.set_policy(self.now, before.policy);
        bindings.set_pools(std::mem::take(&mut before.pools));
        bindings.set_aftrs(std::mem::take(&mut before.aftrs));
    }

    /// The table of a reload is in force, or is not.
    pub(super) fn reloaded(
        &mut self,
        plan: PlannedReload,
        refused: Option<Refusal>,
    ) -> Result<Value, Refusal> {
        let PlannedReload {
            config,
            differences,
            needs_restart,
            mut before,
        } = plan;
        if let Some(refused) = refused {
            self.go_back(&mut before);
            self.reload_refused(&refused);
            return Err(refused);
        }
        self.config = config;
        self.put_in_force()?;
        self.troubles.reload = None;
        self.troubles.reloads += 1;
        for line in &needs_restart {
            tracing::warn!(line, "takes effect with the next start only");
        }
        tracing::info!(
            added = differences.added.len(),
            removed = differences.removed.len(),
            changed = differences.changed.len(),
            "the configuration is in force"
        );
        let mut told = report(&differences, &needs_restart);
        if let Some(told) = told.as_object_mut() {
            told.insert("table".to_owned(), self.table_numbers());
        }
        Ok(told)
    }
}

fn answer(reply: Option<Reply>, answer: Result<Answer, Refusal>) {
    if let Some(reply) = reply {
        // Who asked may have gone away.
        let _ = reply.send(answer);
    }
}

fn report(differences: &Differences, needs_restart: &[String]) -> Value {
    json!({ "differences": differences, "needs-restart": needs_restart })
}

fn check_engine(config: &Config) -> Result<(), Refusal> {
    let grace = std::time::Duration::from_secs(config.file.forwarding.boot_grace);
    let checked = aftr_config(config, grace).check();
    checked.map_err(|error| file_refused(&config.refused(&error)))
}

/// A file that is wrong, in the words of `lwaftr check`.
fn file_refused(failure: &Failure) -> Refusal {
    let text = failure.to_string();
    let (path, message) = split_place(&text);
    let status = match failure {
        Failure::Config(_) => 422,
        Failure::Run(_) => 500,
    };
    Refusal::new(status, path, "lwaftr check", message)
}

/// `FILE:LINE` or `FILE`, and what is wrong there.
fn split_place(text: &str) -> (&str, &str) {
    text.split_once(": ").unwrap_or(("", text))
}

fn binding_refused(config: &Config, error: &LoadError) -> Refusal {
    let instance = &config.instance;
    let imported = instance.bindings.get(error.index);
    let place = imported.and_then(|imported| imported.place(&instance.name));
    let file = config.softwires.display();
    let path = match place {
        Some(place) => format!("{file}: {place}"),
        None => file.to_string(),
    };
    insert_refused(&path, &error.error)
}
