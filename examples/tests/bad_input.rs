//! What `lwaftr check` says about a configuration that is wrong: the exact text, the exit code, the stream.

#![allow(clippy::unwrap_used, reason = "a panic is a failed test")]

mod common;

use common::{B4, INSTANCE, SOFTWIRES, TOML, configured};

/// `check` refuses the common configuration with `from` replaced.
#[track_caller]
fn refused(from: &str, to: &str, error: &str) {
    assert!(TOML.contains(from), "{from}");
    let folder = configured(&TOML.replacen(from, to, 1), SOFTWIRES);
    folder.lwaftr(&["check", "c.toml"]).is_error(2, error);
}

/// `check` refuses the common configuration with `more` at its end.
#[track_caller]
fn refused_with(more: &str, error: &str) {
    let folder = configured(&format!("{TOML}{more}"), SOFTWIRES);
    folder.lwaftr(&["check", "c.toml"]).is_error(2, error);
}

/// `check` refuses the common softwires with `from` replaced.
#[track_caller]
fn refused_softwires(from: &str, to: &str, error: &str) {
    assert!(SOFTWIRES.contains(from), "{from}");
    let folder = configured(TOML, &SOFTWIRES.replacen(from, to, 1));
    folder.lwaftr(&["check", "c.toml"]).is_error(2, error);
}

/// The path of the second softwire of the common configuration.
fn second() -> String {
    format!("s.json: {INSTANCE}/binding-table/binding-entry[2]")
}

#[test]
fn malformed_toml_is_refused_with_its_line() {
    refused(
        "address = \"203",
        "address = = \"203",
        "c.toml:6: extra `=`, expected nothing",
    );
}

#[test]
fn an_unknown_toml_key_is_refused_with_its_line_and_name() {
    refused(
        "address = \"2001:db8:fffe::1/64\"\n",
        "address = \"2001:db8:fffe::1/64\"\nproxy-arp = true\n",
        "c.toml:12: unknown field `proxy-arp`, expected one of `interface`, `mac`, `vlan`, `address`, `next-hop`, `accept`",
    );
}

#[test]
fn an_unknown_section_is_refused_with_its_line() {
    refused_with(
        "[tunnel]\n",
        "c.toml:13: unknown field `tunnel`, expected one of `instance`, `internet`, `softwire`, `forwarding`, `icmp`, `reassembly`, `fragments`, `table`, `run`, `state`, `management`",
    );
}

#[test]
fn a_missing_key_is_refused_with_the_line_of_its_section() {
    refused(
        "address = \"203.0.113.1\"\n",
        "",
        "c.toml:4: missing field `address`",
    );
}

#[test]
fn a_value_of_the_wrong_type_is_refused_with_its_line() {
    refused_with(
        "[forwarding]\nhop-limit = \"high\"\n",
        "c.toml:14: string \"high\", needs a number from 0 to 255",
    );
    for (knob, error) in [
        (
            "[forwarding]\nhop-limit = 6.5\n",
            "floating point `6.5`, needs a number from 0 to 255",
        ),
        (
            "[icmp]\necho-rate = true\n",
            "boolean `true`, needs a number from 0 to 4294967295",
        ),
        (
            "[forwarding]\nboot-grace = -1\n",
            "integer `-1`, needs a number from 0 to 9223372036854775807",
        ),
        (
            "[forwarding]\nsubscriber-prefixes = \"2001:db8::/32\"\n",
            "string \"2001:db8::/32\", needs a list in brackets",
        ),
        ("[forwarding]\ndf-policy = 3\n", "needs a word in quotes"),
    ] {
        refused_with(knob, &format!("c.toml:14: {error}"));
    }
    refused(
        "address = \"203",
        "proxy-arp = \"yes\"\naddress = \"203",
        "c.toml:6: string \"yes\", needs true or false",
    );
    refused(
        "\"s.json\"",
        "7",
        "c.toml:2: integer `7`, needs a text in quotes",
    );
}

#[test]
fn a_number_that_is_too_large_is_refused_with_its_line() {
    refused_with(
        "[forwarding]\nhop-limit = 300\n",
        "c.toml:14: integer `300`, needs a number from 0 to 255",
    );
}

#[test]
fn vlan_0_is_refused() {
    refused(
        "\n\n[softwire]",
        "\nvlan = 0\n\n[softwire]",
        "c.toml:8: vlan 0, needs 1 to 4094",
    );
}

