//! Two subscribers talk to each other through the lwAFTR; the Internet hears nothing of it.

use super::agent::{Agent, Request};
use super::raw::{Hex, Seen, Watch};
use super::running::{self, Settings, counted};
use super::scenario::Facts;
use super::subscriber::{AFTR_IN_TUNNEL, INTERNET_PORT, Pair, first_contact, serve, short, up};
use super::topology::{Home, INTERNET, MTU, Subscriber, TUNNEL, Topology};

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
    let done = between(internet, homes, facts);
    let report = running::stop(aftr, done, facts)?;
    let hairpinned = counted(&report, "counters", "hairpin-ipv4-packets");
    facts.note("hairpin-ipv4-packets", hairpinned);
    facts.expect("hairpin-ipv4-packets-counted", hairpinned > 28_000, &true);
    Ok(())
}

fn between(internet: &mut Agent, homes: &mut [Home], facts: &mut Facts) -> Result<(), String> {
    let [full, shared] = homes else {
        return Err("the topology lacks a home".to_owned());
    };
    serve(internet, INTERNET, INTERNET_PORT)?;
    first_contact(&mut up(full), facts)?;
    internet.ask::<()>(&Request::Watch(Watch {
        interface: "up0".to_owned(),
        marker: Hex::default(),
    }))?;
    // The identifier has to be the other's as well: it is what his address is shared by.
    let ident = shared.subscriber.port(1);
    let [a, b] = [full.subscriber, shared.subscriber];
    serve(&mut full.host, a.ipv4, a.port(9))?;
    serve(&mut shared.host, b.ipv4, b.port(9))?;
    for (home, own, other) in [(full, a, b), (shared, b, a)] {
        facts.group(Some(own.name));
        let mut pair = Pair {
            asks: &mut home.host,
            from: own.ipv4,
            to: other.ipv4,
            ident,
        };
        one_way(&mut pair, &own, &other, facts)?;
    }
    facts.group(None);
    let seen: Seen = internet.ask(&Request::Seen("up0".to_owned()))?;
    facts.expect("ipv4-packets-on-the-internet-side", seen.ipv4, &0);
    Ok(())
}

/// Everything that `own` does to `other`.
fn one_way(
    pair: &mut Pair<'_>,
    own: &Subscriber,
    other: &Subscriber,
    facts: &mut Facts,
) -> Result<(), String> {
    facts.step("ping");
    let (median, lost, ttl) = pair.ping()?;
    facts.note("ping-median-ms", median);
    facts.expect("ping-lost", lost, &0);
    facts.expect("ping-reply-ttl", ttl, &Some(63));
    facts.step("traceroute");
    let hops = [AFTR_IN_TUNNEL, other.ipv4].map(|hop| hop.to_string());
    facts.expect("traceroute", pair.trace()?, &hops.to_vec());
    facts.step("8 kB datagrams");
    pair.exchange(own.port(20), other.port(9), facts, "udp-8k-intact")?;
    if own.home_mtu == MTU {
        facts.step("path MTU");
        let answer = pair.probe(|probe| {
            (probe.len, probe.dont_fragment, probe.sequence) = (MTU, true, 300);
        })?;
        let said = answer.map(|answer| (answer.kind, answer.code, answer.mtu, answer.from));
        let expected = short((3, 4, MTU - TUNNEL, AFTR_IN_TUNNEL));
        facts.expect("df-1500-draws", said.map(short), &Some(expected));
    }
    facts.step("TCP");
    pair.download(other.port(9), facts, "tcp")?;
    Ok(())
}
