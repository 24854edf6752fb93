//! Writing the model, in one pass and in one order.

use std::io::{self, Write};
use std::string::ToString;
use std::vec::Vec;

use super::read::{TRAFFIC_STAT, is_yang_string};
use super::{
    ADDITIONAL, DEFAULT_AFTR, DeclaredPool, EXPIRES, HAIRPIN_MODE, HairpinMode, IcmpPolicy,
    Instance, ORIGIN, POOL, ROOT,
};
use crate::utc::{Clock, Utc};
use crate::{Binding, Expiry, Origin};

/// How the JSON is laid out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Layout {
    /// Indented for people, one member a line.
    #[default]
    Pretty,
    /// No blanks.
    Compact,
}

/// Counters of a running instance, `traffic-stat`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrafficStat {
    /// When they began to count.
    pub discontinuity: Utc,
    /// `active-softwire-num`.
    pub active_softwires: u32,
    /// The other leaves by name, in any order; names that the model does not have are left out.
    pub counters: Vec<(&'static str, u64)>,
}

/// A part of the tree, for [`export_part`]: what RESTCONF (RFC 8040 §4.3) calls a data resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The whole document, `br-instances`.
    Instances,
    /// The list `bind-instance` with this instance.
    Instance,
    /// `binding-table`.
    Table,
    /// The list `binding-entry`.
    Entries,
    /// `traffic-stat`.
    TrafficStat,
}

/// Writes a document of `instances`.
///
/// Entries come in the order of `binding-ipv6info`, the softwires of one entry in the order of
/// address and port set, so that the same bindings always make the same text. Values that are the
/// default are left out where the model has one.
///
/// # Errors
///
/// What `to` fails with; [`InvalidInput`](io::ErrorKind::InvalidInput) for a name or a date that
/// YANG does not allow, which no document that was read contains.
//
pub fn export(
    to: impl Write,
    instances: &[Instance],
    clock: Clock,
    layout: Layout,
) -> io::Result<()> {
    let mut out = Out::new(to, clock, layout, None);
    out.document(instances)?;
    out.end()
}

/// Writes a part of a running instance, with its counters. A list or container that stands alone
/// is named with its module (RFC 7951 §4).
///
/// # Errors
///
/// Those of [`export`].
//
pub fn export_part(
    to: impl Write,
    part: Part,
    instance: &Instance,
    traffic: &TrafficStat,
    clock: Clock,
    layout: Layout,
) -> io::Result<()> {
    let mut out = Out::new(to, clock, layout, Some(traffic));
    if part == Part::Instances {
        out.document(core::slice::from_ref(instance))?;
        return out.end();
    }
    let bindings = instance.bindings.iter().map(|imported| &imported.binding);
    out.open('{')?;
    match part {
        Part::Instances => {}
        Part::Instance => {
            out.member("ietf-softwire-br:bind-instance")?;
            out.open('[')?;
            out.element()?;
            out.instance(instance)?;
            out.close(']')?;
        }
        Part::Table => {
            out.member("ietf-softwire-br:binding-table")?;
            out.open('{')?;
            if !instance.bindings.is_empty() {
                out.member("binding-entry")?;
                out.entries(bindings.collect())?;
            }
            out.close('}')?;
        }
        Part::Entries => {
            out.member("ietf-softwire-br:binding-entry")?;
            out.entries(bindings.collect())?;
        }
        Part::TrafficStat => out.traffic_stat("ietf-softwire-br:traffic-stat")?,
    }
    out.close('}')?;
    out.end()
}

struct Out<'t, W> {
    to: W,
    layout: Layout,
    depth: usize,
    /// Whether nothing stands in the innermost container yet.
    first: bool,
    clock: Clock,
    traffic: Option<&'t TrafficStat>,
}

impl<'t, W: Write> Out<'t, W> {
    fn new(to: W, clock: Clock, layout: Layout, traffic: Option<&'t TrafficStat>) -> Self {
        Self {
            to,
            layout,
            depth: 0,
            first: true,
            clock,
            traffic,
        }
    }

    fn end(&mut self) -> io::Result<()> {
        self.to.write_all(b"\n")?;
        self.to.flush()
    }

