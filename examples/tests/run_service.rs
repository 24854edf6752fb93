//! `lwaftr run` as a service: what it tells its manager, what signals do, which rights it keeps.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a panic is a failed test, and a skipped one says so"
)]

use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use lw4o6_examples::netlink::{Netlink, VethEnd};
use lw4o6_examples::packet_io::{FrameBatch, OpenOptions, PacketIo, open};
use lw4o6_examples::stopwatch::{Stopwatch, wait};
use lw4o6_wire::ethernet::MacAddr;
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, gettid};
use serde_json::Value;

const LWAFTR: &str = env!("CARGO_BIN_EXE_lwaftr");

/// The longest that anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A folder with a configuration, and a socket that plays the service manager.
struct Place {
    folder: PathBuf,
    manager: UnixDatagram,
}

impl Place {
    /// `packets` from each side, for those who read captures.
    fn new(name: &str, packets: u32) -> Self {
        let folder = std::env::temp_dir().join(format!("lw4o6-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let packets = packets.to_string();
        let made = Command::new(LWAFTR)
            .args(["generate", "--softwires", "4", "--packets", &packets])
            .args([
                "--v4-out", "in4.pcap", "--v6-out", "in6.pcap", "-o", "c.toml",
            ])
            .current_dir(&folder)
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
        let manager = UnixDatagram::bind(folder.join("notify")).unwrap();
        manager.set_read_timeout(Some(PATIENCE)).unwrap();
        // A program that has become somebody else goes on telling.
        for path in [folder.clone(), folder.join("notify")] {
            std::fs::set_permissions(path, PermissionsExt::from_mode(0o777)).unwrap();
        }
        Self { folder, manager }
    }

    /// Changes the configuration.
    fn configure(&self, change: impl FnOnce(String) -> String) {
        let path = self.folder.join("c.toml");
        let text = change(std::fs::read_to_string(&path).unwrap());
        std::fs::write(path, text).unwrap();
    }

    /// Frames come from captures, and go into files or what is in their place.
    fn on_captures(&self) {
        self.configure(|text| {
            text.replace(
                "[internet]",
                "[internet]\ninterface = \"pcap:in4.pcap:out4.pcap\"",
            )
            .replace(
                "[softwire]",
                "[softwire]\ninterface = \"pcap:in6.pcap:out6.pcap\"",
            )
        });
    }

    fn start(&self, watchdog: Duration) -> Running {
        let child = Command::new(LWAFTR)
            .args(["run", "--json", "c.toml"])
            .current_dir(&self.folder)
            .env("NOTIFY_SOCKET", self.folder.join("notify"))
            .env("WATCHDOG_USEC", watchdog.as_micros().to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        Running(child.unwrap())
    }

    /// The next message to the service manager.
    fn told(&self) -> String {
        let mut text = [0; 4096];
        let len = self.manager.recv(&mut text).unwrap();
        String::from_utf8(text[..len].to_vec()).unwrap()
    }

    /// Waits for a message that begins so; what else comes is a sign of life.
    fn is_told(&self, what: &str) -> String {
        loop {
            let told = self.told();
            if told.starts_with(what) {
                return told;
            }
            assert_eq!(told, "WATCHDOG=1\n", "instead of {what}");
        }
    }

    /// How many messages come in `time`.
    fn signs_in(&self, time: Duration) -> usize {
        let watch = Stopwatch::start();
        let mut signs = 0;
        while let Some(left) = time
            .checked_sub(watch.elapsed())
            .filter(|left| !left.is_zero())
        {
            self.manager.set_read_timeout(Some(left)).unwrap();
            signs += usize::from(self.manager.recv(&mut [0; 4096]).is_ok());
        }
        self.manager.set_read_timeout(Some(PATIENCE)).unwrap();
        signs
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// A program that is ended with its owner.
struct Running(Child);

impl Running {
    fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.0.id().try_into().unwrap())
    }

    /// Its report, once it has ended well.
    fn report(self) -> Value {
        self.report_and_log("")
    }

    /// The same for one that has something of this kind to complain about.
    fn report_and_log(mut self, complaint: &str) -> Value {
        let [mut out, mut err] = [String::new(), String::new()];
        self.0
            .stdout
            .take()
            .unwrap()
            .read_to_string(&mut out)
            .unwrap();
        self.0
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut err)
            .unwrap();
        let status = self.0.wait().unwrap();
        assert_eq!(status.code(), Some(0), "{err}");
        assert!(
            err.contains(complaint) && err.is_empty() == complaint.is_empty(),
            "{err}"
        );
        serde_json::from_str(&out).unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended as it should.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_service_manager_is_told_of_start_life_reload_and_stop() {
    let place = Place::new("notify", 50);
    place.on_captures();
    let running = place.start(Duration::from_millis(500));
    assert_eq!(
        place.told(),
        "READY=1\nSTATUS=4 softwires, 1 worker\n",
        "nothing before that"
    );
    for _ in 0..3 {
        assert_eq!(place.told(), "WATCHDOG=1\n");
    }
    running.signal(Signal::SIGUSR1);
    running.signal(Signal::SIGHUP);
    let reloading = place.is_told("RELOADING=1\n");
    let time = reloading
        .lines()
        .nth(1)
        .and_then(|line| line.strip_prefix("MONOTONIC_USEC="));
    assert!(time.unwrap().parse::<u64>().unwrap() > 0, "{reloading}");
    place.is_told("READY=1\n");
    running.signal(Signal::SIGTERM);
    place.is_told("STOPPING=1\n");
    let report = running.report();
    for side in ["internet", "softwire"] {
        assert_eq!(report[side]["received"], 50);
        assert_eq!(report[side]["transmitted"], 50);
    }
    assert_eq!(report["accounts"]["closed"], true);
    assert_eq!(report["accounts"]["internet"]["received"]["forwarded"], 50);
}

#[test]
fn a_worker_that_stands_still_stops_the_signs_of_life() {
    let place = Place::new("stall", 4000);
    place.on_captures();
    let pipe = place.folder.join("out4.pcap");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    // Open both ways, or opening would wait for the other end.
    let mut reader = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(&pipe)
        .unwrap();
    let running = place.start(Duration::from_millis(400));
    place.is_told("READY=1\n");
    // The pipe is full soon, and the worker waits for it.
    wait(Duration::from_millis(500));
    let _ = place.signs_in(Duration::from_millis(300));
    assert_eq!(place.signs_in(Duration::from_secs(2)), 0);
    // From now on somebody reads, as long as the test runs.
    std::thread::spawn(move || while reader.read(&mut [0; 1 << 16]).is_ok() {});
    place.is_told("WATCHDOG=1\n");
    running.signal(Signal::SIGTERM);
    place.is_told("STOPPING=1\n");
    let report = running.report_and_log("a worker stands still");
    assert_eq!(report["internet"]["transmitted"], 4000);
}

#[test]
fn a_user_that_does_not_exist_is_named() {
    let place = Place::new("no-user", 1);
    place.on_captures();
    place.configure(|text| text + "\n[run]\nuser = \"nobody-of-this-name\"\n");
    let output = Command::new(LWAFTR)
        .args(["run", "c.toml"])
        .current_dir(&place.folder)
        .output()
        .unwrap();
    let error = "error: c.toml: run: there is no user `nobody-of-this-name`\n";
    assert_eq!(String::from_utf8_lossy(&output.stderr), error);
    assert_eq!(output.status.code(), Some(2));
}

const MACS: [[MacAddr; 2]; 2] = [
    [MacAddr([2, 0, 0, 0, 1, 1]), MacAddr([2, 0, 0, 0, 1, 2])],
    [MacAddr([2, 0, 0, 0, 2, 1]), MacAddr([2, 0, 0, 0, 2, 2])],
];

/// Makes a wire between two interfaces of this thread's namespace.
fn wire(netlink: &mut Netlink, names: [&str; 2], macs: [MacAddr; 2]) {
    let end = |name: &str, mac| VethEnd {
        name: name.to_owned(),
        namespace_of: gettid().as_raw().try_into().unwrap(),
        mac,
    };
    let ends = [end(names[0], macs[0]), end(names[1], macs[1])];
    netlink.create_veth([&ends[0], &ends[1]], 1500).unwrap();
    for name in names {
        let index = netlink.link(name).unwrap().index;
        netlink.set_up(index, true).unwrap();
    }
}

/// Asks from interface `name` who has `address` until an answer comes.
fn ask_by_arp(name: &str, own: MacAddr, address: [u8; 4]) -> MacAddr {
    let name = name.parse().unwrap();
    let mut io = open(&name, &OpenOptions::default()).unwrap();
    let mut frame = [[0xff; 6], own.0].concat();
    frame.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
    frame.extend(own.0);
    frame.extend([198, 51, 100, 2, 0, 0, 0, 0, 0, 0]);
    frame.extend(address);
    let mut batch = FrameBatch::new(io.longest());
    let watch = Stopwatch::start();
    while watch.elapsed() < PATIENCE {
        io.push(&frame);
        io.flush().unwrap();
        for _ in 0..50 {
            wait(Duration::from_millis(2));
            io.receive(&mut batch).unwrap();
            for frame in &batch.frames() {
                // A reply, from the address asked for.
                if let [
                    ..,
                    0,
                    2,
                    a,
                    b,
                    c,
                    d,
                    e,
                    f,
                    i,
                    j,
                    k,
                    l,
                    _,
                    _,
                    _,
                    _,
                    _,
                    _,
                    _,
                    _,
                    _,
                    _,
                ] = frame.packet().get(..42).unwrap_or_default()
                    && [*i, *j, *k, *l] == address
                {
                    return MacAddr([*a, *b, *c, *d, *e, *f]);
                }
            }
        }
    }
    panic!("no answer to ARP")
}

/// Checks that every thread of a program is nobody, with CAP_NET_RAW alone.
fn is_nobody(program: Pid) {
    let threads = std::fs::read_dir(format!("/proc/{program}/task")).unwrap();
    let threads: Vec<_> = threads
        .map(|thread| thread.unwrap().path().join("status"))
        .collect();
    assert!(threads.len() >= 4, "main, signals, two workers");
    for status in threads {
        let net_raw = "0000000000002000";
        assert_eq!(
            identity(&status),
            [
                "Uid: 65534 65534 65534 65534".to_owned(),
                "Gid: 65534 65534 65534 65534".to_owned(),
                "Groups: 65534".to_owned(),
                format!("CapPrm: {net_raw}"),
                format!("CapEff: {net_raw}"),
                format!("CapBnd: {net_raw}"),
                "CapAmb: 0000000000000000".to_owned(),
                "NoNewPrivs: 1".to_owned(),
            ]
        );
    }
}

/// Lines of a status file that say who a thread is.
fn identity(status: &Path) -> Vec<String> {
    let wanted = [
        "Uid",
        "Gid",
        "Groups",
        "CapPrm",
        "CapEff",
        "CapBnd",
        "CapAmb",
        "NoNewPrivs",
    ];
    let text = std::fs::read_to_string(status).unwrap();
    let lines = text.lines().filter(|line| {
        let name = line.split_once(':').map(|(name, _)| name);
        name.is_some_and(|name| wanted.contains(&name))
    });
    lines
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect()
}

#[test]
fn every_thread_has_only_the_rights_of_the_user_and_still_opens_an_interface_again() {
    let test = std::thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).map_err(|error| error.to_string())?;
        let mut netlink = Netlink::open().unwrap();
        wire(&mut netlink, ["up", "far"], MACS[0]);
        wire(&mut netlink, ["down", "away"], MACS[1]);
        let place = Place::new("rights", 1);
        place.configure(|text| {
            let text = text
                .replace("[internet]", "[internet]\ninterface = \"up\"")
                .replace("[softwire]", "[softwire]\ninterface = \"down\"");
            text + "\n[run]\nuser = \"nobody\"\nworkers = 2\n"
        });
        let config: toml::Table = std::fs::read_to_string(place.folder.join("c.toml"))
            .unwrap()
            .parse()
            .unwrap();
        let address: std::net::Ipv4Addr = config["internet"]["address"]
            .as_str()
            .unwrap()
            .parse()
            .unwrap();
        let mac = config["internet"]
            .get("mac")
            .map_or(MACS[0][0], |mac| mac.as_str().unwrap().parse().unwrap());
        let running = place.start(Duration::from_secs(2));
        place.is_told("READY=1\n");
        is_nobody(running.pid());
        assert_eq!(ask_by_arp("far", MACS[0][1], address.octets()), mac);
        let index = netlink.link("up").unwrap().index;
        netlink.delete_link(index).unwrap();
        wire(&mut netlink, ["up", "far"], MACS[0]);
        assert_eq!(ask_by_arp("far", MACS[0][1], address.octets()), mac);
        running.signal(Signal::SIGINT);
        place.is_told("STOPPING=1\n");
        let report = running.report();
        assert_eq!(report["accounts"]["closed"], true);
        assert!(report["interfaces"]["up"]["link-losses"].as_u64().unwrap() >= 1);
        Ok::<(), String>(())
    });
    match test.join() {
        Ok(Ok(())) => {}
        Ok(Err(why)) => {
            assert!(std::env::var_os("CI").is_none(), "rights: skipped: {why}");
            eprintln!("rights: skipped: {why}");
        }
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

#[test]
fn the_unit_file_is_one_that_systemd_takes() {
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd/lwaftr.service");
    let text = std::fs::read_to_string(&unit).unwrap();
    // With the program where it is, and without what is not installed here.
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("unit");
    std::fs::create_dir_all(&folder).unwrap();
    let copy = folder.join("lwaftr.service");
    std::fs::write(&copy, text.replace("/usr/bin/lwaftr", LWAFTR)).unwrap();
    let verified = Command::new("systemd-analyze")
        .args(["verify", "--man=no"])
        .arg(&copy)
        .output();
    match verified {
        Ok(verified) => {
            assert_eq!(String::from_utf8_lossy(&verified.stderr), "");
            assert!(verified.status.success());
        }
        Err(error) => {
            assert!(std::env::var_os("CI").is_none(), "unit: skipped: {error}");
            eprintln!("unit: skipped: systemd-analyze: {error}");
        }
    }
}
