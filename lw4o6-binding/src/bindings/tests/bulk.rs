//! Whole tables.

use super::*;
use crate::error::LoadError;
use alloc::sync::Arc;
use std::vec;

fn refused(store: &mut Bindings, bindings: &[Binding]) -> LoadError {
    let before = all(store);
    let error = store.load(at(0), bindings.iter().copied()).unwrap_err();
    assert_eq!(all(store), before);
    error
}

#[test]
fn a_load_is_one_change_and_does_not_ask_the_store() {
    let mut store = store();
    let report = store.load(at(0), [binding(2, 1), binding(1, 1)]).unwrap();
    let expected = LoadReport {
        loaded: 2,
        version: 1,
        ..LoadReport::default()
    };
    assert_eq!(report, expected);
    let change = Change::BulkReplaced {
        version: 1,
        bindings: Arc::new(vec![binding(1, 1), binding(2, 1)]),
    };
    let told = Event::Changed {
        number: 1,
        change,
        at: at(0),
        version: 1,
    };
    assert_eq!(events(&mut store), [told]);
}

#[test]
fn a_second_load_adds_to_the_first() {
    let mut store = store_with(&[binding(1, 1)]);
    let report = store.load(at(1), [binding(1, 2)]).unwrap();
    assert_eq!((report.loaded, report.version), (1, 2));
    assert_eq!(all(&store), [binding(1, 1), binding(1, 2)]);
    assert_eq!(store.generation(), 2);
    assert_eq!(
        message(refused(&mut store, &[binding(1, 3), binding(1, 1)])),
        "entry 1: 192.0.2.1 (a=0 k=6 psid=1) is bound to 2001:db8:0:100::1"
    );
}

#[test]
fn a_load_names_the_first_entry_that_breaks_a_rule() {
    //
    let narrow = |psid| Binding {
        ports: ports(0, 7, psid),
        ..binding(1, 40)
    };
    let loops = Binding {
        aftr: b4(9),
        ..binding(1, 9)
    };
    let mut store = store();
    let good = [binding(1, 1), binding(1, 2)];
    let mut says = |bad: &[Binding]| {
        let list: Vec<Binding> = good.iter().chain(bad).copied().collect();
        message(refused(&mut store, &list))
    };
    assert_eq!(
        says(&[binding(1, 2), loops]),
        "entry 2: 192.0.2.1 (a=0 k=6 psid=2) is bound to 2001:db8:0:200::1"
    );
    assert_eq!(
        says(&[binding(1, 3), loops, binding(1, 2)]),
        "entry 3: AFTR address 2001:db8:0:900::1 is also the B4 address"
    );
    assert_eq!(
        says(&[narrow(4)]),
        "entry 2: 192.0.2.1 (a=0 k=7 psid=4) overlaps port set a=0 k=6 psid=2 of 2001:db8:0:200::1"
    );
    assert_eq!(
        says(&[narrow(9)]),
        "entry 2: 192.0.2.1 (a=0 k=7 psid=9) has another port layout than the bindings on that address (a=0 k=6)"
    );
    let aftr_is_b4 = Binding {
        aftr: b4(1),
        ..binding(1, 9)
    };
    assert_eq!(
        says(&[aftr_is_b4]),
        "entry 2: 2001:db8:0:100::1 is a B4 address of one binding and the AFTR address of another"
    );
    let many: Vec<Binding> = (3..=4)
        .flat_map(|h| (0..60).map(move |p| binding(h, p)))
        .collect();
    assert_eq!(
        says(&many),
        "entry 100: the table holds its 100 softwires (softwire-num-max)"
    );
}

#[test]
fn a_load_with_too_many_aftr_addresses_names_the_first_beyond() {
    //
    let mut store = Bindings::without_table(BindingsConfig {
        max_aftrs: 1,
        ..config()
    });
    let other = Binding {
        aftr: "2001:db8:a::2".parse().unwrap(),
        ..binding(1, 2)
    };
    assert_eq!(
        message(refused(&mut store, &[binding(1, 1), other])),
        "entry 1: the bindings use their 1 AFTR addresses, 2001:db8:a::2 would be one more"
    );
}

