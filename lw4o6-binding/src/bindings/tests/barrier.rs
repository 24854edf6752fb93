//! Decision, storage, effect: in that order, and undone in that order.

use super::*;

fn persist(seq: u64, change: Change) -> Event {
    let seq = Seq(seq);
    Event::Persist { seq, change }
}

fn committed(seq: u64) -> Event {
    Event::Committed { seq: Seq(seq) }
}

fn failed(seq: u64, change: Change, why: FailReason) -> Event {
    let seq = Seq(seq);
    Event::Failed { seq, change, why }
}

fn changed(number: u64, change: Change, seconds: u64) -> Event {
    Event::Changed {
        number,
        change,
        at: at(seconds),
        version: number, // each change here is one of the table
    }
}

fn not_granted(binding: Binding) -> Change {
    Change::Removed {
        binding,
        reason: RemoveReason::NotGranted,
    }
}

#[test]
fn a_grant_takes_effect_only_when_it_is_stored() {
    //
    let mut store = store();
    let added = Change::Added(binding(1, 1));
    let seq = store.insert(at(1), binding(1, 1)).unwrap();
    assert_eq!(events(&mut store), [persist(1, added.clone())]);
    assert!(store.is_empty());
    assert_eq!(store.pending(seq), Some(&added));
    store.handle_persisted(at(2), seq);
    assert_eq!(events(&mut store), [changed(1, added, 2), committed(1)]);
    assert_eq!(all(&store), [binding(1, 1)]);
    assert_eq!(store.pending(seq), None);
}

#[test]
fn the_same_request_again_joins_the_one_that_waits() {
    let mut store = store();
    let seq = store.insert(at(1), dhcp(1, 1, 100)).unwrap();
    assert_eq!(store.insert(at(2), dhcp(1, 1, 101)), Ok(seq));
    assert_eq!(events(&mut store).len(), 1);
    store.handle_persisted(at(2), seq);
    assert_eq!(all(&store), [dhcp(1, 1, 100)]);
}

#[test]
fn a_confirmation_means_everything_up_to_it() {
    let mut store = store();
    for psid in 1..=4 {
        store.insert(at(1), binding(1, psid)).unwrap();
    }
    store.handle_persisted(at(1), Seq(3));
    assert_eq!(store.len(), 3);
    store.handle_persisted(at(1), Seq(2));
    assert_eq!(store.len(), 3);
    store.handle_persisted(at(1), Seq(99)); // beyond the newest: all there are
    assert_eq!(store.len(), 4);
}

#[test]
fn a_failure_fails_every_later_decision_and_none_before() {
    let mut store = store();
    for psid in 1..=3 {
        store.insert(at(1), binding(1, psid)).unwrap();
    }
    events(&mut store);
    store.handle_persist_failed(at(1), Seq(2));
    let not_stored =
        |seq, psid| failed(seq, Change::Added(binding(1, psid)), FailReason::NotStored);
    assert_eq!(events(&mut store), [not_stored(2, 2), not_stored(3, 3)]);
    store.handle_persisted(at(1), Seq(3));
    assert_eq!(all(&store), [binding(1, 1)]);
}

#[test]
fn a_failed_grant_frees_its_ports() {
    let mut store = store();
    let seq = store.insert(at(1), binding(1, 1)).unwrap();
    store.handle_persist_failed(at(1), seq);
    let other = Binding {
        b4: b4(9),
        ..binding(1, 1)
    };
    assert!(store.insert(at(1), other).is_ok());
}

#[test]
fn what_the_store_may_hold_of_a_failed_grant_is_deleted_before_a_new_one() {
    let mut store = store();
    let seq = store.insert(at(1), binding(1, 1)).unwrap();
    store.handle_persist_failed(at(1), seq);
    events(&mut store);
    let other = Binding {
        b4: b4(9),
        ..binding(1, 1)
    };
    store.insert(at(1), other).unwrap();
    assert_eq!(
        events(&mut store),
        [
            persist(2, not_granted(binding(1, 1))),
            persist(3, Change::Added(other)),
        ]
    );
}

#[test]
fn what_the_store_missed_is_offered_again_after_a_pause() {
    let mut store = store_with(&[binding(1, 1)]);
    let seq = store.revoke(at(1), &binding(1, 1).key()).unwrap();
    let removed = Change::Removed {
        binding: binding(1, 1),
        reason: RemoveReason::Revoked,
    };
    store.handle_persist_failed(at(1), seq);
    let told = events(&mut store);
    assert!(told.contains(&failed(1, removed.clone(), FailReason::NotStored)));
    assert!(store.is_empty()); // the table does not go back
    let again = store.poll_timeout().unwrap();
    assert_eq!(again.at, at(2));
    assert_eq!(again.why, "what the store missed is recorded again");
    store.handle_timeout(at(1));
    assert_eq!(events(&mut store), []);
    store.handle_timeout(at(2));
    assert_eq!(events(&mut store), [persist(2, removed)]);
    store.handle_persisted(at(2), Seq(2));
    assert_eq!(events(&mut store), [committed(2)]);
}

