//! The lab without lwaftr: what its own parts do, and how much they carry.

use std::net::IpAddr;

use lw4o6_wire::ethernet::MacAddr;

use super::agent::Request;
use super::endpoint::EndpointConfig;
use super::host::{Interface, Setup};
use super::scenario::Facts;
use super::subscriber::{Expected, exercise};
use super::topology::{AFTR, AFTR_IPV4, AFTR_IPV6, MTU, Subscriber, Topology, mac};

/// Builds the topology with a second softwire endpoint in place of lwaftr.
pub(super) fn run(facts: &mut Facts) -> Result<(), String> {
    let [subscriber, _] = Subscriber::full_and_shared();
    facts.step("building");
    let mut topology = Topology::build(&[subscriber])?;
    let [internet, router] = Topology::neighbors_of_middle();
    // Nobody answers for the addresses of an endpoint.
    let [up, down] = [(AFTR_IPV4.into(), mac(2)), (AFTR_IPV6.into(), mac(3))];
    topology.internet.ask::<()>(&knowing(up))?;
    topology.access.ask::<()>(&knowing(down))?;
    let endpoint = EndpointConfig {
        lan: "up0".to_owned(),
        host: internet.0,
        wan: "down0".to_owned(),
        router: router.0,
        mtu: MTU.into(),
        own: AFTR,
        peer: subscriber.b4(),
    };
    topology.aftr.ask::<()>(&Request::Endpoint(endpoint))?;
    let Topology {
        internet, homes, ..
    } = &mut topology;
    for home in homes {
        exercise(internet, home, Expected::Bridge, facts)?;
    }
    Ok(())
}

fn knowing((address, mac): (IpAddr, MacAddr)) -> Request {
    let up0 = Interface {
        name: "up0".to_owned(),
        quiet: true,
        neighbors: vec![(address, mac.0)],
        ..Interface::default()
    };
    Request::Setup(Setup {
        interfaces: vec![up0],
        ..Setup::default()
    })
}
