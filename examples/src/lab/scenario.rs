//! Scenarios: what they do, what they found, how that is told.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::{Serialize, Serializer};
use serde_json::Value;

use super::{aftr, basic, flap, fragments, hairpin, mtu, reload, soak, speed, spoof};
use crate::stopwatch::Stopwatch;

/// A scenario of the lab.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it shows, in a line.
    pub about: &'static str,
    /// Whether `all` runs it: not what only measures, which a busy machine would make worthless.
    pub in_all: bool,
    run: fn(&mut Facts) -> Result<(), String>,
}

/// All scenarios, in the order in which `all` runs them.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "basic",
        about: "the lab alone: kernel hosts over a tunnel between two endpoints of the lab",
        in_all: true,
        run: basic::run,
    },
    Scenario {
        name: "aftr",
        about: "lwaftr run between kernel hosts: ping, traceroute, TCP, 8 kB UDP, path MTU",
        in_all: true,
        run: aftr::run,
    },
    Scenario {
        name: "workers-aftr",
        about: "the same with two workers, who share each datagram's fragments rightly",
        in_all: true,
        run: aftr::run_two_workers,
    },
    Scenario {
        name: "hairpin-aftr",
        about: "two subscribers talk to each other; the Internet side hears nothing of it",
        in_all: true,
        run: hairpin::run,
    },
    Scenario {
        name: "fragments-aftr",
        about: "fragments of IPv4 and of the tunnel: reversed, interleaved, twice, headless",
        in_all: true,
        run: fragments::run,
    },
    Scenario {
        name: "mtu-aftr",
        about: "packets too long for the tunnel or for a narrow access link, pmtud static and dynamic",
        in_all: true,
        run: mtu::run,
    },
    Scenario {
        name: "spoof-aftr",
        about: "forged sources, ports, tunnels and errors among good traffic: nothing passes",
        in_all: true,
        run: spoof::run,
    },
    Scenario {
        name: "speed-aftr",
        about: "64-byte frames through lwaftr and through a forwarder that does nothing, one core",
        in_all: false,
        run: speed::run,
    },
    Scenario {
        name: "reload",
        about: "three reloads while numbered datagrams pass: none is lost, late or astray",
        in_all: true,
        run: reload::run,
    },
    Scenario {
        name: "link-flap",
        about: "both interfaces are deleted and made again under a running lwaftr",
        in_all: true,
        run: flap::run,
    },
    Scenario {
        name: "soak-aftr",
        about: "a rough access link, 1,000 table changes a second, three reloads: the books close",
        in_all: true,
        run: soak::run,
    },
];

impl Scenario {
    /// Finds a scenario.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        SCENARIOS.iter().find(|scenario| scenario.name == name)
    }

    /// Runs it in the caller's network namespace, which is empty.
    #[must_use]
    pub fn run(&self) -> Outcome {
        let watch = Stopwatch::start();
        let mut facts = Facts::new(self.name);
        let done = (self.run)(&mut facts);
        facts.failures.extend(done.err());
        let error = facts.failures.first().map(|_| facts.failures.join("; "));
        Outcome {
            scenario: self.name.to_owned(),
            pass: Some(error.is_none()),
            seconds: seconds(watch.elapsed()),
            facts: std::mem::take(&mut facts.values),
            error,
            skipped: None,
        }
    }

    /// It was not run, and why.
    #[must_use]
    pub fn skip(&self, why: String) -> Outcome {
        Outcome {
            scenario: self.name.to_owned(),
            skipped: Some(why),
            ..Outcome::default()
        }
    }
}

/// What came of a scenario.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Outcome {
    /// Its name.
    pub scenario: String,
    /// Whether everything was as it should be; none where it was skipped.
    pub pass: Option<bool>,
    /// How long it took, one decimal.
    pub seconds: f64,
    /// What was seen.
    #[serde(serialize_with = "nested")]
    pub facts: Vec<Fact>,
    /// What was not as it should be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Why it was skipped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skipped: Option<String>,
}

impl Outcome {
    /// Whether the lab's exit code should say so.
    #[must_use]
    pub fn is_failure(&self, skipping_fails: bool) -> bool {
        match self.pass {
            Some(pass) => !pass,
            None => skipping_fails,
        }
    }

