use std::collections::BTreeSet;
use std::string::ToString;
use std::vec;

use lw4o6_wire::{Instant, PortParams};
use proptest::collection::btree_map;
use proptest::option;
use proptest::prelude::*;

use super::*;
use crate::formats::Source;
use crate::formats::strategies::{bindings, cases};
use crate::utc::{Clock, Utc};
use crate::{Expiry, Origin};

const CLOCK: Clock = Clock {
    instant: Instant::from_secs(1000),
    utc: Utc::from_micros(1_795_201_532_000_000), // 2026-11-20T19:05:32Z
};

/// A table with everything that can be said.
const FULL: &str = r#"{
  "ietf-softwire-br:br-instances": {
    "binding": {
      "bind-instance": [
        {
          "name": "one",
          "binding-table-versioning": {
            "version": "18446744073709551615",
            "date": "2026-11-20T10:00:00+01:00"
          },
          "softwire-num-max": 1024,
          "softwire-payload-mtu": 1500,
          "softwire-path-mru": 1540,
          "enable-hairpinning": false,
          "lw4o6-softwire-br:hairpin-mode": "to-ipv4-side",
          "lw4o6-softwire-br:default-br-ipv6-addr": "2001:db8:1::3",
          "lw4o6-softwire-br:pool": [
            {
              "first-address": "192.0.2.0",
              "last-address": "192.0.2.255",
              "psid-offset": 0,
              "psid-len": 8
            }
          ],
          "icmp-policy": {
            "icmpv4-errors": {
              "allow-incoming-icmpv4": false,
              "icmpv4-rate": 1000,
              "generate-icmpv4-errors": false
            },
            "icmpv6-errors": {
              "generate-icmpv6-errors": false,
              "icmpv6-rate": 2000
            }
          },
          "binding-table": {
            "binding-entry": [
              {
                "binding-ipv6info": "2001:db8::1",
                "binding-ipv4-addr": "192.0.2.1",
                "port-set": {
                  "psid-offset": 0,
                  "psid-len": 8,
                  "psid": 52
                },
                "br-ipv6-addr": "2001:db8:1::2",
                "lw4o6-softwire-br:origin": "pcp",
                "lw4o6-softwire-br:expires": "2026-11-20T19:05:33.5Z",
                "lw4o6-softwire-br:additional-softwire": [
                  {
                    "binding-ipv4-addr": "192.0.2.1",
                    "psid-offset": 0,
                    "psid-len": 8,
                    "psid": 53,
                    "br-ipv6-addr": "2001:db8:1::3",
                    "origin": "operator",
                    "expires": "2026-11-20T19:05:33Z"
                  }
                ]
              },
              {
                "binding-ipv6info": "2001:db8:12:3400::/56",
                "binding-ipv4-addr": "192.0.2.18",
                "port-set": {
                  "psid-offset": 0,
                  "psid-len": 16,
                  "psid": 80
                },
                "br-ipv6-addr": "2001:db8:1::2"
              }
            ]
          },
          "traffic-stat": {
            "discontinuity-time": "2026-11-20T19:05:32Z"
          }
        }
      ]
    }
  }
}
"#;

fn read(text: &str) -> Vec<Instance> {
    import(text.as_bytes(), CLOCK).unwrap()
}

fn write(instances: &[Instance], layout: Layout) -> String {
    let mut out = vec![];
    export(&mut out, instances, CLOCK, layout).unwrap();
    String::from_utf8(out).unwrap()
}

fn refusal(text: &str) -> String {
    import(text.as_bytes(), CLOCK).unwrap_err().to_string()
}

/// A document with one instance that has `members` besides the mandatory ones.
fn instance(members: &str) -> String {
    format!(
        r#"{{"ietf-softwire-br:br-instances":{{"binding":{{"bind-instance":[{{"name":"x",
        "softwire-num-max":9,"softwire-payload-mtu":1500,"softwire-path-mru":1540{members}}}]}}}}}}"#
    )
}

