//! Fragments of either family, in orders that no kernel would send them in.

use std::net::SocketAddrV4;

use super::agent::{Agent, Request};
use super::craft::{self, Ends};
use super::raw::{Collect, Hex, Inject, Seen, Watch};
use super::running::{self, Settings, counted};
use super::scenario::Facts;
use super::subscriber::{INTERNET_PORT, down, first_contact, serve, up};
use super::topology::{AFTR, Home, INTERNET, Subscriber, Topology, mac};

/// Bytes of a datagram.
const LEN: usize = 8192;

/// Payload of an IPv4 fragment that fits every link.
const PIECE: usize = 1400;

/// How long answers are waited for, in milliseconds.
const PATIENCE: u64 = 2000;

/// How long nothing has to come, in milliseconds.
const SILENCE: u64 = 300;

/// In every datagram whose first fragment never comes.
const MARKER: &[u8] = b"headless-datagram";

/// Orders in which fragments are sent.
#[derive(Clone, Copy, Debug)]
enum Order {
    /// As they were cut.
    Straight,
    /// Last one first.
    Reverse,
    /// Those of two datagrams in turn, last ones first.
    Interleaved,
    /// Each of them twice.
    Twice,
}

impl Order {
    const ALL: [(Self, &'static str); 4] = [
        (Self::Straight, "straight"),
        (Self::Reverse, "reverse"),
        (Self::Interleaved, "interleaved"),
        (Self::Twice, "twice"),
    ];

    /// The fragments of two datagrams in this order.
    fn arrange(self, [a, b]: [Vec<Vec<u8>>; 2]) -> Vec<Vec<u8>> {
        match self {
            Self::Straight => [a, b].concat(),
            Self::Reverse => {
                let mut all = [a, b].concat();
                all.reverse();
                all
            }
            Self::Interleaved => {
                let pairs = a.into_iter().zip(b).rev();
                pairs.flat_map(|(a, b)| [a, b]).collect()
            }
            Self::Twice => {
                let twice = |fragment: Vec<u8>| [fragment.clone(), fragment];
                a.into_iter().chain(b).flat_map(twice).collect()
            }
        }
    }
}

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
    let done = serve(internet, INTERNET, INTERNET_PORT).and_then(|()| {
        let mut homes = homes.iter_mut();
        homes.try_for_each(|home| fragments(internet, home, facts))
    });
    let report = running::stop(aftr, done, facts)?;
    for (section, name) in [
        ("counters", "reassembled"),
        ("counters", "released"),
        ("counters", "tunnel-packets-fragmented"),
    ] {
        let count = counted(&report, section, name);
        facts.note(name, count);
        facts.expect(&format!("{name}-counted"), count > 0, &true);
    }
    facts.expect(
        "ipv6-fragment-duplicate-counted",
        counted(&report, "drops", "ipv6-fragment-duplicate") > 0,
        &true,
    );
    Ok(())
}

fn fragments(internet: &mut Agent, home: &mut Home, facts: &mut Facts) -> Result<(), String> {
    let subscriber = home.subscriber;
    facts.group(Some(subscriber.name));
    serve(&mut home.host, subscriber.ipv4, subscriber.port(9))?;
    first_contact(&mut up(home), facts)?;
    facts.step("8 kB datagrams from the kernels");
    up(home).exchange(
        subscriber.port(20),
        INTERNET_PORT,
        facts,
        "kernel-up-intact",
    )?;
    down(internet, &subscriber).exchange(0, subscriber.port(9), facts, "kernel-down-intact")?;
    for (number, (order, name)) in (0..).zip(Order::ALL) {
        facts.step(format!("{name}, from the Internet"));
        from_internet(internet, &subscriber, (number, order), facts, name)?;
        facts.step(format!("{name}, from the home"));
        from_home(home, (number, order), facts, name)?;
        facts.step(format!("{name}, in the tunnel"));
        in_tunnel(home, (number, order), facts, name)?;
    }
    if subscriber.ports.is_shared() {
        facts.step("without a first fragment");
        headless(internet, home, facts)?;
    }
    Ok(())
}

/// Two datagrams of different content from `from` to `to`.
fn datagrams(from: SocketAddrV4, to: SocketAddrV4, number: u16) -> [(Vec<u8>, Vec<u8>); 2] {
    [1, 2].map(|which| {
        let ident = 1000 + 10 * number + which;
        let first = ident.to_be_bytes();
        let payload: Vec<u8> = first
            .into_iter()
            .chain((0..=250).cycle())
            .take(LEN)
            .collect();
        let ends = Ends { from, to, ident };
        (craft::udp(ends, &payload), payload)
    })
}

/// How many of the datagrams sent came back as they were; `twice` how many more than that.
fn intact(sent: &[(Vec<u8>, Vec<u8>); 2], came: &[Hex]) -> u32 {
    let came_back = sent
        .iter()
        .filter(|(_, payload)| came.iter().filter(|came| came.0 == *payload).count() == 1);
    u32::try_from(came_back.count()).unwrap_or(0)
}

fn from_internet(
    internet: &mut Agent,
    subscriber: &Subscriber,
    (number, order): (u16, Order),
    facts: &mut Facts,
    name: &str,
) -> Result<(), String> {
    let at = SocketAddrV4::new(INTERNET, 7100 + number);
    let to = SocketAddrV4::new(subscriber.ipv4, subscriber.port(9));
    let sent = datagrams(at, to, number);
    let pieces = sent
        .each_ref()
        .map(|(packet, _)| craft::fragments(packet, PIECE));
    let frames = order.arrange(pieces);
    let frames = frames
        .iter()
        .map(|packet| craft::frame(mac(2), mac(1), packet));
    let came = collect(internet, at, Some(("up0", frames.collect())))?;
    facts.expect(&format!("down-{name}-intact"), intact(&sent, &came), &2);
    Ok(())
}

