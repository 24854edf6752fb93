//! A binding lives as long as its allocation, and what it leaves is kept apart for a while.

use super::*;

fn quarantined(binding: Binding, until: u64) -> Quarantined {
    Quarantined {
        key: binding.key(),
        b4: binding.b4,
        until: at(until),
    }
}

#[test]
fn a_binding_ends_with_its_lease() {
    //
    let lease = dhcp(1, 1, 100);
    let mut store = store_with(&[lease, binding(1, 2)]);
    let deadline = store.poll_timeout().unwrap();
    assert_eq!((deadline.at, deadline.why), (at(100), "a lease ends"));
    store.handle_timeout(Instant::from_micros(99_999_999));
    assert_eq!(store.len(), 2);
    store.handle_timeout(at(100));
    assert_eq!(all(&store), [binding(1, 2)]);
    let removed = Change::Removed {
        binding: lease,
        reason: RemoveReason::Expired,
    };
    let waits = quarantined(lease, 220);
    assert_eq!(changes(&mut store), [removed, Change::Quarantined(waits)]);
}

#[test]
fn a_lease_that_is_over_gives_way_to_a_request_without_a_timeout_call() {
    //
    let mut store = store_with(&[dhcp(1, 1, 100)]);
    let taken = Binding {
        b4: b4(9),
        ..binding(1, 1)
    };
    assert!(store.insert(at(99), taken).is_err());
    assert!(store.insert(at(100), taken).is_ok());
}

#[test]
fn the_end_of_a_lease_is_recorded_after_it_left_the_table() {
    let mut store = store_with(&[dhcp(1, 1, 100)]);
    store.handle_timeout(at(100));
    let told = events(&mut store);
    let change = Change::Removed {
        binding: dhcp(1, 1, 100),
        reason: RemoveReason::Expired,
    };
    let seq = Seq(1);
    assert_eq!(told.last(), Some(&Event::Persist { seq, change }));
    store.handle_persisted(at(100), seq);
    assert_eq!(events(&mut store), [Event::Committed { seq }]);
}

#[test]
fn a_grant_that_ends_while_it_waits_never_takes_effect() {
    //
    let mut store = store();
    let seq = store.insert(at(1), dhcp(1, 1, 5)).unwrap();
    events(&mut store);
    store.handle_persisted(at(5), seq);
    assert!(store.is_empty());
    let told = events(&mut store);
    let failed = Event::Failed {
        seq,
        change: Change::Added(dhcp(1, 1, 5)),
        why: FailReason::Expired,
    };
    assert_eq!(told.first(), Some(&failed));
    assert!(matches!(
        told.last(),
        Some(Event::Persist {
            change: Change::Removed {
                reason: RemoveReason::NotGranted,
                ..
            },
            ..
        })
    ));
}

#[test]
fn a_renewal_that_waits_fails_when_its_lease_ends() {
    //
    let lease = dhcp(1, 1, 100);
    let mut store = store_with(&[lease]);
    let seq = store
        .renew(at(99), &lease.key(), lease.b4, Expiry::At(at(200)))
        .unwrap();
    events(&mut store);
    store.handle_persisted(at(100), seq);
    assert!(store.is_empty());
    assert!(events(&mut store).contains(&Event::Failed {
        seq,
        change: Change::Renewed(dhcp(1, 1, 200)),
        why: FailReason::Expired,
    }));
}

#[test]
fn a_renewal_to_an_end_that_has_come_ends_the_binding_in_the_same_call() {
    // R-059, found by the model
    let mut store = store_with(&[dhcp(1, 1, 100)]);
    let lease = dhcp(1, 1, 100);
    let seq = store.renew(at(1), &lease.key(), lease.b4, Expiry::At(at(5)));
    store.handle_persisted(at(5), seq.unwrap());
    assert!(store.is_empty());
}

#[test]
fn a_released_softwire_is_kept_from_other_subscribers() {
    //
    let mut store = store_with(&[dhcp(1, 1, 1000)]);
    store.remove(at(10), &binding(1, 1).key()).unwrap();
    let other = Binding {
        b4: b4(9),
        ..dhcp(1, 1, 1000)
    };
    assert_eq!(
        message(store.insert(at(20), other).unwrap_err()),
        "192.0.2.1 (a=0 k=6 psid=1) is in quarantine for 110s"
    );
    let deadline = store.poll_timeout().unwrap();
    assert_eq!((deadline.at, deadline.why), (at(130), "a quarantine ends"));
    events(&mut store);
    assert!(store.insert(at(130), other).is_ok());
    let ended = Change::QuarantineEnded(quarantined(dhcp(1, 1, 1000), 130));
    assert_eq!(changes(&mut store), [ended]);
}

