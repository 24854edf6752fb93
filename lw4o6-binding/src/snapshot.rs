//! A table as bytes that outlive the program.
//!
//! Version 1. All numbers are in network order; times are UTC in microseconds since 1970.
//!
//! ```text
//! offset  bytes
//!      0      4  "LW4B"
//!      4      2  version of the format, 1
//!      6      2  0
//!      8      8  version of the table
//!     16      8  time of the snapshot
//!     24      8  number of bindings, n
//!     32      8  number of softwires in quarantine, q
//!     40   56*n  bindings, ordered by IPv4 address and port set
//! 40+56n   32*q  quarantine, in the same order
//!      end    8  checksum: SipHash-2-4 with a key of zeros over all bytes before it
//!
//! binding                                   quarantine
//!      0     16  B4 address                      0     16  B4 address of who had it
//!     16     16  AFTR address                   16      4  IPv4 address
//!     32      4  IPv4 address                   20      2  PSID
//!     36      2  PSID                           22      1  offset a
//!     38      1  offset a                       23      1  length k
//!     39      1  length k                       24      8  end
//!     40      1  prefix length, bits
//!     41      1  origin: 0 static, 1 operator,
//!                2 DHCP, 3 PCP, 4 peer
//!     42      6  0
//!     48      8  end of the allocation, 2^64-1 for never
//! ```
//!
//! The checksum guards against decay and cut files, not against forgery.

use alloc::vec::Vec;
use core::hash::Hasher;
use core::time::Duration;

use lw4o6_wire::port_params::PortParamsError;
use lw4o6_wire::time::Instant;
use siphasher::sip::SipHasher24;

use crate::bindings::Bindings;
use crate::change::Quarantined;
use crate::entry::Binding;
use crate::snapshot::record::{BINDING, Fields, QUARANTINED, RecordError};
use crate::utc::Clock;

pub mod record;

/// What a snapshot holds, on the clock of the program that reads it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Number of the table.
    pub version: u64,
    /// The bindings whose allocation goes on, ordered by key.
    pub bindings: Vec<Binding>,
    /// The softwires whose quarantine goes on, ordered by key.
    // R-065
    pub quarantined: Vec<Quarantined>,
    /// The bindings whose allocation has ended since the snapshot was made, ordered by key.
    // R-059
    pub lapsed: Vec<Lapsed>,
}

/// A binding that ended while nobody looked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lapsed {
    /// The binding.
    pub binding: Binding,
    /// How long ago its allocation ended.
    pub ago: Duration,
}

impl Lapsed {
    /// The quarantine that follows, with `wait` the time a quarantine takes.
    pub(crate) fn quarantined(&self, now: Instant, wait: Duration) -> Quarantined {
        Quarantined {
            key: self.binding.key(),
            b4: self.binding.b4,
            until: now + wait.saturating_sub(self.ago),
        }
    }
}

/// Why bytes are no snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// It does not begin like one.
    #[error("not a snapshot of bindings: no \"LW4B\" at the start")]
    Magic,
    /// It was made by a newer program.
    #[error("format version {0} is unknown, the newest known is 1")]
    Version(u16),
    /// It was cut, or something follows it.
    #[error("has {have} bytes, needs {need}")]
    Length {
        /// Bytes that the header asks for, or that a header takes.
        need: u64,
        /// Bytes that are there.
        have: usize,
    },
    /// Some bytes are not those that were written.
    #[error("the checksum is wrong: the file is damaged")]
    Checksum,
    /// A record holds numbers that are no port set.
    #[error("record {index}: {error}")]
    PortParams {
        /// Position among the bindings and, behind them, the quarantine, from 0.
        index: usize,
        /// What is wrong.
        error: PortParamsError,
    },
    /// A record holds an unknown origin.
    #[error("record {index}: origin {code} is unknown")]
    Origin {
        /// Position among the bindings, from 0.
        index: usize,
        /// The code.
        code: u8,
    },
}

const MAGIC: [u8; 4] = *b"LW4B";
const VERSION: u16 = 1;
const HEADER: usize = 40;
const CHECKSUM: usize = 8;

