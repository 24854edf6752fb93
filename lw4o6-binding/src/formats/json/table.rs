//! The containers of a binding table.

use std::format;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::string::ToString;
use std::vec::Vec;

use lw4o6_wire::{Ipv6Prefix, PortParams};
use serde::de::MapAccess;

use super::context::{Context, List, Object, Refused};
use super::read::{BITS, IPV4, IPV6, U16};
use super::{ADDITIONAL, EXPIRES, ORIGIN};
use crate::formats::{ImportErrorKind, ImportedBinding, Source};
use crate::{Binding, Expiry, Origin};

/// `binding-table`.
#[derive(Default)]
pub(super) struct BindingTable {
    pub(super) entries: Entries,
}

impl Object for BindingTable {
    const NAME: &'static str = "binding-table";
    const MEMBERS: &'static [&'static str] = &["binding-entry"];
    const MANDATORY: &'static [&'static str] = &[];

    fn member<'de, A: MapAccess<'de>>(
        &mut self,
        _: &'static str,
        cx: &mut Context,
        map: &mut A,
    ) -> Result<(), A::Error> {
        cx.list(map, &mut self.entries)
    }

    /// A list key stands once; the second softwire of a B4 belongs into the list of our module.
    fn finish(&mut self, cx: &mut Context) -> Result<(), Refused> {
        let mut keys: Vec<_> = (1_u32..).zip(self.entries.keys.iter().copied()).collect();
        let Some((first, second)) = twice(&mut keys) else {
            return Ok(());
        };
        let said = format!(
            "binding-entry[{first}] has the same binding-ipv6info; further softwires of a B4 \
             stand in {ADDITIONAL} of its entry"
        );
        Err(cx.refuse_entry("binding-entry", second, ImportErrorKind::Conflict(said)))
    }
}

/// The bindings of a table, and what has to be looked at when all of the instance was read.
#[derive(Default)]
pub(super) struct Entries {
    pub(super) bindings: Vec<ImportedBinding>,
    /// List keys, in the order of the entries.
    keys: Vec<Ipv6Prefix>,
    /// Positions of bindings that name no AFTR address.
    pub(super) without_aftr: Vec<usize>,
}

impl Entries {
    fn add(&mut self, prefix: Ipv6Prefix, softwire: Softwire, source: Source) {
        if softwire.aftr.is_none() {
            self.without_aftr.push(self.bindings.len());
        }
        let aftr = softwire.aftr.unwrap_or(Ipv6Addr::UNSPECIFIED);
        let binding = Binding::from_prefix(prefix, softwire.ipv4, softwire.ports, aftr)
            .with_origin(softwire.origin)
            .with_expiry(softwire.expires);
        self.bindings.push(ImportedBinding { binding, source });
    }
}

impl List for Entries {
    type Entry = BindingEntry;

    fn push(&mut self, entry: BindingEntry, cx: &mut Context) -> Result<(), Refused> {
        let BindingEntry {
            prefix,
            softwire,
            additional,
        } = entry;
        let entry = cx.position();
        self.keys.push(prefix);
        let source = |additional| Source::Entry { entry, additional };
        self.add(prefix, softwire, source(0));
        for (n, softwire) in (1..).zip(additional.0) {
            self.add(prefix, softwire, source(n));
        }
        Ok(())
    }
}

/// A softwire being read.
struct Softwire {
    ipv4: Ipv4Addr,
    ports: PortParams,
    aftr: Option<Ipv6Addr>,
    origin: Origin,
    expires: Expiry,
}

impl Default for Softwire {
    fn default() -> Self {
        Self {
            ipv4: Ipv4Addr::UNSPECIFIED,
            ports: PortParams::FULL,
            aftr: None,
            origin: Origin::Static,
            expires: Expiry::Never,
        }
    }
}

