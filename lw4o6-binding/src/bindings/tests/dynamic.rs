//! What one subscriber may have.

use super::*;
use core::time::Duration;

/// Subscriber `n` under another of its addresses.
fn moved(lease: Binding, host: u16) -> Binding {
    let mut segments = lease.b4.segments();
    segments[7] = host;
    Binding {
        b4: segments.into(),
        ..lease
    }
}

#[test]
fn a_subscriber_has_one_dynamic_softwire() {
    //
    let mut store = store();
    store.insert(at(1), dhcp(1, 1, 1000)).unwrap(); // waits, and counts
    let second = Binding {
        b4: moved(dhcp(1, 1, 1000), 2).b4,
        ..dhcp(1, 2, 1000)
    };
    assert_eq!(
        message(store.insert(at(1), second).unwrap_err()),
        "subscriber 2001:db8:0:100::/56 has its 1 dynamic softwires"
    );
    store.pump_null_store(at(1));
    assert!(store.insert(at(1), second).is_err());
    store.remove(at(1), &dhcp(1, 1, 1000).key()).unwrap();
    assert!(store.insert(at(1), second).is_ok());
}

#[test]
fn a_failed_grant_does_not_count_for_the_subscriber() {
    //
    let mut store = store();
    let seq = store.insert(at(1), dhcp(1, 1, 1000)).unwrap();
    store.handle_persist_failed(at(1), seq);
    assert!(store.insert(at(1), dhcp(1, 1, 1000)).is_ok());
}

#[test]
fn bindings_that_are_not_dynamic_do_not_count_for_a_subscriber() {
    //
    let mut store = store_with(&[binding(1, 1), binding(2, 1), binding(3, 1)]);
    let peer = binding(4, 1).with_origin(Origin::Peer);
    store.insert(at(1), peer).unwrap();
    assert!(store.insert(at(1), dhcp(5, 1, 1000)).is_ok());
}

#[test]
fn the_limit_and_the_mask_change_while_running() {
    //
    let mut store = store_with(&[dhcp(1, 1, 1000)]);
    let neighbor = dhcp(1, 2, 1000); // in the next /56
    let mut policy = Policy {
        subscriber_mask: 48,
        ..Policy::default()
    };
    store.set_policy(at(1), policy);
    assert_eq!(
        message(store.insert(at(1), neighbor).unwrap_err()),
        "subscriber 2001:db8::/48 has its 1 dynamic softwires"
    );
    policy.subscriber_softwires = 2;
    store.set_policy(at(1), policy);
    assert!(store.insert(at(1), neighbor).is_ok());
}

#[test]
fn a_softwire_moves_once_in_half_an_hour() {
    //
    let lease = dhcp(1, 1, 10_000);
    let mut store = store_with(&[lease]);
    store.update(at(100), moved(lease, 2)).unwrap();
    store.pump_null_store(at(100));
    assert_eq!(all(&store), [moved(lease, 2)]);
    let error = store.update(at(700), moved(lease, 3)).unwrap_err();
    assert_eq!(
        message(error),
        "subscriber 2001:db8:0:100::/56 may move its softwire again in 1200s"
    );
    assert!(store.update(at(1900), moved(lease, 3)).is_ok());
}

#[test]
fn a_release_in_between_does_not_hide_a_move() {
    //
    let lease = dhcp(1, 1, 10_000);
    let mut store = store_with(&[lease]);
    let mut take = |seconds, host| {
        store.remove(at(seconds), &lease.key()).unwrap();
        let result = store.insert(at(seconds), moved(lease, host));
        store.pump_null_store(at(seconds));
        result
    };
    take(100, 2).unwrap();
    let error = take(110, 3).unwrap_err();
    assert!(matches!(error, InsertError::MoveLimited { .. }));
}

#[test]
fn a_move_that_was_not_stored_does_not_count() {
    //
    let lease = dhcp(1, 1, 10_000);
    let mut store = store_with(&[lease]);
    let seq = store.update(at(100), moved(lease, 2)).unwrap();
    store.handle_persist_failed(at(100), seq);
    assert!(store.update(at(101), moved(lease, 2)).is_ok());
}

#[test]
fn a_policy_without_interval_lets_softwires_move_freely() {
    //
    let lease = dhcp(1, 1, 10_000);
    let mut store = store_with(&[lease]);
    let policy = Policy {
        move_interval: Duration::ZERO,
        ..Policy::default()
    };
    store.set_policy(at(1), policy);
    for host in 2..10 {
        store.update(at(1), moved(lease, host)).unwrap();
        store.pump_null_store(at(1));
    }
}

#[test]
fn an_operator_may_move_a_softwire_at_any_time() {
    // R-068 is for dynamic bindings
    let mut store = store_with(&[binding(1, 1)]);
    for host in 2..5 {
        let moved = moved(binding(1, 1), host).with_origin(Origin::Operator);
        store.update(at(1), moved).unwrap();
        store.pump_null_store(at(1));
    }
}

#[test]
fn a_protocol_can_not_take_what_belongs_to_somebody_else() {
    let lease = dhcp(1, 1, 1000);
    let mut store = store_with(&[lease, binding(1, 2)]);
    let foreign = Binding { b4: b4(9), ..lease };
    assert_eq!(
        message(store.update(at(1), foreign).unwrap_err()),
        "192.0.2.1 (a=0 k=6 psid=1) is bound to 2001:db8:0:100::1"
    );
    let over_static = dhcp(1, 2, 1000);
    assert!(store.update(at(1), over_static).is_err());
    // The operator can.
    let operator = foreign.with_origin(Origin::Operator);
    assert!(store.update(at(1), operator).is_ok());
}

#[test]
fn a_place_taken_by_the_operator_frees_the_count_of_the_subscriber() {
    //
    let lease = dhcp(1, 1, 1000);
    let mut store = store_with(&[lease]);
    let operator = Binding { b4: b4(9), ..lease }.with_origin(Origin::Operator);
    store.update(at(1), operator).unwrap();
    store.pump_null_store(at(1));
    let again = Binding {
        b4: lease.b4,
        ..dhcp(1, 5, 1000)
    };
    assert!(store.insert(at(1), again).is_ok());
}
