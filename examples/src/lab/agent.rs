//! Processes of the lab: each holds a network namespace and does what it is asked.
//!
//! Requests and answers are one line of JSON each, on standard input and output.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddrV4, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::blast::{self, Blast};
use super::endpoint::{self, EndpointConfig};
use super::flow::{Flow, FlowEnd, Flows};
use super::host::{self, Setup};
use super::impair::{ImpairedLink, Impairment, LinkHandle};
use super::namespace;
use super::null::NullForwarder;
use super::probe::{self, Probe};
use super::raw::{self, Collect, Inject, Watch, Watches};
use super::traffic::{self, Download, Downloads, Exchange, Knock, Serve};

/// The longest that an answer may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Name of the configuration of a lwaftr in the lab.
pub const CONFIG: &str = "lwaftr.toml";

/// Name of its softwire file.
pub const SOFTWIRES: &str = "softwires.json";

/// Name of its management socket.
pub const SOCKET: &str = "lwaftr.sock";

/// What an agent can be asked.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Request {
    /// Interfaces, addresses, routes of the namespace.
    Setup(Setup),
    /// A softwire endpoint in the background, for as long as the agent lives.
    Endpoint(EndpointConfig),
    /// Servers in the background.
    Serve(Serve),
    /// ICMP echo requests.
    Probe(Probe),
    /// A TCP download.
    Download(Download),
    /// TCP downloads, one after the other.
    Downloads(Downloads),
    /// UDP datagrams, there and back.
    Exchange(Exchange),
    /// A UDP datagram to a closed door.
    Knock(Knock),
    /// Frames sent as they are.
    Inject(Inject),
    /// Begins to watch frames.
    Watch(Watch),
    /// What was seen on this interface.
    Seen(String),
    /// Opens the socket of a [`Request::Collect`] to come.
    Listen(SocketAddrV4),
    /// Datagrams waited for.
    Collect(Collect),
    /// Numbered datagrams sent in the background.
    Send(Flow),
    /// Numbered datagrams received in the background.
    Receive(FlowEnd),
    /// Ends what sends them.
    StopSending,
    /// What arrived of them.
    Received,
    /// Deletes an interface, and with it the other end of its wire.
    Unlink(String),
    /// An impaired link in the background, for as long as the agent lives.
    Impair(ImpairedLink),
    /// Does something else to what it carries.
    Tune([Impairment; 2]),
    /// What it did.
    Impaired,
    /// A forwarder that does nothing, between these interfaces, in the background.
    Null([String; 2]),
    /// Ends it.
    StopNull,
    /// As many frames as possible.
    Blast(Blast),
    /// What this interface has counted.
    Stats(String),
    /// The path MTU that the kernel has learned.
    PathMtu(std::net::Ipv4Addr),
    /// Becomes `lwaftr run`, until SIGTERM.
    Lwaftr {
        /// The configuration, [`CONFIG`] then.
        config: String,
        /// The softwire file, [`SOFTWIRES`] beside it.
        softwires: String,
    },
}

/// An agent, seen from the lab. Dropping it ends it.
#[derive(Debug)]
pub struct Agent {
    name: String,
    child: Child,
    requests: ChildStdin,
    answers: Receiver<String>,
}

impl Agent {
    /// Starts an agent and waits until it has its namespace.
    ///
    /// The calling thread has to live as long as the agent.
    ///
    /// # Errors
    ///
    /// Where it cannot be started or gets no namespace.
    pub fn start(name: &str) -> Result<Self, String> {
        Self::start_with(name, None)
    }

    /// Starts an agent in the network namespace of another one.
    ///
    /// # Errors
    ///
    /// Where it cannot be started, or the other one is gone.
    pub fn start_beside(name: &str, other: &Self) -> Result<Self, String> {
        Self::start_with(name, Some(other.id()))
    }

