//! RFC 7951 JSON of `ietf-softwire-br` (RFC 8676) with the module `lw4o6-softwire-br`.
//!
//! ```text
//! {"ietf-softwire-br:br-instances": {"binding": {"bind-instance": [
//!   {"name": …, "softwire-num-max": …, "softwire-payload-mtu": …, "softwire-path-mru": …,
//!    "binding-table": {"binding-entry": [
//!      {"binding-ipv6info": "2001:db8::1", "binding-ipv4-addr": "192.0.2.1",
//!       "port-set": {"psid-offset": 0, "psid-len": 8, "psid": 52},
//!       "br-ipv6-addr": "2001:db8:1::2"}]}}]}}}
//! ```
//!
//! All of the configuration tree of a binding instance is read and written (R-262). What the IETF
//! model has no leaf for stands in members of our own module (`docs/yang/`):
//!
//! | member of | member | what |
//! |---|---|---|
//! | `bind-instance` | `lw4o6-softwire-br:hairpin-mode` | `local`, `to-ipv4-side`, `drop` |
//! | | `lw4o6-softwire-br:default-br-ipv6-addr` | AFTR address of softwires that name none |
//! | | `lw4o6-softwire-br:pool` | address ranges with their port layout |
//! | `binding-entry` | `lw4o6-softwire-br:origin`, `lw4o6-softwire-br:expires` | who made it, when it ends |
//! | | `lw4o6-softwire-br:additional-softwire` | further softwires of the same B4 (R-062) |
//!
//! The IETF list has one entry per B4 address or prefix. Where a B4 has several softwires, the one
//! with the lowest address and port set stands in the leaves of the IETF model and the others in
//! the list of ours; reading joins them again.
//!
//! Names of the same module as their parent stand alone, others with their module
//! (RFC 7951 §4). 64-bit numbers are strings (§6.1). Unknown members, members twice, wrong types
//! and values are errors with the path of the member, list entries counted from 1.
//! State data (`traffic-stat`) is checked and forgotten; writing gives its one mandatory leaf,
//! `discontinuity-time`, so that a document is complete instance data (`yanglint -t data`).

mod context;
mod read;
mod table;
mod write;

use std::format;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::string::String;
use std::vec::Vec;

pub use read::import;
pub(super) use table::address_or_prefix;
pub use write::{Layout, Part, TrafficStat, export, export_part};

use crate::formats::error::shown;
use crate::formats::{ImportedBinding, Place};

/// A binding instance: everything its configuration says.
// R-262
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// Name; unique in a document.
    pub name: String,
    /// Version of the binding table, where one is given.
    pub version: Option<TableVersion>,
    /// Most softwires the instance may hold, from 1.
    pub softwire_num_max: u32,
    /// Largest IPv4 packet that goes into a tunnel, in bytes.
    pub payload_mtu: u16,
    /// Largest packet that is put together from fragments of a tunnel, in bytes.
    pub path_mru: u16,
    /// What becomes of a packet from one B4 to another. Default [`HairpinMode::Local`].
    pub hairpin: HairpinMode,
    /// ICMP policy.
    pub icmp_policy: IcmpPolicy,
    /// AFTR address of softwires that name none. Reading fills it in, so that every binding has
    /// its own; writing names it and all the same writes every address.
    pub default_aftr: Option<Ipv6Addr>,
    /// Declared address ranges, in the order of the text.
    pub pools: Vec<DeclaredPool>,
    /// The binding table.
    pub bindings: Vec<ImportedBinding>,
}

impl Instance {
    /// An instance with the given name and limits, the defaults of the model, and no binding.
    #[must_use]
    pub const fn new(name: String, softwire_num_max: u32, payload_mtu: u16, path_mru: u16) -> Self {
        Self {
            name,
            version: None,
            softwire_num_max,
            payload_mtu,
            path_mru,
            hairpin: HairpinMode::Local,
            icmp_policy: IcmpPolicy::DEFAULT,
            default_aftr: None,
            pools: Vec::new(),
            bindings: Vec::new(),
        }
    }
}

/// `binding-table-versioning`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableVersion {
    /// Number of the version.
    pub version: u64,
    /// When it was activated (`date-and-time`), as written.
    pub date: Option<String>,
}

/// What becomes of a packet from one B4 to another, or to an unbound port of the own pool
/// (dataplane D-13).
///
/// The model has a boolean, `enable-hairpinning`: true is [`Local`](Self::Local); what false means
/// is left open, and `hairpin-mode` says it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum HairpinMode {
    /// It turns around inside. The default.
    #[default]
    Local,
    /// It leaves on the IPv4 side, where some other router may send it back.
    ToIpv4Side,
    /// It is dropped. This is what `enable-hairpinning` false means without `hairpin-mode`.
    Drop,
}

impl HairpinMode {
    /// Every mode.
    pub const ALL: [Self; 3] = [Self::Local, Self::ToIpv4Side, Self::Drop];

    /// Name in files.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::ToIpv4Side => "to-ipv4-side",
            Self::Drop => "drop",
        }
    }

    /// The mode called `name`, or `None`.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.as_str() == name)
    }
}

/// `icmp-policy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IcmpPolicy {
    /// Whether `ICMPv4` that comes in is processed. Default true.
    pub allow_incoming_icmpv4: bool,
    /// Incoming `ICMPv4` errors processed per second; `None` leaves it to the program.
    pub icmpv4_rate: Option<u32>,
    /// Whether `ICMPv4` errors are sent about IPv4 packets without binding. Default true.
    pub generate_icmpv4_errors: bool,
    /// Whether `ICMPv6` errors are sent about packets without binding. Default true.
    pub generate_icmpv6_errors: bool,
    /// `ICMPv6` errors sent per second; `None` leaves it to the program.
    pub icmpv6_rate: Option<u32>,
}

impl IcmpPolicy {
    /// The defaults of the model.
    pub const DEFAULT: Self = Self {
        allow_incoming_icmpv4: true,
        icmpv4_rate: None,
        generate_icmpv4_errors: true,
        generate_icmpv6_errors: true,
        icmpv6_rate: None,
    };
}

impl Default for IcmpPolicy {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// A run of public addresses that all have the same port layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeclaredPool {
    /// First address.
    pub first: Ipv4Addr,
    /// Last address; not before `first`.
    pub last: Ipv4Addr,
    /// PSID offset `a` in bits.
    pub offset: u8,
    /// PSID length `k` in bits; `a + k` is at most 16.
    pub len: u8,
}

/// Member name of the whole tree.
const ROOT: &str = "ietf-softwire-br:br-instances";
/// Members of our own module.
const HAIRPIN_MODE: &str = "lw4o6-softwire-br:hairpin-mode";
const DEFAULT_AFTR: &str = "lw4o6-softwire-br:default-br-ipv6-addr";
const POOL: &str = "lw4o6-softwire-br:pool";
const ORIGIN: &str = "lw4o6-softwire-br:origin";
const EXPIRES: &str = "lw4o6-softwire-br:expires";
const ADDITIONAL: &str = "lw4o6-softwire-br:additional-softwire";

/// The path of an entry, see [`ImportedBinding::place`].
pub(super) fn entry_place(instance: &str, entry: u32, additional: u32) -> Place {
    let name = shown(instance);
    let mut path = format!(
        "/{ROOT}/binding/bind-instance[name='{name}']/binding-table/binding-entry[{entry}]"
    );
    if additional > 0 {
        path.push_str(&format!("/{ADDITIONAL}[{additional}]"));
    }
    Place::Path(path)
}

#[cfg(test)]
mod tests;
