//! What a subscriber and a host on the Internet do to each other, and what should come of it.

use std::net::{Ipv4Addr, SocketAddrV4};

use lw4o6_wire::icmpv4::Icmpv4Type;

use super::agent::{Agent, Request};
use super::probe::{Answer, Probe};
use super::scenario::Facts;
use super::topology::{AFTR_IPV4, Home, INTERNET, Subscriber};
use super::traffic::{Download, Downloaded, Exchange, Exchanged, Knock, Serve};

/// Bytes of each TCP download.
pub(super) const DOWNLOAD: u64 = 20_000_000;

/// Bytes of each UDP datagram.
const DATAGRAM: usize = 8192;

/// UDP datagrams in each exchange.
const DATAGRAMS: u32 = 10;

/// Echo requests in each direction.
const PINGS: u16 = 10;

/// Port of the servers on the Internet.
pub(super) const INTERNET_PORT: u16 = 7000;

/// Source of the lwAFTR's messages to a subscriber (RFC 6333 §5.7).
pub(super) const AFTR_IN_TUNNEL: Ipv4Addr = Ipv4Addr::new(192, 0, 0, 1);

/// Attempts to reach the other side at first: next hops have to be resolved.
const ATTEMPTS: u16 = 20;

/// What is between the subscriber and the Internet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expected {
    /// Something that forwards every packet as it is.
    Bridge,
    /// A lwAFTR with 1500 bytes of MTU on both sides.
    Aftr,
}

/// Two hosts, the one that asks first.
pub(super) struct Pair<'a> {
    pub(super) asks: &'a mut Agent,
    pub(super) from: Ipv4Addr,
    pub(super) to: Ipv4Addr,
    /// First of the identifiers that may be used.
    pub(super) ident: u16,
}

impl Pair<'_> {
    pub(super) fn probe(
        &mut self,
        change: impl FnOnce(&mut Probe),
    ) -> Result<Option<Answer>, String> {
        let mut probe = Probe {
            from: self.from,
            to: self.to,
            ident: self.ident,
            sequence: 0,
            ttl: 64,
            len: 84,
            dont_fragment: false,
            patience: 1000,
            below: None,
        };
        change(&mut probe);
        self.asks.ask(&Request::Probe(probe))
    }

    /// Median round trip in milliseconds, lost requests, and time to live of the answers.
    pub(super) fn ping(&mut self) -> Result<(Option<f64>, u16, Option<u8>), String> {
        let mut times = Vec::new();
        let mut ttl = None;
        for sequence in 1..=PINGS {
            let answer = self.probe(|probe| probe.sequence = sequence)?;
            if let Some(answer) = answer.filter(Answer::is_reply) {
                times.push(answer.ms);
                ttl = Some(answer.ttl);
            }
        }
        times.sort_by(f64::total_cmp);
        let median = times.get(times.len() / 2).map(|ms| round(*ms));
        let lost = PINGS - u16::try_from(times.len()).unwrap_or(0);
        Ok((median, lost, ttl))
    }

    /// Addresses of the routers on the way, and of the destination.
    pub(super) fn trace(&mut self) -> Result<Vec<String>, String> {
        let mut hops = Vec::new();
        for ttl in 1..=8 {
            let answer =
                self.probe(|probe| (probe.ttl, probe.sequence) = (ttl, 100 + u16::from(ttl)))?;
            hops.push(answer.map_or_else(|| "*".to_owned(), |answer| answer.from.to_string()));
            if answer.is_some_and(|answer| answer.is_reply()) {
                break;
            }
        }
        Ok(hops)
    }

    pub(super) fn exchange(
        &mut self,
        port: u16,
        to: u16,
        facts: &mut Facts,
        name: &str,
    ) -> Result<(), String> {
        let exchange = Exchange {
            from: self.from,
            port,
            to: SocketAddrV4::new(self.to, to),
            len: DATAGRAM,
            count: DATAGRAMS,
        };
        let done: Exchanged = self.asks.ask(&Request::Exchange(exchange))?;
        facts.expect(name, done.intact, &DATAGRAMS);
        Ok(())
    }

    pub(super) fn download(
        &mut self,
        to: u16,
        facts: &mut Facts,
        name: &str,
    ) -> Result<Downloaded, String> {
        let to = SocketAddrV4::new(self.to, to);
        let download = Download {
            from: self.from,
            port: 0,
            to,
            bytes: DOWNLOAD,
        };
        let done: Downloaded = self.asks.ask(&Request::Download(download))?;
        facts.expect(&format!("{name}-intact"), done.intact, &true);
        facts.note(&format!("{name}-bytes"), done.bytes);
        facts.note(&format!("{name}-mbit-per-s"), done.mbits());
        Ok(done)
    }
}