    fn start_with(name: &str, beside: Option<u32>) -> Result<Self, String> {
        let wrong = |error: io::Error| format!("agent {name}: {error}");
        let mut child = Command::new("/proc/self/exe")
            .args(["agent", &std::process::id().to_string(), name])
            .args(beside.map(|id| id.to_string()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(wrong)?;
        let (requests, answers) = (child.stdin.take(), child.stdout.take());
        let (Some(requests), Some(answers)) = (requests, answers) else {
            return Err(format!("agent {name}: no pipes"));
        };
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn(move || {
            let lines = BufReader::new(answers).lines().map_while(Result::ok);
            // The lab no longer listens when it ends.
            lines
                .map(|line| sender.send(line))
                .take_while(Result::is_ok)
                .for_each(drop);
        });
        let agent = Self {
            name: name.to_owned(),
            child,
            requests,
            answers: receiver,
        };
        agent.answer::<()>()?;
        Ok(agent)
    }

    /// Its process, by which its namespace is found.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Path, for the lab, of a file of the lwaftr that the agent has become.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        format!("/proc/{}/root{FILES}/{name}", self.id()).into()
    }

    /// Sends the agent a signal.
    ///
    /// # Errors
    ///
    /// Where it is gone.
    pub fn signal(&self, signal: Signal) -> Result<(), String> {
        let wrong = |error: String| format!("agent {}: {error}", self.name);
        let id = i32::try_from(self.id()).map_err(|error| wrong(error.to_string()))?;
        kill(Pid::from_raw(id), signal).map_err(|error| wrong(error.to_string()))
    }

    /// Asks and waits for the answer.
    ///
    /// # Errors
    ///
    /// What the agent says is wrong, or that it says nothing.
    pub fn ask<T: DeserializeOwned>(&mut self, request: &Request) -> Result<T, String> {
        self.tell(request)?;
        self.answer()
    }

    /// Asks and does not wait.
    ///
    /// # Errors
    ///
    /// Where the agent is gone.
    pub fn tell(&mut self, request: &Request) -> Result<(), String> {
        let line = serde_json::to_string(request).map_err(|error| error.to_string())?;
        writeln!(self.requests, "{line}").map_err(|error| format!("agent {}: {error}", self.name))
    }

    /// Waits for an answer.
    ///
    /// # Errors
    ///
    /// What the agent says is wrong, or that it says nothing.
    pub fn answer<T: DeserializeOwned>(&self) -> Result<T, String> {
        let name = &self.name;
        let line = self.answers.recv_timeout(PATIENCE);
        let line = line.map_err(|_| format!("agent {name} does not answer"))?;
        let answer: Result<Value, String> = serde_json::from_str(&line)
            .map_err(|error| format!("agent {name} answers `{line}`: {error}"))?;
        let answer = answer.map_err(|error| format!("{name}: {error}"))?;
        serde_json::from_value(answer).map_err(|error| format!("agent {name}: {error}"))
    }

    /// What the agent has said is wrong although nobody waits for an answer.
    #[must_use]
    pub fn complaint(&self) -> Option<String> {
        let line = self.answers.try_recv().ok()?;
        let answer: Result<Value, String> = serde_json::from_str(&line).ok()?;
        answer.err().map(|error| format!("{}: {error}", self.name))
    }

    /// Asks the agent to stop by SIGTERM, and returns its last answer and exit code.
    ///
    /// # Errors
    ///
    /// Where it cannot be signaled or has nothing to say.
    pub fn terminate<T: DeserializeOwned>(&mut self) -> Result<(T, Option<i32>), String> {
        self.signal(Signal::SIGTERM)?;
        let last = self.answer()?;
        let status = self
            .child
            .wait()
            .map_err(|error| format!("agent {}: {error}", self.name))?;
        Ok((last, status.code()))
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // Both fail only where it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The agent itself, in a network namespace of its own or `beside` another process: serves requests until its standard input ends. Returns its exit code.
#[must_use]
pub fn main(parent: i32, beside: Option<i32>) -> u8 {
    if !say(namespace::attach(parent, beside).map(|()| Value::Null)) {
        return 1;
    }
    let mut held = Held::default();
    for line in io::stdin().lock().lines().map_while(Result::ok) {
        let request = match serde_json::from_str(&line) {
            Ok(Request::Lwaftr { config, softwires }) => {
                return u8::from(!say(lwaftr(&config, &softwires)));
            }
            Ok(request) => serve(&request, &mut held),
            Err(error) => Err(format!("request `{line}`: {error}")),
        };
        say(request);
    }
    0
}

/// What an agent keeps between requests.
#[derive(Debug, Default)]
struct Held {
    watches: Watches,
    sockets: BTreeMap<SocketAddrV4, UdpSocket>,
    link: Option<LinkHandle>,
    null: Option<NullForwarder>,
    flows: Flows,
}

impl Held {
    fn link(&self) -> Result<&LinkHandle, String> {
        self.link
            .as_ref()
            .ok_or_else(|| "there is no link here".to_owned())
    }
}

fn serve(request: &Request, held: &mut Held) -> Result<Value, String> {
    match request {
        Request::Setup(setup) => value(host::set_up(setup)),
        Request::Endpoint(config) => value(endpoint::start(config)),
        Request::Serve(serve) => value(traffic::serve(serve)),
        Request::Probe(probe) => value(probe::send(probe)),
        Request::Download(download) => value(traffic::download(download)),
        Request::Downloads(all) => value(traffic::downloads(all)),
        Request::Exchange(exchange) => value(traffic::exchange(exchange)),
        Request::Knock(knock) => value(traffic::knock(knock)),
        Request::Inject(inject) => value(raw::inject(inject)),
        Request::Watch(watch) => value(held.watches.begin(watch)),
        Request::Seen(interface) => value(held.watches.seen(interface)),
        Request::Listen(at) => value(raw::listen(*at).map(|socket| {
            held.sockets.insert(*at, socket);
        })),
        Request::Collect(collect) => {
            let held = held.sockets.remove(&collect.at);
            let socket = held.map_or_else(|| raw::listen(collect.at), Ok);
            value(socket.and_then(|socket| raw::collect(&socket, collect)))
        }
        Request::Send(flow) => value(held.flows.send(flow)),
        Request::Receive(end) => value(held.flows.receive(end)),
        Request::StopSending => value(Ok(held.flows.stop())),
        Request::Received => value(Ok(held.flows.seen())),
        Request::Unlink(interface) => value(host::unlink(interface)),
        Request::Impair(link) => value(LinkHandle::start(link).map(|link| {
            held.link = Some(link);
        })),
        Request::Tune(directions) => value(held.link().map(|link| link.tune(*directions))),
        Request::Impaired => value(held.link().map(LinkHandle::counters)),
        Request::Null(interfaces) => value(NullForwarder::start(interfaces).map(|null| {
            held.null = Some(null);
        })),
        Request::StopNull => value(
            held.null
                .take()
                .ok_or_else(|| "there is no forwarder here".to_owned())
                .and_then(NullForwarder::stop),
        ),
        Request::Blast(frames) => value(blast::blast(frames)),
        Request::Stats(interface) => value(blast::stats(interface)),
        Request::PathMtu(to) => value(host::path_mtu(*to)),
        Request::Lwaftr { .. } => Err("lwaftr runs in the foreground".to_owned()),
    }
}

/// Where lwaftr's files are: in a file system in memory that nobody outside sees and that ends with
/// the agent. The lab looks at it by [`Agent::file`].
const FILES: &str = "/tmp";

/// Runs `lwaftr run` on files in memory; returns its report.
fn lwaftr(config: &str, softwires: &str) -> Result<Value, String> {
    namespace::hide(FILES)?;
    let folder = Path::new(FILES);
    for (name, text) in [(SOFTWIRES, softwires), (CONFIG, config)] {
        std::fs::write(folder.join(name), text).map_err(|error| format!("{name}: {error}"))?;
    }
    let report = crate::run::run(&folder.join(CONFIG)).map_err(|failure| failure.to_string());
    value(report)
}

fn value(result: Result<impl Serialize, String>) -> Result<Value, String> {
    result.and_then(|value| serde_json::to_value(value).map_err(|error| error.to_string()))
}

/// Answers; whether the answer was a good one and arrived.
fn say(answer: Result<Value, String>) -> bool {
    let good = answer.is_ok();
    let line = serde_json::to_string(&answer).unwrap_or_default();
    let mut out = io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).is_ok() && good
}
