//! Everything at once: mixed traffic over a rough link, table changes, reloads. At the end every
//! frame is accounted for, by lwaftr, by its interfaces, by the link and by the far hosts.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use lw4o6_wire::PortParams;
use nix::sys::signal::Signal;
use serde_json::Value;

use super::agent::{Agent, Request};
use super::flow::FlowSeen;
use super::host::Setup;
use super::impair::{Impaired, Impairment};
use super::management::Management;
use super::numbered::{Kind, Numbered};
use super::reload::{rewrite, settings, until_reloaded};
use super::running::{self, closed, counted, softwires};
use super::scenario::Facts;
use super::subscriber::{DOWNLOAD, INTERNET_PORT, first_contact, serve, up};
use super::topology::{Home, INTERNET, Subscriber, Topology};
use super::traffic::{Download, DownloadedAll, Downloads};
use crate::netlink::LinkStats;
use crate::stopwatch::{Stopwatch, wait};

/// How long, in seconds, unless `LW4O6_LAB_SECONDS` says something else.
const SECONDS: f64 = 60.0;

/// Table changes a second.
const CHANGES: f64 = 1000.0;

/// Softwires that are added in one request, then removed one by one.
const BATCH: u16 = 20;

/// How long nothing may be on its way when two counts are compared.
const QUIET: Duration = Duration::from_millis(2500);

/// What the access link does in both directions.
const ROUGH: Impairment = Impairment {
    loss: 5,
    duplicate: 5,
    delay: 200,
    jitter: 100,
    mtu: None,
    congestion: 2,
};

/// Small ones and such as are cut up on the way.
const KINDS: [Kind; 2] = [(250, &[64, 700, 1200]), (15, &[3000, 8000, 1472])];

/// Runs the scenario.
pub(super) fn run(facts: &mut Facts) -> Result<(), String> {
    let seconds = std::env::var("LW4O6_LAB_SECONDS").ok();
    let seconds: f64 = seconds
        .and_then(|text| text.parse().ok())
        .unwrap_or(SECONDS);
    let subscribers = Subscriber::full_and_shared();
    facts.step("building");
    let mut topology = Topology::build_over(&subscribers, Some(([ROUGH; 2], 1)))?;
    for host in topology.hosts() {
        // Or nothing would be marked.
        host.ask::<()>(&Request::Setup(Setup {
            settings: vec![("ipv4/tcp_ecn".to_owned(), "1".to_owned())],
            ..Setup::default()
        }))?;
    }
    running::start(&mut topology, &subscribers, &settings(10))?;
    let mut before = Counts::default();
    let done = soak(&mut topology, seconds, &mut before, facts);
    let after = Counts::far_hosts(&mut topology);
    let report = running::stop(&mut topology.aftr, done, facts)?;
    let after = after?.with_interfaces(report.get("interfaces"));
    books(&report, facts);
    compare(&before, &after, facts);
    Ok(())
}

/// What both ends of the wires have counted.
#[derive(Clone, Debug, Default)]
struct Counts {
    internet: LinkStats,
    link: LinkStats,
    impaired: [Impaired; 2],
    interfaces: BTreeMap<String, [u64; 3]>,
}

impl Counts {
    fn far_hosts(topology: &mut Topology) -> Result<Self, String> {
        wait(QUIET);
        let link = topology.link.as_mut().ok_or("there is no link")?;
        let stats = |interface: &str| Request::Stats(interface.to_owned());
        Ok(Self {
            internet: topology.internet.ask(&stats("up0"))?,
            link: link.ask(&stats("left"))?,
            impaired: link.ask(&Request::Impaired)?,
            interfaces: BTreeMap::new(),
        })
    }

    /// Takes over what lwaftr says: interfaces by name, or a list of them.
    fn with_interfaces(mut self, interfaces: Option<&Value>) -> Self {
        let Some(interfaces) = interfaces.and_then(Value::as_object) else {
            return self;
        };
        for (name, counters) in interfaces {
            let count = |what: &str| counters.get(what).and_then(Value::as_u64).unwrap_or(0);
            let lost = count("kernel-drops") + count("too-long") + count("not-cut");
            let counts = [count("received"), lost, count("transmitted")];
            self.interfaces.insert(name.clone(), counts);
        }
        self
    }
}

