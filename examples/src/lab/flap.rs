//! Both interfaces of a running lwaftr go away and come back.

use super::agent::{Agent, Request};
use super::running::{self, Settings, counted};
use super::scenario::Facts;
use super::subscriber::{INTERNET_PORT, down, first_contact, serve, up};
use super::topology::{Home, INTERNET, Subscriber, Topology};

/// Runs the scenario.
pub(super) fn run(facts: &mut Facts) -> Result<(), String> {
    let subscribers = Subscriber::full_and_shared();
    facts.step("building");
    let mut topology = Topology::build(&subscribers)?;
    let mut kernel = Agent::start_beside("aftr-kernel", &topology.aftr)?;
    running::start(&mut topology, &subscribers, &Settings::default())?;
    let done = flaps(&mut topology, &mut kernel, facts);
    let report = running::stop(&mut topology.aftr, done, facts)?;
    let interfaces = report.get("interfaces").cloned().unwrap_or_default();
    for name in ["up0", "down0"] {
        let losses = counted(&interfaces, name, "link-losses");
        facts.expect(&format!("{name}-link-losses"), losses, &1);
    }
    Ok(())
}

fn flaps(topology: &mut Topology, kernel: &mut Agent, facts: &mut Facts) -> Result<(), String> {
    serve(&mut topology.internet, INTERNET, INTERNET_PORT)?;
    for home in &mut topology.homes {
        let subscriber = home.subscriber;
        serve(&mut home.host, subscriber.ipv4, subscriber.port(9))?;
    }
    works(&mut topology.internet, &mut topology.homes, facts, "before")?;
    facts.step("softwire side away");
    topology
        .access
        .ask::<()>(&Request::Unlink("up0".to_owned()))?;
    lost(&mut topology.homes, facts, "softwire-side-away")?;
    topology.rewire_access()?;
    kernel_up(kernel, "down0")?;
    topology.set_up_access()?;
    works(
        &mut topology.internet,
        &mut topology.homes,
        facts,
        "softwire-side-back",
    )?;
    facts.step("Internet side away");
    topology
        .internet
        .ask::<()>(&Request::Unlink("up0".to_owned()))?;
    lost(&mut topology.homes, facts, "internet-side-away")?;
    topology.wire_internet()?;
    kernel_up(kernel, "up0")?;
    topology.set_up_internet()?;
    works(
        &mut topology.internet,
        &mut topology.homes,
        facts,
        "internet-side-back",
    )
}

fn kernel_up(kernel: &mut Agent, interface: &str) -> Result<(), String> {
    super::topology::bare(kernel, &[interface])
}

/// Everybody reaches the Internet, and is reached.
fn works(
    internet: &mut Agent,
    homes: &mut [Home],
    facts: &mut Facts,
    name: &str,
) -> Result<(), String> {
    for home in homes {
        let subscriber = home.subscriber;
        facts.group(Some(subscriber.name));
        first_contact(&mut up(home), facts)?;
        let name = |way: &str| format!("{name}-{way}-udp-8k-intact");
        up(home).exchange(subscriber.port(20), INTERNET_PORT, facts, &name("up"))?;
        down(internet, &subscriber).exchange(0, subscriber.port(9), facts, &name("down"))?;
        facts.group(None);
    }
    Ok(())
}

/// Nobody does.
fn lost(homes: &mut [Home], facts: &mut Facts, name: &str) -> Result<(), String> {
    for home in homes {
        let answer = up(home).probe(|probe| (probe.sequence, probe.patience) = (400, 300));
        facts.group(Some(home.subscriber.name));
        // The kernel may know that there is no way, which is as good.
        let silent = answer.map_or(true, |answer| answer.is_none_or(|one| !one.is_reply()));
        facts.expect(&format!("{name}-no-reply"), silent, &true);
        facts.group(None);
    }
    Ok(())
}