#[test]
fn the_same_subscriber_may_have_its_softwire_back() {
    //
    let mut store = store_with(&[dhcp(1, 1, 1000)]);
    store.remove(at(10), &binding(1, 1).key()).unwrap();
    store.insert(at(20), dhcp(1, 1, 1000)).unwrap();
    store.pump_null_store(at(20));
    assert_eq!(store.len(), 1);
    assert_eq!(store.quarantined().count(), 0);
    let told = changes(&mut store);
    let ended = Change::QuarantineEnded(quarantined(dhcp(1, 1, 1000), 130));
    assert_eq!(
        told.last_chunk::<2>(),
        Some(&[ended, Change::Added(dhcp(1, 1, 1000))])
    );
}

#[test]
fn a_static_binding_does_not_wait_for_the_quarantine() {
    //
    let mut store = store_with(&[dhcp(1, 1, 1000)]);
    store.remove(at(10), &binding(1, 1).key()).unwrap();
    let other = Binding {
        b4: b4(9),
        ..binding(1, 1)
    };
    assert!(store.insert(at(11), other).is_ok());
}

#[test]
fn the_quarantine_is_bounded() {
    //
    let mut store = Bindings::without_table(BindingsConfig {
        max_quarantined: 1,
        ..config()
    });
    store.load(at(0), [binding(1, 1), binding(1, 2)]).unwrap();
    events(&mut store);
    store.remove(at(1), &binding(1, 1).key()).unwrap();
    store.remove(at(2), &binding(1, 2).key()).unwrap();
    assert_eq!(store.quarantined().count(), 1);
    let ended = Change::QuarantineEnded(quarantined(binding(1, 1), 121));
    assert!(changes(&mut store).contains(&ended));
}

#[test]
fn a_policy_without_quarantine_frees_softwires_at_once() {
    //
    let mut store = store_with(&[dhcp(1, 1, 1000)]);
    let policy = Policy {
        quarantine: core::time::Duration::ZERO,
        ..Policy::default()
    };
    store.set_policy(at(1), policy);
    store.remove(at(10), &binding(1, 1).key()).unwrap();
    let other = Binding {
        b4: b4(9),
        ..dhcp(1, 1, 1000)
    };
    assert!(store.insert(at(10), other).is_ok());
}

#[test]
fn after_a_loss_of_state_no_softwire_is_granted_for_the_time_of_a_quarantine() {
    //
    let mut store = store();
    store.state_was_lost(at(10));
    let error = store.insert(at(11), dhcp(1, 1, 1000)).unwrap_err();
    assert_eq!(
        message(error),
        "all port sets are in quarantine for 119s: the bindings from before the start are unknown"
    );
    assert!(store.insert(at(11), binding(1, 2)).is_ok());
    assert!(store.insert(at(130), dhcp(1, 1, 1000)).is_ok());
}

#[test]
fn a_stream_that_is_not_read_tells_what_it_lost() {
    //
    let mut store = Bindings::without_table(BindingsConfig {
        max_events: 1,
        ..config()
    });
    store.load(at(0), [binding(1, 1), binding(1, 2)]).unwrap();
    store.remove(at(1), &binding(1, 1).key()).unwrap();
    let told = events(&mut store);
    assert!(told.contains(&Event::Lost { first: 2, last: 3 }));
    let stored = |event: &&Event| matches!(event, Event::Persist { .. });
    assert_eq!(told.iter().filter(stored).count(), 1);
    store.remove(at(1), &binding(1, 2).key()).unwrap();
    let told = events(&mut store);
    assert!(matches!(
        told.first(),
        Some(Event::Changed { number: 4, .. })
    ));
}

#[test]
fn the_version_counts_every_change_of_the_table() {
    let mut store = store_with(&[dhcp(1, 1, 100)]);
    assert_eq!((store.version(), store.generation()), (1, 1));
    store.insert(at(1), binding(1, 2)).unwrap();
    assert_eq!(store.version(), 1);
    store.pump_null_store(at(1));
    assert_eq!(store.version(), 2);
    let lease = dhcp(1, 1, 100);
    let renewed = store.renew(at(1), &lease.key(), lease.b4, Expiry::At(at(200)));
    renewed.unwrap();
    store.pump_null_store(at(1));
    assert_eq!(store.version(), 3);
    store.remove(at(1), &lease.key()).unwrap();
    assert_eq!((store.version(), store.generation()), (4, 1));
}
