use super::*;
use crate::bindings::tests::{at, b4, binding, dhcp, store_with};
use crate::change::{Event, RemoveReason};
use alloc::string::ToString;
use alloc::sync::Arc;

/// Second 1000 of the clock is 2026-11-20T19:00:00Z.
fn clock() -> Clock {
    Clock {
        instant: at(1000),
        utc: utc(1000),
    }
}

fn utc(seconds: u64) -> Utc {
    Utc::from_micros((1_795_201_200 - 1000 + seconds) * 1_000_000)
}

fn removed(binding: Binding) -> Change {
    Change::Removed {
        binding,
        reason: RemoveReason::Released,
    }
}

fn line(change: &Change) -> alloc::string::String {
    LogLine {
        change,
        at: utc(1000),
        version: 7,
        subscriber_mask: 56,
        clock: &clock(),
    }
    .to_string()
}

#[test]
fn a_log_line_has_time_tuple_both_ends_and_version() {
    //
    assert_eq!(
        line(&Change::Added(dhcp(1, 1, 4600))),
        "2026-11-20T19:00:00Z added 192.0.2.1 a=0 k=6 psid=1 ports=1024-2047 \
         b4=2001:db8:0:100::1 subscriber=2001:db8:0:100::/56 aftr=2001:db8:a::1 \
         origin=dhcp expires=2026-11-20T20:00:00Z version=7"
    );
    let (old, new) = (
        binding(1, 1),
        Binding {
            b4: b4(2),
            ..binding(1, 1)
        },
    );
    assert!(line(&Change::Replaced { old, new }).ends_with(
        "b4=2001:db8:0:200::1 subscriber=2001:db8:0:200::/56 aftr=2001:db8:a::1 \
         origin=static old-b4=2001:db8:0:100::1 old-aftr=2001:db8:a::1 version=7"
    ));
    assert!(line(&removed(old)).contains(" released 192.0.2.1 a=0 k=6 psid=1 "));
    assert!(line(&Change::Renewed(old)).contains(" renewed 192.0.2.1 "));
}

#[test]
fn each_kind_of_change_has_a_line() {
    //
    let mut store = store_with(&[binding(1, 1)]);
    store.remove(at(1000), &binding(1, 1).key()).unwrap();
    store.handle_timeout(at(1120));
    let lines: Vec<_> = core::iter::from_fn(|| store.poll_event())
        .filter_map(|event| {
            let Event::Changed { change, .. } = event else {
                return None;
            };
            Some(line(&change))
        })
        .collect();
    assert_eq!(
        lines[1..],
        [
            "2026-11-20T19:00:00Z quarantined 192.0.2.1 (a=0 k=6 psid=1) \
             b4=2001:db8:0:100::1 until=2026-11-20T19:02:00Z version=7",
            "2026-11-20T19:00:00Z quarantine-ended 192.0.2.1 (a=0 k=6 psid=1) \
             b4=2001:db8:0:100::1 version=7"
        ]
    );
    let bindings = Arc::new(alloc::vec![binding(1, 1)]);
    let whole = Change::BulkReplaced {
        version: 7,
        bindings,
    };
    assert_eq!(
        line(&whole),
        "2026-11-20T19:00:00Z replaced-all softwires=1 version=7"
    );
}

#[test]
fn a_port_at_a_time_names_its_subscriber_and_the_other_way_round() {
    //
    let mut history = History::new(10);
    let second = Binding {
        b4: b4(9),
        ..binding(1, 1)
    };
    history.follow(utc(10), &Change::Added(binding(1, 1)));
    history.follow(utc(20), &removed(binding(1, 1)));
    history.follow(utc(30), &Change::Added(second));
    history.follow(utc(40), &Change::Renewed(second));
    let who = |seconds| {
        let span = history.who([192, 0, 2, 1].into(), 1500, utc(seconds));
        span.map(|span| span.binding.b4)
    };
    assert_eq!([who(9), who(10), who(19)], [None, Some(b4(1)), Some(b4(1))]);
    assert_eq!(
        [who(20), who(30), who(99)],
        [None, Some(b4(9)), Some(b4(9))]
    );
    assert_eq!(history.who([192, 0, 2, 1].into(), 2048, utc(99)), None);
    let what = |n, seconds| {
        let spans = history.what(binding(1, n).subscriber(56), utc(seconds));
        spans.map(|span| span.from).collect::<Vec<_>>()
    };
    assert_eq!(what(1, 15), [utc(10)]);
    assert_eq!(what(1, 35), []);
    assert_eq!(what(9, 35), [utc(30)]);
}

#[test]
fn all_who_had_an_address_are_found() {
    //
    let mut history = History::new(10);
    history.follow(utc(1000), &Change::Added(binding(1, 1)));
    history.follow(utc(1001), &Change::Added(binding(1, 2)));
    history.follow(utc(1002), &removed(binding(1, 1)));
    let on = |seconds| -> Vec<Binding> {
        let ipv4 = binding(1, 1).ipv4;
        history
            .on(ipv4, utc(seconds))
            .map(|span| span.binding)
            .collect()
    };
    assert_eq!(on(1000), [binding(1, 1)]);
    assert_eq!(on(1001), [binding(1, 1), binding(1, 2)]);
    assert_eq!(on(1002), [binding(1, 2)]);
    assert_eq!(
        history.on(Ipv4Addr::new(192, 0, 2, 9), utc(1001)).count(),
        0
    );
}

#[test]
fn a_whole_table_ends_only_what_it_does_not_have() {
    //
    let mut history = History::new(10);
    let whole = |bindings: &[Binding]| Change::BulkReplaced {
        version: 1,
        bindings: Arc::new(bindings.to_vec()),
    };
    history.follow(
        utc(1),
        &whole(&[binding(1, 1), binding(1, 2), binding(1, 3)]),
    );
    let moved = Binding {
        b4: b4(9),
        ..binding(1, 2)
    };
    history.follow(utc(5), &whole(&[binding(1, 1), moved]));
    let who = |port| {
        let span = history.who([192, 0, 2, 1].into(), port, utc(6));
        span.map(|span| (span.binding.b4, span.from))
    };
    assert_eq!(who(1024), Some((b4(1), utc(1))));
    assert_eq!(who(2048), Some((b4(9), utc(5))));
    assert_eq!(who(3072), None);
    assert!(history.who([192, 0, 2, 1].into(), 3072, utc(4)).is_some());
}

#[test]
fn what_ended_first_is_forgotten_first() {
    //
    let mut history = History::new(2);
    for (n, psid) in [1, 2, 3].into_iter().enumerate() {
        let n = n as u64;
        history.follow(utc(n), &Change::Added(binding(1, psid)));
        history.follow(utc(n + 10), &removed(binding(1, psid)));
    }
    let who = |history: &History, port, seconds| {
        history
            .who([192, 0, 2, 1].into(), port, utc(seconds))
            .is_some()
    };
    assert!(!who(&history, 1024, 5));
    assert!(who(&history, 2048, 5) && who(&history, 3072, 5));
    history.forget_before(utc(12));
    assert!(!who(&history, 2048, 5) && who(&history, 3072, 5));
    assert_eq!((history.spans.len(), history.by_b4.len()), (1, 1));
}
