//! Numbered flows between the Internet and all homes, in both directions.

use std::collections::BTreeMap;
use std::net::SocketAddrV4;
use std::time::Duration;

use super::agent::{Agent, Request};
use super::flow::{Flow, FlowEnd, FlowSeen};
use super::raw::{Hex, Seen, Watch};
use super::scenario::Facts;
use super::topology::{Home, INTERNET};
use crate::stopwatch::wait;

/// What may still be on its way when the senders have stopped.
const SETTLING: Duration = Duration::from_millis(700);

/// A kind of flow: datagrams a second, and their lengths.
pub(super) type Kind = (u32, &'static [usize]);

/// Flows under way.
pub(super) struct Numbered(Vec<Flow>);

impl Numbered {
    /// Watches all wires, and starts one flow of each kind to and from each home.
    pub(super) fn start(
        internet: &mut Agent,
        homes: &mut [Home],
        kinds: &[Kind],
    ) -> Result<Self, String> {
        watch(internet, "up0")?;
        let mut flows = Vec::new();
        for home in homes {
            watch(&mut home.host, "lan")?;
            let subscriber = home.subscriber;
            for (kind, (rate, lengths)) in (0u16..).zip(kinds) {
                let softwire = subscriber.number;
                let outside = |way: u16| 7200 + 20 * u16::from(softwire) + 2 * kind + way;
                let inside = |way: u16| subscriber.port(60 + 2 * kind + way);
                for way in [0, 1] {
                    let home_end = SocketAddrV4::new(subscriber.ipv4, inside(way));
                    let internet_end = SocketAddrV4::new(INTERNET, outside(way));
                    let up = way == 0;
                    let (from, to) = if up {
                        (home_end, internet_end)
                    } else {
                        (internet_end, home_end)
                    };
                    let flow = Flow {
                        flow: outside(way).into(),
                        softwire: softwire.into(),
                        from,
                        to,
                        rate: *rate,
                        lengths: lengths.to_vec(),
                    };
                    let end = Request::Receive(FlowEnd {
                        flow: flow.flow,
                        softwire: flow.softwire,
                        from,
                        at: to,
                    });
                    let send = Request::Send(flow.clone());
                    let [sender, receiver] = if up {
                        [&mut home.host, &mut *internet]
                    } else {
                        [&mut *internet, &mut home.host]
                    };
                    receiver.ask::<()>(&end)?;
                    sender.ask::<()>(&send)?;
                    flows.push(flow);
                }
            }
        }
        Ok(Self(flows))
    }

    /// Stops the flows; what was sent and seen of each.
    pub(super) fn stop(
        self,
        internet: &mut Agent,
        homes: &mut [Home],
        facts: &mut Facts,
    ) -> Result<Vec<(u64, FlowSeen)>, String> {
        let mut sent: BTreeMap<u32, u64> = internet.ask(&Request::StopSending)?;
        for home in &mut *homes {
            sent.extend(home.host.ask::<BTreeMap<u32, u64>>(&Request::StopSending)?);
        }
        wait(SETTLING);
        let mut seen: BTreeMap<u32, FlowSeen> = internet.ask(&Request::Received)?;
        for home in &mut *homes {
            seen.extend(
                home.host
                    .ask::<BTreeMap<u32, FlowSeen>>(&Request::Received)?,
            );
        }
        wires(internet, homes, facts)?;
        let both = self.0.iter().map(|flow| {
            let sent = sent.get(&flow.flow).copied().unwrap_or(0);
            (sent, seen.get(&flow.flow).copied().unwrap_or_default())
        });
        Ok(both.collect())
    }
}

/// Whether every numbered datagram on every wire was where its softwire is.
fn wires(internet: &mut Agent, homes: &mut [Home], facts: &mut Facts) -> Result<(), String> {
    let seen: Seen = internet.ask(&Request::Seen("up0".to_owned()))?;
    let right: Vec<String> = homes
        .iter()
        .map(|home| {
            let subscriber = home.subscriber;
            format!("{} {} {INTERNET}", subscriber.number, subscriber.ipv4)
        })
        .collect();
    let astray = astray(&seen, &right);
    facts.expect("astray-on-the-internet", astray, &Vec::new());
    for home in homes {
        let subscriber = home.subscriber;
        let seen: Seen = home.host.ask(&Request::Seen("lan".to_owned()))?;
        let right = format!("{} {INTERNET} {}", subscriber.number, subscriber.ipv4);
        let astray = self::astray(&seen, &[right]);
        let name = format!("astray-at-home-{}", subscriber.name);
        facts.expect(&name, astray, &Vec::new());
    }
    Ok(())
}

fn astray(seen: &Seen, right: &[String]) -> Vec<String> {
    let flows = seen.flows.keys();
    flows
        .filter(|ends| !right.contains(ends))
        .cloned()
        .collect()
}

fn watch(agent: &mut Agent, interface: &str) -> Result<(), String> {
    agent.ask(&Request::Watch(Watch {
        interface: interface.to_owned(),
        marker: Hex::default(),
    }))
}
