//! The table of the packet path: many readers, one writer, no locks.
//!
//! ```text
//!            one writer                          one reader per worker
//!  insert / remove / replace_all            refresh, lookup, lookup_batch
//!               |                                      |
//!               v                                      v
//!  +---------------------------- arena of 64-bit words ---------------------------+
//!  | directory word | epoch | in-flight line | epochs of the readers | blocks ... |
//!  +------------------------------------------------------------------------------+
//!    directory -> ranges -> dense block: line = base + (address - first) << k + PSID
//!              -> index of hashed bindings -> lines
//!              -> index of addresses outside ranges: (a, k), number of bindings
//!              -> index of B4 addresses: number of softwires
//!              -> AFTR addresses
//! ```
//!
//! What readers are promised (R-063):
//! - they never wait for the writer and never see a mixture of two states of a binding;
//! - a binding that is not being changed is always found, also while blocks grow, move or are
//!   replaced as a whole;
//! - what they were given by value stays as it was: no answer points into the table.
//!
//! How that is kept: one binding is a *line* of 32 bytes with a sequence word; its old content
//! stands in the in-flight slot while it is changed (module `line`). Nothing moves inside a
//! block. Whatever needs more room is built beside the old block, one store swaps the directory,
//! and the old block returns to the sub-allocator when every reader has announced a later epoch
//! (module `epoch`).
//!
//! Three choices differ from the obvious ones, for these reasons:
//! - *Hashed bindings* are an index of 8-byte words over compact lines, not lines with a probe
//!   sequence: two-choice buckets have no tombstones to clean, so there is no rebuild under
//!   churn and a miss is bounded by two cache lines; lines stay where they are when the index
//!   grows; 48 bytes a binding instead of 64. The price is a second dependent load, which
//!   a batch overlaps.
//! - *The B4 index* counts softwires per 36-bit keyed fingerprint instead of pointing to a line.
//!   A B4 with thousands of softwires is one word, and removing one of them finds the others
//!   without a chain. A stranger passes for known once in 10^10 packets at the most; what depends
//!   on it is the reason under which a packet is dropped, not whether it is.
//! - *Line and in-flight slot are tried in turn*, not one N times and then the other: when the
//!   slot has moved on, the line is readable again.

use core::fmt;

mod aftr;
mod arena;
mod bits;
mod blocks;
mod buckets;
mod directory;
mod epoch;
mod free_list;
mod generation;
mod hash;
mod indexes;
mod line;
mod plan;
mod reader;
mod reload;
mod resize;
mod slab;
mod sync;
mod writer;

#[cfg(loom)]
#[cfg(test)]
mod loom_tests;
#[cfg(not(loom))]
#[cfg(test)]
mod tests;

pub use self::epoch::{Mark, TableShared, TooManyReaders};
pub use self::reader::TableReader;
pub use self::sync::AtomicU64;
pub use self::writer::{TableMemory, TableWriter};

/// Size and secret of a table. All of it is fixed for the life of the arena.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TableConfig {
    /// Most softwires at any time (`softwire-num-max`).
    pub softwires: usize,
    /// Most AFTR addresses in a generation, at most 65,536.
    pub aftrs: usize,
    /// Most readers at any time.
    pub readers: usize,
    /// Secret behind every hash. Draw it at random: whoever knows it can pick B4 addresses that
    /// share a bucket.
    pub hash_seed: [u8; 16],
}

/// Shows the sizes, not the secret.
impl fmt::Debug for TableConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TableConfig")
            .field("softwires", &self.softwires)
            .field("aftrs", &self.aftrs)
            .field("readers", &self.readers)
            .finish_non_exhaustive()
    }
}

/// Number of 64-bit words the caller has to supply, whatever the bindings look like.
///
/// About 288 bytes a softwire: dense blocks that are 3/8 full, hashed lines, the indexes, and
/// all of it once more for [`TableWriter::replace_all`]. Words that were never needed are never
/// touched, so an anonymous map costs what is used: 48 bytes a softwire in full pools.
#[must_use]
pub fn arena_words(config: &TableConfig) -> usize {
    plan::arena_groups(config) * arena::GROUP
}

/// A run of IPv4 addresses with one PSID offset and length.
///
/// Its addresses are managed ([`Address::Full`] or [`Address::Shared`]) even without a binding.
/// A binding with other parameters may still stand on an address of a pool; it then holds for
/// the whole address as long as it exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool {
    /// First IPv4 address, as a number.
    pub first: u32,
    /// Last IPv4 address, included.
    pub last: u32,
    /// PSID offset `a`, 0..=16.
    pub offset: u8,
    /// PSID length `k`; `a + k` <= 16.
    pub len: u8,
}