/// A document with one instance and the given entries.
fn table(entries: &str) -> String {
    instance(&format!(
        r#","binding-table":{{"binding-entry":[{entries}]}}"#
    ))
}

/// An entry with the port set and further members given.
fn entry(port_set: &str, members: &str) -> String {
    format!(
        r#"{{"binding-ipv6info":"2001:db8::1","binding-ipv4-addr":"192.0.2.1","port-set":
        {{{port_set}}},"br-ipv6-addr":"2001:db8:1::2"{members}}}"#
    )
}

const SET: &str = r#""psid-len":8,"psid":52"#;

#[test]
fn every_member_of_the_model_is_read() {
    // R-262
    let instances = read(FULL);
    assert_eq!(instances.len(), 1);
    let one = &instances[0];
    assert_eq!(one.name, "one");
    let version = TableVersion {
        version: u64::MAX,
        date: Some("2026-11-20T10:00:00+01:00".to_string()),
    };
    assert_eq!(one.version, Some(version));
    assert_eq!(one.softwire_num_max, 1024);
    assert_eq!((one.payload_mtu, one.path_mru), (1500, 1540));
    assert_eq!(one.hairpin, HairpinMode::ToIpv4Side);
    assert_eq!(one.default_aftr, "2001:db8:1::3".parse().ok());
    let pool = DeclaredPool {
        first: "192.0.2.0".parse().unwrap(),
        last: "192.0.2.255".parse().unwrap(),
        offset: 0,
        len: 8,
    };
    assert_eq!(one.pools, [pool]);
    let policy = IcmpPolicy {
        allow_incoming_icmpv4: false,
        icmpv4_rate: Some(1000),
        generate_icmpv4_errors: false,
        generate_icmpv6_errors: false,
        icmpv6_rate: Some(2000),
    };
    assert_eq!(one.icmp_policy, policy);
}

#[test]
fn softwires_of_one_b4_are_joined_from_both_lists() {
    // R-061, R-062
    let [first, second, third] = read(FULL).remove(0).bindings.try_into().unwrap();
    assert_eq!(first.binding.b4, second.binding.b4);
    assert_eq!(first.binding.ports, PortParams::new(0, 8, 52).unwrap());
    assert_eq!(second.binding.ports, PortParams::new(0, 8, 53).unwrap());
    assert_eq!(first.binding.origin, Origin::Pcp);
    assert_eq!(second.binding.origin, Origin::Operator);
    let expiry = |micros| Expiry::At(Instant::from_micros(micros));
    assert_eq!(first.binding.expires, expiry(1_001_500_000));
    assert_eq!(second.binding.expires, expiry(1_001_000_000));
    assert_ne!(first.binding.aftr, second.binding.aftr);
    let paths = [first, second, third].map(|b| b.place("one").unwrap().to_string());
    let base = "/ietf-softwire-br:br-instances/binding/bind-instance[name='one']/binding-table";
    assert_eq!(paths[0], format!("{base}/binding-entry[1]"));
    assert_eq!(
        paths[1],
        format!("{base}/binding-entry[1]/lw4o6-softwire-br:additional-softwire[1]")
    );
    assert_eq!(paths[2], format!("{base}/binding-entry[2]"));
}

#[test]
fn a_prefix_entry_stands_for_the_address_constructed_from_it() {
    let binding = read(FULL)[0].bindings[2].binding;
    assert_eq!(binding.prefix_len, 56);
    let address: Ipv6Addr = "2001:db8:12:3400:0:c000:212:50".parse().unwrap();
    assert_eq!(binding.b4, address);
    assert_eq!(binding.ports.len(), 16);
}

#[test]
fn the_psid_is_a_right_aligned_number() {
    // R-024: 0x34 of 8 bits is 52 here and 0x3400 in a DHCP option.
    let binding = read(FULL)[0].bindings[0].binding;
    assert_eq!(binding.ports.psid(), 0x34);
    assert_eq!(binding.ports.left_aligned(), 0x3400);
}

