//! Answers as text for people.

use std::fmt::Write as _;
use std::time::Duration;

use comfy_table::{CellAlignment, Table, presets};
use serde_json::Value;

use super::cli::What;

/// An earlier answer, and how long ago it was.
type Before<'a> = Option<(&'a Value, Duration)>;

/// The answer about `what`, with rates where there is an earlier one.
pub(super) fn text(what: What, value: &Value, before: Before<'_>) -> String {
    match what {
        What::Status => status(value),
        What::Softwires => softwires(value),
        What::Counters => {
            let before = before.and_then(|(before, ago)| Some((before.get("counters")?, ago)));
            let counters = value.get("counters").unwrap_or(&Value::Null);
            counted(counters, before, "counter", "nothing counted")
        }
        What::Drops => counted(value, before, "reason", "nothing dropped"),
        What::Interfaces => interfaces(value, before),
        What::Workers => workers(value, before),
        What::NextHops => next_hops(value),
        What::Config => config(value),
        What::Knobs => config(value),
        What::Alarms => alarms(value),
    }
}

/// A number with separators, 1,234,567.
pub(super) fn number(value: Option<&Value>) -> String {
    match value {
        Some(Value::Number(number)) => match number.as_u64() {
            Some(number) => grouped(number),
            None => number.to_string(),
        },
        _ => String::from("-"),
    }
}

/// `count` with a comma after each three digits.
pub(super) fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut out = String::new();
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// How the table stands, in a line.
pub(super) fn table_line(table: Option<&Value>) -> String {
    let part = |name: &str| number(table.and_then(|table| table.get(name)));
    format!(
        "{} softwires, version {}, generation {}",
        part("softwires"),
        part("version"),
        part("generation")
    )
}

/// A knob's value as it was typed: JSON, or text without quotes.
pub(super) fn knob_value(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()))
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    if !header.is_empty() {
        table.set_header(header);
    }
    table
}

/// Numbers stand right-aligned.
fn right(table: &mut Table, columns: impl IntoIterator<Item = usize>) {
    for column in columns {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
}

fn word(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::from("-"),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Bool(yes)) => if *yes { "yes" } else { "no" }.to_owned(),
        Some(number @ Value::Number(_)) => self::number(Some(number)),
        Some(Value::Array(all)) => {
            let words: Vec<_> = all.iter().map(|one| word(Some(one))).collect();
            words.join(", ")
        }
        Some(object @ Value::Object(_)) => object.to_string(),
    }
}

/// A change per second.
fn rate(now: u64, before: Option<u64>, ago: Duration) -> String {
    let Some(before) = before else {
        return String::from("-");
    };
    let more = u128::from(now.saturating_sub(before)) * 1_000_000;
    let rate = more.checked_div(ago.as_micros()).unwrap_or_default();
    grouped(u64::try_from(rate).unwrap_or(u64::MAX))
}

fn status(value: &Value) -> String {
    let part = |name: &str| word(value.get(name));
    let healthy = value.get("healthy") == Some(&Value::Bool(true));
    let health = if healthy { "healthy" } else { "NOT HEALTHY" };
    let uptime = value.get("uptime-seconds").and_then(Value::as_u64);
    let uptime = indicatif::HumanDuration(Duration::from_secs(uptime.unwrap_or_default()));
    let workers = value.get("workers").unwrap_or(&Value::Null);
    let worker = |name: &str| word(workers.get(name));
    let mut out = table(&[]);
    let mut row = |name: &str, text: String| {
        out.add_row([name.to_owned(), text]);
    };
    row("lwaftr", format!("{}, {health}", part("program")));
    row("instance", part("instance"));
    row(
        "configuration",
        format!("{}, {} reloads", part("config"), part("reloads")),
    );
    row("running", format!("{uptime}, since {}", part("started")));
    for (name, text) in table_rows(value.get("table").unwrap_or(&Value::Null)) {
        row(name, text);
    }
    row(
        "workers",
        format!("{} of {} at work", worker("alive"), worker("number")),
    );
    row("dropped", format!("{} packets", part("dropped")));
    row("store", part("store"));
    row("log", part("log"));
    let mut out = format!("{out}\n");
    let alarmed = value.get("alarms").and_then(Value::as_array);
    if let Some(alarmed) = alarmed.filter(|alarmed| !alarmed.is_empty()) {
        out.push_str(&alarms(&Value::Array(alarmed.clone())));
    }
    out
}

