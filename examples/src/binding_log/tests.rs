use std::path::PathBuf;

use lw4o6_binding::{
    Bindings, BindingsConfig, Expiry, History, Origin, Policy, Quarantined, RemoveReason,
    SoftwireKey, Utc,
};
use lw4o6_wire::port_params::PortParams;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::store::tests::Directory;

/// 2026-11-20T12:00:00Z plus `secs`.
fn utc(secs: u64) -> Utc {
    Utc::from_micros(1_795_176_000_000_000 + secs * 1_000_000)
}

fn at(secs: u64) -> Instant {
    Instant::from_secs(100 + secs)
}

/// At noon the monotonic clock shows 100 s.
fn noon() -> Clock {
    Clock {
        instant: at(0),
        utc: utc(0),
    }
}

fn binding(b4: &str, psid: u16) -> Binding {
    let ports = PortParams::new(0, 6, psid).unwrap();
    let aftr = "2001:db8:a::1".parse().unwrap();
    let binding = Binding::new(b4.parse().unwrap(), [192, 0, 2, 1].into(), ports, aftr);
    binding.with_origin(Origin::Dhcp)
}

const ANN: &str = "2001:db8:1::1";
const BOB: &str = "2001:db8:2::1";

fn open(path: &Path) -> BindingLog {
    BindingLog::open(path, &noon(), 56).unwrap()
}

fn whole(bindings: &[Binding]) -> Arc<Vec<Binding>> {
    Arc::new(bindings.to_vec())
}

/// Gives the log a change of the stream, `secs` after noon.
fn tell(log: &BindingLog, secs: u64, change: Change) {
    log.write(&Event::Changed {
        number: secs,
        change,
        at: at(secs),
        version: secs,
    });
}

fn removed(binding: Binding) -> Change {
    let reason = RemoveReason::Released;
    Change::Removed { binding, reason }
}

fn event(line: &Line) -> String {
    let name = serde_json::to_value(line.event).unwrap();
    name.as_str().unwrap().to_owned()
}

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

/// Who had port 1024 + 1024 * psid at a time, by B4 address.
fn who(files: &[PathBuf], psid: u16, secs: u64) -> Vec<String> {
    let what = What::Port([192, 0, 2, 1].into(), psid * 1024 + 7);
    let report = lookup(files, what, utc(secs), 100).unwrap();
    assert_eq!(report.malformed, 0, "{:?}", report.malformed_lines);
    let b4 = |found: &Found| found.line.b4.unwrap().to_string();
    report.found.iter().map(b4).collect()
}

#[test]
fn a_change_is_one_line_with_time_softwire_both_ends_and_version() {
    //
    let directory = Directory::new();
    let log = open(&directory.file());
    let lease = binding(ANN, 1).with_expiry(Expiry::At(at(3600)));
    tell(&log, 12, Change::Added(lease));
    drop(log);
    assert_eq!(
        text(&directory.file()),
        "{\"time\":\"2026-11-20T12:00:12.000000Z\",\"event\":\"added\",\"change\":12,\"version\":12,\
         \"ipv4\":\"192.0.2.1\",\"psid-offset\":0,\"psid-len\":6,\"psid\":1,\"ports\":[\"1024-2047\"],\
         \"b4\":\"2001:db8:1::1\",\"subscriber\":\"2001:db8:1::/56\",\"aftr\":\"2001:db8:a::1\",\
         \"origin\":\"dhcp\",\"expires\":\"2026-11-20T13:00:00.000000Z\"}\n"
    );
}