#[test]
fn vlan_5000_is_refused() {
    let line = "next-hop = \"02:00:00:00:01:06\"\n";
    refused(
        line,
        &format!("{line}vlan = 5000\n"),
        "c.toml:13: vlan 5000, needs 1 to 4094",
    );
}

#[test]
fn an_mtu_of_10_is_refused() {
    refused(
        "\n\n[softwire]",
        "\nmtu = 10\n\n[softwire]",
        "c.toml:8: mtu 10, needs 68 to 65535",
    );
}

#[test]
fn keys_of_the_running_program_are_checked_before_it_runs() {
    let line = "next-hop = \"02:00:00:00:01:06\"\n";
    for (keys, error) in [
        (
            "[run]\nworkers = 0\n",
            "c.toml:14: workers 0, needs 1 to 16",
        ),
        (
            "[run]\nworkers = 17\n",
            "c.toml:14: workers 17, needs 1 to 16",
        ),
        (
            "[management]\nmode = \"rw\"\n",
            "c.toml:14: management.mode: `rw`, needs octal permissions such as \"0660\"",
        ),
    ] {
        refused(line, &format!("{line}{keys}"), error);
    }
}

#[test]
fn a_next_hop_of_the_other_family_is_refused() {
    refused(
        "02:00:00:00:01:06",
        "203.0.113.254",
        "c.toml:12: `203.0.113.254` is wrong: neither an address of this family nor an Ethernet address such as 02:00:00:00:00:01",
    );
}

#[test]
fn a_next_hop_that_is_no_router_is_refused() {
    for (mac, line, hop) in [
        ("02:00:00:00:01:04", "7: internet", "0.0.0.0"),
        ("02:00:00:00:01:04", "7: internet", "203.0.113.1"),
        ("02:00:00:00:01:04", "7: internet", "33:33:00:00:00:01"),
        ("02:00:00:00:01:06", "12: softwire", "ff02::2"),
        ("02:00:00:00:01:06", "12: softwire", "2001:db8:fffe::1"),
    ] {
        let error = format!(
            "c.toml:{line}.next-hop: {hop} is no address of a router, needs another host's"
        );
        refused(mac, hop, &error);
    }
}

#[test]
fn a_group_address_as_own_ethernet_address_is_refused() {
    refused(
        "02:00:00:00:00:06",
        "03:00:00:00:00:06",
        "c.toml:10: softwire.mac: 03:00:00:00:00:06 is a group address, needs that of one interface",
    );
}

#[test]
fn an_own_address_without_prefix_length_is_refused() {
    refused(
        "2001:db8:fffe::1/64",
        "2001:db8:fffe::1",
        "c.toml:11: `2001:db8:fffe::1` is wrong: prefix without a length, needs an address and a length such as 2001:db8::1/64",
    );
}

#[test]
fn a_loopback_address_as_own_is_refused() {
    refused(
        "203.0.113.1",
        "127.0.0.1",
        "c.toml:6: address 127.0.0.1, needs a unicast address",
    );
}

//
#[test]
fn a_tunnel_address_as_own_is_refused() {
    refused(
        "203.0.113.1",
        "192.0.0.1",
        "c.toml:6: internet.address: 192.0.0.1 is in 192.0.0.0/29, which never leaves a tunnel (RFC 7335)",
    );
}

#[test]
fn a_missing_configuration_is_refused() {
    let folder = configured(TOML, SOFTWIRES);
    folder
        .lwaftr(&["check", "gone.toml"])
        .is_error(2, "gone.toml: No such file or directory (os error 2)");
}

#[test]
fn a_missing_softwire_file_is_refused() {
    refused(
        "s.json",
        "gone.json",
        "gone.json: No such file or directory (os error 2)",
    );
}

#[test]
fn an_instance_that_is_not_there_is_refused_with_those_that_are() {
    refused(
        "s.json\"\n",
        "s.json\"\nname = \"c\"\n",
        "s.json: no bind-instance is named `c`; there is `b`",
    );
}