impl Softwire {
    fn read_ipv4<'de, A: MapAccess<'de>>(
        &mut self,
        cx: &mut Context,
        map: &mut A,
    ) -> Result<(), A::Error> {
        self.ipv4 = cx.text(map, IPV4, |text| text.parse().ok())?;
        Ok(())
    }

    fn read_aftr<'de, A: MapAccess<'de>>(
        &mut self,
        cx: &mut Context,
        map: &mut A,
    ) -> Result<(), A::Error> {
        self.aftr = Some(cx.text(map, IPV6, |text| text.parse().ok())?);
        Ok(())
    }

    fn read_origin<'de, A: MapAccess<'de>>(
        &mut self,
        cx: &mut Context,
        map: &mut A,
    ) -> Result<(), A::Error> {
        let rule = "static, operator, dhcp, pcp or peer";
        self.origin = cx.text(map, rule, Origin::from_name)?;
        Ok(())
    }

    fn read_expires<'de, A: MapAccess<'de>>(
        &mut self,
        cx: &mut Context,
        map: &mut A,
    ) -> Result<(), A::Error> {
        let clock = cx.clock;
        let rule = "a UTC date and time like \"2026-11-20T19:05:32Z\"";
        let utc = cx.text(map, rule, |text| {
            text.parse().ok().filter(|_| text.ends_with('Z'))
        })?;
        self.expires = Expiry::At(clock.instant_of(utc));
        Ok(())
    }
}

/// A `binding-entry` being read.
pub(super) struct BindingEntry {
    prefix: Ipv6Prefix,
    softwire: Softwire,
    additional: AdditionalSoftwires,
}

impl Default for BindingEntry {
    fn default() -> Self {
        Self {
            prefix: Ipv6Prefix::host(Ipv6Addr::UNSPECIFIED),
            softwire: Softwire::default(),
            additional: AdditionalSoftwires::default(),
        }
    }
}

impl Object for BindingEntry {
    const NAME: &'static str = "binding-entry";
    const MEMBERS: &'static [&'static str] = &[
        "binding-ipv6info",
        "binding-ipv4-addr",
        "port-set",
        "br-ipv6-addr",
        ORIGIN,
        EXPIRES,
        ADDITIONAL,
    ];
    const MANDATORY: &'static [&'static str] =
        &["binding-ipv6info", "binding-ipv4-addr", "port-set"];

    fn member<'de, A: MapAccess<'de>>(
        &mut self,
        member: &'static str,
        cx: &mut Context,
        map: &mut A,
    ) -> Result<(), A::Error> {
        match member {
            "binding-ipv6info" => {
                let rule = "an IPv6 address or prefix";
                self.prefix = cx.text(map, rule, address_or_prefix)?;
                Ok(())
            }
            "binding-ipv4-addr" => self.softwire.read_ipv4(cx, map),
            "port-set" => {
                let mut set = PortSet::default();
                cx.object(map, &mut set)?;
                self.softwire.ports = set.ports;
                Ok(())
            }
            "br-ipv6-addr" => self.softwire.read_aftr(cx, map),
            ORIGIN => self.softwire.read_origin(cx, map),
            EXPIRES => self.softwire.read_expires(cx, map),
            _ => cx.list(map, &mut self.additional),
        }
    }

    fn finish(&mut self, cx: &mut Context) -> Result<(), Refused> {
        let softwires = self.additional.0.iter();
        let mut keys: Vec<_> = (1_u32..)
            .zip(softwires.map(|softwire| (softwire.ipv4, softwire.ports.psid())))
            .collect();
        let Some((first, second)) = twice(&mut keys) else {
            return Ok(());
        };
        let said = format!("{ADDITIONAL}[{first}] has the same address and PSID");
        Err(cx.refuse_entry(ADDITIONAL, second, ImportErrorKind::Conflict(said)))
    }
}