/// The binding table in a few lines.
fn table_rows(value: &Value) -> Vec<(&'static str, String)> {
    let part = |name: &str| word(value.get(name));
    let bytes = |name: &str| {
        let bytes = value.get(name).and_then(Value::as_u64);
        indicatif::HumanBytes(bytes.unwrap_or_default()).to_string()
    };
    let mut rows = vec![(
        "softwires",
        format!(
            "{} of at most {}, {} in quarantine",
            part("softwires"),
            part("softwires-max"),
            part("quarantined")
        ),
    )];
    if let Some(Value::Object(origins)) = value.get("origins") {
        let origins = origins.iter();
        let origins = origins.map(|(name, count)| format!("{} {name}", word(Some(count))));
        rows.push(("made by", origins.collect::<Vec<_>>().join(", ")));
    }
    rows.push((
        "table",
        format!(
            "version {}, generation {}, changed {}",
            part("version"),
            part("generation"),
            part("changed")
        ),
    ));
    rows.push((
        "memory",
        format!("{}, {} set aside", bytes("bytes"), bytes("bytes-reserved")),
    ));
    rows
}

fn alarms(value: &Value) -> String {
    let all = value.as_array().map(Vec::as_slice).unwrap_or_default();
    if all.is_empty() {
        return String::from("no alarms\n");
    }
    let mut out = String::new();
    for alarm in all {
        let name = word(alarm.get("name"));
        let space = if name.is_empty() { "" } else { " " };
        let (kind, message) = (word(alarm.get("kind")), word(alarm.get("message")));
        let _ = writeln!(out, "ALARM {kind}{space}{name}: {message}");
    }
    out
}

/// A line for each softwire.
fn softwires(value: &Value) -> String {
    let all = value.get("softwires").and_then(Value::as_array);
    let all = all.map(Vec::as_slice).unwrap_or_default();
    let counted = all.iter().any(|one| one.get("traffic").is_some());
    let traffic = [
        ("packets up", "upstream-packets"),
        ("bytes up", "upstream-bytes"),
        ("packets down", "downstream-packets"),
        ("bytes down", "downstream-bytes"),
    ];
    let traffic = if counted { &traffic[..] } else { &[] };
    let plain = ["softwire", "ports", "B4", "AFTR", "origin", "expires"];
    let titles = traffic.iter().map(|(title, _)| *title);
    let mut out = table(&plain.into_iter().chain(titles).collect::<Vec<_>>());
    for one in all {
        let names = ["key", "ports", "b4", "aftr", "origin", "expires"];
        let mut row: Vec<String> = names.iter().map(|name| word(one.get(name))).collect();
        let counts = traffic.iter().map(|(_, name)| {
            let traffic = one.get("traffic");
            number(traffic.and_then(|traffic| traffic.get(name)))
        });
        row.extend(counts);
        out.add_row(row);
    }
    right(&mut out, plain.len()..plain.len() + traffic.len());
    let mut out = if all.is_empty() {
        String::new()
    } else {
        format!("{out}\n")
    };
    if let Some(next) = value.get("next").and_then(Value::as_str) {
        let _ = writeln!(out, "more: --after {next}");
    }
    let _ = writeln!(out, "{}", table_line(value.get("table")));
    out
}

/// Counters that are not 0, and how fast they grow.
fn counted(value: &Value, before: Before<'_>, title: &str, nothing: &str) -> String {
    let mut out = table(&[title, "count", "per second"]);
    let mut rows = 0;
    for (name, count) in value.as_object().into_iter().flatten() {
        let count = count.as_u64().unwrap_or_default();
        if count == 0 {
            continue;
        }
        let rate = match before {
            None => String::new(),
            Some((before, ago)) => rate(count, before.get(name).and_then(Value::as_u64), ago),
        };
        out.add_row([name.clone(), grouped(count), rate]);
        rows += 1;
    }
    if rows == 0 {
        return format!("{nothing}\n");
    }
    right(&mut out, [1, 2]);
    if before.is_none() {
        // Without an earlier answer the column would be empty.
        if let Some(column) = out.column_mut(2) {
            column.set_constraint(comfy_table::ColumnConstraint::Hidden);
        }
    }
    format!("{out}\n")
}

/// Each one's name and state, then its counters.
fn interfaces(value: &Value, before: Before<'_>) -> String {
    let mut out = String::new();
    for (n, one) in value.as_array().into_iter().flatten().enumerate() {
        let up = if one.get("up") == Some(&Value::Bool(true)) {
            "up"
        } else {
            "DOWN"
        };
        let (name, sides) = (word(one.get("name")), word(one.get("sides")));
        let _ = writeln!(out, "{name} ({sides}): {up}");
        out.push_str(&part_counted(one, n, before, "frames"));
    }
    out
}

fn workers(value: &Value, before: Before<'_>) -> String {
    let mut out = String::new();
    for (n, one) in value.as_array().into_iter().flatten().enumerate() {
        let alive = if one.get("alive") == Some(&Value::Bool(true)) {
            "at work"
        } else {
            "GONE"
        };
        let _ = writeln!(out, "worker {}: {alive}", word(one.get("number")));
        out.push_str(&part_counted(one, n, before, "counter"));
    }
    out
}

