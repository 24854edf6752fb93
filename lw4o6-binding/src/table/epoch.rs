//! When a replaced block may be used again.
//!
//! The writer counts epochs in one word; each reader announces the newest one it has seen in a
//! word of its own, or that it is idle. A block replaced in epoch e is free when every reader
//! has announced e or later, or is idle:
//! - a reader that announces e saw the epoch, which was stored after the new directory, so what
//!   it loads next is that directory or a later one; its own reads of older blocks come before
//!   the announcement (`Release`), which the writer reads (`Acquire`);
//! - a reader that wakes up announces first and looks at the directory second. The writer stores
//!   the directory first and looks at the announcements second. A sequentially consistent fence
//!   on both sides makes sure that one of the two sees the other.

use super::arena::{Arena, FIXED_GROUPS};
use super::hash::Secrets;
use super::reader::TableReader;
use super::sync::{AtomicU64, Ordering, fence};

/// Nobody uses this reader word.
pub(super) const FREE: u64 = 0;
/// The reader holds nothing.
pub(super) const IDLE: u64 = 1;
/// The first epoch.
pub(super) const FIRST: u64 = 2;

/// Word 0 of group 0: generation << 32 | group of the directory.
pub(super) const DIRECTORY_WORD: usize = 0;
/// Word 1 of group 0: the epoch.
pub(super) const EPOCH_WORD: usize = 1;

/// A point in the history of the table, see [`TableWriter::mark`](super::TableWriter::mark).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark(pub(super) u64);

/// All reader places are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("all {readers} reader places of the table are taken")]
pub struct TooManyReaders {
    /// `TableConfig::readers`.
    pub readers: usize,
}

/// The way to readers of a table; hand a clone to every thread that makes one.
#[derive(Clone, Debug)]
pub struct TableShared {
    pub(super) arena: Arena,
    pub(super) readers: usize,
    pub(super) secrets: Secrets,
}

impl TableShared {
    /// A new reader, idle until its first [`TableReader::refresh`].
    ///
    /// # Errors
    /// [`TooManyReaders`] while `TableConfig::readers` of them exist.
    pub fn reader(&self) -> Result<TableReader, TooManyReaders> {
        for word in words(self.arena, self.readers) {
            let order = (Ordering::AcqRel, Ordering::Relaxed);
            if word.compare_exchange(FREE, IDLE, order.0, order.1).is_ok() {
                return TableReader::new(self, word).ok_or(TooManyReaders {
                    readers: self.readers,
                });
            }
        }
        Err(TooManyReaders {
            readers: self.readers,
        })
    }
}

/// The words of all readers.
pub(super) fn words(arena: Arena, readers: usize) -> impl Iterator<Item = &'static AtomicU64> {
    let groups = FIXED_GROUPS..FIXED_GROUPS + readers;
    groups.filter_map(move |group| arena.word(u32::try_from(group).ok()?, 0))
}

/// Announces that the reader is awake and has seen `epoch`; the directory may be read next.
pub(super) fn wake(word: &AtomicU64, epoch: u64) {
    word.store(epoch, Ordering::Release);
    fence(Ordering::SeqCst);
}

/// The newest epoch that every reader has passed; `u64::MAX` when all are idle.
pub(super) fn passed(arena: Arena, readers: usize) -> u64 {
    fence(Ordering::SeqCst);
    let announced = words(arena, readers).map(|word| word.load(Ordering::Acquire));
    announced
        .filter(|&epoch| epoch >= FIRST)
        .min()
        .unwrap_or(u64::MAX)
}
