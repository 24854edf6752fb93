//! Packets that nobody may send, among others that all may.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4};
use std::time::Duration;

use lw4o6_wire::checksum::checksum;
use lw4o6_wire::ethernet::MacAddr;
use lw4o6_wire::icmpv4::Icmpv4ErrorKind;
use lw4o6_wire::icmpv6::Icmpv6ErrorKind;
use lw4o6_wire::{IpProtocol, Ipv4Packet, ethernet};
use serde_json::Value;

use super::agent::{Agent, Request};
use super::craft::{self, Ends};
use super::raw::{Hex, Inject, Seen, Watch};
use super::running::{self, Settings, counted};
use super::scenario::Facts;
use super::subscriber::{DOWNLOAD, INTERNET_PORT, first_contact, serve, up};
use super::topology::{AFTR, AFTR_IPV4, Home, INTERNET, OTHER_AFTR, Subscriber, Topology, mac};
use super::traffic::{Download, Downloaded, Exchange, Exchanged};
use crate::stopwatch::wait;

/// Somewhere in every forged packet.
const MARKER: &[u8] = b"this packet is forged";

/// How often each is sent.
const ROUNDS: u64 = 10;

/// Pause between two forged packets, in microseconds.
const GAP: u64 = 200;

/// Datagrams of good traffic.
const DATAGRAMS: u32 = 200;

/// An address in the subscriber's network that no softwire has.
const NOBODY: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xb4, 2, 0, 0, 0, 0x99);

/// A packet that has to be dropped, and why.
struct Forgery {
    packet: Vec<u8>,
    reason: &'static str,
}

/// Runs the scenario.
pub(super) fn run(facts: &mut Facts) -> Result<(), String> {
    let subscribers = Subscriber::full_and_shared();
    facts.step("building");
    let mut topology = Topology::build(&subscribers)?;
    let settings = Settings {
        instance: format!("aftr-addresses = [\"{OTHER_AFTR}\"]"),
        ..Settings::default()
    };
    running::start(&mut topology, &subscribers, &settings)?;
    let Topology {
        internet,
        aftr,
        homes,
        ..
    } = &mut topology;
    let [full, shared] = subscribers;
    let from_softwires = [inner(&full, &shared), tunnel_errors(&full, &shared)];
    let from_softwires: Vec<Forgery> = from_softwires.into_iter().flatten().collect();
    let from_internet = downstream(&full, &shared);
    let done = attack(internet, homes, [&from_softwires, &from_internet], facts);
    let report = running::stop(aftr, done, facts)?;
    reasons(&report, from_softwires.iter().chain(&from_internet), facts);
    Ok(())
}

/// Checks that every forged packet was counted under its reason.
fn reasons<'f>(report: &Value, forged: impl Iterator<Item = &'f Forgery>, facts: &mut Facts) {
    let mut expected: BTreeMap<&str, u64> = BTreeMap::new();
    for forgery in forged {
        *expected.entry(forgery.reason).or_default() += ROUNDS;
    }
    facts.group(Some("dropped"));
    for (reason, count) in expected {
        facts.expect(reason, counted(report, "drops", reason), &count);
    }
    facts.group(None);
}

fn attack(
    internet: &mut Agent,
    homes: &mut [Home],
    [softwires, downstream]: [&[Forgery]; 2],
    facts: &mut Facts,
) -> Result<(), String> {
    let [full, shared] = homes else {
        return Err("the topology lacks a home".to_owned());
    };
    serve(internet, INTERNET, INTERNET_PORT)?;
    first_contact(&mut up(full), facts)?;
    first_contact(&mut up(shared), facts)?;
    watch(internet, "up0")?;
    watch(&mut full.host, "lan")?;
    watch(&mut shared.host, "lan")?;
    good_traffic(full, shared)?;
    facts.step("forging");
    // Both from the line of the second subscriber, who has no right to any of it.
    let [router, wan] = [shared.subscriber.mac(1), shared.subscriber.mac(2)];
    let sent: usize = shared.b4.ask(&inject("wan", softwires, [router, wan]))?;
    let sent = sent + internet.ask::<usize>(&inject("up0", downstream, [mac(2), mac(1)]))?;
    facts.note("forged-packets", sent);
    facts.step("good traffic");
    let download: Downloaded = full.host.answer()?;
    let exchange: Exchanged = shared.host.answer()?;
    facts.expect("good-tcp-intact", download.intact, &true);
    facts.expect("good-udp-intact", exchange.intact, &DATAGRAMS);
    wait(Duration::from_millis(100));
    let seen: Seen = internet.ask(&Request::Seen("up0".to_owned()))?;
    let errors = seen.kept.iter().filter(|frame| is_error_of_aftr(&frame.0));
    let errors = u64::try_from(errors.count()).unwrap_or(0);
    // Proves that the watch sees what carries the mark.
    facts.expect("errors-about-forged-packets-seen", errors > 0, &true);
    facts.expect("forged-on-the-internet", seen.marked - errors, &0);
    for home in [full, shared] {
        let seen: Seen = home.host.ask(&Request::Seen("lan".to_owned()))?;
        let name = format!("forged-at-home-{}", home.subscriber.name);
        facts.expect(&name, seen.marked, &0);
    }
    Ok(())
}