fn soak(
    topology: &mut Topology,
    seconds: f64,
    before: &mut Counts,
    facts: &mut Facts,
) -> Result<(), String> {
    let mut management = running::management(&topology.aftr)?;
    serve(&mut topology.internet, INTERNET, INTERNET_PORT)?;
    for home in &mut topology.homes {
        let subscriber = home.subscriber;
        serve(&mut home.host, subscriber.ipv4, subscriber.port(9))?;
        first_contact(&mut up(home), facts)?;
    }
    facts.step("counting");
    *before = Counts::far_hosts(topology)?;
    let listed = management.ask("GET", "/interfaces", b"")?;
    *before = before.clone().with_interfaces(Some(&by_name(&listed)));
    let Topology {
        internet,
        aftr,
        homes,
        ..
    } = topology;
    let flows = Numbered::start(internet, homes, &KINDS)?;
    downloads(internet, homes, seconds)?;
    let changed = changes(&mut management, aftr, seconds, facts);
    facts.step("the last packets");
    for (agent, name) in downloaders(internet, homes) {
        let all: DownloadedAll = agent.answer()?;
        facts.note(&format!("{name}-intact"), all.intact);
        facts.note(&format!("{name}-broken"), all.broken);
        if let Some(why) = all.why {
            facts.note(&format!("{name}-broken-because"), why);
        }
        facts.note(&format!("{name}-bytes"), all.bytes);
        facts.expect(&format!("{name}-wrong"), all.wrong, &0);
    }
    let all = flows.stop(internet, homes, facts)?;
    numbered(&all, facts);
    changed
}

/// Starts TCP on all three hosts.
fn downloads(internet: &mut Agent, homes: &mut [Home], seconds: f64) -> Result<(), String> {
    let download = |from: Ipv4Addr, to: SocketAddrV4| {
        Request::Downloads(Downloads {
            each: Download {
                from,
                port: 0,
                to,
                bytes: DOWNLOAD,
            },
            seconds,
        })
    };
    let mut served = None;
    for home in homes {
        let subscriber = home.subscriber;
        let to = SocketAddrV4::new(INTERNET, INTERNET_PORT);
        home.host.tell(&download(subscriber.ipv4, to))?;
        served = Some(SocketAddrV4::new(subscriber.ipv4, subscriber.port(9)));
    }
    let to = served.ok_or("the topology lacks a home")?;
    internet.tell(&download(INTERNET, to))
}

fn downloaders<'a>(
    internet: &'a mut Agent,
    homes: &'a mut [Home],
) -> impl Iterator<Item = (&'a mut Agent, String)> {
    let homes = homes.iter_mut().map(|home| {
        let name = format!("tcp-down-{}", home.subscriber.name);
        (&mut home.host, name)
    });
    homes.chain([(internet, "tcp-up".to_owned())])
}

/// Changes the table and reloads, for as long as it takes.
fn changes(
    management: &mut Management,
    aftr: &Agent,
    seconds: f64,
    facts: &mut Facts,
) -> Result<(), String> {
    let subscribers = Subscriber::full_and_shared();
    let watch = Stopwatch::start();
    let (mut changes, mut reloads) = (0u32, 0u8);
    let mut round = 0u16;
    loop {
        let elapsed = watch.elapsed().as_secs_f64();
        if elapsed >= seconds {
            break;
        }
        facts.step(format!(
            "{elapsed:.0} s, {changes} table changes, {reloads} reloads"
        ));
        if reloads < 3 && elapsed > seconds * f64::from(reloads + 1) / 4.0 {
            reloads += 1;
            rewrite(aftr, &subscribers, reloads)?;
            aftr.signal(Signal::SIGHUP)?;
        }
        if f64::from(changes) > elapsed * CHANGES {
            wait(Duration::from_millis(5));
            continue;
        }
        round = (round + 1) % 8;
        change(management, round)?;
        changes += 2 * u32::from(BATCH);
    }
    facts.note("table-changes", changes);
    let rate = f64::from(changes) / watch.elapsed().as_secs_f64();
    facts.note("table-changes-per-second", rate.round());
    let status = until_reloaded(management, 3)?;
    facts.expect("reloads", status.get("reloads"), &Some(&Value::from(3)));
    let table = status.get("table");
    for what in ["version", "generation", "softwires"] {
        facts.note(
            &format!("table-{what}"),
            table.and_then(|table| table.get(what)),
        );
    }
    Ok(())
}

/// Adds softwires in one request and removes them one by one: half of them beside a subscriber on his
/// address.
fn change(management: &mut Management, round: u16) -> Result<(), String> {
    let [_, shared] = Subscriber::full_and_shared();
    let other = |index: u16| {
        // Those of the reloads end at 28.
        let psid = 30 + index / 2 + round;
        let host = u8::try_from(200 + index / 2).unwrap_or(u8::MAX);
        Subscriber {
            name: "passing",
            number: 200 + u8::try_from(index).unwrap_or(0),
            ipv4: if index.is_multiple_of(2) {
                shared.ipv4
            } else {
                Ipv4Addr::new(192, 0, 2, host)
            },
            ports: PortParams::new(0, 6, psid).unwrap_or(shared.ports),
            ..shared
        }
    };
    let batch: Vec<Subscriber> = (0..BATCH).map(other).collect();
    let file: Value = serde_json::from_str(&softwires(&batch)?).map_err(|e| e.to_string())?;
    let entries = entries(&file).ok_or("a softwire file without entries")?;
    let _ = management.ask("POST", "/softwires", entries.to_string().as_bytes())?;
    for one in &batch {
        let ports = one.ports;
        let (offset, len, psid) = (ports.offset(), ports.len(), ports.psid());
        let path = format!("/softwires/{}/{offset},{len},{psid}", one.ipv4);
        let _ = management.ask("DELETE", &path, b"")?;
    }
    Ok(())
}