#[test]
fn knobs_out_of_range_are_refused_with_their_line() {
    for (knob, error) in [
        (
            "[forwarding]\nhop-limit = 0\n",
            "forwarding.hop-limit: 0 would be dropped by the first router",
        ),
        (
            "[forwarding]\nown-ttl = 0\n",
            "forwarding.own-ttl: 0 would be dropped by the first router",
        ),
        (
            "[forwarding]\ndscp-encap = 64\n",
            "forwarding.dscp-encap: 64 is above 63",
        ),
        (
            "[forwarding]\nflow-label = 1048576\n",
            "forwarding.flow-label: 0x100000 has more than 20 bits",
        ),
        (
            "[forwarding]\nmss-clamp = 87\n",
            "forwarding.mss-clamp: 87 is below 88",
        ),
        (
            "[reassembly]\ncontexts = 0\n",
            "reassembly.contexts: 0 would refuse every fragment",
        ),
        (
            "[fragments]\ntimeout = 1\n",
            "fragments.timeout: 1s is below 2 s",
        ),
        (
            "[reassembly]\nbytes = 4000000\n",
            "reassembly.bytes: 4000000 is above half of forwarding.slab-bytes, 4194304",
        ),
        (
            "[forwarding]\nslab-bytes = 0\n",
            "reassembly.bytes: 2097152 is above half of forwarding.slab-bytes, 0",
        ),
        // Memory for it would be refused when a worker starts, which ends the program.
        (
            "[forwarding]\nslab-bytes = 100000000000000\n",
            "forwarding.slab-bytes: 100000000000000 is above 1073741824",
        ),
        (
            "[reassembly]\ncontexts = 100000000000000\n",
            "reassembly.contexts: 100000000000000 is above 1048576",
        ),
        (
            "[fragments]\ncontexts = 1048577\n",
            "fragments.contexts: 1048577 is above 1048576",
        ),
    ] {
        refused_with(knob, &format!("c.toml:14: {error}"));
    }
}

#[test]
fn words_that_a_knob_does_not_have_are_refused_with_those_it_has() {
    for (knob, error) in [
        (
            "df-policy = \"no\"",
            "unknown variant `no`, expected `rfc2473` or `outer-fragment`",
        ),
        (
            "dscp-encap = \"no\"",
            "needs \"uniform\" or a number from 0 to 63",
        ),
        (
            "flow-label = \"no\"",
            "needs \"hash\", \"hash-addresses\" or a number from 0 to 1048575",
        ),
        (
            "mss-clamp = \"no\"",
            "needs \"off\", \"tunnel\" or a number from 88 to 65535",
        ),
    ] {
        refused_with(
            &format!("[forwarding]\n{knob}\n"),
            &format!("c.toml:14: {error}"),
        );
    }
}

#[test]
fn a_payload_mtu_below_that_of_ipv6_is_refused() {
    refused_softwires(
        "1460",
        "1239",
        "s.json: softwire-payload-mtu: 1239 bytes and headers are 1279, needs 1280 (RFC 8200 §5)",
    );
}

#[test]
fn malformed_json_is_refused_with_line_and_column() {
    refused_softwires(
        "\"softwire-num-max\": 8,",
        "\"softwire-num-max\": 8;",
        "s.json:7:32: expected `,` or `}`",
    );
}

#[test]
fn json_that_ends_early_is_refused_with_line_and_column() {
    let folder = configured(TOML, SOFTWIRES.split_once("\"port-set\"").unwrap().0);
    folder
        .lwaftr(&["check", "c.toml"])
        .is_error(2, "s.json:15:16: EOF while parsing a value");
}

#[test]
fn an_unknown_json_key_is_refused_with_its_path() {
    refused_softwires(
        "\"psid\": 53",
        "\"psid\": 53, \"psidd\": 1",
        &format!("{}/port-set/psidd: unknown key", second()),
    );
}

//
#[test]
fn a_psid_that_does_not_fit_is_refused_with_its_path() {
    refused_softwires(
        "\"psid\": 53",
        "\"psid\": 256",
        &format!("{}/port-set: PSID 256 does not fit in 8 bits", second()),
    );
}

#[test]
fn an_address_that_is_none_is_refused_with_its_path() {
    refused_softwires(
        "\"binding-ipv6info\": \"2001:db8:1::2\",\n                \"binding-ipv4-addr\": \"192.0.2.1\"",
        "\"binding-ipv6info\": \"2001:db8:1::2\",\n                \"binding-ipv4-addr\": \"192.0.2\"",
        &format!(
            "{}/binding-ipv4-addr: \"192.0.2\" is not an IPv4 address",
            second()
        ),
    );
}