/// Starts what goes on meanwhile.
fn good_traffic(full: &mut Home, shared: &mut Home) -> Result<(), String> {
    let to = SocketAddrV4::new(INTERNET, INTERNET_PORT);
    full.host.tell(&Request::Download(Download {
        from: full.subscriber.ipv4,
        port: 0,
        to,
        bytes: DOWNLOAD,
    }))?;
    shared.host.tell(&Request::Exchange(Exchange {
        from: shared.subscriber.ipv4,
        port: shared.subscriber.port(20),
        to,
        len: 1200,
        count: DATAGRAMS,
    }))
}

fn watch(agent: &mut Agent, interface: &str) -> Result<(), String> {
    agent.ask(&Request::Watch(Watch {
        interface: interface.to_owned(),
        marker: Hex(MARKER.to_vec()),
    }))
}

fn inject(interface: &str, forged: &[Forgery], [dst, src]: [MacAddr; 2]) -> Request {
    let round = || {
        forged
            .iter()
            .map(|forgery| Hex(craft::frame(dst, src, &forgery.packet)))
    };
    Request::Inject(Inject {
        interface: interface.to_owned(),
        frames: (0..ROUNDS).flat_map(|_| round()).collect(),
        gap: GAP,
    })
}

/// Whether this is an ICMPv4 error that the lwAFTR made.
fn is_error_of_aftr(frame: &[u8]) -> bool {
    let packet = ethernet::split(frame).ok();
    let packet = packet.and_then(|frame| Ipv4Packet::split(frame.payload).ok());
    packet.is_some_and(|packet| {
        packet.header.src() == AFTR_IPV4
            && packet.header.protocol() == IpProtocol::ICMP
            && packet.payload.first() == Some(&3)
    })
}

fn datagram(from: (Ipv4Addr, u16), to: (Ipv4Addr, u16)) -> Vec<u8> {
    let ends = Ends {
        from: SocketAddrV4::new(from.0, from.1),
        to: SocketAddrV4::new(to.0, to.1),
        ident: 1,
    };
    craft::udp(ends, MARKER)
}

/// A port of nobody's set on the shared address.
fn outside(shared: &Subscriber) -> u16 {
    shared.port(0).wrapping_sub(1)
}

/// The packet with one bit of its byte `at` the other way round.
fn damaged(mut packet: Vec<u8>, at: usize) -> Vec<u8> {
    packet
        .iter_mut()
        .skip(at)
        .take(1)
        .for_each(|byte| *byte ^= 1);
    packet
}

/// An echo request with this identifier.
fn echo_request(ident: u16) -> Vec<u8> {
    let rest = [&ident.to_be_bytes(), &[0, 1][..], MARKER].concat();
    let sum = checksum(&[&[8, 0, 0, 0], &rest[..]].concat()).to_be_bytes();
    [&[8, 0], &sum[..], &rest].concat()
}

/// Tunnel packets with what is not their sender's.
fn inner(full: &Subscriber, shared: &Subscriber) -> Vec<Forgery> {
    let internet = (INTERNET, INTERNET_PORT);
    let own = datagram((shared.ipv4, shared.port(1)), internet);
    let of = |ipv4, port| datagram((ipv4, port), internet);
    let error = |packet| {
        let ends = (shared.ipv4, INTERNET);
        craft::icmpv4_error(ends, Icmpv4ErrorKind::HostUnreachable, packet)
    };
    let others = datagram(internet, (full.ipv4, 5000));
    let echo = echo_request(outside(shared));
    let ends = (shared.ipv4, INTERNET);
    let [b4, victim] = [shared.b4(), full.b4()];
    let table: [(Ipv6Addr, Ipv6Addr, Vec<u8>, &str); 11] = [
        (b4, AFTR, of(full.ipv4, 5000), "wrong-ipv4"),
        (victim, AFTR, own.clone(), "wrong-ipv4"),
        (
            b4,
            AFTR,
            of(shared.ipv4, outside(shared)),
            "port-out-of-set",
        ),
        (
            b4,
            AFTR,
            craft::ipv4(ends, 1, IpProtocol::ICMP, &echo),
            "port-out-of-set",
        ),
        (NOBODY, AFTR, own.clone(), "no-b4"),
        (b4, OTHER_AFTR, own.clone(), "wrong-aftr"),
        (
            b4,
            AFTR,
            of(Ipv4Addr::LOCALHOST, 5000),
            "ipv4-source-martian",
        ),
        (b4, AFTR, damaged(own, 8), "ipv4-checksum"),
        (
            b4,
            AFTR,
            craft::ipv4(ends, 1, IpProtocol(47), MARKER),
            "no-l4-port",
        ),
        (b4, AFTR, error(&others), "icmpv4-quote-mismatch"),
        (
            b4,
            AFTR,
            error(&damaged(others.clone(), 8)),
            "icmpv4-quote-checksum",
        ),
    ];
    let forgeries = table.into_iter().map(|(src, dst, inner, reason)| Forgery {
        packet: craft::tunnel(src, dst, &inner),
        reason,
    });
    forgeries.collect()
}