#[test]
fn a_load_counts_or_refuses_system_ports_by_policy() {
    //
    let mut store = store();
    let report = store.load(at(0), [binding(1, 0), binding(1, 1)]).unwrap();
    assert_eq!(report.system_ports, 1);
    let policy = Policy {
        system_ports: SystemPorts::Refuse,
        ..Policy::default()
    };
    store.set_policy(at(0), policy);
    assert_eq!(
        message(refused(&mut store, &[binding(2, 1), binding(2, 0)])),
        "entry 1: 192.0.2.2 (a=0 k=6 psid=0) contains system ports (0-1023)"
    );
}

#[test]
fn a_load_leaves_out_what_has_ended() {
    //
    let mut store = store();
    let report = store
        .load(at(50), [dhcp(1, 1, 50), dhcp(1, 2, 51), dhcp(1, 1, 60)])
        .unwrap();
    assert_eq!((report.loaded, report.expired), (2, 1));
    assert_eq!(all(&store), [dhcp(1, 1, 60), dhcp(1, 2, 51)]);
    store.handle_timeout(at(51));
    assert_eq!(store.len(), 1);
}

#[test]
fn a_load_does_not_join_decisions_that_wait() {
    let mut store = store();
    store.insert(at(0), binding(1, 1)).unwrap();
    assert_eq!(
        message(refused(&mut store, &[binding(1, 2)])),
        "entry 0: 1 changes wait for the store, a load can not join them"
    );
}

#[test]
fn a_replacement_takes_effect_as_a_whole_when_it_is_stored() {
    //
    let mut store = store_with(&[binding(1, 1), binding(1, 2), binding(1, 3)]);
    let changed = Binding {
        b4: b4(9),
        ..binding(1, 2)
    };
    let report = store
        .replace(at(1), vec![changed, binding(1, 4), binding(1, 3)])
        .unwrap();
    let expected = ReplaceReport {
        seq: Seq(1),
        added: 1,
        removed: 1,
        changed: 1,
        unchanged: 1,
        expired: 0,
        system_ports: 0,
    };
    assert_eq!(report, expected);
    assert_eq!(store.len(), 3);
    assert_eq!(store.get(&binding(1, 2).key()), Some(&binding(1, 2)));
    store.handle_persisted(at(2), report.seq);
    let new = [changed, binding(1, 3), binding(1, 4)];
    assert_eq!(all(&store), new);
    assert_eq!((store.version(), store.generation()), (2, 2));
    assert_eq!(store.by_b4(b4(9)).count(), 1);
    assert_eq!(store.by_b4(b4(2)).count(), 0);
    // what is missing waits
    let missing: Vec<SoftwireKey> = store.quarantined().map(|q| q.key).collect();
    assert_eq!(missing, [binding(1, 1).key()]);
}

#[test]
fn grants_wait_until_a_replacement_is_decided() {
    let mut store = store_with(&[dhcp(1, 1, 100)]);
    let seq = store.replace(at(1), vec![binding(1, 2)]).unwrap().seq;
    let says = "the replacement of the table waits for the store (#1)";
    let error = store.insert(at(1), binding(1, 3)).unwrap_err();
    assert_eq!(message(error), says);
    let error = store.update(at(1), dhcp(1, 1, 200)).unwrap_err();
    assert_eq!(message(error), says);
    let lease = dhcp(1, 1, 100);
    let error = store.renew(at(1), &lease.key(), lease.b4, Expiry::At(at(200)));
    assert_eq!(message(error.unwrap_err()), says);
    let error = store.replace(at(1), vec![]).unwrap_err();
    assert_eq!(message(error), std::format!("entry 0: {says}"));
    store.handle_persist_failed(at(1), seq);
    assert_eq!(all(&store), [dhcp(1, 1, 100)]);
    assert!(store.insert(at(1), binding(1, 3)).is_ok());
}

