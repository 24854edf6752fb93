//! The store against its rules, one statement a test.

#[cfg(feature = "table")]
use std::boxed::Box;
use std::string::{String, ToString};
use std::vec::Vec;

use super::*;
use crate::change::FailReason;
use crate::entry::Origin;

mod barrier;
mod bulk;
mod dynamic;
mod lifetime;
#[cfg(feature = "table")]
mod model;
mod rules;

pub(crate) fn at(seconds: u64) -> Instant {
    Instant::from_secs(seconds)
}

pub(crate) fn ports(a: u8, k: u8, psid: u16) -> PortParams {
    PortParams::new(a, k, psid).unwrap()
}

/// A static binding on 192.0.2.`host` with a=0 k=6, of B4 2001:db8:0:`psid`00::1.
pub(crate) fn binding(host: u8, psid: u16) -> Binding {
    Binding::new(
        b4(psid),
        [192, 0, 2, host].into(),
        ports(0, 6, psid),
        "2001:db8:a::1".parse().unwrap(),
    )
}

/// The B4 of subscriber `n`; each has a /56 of its own.
pub(crate) fn b4(n: u16) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0, n << 8, 0, 0, 0, 1)
}

pub(crate) fn dhcp(host: u8, psid: u16, end: u64) -> Binding {
    binding(host, psid)
        .with_origin(Origin::Dhcp)
        .with_expiry(Expiry::At(at(end)))
}

pub(crate) fn config() -> BindingsConfig {
    BindingsConfig {
        softwires: 100,
        ..BindingsConfig::default()
    }
}

pub(crate) fn store() -> Bindings {
    Bindings::without_table(config())
}

/// A store that has these bindings already and no events waiting.
pub(crate) fn store_with(bindings: &[Binding]) -> Bindings {
    let mut store = store();
    store.load(at(0), bindings.iter().copied()).unwrap();
    events(&mut store);
    store
}

pub(crate) fn events(store: &mut Bindings) -> Vec<Event> {
    core::iter::from_fn(|| store.poll_event()).collect()
}

/// The changes of the table among the events that wait.
pub(crate) fn changes(store: &mut Bindings) -> Vec<Change> {
    let changed = |event| {
        let Event::Changed { change, .. } = event else {
            return None;
        };
        Some(change)
    };
    events(store).into_iter().filter_map(changed).collect()
}

pub(crate) fn all(store: &Bindings) -> Vec<Binding> {
    store.iter().copied().collect()
}

/// A store with a real table and a reader of it.
#[cfg(feature = "table")]
pub(crate) fn with_table(config: BindingsConfig) -> (Bindings, crate::table::TableReader) {
    use crate::table::{AtomicU64, TableConfig, TableWriter, arena_words};
    let table = TableConfig {
        softwires: config.softwires,
        aftrs: config.max_aftrs,
        readers: 2,
        hash_seed: [7; 16],
    };
    let words = (0..arena_words(&table)).map(|_| AtomicU64::new(0));
    let arena: &'static [AtomicU64] = Box::leak(words.collect::<Vec<_>>().into_boxed_slice());
    let (writer, shared) = TableWriter::new(table, arena, &config.pools).unwrap();
    (Bindings::new(config, writer), shared.reader().unwrap())
}

pub(crate) fn message(error: impl ToString) -> String {
    error.to_string()
}