#[test]
fn every_kind_of_change_has_its_line_and_nothing_about_destinations() {
    //
    let directory = Directory::new();
    let log = open(&directory.file());
    let (ann, bob) = (binding(ANN, 1), binding(BOB, 1));
    log.start(at(0), 1, whole(&[ann]));
    tell(&log, 2, Change::Replaced { old: ann, new: bob });
    tell(&log, 3, Change::Renewed(bob.with_expiry(Expiry::At(at(9)))));
    tell(&log, 4, removed(bob));
    let waits = Quarantined {
        key: bob.key(),
        b4: bob.b4,
        until: at(124),
    };
    tell(&log, 4, Change::Quarantined(waits));
    tell(&log, 5, Change::QuarantineEnded(waits));
    log.note(
        at(6),
        6,
        Change::Removed {
            binding: ann,
            reason: RemoveReason::Revoked,
        },
    );
    log.write(&Event::Lost { first: 7, last: 9 });
    log.table(at(10), 10, whole(&[ann, binding(BOB, 2)]));
    log.stop(at(11));
    let text = text(&directory.file());
    let lines: Vec<Line> = text
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    let events: Vec<String> = lines.iter().map(event).collect();
    assert_eq!(
        events,
        [
            "start",
            "snapshot-begin",
            "snapshot",
            "snapshot-end",
            "replaced",
            "renewed",
            "removed",
            "quarantined",
            "quarantine-ended",
            "removed",
            "lost",
            "bulk-begin",
            "added",
            "added",
            "bulk-end",
            "stop"
        ]
    );
    assert_eq!(lines[4].old_b4, Some(ann.b4));
    assert_eq!(lines[6].reason.as_deref(), Some("released"));
    assert_eq!(lines[7].until, Some(utc(124)));
    assert_eq!((lines[10].first, lines[10].last), (Some(7), Some(9)));
    assert!(!text.contains("dest") && !text.contains("remote"));
}

#[test]
fn a_new_table_logs_what_changed_and_no_more() {
    //
    let directory = Directory::new();
    let log = open(&directory.file());
    let stay = binding(ANN, 1);
    log.start(
        at(0),
        1,
        whole(&[stay, binding(ANN, 2), binding(ANN, 3), binding(ANN, 4)]),
    );
    let lease = binding(ANN, 4).with_expiry(Expiry::At(at(50)));
    let new = vec![stay, binding(BOB, 2), lease, binding(BOB, 5)];
    tell(
        &log,
        9,
        Change::BulkReplaced {
            version: 9,
            bindings: Arc::new(new),
        },
    );
    log.stop(at(10));
    let text = text(&directory.file());
    let bulk: Vec<&str> = text
        .lines()
        .skip_while(|line| !line.contains("bulk-begin"))
        .map(|line| line.split('"').nth(7).unwrap())
        .collect();
    assert_eq!(
        bulk,
        [
            "bulk-begin",
            "replaced",
            "renewed",
            "added",
            "removed",
            "bulk-end",
            "stop"
        ]
    );
}

/// Ann has port set 1 from 10 s to 30 s, Bob from 40 s to 60 s and set 9 all the time. There is a
/// crash in the middle of a line at 15 s, a rotation at 30 s, and a restart at 60 s.
fn rotated_and_restarted(directory: &Directory) -> Vec<PathBuf> {
    let path = directory.file();
    let (ann, bob) = (binding(ANN, 1), binding(BOB, 1));
    let log = open(&path);
    log.start(at(0), 1, whole(&[binding(BOB, 9)]));
    tell(&log, 10, Change::Added(ann));
    log.stop(at(15));
    let mut bytes = std::fs::read(&path).unwrap();
    bytes.extend_from_slice(b"{\"time\":\"2026-11-20T12:00:1");
    std::fs::write(&path, bytes).unwrap();
    let log = open(&path);
    log.start(at(20), 2, whole(&[ann, binding(BOB, 9)]));
    tell(&log, 30, removed(ann));
    let older = path.with_extension("1");
    std::fs::rename(&path, &older).unwrap();
    log.reopen();
    tell(&log, 40, Change::Added(bob));
    log.stop(at(50));
    let log = open(&path);
    log.start(at(60), 3, whole(&[]));
    log.stop(at(61));
    let (files, packed) = log_files(&path).unwrap();
    assert_eq!((files.clone(), packed), (vec![older, path], vec![]));
    files
}