/// Positions of the first two entries of a list, in the order of their keys, that share a key.
fn twice<K: Ord + Copy>(keys: &mut [(u32, K)]) -> Option<(u32, u32)> {
    keys.sort_unstable_by_key(|(n, key)| (*key, *n));
    let mut pairs = keys.iter().zip(keys.iter().skip(1));
    let pair = pairs.find(|((_, first), (_, second))| first == second);
    pair.map(|((first, _), (second, _))| (*first, *second))
}

/// A prefix that is an address becomes that address.
pub(in crate::formats) fn address_or_prefix(text: &str) -> Option<Ipv6Prefix> {
    if text.contains('/') {
        return text.parse().ok();
    }
    text.parse().ok().map(Ipv6Prefix::host)
}

/// `port-set` being read. The PSID is right-aligned.
struct PortSet {
    offset: u8,
    len: u8,
    psid: u16,
    ports: PortParams,
}

impl Default for PortSet {
    fn default() -> Self {
        Self {
            offset: 0,
            len: 0,
            psid: 0,
            ports: PortParams::FULL,
        }
    }
}

impl PortSet {
    // offset 0 unless said, the sum and the size of the PSID checked, no PSID
    // where the length is 0.
    fn check(&mut self, cx: &mut Context) -> Result<(), Refused> {
        self.ports = PortParams::new(self.offset, self.len, self.psid)
            .map_err(|error| cx.refuse(ImportErrorKind::Conflict(error.to_string())))?;
        Ok(())
    }
}

impl Object for PortSet {
    const NAME: &'static str = "port-set";
    const MEMBERS: &'static [&'static str] = &["psid-offset", "psid-len", "psid"];
    const MANDATORY: &'static [&'static str] = &["psid-len", "psid"];

    fn member<'de, A: MapAccess<'de>>(
        &mut self,
        member: &'static str,
        cx: &mut Context,
        map: &mut A,
    ) -> Result<(), A::Error> {
        match member {
            "psid-offset" => self.offset = cx.number(map, 0..=16, BITS)?,
            "psid-len" => self.len = cx.number(map, 0..=16, BITS)?,
            _ => self.psid = cx.number(map, 0..=0xffff, U16)?,
        }
        Ok(())
    }

    fn finish(&mut self, cx: &mut Context) -> Result<(), Refused> {
        self.check(cx)
    }
}

#[derive(Default)]
struct AdditionalSoftwires(Vec<Softwire>);

impl List for AdditionalSoftwires {
    type Entry = AdditionalSoftwire;

    fn push(&mut self, entry: AdditionalSoftwire, _: &mut Context) -> Result<(), Refused> {
        self.0.push(entry.softwire);
        Ok(())
    }
}

/// An `additional-softwire` being read; the port set lies flat in it, because list keys must.
#[derive(Default)]
struct AdditionalSoftwire {
    softwire: Softwire,
    set: PortSet,
}

impl Object for AdditionalSoftwire {
    const NAME: &'static str = "additional-softwire";
    const MEMBERS: &'static [&'static str] = &[
        "binding-ipv4-addr",
        "psid-offset",
        "psid-len",
        "psid",
        "br-ipv6-addr",
        "origin",
        "expires",
    ];
    const MANDATORY: &'static [&'static str] = &["binding-ipv4-addr", "psid-len", "psid"];

    fn member<'de, A: MapAccess<'de>>(
        &mut self,
        member: &'static str,
        cx: &mut Context,
        map: &mut A,
    ) -> Result<(), A::Error> {
        match member {
            "binding-ipv4-addr" => self.softwire.read_ipv4(cx, map),
            "br-ipv6-addr" => self.softwire.read_aftr(cx, map),
            "origin" => self.softwire.read_origin(cx, map),
            "expires" => self.softwire.read_expires(cx, map),
            _ => self.set.member(member, cx, map),
        }
    }

    fn finish(&mut self, cx: &mut Context) -> Result<(), Refused> {
        self.set.check(cx)?;
        self.softwire.ports = self.set.ports;
        Ok(())
    }
}
