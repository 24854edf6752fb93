//! Disks that refuse, and the thread in front of them.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::mpsc::{Receiver, channel};

use lw4o6_binding::{BindingsConfig, Event, FailReason, Origin, Seq};
use redb::backends::InMemoryBackend;

use super::tests::{Directory, binding, clock, dhcp};
use super::*;

/// A disk that has no room, or does not sync, when it is told to.
#[derive(Debug)]
struct Refusing {
    under: Arc<dyn StorageBackend>,
    /// Bytes that can still be written; negative without limit.
    room: AtomicI64,
    sync_fails: AtomicBool,
    /// Syncs wait as long as this is set.
    slow: AtomicBool,
}

impl Refusing {
    fn new(under: Arc<dyn StorageBackend>) -> Arc<Self> {
        Arc::new(Self {
            under,
            room: AtomicI64::new(-1),
            sync_fails: AtomicBool::new(false),
            slow: AtomicBool::new(false),
        })
    }
}

impl StorageBackend for Refusing {
    fn len(&self) -> io::Result<u64> {
        self.under.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.under.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.under.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        while self.slow.load(Ordering::SeqCst) {
            crate::stopwatch::wait(Duration::from_millis(1));
        }
        if self.sync_fails.load(Ordering::SeqCst) {
            return Err(io::Error::from_raw_os_error(libc::EIO));
        }
        self.under.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let room = self.room.load(Ordering::SeqCst);
        if room >= 0 {
            let left = room - i64::try_from(data.len()).unwrap();
            if left < 0 {
                // A part gets there, as on a real disk.
                let part = usize::try_from(room).unwrap();
                self.under.write(offset, &data[..part])?;
                return Err(io::Error::from_raw_os_error(libc::ENOSPC));
            }
            self.room.store(left, Ordering::SeqCst);
        }
        self.under.write(offset, data)
    }
}

fn memory() -> Arc<dyn StorageBackend> {
    Arc::new(Shared::new(Arc::new(InMemoryBackend::new())))
}

fn bindings_in(backend: &Arc<Refusing>) -> Vec<Binding> {
    let (_, stored) = Store::with_backend(Arc::clone(backend) as _, &clock(0)).unwrap();
    stored.bindings
}

#[test]
fn without_room_a_transaction_fails_as_a_whole_and_later_ones_work_when_there_is_room() {
    for room in (0..20_000).step_by(700) {
        let disk = Refusing::new(memory());
        let (mut store, _) = Store::with_backend(disk.clone(), &clock(0)).unwrap();
        store.write(&[Change::Added(dhcp(1, 5000))]).unwrap();
        disk.room.store(room, Ordering::SeqCst);
        let many: Vec<Change> = (10..100)
            .map(|psid| Change::Added(dhcp(psid, 5000)))
            .collect();
        let error = store.write(&many).unwrap_err();
        assert!(matches!(error, StoreError::Io { .. }), "{error}");
        assert!(error.to_string().contains("No space left"), "{error}");
        let again = store.write(&many).unwrap_err();
        assert!(matches!(again, StoreError::Io { .. }), "{again}");
        disk.room.store(-1, Ordering::SeqCst);
        store.write(&[Change::Added(dhcp(2, 5000))]).unwrap();
        store.close();
        let there = bindings_in(&disk);
        // What was reported as failed may be there, all or nothing of each call.
        assert!(
            there == [dhcp(1, 5000), dhcp(2, 5000)] || there.len() == 92,
            "room {room}"
        );
    }
}