#[test]
fn a_log_that_was_rotated_and_restarted_still_knows_who_had_a_port() {
    //
    let directory = Directory::new();
    let files = rotated_and_restarted(&directory);
    let what = What::Port([192, 0, 2, 1].into(), 1031);
    let report = |secs| lookup(&files, what, utc(secs), 9).unwrap();
    assert_eq!(report(5).malformed, 1);
    let named = &report(5).malformed_lines[0];
    assert!(named.contains("state.1:7: "), "{named}");
    let nobody = "";
    let times = [
        (5, nobody),
        (9, nobody),
        (10, ANN),
        (17, ANN),
        (29, ANN),
        (30, nobody),
    ];
    for (secs, b4) in times
        .into_iter()
        .chain([(40, BOB), (59, BOB), (60, nobody)])
    {
        let found = report(secs).found;
        let found: Vec<String> = found
            .iter()
            .map(|f| f.line.b4.unwrap().to_string())
            .collect();
        assert_eq!(found.join(" "), b4, "{secs} s");
    }
    let found = &report(20).found[0];
    assert_eq!((found.from, found.to), (utc(10), Some(utc(30))));
    assert_eq!(found.reason.as_deref(), Some("released"));
}

#[test]
fn a_lease_that_the_configuration_contradicts_at_the_start_does_not_end_what_took_its_place() {
    //
    let directory = Directory::new();
    let (ann, fixed) = (binding(ANN, 1), binding(BOB, 1).with_origin(Origin::Static));
    let log = open(&directory.file());
    log.start(at(0), 1, whole(&[ann]));
    log.stop(at(5));
    let log = open(&directory.file());
    log.start(at(10), 2, whole(&[fixed]));
    let reason = RemoveReason::Revoked;
    log.note(
        at(10),
        2,
        Change::Removed {
            binding: ann,
            reason,
        },
    );
    log.reopen();
    log.stop(at(20));
    let files = [directory.file()];
    assert_eq!(who(&files, 1, 9), [ANN]);
    assert_eq!(who(&files, 1, 15), [BOB]);
    assert_eq!(who(&files, 1, 30), [BOB]);
    let mut history = History::new(10);
    fill_history(&files, &noon(), &mut history).unwrap();
    let span = history.who([192, 0, 2, 1].into(), 1031, utc(30));
    assert_eq!(span.map(|span| span.binding), Some(fixed));
}

