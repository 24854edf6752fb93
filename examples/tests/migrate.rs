//! What stays as it was in Snabb after `migrate`, seen in the frames that `replay` makes.

#![allow(clippy::unwrap_used, reason = "a panic is a failed test")]

mod common;

use common::{AFTR, B4, REMOTE, Temporary, USER, from_access, from_internet, temporary};
use testkit::packet::{V4, tunnel};

const SNABB: &str = "softwire-config {
  binding-table {
    softwire { ipv4 192.0.2.1; psid 1232; b4-ipv6 2001:db8:1::1; br-address 2001:db8:ffff::1; port-set { psid-length 16; } }
  }
  external-interface { allow-incoming-icmp ALLOWED; error-rate-limiting { packets 600000; } }
  internal-interface { allow-incoming-icmp ALLOWED; error-rate-limiting { packets 600000; } }
  instance {
    device test;
    queue {
      id 0;
      external-interface {
        ip 203.0.113.1; mac 02:00:00:00:00:04; next-hop { mac 02:00:00:00:01:04; }
      }
      internal-interface {
        ip 2001:db8:fffe::1; mac 02:00:00:00:00:06; next-hop { mac 02:00:00:00:01:06; }
      }
    }
  }
}
";

fn migrated(allowed: &str) -> Temporary {
    let folder = temporary("migrate");
    folder.write("snabb.conf", SNABB.replace("ALLOWED", allowed));
    let said = folder.lwaftr(&["migrate", "snabb.conf", "-o", "c.toml"]);
    assert_eq!(said.code, 0, "{}", said.err);
    folder
}

fn frames(folder: &Temporary, side: &str, packet: &[u8]) -> [usize; 2] {
    folder.capture("in.pcap", &[(0, packet.to_vec())]);
    folder.replay(&[side, "in.pcap"]).fine();
    ["o4.pcap", "o6.pcap"].map(|name| folder.frames(name).len())
}

#[test]
fn the_checksum_of_a_quoted_header_is_not_looked_at() {
    // R-102 is a SHOULD, and routers that forget to update the checksum are about.
    let mut quoted = V4::udp(USER, REMOTE).build();
    quoted[8] -= 1;
    let error = V4::icmp_error("198.51.100.77", "192.0.2.1", 11, 0, &quoted).build();
    let folder = migrated("true");
    assert_eq!(frames(&folder, "--v4-in", &from_internet(&error)), [0, 1]);
}

#[test]
fn subscribers_ping_where_icmp_from_the_internet_is_off() {
    //
    let folder = migrated("false");
    let ping = V4::echo(8, "192.0.2.1", "198.51.100.9", 1232).build();
    let ping = tunnel(B4, AFTR, &ping).build();
    assert_eq!(frames(&folder, "--v6-in", &from_access(&ping)), [1, 0]);
    let pong = V4::echo(0, "198.51.100.9", "192.0.2.1", 1232).build();
    assert_eq!(frames(&folder, "--v4-in", &from_internet(&pong)), [0, 0]);
}
