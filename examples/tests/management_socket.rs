//! Who may use the management socket, and what becomes of it.
#![expect(clippy::unwrap_used, reason = "a panic is a failed test")]

mod common;
#[path = "management/world.rs"]
mod world;

use std::io::{Read as _, Write as _};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::time::Duration;

use hyper::Method;
use lw4o6_examples::config::Config;
use lw4o6_examples::management::{Listeners, MAX_CONNECTIONS};
use nix::unistd::{Gid, Group};

use self::common::{SOFTWIRES, TOML, configured};
use self::world::{MANAGEMENT, World};

fn opened(management: &str) -> (common::Temporary, Result<Listeners, String>) {
    let folder = configured(&format!("{TOML}\n[management]\n{management}\n"), SOFTWIRES);
    let config = Config::read(&folder.path().join("c.toml"));
    let listeners = config.and_then(|config| Listeners::open(&config));
    (folder, listeners.map_err(|failure| failure.to_string()))
}

fn mode(path: &std::path::Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn the_socket_has_the_rights_that_were_asked_for() {
    let (folder, listeners) = opened("socket = \"m.sock\"");
    let listeners = listeners.unwrap();
    assert_eq!(mode(&folder.path().join("m.sock")), 0o600);
    drop(listeners);
    assert!(
        !folder.path().join("m.sock").exists(),
        "it goes with its owner"
    );
    let group = Group::from_gid(Gid::current()).unwrap().unwrap().name;
    let keys = format!("socket = \"n.sock\"\nmode = \"0660\"\ngroup = \"{group}\"");
    let (folder, listeners) = opened(&keys);
    let _listeners = listeners.unwrap();
    assert_eq!(mode(&folder.path().join("n.sock")), 0o660);
}

#[test]
fn wrong_keys_are_refused_with_their_rule() {
    for (keys, said) in [
        (
            "socket = \"m.sock\"\nmode = \"rw\"",
            "management.mode: `rw`, needs octal permissions",
        ),
        (
            "socket = \"m.sock\"\nmode = \"1777\"",
            "management.mode: `1777`, needs octal permissions such as \"0660\"",
        ),
        (
            "socket = \"m.sock\"\ngroup = \"no such\"",
            "management.group: there is no group `no such`",
        ),
        ("socket = \"no/m.sock\"", "its folder does not exist"),
        (
            "socket = \"c.toml\"",
            "something else is there, and it is no socket",
        ),
        (
            "metrics = \"192.0.2.1:9\"",
            "management.metrics: 192.0.2.1:9: ",
        ),
    ] {
        let (_folder, listeners) = opened(keys);
        let error = listeners.map(|_| ()).unwrap_err();
        assert!(error.contains(said), "{error}");
    }
}

#[test]
fn a_socket_without_a_listener_is_replaced_and_one_with_a_listener_is_not() {
    let folder = configured(&format!("{TOML}{MANAGEMENT}"), SOFTWIRES);
    let path = folder.path().join("m.sock");
    drop(UnixListener::bind(&path).unwrap());
    assert!(
        std::fs::symlink_metadata(&path)
            .unwrap()
            .file_type()
            .is_socket()
    );
    let config = Config::read(&folder.path().join("c.toml")).unwrap();
    let first = Listeners::open(&config).unwrap();
    let second = Listeners::open(&config).map(|_| ()).unwrap_err();
    assert!(
        second
            .to_string()
            .ends_with("another program listens there"),
        "{second}"
    );
    assert!(path.exists(), "the first one's socket stays");
    drop(first);
}

#[test]
fn another_user_is_kept_out() {
    let world = World::new();
    std::fs::set_permissions(world.folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    if !nix::unistd::geteuid().is_root() {
        eprintln!("another user: skipped, needs root; the mode is checked");
        assert_eq!(mode(&world.socket()), 0o600);
        return;
    }
    let mut lwaftr = Command::new(env!("CARGO_BIN_EXE_lwaftr"));
    lwaftr.args(["show", "--socket"]).arg(world.socket());
    let ours = lwaftr.output().unwrap();
    assert_eq!(ours.status.code(), Some(0));
    // The program itself may lie where another user may not go.
    let copy = world.folder.path().join("lwaftr");
    std::fs::copy(env!("CARGO_BIN_EXE_lwaftr"), &copy).unwrap();
    let mut other = Command::new(&copy);
    other.args(["show", "--socket"]).arg(world.socket());
    other.current_dir("/").uid(65_534).gid(65_534);
    let output = other.output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("Permission denied"), "{said}");
}

#[test]
fn a_client_that_says_nothing_does_not_keep_others_out() {
    let world = World::new();
    let idle: Vec<_> = (0..MAX_CONNECTIONS - 1)
        .map(|_| UnixStream::connect(world.socket()).unwrap())
        .collect();
    assert_eq!(world.get("/status")["healthy"], true);
    drop(idle);
}

#[test]
fn beyond_the_limit_a_client_waits_until_another_one_leaves() {
    let world = World::new();
    let mut idle: Vec<_> = (0..MAX_CONNECTIONS + 1)
        .map(|_| UnixStream::connect(world.socket()).unwrap())
        .collect();
    let mut late = idle.pop().unwrap();
    late.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .unwrap();
    late.set_read_timeout(Some(Duration::from_millis(200)))
        .unwrap();
    let mut byte = [0];
    assert!(
        late.read(&mut byte).is_err(),
        "no answer while all are taken"
    );
    idle.clear();
    late.set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    let mut text = String::new();
    late.read_to_string(&mut text).unwrap();
    assert!(text.starts_with("HTTP/1.1 200 OK"), "{text}");
}

#[test]
fn bytes_that_are_no_http_harm_nobody() {
    let world = World::new();
    for bytes in [&b"\0\xff\xfe rubbish\r\n\r\n"[..], b"GET", &[b'a'; 100_000]] {
        let mut stream = UnixStream::connect(world.socket()).unwrap();
        let _ = stream.write_all(bytes);
        drop(stream);
    }
    assert_eq!(world.ask(Method::GET, "/health", "").0, 200);
}
