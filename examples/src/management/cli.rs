//! `lwaftr show`, `softwire`, `set`, `reload`, `lookup`, `trace`, `events`: the client's commands.

use std::io::{IsTerminal as _, Write};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use hyper::Method;
use serde_json::{Value, json};

use super::client::{Client, ClientError, DEFAULT_SOCKET};
use super::{past, show};
use crate::error::Failure;
use crate::stopwatch::{Stopwatch, wait};

/// How every command finds the program, and what it prints.
#[derive(Args, Clone, Debug)]
pub struct Common {
    /// Management socket of the running lwaftr.
    ///
    /// Default: what the environment variable LWAFTR_SOCKET says, else /run/lwaftr/lwaftr.sock.
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

/// What `show` can show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum What {
    /// The state as a whole.
    #[default]
    Status,
    /// Softwires in the table, the first hundred.
    Softwires,
    /// RFC 8676 traffic-stat and the engine's other counters.
    Counters,
    /// Dropped packets by reason.
    Drops,
    /// Interfaces and their frames.
    Interfaces,
    /// Threads that move packets.
    Workers,
    /// The routers of both sides.
    NextHops,
    /// The configuration in force.
    Config,
    /// Knobs that `set` takes, with their values.
    Knobs,
    /// What an operator should look at; exit code 1 where there is something.
    Alarms,
}

/// Arguments of `show`.
#[derive(Args, Debug)]
pub struct ShowArguments {
    /// What is shown.
    #[arg(value_enum, default_value_t)]
    what: What,
    /// Shows it again every SECONDS, with rates per second.
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "1")]
    watch: Option<f64>,
    /// Ends after so many times.
    #[arg(long, value_name = "N", requires = "watch")]
    count: Option<u64>,
    #[command(flatten)]
    common: Common,
}

/// `softwire …`.
#[derive(Debug, Subcommand)]
pub enum SoftwireCommand {
    /// Binds a softwire. It is in the table, and in the store, when the command ends.
    Add(AddArguments),
    /// Ends a softwire; no packet matches it from then on.
    Remove(RemoveArguments),
    /// Lists softwires, ordered by address and port set.
    List(ListArguments),
}

/// Arguments of `softwire add`.
#[derive(Args, Debug)]
pub struct AddArguments {
    /// Public IPv4 address.
    #[arg(long, value_name = "ADDR", required_unless_present = "file")]
    ipv4: Option<Ipv4Addr>,
    /// Bits of PSID; 0 is the whole address.
    #[arg(long, value_name = "K", default_value_t = 0)]
    psid_len: u8,
    /// PSID, below 2^K.
    #[arg(long, default_value_t = 0)]
    psid: u16,
    /// Bits before the PSID.
    #[arg(long, value_name = "A", default_value_t = 0)]
    psid_offset: u8,
    /// IPv6 address of the B4, or the prefix that its address is constructed from.
    #[arg(long, value_name = "ADDR|PREFIX", required_unless_present = "file")]
    b4: Option<String>,
    /// IPv6 address of the AFTR. Default: default-br-ipv6-addr of the configuration.
    #[arg(long, value_name = "ADDR")]
    br: Option<Ipv6Addr>,
    /// A binding-entry of ietf-softwire-br, or a list of up to 1024, as JSON; - is standard input.
    /// All of a list is added, or nothing.
    #[arg(long, value_name = "JSON", conflicts_with_all = ["ipv4", "b4", "br"])]
    file: Option<PathBuf>,
    /// Who makes it.
    #[arg(
        long,
        value_name = "operator|dhcp|pcp|peer",
        default_value = "operator"
    )]
    origin: String,
    /// Seconds until it ends by itself.
    #[arg(long, value_name = "SECONDS")]
    lifetime: Option<u64>,
    /// What is bound to the same address and port set gives way.
    #[arg(long)]
    replace: bool,
    #[command(flatten)]
    common: Common,
}

