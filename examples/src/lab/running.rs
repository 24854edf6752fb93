//! `lwaftr run` in the middle of the topology.

use std::time::Duration;

use lw4o6_binding::formats::json::{Instance, Layout, export};
use lw4o6_binding::{Binding, Expiry, Origin};
use serde_json::Value;

use super::agent::{Agent, Request, SOCKET, SOFTWIRES};
use super::management::Management;
use super::scenario::Facts;
use super::topology::{
    AFTR, AFTR_IPV4, AFTR_IPV6, INTERNET, MTU, ROUTER, Subscriber, TUNNEL, Topology,
};
use crate::config::clock;
use crate::stopwatch::{Stopwatch, wait};

/// Softwires that a table has room for.
const ROOM: u32 = 4096;

/// What a scenario configures beyond what all do.
#[derive(Clone, Debug, Default)]
pub(super) struct Settings {
    /// Lines of `[instance]`.
    pub(super) instance: String,
    /// Whole sections.
    pub(super) sections: String,
}

/// Starts lwaftr with the softwires of `subscribers`.
pub(super) fn start(
    topology: &mut Topology,
    subscribers: &[Subscriber],
    settings: &Settings,
) -> Result<(), String> {
    let softwires = softwires(subscribers)?;
    topology.aftr.tell(&Request::Lwaftr {
        config: config(settings),
        softwires,
    })
}

/// Stops lwaftr and notes what it counted; `done` is what came of the scenario so far.
pub(super) fn stop(
    aftr: &mut Agent,
    done: Result<(), String>,
    facts: &mut Facts,
) -> Result<Value, String> {
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
    let interfaces = report.get("interfaces").and_then(Value::as_object);
    for (name, counters) in interfaces.into_iter().flatten() {
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
    done.map(|()| report)
}

/// Section for a management socket.
pub(super) const MANAGEMENT: &str = "[management]\nsocket = \"lwaftr.sock\"\n";

/// How long the socket may take to be there.
const PATIENCE: Duration = Duration::from_secs(15);

/// Waits for the management socket and connects to it.
pub(super) fn management(aftr: &Agent) -> Result<Management, String> {
    let (path, watch) = (aftr.file(SOCKET), Stopwatch::start());
    loop {
        match Management::connect(&path) {
            Ok(management) => return Ok(management),
            Err(_) if watch.elapsed() < PATIENCE => wait(Duration::from_millis(20)),
            Err(error) => return Err(format!("{}: {error}", path.display())),
        }
    }
}

/// Whether the report says that every frame is accounted for.
pub(super) fn closed(report: &Value) -> bool {
    let accounts = report.get("accounts");
    accounts.and_then(|accounts| accounts.get("closed")) == Some(&Value::Bool(true))
}

/// What a report has under `section` and `name`; 0 where it has nothing.
pub(super) fn counted(report: &Value, section: &str, name: &str) -> u64 {
    let count = report.get(section).and_then(|section| section.get(name));
    count.and_then(Value::as_u64).unwrap_or(0)
}

pub(super) fn config(settings: &Settings) -> String {
    let Settings { instance, sections } = settings;
    format!(
        "[instance]\nsoftwires = \"{SOFTWIRES}\"\n{instance}\n\n\
         [internet]\ninterface = \"up0\"\naddress = \"{AFTR_IPV4}\"\nnext-hop = \"{INTERNET}\"\n\
         mtu = {MTU}\n\n\
         [softwire]\ninterface = \"down0\"\naddress = \"{AFTR_IPV6}/64\"\nnext-hop = \"{ROUTER}\"\n\n\
         {sections}\n"
    )
}

/// The softwire file of `subscribers`.
pub(super) fn softwires(subscribers: &[Subscriber]) -> Result<String, String> {
    let binding = |subscriber: &Subscriber| Binding {
        b4: subscriber.b4(),
        prefix_len: 128,
        ipv4: subscriber.ipv4,
        ports: subscriber.ports,
        aftr: AFTR,
        origin: Origin::Static,
        expires: Expiry::Never,
    };
    let bindings: Vec<Binding> = subscribers.iter().map(binding).collect();
    softwire_file(&bindings)
}

/// A softwire file with these bindings, and room for some more.
pub(super) fn softwire_file(bindings: &[Binding]) -> Result<String, String> {
    let room = u32::try_from(bindings.len()).unwrap_or(u32::MAX).max(ROOM);
    let mut instance = Instance::new("lab".to_owned(), room, MTU - TUNNEL, MTU + TUNNEL);
    for &binding in bindings {
        instance.bindings.push(binding.into());
    }
    let mut text = Vec::new();
    export(&mut text, &[instance], clock(), Layout::Compact).map_err(|error| error.to_string())?;
    String::from_utf8(text).map_err(|error| error.to_string())
}