#[test]
fn what_a_disk_refused_to_sync_is_written_to_a_new_file() {
    let directory = Directory::new();
    let (mut store, _) = Store::open(&directory.file(), &clock(0)).unwrap();
    store.write(&[Change::Added(dhcp(1, 5000))]).unwrap();
    let number = |path: &Path| std::os::unix::fs::MetadataExt::ino(&path.metadata().unwrap());
    let before = number(&directory.file());
    // The same file, through a layer that refuses.
    let file = std::mem::replace(&mut store.medium, Shared::new(memory()));
    let disk = Refusing::new(Arc::new(file));
    (store.medium, store.database) = (Shared::new(disk.clone()), None);
    disk.sync_fails.store(true, Ordering::SeqCst);
    let error = store.write(&[Change::Added(dhcp(2, 5000))]).unwrap_err();
    assert!(error.to_string().contains("Input/output error"), "{error}");
    disk.sync_fails.store(false, Ordering::SeqCst);
    store.write(&[Change::Added(dhcp(3, 5000))]).unwrap();
    assert_ne!(number(&directory.file()), before);
    drop(disk);
    // The new one is locked as the old one was.
    let error = Store::open(&directory.file(), &clock(0)).unwrap_err();
    assert!(matches!(error, StoreError::InUse { .. }), "{error}");
    store.close();
    let (_, stored) = Store::open(&directory.file(), &clock(0)).unwrap();
    assert_eq!(stored.bindings.first(), Some(&dhcp(1, 5000)));
    assert_eq!(stored.bindings.last(), Some(&dhcp(3, 5000)));
}

/// A store on this disk in its thread.
fn start(disk: &Arc<Refusing>) -> (StoreThread, Receiver<StoreResult>) {
    let (store, _) = Store::with_backend(Arc::clone(disk) as _, &clock(0)).unwrap();
    let (to, results) = channel();
    let thread = StoreThread::start(store, move |result| drop(to.send(result))).unwrap();
    (thread, results)
}

fn next(results: &Receiver<StoreResult>) -> Result<u64, (u64, StoreError)> {
    match results.recv_timeout(Duration::from_secs(20)).unwrap() {
        StoreResult::Persisted(Seq(seq)) => Ok(seq),
        StoreResult::Failed(Seq(seq), error) => Err((seq, error)),
    }
}

#[test]
fn what_comes_while_the_disk_is_busy_becomes_one_transaction() {
    let disk = Refusing::new(memory());
    let (thread, results) = start(&disk);
    disk.slow.store(true, Ordering::SeqCst);
    thread.write(Seq(1), Change::Added(dhcp(1, 5000)));
    while thread.waiting() > 0 {
        crate::stopwatch::wait(Duration::from_millis(1));
    }
    for psid in 2..200 {
        thread.write(Seq(u64::from(psid)), Change::Added(dhcp(psid, 5000)));
    }
    disk.slow.store(false, Ordering::SeqCst);
    assert_eq!(next(&results).ok(), Some(1));
    assert_eq!(next(&results).ok(), Some(199));
    thread.stop();
    assert_eq!(bindings_in(&disk).len(), 199);
}

#[test]
fn a_stop_writes_what_waits() {
    let disk = Refusing::new(memory());
    let (thread, results) = start(&disk);
    for psid in 0..200 {
        thread.write(Seq(u64::from(psid) + 1), Change::Added(dhcp(psid, 5000)));
    }
    thread.note(&Change::Quarantined(Quarantined {
        key: dhcp(250, 0).key(),
        b4: dhcp(250, 0).b4,
        until: clock(60).instant,
    }));
    thread.stop();
    let last = std::iter::from_fn(|| results.try_recv().ok()).last();
    assert!(
        matches!(last, Some(StoreResult::Persisted(Seq(200)))),
        "{last:?}"
    );
    let (_, stored) = Store::with_backend(disk, &clock(0)).unwrap();
    assert_eq!((stored.bindings.len(), stored.quarantined.len()), (200, 1));
}

#[test]
fn after_a_failure_nothing_is_taken_until_the_owner_knows_of_it() {
    let disk = Refusing::new(memory());
    let (thread, results) = start(&disk);
    thread.write(Seq(1), Change::Added(dhcp(1, 5000)));
    assert_eq!(next(&results).ok(), Some(1));
    disk.room.store(0, Ordering::SeqCst);
    thread.write(Seq(2), Change::Added(dhcp(2, 5000)));
    let (seq, error) = next(&results).unwrap_err();
    assert_eq!(seq, 2);
    assert!(error.to_string().contains("No space left"), "{error}");
    disk.room.store(-1, Ordering::SeqCst);
    // Decided before the owner heard of the failure, which covers it.
    thread.write(Seq(3), Change::Added(dhcp(3, 5000)));
    thread.resume();
    thread.write(Seq(4), Change::Added(dhcp(4, 5000)));
    assert_eq!(next(&results).ok(), Some(4));
    thread.stop();
    let there = bindings_in(&disk);
    assert!(there.contains(&dhcp(1, 5000)) && there.contains(&dhcp(4, 5000)));
    assert!(!there.contains(&dhcp(3, 5000)));
}