/// Arguments of `softwire remove`.
#[derive(Args, Debug)]
pub struct RemoveArguments {
    /// Public IPv4 address.
    #[arg(long, value_name = "ADDR", required_unless_present = "key")]
    ipv4: Option<Ipv4Addr>,
    /// Bits of PSID; 0 is the whole address.
    #[arg(long, value_name = "K", default_value_t = 0)]
    psid_len: u8,
    /// PSID, below 2^K.
    #[arg(long, default_value_t = 0)]
    psid: u16,
    /// Bits before the PSID.
    #[arg(long, value_name = "A", default_value_t = 0)]
    psid_offset: u8,
    /// The softwire as `softwire list` names it: ADDR/a,k,psid.
    #[arg(value_name = "SOFTWIRE", conflicts_with = "ipv4")]
    key: Option<String>,
    #[command(flatten)]
    common: Common,
}

/// Arguments of `softwire list`.
#[derive(Args, Debug)]
pub struct ListArguments {
    /// Only on this address.
    #[arg(long, value_name = "ADDR")]
    ipv4: Option<Ipv4Addr>,
    /// Only of this B4.
    #[arg(long, value_name = "ADDR")]
    b4: Option<Ipv6Addr>,
    /// Only those after this one, ADDR/a,k,psid.
    #[arg(long, value_name = "SOFTWIRE")]
    after: Option<String>,
    /// At most so many.
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: usize,
    /// All of them.
    #[arg(long, conflicts_with = "limit")]
    all: bool,
    #[command(flatten)]
    common: Common,
}

/// Arguments of `set`.
#[derive(Args, Debug)]
pub struct SetArguments {
    /// The knob: section.key as in the configuration, or the key alone. `show knobs` lists them.
    knob: String,
    /// Its value as in the configuration; text needs no quotes.
    value: String,
    #[command(flatten)]
    common: Common,
}

/// Arguments of `reload`.
#[derive(Args, Debug)]
pub struct ReloadArguments {
    /// Only says what would change.
    #[arg(long)]
    diff: bool,
    #[command(flatten)]
    common: Common,
}

/// Arguments of `lookup`.
#[derive(Args, Debug)]
pub struct LookupArguments {
    /// IPv4 address and port, or the address alone; or a B4's address or prefix.
    #[arg(value_name = "ADDR[:PORT]|B4|PREFIX")]
    address: String,
    /// When, such as 2026-11-20T19:05:32Z. Default: now.
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
    /// Asks this log (`state.log`) and its older parts beside it, instead of a running lwaftr.
    #[arg(long, value_name = "FILE", conflicts_with = "socket")]
    log_file: Option<PathBuf>,
    #[command(flatten)]
    common: Common,
}

/// Arguments of `trace`.
#[derive(Args, Debug)]
pub struct TraceArguments {
    /// Only packets of this IPv4 address.
    #[arg(long, value_name = "ADDR")]
    ipv4: Option<Ipv4Addr>,
    /// Only packets of this port.
    #[arg(long)]
    port: Option<u16>,
    /// Only packets of this B4.
    #[arg(long, value_name = "ADDR")]
    b4: Option<Ipv6Addr>,
    /// Only packets that are dropped or answered.
    #[arg(long)]
    drops: bool,
    /// Ends after so many.
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    #[command(flatten)]
    common: Common,
}

/// Arguments of `events`.
#[derive(Args, Debug)]
pub struct EventsArguments {
    /// Ends after so many.
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    #[command(flatten)]
    common: Common,
}

/// A client whose errors end the program.
struct Asking(Client);

impl Asking {
    fn call(&self, method: Method, path: &str, body: Vec<u8>) -> Result<Value, Failure> {
        self.0.call(method, path, body).map_err(|e| failed(&e))
    }

    fn get(&self, path: &str) -> Result<Value, Failure> {
        self.0.get(path).map_err(|e| failed(&e))
    }

    fn lines(&self, path: &str, each: impl FnMut(&str) -> ControlFlow<()>) -> Result<(), Failure> {
        self.0.lines(path, each).map_err(|e| failed(&e))
    }
}

/// What a wrong request or a missing program means for the exit code.
fn failed(error: &ClientError) -> Failure {
    if error.is_usage() {
        return Failure::config(error.to_string());
    }
    Failure::run(error.to_string())
}

impl Common {
    fn client(&self) -> Result<Asking, Failure> {
        let socket = self.socket.clone().unwrap_or_else(|| {
            std::env::var_os("LWAFTR_SOCKET").map_or_else(|| DEFAULT_SOCKET.into(), PathBuf::from)
        });
        let client = Client::new(&socket).map_err(|error| Failure::at(&socket, error))?;
        Ok(Asking(client))
    }