    /// A table for people.
    #[must_use]
    pub fn table(&self) -> String {
        let name = &self.scenario;
        let head = match (&self.pass, &self.skipped) {
            (Some(true), _) => format!("{name}: passed in {:.1} s", self.seconds),
            (Some(false), _) => format!("{name}: FAILED after {:.1} s", self.seconds),
            (None, why) => format!("{name}: skipped: {}", why.as_deref().unwrap_or_default()),
        };
        let mut text = head + "\n" + &table(&self.facts);
        if let Some(error) = &self.error {
            text += &format!("  wrong: {error}\n");
        }
        text
    }
}

/// Something that a scenario saw.
#[derive(Clone, Debug, PartialEq)]
pub struct Fact {
    /// Whom it is about; none where it is about all.
    pub group: Option<&'static str>,
    /// What it is.
    pub name: String,
    /// What was seen.
    pub value: Value,
}

/// What a scenario finds while it runs, and how far it is.
#[derive(Debug)]
pub struct Facts {
    values: Vec<Fact>,
    failures: Vec<String>,
    /// Group that facts belong to at the moment.
    group: Option<&'static str>,
    progress: ProgressBar,
}

impl Facts {
    fn new(scenario: &'static str) -> Self {
        let progress = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{spinner} {prefix}: {msg} {elapsed}") {
            progress.set_style(style);
        }
        if !std::io::stderr().is_terminal() {
            progress.set_draw_target(ProgressDrawTarget::hidden());
        }
        progress.set_prefix(scenario);
        progress.enable_steady_tick(Duration::from_millis(200));
        Self {
            values: Vec::new(),
            failures: Vec::new(),
            group: None,
            progress,
        }
    }

    /// What comes next, for who watches.
    pub fn step(&self, what: impl Into<String>) {
        let what = what.into();
        let what = self
            .group
            .map_or(what.clone(), |group| format!("{group}, {what}"));
        self.progress.set_message(what);
    }

    /// Facts from now on belong to `group`.
    pub fn group(&mut self, group: Option<&'static str>) {
        self.group = group;
    }

    /// Notes a fact.
    pub fn note(&mut self, name: &str, value: impl Serialize) {
        let value = serde_json::to_value(value).unwrap_or(Value::Null);
        self.values.push(Fact {
            group: self.group,
            name: name.to_owned(),
            value,
        });
    }

    /// Notes a fact that has to be as expected. Where it is not, the scenario goes on, and fails at
    /// its end with all that was wrong.
    pub fn expect<T: Serialize + PartialEq>(&mut self, name: &str, value: T, expected: &T) {
        if value != *expected {
            let text = |value: &T| serde_json::to_string(value).unwrap_or_default();
            let group = self
                .group
                .map(|group| format!("{group} "))
                .unwrap_or_default();
            self.failures.push(format!(
                "{group}{name} is {}, should be {}",
                text(&value),
                text(expected)
            ));
        }
        self.note(name, value);
    }
}

impl Drop for Facts {
    fn drop(&mut self) {
        self.progress.finish_and_clear();
    }
}

/// One row for each fact, one column for each group; facts about all below.
fn table(facts: &[Fact]) -> String {
    let mut groups: Vec<&str> = Vec::new();
    let mut names: Vec<&str> = Vec::new();
    for fact in facts {
        let Some(group) = fact.group else { continue };
        if !groups.contains(&group) {
            groups.push(group);
        }
        if !names.contains(&fact.name.as_str()) {
            names.push(&fact.name);
        }
    }
    let mut table = comfy_table::Table::new();
    table.load_preset(comfy_table::presets::NOTHING);
    if !groups.is_empty() {
        table.set_header(std::iter::once("").chain(groups.iter().copied()));
    }
    for name in names {
        let of = |group: &&str| {
            let mut facts = facts.iter();
            let fact = facts.find(|fact| fact.group == Some(*group) && fact.name == name);
            fact.map_or_else(String::new, |fact| words(&fact.value))
        };
        table.add_row(std::iter::once(title(name)).chain(groups.iter().map(of)));
    }
    for fact in facts.iter().filter(|fact| fact.group.is_none()) {
        table.add_row([title(&fact.name), words(&fact.value)]);
    }
    let lines = table.lines().map(|line| line.trim_end().to_owned() + "\n");
    if facts.is_empty() {
        String::new()
    } else {
        lines.collect()
    }
}

