use super::*;
use alloc::string::ToString;
use lw4o6_wire::b4_addr::Ipv6Prefix;
use lw4o6_wire::port_params::PortParams;

fn binding() -> Binding {
    Binding::new(
        "2001:db8::1".parse().unwrap(),
        "192.0.2.1".parse().unwrap(),
        PortParams::new(0, 6, 1).unwrap(),
        "2001:db8:a::1".parse().unwrap(),
    )
}

fn message(binding: Binding) -> alloc::string::String {
    binding.check().unwrap_err().to_string()
}

#[test]
fn a_plain_binding_passes() {
    assert_eq!(binding().check(), Ok(()));
}

#[test]
fn a_b4_address_that_is_not_unicast_is_refused() {
    //
    let b4 = |text: &str| {
        message(Binding {
            b4: text.parse().unwrap(),
            ..binding()
        })
    };
    let end = "not a unicast address";
    assert_eq!(
        b4("::"),
        alloc::format!("B4 address :: is unspecified, {end}")
    );
    assert_eq!(
        b4("::1"),
        alloc::format!("B4 address ::1 is loopback, {end}")
    );
    assert_eq!(
        b4("ff02::1"),
        alloc::format!("B4 address ff02::1 is multicast, {end}")
    );
    assert_eq!(
        b4("fe80::1"),
        alloc::format!("B4 address fe80::1 is link-local, {end}")
    );
    assert_eq!(
        b4("febf::1"),
        alloc::format!("B4 address febf::1 is link-local, {end}")
    );
}

#[test]
fn an_aftr_address_that_is_not_unicast_is_refused() {
    //
    let aftr = |text: &str| {
        message(Binding {
            aftr: text.parse().unwrap(),
            ..binding()
        })
    };
    assert_eq!(
        aftr("::"),
        "AFTR address :: is unspecified, not a unicast address"
    );
    assert_eq!(
        aftr("ff0e::7"),
        "AFTR address ff0e::7 is multicast, not a unicast address"
    );
}

#[test]
fn an_aftr_address_that_is_the_b4_address_is_refused() {
    //
    let both = Binding {
        aftr: binding().b4,
        ..binding()
    };
    assert_eq!(
        message(both),
        "AFTR address 2001:db8::1 is also the B4 address"
    );
}

#[test]
fn an_ipv4_address_that_is_not_unicast_is_refused() {
    let ipv4 = |text: &str| {
        message(Binding {
            ipv4: text.parse().unwrap(),
            ..binding()
        })
    };
    let says = |addr: &str, what: &str| {
        alloc::format!("IPv4 address {addr} is in {what}, not a unicast address")
    };
    assert_eq!(ipv4("0.1.2.3"), says("0.1.2.3", "0.0.0.0/8 (this network)"));
    assert_eq!(
        ipv4("127.0.0.1"),
        says("127.0.0.1", "127.0.0.0/8 (loopback)")
    );
    assert_eq!(
        ipv4("239.1.1.1"),
        says("239.1.1.1", "224.0.0.0/4 (multicast)")
    );
    assert_eq!(
        ipv4("255.255.255.255"),
        says("255.255.255.255", "240.0.0.0/4 (reserved)")
    );
    for good in ["1.0.0.0", "126.255.255.255", "128.0.0.1", "223.255.255.255"] {
        let ipv4 = good.parse().unwrap();
        assert_eq!(Binding { ipv4, ..binding() }.check(), Ok(()));
    }
}

#[test]
fn a_prefix_that_does_not_give_the_address_is_refused() {
    let wrong = Binding {
        prefix_len: 56,
        ..binding()
    };
    assert_eq!(
        message(wrong),
        "B4 address 2001:db8::1 does not follow from its prefix, which gives 2001:db8::c000:201:1"
    );
    let long = Binding {
        prefix_len: 129,
        ..binding()
    };
    assert_eq!(message(long), "prefix length 129 is above 128");
    let prefix = Ipv6Prefix::new(binding().b4, 56).unwrap();
    let Binding {
        ipv4, ports, aftr, ..
    } = binding();
    let right = Binding::from_prefix(prefix, ipv4, ports, aftr);
    assert_eq!(right.check(), Ok(()));
}

#[test]
fn numbers_that_are_no_port_set_keep_their_message() {
    // R-021, T-9
    for (a, k, psid) in [(9, 8, 0), (0, 17, 0), (17, 0, 0), (0, 6, 64), (0, 0, 1)] {
        let cause = PortParams::new(a, k, psid).unwrap_err();
        let error = InsertError::from(cause);
        assert_eq!(error, InsertError::PortParams(cause));
        assert_eq!(error.to_string(), alloc::format!("port set: {cause}"));
    }
}

#[test]
fn only_sets_that_share_an_address_are_warned_about_system_ports() {
    // with offset 0 the low PSIDs hold the system ports
    let with = |a, k, psid| {
        Binding {
            ports: PortParams::new(a, k, psid).unwrap(),
            ..binding()
        }
        .shares_system_ports()
    };
    assert!(with(0, 6, 0));
    assert!(!with(0, 6, 1));
    assert!(with(0, 8, 3));
    assert!(!with(0, 8, 4));
    assert!(!with(6, 8, 0));
    assert!(!with(0, 0, 0));
}
