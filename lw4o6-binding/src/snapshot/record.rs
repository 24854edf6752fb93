//! One binding, or one softwire in quarantine, as bytes: the records of a snapshot, and what
//! other stores of bindings keep. The layout is that of the [snapshot](super), version 1.

use core::net::{Ipv4Addr, Ipv6Addr};
use core::time::Duration;

use lw4o6_wire::port_params::{PortParams, PortParamsError};

use crate::change::Quarantined;
use crate::entry::{Binding, Expiry, Origin, SoftwireKey};
use crate::snapshot::Lapsed;
use crate::utc::{Clock, Utc};

/// Bytes of a binding.
pub const BINDING: usize = 56;
/// Bytes of a softwire in quarantine.
pub const QUARANTINED: usize = 32;
/// The end of an allocation that does not end.
const NEVER: u64 = u64::MAX;

/// Why bytes are no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The numbers are no port set.
    #[error("{0}")]
    PortParams(#[from] PortParamsError),
    /// The origin is unknown.
    #[error("origin {0} is unknown")]
    Origin(u8),
}

/// The record of a binding. The end of its allocation is written in UTC.
#[must_use]
pub fn emit_binding(binding: &Binding, clock: &Clock) -> [u8; BINDING] {
    let Binding {
        b4,
        prefix_len,
        ipv4,
        ports,
        aftr,
        origin,
        expires,
    } = *binding;
    let end = expires
        .at()
        .map_or(NEVER, |at| clock.utc_of(at).as_micros());
    let mut out = [0; BINDING];
    let mut rest = Room(&mut out);
    rest.put(&b4.octets());
    rest.put(&aftr.octets());
    rest.put(&ipv4.octets());
    rest.put(&ports.psid().to_be_bytes());
    rest.put(&[ports.offset(), ports.len(), prefix_len, origin_code(origin)]);
    rest.put(&[0; 6]);
    rest.put(&end.to_be_bytes());
    out
}

/// The record of a softwire in quarantine. The end is written in UTC.
#[must_use]
pub fn emit_quarantined(quarantined: &Quarantined, clock: &Clock) -> [u8; QUARANTINED] {
    let Quarantined { key, b4, until } = *quarantined;
    let SoftwireKey { ipv4, ports } = key;
    let mut out = [0; QUARANTINED];
    let mut rest = Room(&mut out);
    rest.put(&b4.octets());
    rest.put(&ipv4.octets());
    rest.put(&ports.psid().to_be_bytes());
    rest.put(&[ports.offset(), ports.len()]);
    rest.put(&clock.utc_of(until).as_micros().to_be_bytes());
    out
}

/// The binding of a record, without its end, and its end.
///
/// # Errors
///
/// Where the port set or the origin is none.
pub fn parse_binding(record: &[u8; BINDING]) -> Result<(Binding, Option<Utc>), RecordError> {
    let mut rest = Fields(record);
    let b4 = Ipv6Addr::from(rest.take::<16>());
    let aftr = Ipv6Addr::from(rest.take::<16>());
    let ipv4 = Ipv4Addr::from(rest.take::<4>());
    let psid = u16::from_be_bytes(rest.take());
    let [offset, len, prefix_len, code] = rest.take();
    let _zero: [u8; 6] = rest.take();
    let end = rest.u64();
    let ports = PortParams::new(offset, len, psid)?;
    let origin = Origin::ALL.get(usize::from(code)).copied();
    let origin = origin.ok_or(RecordError::Origin(code))?;
    let binding = Binding {
        prefix_len,
        origin,
        ..Binding::new(b4, ipv4, ports, aftr)
    };
    Ok((binding, (end != NEVER).then(|| Utc::from_micros(end))))
}

/// The softwire of a record, who had it, and the end of its quarantine.
///
/// # Errors
///
/// Where the port set is none.
pub fn parse_quarantined(
    record: &[u8; QUARANTINED],
) -> Result<(SoftwireKey, Ipv6Addr, Utc), RecordError> {
    let mut rest = Fields(record);
    let b4 = Ipv6Addr::from(rest.take::<16>());
    let ipv4 = Ipv4Addr::from(rest.take::<4>());
    let psid = u16::from_be_bytes(rest.take());
    let [offset, len] = rest.take();
    let ports = PortParams::new(offset, len, psid)?;
    let end = Utc::from_micros(rest.u64());
    Ok((SoftwireKey { ipv4, ports }, b4, end))
}

/// A stored binding and its end on the clock of the program that reads it.
///
/// # Errors
///
/// The binding as one that has ended, where the end has come; an end at this very moment has.
//
pub fn revive(binding: Binding, end: Option<Utc>, clock: &Clock) -> Result<Binding, Lapsed> {
    let Some(end) = end else {
        return Ok(binding.with_expiry(Expiry::Never));
    };
    let binding = binding.with_expiry(Expiry::At(clock.instant_of(end)));
    if end > clock.utc {
        return Ok(binding);
    }
    let ago = clock.utc.as_micros().saturating_sub(end.as_micros());
    Err(Lapsed {
        binding,
        ago: Duration::from_micros(ago),
    })
}

const fn origin_code(origin: Origin) -> u8 {
    match origin {
        Origin::Static => 0,
        Origin::Operator => 1,
        Origin::Dhcp => 2,
        Origin::Pcp => 3,
        Origin::Peer => 4,
    }
}

/// The part of a record that is not filled yet.
struct Room<'a>(&'a mut [u8]);

impl Room<'_> {
    /// Fills the next bytes. The record types are as long as their fields together.
    fn put(&mut self, field: &[u8]) {
        let Some((room, rest)) = core::mem::take(&mut self.0).split_at_mut_checked(field.len())
        else {
            debug_assert!(false, "a record is shorter than its fields");
            return;
        };
        room.copy_from_slice(field);
        self.0 = rest;
    }
}

/// The fields of a record, one after the other.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl Fields<'_> {
    /// The next `N` bytes. The record types are as long as their fields together; beyond the end
    /// there are zeros.
    pub(super) fn take<const N: usize>(&mut self) -> [u8; N] {
        let Some((field, rest)) = self.0.split_first_chunk() else {
            debug_assert!(false, "a record is shorter than its fields");
            return [0; N];
        };
        self.0 = rest;
        *field
    }

    pub(super) fn u64(&mut self) -> u64 {
        u64::from_be_bytes(self.take())
    }
}