#[test]
fn a_replacement_does_not_bring_back_what_ended_while_it_waited() {
    //
    let mut store = store_with(&[binding(1, 1), dhcp(1, 2, 5)]);
    let seq = store
        .replace(at(1), vec![binding(1, 1), dhcp(1, 2, 5), binding(1, 3)])
        .unwrap()
        .seq;
    store.revoke(at(2), &binding(1, 1).key()).unwrap();
    store.handle_timeout(at(5));
    store.handle_persisted(at(6), seq);
    assert_eq!(all(&store), [binding(1, 3)]);
    // The store has both from the new table; both records come after it.
    let deleted = |event| {
        let Event::Persist {
            seq: number,
            change: Change::Removed { binding, .. },
        } = event
        else {
            return None;
        };
        assert!(number > seq);
        Some(binding.ports.psid())
    };
    let mut deleted: Vec<u16> = events(&mut store).into_iter().filter_map(deleted).collect();
    deleted.sort_unstable();
    deleted.dedup();
    assert_eq!(deleted, [1, 2]);
}

#[test]
fn a_record_of_an_end_does_not_delete_what_a_replacement_gave_to_somebody_else() {
    // Found by the model: the record comes after the new table in the store.
    let mut store = store_with(&[dhcp(1, 1, 100)]);
    let other = Binding {
        b4: b4(9),
        ..binding(1, 1)
    };
    let seq = store.replace(at(1), vec![other]).unwrap().seq;
    let deleted = store.remove(at(1), &other.key()).unwrap();
    assert!(deleted > seq);
    events(&mut store);
    store.handle_persisted(at(1), deleted);
    assert_eq!(all(&store), [other]);
    let (old, new) = (other, other);
    let change = Change::Replaced { old, new };
    let seq = Seq(deleted.0 + 1);
    let told = events(&mut store);
    assert_eq!(told.last(), Some(&Event::Persist { seq, change }));
}

#[test]
fn a_replacement_does_not_bring_back_a_grant_that_was_withdrawn() {
    // Found by the model.
    let mut store = store();
    store.insert(at(1), dhcp(1, 1, 100)).unwrap();
    let seq = store.replace_configured(at(1), vec![binding(1, 2)]);
    let seq = seq.unwrap().seq;
    store.remove(at(1), &dhcp(1, 1, 100).key()).unwrap();
    store.handle_persisted(at(1), seq);
    assert_eq!(all(&store), [binding(1, 2)]);
}

#[test]
fn records_from_before_a_replacement_have_no_meaning_after_it() {
    let mut store = store_with(&[binding(1, 1)]);
    let seq = store.remove(at(1), &binding(1, 1).key()).unwrap();
    store.handle_persist_failed(at(1), seq); // to be recorded again at 2 s
    let seq = store.replace(at(1), vec![binding(1, 1)]).unwrap().seq;
    events(&mut store);
    store.handle_timeout(at(2));
    assert_eq!(events(&mut store), []);
    store.handle_persisted(at(3), seq);
    let deletes = |event: &Event| matches!(event, Event::Persist { .. });
    assert!(!events(&mut store).iter().any(deletes));
    assert_eq!(all(&store), [binding(1, 1)]);
}

#[test]
fn a_grant_decided_before_a_replacement_gives_way_to_it() {
    let mut store = store();
    store.insert(at(1), binding(1, 1)).unwrap();
    let seq = store.replace(at(1), vec![binding(1, 2)]).unwrap().seq;
    store.handle_persisted(at(1), seq);
    assert_eq!(all(&store), [binding(1, 2)]);
    assert!(store.insert(at(1), binding(1, 1)).is_ok());
}

#[test]
fn a_changed_configuration_leaves_what_others_made_alone() {
    let operator = binding(1, 5).with_origin(Origin::Operator);
    let peer = binding(1, 6).with_origin(Origin::Peer);
    let mut store = store_with(&[binding(1, 1), operator, peer]);
    store
        .replace_configured(at(1), vec![binding(1, 2)])
        .unwrap();
    store.pump_null_store(at(1));
    assert_eq!(all(&store), [binding(1, 2), operator, peer]);
}

#[test]
fn a_table_is_read_in_pages() {
    let store = store_with(&[binding(1, 1), binding(1, 2), binding(1, 4)]);
    let after = |key: Option<&SoftwireKey>| -> Vec<Binding> { store.after(key).copied().collect() };
    assert_eq!(after(None), all(&store));
    assert_eq!(
        after(Some(&binding(1, 1).key())),
        [binding(1, 2), binding(1, 4)]
    );
    assert_eq!(after(Some(&binding(1, 3).key())), [binding(1, 4)]);
    assert_eq!(after(Some(&binding(1, 4).key())), []);
}

