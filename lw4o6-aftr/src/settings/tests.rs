use super::*;

fn refused(knobs: impl FnOnce(&mut AftrConfig)) -> String {
    let mut config = AftrConfig::default();
    knobs(&mut config);
    Settings::new(config).unwrap_err().to_string()
}

#[test]
fn the_default_is_accepted() {
    let settings = Settings::new(AftrConfig::default()).unwrap();
    assert_eq!((settings.overhead, settings.config.path_mru), (40, 1540));
    let mut config = AftrConfig {
        encap_limit: Some(4),
        path_mru: 1280,
        ..AftrConfig::default()
    };
    config.icmp.v4_tos = 0xff;
    let settings = Settings::new(config).unwrap();
    assert_eq!((settings.overhead, settings.config.path_mru), (48, 1540));
    assert_eq!(settings.config.icmp.v4_tos, 0xfc);
}

#[test]
fn addresses_must_be_reachable() {
    //
    for (text, message) in [
        (
            "192.0.0.1",
            "own_ipv4: 192.0.0.1 is in 192.0.0.0/29, which never leaves a tunnel (RFC 7335)",
        ),
        (
            "127.0.0.1",
            "own_ipv4: 127.0.0.1 is not a routable unicast address",
        ),
        (
            "224.0.0.5",
            "own_ipv4: 224.0.0.5 is not a routable unicast address",
        ),
    ] {
        assert_eq!(refused(|c| c.own_ipv4.push(text.parse().unwrap())), message);
    }
    for text in ["::", "::1", "fe80::1", "ff02::1"] {
        let address = text.parse().unwrap();
        assert_eq!(
            refused(|c| c.aftr_addresses.push(address)),
            format!("aftr_addresses: {text} is not a routable unicast address")
        );
        assert_eq!(
            refused(|c| c.own_ipv6.push(address)),
            format!("own_ipv6: {text} is not a routable unicast address")
        );
    }
    let twice: Ipv6Addr = "2001:db8::1".parse().unwrap();
    assert_eq!(
        refused(|c| c.aftr_addresses.extend([twice, twice])),
        "aftr_addresses: 2001:db8::1 is listed twice"
    );
}

#[test]
fn numbers_have_ranges() {
    assert_eq!(refused(|c| c.ipv4_mtu = 67), "ipv4_mtu: 67 is below 68");
    assert_eq!(
        refused(|c| c.ipv6_mtu = 1279),
        "ipv6_mtu: 1279 is below 1280"
    );
    assert_eq!(
        refused(|c| c.dscp_encap = DscpEncap::Fixed(64)),
        "dscp_encap: 64 is above 63"
    );
    assert_eq!(
        refused(|c| c.flow_label = FlowLabel::Constant(0x10_0000)),
        "flow_label: 0x100000 has more than 20 bits"
    );
    assert_eq!(
        refused(|c| c.hop_limit = 0),
        "hop_limit: 0 would be dropped by the first router"
    );
    assert_eq!(
        refused(|c| c.own_ttl = 0),
        "own_ttl: 0 would be dropped by the first router"
    );
    assert_eq!(
        refused(|c| c.mss_clamp = MssClamp::To(87)),
        "mss_clamp: 87 is below 88"
    );
}

#[test]
fn fragments_need_time_and_memory() {
    //
    assert_eq!(
        refused(|c| c.fragments.timeout = Duration::from_millis(1999)),
        "fragments.timeout: 1.999s is below 2 s"
    );
    assert_eq!(
        refused(|c| c.reassembly.contexts = 0),
        "reassembly.contexts: 0 would refuse every fragment"
    );
    assert_eq!(
        refused(|c| c.reassembly.bytes = 3 << 20),
        "reassembly.bytes: 3145728 is above half of slab_bytes, 4194304"
    );
    let message = refused(|c| c.fragments.bytes = 2 << 20);
    assert!(
        message.starts_with("slab_bytes: 4194304 is below 4"),
        "{message}"
    );
    // Packets cut into 48-byte pieces take many chunks.
    let message = refused(|c| c.ipv4_mtu = 68);
    assert!(message.contains("what held fragments and one packet's output take"));
    let mut config = AftrConfig {
        ipv4_mtu: 68,
        slab_bytes: 16 << 20,
        ..AftrConfig::default()
    };
    config.reassembly.bytes = 1 << 20;
    assert!(Settings::new(config).is_ok());
}

#[test]
fn an_empty_list_of_prefixes_admits_everybody() {
    //
    let mut config = AftrConfig::default();
    let outside: Ipv6Addr = "2001:db9::1".parse().unwrap();
    assert!(
        Settings::new(config.clone())
            .unwrap()
            .is_subscriber(outside)
    );
    config
        .subscriber_prefixes
        .push("2001:db8::/32".parse().unwrap());
    let settings = Settings::new(config).unwrap();
    assert!(!settings.is_subscriber(outside));
    assert!(settings.is_subscriber("2001:db8:ffff::1".parse().unwrap()));
}

#[test]
fn a_configuration_is_checked_without_being_put_in_force() {
    let mut config = AftrConfig::default();
    assert_eq!(config.check(), Ok(()));
    config.hop_limit = 0;
    assert_eq!(config.check(), Err(ConfigError::ZeroHops("hop_limit")));
}