/// The counters of the `n`-th of a list.
fn part_counted(one: &Value, n: usize, before: Before<'_>, title: &str) -> String {
    let counters = one.get("counters").unwrap_or(&Value::Null);
    let before = before.and_then(|(before, ago)| Some((before.get(n)?.get("counters")?, ago)));
    let text = counted(counters, before, title, "nothing counted");
    text.lines().map(|line| format!("  {line}\n")).collect()
}

fn next_hops(value: &Value) -> String {
    let mut out = table(&["side", "next hop", "Ethernet address", ""]);
    for hop in value.as_array().into_iter().flatten() {
        let state = match (hop.get("alarm"), hop.get("mac")) {
            (Some(Value::Bool(true)), _) => "DOES NOT ANSWER",
            (_, None | Some(Value::Null)) => "asked for",
            (_, Some(_)) => "resolved",
        };
        let part = |name| word(hop.get(name));
        out.add_row([
            part("side"),
            part("configured"),
            part("mac"),
            state.to_owned(),
        ]);
    }
    format!("{out}\n")
}

/// `name = value` for all that is there.
fn config(value: &Value) -> String {
    let mut out = String::new();
    flatten("", value, &mut out);
    out
}

fn flatten(name: &str, value: &Value, out: &mut String) {
    let Some(all) = value.as_object() else {
        let _ = writeln!(out, "{name} = {value}");
        return;
    };
    for (key, value) in all {
        let dot = if name.is_empty() { "" } else { "." };
        flatten(&format!("{name}{dot}{key}"), value, out);
    }
}

/// What a reload did, or would do.
pub(super) fn reload(value: &Value, only_asked: bool) -> String {
    let differences = value.get("differences").cloned().unwrap_or_default();
    let mut out = match serde_json::from_value::<crate::check::Differences>(differences) {
        Ok(differences) => differences.list(),
        Err(error) => format!("{error}\n"),
    };
    let restart = value.get("needs-restart").and_then(Value::as_array);
    for line in restart.into_iter().flatten() {
        let _ = writeln!(out, "needs a restart: {}", word(Some(line)));
    }
    if !only_asked {
        let _ = writeln!(out, "in force; {}", table_line(value.get("table")));
    }
    out
}

/// Who had what.
pub(super) fn found(value: &Value) -> String {
    let all = value.get("found").and_then(Value::as_array);
    let all = all.map(Vec::as_slice).unwrap_or_default();
    if all.is_empty() {
        let (at, from) = (word(value.get("at")), word(value.get("known-from")));
        return format!("nobody at {at}; what was before {from} is not known here\n");
    }
    let mut out = table(&[
        "softwire",
        "ports",
        "B4",
        "subscriber",
        "origin",
        "from",
        "to",
    ]);
    for one in all {
        let part = |name: &str| word(one.get("softwire").and_then(|softwire| softwire.get(name)));
        out.add_row([
            part("key"),
            part("ports"),
            part("b4"),
            word(one.get("subscriber")),
            part("origin"),
            part("from"),
            part("to"),
        ]);
    }
    let mut out = format!("{out}\n");
    if value.get("incomplete") == Some(&Value::Bool(true)) {
        out.push_str("warning: the log misses changes around that time\n");
    }
    if value.get("truncated") == Some(&Value::Bool(true)) {
        out.push_str("and more\n");
    }
    out
}

/// A change of the table.
pub(super) fn event(value: &Value) -> String {
    let mut out = format!("{} {}", word(value.get("time")), word(value.get("event")));
    match value.get("softwire") {
        Some(softwire @ Value::Object(_)) => {
            for name in ["key", "b4", "aftr", "origin", "expires"] {
                if let Some(value) = softwire.get(name) {
                    let _ = match name {
                        "key" => write!(out, " {}", word(Some(value))),
                        name => write!(out, " {name} {}", word(Some(value))),
                    };
                }
            }
        }
        _ => {
            for name in ["softwires", "first", "last", "changes"] {
                if let Some(value) = value.get(name) {
                    let _ = write!(out, " {name} {}", word(Some(value)));
                }
            }
        }
    }
    if let Some(was) = value.get("was").and_then(|was| was.get("b4")) {
        let _ = write!(out, ", was b4 {}", word(Some(was)));
    }
    if let Some(version) = value.get("version") {
        let _ = write!(out, ", version {}", word(Some(version)));
    }
    out
}

/// A packet that was traced.
pub(super) fn packet(value: &Value) -> String {
    if let Some(Value::String(text)) = value.get("text") {
        return text.clone();
    }
    let Some(all) = value.as_object() else {
        return word(Some(value));
    };
    let parts = all.iter().map(|(name, value)| match value {
        Value::Object(_) | Value::Array(_) => format!("{name}={value}"),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            format!("{name}={}", word(Some(value)))
        }
    });
    parts.collect::<Vec<_>>().join(" ")
}
