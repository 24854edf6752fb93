//! `lwaftr run` between kernel hosts, with a subscriber that has an address of its own and one that
//! shares his.

use super::running::{self, Settings};
use super::scenario::Facts;
use super::subscriber::{Expected, exercise};
use super::topology::{Subscriber, Topology};

/// Runs the scenario.
pub(super) fn run(facts: &mut Facts) -> Result<(), String> {
    let subscribers = Subscriber::full_and_shared();
    facts.step("building");
    let mut topology = Topology::build(&subscribers)?;
    running::start(&mut topology, &subscribers, &Settings::default())?;
    let Topology {
        internet,
        aftr,
        homes,
        ..
    } = &mut topology;
    let mut homes = homes.iter_mut();
    let done = homes.try_for_each(|home| exercise(internet, home, Expected::Aftr, facts));
    running::stop(aftr, done, facts).map(drop)
}