    /// Prints an answer: as it is, or for people.
    fn print(&self, value: &Value, text: impl FnOnce(&Value) -> String) -> Result<(), Failure> {
        let text = if self.json {
            let text = serde_json::to_string_pretty(value);
            text.map_err(|error| Failure::run(error.to_string()))? + "\n"
        } else {
            text(value)
        };
        say(&text).map(drop)
    }
}

/// Writes to standard output; whether somebody still reads.
fn say(text: &str) -> Result<bool, Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Failure::run(format!("standard output: {error}"))),
    }
}

/// `lwaftr show`.
///
/// # Errors
///
/// Where there is no answer; for `alarms` also where there are some.
pub fn show(arguments: &ShowArguments) -> Result<(), Failure> {
    let ShowArguments {
        what,
        watch,
        count,
        common,
    } = arguments;
    let client = common.client()?;
    let Some(interval) = watch else {
        let value = fetch(&client, *what)?;
        common.print(&value, |value| show::text(*what, value, None))?;
        let alarmed = *what == What::Alarms && value.as_array().is_some_and(|all| !all.is_empty());
        if alarmed {
            return Err(Failure::run("there are alarms"));
        }
        return Ok(());
    };
    let interval = Duration::try_from_secs_f64(*interval)
        .map_err(|error| Failure::config(format!("--watch: {error}")))?;
    let terminal = std::io::stdout().is_terminal();
    let mut before: Option<(Stopwatch, Value)> = None;
    let mut left = count.unwrap_or(u64::MAX);
    while left > 0 {
        let at = Stopwatch::start();
        let value = fetch(&client, *what)?;
        let since = before.as_ref().map(|(then, value)| (value, then.elapsed()));
        let text = if common.json {
            format!("{value}\n")
        } else {
            let clear = if terminal { "\x1b[H\x1b[2J" } else { "" };
            format!("{clear}{}", show::text(*what, &value, since))
        };
        if !say(&text)? {
            break;
        }
        before = Some((at, value));
        left -= 1;
        if left > 0 {
            wait(interval);
        }
    }
    Ok(())
}

fn fetch(client: &Asking, what: What) -> Result<Value, Failure> {
    let path = match what {
        What::Status => "/status",
        What::Softwires => "/softwires",
        What::Counters | What::Drops => "/counters",
        What::Interfaces => "/interfaces",
        What::Workers => "/workers",
        What::NextHops => "/next-hops",
        What::Config => "/config",
        What::Knobs => "/knobs",
        What::Alarms => "/health",
    };
    let mut value = client.get(path)?;
    let part = match what {
        What::Drops => value.get_mut("drops"),
        What::Alarms => value.get_mut("alarms"),
        What::Status
        | What::Softwires
        | What::Counters
        | What::Interfaces
        | What::Workers
        | What::NextHops
        | What::Config
        | What::Knobs => None,
    };
    Ok(part.map(Value::take).unwrap_or(value))
}

/// `lwaftr softwire`.
///
/// # Errors
///
/// Where the request is refused or there is no answer.
pub fn softwire(command: &SoftwireCommand) -> Result<(), Failure> {
    match command {
        SoftwireCommand::Add(arguments) => add(arguments),
        SoftwireCommand::Remove(arguments) => remove(arguments),
        SoftwireCommand::List(arguments) => list(arguments),
    }
}

fn add(arguments: &AddArguments) -> Result<(), Failure> {
    let body = match &arguments.file {
        Some(path) => read_input(path)?,
        None => {
            let mut entry = json!({
                "binding-ipv6info": arguments.b4,
                "binding-ipv4-addr": arguments.ipv4,
                "port-set": {
                    "psid-offset": arguments.psid_offset,
                    "psid-len": arguments.psid_len,
                    "psid": arguments.psid,
                },
            });
            if let (Some(br), Some(entry)) = (arguments.br, entry.as_object_mut()) {
                entry.insert("br-ipv6-addr".to_owned(), json!(br));
            }
            entry.to_string().into_bytes()
        }
    };
    let mut path = format!("/softwires?origin={}", encoded(&arguments.origin));
    if let Some(lifetime) = arguments.lifetime {
        path.push_str(&format!("&lifetime={lifetime}"));
    }
    if arguments.replace {
        path.push_str("&replace=true");
    }
    let common = &arguments.common;
    let value = common.client()?.call(Method::POST, &path, body)?;
    common.print(&value, |value| {
        let count = show::number(value.get("added"));
        let softwires = if count == "1" {
            "softwire"
        } else {
            "softwires"
        };
        format!(
            "{count} {softwires} added; {}\n",
            show::table_line(value.get("table"))
        )
    })
}

