use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use lw4o6_binding::{BindingsConfig, Expiry, Origin, RemoveReason};
use lw4o6_wire::Instant;
use lw4o6_wire::port_params::PortParams;
use redb::backends::InMemoryBackend;

use super::*;

/// A directory that goes away with it.
pub(crate) struct Directory(PathBuf);

impl Directory {
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("lw4o6-store-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.0.join("state")
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A store in memory that can be opened again.
fn memory() -> Arc<dyn StorageBackend> {
    Arc::new(Shared::new(Arc::new(InMemoryBackend::new())))
}

const NOON: u64 = 1_795_176_000_000_000;

/// `secs` after noon of 2026-11-20, `secs` after 1000 s on the monotonic clock.
pub(super) fn clock(secs: u64) -> Clock {
    Clock {
        instant: Instant::from_secs(1000 + secs),
        utc: Utc::from_micros(NOON + secs * 1_000_000),
    }
}

pub(super) fn binding(psid: u16, origin: Origin) -> Binding {
    let b4 = format!("2001:db8:0:{psid:x}00::1").parse().unwrap();
    let ports = PortParams::new(0, 8, psid).unwrap();
    let aftr = "2001:db8:a::1".parse().unwrap();
    Binding::new(b4, [192, 0, 2, 1].into(), ports, aftr).with_origin(origin)
}

pub(super) fn dhcp(psid: u16, until: u64) -> Binding {
    binding(psid, Origin::Dhcp).with_expiry(Expiry::At(Instant::from_secs(until)))
}

fn removed(binding: Binding) -> Change {
    let reason = RemoveReason::Released;
    Change::Removed { binding, reason }
}

fn waits(binding: &Binding, until: u64) -> Quarantined {
    Quarantined {
        key: binding.key(),
        b4: binding.b4,
        until: Instant::from_secs(until),
    }
}

#[test]
fn what_is_written_is_there_after_the_next_start() {
    let directory = Directory::new();
    let (mut store, empty) = Store::open(&directory.file(), &clock(0)).unwrap();
    assert_eq!(empty, Stored::default());
    let (one, two, three) = (dhcp(1, 5000), dhcp(2, 5000), binding(3, Origin::Operator));
    let moved = Binding {
        b4: "2001:db8::7".parse().unwrap(),
        ..two
    };
    let renewed = dhcp(1, 9000);
    store
        .write(&[
            Change::Added(one),
            Change::Added(two),
            Change::Added(three),
            Change::Added(dhcp(4, 5000)),
        ])
        .unwrap();
    store
        .write(&[
            Change::Replaced {
                old: two,
                new: moved,
            },
            Change::Renewed(renewed),
            Change::Quarantined(waits(&dhcp(4, 5000), 1120)),
            removed(dhcp(4, 5000)),
        ])
        .unwrap();
    store.close();
    let (_, stored) = Store::open(&directory.file(), &clock(60)).unwrap();
    assert_eq!(stored.bindings, [renewed, moved, three]);
    assert_eq!(stored.quarantined, [waits(&dhcp(4, 0), 1120)]);
    assert_eq!((stored.version, stored.changes), (7, 8));
    assert!(stored.lapsed.is_empty());
}

#[test]
fn times_in_the_file_are_utc_so_that_a_lease_survives_another_monotonic_clock() {
    let directory = Directory::new();
    let (mut store, _) = Store::open(&directory.file(), &clock(0)).unwrap();
    store
        .write(&[Change::Added(dhcp(1, 1100)), Change::Added(dhcp(2, 1500))])
        .unwrap();
    store.close();
    // 200 s later, on a machine that has just been started.
    let later = Clock {
        instant: Instant::from_secs(7),
        ..clock(200)
    };
    let (_, stored) = Store::open(&directory.file(), &later).unwrap();
    assert_eq!(stored.bindings, [dhcp(2, 307)]);
    // what ended meanwhile is told apart, with how long ago.
    let lapsed: Vec<_> = stored
        .lapsed
        .iter()
        .map(|l| (l.binding.key(), l.ago))
        .collect();
    assert_eq!(lapsed, [(dhcp(1, 0).key(), Duration::from_secs(100))]);
}

#[test]
fn bindings_of_the_configuration_file_are_not_stored() {
    let backend = memory();
    let (mut store, _) = Store::with_backend(backend.clone(), &clock(0)).unwrap();
    let lease = dhcp(1, 5000);
    let fixed = binding(1, Origin::Static);
    store
        .write(&[
            Change::Added(lease),
            Change::Added(binding(2, Origin::Static)),
        ])
        .unwrap();
    store
        .write(&[Change::Replaced {
            old: lease,
            new: fixed,
        }])
        .unwrap();
    store.close();
    let (_, stored) = Store::with_backend(backend, &clock(0)).unwrap();
    assert!(stored.bindings.is_empty());
    assert_eq!(stored.version, 3);
}

#[test]
fn a_replacement_of_the_table_sets_all_that_is_not_static() {
    let backend = memory();
    let (mut store, _) = Store::with_backend(backend.clone(), &clock(0)).unwrap();
    let all = [dhcp(1, 5000), dhcp(2, 5000), dhcp(3, 5000)];
    store.write(&all.map(Change::Added)).unwrap();
    let new = vec![
        binding(1, Origin::Static),
        dhcp(2, 6000),
        dhcp(3, 5000),
        binding(4, Origin::Peer),
    ];
    let change = Change::BulkReplaced {
        version: 40,
        bindings: Arc::new(new.clone()),
    };
    store.write(&[change]).unwrap();
    store.close();
    let (_, stored) = Store::with_backend(backend, &clock(0)).unwrap();
    assert_eq!(stored.bindings, new[1..]);
    assert_eq!(stored.version, 40);
}

#[test]
fn the_file_can_be_made_to_say_what_the_bindings_are() {
    let backend = memory();
    let (mut store, _) = Store::with_backend(backend.clone(), &clock(0)).unwrap();
    store
        .write(&[
            Change::Added(dhcp(9, 5000)),
            Change::Quarantined(waits(&dhcp(8, 0), 2000)),
        ])
        .unwrap();
    let mut bindings = Bindings::without_table(BindingsConfig::default());
    let now = clock(0).instant;
    bindings
        .load(now, [dhcp(1, 5000), binding(2, Origin::Static)])
        .unwrap();
    store.write_all(&bindings).unwrap();
    store.close();
    let (_, stored) = Store::with_backend(backend, &clock(0)).unwrap();
    assert_eq!(stored.bindings, [dhcp(1, 5000)]);
    assert!(stored.quarantined.is_empty());
    assert_eq!(stored.version, bindings.version());
}

#[test]
fn leases_keep_their_length_when_the_wall_clock_is_set() {
    let directory = Directory::new();
    // A machine without a clock of its own starts in 1970.
    let wrong = Clock {
        instant: Instant::from_secs(10),
        utc: Utc::from_micros(10_000_000),
    };
    let (mut store, _) = Store::open(&directory.file(), &wrong).unwrap();
    let lease = dhcp(1, 3610);
    store
        .write(&[
            Change::Added(lease),
            Change::Quarantined(waits(&dhcp(2, 0), 130)),
        ])
        .unwrap();
    let right = Clock {
        instant: Instant::from_secs(40),
        ..clock(0)
    };
    store.set_clock(&right).unwrap();
    store.close();
    let (_, stored) = Store::open(&directory.file(), &right).unwrap();
    assert_eq!(stored.bindings, [lease]);
    assert_eq!(stored.quarantined, [waits(&dhcp(2, 0), 130)]);
    // And back again, by less than a lease takes.
    let (mut store, _) =
        Store::open(&directory.file(), &right).unwrap_or_else(|error| panic!("{error}"));
    let back = Clock {
        instant: right.instant,
        utc: Utc::from_micros(NOON - 1_000_000_000),
    };
    store.set_clock(&back).unwrap();
    store.close();
    let (_, stored) = Store::open(&directory.file(), &back).unwrap();
    assert_eq!(stored.bindings, [lease]);
}

#[test]
fn a_clock_that_is_behind_the_file_is_told() {
    let directory = Directory::new();
    let (mut store, _) = Store::open(&directory.file(), &clock(0)).unwrap();
    store
        .write(&[Change::Added(binding(1, Origin::Peer))])
        .unwrap();
    store.close();
    let early = Clock {
        instant: Instant::ZERO,
        utc: Utc::from_micros(0),
    };
    let (_, stored) = Store::open(&directory.file(), &early).unwrap();
    assert_eq!(
        stored.clock_behind.map(|d| d.as_micros()),
        stored.written.map(|at| u128::from(at.as_micros()))
    );
    assert!(stored.written.is_some());
}

#[test]
fn the_file_is_for_its_owner_only_and_for_one_process() {
    let directory = Directory::new();
    let path = directory.file();
    let (store, _) = Store::open(&path, &clock(0)).unwrap();
    let about = std::fs::metadata(&path).unwrap();
    assert_eq!(about.permissions().mode() & 0o777, 0o600);
    assert_eq!(about.nlink(), 1);
    let error = Store::open(&path, &clock(0)).unwrap_err();
    assert!(matches!(error, StoreError::InUse { .. }), "{error}");
    assert!(
        error.to_string().contains("in use by another process"),
        "{error}"
    );
    store.close();
    Store::open(&path, &clock(0)).unwrap();
}

#[test]
fn a_start_that_was_cut_short_leaves_nothing_that_disturbs() {
    let directory = Directory::new();
    let new = directory.0.join("state.new");
    std::fs::write(&new, b"half a header").unwrap();
    std::fs::write(directory.file(), b"").unwrap();
    let (mut store, _) = Store::open(&directory.file(), &clock(0)).unwrap();
    store.write(&[Change::Added(dhcp(1, 5000))]).unwrap();
    store.close();
    assert!(!new.exists());
    let (_, stored) = Store::open(&directory.file(), &clock(0)).unwrap();
    assert_eq!(stored.bindings, [dhcp(1, 5000)]);
}

#[test]
fn what_is_no_store_is_refused_with_what_to_do() {
    let directory = Directory::new();
    let refused = |what: &str| {
        let error = Store::open(&directory.file(), &clock(0))
            .unwrap_err()
            .to_string();
        assert!(error.contains(what), "{error}");
        assert!(
            error.contains("move") || error.contains("run the program"),
            "{error}"
        );
    };
    std::fs::write(directory.file(), [7; 5000]).unwrap();
    refused("not a file of bindings");
    std::fs::remove_file(directory.file()).unwrap();
    std::fs::create_dir(directory.file()).unwrap();
    refused("a directory");
    std::fs::remove_dir(directory.file()).unwrap();
    let other: TableDefinition<'_, u64, u64> = TableDefinition::new("other");
    let database = Database::create(directory.file()).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(other).unwrap();
    transaction.commit().unwrap();
    drop(database);
    refused("database of another program");
    std::fs::remove_file(directory.file()).unwrap();
    let (store, _) = Store::open(&directory.file(), &clock(0)).unwrap();
    store.close();
    let database = Database::open(directory.file()).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction
        .open_table(META)
        .unwrap()
        .insert("format", 2)
        .unwrap();
    transaction.commit().unwrap();
    drop(database);
    refused("format version 2 is unknown, the newest known is 1");
}

#[test]
fn a_damaged_file_is_an_error_or_reads_as_it_was_and_never_a_crash() {
    let directory = Directory::new();
    let (mut store, _) = Store::open(&directory.file(), &clock(0)).unwrap();
    let all: Vec<_> = (0..100).map(|psid| dhcp(psid, 5000)).collect();
    store
        .write(&all.iter().copied().map(Change::Added).collect::<Vec<_>>())
        .unwrap();
    store.close();
    let bytes = std::fs::read(directory.file()).unwrap();
    let used: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at] != 0).collect();
    let (mut refused, mut same) = (0, 0);
    for (round, at) in used.iter().step_by(used.len() / 60).enumerate() {
        let mut bad = bytes.clone();
        bad[*at] ^= 1 << (round % 8);
        std::fs::write(directory.file(), &bad).unwrap();
        match Store::open(&directory.file(), &clock(0)) {
            Ok((_, stored)) => {
                assert_eq!(stored.bindings, all, "byte {at}");
                same += 1;
            }
            Err(error) => {
                assert!(error.to_string().contains("move"), "{error}");
                refused += 1;
            }
        }
    }
    for cut in [1, 100, 4096, bytes.len() / 2, bytes.len() - 1] {
        std::fs::write(directory.file(), &bytes[..cut]).unwrap();
        let error = Store::open(&directory.file(), &clock(0));
        assert!(error.is_err() || cut > 4096, "{cut} bytes");
    }
    assert!(refused > 0, "{refused} refused, {same} the same");
}

