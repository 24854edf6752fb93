//! Rules of a grant, each with the exact text of its error.

use super::*;

#[test]
fn another_port_layout_on_an_address_is_refused() {
    //
    let mut store = store_with(&[binding(1, 3)]);
    let other = Binding {
        ports: ports(6, 8, 7),
        ipv4: [192, 0, 2, 1].into(),
        ..binding(1, 0)
    };
    // 6/8/7 overlaps 3072-4095, so take one that does not: the upper half of the ports.
    let apart = Binding {
        ports: ports(0, 1, 1),
        ..other
    };
    let error = store.insert(at(1), apart).unwrap_err();
    assert_eq!(
        message(error),
        "192.0.2.1 (a=0 k=1 psid=1) has another port layout than the bindings on that address (a=0 k=6)"
    );
    assert!(store.insert(at(1), binding(2, 3)).is_ok());
}

#[test]
fn another_port_layout_beside_a_waiting_grant_is_refused() {
    // pending grants hold their ports
    let mut store = store();
    store.insert(at(1), binding(1, 3)).unwrap();
    let other = Binding {
        ports: ports(0, 1, 1),
        ..binding(1, 4)
    };
    let error = store.insert(at(1), other).unwrap_err();
    assert!(matches!(error, InsertError::PortLayout { have_len: 6, .. }));
}

#[test]
fn a_port_set_that_overlaps_another_is_refused() {
    //
    let mut store = store_with(&[binding(1, 3)]);
    let wide = Binding {
        ports: ports(0, 4, 0),
        ..binding(1, 9)
    };
    let error = store.insert(at(1), wide).unwrap_err();
    assert_eq!(
        message(error),
        "192.0.2.1 (a=0 k=4 psid=0) overlaps port set a=0 k=6 psid=3 of 2001:db8:0:300::1"
    );
    let whole = Binding {
        ports: PortParams::FULL,
        ..binding(1, 9)
    };
    assert_eq!(
        message(store.insert(at(1), whole).unwrap_err()),
        "192.0.2.1 overlaps port set a=0 k=6 psid=3 of 2001:db8:0:300::1"
    );
}

#[test]
fn a_port_set_that_overlaps_a_waiting_grant_is_refused() {
    //
    let mut store = store();
    store.insert(at(1), binding(1, 3)).unwrap();
    let wide = Binding {
        ports: ports(0, 4, 0),
        ..binding(1, 9)
    };
    let error = store.insert(at(1), wide).unwrap_err();
    assert!(matches!(error, InsertError::Overlap { b4, .. } if b4 == super::b4(3)));
}

#[test]
fn a_softwire_that_is_bound_is_refused() {
    let mut store = store_with(&[binding(1, 3)]);
    let again = Binding {
        b4: b4(9),
        ..binding(1, 3)
    };
    assert_eq!(
        message(store.insert(at(1), again).unwrap_err()),
        "192.0.2.1 (a=0 k=6 psid=3) is bound to 2001:db8:0:300::1"
    );
}

#[test]
fn a_softwire_that_another_waiting_grant_holds_is_refused() {
    let mut store = store();
    store.insert(at(1), binding(1, 3)).unwrap();
    let again = Binding {
        b4: b4(9),
        ..binding(1, 3)
    };
    assert_eq!(
        message(store.insert(at(1), again).unwrap_err()),
        "192.0.2.1 (a=0 k=6 psid=3) is bound to 2001:db8:0:300::1"
    );
    let other_aftr = Binding {
        aftr: "2001:db8:a::2".parse().unwrap(),
        ..binding(1, 3)
    };
    assert_eq!(
        message(store.insert(at(1), other_aftr).unwrap_err()),
        "another change of 192.0.2.1 (a=0 k=6 psid=3) waits for the store (#1)"
    );
}

#[test]
fn the_rules_of_a_single_binding_hold_in_the_store_too() {
    //
    let mut store = store();
    let loops = Binding {
        aftr: b4(1),
        ..binding(1, 1)
    };
    assert_eq!(
        store.insert(at(1), loops),
        Err(InsertError::AftrIsB4 { aftr: b4(1) })
    );
}

#[test]
fn an_address_that_is_an_end_of_both_kinds_is_refused() {
    //
    let mut store = store_with(&[binding(1, 1)]);
    let aftr = binding(1, 1).aftr;
    let as_b4 = Binding {
        b4: aftr,
        aftr: "2001:db8:a::2".parse().unwrap(),
        ..binding(1, 2)
    };
    assert_eq!(
        message(store.insert(at(1), as_b4).unwrap_err()),
        "2001:db8:a::1 is a B4 address of one binding and the AFTR address of another"
    );
    let as_aftr = Binding {
        aftr: b4(1),
        ..binding(1, 2)
    };
    assert_eq!(
        store.insert(at(1), as_aftr),
        Err(InsertError::AftrAmongB4s { addr: b4(1) })
    );
    // A grant that waits counts as well.
    store.insert(at(1), binding(1, 2)).unwrap();
    let as_aftr = Binding {
        aftr: b4(2),
        ..binding(1, 3)
    };
    assert_eq!(
        store.insert(at(1), as_aftr),
        Err(InsertError::AftrAmongB4s { addr: b4(2) })
    );
}

