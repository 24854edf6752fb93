//! Packets that are too long: for the tunnel, and for a narrow access link behind it.

use serde_json::Value;

use super::agent::{Agent, Request};
use super::probe::{Answer, Below};
use super::running::{self, Settings, counted};
use super::scenario::Facts;
use super::subscriber::{INTERNET_PORT, down, first_contact, large_datagrams, serve, short, up};
use super::topology::{AFTR_IPV4, Home, INTERNET, MTU, Subscriber, TUNNEL, Topology, mac};

/// Largest packet on the narrow access link.
const NARROW: u16 = 1400;

/// Runs the scenario.
pub(super) fn run(facts: &mut Facts) -> Result<(), String> {
    for (knob, lowered) in [("static", 0), ("dynamic", 1)] {
        facts.group(Some(knob));
        facts.step("building");
        let report = with_pmtud(knob, facts)?;
        facts.group(Some(knob));
        let count = |name| counted(&report, "counters", name);
        facts.expect("path-mtu-lowered", count("path-mtu-lowered"), &lowered);
        facts.note("tunnel-errors-relayed", count("tunnel-errors-relayed"));
        facts.note("too-big", counted(&report, "drops", "too-big"));
        let df_clear = counted(&report, "drops", "icmpv6-too-big-df-clear");
        facts.note("icmpv6-too-big-df-clear", df_clear);
        if lowered == 0 {
            // Nobody who may be told is the source of a packet that may be fragmented.
            facts.expect("df-clear-counted", df_clear > 0, &true);
        }
        facts.group(None);
    }
    Ok(())
}

fn with_pmtud(knob: &'static str, facts: &mut Facts) -> Result<Value, String> {
    let [mut subscriber, _] = Subscriber::full_and_shared();
    subscriber.access_mtu = NARROW;
    let subscribers = [subscriber];
    let mut topology = Topology::build(&subscribers)?;
    let sections = format!(
        "[forwarding]\npmtud = \"{knob}\"\n\n\
         # Every packet is to be answered here.\n\
         [icmp]\nsource-rate = 1000\nsource-burst = 1000\n"
    );
    let settings = Settings {
        sections,
        ..Settings::default()
    };
    running::start(&mut topology, &subscribers, &settings)?;
    let Topology {
        internet,
        aftr,
        homes,
        ..
    } = &mut topology;
    let done = homes
        .iter_mut()
        .try_for_each(|home| too_long(internet, home, knob == "dynamic", facts));
    running::stop(aftr, done, facts)
}

fn too_long(
    internet: &mut Agent,
    home: &mut Home,
    dynamic: bool,
    facts: &mut Facts,
) -> Result<(), String> {
    let subscriber = home.subscriber;
    serve(internet, INTERNET, INTERNET_PORT)?;
    serve(&mut home.host, subscriber.ipv4, subscriber.port(9))?;
    first_contact(&mut up(home), facts)?;
    // Segments of 1500 bytes at first; the sender hears of the tunnel, then of the link behind it.
    facts.step("TCP");
    up(home).download(INTERNET_PORT, facts, "tcp-down")?;
    down(internet, &subscriber).download(subscriber.port(9), facts, "tcp-up")?;
    let learned: Option<u32> = internet.ask(&Request::PathMtu(subscriber.ipv4))?;
    facts.expect(
        "path-mtu-learned",
        learned,
        &Some(u32::from(NARROW - TUNNEL)),
    );
    facts.step("path MTU");
    let narrow = Some(short((3, 4, NARROW - TUNNEL, AFTR_IPV4)));
    let tunnel = Some(short((3, 4, MTU - TUNNEL, AFTR_IPV4)));
    let reply = Some(short((0, 0, 0, subscriber.ipv4)));
    let known = |if_static: &Option<String>, if_dynamic: &Option<String>| {
        if dynamic { if_dynamic } else { if_static }.clone()
    };
    let fits = MTU - TUNNEL;
    for (name, len, dont_fragment, expected) in [
        ("df-1360-draws", NARROW - TUNNEL, true, reply.clone()),
        ("df-1460-draws", fits, true, narrow.clone()),
        ("df-1500-draws", MTU, true, known(&tunnel, &narrow)),
        ("plain-1360-draws", NARROW - TUNNEL, false, reply.clone()),
        // RFC 7597 §8.3.1: a static tunnel MTU that is too large loses packets in silence.
        ("plain-1460-draws", fits, false, known(&None, &reply)),
        ("plain-1500-draws", MTU, false, known(&None, &reply)),
    ] {
        let answer = probe(internet, &subscriber, len, dont_fragment)?;
        facts.expect(name, answer, &expected);
    }
    large_datagrams(internet, home, facts)
}

/// What an echo request of `len` bytes from the Internet draws.
fn probe(
    internet: &mut Agent,
    subscriber: &Subscriber,
    len: u16,
    dont_fragment: bool,
) -> Result<Option<String>, String> {
    let answer = down(internet, subscriber).probe(|probe| {
        (probe.len, probe.dont_fragment) = (len, dont_fragment);
        probe.sequence = len + u16::from(dont_fragment);
        probe.below = Some(Below {
            interface: "up0".to_owned(),
            dst: mac(2).0,
            src: mac(1).0,
        });
    })?;
    Ok(answer.map(|answer: Answer| short((answer.kind, answer.code, answer.mtu, answer.from))))
}