/// One binding as the writer takes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Public IPv4 address, as a number.
    pub ipv4: u32,
    /// PSID, below 2^`len`.
    pub psid: u16,
    /// PSID offset `a`, 0..=16.
    pub offset: u8,
    /// PSID length `k`; `a + k` <= 16. Offset and length are equal for all bindings of an
    /// address (RFC 7597 section 5.1).
    pub len: u8,
    /// IPv6 address of the B4, network order.
    pub b4: [u8; 16],
    /// Number of the AFTR address, from [`TableWriter::aftr`].
    pub aftr: u16,
    /// Fifteen bits for the caller, handed back by lookups. Bit 0 belongs to the table and
    /// reads as zero.
    pub flags: u16,
}

/// What an IPv4 address is to this AFTR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Address {
    /// In no pool, and no binding on it.
    Foreign,
    /// One subscriber has all of it: lookups need no port.
    Full,
    /// Shared, or without its low ports: lookups need a port.
    Shared {
        /// PSID offset `a`.
        offset: u8,
        /// PSID length `k`.
        len: u8,
    },
}

/// What to look up: an address and, where the packet has one, a port or ICMP identifier.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LookupKey {
    /// IPv4 address, as a number.
    pub ipv4: u32,
    /// Port; not needed on a full address.
    pub port: Option<u16>,
}

/// Answer to a lookup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// The binding.
    Found(Softwire),
    /// The address is ours, the port belongs to nobody (or is excluded by the PSID offset).
    NoBinding,
    /// The address is shared and no port was given.
    NoPort,
    /// Not our address.
    Foreign,
    /// The writer overtook every try, or the reader holds no table (between
    /// [`TableReader::idle`] and [`TableReader::refresh`]). Ask again.
    Busy,
}

/// A binding as it was when it was looked up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Softwire {
    /// IPv6 address of the B4, network order.
    pub b4: [u8; 16],
    /// Number of the AFTR address, see [`TableReader::aftr_addr`].
    pub aftr: u16,
    /// The caller's flags; bit 0 is zero.
    pub flags: u16,
    /// Public IPv4 address, as a number.
    pub ipv4: u32,
    /// PSID.
    pub psid: u16,
    /// PSID length `k`.
    pub len: u8,
    /// PSID offset `a`.
    pub offset: u8,
}

/// Why the table did not take something. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TableError {
    /// The caller's memory is smaller than [`arena_words`] asks for.
    #[error("the table needs {need} words of memory, has {have}")]
    SmallArena {
        /// Words needed.
        need: usize,
        /// Words given.
        have: usize,
    },
    /// The configuration asks for more than the layout can number.
    #[error("{softwires} softwires and {aftrs} AFTR addresses are more than a table can hold")]
    TooLarge {
        /// Softwires asked for.
        softwires: usize,
        /// AFTR addresses asked for; 65,536 is the most.
        aftrs: usize,
    },
    /// A pool ends before it starts, has impossible port parameters or overlaps another.
    #[error("pool number {index} is malformed or overlaps another")]
    BadPool {
        /// Position in the list of pools.
        index: usize,
    },
    /// `a + k` above 16 or a PSID of 2^k or more.
    #[error("PSID {psid} with offset {offset} and length {len} is not a port set")]
    BadParameters {
        /// PSID.
        psid: u16,
        /// PSID offset.
        offset: u8,
        /// PSID length.
        len: u8,
    },
    /// Other bindings of the address have another PSID offset or length.
    #[error("bindings of address {ipv4:#010x} have another PSID offset or length")]
    MixedParameters {
        /// The address.
        ipv4: u32,
    },
    /// The AFTR number was never handed out.
    #[error("AFTR address number {0} is unknown")]
    UnknownAftr(u16),
    /// As many softwires as configured.
    #[error("the table is full: {max} softwires")]
    Softwires {
        /// `TableConfig::softwires`.
        max: usize,
    },
    /// As many AFTR addresses as configured.
    #[error("the list of AFTR addresses is full: {max}")]
    Aftrs {
        /// `TableConfig::aftrs`.
        max: usize,
    },
    /// No free memory, because a reader has not yet left old blocks. Try again once the readers
    /// have called [`TableReader::refresh`] or [`TableReader::idle`].
    #[error("{blocks} replaced blocks are still in use by readers")]
    Memory {
        /// Blocks that wait for readers.
        blocks: usize,
    },
}

/// What [`TableWriter::insert`] returns when a binding does not fit.
pub type TableFull = TableError;

/// The PSID a port falls into, `None` where the offset excludes the port (RFC 7597 section 5.1).
fn psid_of(offset: u8, len: u8, port: u16) -> Option<u16> {
    let (offset, len, port) = (u32::from(offset & 31), u32::from(len & 31), u32::from(port));
    if offset > 0 && port >> 16_u32.saturating_sub(offset) == 0 {
        return None;
    }
    let field = port >> 16_u32.saturating_sub(offset + len);
    Some(bits::low16(u64::from(field & ((1 << len) - 1))))
}