#[test]
fn no_psid_is_not_psid_zero() {
    // R-025
    let bindings = |set| read(&table(&entry(set, "")))[0].bindings[0].binding;
    let whole = bindings(r#""psid-len":0,"psid":0"#);
    let shared = bindings(r#""psid-len":6,"psid":0"#);
    assert!(whole.ports.is_full_address());
    assert!(!shared.ports.is_full_address());
    assert_eq!(shared.ports.some_psid(), Some(0));
    assert_eq!(whole.ports.some_psid(), None);
}

#[test]
fn defaults_of_the_model_hold_where_nothing_is_said() {
    // R-020, R-262
    let read = read(&table(&entry(SET, ""))).remove(0);
    let mut expected = Instance::new("x".to_string(), 9, 1500, 1540);
    expected.bindings = read.bindings.clone();
    assert_eq!(read, expected);
    assert_eq!(read.icmp_policy, IcmpPolicy::default());
    let binding = read.bindings[0].binding;
    assert_eq!(binding.ports.offset(), 0);
    assert_eq!(binding.origin, Origin::Static);
    assert_eq!(binding.expires, Expiry::Never);
}

#[test]
fn the_example_of_rfc_8676_a_1_needs_no_member_of_ours() {
    // R-262
    let example = r#"{"ietf-softwire-br:br-instances":{"binding":{"bind-instance":[{
        "name":"mybinding-instance","binding-table":{"binding-entry":[{
        "binding-ipv6info":"2001:db8::1","binding-ipv4-addr":"192.0.2.1",
        "port-set":{"psid-len":8,"psid":52},"br-ipv6-addr":"2001:db8:1::2"}]},
        "softwire-num-max":1024,"softwire-path-mru":1540,"softwire-payload-mtu":1500}]}}}"#;
    let instances = read(example);
    assert_eq!(instances[0].bindings.len(), 1);
    let text = write(&instances, Layout::Compact);
    assert!(!text.contains("lw4o6"), "{text}");
    assert_eq!(read(&text), instances);
}

#[test]
fn the_default_aftr_address_may_come_after_the_table() {
    let without = r#"{"binding-ipv6info":"2001:db8::1","binding-ipv4-addr":"192.0.2.1",
        "port-set":{"psid-len":0,"psid":0}}"#;
    let ours = r#","lw4o6-softwire-br:default-br-ipv6-addr":"2001:db8::af""#;
    let text = instance(&format!(
        r#","binding-table":{{"binding-entry":[{without}]}}{ours}"#
    ));
    let aftr: Ipv6Addr = "2001:db8::af".parse().unwrap();
    assert_eq!(read(&text)[0].bindings[0].binding.aftr, aftr);
    assert_eq!(
        refusal(&table(without)),
        "/ietf-softwire-br:br-instances/binding/bind-instance[name='x']/\
         lw4o6-softwire-br:default-br-ipv6-addr: not given, and \
         /ietf-softwire-br:br-instances/binding/bind-instance[name='x']/binding-table/\
         binding-entry[1] has no br-ipv6-addr of its own"
    );
}

