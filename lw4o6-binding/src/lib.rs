#![cfg_attr(all(feature = "table", feature = "formats"), doc = include_str!("../README.md"))]
#![cfg_attr(
    not(all(feature = "table", feature = "formats")),
    doc = "Bindings of a Lightweight 4over6 border router (RFC 7596 §6.1)."
)]
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(any(test, feature = "table", feature = "formats"))]
extern crate std;

pub mod bindings;
pub mod change;
pub mod config;
pub mod entry;
pub mod error;
#[cfg(feature = "formats")]
pub mod formats;
pub mod history;
mod rules;
pub mod snapshot;
#[cfg(feature = "table")]
pub mod table;
pub mod utc;

pub use bindings::{Bindings, Diff, LoadReport, ReplaceReport};
pub use change::{Change, Deadline, Event, FailReason, Quarantined, RemoveReason};
pub use config::{BindingsConfig, Policy, SystemPorts};
pub use entry::{Binding, Expiry, Origin, SoftwireKey};
pub use error::{InsertError, LoadError, RemoveError, RenewError, Seq, UpdateError};
pub use history::{History, LogLine, Span};
pub use snapshot::{Lapsed, Snapshot, SnapshotError, restore};
pub use utc::{Clock, Utc, UtcError};