//
#[test]
fn another_psid_offset_on_the_same_address_is_refused() {
    refused_softwires(
        "{\"psid-offset\": 6, \"psid-len\": 8, \"psid\": 53}",
        "{\"psid-offset\": 4, \"psid-len\": 8, \"psid\": 53}",
        &format!(
            "{}: 192.0.2.1 (a=4 k=8 psid=53) has another port layout than the bindings on that address (a=6 k=8)",
            second()
        ),
    );
}

//
#[test]
fn overlapping_psid_lengths_on_the_same_address_are_refused() {
    // The seven bits of 26 are the first seven of 52.
    refused_softwires(
        "\"psid-len\": 8, \"psid\": 53",
        "\"psid-len\": 7, \"psid\": 26",
        &format!(
            "{}: 192.0.2.1 (a=6 k=7 psid=26) overlaps port set a=6 k=8 psid=52 of {B4}",
            second()
        ),
    );
}

//
#[test]
fn the_same_port_set_twice_is_refused() {
    refused_softwires(
        "\"psid\": 53",
        "\"psid\": 52",
        &format!("{}: 192.0.2.1 (a=6 k=8 psid=52) is bound to {B4}", second()),
    );
}

//
#[test]
fn a_full_address_over_a_shared_one_is_refused() {
    refused_softwires(
        "{\"psid-offset\": 6, \"psid-len\": 8, \"psid\": 53}",
        "{\"psid-offset\": 0, \"psid-len\": 0, \"psid\": 0}",
        &format!(
            "{}: 192.0.2.1 overlaps port set a=6 k=8 psid=52 of {B4}",
            second()
        ),
    );
}

//
#[test]
fn system_ports_are_refused_where_that_is_configured() {
    let softwires = SOFTWIRES.replace("\"psid-offset\": 6", "\"psid-offset\": 0");
    let softwires = softwires.replace("\"psid\": 53", "\"psid\": 3");
    let toml = format!("{TOML}[table]\nsystem-ports = \"refuse\"\n");
    let folder = configured(&toml, &softwires);
    folder.lwaftr(&["check", "c.toml"]).is_error(
        2,
        &format!(
            "{}: 192.0.2.1 (a=0 k=8 psid=3) contains system ports (0-1023)",
            second()
        ),
    );
}

//
#[test]
fn an_aftr_address_that_is_the_b4_address_is_refused() {
    refused_softwires(
        "2001:db8:1::2",
        "2001:db8:ffff::1",
        &format!(
            "{}: AFTR address 2001:db8:ffff::1 is also the B4 address",
            second()
        ),
    );
}

//
#[test]
fn a_table_beyond_softwire_num_max_is_refused() {
    refused_softwires(
        "\"softwire-num-max\": 8",
        "\"softwire-num-max\": 1",
        &format!(
            "{}: the table holds its 1 softwires (softwire-num-max)",
            second()
        ),
    );
}

#[test]
fn a_reload_to_a_wrong_configuration_is_refused() {
    let folder = configured(TOML, SOFTWIRES);
    folder.write("d.toml", TOML.replace("203.0.113.1", "127.0.0.1"));
    folder
        .lwaftr(&["check", "c.toml", "--diff", "d.toml"])
        .is_error(2, "d.toml:6: address 127.0.0.1, needs a unicast address");
}

#[test]
fn a_table_beyond_all_memory_is_refused_with_what_it_takes() {
    let overcommit = std::fs::read_to_string("/proc/sys/vm/overcommit_memory").unwrap();
    if overcommit.trim() == "1" {
        return; // this kernel promises everything
    }
    let max = "\"softwire-num-max\": 8";
    let softwires = SOFTWIRES.replacen(max, "\"softwire-num-max\": 4294967295", 1);
    let said = configured(TOML, &softwires).lwaftr(&["check", "c.toml"]);
    assert_eq!((said.code, said.out.as_str()), (2, ""));
    let what = format!("error: s.json: {INSTANCE}/softwire-num-max: 4294967295 takes a table of ");
    assert!(said.err.starts_with(&what), "{}", said.err);
    let rule = " MiB, more than there is (Cannot allocate memory (os error 12)); needs a smaller number or more memory\n";
    assert!(said.err.ends_with(rule), "{}", said.err);
}