    fn document(&mut self, instances: &[Instance]) -> io::Result<()> {
        self.open('{')?;
        self.member(ROOT)?;
        self.open('{')?;
        self.member("binding")?;
        self.open('{')?;
        if !instances.is_empty() {
            self.member("bind-instance")?;
            self.open('[')?;
            for instance in instances {
                self.element()?;
                self.instance(instance)?;
            }
            self.close(']')?;
        }
        self.close('}')?;
        self.close('}')?;
        self.close('}')
    }

    fn open(&mut self, brace: char) -> io::Result<()> {
        self.depth += 1;
        self.first = true;
        write!(self.to, "{brace}")
    }

    fn close(&mut self, brace: char) -> io::Result<()> {
        self.depth = self.depth.saturating_sub(1);
        if !self.first {
            self.new_line()?;
        }
        self.first = false;
        write!(self.to, "{brace}")
    }

    /// What stands before an element of an array.
    fn element(&mut self) -> io::Result<()> {
        if !self.first {
            self.to.write_all(b",")?;
        }
        self.first = false;
        self.new_line()
    }

    fn new_line(&mut self) -> io::Result<()> {
        if self.layout == Layout::Pretty {
            self.to.write_all(b"\n")?;
            for _ in 0..self.depth {
                self.to.write_all(b"  ")?;
            }
        }
        Ok(())
    }

    fn member(&mut self, name: &str) -> io::Result<()> {
        self.element()?;
        let space = match self.layout {
            Layout::Pretty => " ",
            Layout::Compact => "",
        };
        write!(self.to, "\"{name}\":{space}")
    }

    /// A number or boolean.
    fn plain(&mut self, name: &str, value: impl ToString) -> io::Result<()> {
        self.member(name)?;
        self.to.write_all(value.to_string().as_bytes())
    }

    /// A string of characters that need no escape: addresses, numbers, names of the model.
    fn word(&mut self, name: &str, value: impl core::fmt::Display) -> io::Result<()> {
        self.member(name)?;
        write!(self.to, "\"{value}\"")
    }

    /// Any string.
    fn text(&mut self, name: &str, value: &str) -> io::Result<()> {
        self.member(name)?;
        serde_json::to_writer(&mut self.to, value).map_err(io::Error::from)
    }

