//! `lwaftr run` between kernel hosts, with a subscriber that has an address of its own and one that
//! shares his.

use super::running::{self, Settings};
use super::scenario::Facts;
use super::subscriber::{Expected, exercise};
use super::topology::{Subscriber, Topology};

/// Runs the scenario.
pub(super) fn run(facts: &mut Facts) -> Result<(), String> {
    with(&Settings::default(), facts)
}

/// The same with two workers: all fragments of a datagram have to reach one of them, whoever sends
/// them, and the answer to a solicitation has to reach the first.
pub(super) fn run_two_workers(facts: &mut Facts) -> Result<(), String> {
    let sections = "[run]\nworkers = 2\n".to_owned();
    let settings = Settings {
        sections,
        ..Settings::default()
    };
    with(&settings, facts)
}

fn with(settings: &Settings, facts: &mut Facts) -> Result<(), String> {
    let subscribers = Subscriber::full_and_shared();
    facts.step("building");
    let mut topology = Topology::build(&subscribers)?;
    running::start(&mut topology, &subscribers, settings)?;
    let Topology {
        internet,
        aftr,
        homes,
        ..
    } = &mut topology;
    let mut homes = homes.iter_mut();
    let done = homes.try_for_each(|home| exercise(internet, home, Expected::Aftr, facts));
    let report = running::stop(aftr, done, facts)?;
    let closed = report.get("accounts").and_then(|books| books.get("closed"));
    facts.expect("lwaftr-books-closed", closed, &Some(&true.into()));
    Ok(())
}
