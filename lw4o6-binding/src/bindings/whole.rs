//! The rules for a whole table at once, in the time that sorting it takes.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::cmp::Ordering;
use core::net::Ipv6Addr;

use lw4o6_wire::time::Instant;

use crate::bindings::key::Key;
use crate::config::{BindingsConfig, SystemPorts};
use crate::entry::Binding;
use crate::error::InsertError;

/// A table that fulfils the rules.
#[derive(Debug)]
pub(crate) struct Whole {
    /// The bindings that have not ended, ordered by key.
    pub(crate) sorted: Vec<Binding>,
    /// How many had ended.
    pub(crate) expired: usize,
    /// How many share system ports, where the policy is to warn.
    pub(crate) system_ports: usize,
}

/// A binding that breaks a rule, by its position, and the rule.
type Refused = (usize, InsertError);

/// Checks the bindings as if they were inserted in the order given, and sorts them. The error is
/// that of the first one refused. The policy applies from position `before` on: what is there
/// already stays.
///
/// Each step looks only at what stands before the error of the step before, so that the last one
/// found is the first in order.
pub(crate) fn check_all(
    config: &BindingsConfig,
    now: Instant,
    bindings: &[Binding],
    before: usize,
) -> Result<Whole, Refused> {
    let mut refused = None;
    let mut note = |found: Option<Refused>| match found {
        Some(found) => {
            let index = found.0;
            refused = Some(found);
            index
        }
        None => usize::MAX,
    };
    let mut end = bindings.len();
    end = end.min(note(check_each(config, now, bindings, before)));
    let live = |end: usize| {
        let first = bindings.iter().take(end).enumerate();
        first.filter(|(_, binding)| !binding.expires.is_over(now))
    };
    end = end.min(note(check_count(config, live(end))));
    end = end.min(note(check_ends(config, live(end))));
    let mut order: Vec<(Key, usize)> = live(end)
        .map(|(index, binding)| (Key::of(&binding.key()), index))
        .collect();
    order.sort_unstable();
    note(check_ports(bindings, &order));
    if let Some(refused) = refused {
        return Err(refused);
    }
    let sorted: Vec<Binding> = order
        .iter()
        .filter_map(|(_, index)| bindings.get(*index).copied())
        .collect();
    let warns = config.policy.system_ports == SystemPorts::Warn;
    let new = bindings.iter().skip(before);
    let warned = new.filter(|b| warns && !b.expires.is_over(now) && b.shares_system_ports());
    let system_ports = warned.count();
    Ok(Whole {
        expired: bindings.len() - sorted.len(),
        system_ports,
        sorted,
    })
}

/// Goes through two tables that are ordered by key; each softwire comes once, with what the one
/// and the other has for it.
pub(crate) fn merge<'a>(
    old: impl Iterator<Item = &'a Binding>,
    new: impl Iterator<Item = &'a Binding>,
    mut each: impl FnMut(Option<&'a Binding>, Option<&'a Binding>),
) {
    let (mut old, mut new) = (old.peekable(), new.peekable());
    let key = |b: &&Binding| Key::of(&b.key());
    loop {
        let order = match (old.peek(), new.peek()) {
            (Some(old), Some(new)) => key(old).cmp(&key(new)),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => return,
        };
        match order {
            Ordering::Less => each(old.next(), None),
            Ordering::Equal => each(old.next(), new.next()),
            Ordering::Greater => each(None, new.next()),
        }
    }
}

/// The rules of one binding by itself.
fn check_each(
    config: &BindingsConfig,
    now: Instant,
    bindings: &[Binding],
    before: usize,
) -> Option<Refused> {
    let refuse_system_ports = config.policy.system_ports == SystemPorts::Refuse;
    bindings.iter().enumerate().find_map(|(index, binding)| {
        if binding.expires.is_over(now) {
            return None;
        }
        let error = match binding.check() {
            Err(error) => error,
            Ok(()) if refuse_system_ports && index >= before && binding.shares_system_ports() => {
                InsertError::SystemPorts { key: binding.key() }
            }
            Ok(()) => return None,
        };
        Some((index, error))
    })
}

/// `softwire-num-max`.
//
fn check_count<'a>(
    config: &BindingsConfig,
    mut live: impl Iterator<Item = (usize, &'a Binding)>,
) -> Option<Refused> {
    let max = config.softwires.max(1);
    let (index, _) = live.nth(max)?;
    Some((index, InsertError::TooManySoftwires { max }))
}

/// The number of AFTR addresses, and no address at both ends.
//
fn check_ends<'a>(
    config: &BindingsConfig,
    live: impl Iterator<Item = (usize, &'a Binding)> + Clone,
) -> Option<Refused> {
    let max = config.max_aftrs;
    let mut aftrs: BTreeMap<Ipv6Addr, usize> = config.aftrs.iter().map(|a| (*a, 0)).collect();
    let mut found: Option<Refused> = None;
    for (index, binding) in live.clone() {
        let aftr = binding.aftr;
        if !aftrs.contains_key(&aftr) {
            if aftrs.len() >= max {
                found = Some((index, InsertError::TooManyAftrs { max, aftr }));
                break;
            }
            aftrs.insert(aftr, index);
        }
    }
    for (index, binding) in live {
        if let Some(named) = aftrs.get(&binding.b4) {
            let index = index.max(*named);
            let addr = binding.b4;
            if found.is_none_or(|(first, _)| index < first) {
                found = Some((index, InsertError::AftrAmongB4s { addr }));
            }
        }
    }
    found
}

/// One layout per address, and every port in one set.
//
fn check_ports(bindings: &[Binding], order: &[(Key, usize)]) -> Option<Refused> {
    let same_address = |a: &(Key, usize), b: &(Key, usize)| a.0.ipv4() == b.0.ipv4();
    order
        .chunk_by(same_address)
        .filter(|on_address| !is_plain(on_address))
        .filter_map(|on_address| first_conflict(bindings, on_address))
        .min_by_key(|(index, _)| *index)
}

/// Whether all have one layout and no two are equal.
fn is_plain(on_address: &[(Key, usize)]) -> bool {
    on_address
        .windows(2)
        .all(|pair| matches!(pair, [(a, _), (b, _)] if a != b && a.layout() == b.layout()))
}

/// The first on one address, in the order given, that does not fit to those before it.
fn first_conflict(bindings: &[Binding], on_address: &[(Key, usize)]) -> Option<Refused> {
    let indexes: BTreeSet<usize> = on_address.iter().map(|(_, index)| *index).collect();
    let all: Vec<(usize, &Binding)> = indexes
        .into_iter()
        .filter_map(|index| Some((index, bindings.get(index)?)))
        .collect();
    let (_, first) = *all.first()?;
    let layout = |b: &Binding| (b.ports.offset(), b.ports.len());
    let (have_offset, have_len) = layout(first);
    let mut seen: BTreeMap<Key, &Binding> = BTreeMap::new();
    for (index, binding) in all {
        let key = binding.key();
        if let Some(Binding { b4, .. }) = seen.get(&Key::of(&key)) {
            return Some((index, InsertError::Duplicate { key, b4: *b4 }));
        }
        if layout(binding) != (have_offset, have_len) {
            let mut others = seen.values();
            let error = match others.find(|other| other.ports.overlaps(&binding.ports)) {
                Some(Binding { ports, b4, .. }) => InsertError::Overlap {
                    key,
                    other: *ports,
                    b4: *b4,
                },
                None => InsertError::PortLayout {
                    key,
                    have_offset,
                    have_len,
                },
            };
            return Some((index, error));
        }
        seen.insert(Key::of(&key), binding);
    }
    None
}