fn read_input(path: &std::path::Path) -> Result<Vec<u8>, Failure> {
    let read = if path == std::path::Path::new("-") {
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut std::io::stdin().lock(), &mut bytes).map(|_| bytes)
    } else {
        std::fs::read(path)
    };
    read.map_err(|error| Failure::at_config(path, &error))
}

fn remove(arguments: &RemoveArguments) -> Result<(), Failure> {
    let key = match (&arguments.key, arguments.ipv4) {
        (Some(key), _) => key.clone(),
        (None, ipv4) => format!(
            "{}/{},{},{}",
            ipv4.unwrap_or(Ipv4Addr::UNSPECIFIED),
            arguments.psid_offset,
            arguments.psid_len,
            arguments.psid
        ),
    };
    let key = super::super::control::parse_key(&key).map_err(Failure::config)?;
    let path = format!("/softwires/{}", super::super::control::key_text(&key));
    let common = &arguments.common;
    let value = common.client()?.call(Method::DELETE, &path, Vec::new())?;
    common.print(&value, |value| {
        format!("removed; {}\n", show::table_line(value.get("table")))
    })
}

fn list(arguments: &ListArguments) -> Result<(), Failure> {
    let common = &arguments.common;
    let client = common.client()?;
    let mut after = arguments.after.clone();
    let mut all: Vec<Value> = Vec::new();
    loop {
        let left = arguments.limit.saturating_sub(all.len());
        let limit = if arguments.all { 1000 } else { left.min(1000) };
        let mut path = format!("/softwires?limit={limit}");
        if let Some(ipv4) = arguments.ipv4 {
            path.push_str(&format!("&ipv4={ipv4}"));
        }
        if let Some(b4) = arguments.b4 {
            path.push_str(&format!("&b4={b4}"));
        }
        if let Some(after) = &after {
            path.push_str(&format!("&after={}", encoded(after)));
        }
        let mut page = client.get(&path)?;
        let next = page.get("next").and_then(Value::as_str).map(str::to_owned);
        if let Some(Value::Array(more)) = page.get_mut("softwires") {
            all.append(more);
        }
        if next.is_none() || (!arguments.all && all.len() >= arguments.limit) {
            if let Some(page) = page.as_object_mut() {
                page.insert("softwires".to_owned(), Value::Array(all));
            }
            return common.print(&page, |page| show::text(What::Softwires, page, None));
        }
        after = next;
    }
}

/// `lwaftr set`.
///
/// # Errors
///
/// Where the request is refused or there is no answer.
pub fn set(arguments: &SetArguments) -> Result<(), Failure> {
    let SetArguments {
        knob,
        value,
        common,
    } = arguments;
    let value = show::knob_value(value);
    let path = format!("/knobs/{}", encoded(knob));
    let body = value.to_string().into_bytes();
    let value = common.client()?.call(Method::PUT, &path, body)?;
    common.print(&value, |value| {
        let part = |name: &str| value.get(name).map(ToString::to_string).unwrap_or_default();
        let knob = value
            .get("knob")
            .and_then(Value::as_str)
            .unwrap_or_default();
        format!("{knob} is {}, was {}\n", part("is"), part("was"))
    })
}

/// `lwaftr reload`.
///
/// # Errors
///
/// Where the configuration is refused or there is no answer.
pub fn reload(arguments: &ReloadArguments) -> Result<(), Failure> {
    let ReloadArguments { diff, common } = arguments;
    let path = format!("/reload?diff={diff}");
    let value = common.client()?.call(Method::POST, &path, Vec::new())?;
    common.print(&value, |value| show::reload(value, *diff))
}

