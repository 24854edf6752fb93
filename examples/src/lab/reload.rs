//! The configuration is read again while packets pass.

use std::path::Path;
use std::time::Duration;

use lw4o6_wire::PortParams;
use nix::sys::signal::Signal;
use serde_json::Value;

use super::agent::{Agent, CONFIG, SOFTWIRES};
use super::flow::FlowSeen;
use super::management::Management;
use super::numbered::{Kind, Numbered};
use super::running::{self, Settings, config, softwires};
use super::scenario::Facts;
use super::subscriber::{INTERNET_PORT, first_contact, serve, up};
use super::topology::{Home, INTERNET, Subscriber, Topology};
use crate::stopwatch::{Stopwatch, wait};

/// How long a reload may take.
const PATIENCE: Duration = Duration::from_secs(15);

/// Pause before each reload and after the last.
const PAUSE: Duration = Duration::from_millis(600);

/// Flows that lose nothing.
const KINDS: [Kind; 1] = [(400, &[64, 700, 1200])];

/// Runs the scenario.
pub(super) fn run(facts: &mut Facts) -> Result<(), String> {
    let subscribers = Subscriber::full_and_shared();
    facts.step("building");
    let mut topology = Topology::build(&subscribers)?;
    running::start(&mut topology, &subscribers, &settings(10))?;
    let Topology {
        internet,
        aftr,
        homes,
        ..
    } = &mut topology;
    let done = reloads(internet, homes, aftr, facts);
    let report = running::stop(aftr, done, facts)?;
    facts.expect("books-closed", running::closed(&report), &true);
    Ok(())
}

/// A configuration with this knob.
pub(super) fn settings(source_rate: u32) -> Settings {
    Settings {
        sections: format!(
            "[icmp]\nsource-rate = {source_rate}\n\n\
             # Lost fragments must not keep others out for a minute.\n\
             [reassembly]\ntimeout = 2\nbytes-per-b4 = 524288\n\n{}",
            running::MANAGEMENT
        ),
        ..Settings::default()
    }
}

fn reloads(
    internet: &mut Agent,
    homes: &mut [Home],
    aftr: &Agent,
    facts: &mut Facts,
) -> Result<(), String> {
    let mut management = running::management(aftr)?;
    serve(internet, INTERNET, INTERNET_PORT)?;
    for home in &mut *homes {
        first_contact(&mut up(home), facts)?;
    }
    let subscribers: Vec<Subscriber> = homes.iter().map(|home| home.subscriber).collect();
    let flows = Numbered::start(internet, homes, &KINDS)?;
    let mut version = 0;
    for number in 1..=3u8 {
        wait(PAUSE);
        facts.step(format!("reload {number}"));
        rewrite(aftr, &subscribers, number)?;
        let status = if number == 2 {
            let diff = management.ask("POST", "/reload?diff=true", b"")?;
            let differences = diff.get("differences").and_then(Value::as_object);
            for (what, which) in differences.into_iter().flatten() {
                let count = which.as_array().map(Vec::len);
                facts.note(
                    &format!("diff-{what}"),
                    count.map_or(which.clone(), Value::from),
                );
            }
            let _ = management.ask("POST", "/reload", b"")?;
            until_reloaded(&mut management, number)?
        } else {
            aftr.signal(Signal::SIGHUP)?;
            until_reloaded(&mut management, number)?
        };
        let table = status.get("table");
        let count = |name: &str| table.and_then(|table| table.get(name)?.as_u64());
        let name = |what: &str| format!("reload-{number}-{what}");
        let expected = subscribers.len() + others(number).len();
        facts.expect(
            &name("softwires"),
            count("softwires"),
            &u64::try_from(expected).ok(),
        );
        let now = count("version").unwrap_or(0);
        facts.expect(&name("version-grows"), now > version, &true);
        facts.note(&name("generation"), count("generation"));
        version = now;
    }
    wait(PAUSE);
    facts.step("counting");
    let all = flows.stop(internet, homes, facts)?;
    nothing_lost(&all, facts);
    Ok(())
}

/// Every numbered datagram came, once, in order.
fn nothing_lost(all: &[(u64, FlowSeen)], facts: &mut Facts) {
    let sum = |of: fn(&(u64, FlowSeen)) -> u64| all.iter().map(of).sum::<u64>();
    facts.note("datagrams", sum(|(sent, _)| *sent));
    let sent = all.iter().all(|(sent, _)| *sent > 100);
    facts.expect("every-flow-was-sent", sent, &true);
    let lost = sum(|(sent, seen)| sent.saturating_sub(seen.received));
    facts.expect("lost", lost, &0);
    facts.expect("twice", sum(|(_, seen)| seen.duplicates), &0);
    facts.expect("late", sum(|(_, seen)| seen.reordered), &0);
    facts.expect("wrong", sum(|(_, seen)| seen.wrong), &0);
}

/// Writes both files anew: the softwires of the subscribers, and others that depend on `number`.
pub(super) fn rewrite(aftr: &Agent, subscribers: &[Subscriber], number: u8) -> Result<(), String> {
    let all = [subscribers, &others(number)].concat();
    replace(&aftr.file(SOFTWIRES), &softwires(&all)?)?;
    let settings = settings(10 + u32::from(number));
    replace(&aftr.file(CONFIG), &config(&settings))
}

/// Softwires without homes: some on the shared address, some elsewhere.
fn others(number: u8) -> Vec<Subscriber> {
    let [_, shared] = Subscriber::full_and_shared();
    let other = |index: u8| {
        let psid = u16::from(10 + index % 16 + number);
        Subscriber {
            name: "other",
            number: 100 + index,
            ipv4: if index < 16 {
                shared.ipv4
            } else {
                std::net::Ipv4Addr::new(192, 0, 2, 50 + index)
            },
            ports: PortParams::new(0, 6, psid).unwrap_or(shared.ports),
            ..shared
        }
    };
    (0..16 + 16 * number).map(other).collect()
}

fn replace(path: &Path, text: &str) -> Result<(), String> {
    let wrong = |error: std::io::Error| format!("{}: {error}", path.display());
    let new = path.with_extension("new");
    std::fs::write(&new, text).map_err(wrong)?;
    std::fs::rename(&new, path).map_err(wrong)
}

/// Waits for the end of reload `number`; the status then.
pub(super) fn until_reloaded(management: &mut Management, number: u8) -> Result<Value, String> {
    let watch = Stopwatch::start();
    while watch.elapsed() < PATIENCE {
        let status = management.ask("GET", "/status", b"")?;
        if status.get("reloads").and_then(Value::as_u64) >= Some(number.into()) {
            return Ok(status);
        }
        wait(Duration::from_millis(20));
    }
    Err(format!("reload {number} does not end"))
}