#[test]
fn a_failed_renewal_or_update_is_put_right_in_the_store() {
    let lease = dhcp(1, 1, 100);
    let mut store = store_with(&[lease]);
    let seq = store
        .renew(at(1), &lease.key(), lease.b4, Expiry::At(at(200)))
        .unwrap();
    store.handle_persist_failed(at(1), seq);
    events(&mut store);
    assert_eq!(all(&store), [lease]);
    store.handle_timeout(at(2));
    let truth = Change::Replaced {
        old: dhcp(1, 1, 200),
        new: lease,
    };
    assert_eq!(events(&mut store), [persist(2, truth)]);
}

#[test]
fn an_end_leaves_the_table_before_it_is_stored() {
    let mut store = store_with(&[binding(1, 1)]);
    let seq = store.remove(at(3), &binding(1, 1).key()).unwrap();
    assert!(store.is_empty());
    let removed = Change::Removed {
        binding: binding(1, 1),
        reason: RemoveReason::Released,
    };
    let told = events(&mut store);
    assert_eq!(told.first(), Some(&changed(2, removed.clone(), 3)));
    assert_eq!(told.last(), Some(&persist(seq.0, removed)));
    store.handle_persisted(at(3), seq);
    assert_eq!(events(&mut store), [committed(seq.0)]);
}

#[test]
fn removing_a_grant_that_waits_withdraws_it() {
    let mut store = store();
    store.insert(at(1), binding(1, 1)).unwrap();
    events(&mut store);
    store.remove(at(1), &binding(1, 1).key()).unwrap();
    assert_eq!(
        events(&mut store),
        [
            failed(1, Change::Added(binding(1, 1)), FailReason::Withdrawn),
            persist(2, not_granted(binding(1, 1))),
        ]
    );
    store.handle_persisted(at(1), Seq(2));
    assert!(store.is_empty());
    assert_eq!(store.last_change(), 0);
}

#[test]
fn what_is_not_bound_can_not_be_removed_renewed_or_updated() {
    let mut store = store();
    let key = binding(1, 1).key();
    let says = "192.0.2.1 (a=0 k=6 psid=1) is not bound";
    assert_eq!(message(store.remove(at(1), &key).unwrap_err()), says);
    assert_eq!(message(store.revoke(at(1), &key).unwrap_err()), says);
    let renewed = store.renew(at(1), &key, b4(1), Expiry::Never);
    assert_eq!(message(renewed.unwrap_err()), says);
    let updated = store.update(at(1), binding(1, 1));
    assert_eq!(message(updated.unwrap_err()), says);
}

#[test]
fn a_renewal_keeps_the_old_end_until_it_is_stored() {
    //
    let lease = dhcp(1, 1, 100);
    let mut store = store_with(&[lease]);
    let key = lease.key();
    let seq = store
        .renew(at(50), &key, lease.b4, Expiry::At(at(200)))
        .unwrap();
    assert_eq!(store.get(&key), Some(&lease));
    assert_eq!(store.poll_timeout().unwrap().at, at(100));
    store.handle_persisted(at(60), seq);
    let renewed = Change::Renewed(dhcp(1, 1, 200));
    assert_eq!(changes(&mut store), [renewed]);
    assert_eq!(store.poll_timeout().unwrap().at, at(200));
}

#[test]
fn a_renewal_joins_one_that_waits_unless_it_asks_for_less() {
    let lease = dhcp(1, 1, 100);
    let mut store = store_with(&[lease]);
    let mut renew = |end| store.renew(at(1), &lease.key(), lease.b4, Expiry::At(at(end)));
    let seq = renew(200).unwrap();
    assert_eq!(renew(201), Ok(seq));
    assert_eq!(
        message(renew(150).unwrap_err()),
        "another change of 192.0.2.1 (a=0 k=6 psid=1) waits for the store (#1)"
    );
    let ended = renew(1).unwrap_err();
    assert!(matches!(
        ended,
        RenewError::Rule(InsertError::Expired { .. })
    ));
}

#[test]
fn only_the_b4_that_has_a_lease_renews_it() {
    let lease = dhcp(1, 1, 100);
    let mut store = store_with(&[lease]);
    let error = store.renew(at(1), &lease.key(), b4(9), Expiry::Never);
    assert_eq!(
        message(error.unwrap_err()),
        "192.0.2.1 (a=0 k=6 psid=1) is bound to 2001:db8:0:100::1"
    );
}

#[test]
fn an_update_takes_the_place_of_a_binding_in_one_step() {
    //
    let old = binding(1, 1);
    let new = Binding {
        b4: b4(7),
        aftr: "2001:db8:a::2".parse().unwrap(),
        origin: Origin::Operator,
        ..old
    };
    let mut store = store_with(&[old]);
    let seq = store.update(at(1), new).unwrap();
    assert_eq!(store.update(at(1), new), Ok(seq));
    assert_eq!(all(&store), [old]);
    assert_eq!(store.by_b4(new.b4).count(), 0);
    store.handle_persisted(at(1), seq);
    assert_eq!(changes(&mut store), [Change::Replaced { old, new }]);
    assert_eq!(store.by_b4(old.b4).count(), 0);
    assert_eq!(store.by_b4(new.b4).count(), 1);
}

