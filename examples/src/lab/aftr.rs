//! `lwaftr run` between kernel hosts, with a subscriber that has an address of its own and one that
//! shares his.

use std::net::Ipv4Addr;

use lw4o6_binding::formats::json::{Instance, Layout, export};
use lw4o6_binding::{Binding, Expiry, Origin};
use lw4o6_wire::PortParams;
use serde_json::Value;

use super::agent::Request;
use super::scenario::Facts;
use super::subscriber::{Expected, exercise};
use super::topology::{AFTR, AFTR_IPV4, AFTR_IPV6, INTERNET, MTU, ROUTER, Subscriber, Topology};
use crate::config::clock;

/// What the tunnel adds to a packet.
const TUNNEL: u16 = 40;

/// Runs the scenario.
pub(super) fn run(facts: &mut Facts) -> Result<(), String> {
    let subscribers = subscribers()?;
    facts.step("building");
    let mut topology = Topology::build(&subscribers)?;
    let softwires = softwires(&subscribers)?;
    topology.aftr.tell(&Request::Lwaftr {
        config: config(),
        softwires,
    })?;
    let Topology {
        internet,
        aftr,
        homes,
        ..
    } = &mut topology;
    let mut homes = homes.iter_mut();
    let done = homes.try_for_each(|home| exercise(internet, home, Expected::Aftr, facts));
    facts.group(None);
    if let Some(why) = aftr.complaint() {
        // It has ended, and that is why nothing gets through.
        return Err(why);
    }
    facts.step("stopping");
    let (report, code): (Value, _) = aftr.terminate()?;
    facts.expect("lwaftr-exit-code", code, &Some(0));
    for name in ["internet", "softwire", "drops"] {
        facts.note(&format!("lwaftr-{name}"), report.get(name));
    }
    for (name, counters) in report
        .get("interfaces")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        for what in ["checksums-completed", "too-long", "kernel-drops"] {
            facts.note(&format!("lwaftr-{name}-{what}"), counters.get(what));
        }
    }
    let nothing = Value::Array(Vec::new());
    facts.expect(
        "lwaftr-unresolved",
        report.get("unresolved"),
        &Some(&nothing),
    );
    if done.is_err() {
        facts.note("lwaftr-report", &report);
    }
    done
}

/// One with a whole address and a home whose packets are too long for the tunnel, and one with the
/// sixth of 64 port sets and a home that knows about the tunnel.
fn subscribers() -> Result<[Subscriber; 2], String> {
    let shared = PortParams::new(0, 6, 5).map_err(|error| error.to_string())?;
    Ok([
        Subscriber {
            name: "full",
            number: 1,
            ipv4: Ipv4Addr::new(192, 0, 2, 1),
            ports: PortParams::FULL,
            home_mtu: MTU,
        },
        Subscriber {
            name: "shared",
            number: 2,
            ipv4: Ipv4Addr::new(192, 0, 2, 2),
            ports: shared,
            home_mtu: MTU - TUNNEL,
        },
    ])
}

fn config() -> String {
    format!(
        "[instance]\nsoftwires = \"SOFTWIRES\"\n\n\
         [internet]\ninterface = \"up0\"\naddress = \"{AFTR_IPV4}\"\nnext-hop = \"{INTERNET}\"\n\
         mtu = {MTU}\n\n\
         [softwire]\ninterface = \"down0\"\naddress = \"{AFTR_IPV6}/64\"\nnext-hop = \"{ROUTER}\"\n"
    )
}

fn softwires(subscribers: &[Subscriber]) -> Result<String, String> {
    let mut instance = Instance::new("lab".to_owned(), 16, MTU - TUNNEL, MTU + TUNNEL);
    for subscriber in subscribers {
        let binding = Binding {
            b4: subscriber.b4(),
            prefix_len: 128,
            ipv4: subscriber.ipv4,
            ports: subscriber.ports,
            aftr: AFTR,
            origin: Origin::Static,
            expires: Expiry::Never,
        };
        instance.bindings.push(binding.into());
    }
    let mut text = Vec::new();
    export(&mut text, &[instance], clock(), Layout::Pretty).map_err(|error| error.to_string())?;
    String::from_utf8(text).map_err(|error| error.to_string())
}
