//! Writing the model, in one pass and in one order.

use std::io::{self, Write};
use std::string::ToString;
use std::vec::Vec;

use super::read::is_yang_string;
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
    let mut out = Out {
        to,
        layout,
        depth: 0,
        first: true,
        clock,
    };
    out.open('{')?;
    out.member(ROOT)?;
    out.open('{')?;
    out.member("binding")?;
    out.open('{')?;
    if !instances.is_empty() {
        out.member("bind-instance")?;
        out.open('[')?;
        for instance in instances {
            out.element()?;
            out.instance(instance)?;
        }
        out.close(']')?;
    }
    out.close('}')?;
    out.close('}')?;
    out.close('}')?;
    out.to.write_all(b"\n")?;
    out.to.flush()
}

struct Out<W> {
    to: W,
    layout: Layout,
    depth: usize,
    /// Whether nothing stands in the innermost container yet.
    first: bool,
    clock: Clock,
}

impl<W: Write> Out<W> {
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
        // The model has this leaf wherever it has an instance; counters begin with the
        // document.
        self.member("traffic-stat")?;
        self.open('{')?;
        self.word("discontinuity-time", self.clock.utc)?;
        self.close('}')?;
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

    fn table(&mut self, mut bindings: Vec<&Binding>) -> io::Result<()> {
        if bindings.is_empty() {
            return Ok(());
        }
        bindings.sort_by_key(|binding| (binding.prefix(), binding.key()));
        self.member("binding-table")?;
        self.open('{')?;
        self.member("binding-entry")?;
        self.open('[')?;
        for entry in bindings.chunk_by(|a, b| a.prefix() == b.prefix()) {
            if let [first, additional @ ..] = entry {
                self.element()?;
                self.entry(first, additional)?;
            }
        }
        self.close(']')?;
        self.close('}')
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
