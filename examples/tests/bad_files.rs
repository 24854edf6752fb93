//! What the programs say about captures, outputs, plans and usage that are wrong: the exact text, the exit
//! code, the stream.

mod common;

use std::process::Command;

use common::{AFTR, B4, REMOTE, SOFTWIRES, TOML, USER, configured, from_access, from_internet};
use testkit::packet::{V4, tunnel};

fn two_frames() -> [(u64, Vec<u8>); 2] {
    let packet = V4::udp(REMOTE, USER).payload(b"abcd").build();
    [
        (1_000_000, from_internet(&packet)),
        (2_000_000, from_internet(&packet)),
    ]
}

#[test]
fn a_capture_cut_off_in_a_frame_is_refused_with_its_number() {
    let folder = configured(TOML, SOFTWIRES);
    folder.capture("i4.pcap", &two_frames());
    let whole = folder.read("i4.pcap");
    // In the second frame's bytes, and in its header.
    for cut in [1, 46 + 1] {
        folder.write("i4.pcap", &whole[..whole.len() - cut]);
        folder
            .replay(&["--v4-in", "i4.pcap"])
            .is_error(1, "i4.pcap: frame 2: the file ends in the middle of it");
    }
}

#[test]
fn a_dump_of_a_capture_cut_off_prints_what_came_before() {
    let folder = configured(TOML, SOFTWIRES);
    folder.capture("i4.pcap", &two_frames());
    let whole = folder.read("i4.pcap");
    folder.write("i4.pcap", &whole[..whole.len() - 1]);
    let said = folder.run(env!("CARGO_BIN_EXE_lw4o6-dump"), &["i4.pcap"]);
    assert_eq!(said.out.lines().count(), 1);
    assert_eq!(
        (said.code, said.err.as_str()),
        (
            1,
            "error: i4.pcap: frame 2: the file ends in the middle of it\n"
        )
    );
}

#[test]
fn a_file_that_is_no_capture_is_refused() {
    let folder = configured(TOML, SOFTWIRES);
    folder.replay(&["--v4-in", "s.json"]).is_error(
        1,
        "s.json: not a pcap or pcapng file: PcapHeader: wrong magic number",
    );
    folder.write("empty.pcap", "");
    folder.replay(&["--v6-in", "empty.pcap"]).is_error(
        1,
        "empty.pcap: not a pcap or pcapng file: the file ends in the middle of it",
    );
}

#[test]
fn a_missing_capture_is_refused() {
    let folder = configured(TOML, SOFTWIRES);
    folder
        .replay(&["--v4-in", "gone.pcap"])
        .is_error(1, "gone.pcap: No such file or directory (os error 2)");
}

#[test]
fn a_capture_of_another_link_type_is_refused() {
    let folder = configured(TOML, SOFTWIRES);
    folder.capture("i4.pcap", &two_frames());
    let mut bytes = folder.read("i4.pcap");
    // The last four bytes of the file header; 101 is raw IP. Which end they are for depends on the magic.
    let raw = if bytes.starts_with(&[0xa1]) {
        [0, 0, 0, 101]
    } else {
        [101, 0, 0, 0]
    };
    bytes.splice(20..24, raw);
    folder.write("i4.pcap", bytes);
    folder
        .replay(&["--v4-in", "i4.pcap"])
        .is_error(1, "i4.pcap: link type RAW, needs Ethernet (1)");
}

#[test]
fn a_frame_longer_than_any_ip_packet_is_refused() {
    let folder = configured(TOML, SOFTWIRES);
    folder.capture("i6.pcap", &[(0, vec![0; 70_000])]);
    folder.replay(&["--v6-in", "i6.pcap"]).is_error(
        1,
        "a captured frame of 70000 bytes is longer than any IP packet",
    );
}

