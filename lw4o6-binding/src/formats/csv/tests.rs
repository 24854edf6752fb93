use std::vec;

use lw4o6_wire::Instant;
use proptest::prelude::*;

use super::*;
use crate::formats::strategies::{bindings, cases};

const CLOCK: Clock = Clock {
    instant: Instant::from_secs(1000),
    utc: Utc::from_micros(1_795_201_532_000_000), // 2026-11-20T19:05:32Z
};

const SMALL: &str = "\
b4,ipv4,psid-offset,psid-len,psid,aftr,origin,expires
2001:db8::1,192.0.2.1,0,8,52,2001:db8:1::2,static,
2001:db8:12:3400::/56,192.0.2.18,0,8,7,2001:db8:1::2,pcp,2026-11-20T19:05:32.5Z
";

fn read(text: &str) -> Vec<ImportedBinding> {
    import(text.as_bytes(), CLOCK).unwrap()
}

fn write<'a>(bindings: impl IntoIterator<Item = &'a Binding>) -> String {
    let mut out = vec![];
    export(&mut out, bindings, CLOCK).unwrap();
    String::from_utf8(out).unwrap()
}

fn refusal(text: &str) -> String {
    import(text.as_bytes(), CLOCK).unwrap_err().to_string()
}

#[test]
fn every_column_is_read() {
    let [first, second] = read(SMALL).try_into().unwrap();
    assert_eq!(first.source, Source::Line(2));
    assert_eq!(second.source, Source::Line(3));
    let ports = PortParams::new(0, 8, 52).unwrap();
    let aftr = "2001:db8:1::2".parse().unwrap();
    let b4 = "2001:db8::1".parse().unwrap();
    let expected = Binding::new(b4, "192.0.2.1".parse().unwrap(), ports, aftr);
    assert_eq!(first.binding, expected);
    let b4: Ipv6Addr = "2001:db8:12:3400:0:c000:212:7".parse().unwrap();
    assert_eq!((second.binding.b4, second.binding.prefix_len), (b4, 56));
    assert_eq!(second.binding.origin, Origin::Pcp);
    let at = Instant::from_micros(1_000_500_000);
    assert_eq!(second.binding.expires, Expiry::At(at));
}

#[test]
fn writing_what_was_read_gives_the_same_text() {
    let bindings = read(SMALL);
    assert_eq!(write(bindings.iter().map(|b| &b.binding)), SMALL);
}

#[test]
fn quotes_blanks_blank_lines_and_carriage_returns_do_not_matter() {
    let text = "\r\n\nb4, ipv4,psid-offset,psid-len,psid,aftr,origin,expires\r\n\r\n\r\n\
                \"2001:db8::1\",192.0.2.1 ,0,8, 52,2001:db8:1::2,,\n\n";
    let [only] = read(text).try_into().unwrap();
    assert_eq!(only.binding, read(SMALL)[0].binding);
    assert_eq!(only.source, Source::Line(6));
}

#[test]
fn no_psid_is_not_psid_zero() {
    //
    let with = |set| read(&SMALL.replacen("0,8,52", set, 1))[0].binding.ports;
    assert_eq!(with("0,0,0").some_psid(), None);
    assert_eq!(with("0,6,0").some_psid(), Some(0));
}

/// What to replace in [`SMALL`], by what, and the refusal.
const EDITS: &[(&str, &str, &str)] = &[
    (
        "b4,ipv4",
        "ipv4,b4",
        "line 1: expected the header b4,ipv4,psid-offset,psid-len,psid,aftr,origin,expires, found a line that starts with \"ipv4\"",
    ),
    (
        "::2,static,\n",
        "::2,static\n",
        "line 2: expected 8 fields, found 7",
    ),
    (
        "::2,static,\n",
        "::2,static,,\n",
        "line 2: expected 8 fields, found 9",
    ),
    (
        "2001:db8::1,",
        "2001:db8::g,",
        "line 2: b4 \"2001:db8::g\" is not an IPv6 address or prefix",
    ),
    (
        "/56",
        "/129",
        "line 3: b4 \"2001:db8:12:3400::/129\" is not an IPv6 address or prefix",
    ),
    (
        "192.0.2.1,",
        "192.0.2,",
        "line 2: ipv4 \"192.0.2\" is not an IPv4 address",
    ),
    (
        ",0,8,52,",
        ",17,8,52,",
        "line 2: psid-offset \"17\" is not a number from 0 to 16",
    ),
    (
        ",0,8,52,",
        ",0,+8,52,",
        "line 2: psid-len \"+8\" is not a number from 0 to 16",
    ),
    (
        ",0,8,52,",
        ",0,8,65536,",
        "line 2: psid \"65536\" is not a number from 0 to 65535",
    ),
    (
        ",0,8,52,",
        ",0,8,256,",
        "line 2: PSID 256 does not fit in 8 bits",
    ),
    (
        ",0,8,52,",
        ",9,8,52,",
        "line 2: offset 9 and length 8 take more than 16 bits",
    ),
    (
        "2001:db8:1::2,static",
        ",static",
        "line 2: aftr \"\" is not an IPv6 address",
    ),
    (
        "pcp",
        "PCP",
        "line 3: origin \"PCP\" is not static, operator, dhcp, pcp or peer",
    ),
    (
        "32.5Z",
        "32.5",
        "line 3: expires \"2026-11-20T19:05:32.5\" is not a date and time like 2026-11-20T19:05:32Z",
    ),
];

#[test]
fn refusals_name_line_column_value_and_rule() {
    //
    for (right, wrong, said) in EDITS {
        assert_eq!(refusal(&SMALL.replacen(right, wrong, 1)), *said);
    }
    for text in ["", "\n\n"] {
        assert!(refusal(text).ends_with("found the end of the text"));
    }
    let mut text = SMALL.as_bytes().to_vec();
    text[SMALL.find("static").unwrap()] = 0xff;
    let error = import(&text, CLOCK).unwrap_err();
    assert_eq!(
        error.to_string(),
        "line 2: origin \"\u{fffd}tatic\" is not UTF-8 text"
    );
}

#[test]
fn no_prefix_panics_and_none_that_cuts_a_line_is_accepted() {
    for len in 0..SMALL.len() {
        let read = import(&SMALL.as_bytes()[..len], CLOCK);
        let lines = SMALL[..len].lines().count();
        if let Ok(bindings) = read {
            // The last column may be empty, so a line may end anywhere in it but not before.
            assert_eq!(bindings.len() + 1, lines, "{len}");
        }
    }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn reading_gives_back_what_was_written(written in bindings()) {
        let read: Vec<_> = read(&write(&written)).iter().map(|b| b.binding).collect();
        prop_assert_eq!(read, written);
    }

    #[test]
    fn no_text_panics(text in "[b4,ipsdoretx\"\n\r0-9:. -]{0,80}") {
        let _ = import(text.as_bytes(), CLOCK);
        let _ = import([HEADER.join(","), text].join("\n").as_bytes(), CLOCK);
    }
}