/// Runs everything between `home` and the Internet, and notes what it sees.
pub(super) fn exercise(
    internet: &mut Agent,
    home: &mut Home,
    expected: Expected,
    facts: &mut Facts,
) -> Result<(), String> {
    let subscriber = home.subscriber;
    facts.group(Some(subscriber.name));
    // A second subscriber meets a server that the first has started.
    if subscriber.number == 1 {
        serve(internet, INTERNET, INTERNET_PORT)?;
    }
    serve(&mut home.host, subscriber.ipv4, subscriber.port(9))?;
    first_contact(&mut up(home), facts)?;
    round_trips(internet, home, expected, facts)?;
    large_datagrams(internet, home, facts)?;
    path_mtu(internet, home, expected, facts)?;
    downloads(internet, home, facts)?;
    // The kernel on the Internet now knows the path MTU and cuts datagrams to it.
    down(internet, &subscriber).exchange(0, subscriber.port(9), facts, "udp-8k-fitted-intact")?;
    closed_doors(internet, &subscriber, expected, facts)?;
    facts.group(None);
    Ok(())
}

/// Datagrams of 8 kB both ways.
pub(super) fn large_datagrams(
    internet: &mut Agent,
    home: &mut Home,
    facts: &mut Facts,
) -> Result<(), String> {
    let subscriber = home.subscriber;
    facts.step("8 kB datagrams");
    up(home).exchange(
        subscriber.port(20),
        INTERNET_PORT,
        facts,
        "udp-8k-up-intact",
    )?;
    down(internet, &subscriber).exchange(0, subscriber.port(9), facts, "udp-8k-down-intact")
}

pub(super) fn up(home: &mut Home) -> Pair<'_> {
    let subscriber = home.subscriber;
    Pair {
        asks: &mut home.host,
        from: subscriber.ipv4,
        to: INTERNET,
        ident: subscriber.port(1),
    }
}

pub(super) fn down<'a>(internet: &'a mut Agent, subscriber: &Subscriber) -> Pair<'a> {
    Pair {
        asks: internet,
        from: INTERNET,
        to: subscriber.ipv4,
        ident: subscriber.port(2),
    }
}

/// Starts servers on `address`, `port`.
pub(super) fn serve(agent: &mut Agent, address: Ipv4Addr, port: u16) -> Result<(), String> {
    let at = SocketAddrV4::new(address, port);
    agent.ask(&Request::Serve(Serve {
        at,
        bytes: DOWNLOAD,
    }))
}

/// Waits until the way is open.
pub(super) fn first_contact(pair: &mut Pair<'_>, facts: &mut Facts) -> Result<(), String> {
    facts.step("first contact");
    for attempt in 1..=ATTEMPTS {
        let answer = pair.probe(|probe| (probe.sequence, probe.patience) = (200 + attempt, 500))?;
        if answer.is_some_and(|answer| answer.is_reply()) {
            facts.note("attempts-until-first-reply", attempt);
            return Ok(());
        }
    }
    Err(format!(
        "no reply from {} to {ATTEMPTS} echo requests",
        pair.to
    ))
}