#[test]
fn outputs_that_cannot_be_written_fail() {
    let folder = configured(TOML, SOFTWIRES);
    let inner = V4::udp(USER, REMOTE).build();
    let packet = tunnel(B4, AFTR, &inner).build();
    folder.capture("i6.pcap", &[(0, from_access(&packet))]);
    let gone = "gone/o.pcap: No such file or directory (os error 2)";
    let outputs = ["--v4-out", "gone/o.pcap", "--v6-out", "o6.pcap"];
    folder
        .lwaftr(&[&["replay", "c.toml"], &outputs[..]].concat())
        .is_error(1, gone);
    folder
        .replay(&["--counters", "gone/o.pcap"])
        .is_error(1, gone);
    folder
        .lwaftr(&["generate", "--softwires", "1", "-o", "gone/o.pcap"])
        .is_error(1, gone);
}

#[test]
fn a_file_is_not_read_and_written_at_once_nor_written_twice() {
    let folder = configured(TOML, SOFTWIRES);
    folder.capture("i4.pcap", &two_frames());
    let before = folder.read("i4.pcap");
    for (arguments, error) in [
        (
            ["--v4-out", "./o.pcap", "--v6-out", "o.pcap"],
            "--v4-out ./o.pcap: the same file as --v6-out, needs one of its own",
        ),
        (
            ["--v4-out", "o.pcap", "--v6-out", "../NAME/i4.pcap"],
            "--v6-out ../NAME/i4.pcap: the same file as --v4-in, needs one of its own",
        ),
        (
            ["--v4-out", "c.toml", "--v6-out", "o.pcap"],
            "--v4-out c.toml: the same file as CONFIG, needs one of its own",
        ),
    ] {
        let name = folder.path().file_name().unwrap().to_str().unwrap();
        let arguments = arguments.map(|argument| argument.replace("NAME", name));
        let mut all = vec!["replay", "c.toml", "--v4-in", "i4.pcap"];
        all.extend(arguments.iter().map(String::as_str));
        folder
            .lwaftr(&all)
            .is_error(2, &error.replace("NAME", name));
    }
    assert_eq!(folder.read("i4.pcap"), before);
    let nowhere = ["--v4-out", "/dev/null", "--v6-out", "/dev/null"];
    folder
        .lwaftr(&[&["replay", "c.toml"], &nowhere[..]].concat())
        .fine();
}

#[test]
fn standard_output_that_cannot_be_written_fails_and_a_reader_that_leaves_does_not() {
    let folder = configured(TOML, SOFTWIRES);
    let mut check = Command::new(env!("CARGO_BIN_EXE_lwaftr"));
    check.args(["check", "c.toml"]).current_dir(folder.path());
    let full = std::fs::File::options().write(true).open("/dev/full");
    let output = check.stdout(full.unwrap()).output().unwrap();
    assert_eq!(
        String::from_utf8(output.stderr).unwrap(),
        "error: standard output: No space left on device (os error 28)\n"
    );
    assert_eq!(output.status.code(), Some(1));
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = check.stdout(writer).output().unwrap();
    assert_eq!((output.status.code(), output.stderr), (Some(0), Vec::new()));
}

const SNABB: &str = "softwire-config {
  binding-table {
    softwire { ipv4 192.0.2.1; psid 1; b4-ipv6 2001:db8:1::1; br-address 2001:db8:ffff::1; port-set { psid-length 6; } }
  }
  external-interface {
    allow-incoming-icmp true;
    error-rate-limiting { packets 600000; }
    reassembly { max-fragments-per-packet 40; }
    INGRESS
  }
  internal-interface {
    allow-incoming-icmp true;
    error-rate-limiting { packets 600000; }
    reassembly { max-fragments-per-packet 40; }
  }
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

#[track_caller]
fn snabb_refused(text: &str, error: &str) {
    let folder = configured(TOML, SOFTWIRES);
    folder.write("snabb.conf", text);
    folder
        .lwaftr(&["migrate", "snabb.conf", "-o", "m.toml"])
        .is_error(2, error);
    assert!(!folder.path().join("m.toml").exists());
    assert!(!folder.path().join("m.json").exists());
}