    fn instance(&mut self, instance: &Instance) -> io::Result<()> {
        let Instance {
            name,
            version,
            softwire_num_max,
            payload_mtu,
            path_mru,
            hairpin,
            icmp_policy,
            default_aftr,
            pools,
            bindings,
        } = instance;
        let date = version.as_ref().and_then(|version| version.date.as_deref());
        if !is_yang_string(name) || date.is_some_and(|date| date.parse::<Utc>().is_err()) {
            let said = "a name or date that YANG does not allow";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, said));
        }
        self.open('{')?;
        self.text("name", name)?;
        if let Some(version) = version {
            self.member("binding-table-versioning")?;
            self.open('{')?;
            self.word("version", version.version)?;
            if let Some(date) = &version.date {
                self.text("date", date)?;
            }
            self.close('}')?;
        }
        self.plain("softwire-num-max", softwire_num_max)?;
        self.plain("softwire-payload-mtu", payload_mtu)?;
        self.plain("softwire-path-mru", path_mru)?;
        self.hairpin(*hairpin)?;
        if let Some(aftr) = default_aftr {
            self.word(DEFAULT_AFTR, aftr)?;
        }
        self.pools(pools)?;
        self.icmp_policy(icmp_policy)?;
        let bindings: Vec<_> = bindings.iter().map(|imported| &imported.binding).collect();
        self.table(bindings)?;
        self.traffic_stat("traffic-stat")?;
        self.close('}')
    }

    fn traffic_stat(&mut self, name: &str) -> io::Result<()> {
        self.member(name)?;
        self.open('{')?;
        match self.traffic {
            // The model has this leaf wherever it has an instance; the counters of one
            // that does not run begin with the document.
            None => self.word("discontinuity-time", self.clock.utc)?,
            Some(traffic) => {
                self.word("discontinuity-time", traffic.discontinuity)?;
                for name in TRAFFIC_STAT.iter().skip(2) {
                    let counter = traffic.counters.iter().find(|(leaf, _)| leaf == name);
                    if let Some((leaf, count)) = counter {
                        self.word(leaf, count)?;
                    }
                }
                self.plain("active-softwire-num", traffic.active_softwires)?;
            }
        }
        self.close('}')
    }

    fn hairpin(&mut self, mode: HairpinMode) -> io::Result<()> {
        self.plain("enable-hairpinning", mode == HairpinMode::Local)?;
        if mode != HairpinMode::Local {
            self.word(HAIRPIN_MODE, mode.as_str())?;
        }
        Ok(())
    }

    fn pools(&mut self, pools: &[DeclaredPool]) -> io::Result<()> {
        if pools.is_empty() {
            return Ok(());
        }
        self.member(POOL)?;
        self.open('[')?;
        for pool in pools {
            self.element()?;
            self.open('{')?;
            self.word("first-address", pool.first)?;
            self.word("last-address", pool.last)?;
            self.plain("psid-offset", pool.offset)?;
            self.plain("psid-len", pool.len)?;
            self.close('}')?;
        }
        self.close(']')
    }

    fn icmp_policy(&mut self, policy: &IcmpPolicy) -> io::Result<()> {
        let IcmpPolicy {
            allow_incoming_icmpv4,
            icmpv4_rate,
            generate_icmpv4_errors,
            generate_icmpv6_errors,
            icmpv6_rate,
        } = *policy;
        self.member("icmp-policy")?;
        self.open('{')?;
        self.member("icmpv4-errors")?;
        self.open('{')?;
        self.plain("allow-incoming-icmpv4", allow_incoming_icmpv4)?;
        if let Some(rate) = icmpv4_rate {
            self.plain("icmpv4-rate", rate)?;
        }
        self.plain("generate-icmpv4-errors", generate_icmpv4_errors)?;
        self.close('}')?;
        self.member("icmpv6-errors")?;
        self.open('{')?;
        self.plain("generate-icmpv6-errors", generate_icmpv6_errors)?;
        if let Some(rate) = icmpv6_rate {
            self.plain("icmpv6-rate", rate)?;
        }
        self.close('}')?;
        self.close('}')
    }

    fn table(&mut self, bindings: Vec<&Binding>) -> io::Result<()> {
        if bindings.is_empty() {
            return Ok(());
        }
        self.member("binding-table")?;
        self.open('{')?;
        self.member("binding-entry")?;
        self.entries(bindings)?;
        self.close('}')
    }

    fn entries(&mut self, mut bindings: Vec<&Binding>) -> io::Result<()> {
        bindings.sort_by_key(|binding| (binding.prefix(), binding.key()));
        self.open('[')?;
        for entry in bindings.chunk_by(|a, b| a.prefix() == b.prefix()) {
            if let [first, additional @ ..] = entry {
                self.element()?;
                self.entry(first, additional)?;
            }
        }
        self.close(']')
    }

    // one entry per B4, its other softwires in the list of our module.
    fn entry(&mut self, first: &Binding, additional: &[&Binding]) -> io::Result<()> {
        self.open('{')?;
        if first.prefix_len < 128 {
            self.word("binding-ipv6info", first.prefix())?;
        } else {
            self.word("binding-ipv6info", first.b4)?;
        }
        self.word("binding-ipv4-addr", first.ipv4)?;
        self.member("port-set")?;
        self.open('{')?;
        self.ports(first)?;
        self.close('}')?;
        self.word("br-ipv6-addr", first.aftr)?;
        self.lease(first, ORIGIN, EXPIRES)?;
        if !additional.is_empty() {
            self.member(ADDITIONAL)?;
            self.open('[')?;
            for binding in additional {
                self.element()?;
                self.open('{')?;
                self.word("binding-ipv4-addr", binding.ipv4)?;
                self.ports(binding)?;
                self.word("br-ipv6-addr", binding.aftr)?;
                self.lease(binding, "origin", "expires")?;
                self.close('}')?;
            }
            self.close(']')?;
        }
        self.close('}')
    }

    // the PSID is a right-aligned number here. R-025: it is 0 where there is none.
    fn ports(&mut self, binding: &Binding) -> io::Result<()> {
        self.plain("psid-offset", binding.ports.offset())?;
        self.plain("psid-len", binding.ports.len())?;
        self.plain("psid", binding.ports.psid())
    }

    fn lease(&mut self, binding: &Binding, origin: &str, expires: &str) -> io::Result<()> {
        if binding.origin != Origin::Static {
            self.word(origin, binding.origin)?;
        }
        if let Expiry::At(at) = binding.expires {
            let utc = self.clock.utc_of(at);
            self.word(expires, utc)?;
        }
        Ok(())
    }
}