/// ICMPv6 errors about tunnel packets that were never sent.
fn tunnel_errors(full: &Subscriber, shared: &Subscriber) -> Vec<Forgery> {
    let internet = (INTERNET, INTERNET_PORT);
    let sent = datagram(internet, (shared.ipv4, shared.port(1)));
    let others = datagram(internet, (full.ipv4, 5000));
    let unbound = datagram(internet, (shared.ipv4, outside(shared)));
    let too_big = |mtu| Icmpv6ErrorKind::PacketTooBig { mtu };
    let error = |kind, quote: &[u8]| craft::icmpv6_error((NOBODY, AFTR), kind, quote);
    let b4 = shared.b4();
    let plausible = craft::tunnel(AFTR, b4, &sent);
    let cut = plausible.get(..52).unwrap_or_default();
    let table = [
        (
            error(too_big(1400), &craft::tunnel(NOBODY, b4, &sent)),
            "icmpv6-quote-foreign",
        ),
        (
            error(too_big(1400), &craft::tunnel(AFTR, NOBODY, &sent)),
            "icmpv6-quote-foreign",
        ),
        (
            error(too_big(1400), &craft::tunnel(AFTR, b4, &others)),
            "icmpv6-quote-foreign",
        ),
        (
            error(too_big(1400), &craft::tunnel(AFTR, b4, &unbound)),
            "icmpv6-quote-foreign",
        ),
        (error(too_big(1279), &plausible), "icmpv6-too-big-invalid"),
        (error(too_big(1400), cut), "icmpv6-quote-short"),
        (
            damaged(error(too_big(1400), &plausible), 60),
            "icmpv6-checksum",
        ),
    ];
    let forgeries = table
        .into_iter()
        .map(|(packet, reason)| Forgery { packet, reason });
    forgeries.collect()
}

/// What comes from the Internet.
fn downstream(full: &Subscriber, shared: &Subscriber) -> Vec<Forgery> {
    let internet = (INTERNET, INTERNET_PORT);
    let bound = (shared.ipv4, shared.port(1));
    let sent = datagram(bound, internet);
    let error = |packet: &[u8]| {
        let ends = (INTERNET, shared.ipv4);
        craft::icmpv4_error(ends, Icmpv4ErrorKind::HostUnreachable, packet)
    };
    let unbound = datagram((shared.ipv4, outside(shared)), internet);
    let others = datagram((full.ipv4, 5000), internet);
    let ends = (shared.ipv4, INTERNET);
    let about_error = craft::icmpv4_error(ends, Icmpv4ErrorKind::PortUnreachable, &sent);
    let later = craft::fragments(&sent, 8).pop().unwrap_or_default();
    let table = [
        (datagram((full.ipv4, 5000), bound), "pool-source-spoofed"),
        (
            datagram((Ipv4Addr::LOCALHOST, 5000), bound),
            "ipv4-source-martian",
        ),
        (
            datagram(internet, (shared.ipv4, outside(shared))),
            "no-binding",
        ),
        (damaged(datagram(internet, bound), 8), "ipv4-checksum"),
        (error(&others), "icmpv4-quote-mismatch"),
        (error(&damaged(sent.clone(), 8)), "icmpv4-quote-checksum"),
        (damaged(error(&sent), 40), "icmpv4-checksum"),
        (error(&about_error), "icmpv4-quote-error"),
        (error(&unbound), "icmpv4-no-binding"),
        (error(&later), "icmpv4-quote-fragment"),
    ];
    let forgeries = table
        .into_iter()
        .map(|(packet, reason)| Forgery { packet, reason });
    forgeries.collect()
}