#[test]
fn more_than_can_wait_fails_from_the_first_that_does_not_fit() {
    let disk = Refusing::new(memory());
    let (thread, results) = start(&disk);
    disk.slow.store(true, Ordering::SeqCst);
    thread.write(Seq(1), Change::Added(dhcp(1, 5000)));
    while thread.waiting() > 0 {
        crate::stopwatch::wait(Duration::from_millis(1));
    }
    for seq in 0..20_000 {
        thread.write(Seq(2 + seq), Change::Added(dhcp((seq % 256) as u16, 5000)));
    }
    assert_eq!(thread.waiting(), 16_384);
    disk.slow.store(false, Ordering::SeqCst);
    assert_eq!(next(&results).ok(), Some(1));
    assert_eq!(next(&results).ok(), Some(16_385));
    let (seq, error) = next(&results).unwrap_err();
    assert_eq!(seq, 16_386);
    assert!(error.to_string().contains("too slow"), "{error}");
    thread.resume();
    thread.write(Seq(30_000), Change::Added(dhcp(1, 6000)));
    assert_eq!(next(&results).ok(), Some(30_000));
}

#[test]
fn a_step_of_the_clock_moves_what_is_stored_and_what_follows() {
    let disk = Refusing::new(memory());
    let (thread, results) = start(&disk);
    thread.write(Seq(1), Change::Added(dhcp(1, 5000)));
    let later = Clock {
        instant: clock(0).instant,
        ..clock(7200)
    };
    thread.set_clock(later);
    thread.write(Seq(2), Change::Added(dhcp(2, 5000)));
    while next(&results).unwrap() != 2 {}
    thread.stop();
    let (_, stored) = Store::with_backend(disk, &later).unwrap();
    assert_eq!(stored.bindings, [dhcp(1, 5000), dhcp(2, 5000)]);
}

/// The whole way: a grant that cannot be stored never reaches the table, and what the file holds
/// of it is put right.
#[test]
fn bindings_and_file_agree_again_after_a_failure() {
    let disk = Refusing::new(memory());
    let (thread, results) = start(&disk);
    let mut bindings = Bindings::without_table(BindingsConfig::default());
    let mut now = clock(0).instant;
    let mut failed = 0;
    for round in 0..60_u16 {
        now += Duration::from_secs(1);
        disk.room
            .store(if round % 5 == 2 { 0 } else { -1 }, Ordering::SeqCst);
        let _ = bindings.insert(now, binding(round, Origin::Operator));
        if round % 3 == 0 {
            let _ = bindings.remove(now, &binding(round / 2, Origin::Operator).key());
        }
        bindings.handle_timeout(now);
        let mut waiting = 0;
        loop {
            while let Some(event) = bindings.poll_event() {
                match event {
                    Event::Persist { seq, change } => {
                        waiting = seq.0;
                        thread.write(seq, change);
                    }
                    Event::Failed { why, .. } => {
                        failed += usize::from(why == FailReason::NotStored);
                    }
                    Event::Committed { .. }
                    | Event::Changed { .. }
                    | Event::Lost { .. }
                    | Event::SystemPorts { .. }
                    | _ => {}
                }
            }
            if waiting == 0 {
                break;
            }
            match next(&results) {
                Ok(seq) => {
                    bindings.handle_persisted(now, Seq(seq));
                    waiting *= u64::from(seq < waiting);
                }
                Err((seq, _)) => {
                    bindings.handle_persist_failed(now, Seq(seq));
                    thread.resume();
                    waiting = 0;
                }
            }
        }
    }
    assert!(failed > 5, "{failed}");
    thread.stop();
    let table: Vec<Binding> = bindings.iter().copied().collect();
    assert_eq!(bindings_in(&disk), table);
    assert!(table.len() > 20);
}
