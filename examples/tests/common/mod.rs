//! Running the programs in a folder of their own, with captures made on the spot.
#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "each test file uses a part, and a panic is a failed test"
)]

use std::path::{Path, PathBuf};
use std::process::Command;

use lw4o6_examples::capture::{CaptureReader, CaptureWriter, CapturedFrame};
use lw4o6_wire::Instant;

/// Lines 1 to 12 of every configuration here.
pub const TOML: &str = r#"[instance]
softwires = "s.json"

[internet]
mac = "02:00:00:00:00:04"
address = "203.0.113.1"
next-hop = "02:00:00:00:01:04"

[softwire]
mac = "02:00:00:00:00:06"
address = "2001:db8:fffe::1/64"
next-hop = "02:00:00:00:01:06"
"#;

/// Two softwires on one address: [`B4`] with ports 1232 to 1235 and so on, [`OTHER_B4`] with the next four.
pub const SOFTWIRES: &str = r#"{
  "ietf-softwire-br:br-instances": {
    "binding": {
      "bind-instance": [
        {
          "name": "b",
          "softwire-num-max": 8,
          "softwire-payload-mtu": 1460,
          "softwire-path-mru": 1540,
          "binding-table": {
            "binding-entry": [
              {
                "binding-ipv6info": "2001:db8:1::1",
                "binding-ipv4-addr": "192.0.2.1",
                "port-set": {"psid-offset": 6, "psid-len": 8, "psid": 52},
                "br-ipv6-addr": "2001:db8:ffff::1"
              },
              {
                "binding-ipv6info": "2001:db8:1::2",
                "binding-ipv4-addr": "192.0.2.1",
                "port-set": {"psid-offset": 6, "psid-len": 8, "psid": 53},
                "br-ipv6-addr": "2001:db8:ffff::1"
              }
            ]
          }
        }
      ]
    }
  }
}
"#;

/// The path of the only instance of [`SOFTWIRES`].
pub const INSTANCE: &str = "/ietf-softwire-br:br-instances/binding/bind-instance[name='b']";

pub const B4: &str = "2001:db8:1::1";
pub const OTHER_B4: &str = "2001:db8:1::2";
pub const AFTR: &str = "2001:db8:ffff::1";
/// A port of [`B4`].
pub const USER: &str = "192.0.2.1:1232";
/// A port of [`OTHER_B4`].
pub const OTHER_USER: &str = "192.0.2.1:1236";
/// A host on the Internet.
pub const REMOTE: &str = "198.51.100.9:443";

const OWN_V4: [u8; 6] = [2, 0, 0, 0, 0, 4];
const OWN_V6: [u8; 6] = [2, 0, 0, 0, 0, 6];
const HOP_V4: [u8; 6] = [2, 0, 0, 0, 1, 4];
const HOP_V6: [u8; 6] = [2, 0, 0, 0, 1, 6];

/// What a program said.
#[derive(Debug, PartialEq, Eq)]
pub struct Said {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Said {
    /// What stands on standard output of a program that did well and had nothing to complain about.
    pub fn fine(self) -> String {
        assert_eq!((self.code, self.err.as_str()), (0, ""), "{}", self.out);
        self.out
    }

    /// The program refused with just this error.
    pub fn is_error(&self, code: i32, error: &str) {
        assert_eq!(self.err, format!("error: {error}\n"));
        assert_eq!((self.code, self.out.as_str()), (code, ""));
    }
}

/// A folder that goes away with its owner.
pub fn temporary(name: &str) -> Temporary {
    let unique = format!(
        "lw4o6-{name}-{}-{:?}",
        std::process::id(),
        std::thread::current().id()
    );
    let path = std::env::temp_dir().join(unique);
    std::fs::create_dir_all(&path).unwrap();
    Temporary(path)
}

/// A folder with a configuration `c.toml` and its softwires `s.json`.
pub fn configured(toml: &str, softwires: &str) -> Temporary {
    let folder = temporary("cli");
    folder.write("c.toml", toml);
    folder.write("s.json", softwires);
    folder
}

pub struct Temporary(PathBuf);

impl Temporary {
    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn write(&self, name: &str, contents: impl AsRef<[u8]>) {
        std::fs::write(self.0.join(name), contents).unwrap();
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.0.join(name)).unwrap()
    }

    pub fn json(&self, name: &str) -> serde_json::Value {
        serde_json::from_slice(&self.read(name)).unwrap()
    }

    /// Writes a capture of frames with their times in microseconds.
    pub fn capture(&self, name: &str, frames: &[(u64, Vec<u8>)]) {
        let mut writer = CaptureWriter::create(&self.0.join(name)).unwrap();
        for (micros, frame) in frames {
            writer.write(Instant::from_micros(*micros), frame).unwrap();
        }
        writer.finish().unwrap();
    }

    /// The frames of a capture, with their times in microseconds.
    pub fn frames(&self, name: &str) -> Vec<(u64, Vec<u8>)> {
        let frames = read(&self.0.join(name)).into_iter();
        frames
            .map(|frame| (frame.time.as_micros(), frame.bytes))
            .collect()
    }

    /// Runs `lwaftr` in the folder.
    pub fn lwaftr(&self, arguments: &[&str]) -> Said {
        self.run(env!("CARGO_BIN_EXE_lwaftr"), arguments)
    }

    /// Runs `lwaftr replay c.toml` with `o4.pcap` and `o6.pcap` as outputs.
    pub fn replay(&self, arguments: &[&str]) -> Said {
        let fixed = [
            "replay", "c.toml", "--v4-out", "o4.pcap", "--v6-out", "o6.pcap",
        ];
        self.lwaftr(&[&fixed, arguments].concat())
    }

    pub fn run(&self, program: &str, arguments: &[&str]) -> Said {
        let mut command = Command::new(program);
        let output = command.args(arguments).current_dir(&self.0).output();
        let output = output.unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Said {
            code: output.status.code().unwrap(),
            out: text(output.stdout),
            err: text(output.stderr),
        }
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn read(path: &Path) -> Vec<CapturedFrame> {
    let mut reader = CaptureReader::open(path).unwrap();
    std::iter::from_fn(|| reader.next_frame().unwrap()).collect()
}

/// The frames of a capture.
pub fn captured(path: &Path) -> Vec<Vec<u8>> {
    read(path).into_iter().map(|frame| frame.bytes).collect()
}

fn frame(dst: [u8; 6], src: [u8; 6], ethertype: u16, packet: &[u8]) -> Vec<u8> {
    [&dst, &src, &ethertype.to_be_bytes()[..], packet].concat()
}

/// An IPv4 packet on its way from the Internet.
pub fn from_internet(packet: &[u8]) -> Vec<u8> {
    frame(OWN_V4, HOP_V4, 0x0800, packet)
}

/// An IPv6 packet on its way from a B4.
pub fn from_access(packet: &[u8]) -> Vec<u8> {
    frame(OWN_V6, HOP_V6, 0x86dd, packet)
}

/// An ARP request for `address` from the Internet side.
pub fn who_has(address: [u8; 4]) -> Vec<u8> {
    let mut arp = vec![0, 1, 8, 0, 6, 4, 0, 1];
    arp.extend(HOP_V4);
    arp.extend([203, 0, 113, 254]);
    arp.extend([0; 6]);
    arp.extend(address);
    frame([0xff; 6], HOP_V4, 0x0806, &arp)
}

/// The frame with an 802.1Q tag.
pub fn tagged(vid: u16, frame: &[u8]) -> Vec<u8> {
    let [high, low] = vid.to_be_bytes();
    [&frame[..12], &[0x81, 0, high, low], &frame[12..]].concat()
}