#[test]
fn a_snabb_configuration_with_a_syntax_error_is_refused_with_its_line() {
    let text = SNABB.replace("INGRESS", "").replace("id 0;", "id 0");
    snabb_refused(
        &text,
        "snabb.conf:20: expected ';', found \"external-interface\"",
    );
}

#[test]
fn a_snabb_configuration_with_packet_filters_is_refused_with_their_line() {
    let text = SNABB.replace("INGRESS", "ingress-filter \"ip src 1.2.3.4\";");
    snabb_refused(
        &text,
        "snabb.conf:9: packet filters are not supported: external-interface/ingress-filter \"ip src 1.2.3.4\"; --drop-unsupported leaves it out",
    );
}

#[test]
fn a_configuration_named_like_its_softwire_file_is_refused() {
    let folder = configured(TOML, SOFTWIRES);
    folder
        .lwaftr(&["generate", "--softwires", "1", "-o", "x.json"])
        .is_error(
            2,
            "x.json: the softwires are written to a file of this name; give the configuration another ending, such as .toml",
        );
}

#[test]
fn plans_that_cannot_be_met_are_refused() {
    let folder = configured(TOML, SOFTWIRES);
    for (arguments, error) in [
        (
            &["--softwires", "0"][..],
            "--softwires 0, needs 1 to 27406761984",
        ),
        (
            &["--softwires", "1", "--psid-length", "17"],
            "--psid-length 17, needs 0 to 16",
        ),
        (
            &[
                "--softwires",
                "1",
                "--packets",
                "1",
                "--v4-out",
                "a.pcap",
                "--frame-size",
                "63",
            ],
            "--frame-size 63, needs 64 to 9000",
        ),
    ] {
        folder
            .lwaftr(&[&["generate", "-o", "x.toml"], arguments].concat())
            .is_error(2, error);
    }
}

/// The first line on standard error.
#[track_caller]
fn bad_usage(program: &str, arguments: &[&str], first: &str) {
    let said = configured(TOML, SOFTWIRES).run(program, arguments);
    assert_eq!(said.err.lines().next(), Some(first));
    assert_eq!((said.code, said.out.as_str()), (2, ""));
}

#[test]
fn bad_usage_has_exit_code_2() {
    let lwaftr = env!("CARGO_BIN_EXE_lwaftr");
    bad_usage(lwaftr, &["bogus"], "error: unrecognized subcommand 'bogus'");
    bad_usage(
        lwaftr,
        &["check", "--bogus", "c.toml"],
        "error: unexpected argument '--bogus' found",
    );
    bad_usage(
        lwaftr,
        &["check"],
        "error: the following required arguments were not provided:",
    );
    bad_usage(
        lwaftr,
        &["check", "c.toml", "--log", "loud"],
        "error: invalid value 'loud' for '--log <LEVEL>'",
    );
    let generate = ["generate", "--softwires", "1", "-o", "x.toml"];
    bad_usage(
        lwaftr,
        &[&generate[..], &["--packets", "1"]].concat(),
        "error: the following required arguments were not provided:",
    );
    bad_usage(
        lwaftr,
        &[&generate[..], &["--v6-out", "a.pcap"]].concat(),
        "error: the following required arguments were not provided:",
    );
    bad_usage(
        env!("CARGO_BIN_EXE_lw4o6-dump"),
        &["--bogus"],
        "error: unexpected argument '--bogus' found",
    );
    bad_usage(
        env!("CARGO_BIN_EXE_lw4o6-lab"),
        &["bogus"],
        "error: no scenario is named `bogus`; --list names them",
    );
}

#[test]
fn a_drain_that_is_no_time_is_refused() {
    let folder = configured(TOML, SOFTWIRES);
    folder.replay(&["--drain=-1"]).is_error(
        2,
        "--drain: cannot convert float seconds to Duration: value is negative",
    );
}