fn title(name: &str) -> String {
    format!(" {}", name.replace('-', " "))
}

fn words(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) if items.is_empty() => "none".to_owned(),
        Value::Array(items) => items.iter().map(words).collect::<Vec<_>>().join(", "),
        Value::Null => "-".to_owned(),
        Value::Bool(yes) => if *yes { "yes" } else { "no" }.to_owned(),
        Value::Object(facts) => {
            let facts = facts
                .iter()
                .map(|(name, value)| format!("{} {name}", words(value)));
            facts.collect::<Vec<_>>().join(", ")
        }
        Value::Number(_) => value.to_string(),
    }
}

/// The facts as one object, those of a group in one of their own, in the order they were seen.
fn nested<S: Serializer>(facts: &[Fact], serializer: S) -> Result<S::Ok, S::Error> {
    let mut groups: Vec<(&str, Facets<'_>)> = Vec::new();
    for fact in facts {
        let Some(group) = fact.group else {
            groups.push((&fact.name, Facets::One(&fact.value)));
            continue;
        };
        let known = groups.iter_mut().find(|(name, _)| *name == group);
        if let Some((_, Facets::Group(of_group))) = known {
            of_group.push((&fact.name, &fact.value));
        } else {
            groups.push((group, Facets::Group(vec![(&fact.name, &fact.value)])));
        }
    }
    serializer.collect_map(groups)
}

/// A fact about all, or those of a group.
enum Facets<'a> {
    One(&'a Value),
    Group(Vec<(&'a str, &'a Value)>),
}

impl Serialize for Facets<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::One(value) => value.serialize(serializer),
            Self::Group(facts) => serializer.collect_map(facts.iter().copied()),
        }
    }
}

fn seconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn outcome(run: fn(&mut Facts) -> Result<(), String>) -> Outcome {
        Scenario {
            name: "test",
            about: "",
            in_all: true,
            run,
        }
        .run()
    }

    #[test]
    fn an_outcome_is_one_json_object() {
        let mut outcome = outcome(|facts| {
            facts.note("rate", 1.5);
            facts.group(Some("full"));
            facts.expect("hops", vec!["a", "b"], &vec!["a", "b"]);
            Ok(())
        });
        outcome.seconds = 3.1;
        assert_eq!(
            serde_json::to_value(&outcome).unwrap(),
            json!({"scenario": "test", "pass": true, "seconds": 3.1,
                "facts": {"rate": 1.5, "full": {"hops": ["a", "b"]}}})
        );
        assert_eq!(
            outcome.table(),
            "test: passed in 3.1 s\n        full\n  hops  a, b\n  rate  1.5\n"
        );
    }

    #[test]
    fn every_failure_is_told_with_what_was_expected() {
        let outcome = outcome(|facts| {
            facts.group(Some("full"));
            facts.expect("lost", 2, &0);
            facts.expect("ttl", 63, &63);
            Err("no more".to_owned())
        });
        assert_eq!(outcome.pass, Some(false));
        assert_eq!(
            outcome.error.as_deref(),
            Some("full lost is 2, should be 0; no more")
        );
        assert!(outcome.is_failure(false));
    }

    #[test]
    fn a_skipped_scenario_fails_only_where_skipping_does() {
        let outcome = SCENARIOS[0].skip("needs root".to_owned());
        let json = serde_json::to_value(&outcome).unwrap();
        assert_eq!(json["pass"], Value::Null);
        assert_eq!(json["skipped"], "needs root");
        assert!(outcome.is_failure(true) && !outcome.is_failure(false));
        assert_eq!(outcome.table(), "basic: skipped: needs root\n");
    }

    #[test]
    fn scenarios_have_names_of_their_own() {
        for scenario in SCENARIOS {
            assert_eq!(
                Scenario::named(scenario.name).unwrap().about,
                scenario.about
            );
        }
        assert!(Scenario::named("none").is_none());
    }
}