#[test]
fn softwires_above_the_limit_are_refused() {
    //
    let mut store = Bindings::without_table(BindingsConfig {
        softwires: 2,
        ..config()
    });
    store.load(at(0), [binding(1, 1)]).unwrap();
    store.insert(at(1), binding(1, 2)).unwrap(); // waits, and counts
    let error = store.insert(at(1), binding(1, 3)).unwrap_err();
    assert_eq!(
        message(error),
        "the table holds its 2 softwires (softwire-num-max)"
    );
    store.remove(at(2), &binding(1, 1).key()).unwrap();
    assert!(store.insert(at(2), binding(1, 3)).is_ok());
}

#[test]
fn a_limit_of_zero_softwires_counts_as_one() {
    // softwire-num-max is at least 1
    let mut store = Bindings::without_table(BindingsConfig {
        softwires: 0,
        ..config()
    });
    assert!(store.insert(at(1), binding(1, 1)).is_ok());
    assert!(store.insert(at(1), binding(1, 2)).is_err());
}

#[test]
fn aftr_addresses_above_the_limit_are_refused() {
    //
    let mut store = Bindings::without_table(BindingsConfig {
        max_aftrs: 1,
        ..config()
    });
    store.insert(at(1), binding(1, 1)).unwrap();
    let other = Binding {
        aftr: "2001:db8:a::2".parse().unwrap(),
        ..binding(1, 2)
    };
    assert_eq!(
        message(store.insert(at(1), other).unwrap_err()),
        "the bindings use their 1 AFTR addresses, 2001:db8:a::2 would be one more"
    );
    assert!(store.insert(at(1), binding(1, 2)).is_ok());
}

#[test]
fn system_ports_in_a_shared_set_are_accepted_with_an_event() {
    //
    let mut store = store();
    let seq = store.insert(at(1), binding(1, 0)).unwrap();
    let warned = Event::SystemPorts {
        key: binding(1, 0).key(),
    };
    let persist = Event::Persist {
        seq,
        change: Change::Added(binding(1, 0)),
    };
    assert_eq!(events(&mut store), [warned, persist]);
}

#[test]
fn system_ports_are_accepted_in_silence_or_refused_by_policy() {
    //
    let mut store = store();
    let mut policy = store.config().policy;
    policy.system_ports = SystemPorts::Allow;
    store.set_policy(at(1), policy);
    store.insert(at(1), binding(1, 0)).unwrap();
    let silent = |event: &Event| matches!(event, Event::Persist { .. });
    assert!(events(&mut store).iter().all(silent));
    policy.system_ports = SystemPorts::Refuse;
    store.set_policy(at(1), policy);
    assert_eq!(
        message(store.insert(at(1), binding(2, 0)).unwrap_err()),
        "192.0.2.2 (a=0 k=6 psid=0) contains system ports (0-1023)"
    );
    assert!(store.insert(at(1), binding(2, 1)).is_ok());
}

#[test]
fn a_binding_that_has_ended_is_refused() {
    //
    let mut store = store();
    let ended = dhcp(1, 1, 5);
    assert_eq!(
        message(store.insert(at(5), ended).unwrap_err()),
        "192.0.2.1 (a=0 k=6 psid=1) ended at 5000000, now is 5000000"
    );
}

#[test]
fn a_b4_may_have_several_softwires() {
    //
    let first = binding(1, 1);
    let second = Binding {
        b4: first.b4,
        ..binding(2, 7)
    };
    let store = store_with(&[second, first, binding(1, 2)]);
    let found: Vec<Binding> = store.by_b4(first.b4).copied().collect();
    assert_eq!(found, [first, second]);
    assert_eq!(store.by_b4(b4(99)).count(), 0);
}

#[test]
fn a_binding_is_found_by_address_and_port() {
    //
    let whole = Binding {
        ports: PortParams::FULL,
        ..binding(2, 9)
    };
    let store = store_with(&[binding(1, 1), binding(1, 3), whole]);
    let find = |host, port| store.find([192, 0, 2, host].into(), port).copied();
    assert_eq!(find(1, 1024), Some(binding(1, 1)));
    assert_eq!(find(1, 4095), Some(binding(1, 3)));
    assert_eq!(find(1, 2048), None);
    assert_eq!(find(2, 1), Some(whole));
    assert_eq!(find(3, 1024), None);
}

#[test]
fn no_psid_and_psid_zero_do_not_stand_for_each_other() {
    // R-025, T-9
    let zero = binding(1, 0);
    let store = store_with(&[zero]);
    let none = SoftwireKey {
        ipv4: zero.ipv4,
        ports: PortParams::FULL,
    };
    assert_eq!(store.get(&none), None);
    assert_eq!(store.get(&zero.key()), Some(&zero));
}

#[test]
fn a_set_with_offset_leaves_its_low_ports_to_nobody() {
    // T-9: a=6 excludes 0-1023 on every set of the address
    let offset = Binding {
        ports: ports(6, 8, 0x34),
        ..binding(1, 1)
    };
    let store = store_with(&[offset]);
    assert_eq!(store.find(offset.ipv4, 1232), Some(&offset));
    assert_eq!(store.find(offset.ipv4, 208), None);
}

#[test]
fn nothing_is_changed_by_a_refused_binding() {
    let mut store = store_with(&[binding(1, 1)]);
    let before = std::format!("{store:?}");
    store.insert(at(0), binding(1, 1)).unwrap_err();
    assert_eq!(std::format!("{store:?}"), before);
    assert_eq!(events(&mut store), []);
}