fn from_home(
    home: &mut Home,
    (number, order): (u16, Order),
    facts: &mut Facts,
    name: &str,
) -> Result<(), String> {
    let subscriber = home.subscriber;
    let at = SocketAddrV4::new(subscriber.ipv4, subscriber.port(30 + number));
    let sent = datagrams(at, SocketAddrV4::new(INTERNET, INTERNET_PORT), number);
    let pieces = sent
        .each_ref()
        .map(|(packet, _)| craft::fragments(packet, PIECE));
    let frames = order.arrange(pieces);
    let [b4, host] = [subscriber.mac(3), subscriber.mac(4)];
    let frames = frames.iter().map(|packet| craft::frame(b4, host, packet));
    let came = collect(&mut home.host, at, Some(("lan", frames.collect())))?;
    facts.expect(&format!("up-{name}-intact"), intact(&sent, &came), &2);
    Ok(())
}

/// Whole IPv4 packets, 1400 bytes of payload, in tunnel packets that come in fragments.
fn in_tunnel(
    home: &mut Home,
    (number, order): (u16, Order),
    facts: &mut Facts,
    name: &str,
) -> Result<(), String> {
    let subscriber = home.subscriber;
    let at = SocketAddrV4::new(subscriber.ipv4, subscriber.port(40 + number));
    let mut sent = datagrams(at, SocketAddrV4::new(INTERNET, INTERNET_PORT), number);
    let mut ident = u32::from(number) * 16;
    let pieces = sent.each_mut().map(|(packet, payload)| {
        payload.truncate(PIECE);
        let from = Ends {
            from: at,
            to: SocketAddrV4::new(INTERNET, INTERNET_PORT),
            ident: 1,
        };
        *packet = craft::udp(from, payload);
        ident += 1;
        craft::ipv6_fragments(&craft::tunnel(subscriber.b4(), AFTR, packet), 400, ident)
    });
    let frames = order.arrange(pieces);
    let [router, wan] = [subscriber.mac(1), subscriber.mac(2)];
    let frames = frames
        .iter()
        .map(|packet| Hex(craft::frame(router, wan, packet)));
    let inject = Inject {
        interface: "wan".to_owned(),
        frames: frames.collect(),
        gap: 0,
    };
    // The socket has to be there before the answers are.
    home.host.ask::<()>(&Request::Listen(at))?;
    let _: usize = home.b4.ask(&Request::Inject(inject))?;
    let came = collect(&mut home.host, at, None)?;
    facts.expect(&format!("tunnel-{name}-intact"), intact(&sent, &came), &2);
    Ok(())
}

/// Datagrams without their first fragment, to a shared address and from one, get nowhere.
fn headless(internet: &mut Agent, home: &mut Home, facts: &mut Facts) -> Result<(), String> {
    let subscriber = home.subscriber;
    let inside = SocketAddrV4::new(subscriber.ipv4, subscriber.port(9));
    let outside = SocketAddrV4::new(INTERNET, INTERNET_PORT);
    let payload: Vec<u8> = MARKER.iter().copied().cycle().take(LEN).collect();
    let headless = |from, to| {
        let ends = Ends {
            from,
            to,
            ident: 4000,
        };
        let pieces = craft::fragments(&craft::udp(ends, &payload), PIECE);
        pieces.into_iter().skip(1).collect::<Vec<_>>()
    };
    let watch = |interface: &str| {
        Request::Watch(Watch {
            interface: interface.to_owned(),
            marker: Hex(MARKER.to_vec()),
        })
    };
    internet.ask::<()>(&watch("up0"))?;
    home.host.ask::<()>(&watch("lan"))?;
    let inject = |interface: &str, frames: Vec<Vec<u8>>| {
        Request::Inject(Inject {
            interface: interface.to_owned(),
            frames: frames.into_iter().map(Hex).collect(),
            gap: 0,
        })
    };
    let down = headless(outside, inside);
    let down = down
        .iter()
        .map(|packet| craft::frame(mac(2), mac(1), packet));
    let _: usize = internet.ask(&inject("up0", down.collect()))?;
    let [b4, host] = [subscriber.mac(3), subscriber.mac(4)];
    let up_ = headless(inside, outside);
    let up_ = up_.iter().map(|packet| craft::frame(b4, host, packet));
    let _: usize = home.host.ask(&inject("lan", up_.collect()))?;
    crate::stopwatch::wait(std::time::Duration::from_millis(SILENCE));
    for (agent, interface, name) in [
        (internet, "up0", "headless-up-arrived"),
        (&mut home.host, "lan", "headless-down-arrived"),
    ] {
        let seen: Seen = agent.ask(&Request::Seen(interface.to_owned()))?;
        facts.expect(name, seen.marked, &0);
    }
    Ok(())
}

fn collecting(at: SocketAddrV4, inject: Option<Inject>) -> Collect {
    Collect {
        at,
        inject,
        count: 2,
        patience: PATIENCE,
    }
}

/// Sends frames from where the answers come to; returns the answers.
fn collect(
    agent: &mut Agent,
    at: SocketAddrV4,
    send: Option<(&str, Vec<Vec<u8>>)>,
) -> Result<Vec<Hex>, String> {
    let inject = send.map(|(interface, frames)| Inject {
        interface: interface.to_owned(),
        frames: frames.into_iter().map(Hex).collect(),
        gap: 0,
    });
    agent.ask(&Request::Collect(collecting(at, inject)))
}