/// What `testdata/store/version-1.redb` holds: written by the first program that had the format.
fn version_1() -> (Vec<Binding>, Vec<Quarantined>) {
    let prefix = "2001:db8:9:100::/56".parse().unwrap();
    let (aftr, ports) = (
        "2001:db8:a::2".parse().unwrap(),
        PortParams::new(6, 8, 0x34).unwrap(),
    );
    let of_prefix = Binding::from_prefix(prefix, [192, 0, 2, 9].into(), ports, aftr);
    let whole = Binding {
        ports: PortParams::FULL,
        ipv4: [198, 51, 100, 7].into(),
        ..binding(5, Origin::Peer)
    };
    let bindings = vec![
        dhcp(1, 100_000_000),
        binding(2, Origin::Operator),
        binding(3, Origin::Pcp).with_expiry(Expiry::At(Instant::from_secs(200_000_000))),
        of_prefix.with_origin(Origin::Operator),
        whole,
    ];
    (bindings, vec![waits(&dhcp(4, 0), 300_000_000)])
}

#[test]
fn a_file_of_version_1_is_read() {
    let testdata = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/store");
    let committed = testdata.join("version-1.redb");
    let (bindings, quarantined) = version_1();
    if std::env::var_os("LW4O6_BLESS").is_some() && !committed.exists() {
        let (mut store, _) = Store::open(&committed, &clock(0)).unwrap();
        let added = bindings.iter().copied().map(Change::Added);
        let waits = quarantined.iter().copied().map(Change::Quarantined);
        store
            .write(&added.chain(waits).collect::<Vec<_>>())
            .unwrap();
        store.database().unwrap();
        let mut database = store.database.take().unwrap();
        database.compact().unwrap();
    }
    // A copy, because opening writes.
    let directory = Directory::new();
    std::fs::copy(&committed, directory.file()).unwrap();
    let (mut store, stored) = Store::open(&directory.file(), &clock(0)).unwrap();
    assert_eq!(
        (&stored.bindings, &stored.quarantined),
        (&bindings, &quarantined)
    );
    assert_eq!((stored.version, stored.changes), (5, 6));
    store.write(&[Change::Added(dhcp(7, 100_000_000))]).unwrap();
}