fn round_trips(
    internet: &mut Agent,
    home: &mut Home,
    expected: Expected,
    facts: &mut Facts,
) -> Result<(), String> {
    let subscriber = home.subscriber;
    // The lwAFTR is one hop, seen by its address on the side that asks; the tunnel is none.
    let (ttl, hops) = match expected {
        Expected::Bridge => (64, [None; 2]),
        Expected::Aftr => (63, [Some(AFTR_IN_TUNNEL), Some(AFTR_IPV4)]),
    };
    let pairs = [(up(home), "up"), (down(internet, &subscriber), "down")];
    for ((mut pair, name), hop) in pairs.into_iter().zip(hops) {
        facts.step("ping");
        let (median, lost, seen) = pair.ping()?;
        facts.note(&format!("ping-{name}-median-ms"), median);
        facts.expect(&format!("ping-{name}-lost"), lost, &0);
        facts.expect(&format!("ping-{name}-reply-ttl"), seen, &Some(ttl));
        facts.step("traceroute");
        let hops = hop
            .into_iter()
            .chain([pair.to])
            .map(|hop| hop.to_string())
            .collect();
        facts.expect(&format!("traceroute-{name}"), pair.trace()?, &hops);
    }
    Ok(())
}

/// A packet that must not be fragmented and is too long for the tunnel.
fn path_mtu(
    internet: &mut Agent,
    home: &mut Home,
    expected: Expected,
    facts: &mut Facts,
) -> Result<(), String> {
    facts.step("path MTU");
    let subscriber = home.subscriber;
    let answer = down(internet, &subscriber).probe(|probe| {
        (probe.len, probe.dont_fragment, probe.sequence) = (1500, true, 300);
    })?;
    let said = answer.map(|answer| (answer.kind, answer.code, answer.mtu, answer.from));
    let too_long = (Icmpv4Type::UNREACHABLE.0, 4, 1460, AFTR_IPV4);
    match expected {
        Expected::Aftr => facts.expect(
            "df-1500-down-draws",
            said.map(short),
            &Some(short(too_long)),
        ),
        // It fragments the outer packet, and a home with a shorter MTU is not in this scenario.
        Expected::Bridge => facts.note("df-1500-down-draws", said.map(short)),
    }
    Ok(())
}

/// ICMP type and code as RFCs write them.
pub(super) fn short((kind, code, mtu, from): (u8, u8, u16, Ipv4Addr)) -> String {
    match mtu {
        0 if kind == Icmpv4Type::ECHO_REPLY.0 => format!("echo reply from {from}"),
        0 => format!("{kind}/{code} from {from}"),
        _ => format!("{kind}/{code} mtu {mtu} from {from}"),
    }
}

fn downloads(internet: &mut Agent, home: &mut Home, facts: &mut Facts) -> Result<(), String> {
    let subscriber = home.subscriber;
    facts.step("TCP to the subscriber");
    let done = up(home).download(INTERNET_PORT, facts, "tcp-down")?;
    facts.expect(
        "tcp-port-in-set",
        subscriber.ports.contains(done.port),
        &true,
    );
    facts.step("TCP from the subscriber");
    down(internet, &subscriber).download(subscriber.port(9), facts, "tcp-up")?;
    let learned: Option<u32> = internet.ask(&Request::PathMtu(subscriber.ipv4))?;
    facts.note("path-mtu-learned", learned);
    Ok(())
}

fn closed_doors(
    internet: &mut Agent,
    subscriber: &Subscriber,
    expected: Expected,
    facts: &mut Facts,
) -> Result<(), String> {
    facts.step("closed ports");
    let mut knock = |port| {
        let to = SocketAddrV4::new(subscriber.ipv4, port);
        let answer: Option<Answer> = internet.ask(&Request::Knock(Knock {
            from: INTERNET,
            port: 0,
            to,
        }))?;
        Ok::<_, String>(answer.map(|answer| short((answer.kind, answer.code, 0, answer.from))))
    };
    let by_host = short((3, 3, 0, subscriber.ipv4));
    facts.expect(
        "closed-port-draws",
        knock(subscriber.port(50))?,
        &Some(by_host),
    );
    if expected == Expected::Aftr && subscriber.ports.is_shared() {
        let outside = subscriber.port(0).wrapping_sub(1);
        debug_assert!(
            !subscriber.ports.contains(outside),
            "the port before a set is in no set"
        );
        let by_aftr = short((3, 1, 0, AFTR_IPV4));
        facts.expect("unbound-port-draws", knock(outside)?, &Some(by_aftr));
    }
    Ok(())
}

fn round(ms: f64) -> f64 {
    (ms * 1000.0).round() / 1000.0
}