/// `lwaftr lookup`.
///
/// # Errors
///
/// Where nobody is found, the request is refused, or there is no answer.
// R-270
pub fn lookup(arguments: &LookupArguments) -> Result<(), Failure> {
    let LookupArguments {
        address,
        at,
        log_file,
        common,
    } = arguments;
    // An IPv6 address has colons, too.
    let (address, port) = match address.split_once(':') {
        Some((ipv4, port)) if ipv4.parse::<Ipv4Addr>().is_ok() => (ipv4, Some(port)),
        _ => (address.as_str(), None),
    };
    let value = match log_file {
        Some(log) => ask_log(log, address, port, at.as_deref())?,
        None => ask_program(common, address, port, at.as_deref())?,
    };
    common.print(&value, show::found)?;
    let found = value.get("found").and_then(Value::as_array);
    if found.is_none_or(Vec::is_empty) {
        return Err(Failure::run("nobody had that"));
    }
    Ok(())
}

fn ask_program(
    common: &Common,
    address: &str,
    port: Option<&str>,
    at: Option<&str>,
) -> Result<Value, Failure> {
    let mut path = format!("/lookup?address={}", encoded(address));
    for (name, value) in [("port", port), ("at", at)] {
        if let Some(value) = value {
            path.push_str(&format!("&{name}={}", encoded(value)));
        }
    }
    common.client()?.get(&path)
}

fn ask_log(
    log: &std::path::Path,
    address: &str,
    port: Option<&str>,
    at: Option<&str>,
) -> Result<Value, Failure> {
    let wrong = |text: &str, rule: &str| Failure::config(format!("`{text}` is not {rule}"));
    let rule = "an IPv4 address with a port, or an IPv6 address or prefix";
    let port = port
        .map(|port| port.parse().map_err(|_| wrong(port, "a port")))
        .transpose()?;
    let question = past::Subject::of(address).and_then(|subject| subject.question(port));
    let question = question.ok_or_else(|| wrong(address, rule))?;
    let when = match at {
        None => crate::config::clock().utc,
        Some(at) => at
            .parse()
            .map_err(|_| wrong(at, "a date and time like 2026-11-20T19:05:32Z"))?,
    };
    past::ask(log, question, when).map_err(Failure::run)
}

/// `lwaftr trace`.
///
/// # Errors
///
/// Where the request is refused or there is no answer.
pub fn trace(arguments: &TraceArguments) -> Result<(), Failure> {
    let TraceArguments {
        ipv4,
        port,
        b4,
        drops,
        count,
        common,
    } = arguments;
    let mut path = format!("/trace?drops={drops}");
    for (name, value) in [
        ("ipv4", ipv4.map(|ipv4| ipv4.to_string())),
        ("port", port.map(|port| port.to_string())),
        ("b4", b4.map(|b4| b4.to_string())),
    ] {
        if let Some(value) = value {
            path.push_str(&format!("&{name}={value}"));
        }
    }
    follow(common, &path, *count, show::packet)
}

/// `lwaftr events`.
///
/// # Errors
///
/// Where the request is refused or there is no answer.
pub fn events(arguments: &EventsArguments) -> Result<(), Failure> {
    follow(&arguments.common, "/events", arguments.count, show::event)
}

fn follow(
    common: &Common,
    path: &str,
    count: Option<u64>,
    text: fn(&Value) -> String,
) -> Result<(), Failure> {
    let mut left = count.unwrap_or(u64::MAX);
    let mut failed = None;
    common.client()?.lines(path, |line| {
        let line = match serde_json::from_str(line) {
            Ok(value) if !common.json => text(&value),
            _ => line.to_owned(),
        };
        left = left.saturating_sub(1);
        match say(&format!("{line}\n")) {
            Ok(true) if left > 0 => ControlFlow::Continue(()),
            Ok(_) => ControlFlow::Break(()),
            Err(failure) => {
                failed = Some(failure);
                ControlFlow::Break(())
            }
        }
    })?;
    failed.map_or(Ok(()), Err)
}

/// A value for a query or a path (RFC 3986 §2.1).
fn encoded(text: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'-' | b'.' | b'_' | b':' | b',' | b'/' => {
                out.push(char::from(byte));
            }
            byte => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
    out
}
