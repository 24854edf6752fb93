//! Scenarios: what they do, what they found, how that is told.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::basic;
use crate::stopwatch::Stopwatch;

/// A scenario of the lab.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it shows, in a line.
    pub about: &'static str,
    run: fn(&mut Facts) -> Result<(), String>,
}

/// All scenarios, in the order in which `all` runs them.
pub const SCENARIOS: &[Scenario] = &[Scenario {
    name: "basic",
    about: "the lab alone: kernel hosts over a tunnel between two endpoints of the lab",
    run: basic::run,
}];

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
    pub facts: Map<String, Value>,
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
        let mut table = comfy_table::Table::new();
        table.load_preset(comfy_table::presets::NOTHING);
        rows(&mut table, "", &self.facts);
        let mut text = head + "\n";
        if !self.facts.is_empty() {
            text += &format!("{table}\n");
        }
        if let Some(error) = &self.error {
            text += &format!("  wrong: {error}\n");
        }
        text
    }
}

/// What a scenario finds while it runs, and how far it is.
#[derive(Debug)]
pub struct Facts {
    values: Map<String, Value>,
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
            values: Map::new(),
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
        match self.group {
            None => self.values.insert(name.to_owned(), value),
            Some(group) => {
                let group = self.values.entry(group).or_insert_with(|| json!({}));
                group
                    .as_object_mut()
                    .and_then(|group| group.insert(name.to_owned(), value))
            }
        };
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

fn rows(table: &mut comfy_table::Table, prefix: &str, facts: &Map<String, Value>) {
    for (name, value) in facts {
        let name = if prefix.is_empty() {
            name.clone()
        } else {
            format!("{prefix} {name}")
        };
        if let Value::Object(group) = value {
            rows(table, &name, group);
        } else {
            table.add_row([format!("  {name}"), words(value)]);
        }
    }
}

fn words(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(words).collect::<Vec<_>>().join(", "),
        Value::Null => "-".to_owned(),
        Value::Bool(_) | Value::Number(_) | Value::Object(_) => value.to_string(),
    }
}

fn seconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(run: fn(&mut Facts) -> Result<(), String>) -> Outcome {
        Scenario {
            name: "test",
            about: "",
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
            "test: passed in 3.1 s\n   full hops  a, b \n   rate       1.5  \n"
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