impl Bindings {
    /// All bindings and the quarantine as bytes, for [`restore`]. Decisions that wait for the
    /// store are not in it.
    #[must_use]
    pub fn snapshot(&self, clock: &Clock) -> Vec<u8> {
        let quarantined = self.quarantined().count();
        let size = HEADER + self.len() * BINDING + quarantined * QUARANTINED + CHECKSUM;
        let mut out = Vec::with_capacity(size);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_be_bytes());
        out.extend_from_slice(&[0; 2]);
        out.extend_from_slice(&self.version().to_be_bytes());
        out.extend_from_slice(&clock.utc.as_micros().to_be_bytes());
        out.extend_from_slice(&(self.len() as u64).to_be_bytes());
        out.extend_from_slice(&(quarantined as u64).to_be_bytes());
        for binding in self.iter() {
            out.extend_from_slice(&record::emit_binding(binding, clock));
        }
        for quarantined in self.quarantined() {
            out.extend_from_slice(&record::emit_quarantined(quarantined, clock));
        }
        let checksum = checksum(&out);
        out.extend_from_slice(&checksum.to_be_bytes());
        out
    }
}

/// Reads a snapshot. Ends of leases become moments of the clock given.
///
/// # Errors
///
/// Where the bytes are not exactly one undamaged snapshot of a known version.
pub fn restore(bytes: &[u8], clock: &Clock) -> Result<Snapshot, SnapshotError> {
    let (header, body) = split_checked(bytes)?;
    let mut snapshot = Snapshot {
        version: header.version,
        bindings: Vec::with_capacity(header.bindings),
        ..Snapshot::default()
    };
    let (bindings, quarantined) = body
        .split_at_checked(header.bindings * BINDING)
        .unwrap_or((body, &[]));
    for (index, record) in bindings.as_chunks().0.iter().enumerate() {
        let (binding, end) = record::parse_binding(record).map_err(broken(index))?;
        match record::revive(binding, end, clock) {
            Ok(binding) => snapshot.bindings.push(binding),
            Err(lapsed) => snapshot.lapsed.push(lapsed),
        }
    }
    for (index, record) in quarantined.as_chunks().0.iter().enumerate() {
        let parsed = record::parse_quarantined(record);
        let (key, b4, end) = parsed.map_err(broken(header.bindings + index))?;
        if end > clock.utc {
            let until = clock.instant_of(end);
            snapshot.quarantined.push(Quarantined { key, b4, until });
        }
    }
    Ok(snapshot)
}

struct Header {
    version: u64,
    bindings: usize,
}

/// The header, and the records behind it, once length and checksum are right.
fn split_checked(bytes: &[u8]) -> Result<(Header, &[u8]), SnapshotError> {
    let have = bytes.len();
    let short = SnapshotError::Length {
        need: (HEADER + CHECKSUM) as u64,
        have,
    };
    if !bytes.starts_with(&MAGIC) {
        return Err(if MAGIC.starts_with(bytes) {
            short
        } else {
            SnapshotError::Magic
        });
    }
    let (header, _) = bytes.split_first_chunk::<HEADER>().ok_or(short)?;
    let mut rest = Fields(header);
    let _magic: [u8; 4] = rest.take();
    let format = u16::from_be_bytes(rest.take());
    if format != VERSION {
        return Err(SnapshotError::Version(format));
    }
    let _zero: [u8; 2] = rest.take();
    let version = rest.u64();
    let _made = rest.u64();
    let (bindings, quarantined) = (rest.u64(), rest.u64());
    let need = (bindings.saturating_mul(BINDING as u64))
        .saturating_add(quarantined.saturating_mul(QUARANTINED as u64))
        .saturating_add((HEADER + CHECKSUM) as u64);
    let length = SnapshotError::Length { need, have };
    if need != have as u64 {
        return Err(length);
    }
    let (covered, sum) = bytes.split_last_chunk::<CHECKSUM>().ok_or(length)?;
    if checksum(covered) != u64::from_be_bytes(*sum) {
        return Err(SnapshotError::Checksum);
    }
    let (_, body) = covered.split_at_checked(HEADER).ok_or(length)?;
    // What fits in memory fits in a usize.
    let bindings = usize::try_from(bindings).map_err(|_| length)?;
    Ok((Header { version, bindings }, body))
}

fn checksum(bytes: &[u8]) -> u64 {
    let mut hasher = SipHasher24::new();
    hasher.write(bytes);
    hasher.finish()
}

fn broken(index: usize) -> impl Fn(RecordError) -> SnapshotError {
    move |error| match error {
        RecordError::PortParams(error) => SnapshotError::PortParams { index, error },
        RecordError::Origin(code) => SnapshotError::Origin { index, code },
    }
}

#[cfg(test)]
mod tests;