#[test]
fn a_changed_configuration_leaves_leases_alone() {
    let lease = dhcp(1, 1, 100);
    let mut store = store_with(&[lease, binding(1, 2)]);
    store.insert(at(1), dhcp(1, 5, 100)).unwrap(); // decided counts as bound
    let configured = vec![binding(1, 3)];
    store.replace_configured(at(1), configured).unwrap();
    store.pump_null_store(at(1));
    assert_eq!(all(&store), [lease, binding(1, 3), dhcp(1, 5, 100)]);
    let taken = vec![binding(1, 2), binding(1, 1)];
    let error = store.replace_configured(at(1), taken).unwrap_err();
    assert_eq!(
        message(error),
        "entry 1: 192.0.2.1 (a=0 k=6 psid=1) is bound to 2001:db8:0:100::1"
    );
}

#[test]
fn a_difference_lists_what_comes_goes_and_changes() {
    let store = store_with(&[binding(1, 1), binding(1, 2), binding(1, 3)]);
    let changed = Binding {
        b4: b4(9),
        ..binding(1, 2)
    };
    let diff = store.diff(&[binding(1, 4), changed, binding(1, 3)]);
    let expected = Diff {
        added: vec![binding(1, 4)],
        removed: vec![binding(1, 1)],
        changed: vec![(binding(1, 2), changed)],
        unchanged: 1,
    };
    assert_eq!(diff, expected);
    assert!(!diff.is_empty());
    assert!(store.diff(&all(&store)).is_empty());
}

#[cfg(feature = "table")]
mod table {
    use super::*;
    use crate::table::{Lookup, Softwire};

    fn found(lookup: Lookup) -> Option<Softwire> {
        let Lookup::Found(softwire) = lookup else {
            return None;
        };
        Some(softwire)
    }

    #[test]
    fn packets_follow_what_is_committed() {
        //
        let (mut store, mut reader) = with_table(config());
        let new = Binding {
            b4: b4(9),
            aftr: "2001:db8:a::2".parse().unwrap(),
            ..binding(1, 1)
        };
        let ipv4 = u32::from(new.ipv4);
        let mut look = || {
            reader.refresh();
            let softwire = found(reader.lookup(ipv4, Some(1024)))?;
            Some((softwire.b4, reader.aftr_addr(softwire.aftr).unwrap()))
        };
        let ends = |b: Binding| Some((b.b4.octets(), b.aftr.octets()));
        store.insert(at(1), binding(1, 1)).unwrap();
        assert_eq!(look(), None);
        store.pump_null_store(at(1));
        assert_eq!(look(), ends(binding(1, 1)));
        store.update(at(1), new).unwrap();
        assert_eq!(look(), ends(binding(1, 1)));
        store.pump_null_store(at(1));
        assert_eq!(look(), ends(new));
        store.remove(at(1), &new.key()).unwrap();
        assert_eq!(look(), None);
        store.load(at(1), [binding(1, 1), new_host(new)]).unwrap();
        assert_eq!(look(), ends(binding(1, 1)));
        assert!(store.memory().is_some_and(|memory| memory.softwires == 2));
    }

    fn new_host(binding: Binding) -> Binding {
        Binding {
            ipv4: [192, 0, 2, 2].into(),
            ..binding
        }
    }

    #[test]
    fn pools_and_configured_addresses_change_with_a_replacement() {
        //
        use crate::table::{Address, Pool};
        let (mut store, mut reader) = with_table(config());
        let first = u32::from(Ipv4Addr::new(198, 51, 100, 0));
        let pool = Pool {
            first,
            last: first + 255,
            offset: 0,
            len: 6,
        };
        let aftr: Ipv6Addr = "2001:db8:a::7".parse().unwrap();
        store.set_pools(vec![pool]);
        store.set_aftrs(vec![aftr]);
        reader.refresh();
        assert_eq!(reader.address(first), Address::Foreign);
        store.replace(at(1), vec![binding(1, 1)]).unwrap();
        store.pump_null_store(at(1));
        reader.refresh();
        assert_eq!(reader.address(first), Address::Shared { offset: 0, len: 6 });
        assert!(reader.aftr_index(&aftr.octets()).is_some());
        assert!(found(reader.lookup(u32::from(binding(1, 1).ipv4), Some(1024))).is_some());
    }
}