#[test]
fn a_failed_update_leaves_the_old_binding() {
    let old = binding(1, 1);
    let new = Binding { b4: b4(7), ..old };
    let mut store = store_with(&[old]);
    let seq = store.update(at(1), new).unwrap();
    store.handle_persist_failed(at(1), seq);
    assert_eq!(all(&store), [old]);
    assert_eq!(store.by_b4(old.b4).count(), 1);
    // The address that was held for it is free for an AFTR.
    let aftr = Binding {
        aftr: b4(7),
        ..binding(1, 2)
    };
    assert!(store.insert(at(1), aftr).is_ok());
}

#[test]
fn more_decisions_than_may_wait_are_refused() {
    let mut store = Bindings::without_table(BindingsConfig {
        max_pending: 2,
        ..config()
    });
    store.insert(at(1), binding(1, 1)).unwrap();
    store.insert(at(1), binding(1, 2)).unwrap();
    assert_eq!(
        message(store.insert(at(1), binding(1, 3)).unwrap_err()),
        "2 changes wait for the store"
    );
    store.handle_persisted(at(1), Seq(1));
    assert!(store.insert(at(1), binding(1, 3)).is_ok());
}

#[test]
fn records_of_ends_wait_for_room_and_are_not_lost() {
    let mut store = Bindings::without_table(BindingsConfig {
        max_pending: 2,
        ..config()
    });
    let leases = (1..=5).map(|psid| dhcp(1, psid, 10));
    store.load(at(0), leases).unwrap();
    events(&mut store);
    store.handle_timeout(at(10));
    assert!(store.is_empty());
    let mut recorded = 0;
    while recorded < 5 {
        let told = events(&mut store);
        let seqs: Vec<Seq> = told
            .iter()
            .filter_map(|event| {
                let Event::Persist { seq, .. } = event else {
                    return None;
                };
                Some(*seq)
            })
            .collect();
        assert!((1..=2).contains(&seqs.len()), "{told:?}");
        recorded += seqs.len();
        store.handle_persisted(at(10), *seqs.last().unwrap());
    }
    assert_eq!(store.pump_null_store(at(10)), 0);
}

#[test]
fn without_a_store_everything_is_confirmed_at_once() {
    let mut store = store();
    store.insert(at(1), binding(1, 1)).unwrap();
    store.insert(at(1), binding(1, 2)).unwrap();
    assert_eq!(store.pump_null_store(at(1)), 2);
    assert_eq!(store.pump_null_store(at(1)), 0);
    assert_eq!(store.len(), 2);
}

#[test]
fn a_clock_that_goes_back_counts_as_the_newest_time_seen() {
    let mut store = store();
    store.handle_timeout(at(50));
    let seq = store.insert(at(10), binding(1, 1)).unwrap();
    store.handle_persisted(at(20), seq);
    let told = events(&mut store);
    assert!(told.contains(&changed(1, Change::Added(binding(1, 1)), 50)));
}

#[cfg(feature = "table")]
#[test]
fn a_grant_without_room_in_the_packet_half_fails_and_is_deleted_from_the_store() {
    use crate::table::{AtomicU64, TableConfig, TableWriter, arena_words};
    let table = TableConfig {
        softwires: 1,
        aftrs: 4,
        readers: 1,
        hash_seed: [1; 16],
    };
    let words = (0..arena_words(&table)).map(|_| AtomicU64::new(0));
    let arena = Box::leak(words.collect::<Vec<_>>().into_boxed_slice());
    let (writer, _shared) = TableWriter::new(table, arena, &[]).unwrap();
    let config = BindingsConfig {
        max_aftrs: 4,
        ..config()
    };
    let mut store = Bindings::new(config, writer);
    store.insert(at(1), binding(1, 1)).unwrap();
    store.insert(at(1), binding(1, 2)).unwrap();
    events(&mut store);
    store.handle_persisted(at(1), Seq(2));
    let added = |psid| Change::Added(binding(1, psid));
    assert_eq!(
        events(&mut store),
        [
            changed(1, added(1), 1),
            committed(1),
            failed(2, added(2), FailReason::NoRoom),
            persist(3, not_granted(binding(1, 2))),
        ]
    );
    assert_eq!(all(&store), [binding(1, 1)]);
    let error = store.load(at(1), [binding(1, 5)]);
    assert!(error.is_err()); // waits for the store
    store.pump_null_store(at(1));
    assert_eq!(
        message(store.load(at(1), [binding(1, 5)]).unwrap_err()),
        "entry 0: the table of the packet path has no room for 2 softwires"
    );
    assert_eq!(all(&store), [binding(1, 1)]);
}