#[test]
fn the_boolean_and_the_three_valued_mode_agree() {
    let mode = |members: &str| read(&instance(members))[0].hairpin;
    let ours = |value, mode| {
        format!(r#","enable-hairpinning":{value},"lw4o6-softwire-br:hairpin-mode":"{mode}""#)
    };
    assert_eq!(mode(""), HairpinMode::Local);
    assert_eq!(mode(r#","enable-hairpinning":false"#), HairpinMode::Drop);
    assert_eq!(mode(&ours("true", "local")), HairpinMode::Local);
    assert_eq!(mode(&ours("false", "drop")), HairpinMode::Drop);
    assert_eq!(
        mode(&ours("false", "to-ipv4-side")),
        HairpinMode::ToIpv4Side
    );
    for wrong in [ours("true", "drop"), ours("false", "local")] {
        assert_eq!(
            refusal(&instance(&wrong)),
            "/ietf-softwire-br:br-instances/binding/bind-instance[name='x']/\
             lw4o6-softwire-br:hairpin-mode: enable-hairpinning must be true with local and \
             false with the others"
        );
    }
}

/// Entries of a binding table, what follows its path, and what is said.
const ENTRIES: &[(&str, &str)] = &[
    (r#"{"foo":1}"#, "[1]/foo: unknown key"),
    (r#"{"f\u0007o":1}"#, "[1]/f\\u{7}o: unknown key"),
    (r#"{}"#, "[1]: binding-ipv6info is missing in binding-entry"),
    (r#"7"#, "[1]: 7 is not an object"),
    (r#"[]"#, "[1]: an array is not an object"),
    (r#"null"#, "[1]: null is not an object"),
    (
        r#"{"binding-ipv6info":"2001:db8::1","binding-ipv6info":"::1"}"#,
        "[1]/binding-ipv6info: binding-ipv6info is given twice",
    ),
    (
        r#"{"binding-ipv6info":"2001:db8::1%eth0"}"#,
        "[1]/binding-ipv6info: \"2001:db8::1%eth0\" is not an IPv6 address or prefix",
    ),
    (
        r#"{"binding-ipv6info":"2001:db8::/129"}"#,
        "[1]/binding-ipv6info: \"2001:db8::/129\" is not an IPv6 address or prefix",
    ),
    (
        r#"{"binding-ipv4-addr":"192.0.2.01"}"#,
        "[1]/binding-ipv4-addr: \"192.0.2.01\" is not an IPv4 address",
    ),
    (
        r#"{"binding-ipv4-addr":["192.0.2.1"]}"#,
        "[1]/binding-ipv4-addr: an array is not an IPv4 address",
    ),
    (
        r#"{"port-set":{"psid-len":8}}"#,
        "[1]/port-set: psid is missing in port-set",
    ),
    (
        r#"{"port-set":{"psid-len":17}}"#,
        "[1]/port-set/psid-len: 17 is not a number from 0 to 16",
    ),
    (
        r#"{"port-set":{"psid-len":"8"}}"#,
        "[1]/port-set/psid-len: \"8\" is not a number from 0 to 16",
    ),
    (
        r#"{"port-set":{"psid":-1}}"#,
        "[1]/port-set/psid: -1 is not a number from 0 to 65535",
    ),
    (
        r#"{"port-set":{"psid":65536}}"#,
        "[1]/port-set/psid: 65536 is not a number from 0 to 65535",
    ),
    (
        r#"{"port-set":{"psid":1.0}}"#,
        "[1]/port-set/psid: 1.0 is not a number from 0 to 65535",
    ),
    (
        r#"{"port-set":{"psid":true}}"#,
        "[1]/port-set/psid: true is not a number from 0 to 65535",
    ),
    (
        r#"{"port-set":{"psid":{}}}"#,
        "[1]/port-set/psid: an object is not a number from 0 to 65535",
    ),
    (
        r#"{"port-set":{"psid-offset":8,"psid-len":9,"psid":1}}"#,
        "[1]/port-set: offset 8 and length 9 take more than 16 bits",
    ),
    (
        r#"{"port-set":{"psid-len":8,"psid":256}}"#,
        "[1]/port-set: PSID 256 does not fit in 8 bits",
    ),
    (
        r#"{"br-ipv6-addr":"192.0.2.1"}"#,
        "[1]/br-ipv6-addr: \"192.0.2.1\" is not an IPv6 address",
    ),
    (
        r#"{"lw4o6-softwire-br:origin":"radius"}"#,
        "[1]/lw4o6-softwire-br:origin: \"radius\" is not static, operator, dhcp, pcp or peer",
    ),
    (
        r#"{"lw4o6-softwire-br:expires":"2026-11-20T20:00:00+01:00"}"#,
        "[1]/lw4o6-softwire-br:expires: \"2026-11-20T20:00:00+01:00\" is not a UTC date and \
         time like \"2026-11-20T19:05:32Z\"",
    ),
    (
        r#"{"lw4o6-softwire-br:additional-softwire":[{"psid-len":1,"psid":2,"binding-ipv4-addr":"192.0.2.1"}]}"#,
        "[1]/lw4o6-softwire-br:additional-softwire[1]: PSID 2 does not fit in 1 bits",
    ),
    (
        r#"{"lw4o6-softwire-br:additional-softwire":[
            {"psid-len":8,"psid":2,"binding-ipv4-addr":"192.0.2.2"},
            {"psid-len":8,"psid":2,"binding-ipv4-addr":"192.0.2.1"},
            {"psid-len":7,"psid":2,"binding-ipv4-addr":"192.0.2.1"}],
            "binding-ipv6info":"::2","binding-ipv4-addr":"192.0.2.1",
            "port-set":{"psid-len":0,"psid":0}}"#,
        "[1]/lw4o6-softwire-br:additional-softwire[3]: \
         lw4o6-softwire-br:additional-softwire[2] has the same address and PSID",
    ),
    (
        r#"{"lw4o6-softwire-br:additional-softwire":{}}"#,
        "[1]/lw4o6-softwire-br:additional-softwire: an object is not an array",
    ),
];

#[test]
fn a_wrong_entry_is_refused_with_path_value_and_rule() {
    // R-021, R-262
    let base = "/ietf-softwire-br:br-instances/binding/bind-instance[name='x']/binding-table";
    for (entry, said) in ENTRIES {
        assert_eq!(
            refusal(&table(entry)),
            format!("{base}/binding-entry{said}")
        );
    }
}

/// Members of an instance, what follows its path, and what is said.
const MEMBERS: &[(&str, &str)] = &[
    (
        r#","traffic-stat":{}"#,
        "/traffic-stat: discontinuity-time is missing in traffic-stat",
    ),
    (
        r#","traffic-stat":{"sent-ipv4-packets":1}"#,
        "/traffic-stat/sent-ipv4-packets: 1 is not a string of decimal digits up to 2^64-1",
    ),
    (r#","hairpin-mode":"drop""#, "/hairpin-mode: unknown key"),
    (
        r#","binding-table":[]"#,
        "/binding-table: an array is not an object",
    ),
    (
        r#","enable-hairpinning":"true""#,
        "/enable-hairpinning: \"true\" is not true or false",
    ),
    (
        r#","lw4o6-softwire-br:hairpin-mode":"on""#,
        "/lw4o6-softwire-br:hairpin-mode: \"on\" is not local, to-ipv4-side or drop",
    ),
    (
        r#","binding-table-versioning":{"version":3}"#,
        "/binding-table-versioning/version: 3 is not a string of decimal digits up to 2^64-1",
    ),
    (
        r#","binding-table-versioning":{"version":"+3"}"#,
        "/binding-table-versioning/version: \"+3\" is not a string of decimal digits up to 2^64-1",
    ),
    (
        r#","binding-table-versioning":{"date":"yesterday"}"#,
        "/binding-table-versioning/date: \"yesterday\" is not a date and time like \
         \"2026-11-20T19:05:32Z\"",
    ),
    (
        r#","icmp-policy":{"icmpv6-errors":{"icmpv6-rate":4294967296}}"#,
        "/icmp-policy/icmpv6-errors/icmpv6-rate: 4294967296 is not a number from 0 to 4294967295",
    ),
    (
        r#","lw4o6-softwire-br:pool":[{"first-address":"192.0.2.9","last-address":"192.0.2.8","psid-len":0}]"#,
        "/lw4o6-softwire-br:pool[1]: last-address lies before first-address",
    ),
    (
        r#","lw4o6-softwire-br:pool":[{"first-address":"192.0.2.8","last-address":"192.0.2.9","psid-len":9,"psid-offset":8}]"#,
        "/lw4o6-softwire-br:pool[1]: psid-offset and psid-len make more than 16 bits",
    ),
    (
        r#","lw4o6-softwire-br:pool":[{"first-address":"192.0.2.8","last-address":"192.0.2.9","psid-len":0},
           {"first-address":"192.0.2.9","last-address":"192.0.2.9","psid-len":0}]"#,
        "/lw4o6-softwire-br:pool[2]: another pool has some of these addresses",
    ),
];

#[test]
fn a_wrong_instance_is_refused_with_path_value_and_rule() {
    let base = "/ietf-softwire-br:br-instances/binding/bind-instance[name='x']";
    for (members, said) in MEMBERS {
        assert_eq!(refusal(&instance(members)), format!("{base}{said}"));
    }
}

#[test]
fn a_wrong_document_is_refused() {
    let base = "/ietf-softwire-br:br-instances";
    let br = |inner: &str| format!(r#"{{"ietf-softwire-br:br-instances":{inner}}}"#);
    let binding = |inner: &str| br(&format!(r#"{{"binding":{{"bind-instance":[{inner}]}}}}"#));
    assert_eq!(refusal("[]"), "/: an array is not an object");
    assert_eq!(
        refusal("{}"),
        "/: ietf-softwire-br:br-instances is missing in the document"
    );
    assert_eq!(
        refusal(r#"{"br-instances":{}}"#),
        "/br-instances: unknown key"
    );
    assert_eq!(
        refusal(&br(r#"{"algorithm":{}}"#)),
        format!("{base}/algorithm: unknown key")
    );
    assert_eq!(
        refusal(&binding(r#"{"softwire-num-max":0}"#)),
        format!(
            "{base}/binding/bind-instance[1]/softwire-num-max: 0 is not a number from 1 to 4294967295"
        )
    );
    assert_eq!(
        refusal(&binding(r#"{"name":"a'b"}"#)),
        format!(
            "{base}/binding/bind-instance[name='a'b']: softwire-num-max is missing in bind-instance"
        )
    );
    let twice = instance("").replace("}]", "},{\"name\":\"x\",\"softwire-num-max\":9,\"softwire-payload-mtu\":1500,\"softwire-path-mru\":1540}]");
    assert_eq!(
        refusal(&twice),
        format!("{base}/binding/bind-instance[name='x']: another instance has the same name")
    );
    assert_eq!(read(&br(r#"{"binding":{}}"#)), []);
}

#[test]
fn a_name_that_yang_does_not_allow_is_neither_read_nor_written() {
    let name = |name: &str| instance("").replace(r#""x""#, name);
    for wrong in [
        r#""\u0001""#,
        r#""a\ufdd0""#,
        r#""\uffff""#,
        r#""\ud83f\udffe""#,
    ] {
        let said = refusal(&name(wrong));
        assert!(
            said.ends_with(" is not a string of characters that YANG allows"),
            "{said}"
        );
    }
    assert_eq!(read(&name(r#""\t\u00e9\n""#))[0].name, "\té\n");
    let mut instances = read(&instance(""));
    let refused = |instances: &[Instance]| {
        let error = export(vec![], instances, CLOCK, Layout::Pretty).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    };
    instances[0].name = "\0".to_string();
    refused(&instances);
    instances[0].name = String::new();
    let date = Some("today".to_string());
    instances[0].version = Some(TableVersion { version: 1, date });
    refused(&instances);
}

#[test]
fn text_that_is_no_json_is_refused_with_line_and_column() {
    assert_eq!(refusal("{\n  \"a\" 1}"), "/a: unknown key");
    assert_eq!(
        refusal("{\n \"ietf-softwire-br:br-instances\" 1}"),
        "line 2 column 34: expected `:`"
    );
    assert_eq!(refusal(""), "line 1 column 0: EOF while parsing a value");
    assert_eq!(
        refusal(&format!("{} x", instance(""))),
        "line 2 column 88: trailing characters"
    );
}

#[test]
fn an_entry_that_stands_twice_is_refused() {
    let twice = format!(
        "{},{}",
        entry(SET, ""),
        entry(r#""psid-len":8,"psid":53"#, "")
    );
    assert_eq!(
        refusal(&table(&twice)),
        "/ietf-softwire-br:br-instances/binding/bind-instance[name='x']/binding-table/\
         binding-entry[2]: binding-entry[1] has the same binding-ipv6info; further softwires of \
         a B4 stand in lw4o6-softwire-br:additional-softwire of its entry"
    );
}

#[test]
fn writing_what_was_read_gives_the_same_text() {
    assert_eq!(write(&read(FULL), Layout::Pretty), FULL);
    let compact = write(&read(FULL), Layout::Compact);
    assert_eq!(compact.lines().count(), 1);
    assert_eq!(read(&compact), read(FULL));
}

#[test]
fn the_text_does_not_depend_on_the_order_of_the_bindings() {
    let mut instances = read(FULL);
    instances[0].bindings.reverse();
    assert_eq!(write(&instances, Layout::Pretty), FULL);
}

#[test]
fn no_prefix_is_accepted_and_none_panics() {
    let whole = FULL.trim_end();
    for len in 0..whole.len() {
        let prefix = &whole.as_bytes()[..len];
        assert!(import(prefix, CLOCK).is_err(), "{len}");
    }
}

fn policy() -> impl Strategy<Value = IcmpPolicy> {
    let rates = (option::of(any::<u32>()), option::of(any::<u32>()));
    (any::<[bool; 3]>(), rates).prop_map(|([a, b, c], (v4, v6))| IcmpPolicy {
        allow_incoming_icmpv4: a,
        icmpv4_rate: v4,
        generate_icmpv4_errors: b,
        generate_icmpv6_errors: c,
        icmpv6_rate: v6,
    })
}

/// Any instance whose bindings are in the order of the text.
fn any_instance(name: String) -> impl Strategy<Value = Instance> {
    let sizes = (1..=u32::MAX, any::<u16>(), any::<u16>());
    let version = option::of((any::<u64>(), option::of(0..Utc::MAX.as_micros())));
    let rest = (version, 0..3_usize, policy(), option::of(any::<u128>()));
    (sizes, rest, bindings()).prop_map(
        move |((max, mtu, mru), (version, hairpin, icmp_policy, aftr), mut bindings)| {
            bindings.sort_by_key(|b| (b.prefix(), b.key()));
            bindings.dedup_by_key(|b| (b.prefix(), b.key()));
            let mut instance = Instance::new(name.clone(), max, mtu, mru);
            instance.version = version.map(|(version, date)| TableVersion {
                version,
                date: date.map(|micros| Utc::from_micros(micros).to_string()),
            });
            instance.hairpin = HairpinMode::ALL[hairpin];
            instance.icmp_policy = icmp_policy;
            instance.default_aftr = aftr.map(Ipv6Addr::from_bits);
            instance.bindings = bindings.into_iter().map(ImportedBinding::from).collect();
            instance
        },
    )
}

fn any_document() -> impl Strategy<Value = Vec<Instance>> {
    btree_map("[^\\p{Cc}\\p{Cn}]{0,8}", Just(()), 0..3).prop_flat_map(|names| {
        let instances: Vec<_> = names.into_keys().map(any_instance).collect();
        instances
    })
}

/// Drops what only says where a binding stood.
fn unplaced(mut instances: Vec<Instance>) -> Vec<Instance> {
    for imported in instances.iter_mut().flat_map(|i| &mut i.bindings) {
        imported.source = Source::Program;
    }
    instances
}

proptest! {
    #![proptest_config(cases())]

    // R-062, R-262
    #[test]
    fn reading_gives_back_what_was_written(instances in any_document(), pretty: bool) {
        let layout = if pretty { Layout::Pretty } else { Layout::Compact };
        let text = write(&instances, layout);
        prop_assert_eq!(unplaced(read(&text)), instances);
    }

    #[test]
    fn one_changed_byte_never_panics(at in 0..FULL.len(), byte: u8) {
        let mut text = FULL.as_bytes().to_vec();
        text[at] = byte;
        let _ = import(&text, CLOCK);
    }
}

#[test]
fn every_entry_of_a_document_has_another_place() {
    let places: BTreeSet<_> = read(FULL)[0]
        .bindings
        .iter()
        .map(|b| b.place("one").unwrap().to_string())
        .collect();
    assert_eq!(places.len(), 3);
}