/// The list of softwires in a softwire file.
fn entries(file: &Value) -> Option<&Value> {
    let all = file.get("ietf-softwire-br:br-instances")?.get("binding")?;
    let instance = all.get("bind-instance")?.get(0)?;
    instance.get("binding-table")?.get("binding-entry")
}

/// A list of interfaces as an object.
fn by_name(listed: &Value) -> Value {
    let list = listed.get("interfaces").unwrap_or(listed);
    let named = list.as_array().into_iter().flatten().filter_map(|one| {
        let name = one.get("name")?.as_str()?.to_owned();
        Some((name, one.get("counters")?.clone()))
    });
    Value::Object(named.collect())
}

/// No numbered datagram came wrong; some were lost, as the link wanted it.
fn numbered(all: &[(u64, FlowSeen)], facts: &mut Facts) {
    let sum = |of: fn(&(u64, FlowSeen)) -> u64| all.iter().map(of).sum::<u64>();
    facts.note("datagrams-sent", sum(|(sent, _)| *sent));
    facts.note("datagrams-received", sum(|(_, seen)| seen.received));
    facts.note("datagrams-twice", sum(|(_, seen)| seen.duplicates));
    facts.note("datagrams-late", sum(|(_, seen)| seen.reordered));
    facts.expect("datagrams-wrong", sum(|(_, seen)| seen.wrong), &0);
    let arrived = |(sent, seen): &(u64, FlowSeen)| *sent > 20 && seen.received * 10 > *sent * 3;
    facts.expect("every-flow-arrived", all.iter().all(arrived), &true);
}

/// The sums of the report, made here once more from its parts.
fn books(report: &Value, facts: &mut Facts) {
    facts.expect("books-closed", closed(report), &true);
    for reason in ["ipv6-reassembly-timeout", "ipv6-reassembly-quota"] {
        facts.note(reason, counted(report, "drops", reason));
    }
    facts.expect("internal-errors", counted(report, "drops", "internal"), &0);
    for side in ["internet", "softwire"] {
        let books = report.get("accounts").and_then(|books| books.get(side));
        let count = |way: &str, what: &str| {
            let count = books.and_then(|books| books.get(way)?.get(what)?.as_u64());
            count.unwrap_or(0)
        };
        let sum =
            |way: &str, names: &[&str]| names.iter().map(|name| count(way, name)).sum::<u64>();
        facts.group(Some(side));
        let frames = count("received", "frames");
        facts.note("received", frames);
        let consumed = sum("received", &["fragments", "waiting", "control"]);
        facts.note("consumed", consumed);
        let fates = ["forwarded", "replied", "echoed", "local", "dropped"];
        facts.expect(
            "received-less-fates",
            frames - sum("received", &fates),
            &consumed,
        );
        let kept = sum("received", &["held", "released", "merged", "discarded"]);
        facts.expect(
            "fragments-kept",
            sum("received", &["fragments", "again"]),
            &kept,
        );
        let origins = ["forwarded", "replied", "polled", "control", "released"];
        let left = sum("sent", &["frames", "queued", "lost"]);
        facts.note("sent", count("sent", "frames"));
        facts.expect("sent-and-waiting", left, &sum("sent", &origins));
        facts.group(None);
    }
}

/// Both ends of each wire agree.
fn compare(before: &Counts, after: &Counts, facts: &mut Facts) {
    let interface = |name: &str| {
        let of = |counts: &Counts| counts.interfaces.get(name).copied().unwrap_or_default();
        let [old, new] = [of(before), of(after)];
        let [received, lost, sent] = [0, 1, 2].map(|at| {
            let of = |counts: [u64; 3]| counts.get(at).copied().unwrap_or(0);
            of(new).wrapping_sub(of(old))
        });
        [received, lost, sent]
    };
    for (name, old, new) in [
        ("up0", before.internet, after.internet),
        ("down0", before.link, after.link),
    ] {
        let [received, lost, sent] = interface(name);
        facts.note(&format!("{name}-ring-drops"), lost);
        let far = new.transmitted.wrapping_sub(old.transmitted);
        facts.expect(&format!("{name}-received-and-lost"), received + lost, &far);
        let far = new.received.wrapping_sub(old.received);
        facts.expect(&format!("{name}-sent"), sent, &far);
    }
    for (link, name) in after.impaired.iter().zip(["link-down", "link-up"]) {
        facts.note(name, link);
        facts.expect(&format!("{name}-closes"), link.closes(), &true);
        facts.expect(&format!("{name}-waiting"), link.waiting, &0);
        let rough = link.lost > 0 && link.duplicated > 0 && link.reordered > 0 && link.marked > 0;
        facts.expect(&format!("{name}-was-rough"), rough, &true);
    }
}