#[test]
fn a_subscriber_is_found_with_all_softwires_of_the_time() {
    //
    let directory = Directory::new();
    let files = rotated_and_restarted(&directory);
    let what = What::Subscriber("2001:db8:2::/48".parse().unwrap());
    let psids = |secs| {
        let found = lookup(&files, what, utc(secs), 9).unwrap().found;
        found
            .iter()
            .map(|f| f.line.psid.unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!(psids(45), [1, 9]);
    assert_eq!(psids(35), [9]);
    let one = lookup(&files, what, utc(45), 1).unwrap();
    assert!(one.truncated && one.found.len() == 1);
}

#[test]
fn the_newest_file_alone_answers_since_its_begin() {
    // the snapshot at the begin of each file.
    let directory = Directory::new();
    let path = directory.file();
    let log = open(&path);
    log.start(at(0), 1, whole(&[binding(ANN, 1)]));
    tell(&log, 5, Change::Added(binding(BOB, 2)));
    while !path.exists() || !text(&path).contains(BOB) {
        crate::stopwatch::wait(std::time::Duration::from_millis(1));
    }
    std::fs::remove_file(&path).unwrap();
    log.reopen();
    tell(&log, 9, removed(binding(BOB, 2)));
    log.stop(at(10));
    let files = [path];
    assert_eq!(who(&files, 1, 8), [ANN]);
    assert_eq!(who(&files, 2, 8), [BOB]);
    assert_eq!(who(&files, 2, 9), [""; 0]);
    let what = What::Port([192, 0, 2, 1].into(), 1024);
    let report = lookup(&files, what, utc(8), 9).unwrap();
    assert!(report.found[0].from_start && report.found[0].to.is_none());
}

#[test]
fn a_lease_ends_in_the_log_when_it_ended_although_nobody_was_there_to_write_it() {
    //
    let directory = Directory::new();
    let log = open(&directory.file());
    log.start(at(0), 1, whole(&[]));
    tell(
        &log,
        1,
        Change::Added(binding(ANN, 1).with_expiry(Expiry::At(at(30)))),
    );
    tell(
        &log,
        20,
        Change::Renewed(binding(ANN, 1).with_expiry(Expiry::At(at(60)))),
    );
    drop(log);
    let files = [directory.file()];
    assert_eq!(who(&files, 1, 59), [ANN]);
    assert_eq!(who(&files, 1, 60), [""; 0]);
    let log = open(&directory.file());
    log.start(at(90), 1, whole(&[]));
    drop(log);
    assert_eq!(who(&files, 1, 59), [ANN]);
    assert_eq!(who(&files, 1, 70), [""; 0]);
}

#[test]
fn a_time_that_came_twice_has_two_answers() {
    // the wall clock is set back by 100 s at 50 s, so 12:00:10 comes again.
    let directory = Directory::new();
    let log = open(&directory.file());
    log.start(at(0), 1, whole(&[]));
    let lease = |b4, until| binding(b4, 1).with_expiry(Expiry::At(at(until)));
    tell(&log, 5, Change::Added(lease(ANN, 170)));
    log.set_clock(Clock {
        instant: at(50),
        utc: Utc::from_micros(utc(0).as_micros() - 50_000_000),
    });
    tell(&log, 100, removed(lease(ANN, 170))); // 12:00:00 for the second time
    tell(&log, 105, Change::Added(lease(BOB, 500))); // 12:00:05
    tell(&log, 120, removed(lease(BOB, 500))); // 12:00:20
    log.stop(at(130));
    let files = [directory.file()];
    assert!(text(&files[0]).contains("\"event\":\"clock\""));
    assert_eq!(who(&files, 1, 10), [ANN, BOB]);
    assert_eq!(who(&files, 1, 30), [ANN]);
    // Between the two, before noon, only Ann had it.
    let what = What::Port([192, 0, 2, 1].into(), 1031);
    let early = Utc::from_micros(utc(0).as_micros() - 10_000_000);
    let report = lookup(&files, what, early, 9).unwrap();
    assert_eq!(report.found.len(), 1);
    assert_eq!(report.found[0].from, utc(5));
}

#[test]
fn a_clock_set_forward_does_not_end_leases() {
    //
    let directory = Directory::new();
    let log = open(&directory.file());
    log.start(at(0), 1, whole(&[]));
    let lease = binding(ANN, 1).with_expiry(Expiry::At(at(60)));
    tell(&log, 5, Change::Added(lease));
    log.set_clock(Clock {
        instant: at(10),
        utc: utc(3610),
    });
    tell(&log, 50, removed(lease));
    drop(log);
    let files = [directory.file()];
    assert_eq!(who(&files, 1, 3640), [ANN]);
    assert_eq!(who(&files, 1, 3650), [""; 0]);
}

#[test]
fn lines_that_cannot_be_written_are_counted_and_told_when_the_log_works_again() {
    let directory = Directory::new();
    let path = directory.file();
    // A disk without room.
    std::os::unix::fs::symlink("/dev/full", &path).unwrap();
    let log = open(&path);
    log.start(at(0), 1, whole(&[]));
    tell(&log, 1, Change::Added(binding(ANN, 1)));
    while log.lost_lines() < 4 {
        crate::stopwatch::wait(std::time::Duration::from_millis(1));
    }
    std::fs::remove_file(&path).unwrap();
    log.reopen();
    tell(&log, 9, Change::Added(binding(BOB, 2)));
    log.stop(at(10));
    let text = text(&path);
    let lines: Vec<Line> = text
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    let events: Vec<String> = lines.iter().map(event).collect();
    assert_eq!(
        events,
        [
            "log-lost",
            "snapshot-begin",
            "snapshot",
            "snapshot-end",
            "added",
            "stop"
        ]
    );
    assert_eq!(lines[0].lines, Some(4));
    assert_eq!(who(&[path], 1, 9), [ANN]);
}

#[test]
fn a_question_about_a_time_with_missing_changes_says_so() {
    //
    let directory = Directory::new();
    let log = open(&directory.file());
    log.start(at(0), 1, whole(&[binding(ANN, 1)]));
    tell(&log, 10, Change::Added(binding(ANN, 2)));
    log.write(&Event::Lost { first: 2, last: 5 });
    assert!(log.needs_table());
    tell(&log, 12, Change::Added(binding(ANN, 3)));
    log.table(at(20), 9, whole(&[binding(BOB, 1)]));
    assert!(!log.needs_table());
    log.stop(at(30));
    let what = What::Port([192, 0, 2, 1].into(), 1031);
    let incomplete = |secs| {
        let report = lookup(&[directory.file()], what, utc(secs), 9).unwrap();
        (report.incomplete, report.found.len())
    };
    assert_eq!(incomplete(5), (false, 1));
    assert_eq!(incomplete(15), (true, 1));
    assert_eq!(incomplete(25), (false, 1));
    let text = text(&directory.file());
    assert!(text.contains("\"event\":\"lost\",\"lines\":1}"), "{text}");
}

#[test]
fn malformed_lines_are_counted_and_named() {
    let directory = Directory::new();
    let log = open(&directory.file());
    log.start(at(0), 1, whole(&[binding(ANN, 1)]));
    log.stop(at(5));
    let good = text(&directory.file());
    let line = good.lines().nth(2).unwrap();
    let mut bad = vec![
        String::new(),
        "{}".to_owned(),
        line.replace("\"psid\":1", "\"psid\":99"),
        line.replace("2026-11", "2026-13"),
        line.replace("dhcp", "dhcq"),
        "x".repeat(200_000),
    ];
    bad.extend((0..line.len()).map(|end| line[..end].to_owned()));
    let count = bad.len() as u64;
    std::fs::write(directory.file(), bad.join("\n") + "\n\n\n" + &good).unwrap();
    let what = What::Port([192, 0, 2, 1].into(), 1031);
    let report = lookup(&[directory.file()], what, utc(1), 9).unwrap();
    assert_eq!(report.malformed, count + 2);
    assert_eq!(report.lines, count + 2 + 5);
    assert_eq!(report.malformed_lines.len(), 20);
    assert!(report.malformed_lines[1].contains(":2: missing field `time`"));
    assert_eq!(report.found.len(), 1);
    // An event of a newer program is none of these.
    std::fs::write(directory.file(), line.replace("snapshot", "split")).unwrap();
    assert_eq!(
        lookup(&[directory.file()], what, utc(1), 9)
            .unwrap()
            .malformed,
        0
    );
    let missing = lookup(&[directory.file().join("x")], what, utc(1), 9).unwrap_err();
    assert!(missing.to_string().contains("state/x: "), "{missing}");
}

#[test]
fn rotated_files_are_found_oldest_first() {
    let directory = Directory::new();
    let path = directory.file();
    let names = [
        "state.1",
        "state.10",
        "state.2",
        "state-20261119",
        "state-20261120",
        "state.3.gz",
        "stateful.1",
        "state.new",
        "state",
    ];
    for name in names {
        std::fs::write(path.with_file_name(name), b"").unwrap();
    }
    let (files, packed) = log_files(&path).unwrap();
    let name = |file: &PathBuf| file.file_name().unwrap().to_string_lossy().into_owned();
    let files: Vec<String> = files.iter().map(name).collect();
    assert_eq!(
        files,
        [
            "state-20261119",
            "state-20261120",
            "state.10",
            "state.2",
            "state.1",
            "state"
        ]
    );
    assert_eq!(packed.iter().map(name).collect::<Vec<_>>(), ["state.3.gz"]);
}

/// Plays random changes through real bindings; returns the log's files, and what the history in
/// memory knows.
fn play(directory: &Directory, rng: &mut ChaCha8Rng) -> (Vec<PathBuf>, History) {
    let path = directory.file();
    let mut config = BindingsConfig::default();
    config.policy = Policy::default();
    config.policy.quarantine = std::time::Duration::from_secs(3);
    let mut bindings = Bindings::without_table(config);
    let mut history = History::new(10_000);
    let mut log = open(&path);
    log.start(at(0), 0, whole(&[]));
    for secs in 1..300 {
        let now = at(secs);
        let psid = rng.random_range(0..6);
        let b4 = format!("2001:db8:{}::1", rng.random_range(0..5));
        let until = now + std::time::Duration::from_secs(rng.random_range(1..40));
        let new = binding(&b4, psid).with_expiry(Expiry::At(until));
        // Rules refuse some of it.
        match rng.random_range(0..10) {
            0..5 => drop(bindings.insert(now, new)),
            5 => drop(bindings.update(now, new)),
            6 => drop(bindings.remove(now, &new.key())),
            7 => drop(bindings.renew(now, &new.key(), new.b4, new.expires)),
            8 => drop(bindings.replace(now, vec![new, binding(BOB, 9)])),
            _ => bindings.handle_timeout(now),
        }
        bindings.pump_null_store(now);
        while let Some(event) = bindings.poll_event() {
            log.write(&event);
            if let Event::Changed { at, change, .. } = &event {
                history.follow(noon().utc_of(*at), change);
            }
        }
        let table = || Arc::new(bindings.iter().copied().collect());
        match rng.random_range(0..40) {
            0 => {
                log.stop(now);
                log = open(&path);
                log.start(now, 0, table());
            }
            1 => {
                let version = secs;
                log.table(now, version, table());
            }
            2 => log.reopen(),
            _ => {}
        }
    }
    log.stop(at(300));
    (log_files(&path).unwrap().0, history)
}

#[test]
fn the_files_and_the_history_in_memory_give_the_same_answers() {
    //
    for seed in 0..4 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let directory = Directory::new();
        let (files, history) = play(&directory, &mut rng);
        let mut refilled = History::new(10_000);
        fill_history(&files, &noon(), &mut refilled).unwrap();
        for _ in 0..150 {
            let (psid, secs) = (rng.random_range(0..10), rng.random_range(0..300));
            let (ipv4, port) = ([192, 0, 2, 1].into(), psid * 1024 + 7);
            let found = who(&files, psid, secs);
            let known = |history: &History| {
                let span = history.who(ipv4, port, utc(secs))?;
                Some(span.binding.b4.to_string())
            };
            assert_eq!(
                found.first().cloned(),
                known(&history),
                "seed {seed}: {psid} at {secs} s"
            );
            assert_eq!(
                known(&history),
                known(&refilled),
                "seed {seed}: {psid} at {secs} s"
            );
            let prefix = format!("2001:db8:{}::/48", rng.random_range(0..5))
                .parse()
                .unwrap();
            let what = What::Subscriber(prefix);
            let report = lookup(&files, what, utc(secs), 99).unwrap();
            let mut keys: Vec<SoftwireKey> =
                report.found.iter().filter_map(|f| f.line.key()).collect();
            let spans = history.what(prefix, utc(secs));
            let mut known: Vec<SoftwireKey> = spans.map(|span| span.binding.key()).collect();
            keys.sort();
            known.sort();
            assert_eq!(keys, known, "seed {seed}: {prefix} at {secs} s");
        }
    }
}
