//! The containers of an instance, from the outside in; its table is in `table.rs`.

use std::net::Ipv4Addr;
use std::string::{String, ToString};
use std::vec::Vec;

use serde::de::{DeserializeSeed, MapAccess};

use super::context::{Context, List, Object, ObjectSeed, Refused};
use super::table::BindingTable;
use super::{
    DEFAULT_AFTR, DeclaredPool, HAIRPIN_MODE, HairpinMode, IcmpPolicy, Instance, POOL, ROOT,
    TableVersion,
};
use crate::formats::{ImportError, ImportErrorKind};
use crate::utc::{Clock, Utc};

/// Reads every binding instance of a document, in its order.
///
/// `clock` ties the UTC of `expires` to the time of the bindings. The bindings are checked one by
/// one but not against each other: that is done when they enter a
/// [`Bindings`](crate::Bindings), whose error names the position and so, through
/// [`ImportedBinding::place`](crate::formats::ImportedBinding::place), the place.
///
/// # Errors
///
/// The first thing that is not well-formed, with line and column, or not as the model wants it,
/// with its path.
//
pub fn import(text: &[u8], clock: Clock) -> Result<Vec<Instance>, ImportError> {
    let mut cx = Context::new(clock);
    let mut document = Document::default();
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let seed = ObjectSeed {
        cx: &mut cx,
        object: &mut document,
    };
    let read = seed.deserialize(&mut deserializer);
    match read.and_then(|()| deserializer.end()) {
        Ok(()) => Ok(document.0.0.0.0),
        Err(error) => Err(cx.into_error(&error)),
    }
}

fn conflict(text: &str) -> ImportErrorKind {
    ImportErrorKind::Conflict(text.to_string())
}

/// The document as a whole.
#[derive(Default)]
struct Document(BrInstances);

impl Object for Document {
    const NAME: &'static str = "the document";
    const MEMBERS: &'static [&'static str] = &[ROOT];
    const MANDATORY: &'static [&'static str] = Self::MEMBERS;

    fn member<'de, A: MapAccess<'de>>(
        &mut self,
        _: &'static str,
        cx: &mut Context,
        map: &mut A,
    ) -> Result<(), A::Error> {
        cx.object(map, &mut self.0)
    }
}

#[derive(Default)]
struct BrInstances(BindingMode);

impl Object for BrInstances {
    const NAME: &'static str = "br-instances";
    const MEMBERS: &'static [&'static str] = &["binding"];
    const MANDATORY: &'static [&'static str] = Self::MEMBERS;

    fn member<'de, A: MapAccess<'de>>(
        &mut self,
        _: &'static str,
        cx: &mut Context,
        map: &mut A,
    ) -> Result<(), A::Error> {
        cx.object(map, &mut self.0)
    }
}

#[derive(Default)]
struct BindingMode(Instances);

impl Object for BindingMode {
    const NAME: &'static str = "binding";
    const MEMBERS: &'static [&'static str] = &["bind-instance"];
    const MANDATORY: &'static [&'static str] = &[];

    fn member<'de, A: MapAccess<'de>>(
        &mut self,
        _: &'static str,
        cx: &mut Context,
        map: &mut A,
    ) -> Result<(), A::Error> {
        cx.list(map, &mut self.0)
    }
}

#[derive(Default)]
struct Instances(Vec<Instance>);

impl List for Instances {
    type Entry = BindInstance;

    fn push(&mut self, entry: BindInstance, cx: &mut Context) -> Result<(), Refused> {
        let new = entry.read;
        if self.0.iter().any(|have| have.name == new.name) {
            return Err(cx.refuse(conflict("another instance has the same name")));
        }
        self.0.push(new);
        Ok(())
    }
}

/// A `bind-instance` being read.
struct BindInstance {
    read: Instance,
    hairpinning: bool,
    mode: Option<HairpinMode>,
    table: BindingTable,
}

impl Default for BindInstance {
    fn default() -> Self {
        Self {
            read: Instance::new(String::new(), 0, 0, 0),
            hairpinning: true,
            mode: None,
            table: BindingTable::default(),
        }
    }
}

/// Rules for values that several containers have.
pub(super) const U16: &str = "a number from 0 to 65535";
const U32: &str = "a number from 0 to 4294967295";
pub(super) const BITS: &str = "a number from 0 to 16";
pub(super) const IPV4: &str = "an IPv4 address";
pub(super) const IPV6: &str = "an IPv6 address";

impl Object for BindInstance {
    const NAME: &'static str = "bind-instance";
    const MEMBERS: &'static [&'static str] = &[
        "name",
        "binding-table-versioning",
        "softwire-num-max",
        "softwire-payload-mtu",
        "softwire-path-mru",
        "enable-hairpinning",
        HAIRPIN_MODE,
        DEFAULT_AFTR,
        POOL,
        "icmp-policy",
        "binding-table",
        "traffic-stat",
    ];
    const MANDATORY: &'static [&'static str] = &[
        "name",
        "softwire-num-max",
        "softwire-payload-mtu",
        "softwire-path-mru",
    ];

    fn member<'de, A: MapAccess<'de>>(
        &mut self,
        member: &'static str,
        cx: &mut Context,
        map: &mut A,
    ) -> Result<(), A::Error> {
        let read = &mut self.read;
        match member {
            "name" => {
                let rule = "a string of characters that YANG allows";
                read.name = cx.text(map, rule, |text| {
                    is_yang_string(text).then(|| text.to_string())
                })?;
                cx.name_entry(&read.name);
            }
            "binding-table-versioning" => {
                let mut versioning = Versioning::default();
                cx.object(map, &mut versioning)?;
                read.version = versioning.into_version();
            }
            "softwire-num-max" => {
                let rule = "a number from 1 to 4294967295";
                read.softwire_num_max = cx.number(map, 1..=0xffff_ffff, rule)?;
            }
            "softwire-payload-mtu" => read.payload_mtu = cx.number(map, 0..=0xffff, U16)?,
            "softwire-path-mru" => read.path_mru = cx.number(map, 0..=0xffff, U16)?,
            "enable-hairpinning" => self.hairpinning = cx.boolean(map)?,
            HAIRPIN_MODE => {
                let rule = "local, to-ipv4-side or drop";
                self.mode = Some(cx.text(map, rule, HairpinMode::from_name)?);
            }
            DEFAULT_AFTR => {
                read.default_aftr = Some(cx.text(map, IPV6, |text| text.parse().ok())?);
            }
            POOL => cx.list(map, &mut Pools(&mut read.pools))?,
            "icmp-policy" => cx.object(map, &mut read.icmp_policy)?,
            "traffic-stat" => cx.object(map, &mut TrafficStat)?,
            _ => cx.object(map, &mut self.table)?,
        }
        Ok(())
    }

    fn finish(&mut self, cx: &mut Context) -> Result<(), Refused> {
        let mode = self.mode.unwrap_or(if self.hairpinning {
            HairpinMode::Local
        } else {
            HairpinMode::Drop
        });
        if self.hairpinning != (mode == HairpinMode::Local) {
            let said = "enable-hairpinning must be true with local and false with the others";
            return Err(cx.refuse_at(HAIRPIN_MODE, conflict(said)));
        }
        self.read.hairpin = mode;
        self.read.bindings = core::mem::take(&mut self.table.entries.bindings);
        let (aftr, needy) = (self.read.default_aftr, &self.table.entries.without_aftr);
        for at in needy {
            let Some(imported) = self.read.bindings.get_mut(*at) else {
                continue;
            };
            let Some(aftr) = aftr else {
                let place = imported.place(&self.read.name);
                let shown = place.map(|p| p.to_string()).unwrap_or_default();
                let said = std::format!("not given, and {shown} has no br-ipv6-addr of its own");
                return Err(cx.refuse_at(DEFAULT_AFTR, ImportErrorKind::Conflict(said)));
            };
            imported.binding.aftr = aftr;
        }
        Ok(())
    }
}

/// Whether a YANG string may hold `text`: no control characters but tab and line ends, no
/// noncharacters (RFC 7950 §9.4).
pub(super) fn is_yang_string(text: &str) -> bool {
    text.chars().all(|c| match c {
        '\t' | '\n' | '\r' => true,
        '\0'..='\x1f' | '\u{fdd0}'..='\u{fdef}' => false,
        c => u32::from(c) & 0xfffe != 0xfffe,
    })
}

/// `binding-table-versioning`: a date alone has version 0.
#[derive(Default)]
struct Versioning {
    version: Option<u64>,
    date: Option<String>,
}

impl Versioning {
    fn into_version(self) -> Option<TableVersion> {
        if self.version.is_none() && self.date.is_none() {
            return None;
        }
        Some(TableVersion {
            version: self.version.unwrap_or_default(),
            date: self.date,
        })
    }
}

impl Object for Versioning {
    const NAME: &'static str = "binding-table-versioning";
    const MEMBERS: &'static [&'static str] = &["version", "date"];
    const MANDATORY: &'static [&'static str] = &[];

    fn member<'de, A: MapAccess<'de>>(
        &mut self,
        member: &'static str,
        cx: &mut Context,
        map: &mut A,
    ) -> Result<(), A::Error> {
        if member == "version" {
            let rule = "a string of decimal digits up to 2^64-1";
            self.version = Some(cx.text(map, rule, decimal)?);
        } else {
            let rule = "a date and time like \"2026-11-20T19:05:32Z\"";
            self.date = Some(cx.text(map, rule, |text| {
                text.parse::<Utc>().ok().map(|_| text.to_string())
            })?);
        }
        Ok(())
    }
}

/// All leaves of `traffic-stat`; the first two are no counters of packets, bytes or fragments.
pub(super) const TRAFFIC_STAT: [&str; 26] = [
    "discontinuity-time",
    "active-softwire-num",
    "sent-ipv4-packets",
    "sent-ipv4-bytes",
    "sent-ipv6-packets",
    "sent-ipv6-bytes",
    "rcvd-ipv4-packets",
    "rcvd-ipv4-bytes",
    "rcvd-ipv6-packets",
    "rcvd-ipv6-bytes",
    "dropped-ipv4-packets",
    "dropped-ipv4-bytes",
    "dropped-ipv6-packets",
    "dropped-ipv6-bytes",
    "dropped-ipv4-fragments",
    "dropped-ipv4-fragment-bytes",
    "ipv6-fragments-reassembled",
    "ipv6-fragments-bytes-reassembled",
    "out-icmpv4-error-packets",
    "out-icmpv4-error-bytes",
    "out-icmpv6-error-packets",
    "out-icmpv6-error-bytes",
    "dropped-icmpv4-packets",
    "dropped-icmpv4-bytes",
    "hairpin-ipv4-packets",
    "hairpin-ipv4-bytes",
];

/// `traffic-stat`: state of whoever wrote the document. It is checked and forgotten.
struct TrafficStat;

impl Object for TrafficStat {
    const NAME: &'static str = "traffic-stat";
    const MEMBERS: &'static [&'static str] = &TRAFFIC_STAT;
    const MANDATORY: &'static [&'static str] = &["discontinuity-time"];

    fn member<'de, A: MapAccess<'de>>(
        &mut self,
        member: &'static str,
        cx: &mut Context,
        map: &mut A,
    ) -> Result<(), A::Error> {
        match member {
            "discontinuity-time" => {
                let rule = "a date and time like \"2026-11-20T19:05:32Z\"";
                cx.text(map, rule, |text| text.parse::<Utc>().ok())
                    .map(drop)
            }
            "active-softwire-num" => cx.number::<u32, A>(map, 0..=0xffff_ffff, U32).map(drop),
            _ => {
                let rule = "a string of decimal digits up to 2^64-1";
                cx.text(map, rule, decimal).map(drop)
            }
        }
    }
}

fn decimal(text: &str) -> Option<u64> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
}

impl Object for IcmpPolicy {
    const NAME: &'static str = "icmp-policy";
    const MEMBERS: &'static [&'static str] = &["icmpv4-errors", "icmpv6-errors"];
    const MANDATORY: &'static [&'static str] = &[];

    fn member<'de, A: MapAccess<'de>>(
        &mut self,
        member: &'static str,
        cx: &mut Context,
        map: &mut A,
    ) -> Result<(), A::Error> {
        if member == "icmpv4-errors" {
            cx.object(map, &mut Icmpv4Errors(self))
        } else {
            cx.object(map, &mut Icmpv6Errors(self))
        }
    }
}

struct Icmpv4Errors<'a>(&'a mut IcmpPolicy);

impl Object for Icmpv4Errors<'_> {
    const NAME: &'static str = "icmpv4-errors";
    const MEMBERS: &'static [&'static str] = &[
        "allow-incoming-icmpv4",
        "icmpv4-rate",
        "generate-icmpv4-errors",
    ];
    const MANDATORY: &'static [&'static str] = &[];

    fn member<'de, A: MapAccess<'de>>(
        &mut self,
        member: &'static str,
        cx: &mut Context,
        map: &mut A,
    ) -> Result<(), A::Error> {
        match member {
            "allow-incoming-icmpv4" => self.0.allow_incoming_icmpv4 = cx.boolean(map)?,
            "icmpv4-rate" => self.0.icmpv4_rate = Some(cx.number(map, 0..=0xffff_ffff, U32)?),
            _ => self.0.generate_icmpv4_errors = cx.boolean(map)?,
        }
        Ok(())
    }
}

struct Icmpv6Errors<'a>(&'a mut IcmpPolicy);

impl Object for Icmpv6Errors<'_> {
    const NAME: &'static str = "icmpv6-errors";
    const MEMBERS: &'static [&'static str] = &["generate-icmpv6-errors", "icmpv6-rate"];
    const MANDATORY: &'static [&'static str] = &[];

    fn member<'de, A: MapAccess<'de>>(
        &mut self,
        member: &'static str,
        cx: &mut Context,
        map: &mut A,
    ) -> Result<(), A::Error> {
        if member == "icmpv6-rate" {
            self.0.icmpv6_rate = Some(cx.number(map, 0..=0xffff_ffff, U32)?);
        } else {
            self.0.generate_icmpv6_errors = cx.boolean(map)?;
        }
        Ok(())
    }
}

struct Pools<'a>(&'a mut Vec<DeclaredPool>);

impl List for Pools<'_> {
    type Entry = Pool;

    fn push(&mut self, entry: Pool, cx: &mut Context) -> Result<(), Refused> {
        let Pool {
            first,
            last,
            offset,
            len,
        } = entry;
        if last < first {
            return Err(cx.refuse(conflict("last-address lies before first-address")));
        }
        if offset + len > 16 {
            return Err(cx.refuse(conflict("psid-offset and psid-len make more than 16 bits")));
        }
        if self
            .0
            .iter()
            .any(|have| have.first <= last && first <= have.last)
        {
            return Err(cx.refuse(conflict("another pool has some of these addresses")));
        }
        self.0.push(DeclaredPool {
            first,
            last,
            offset,
            len,
        });
        Ok(())
    }
}

/// A pool being read.
struct Pool {
    first: Ipv4Addr,
    last: Ipv4Addr,
    offset: u8,
    len: u8,
}

impl Default for Pool {
    fn default() -> Self {
        Self {
            first: Ipv4Addr::UNSPECIFIED,
            last: Ipv4Addr::UNSPECIFIED,
            offset: 0,
            len: 0,
        }
    }
}

impl Object for Pool {
    const NAME: &'static str = "pool";
    const MEMBERS: &'static [&'static str] =
        &["first-address", "last-address", "psid-offset", "psid-len"];
    const MANDATORY: &'static [&'static str] = &["first-address", "last-address", "psid-len"];

    fn member<'de, A: MapAccess<'de>>(
        &mut self,
        member: &'static str,
        cx: &mut Context,
        map: &mut A,
    ) -> Result<(), A::Error> {
        match member {
            "first-address" => self.first = cx.text(map, IPV4, |text| text.parse().ok())?,
            "last-address" => self.last = cx.text(map, IPV4, |text| text.parse().ok())?,
            "psid-offset" => self.offset = cx.number(map, 0..=16, BITS)?,
            _ => self.len = cx.number(map, 0..=16, BITS)?,
        }
        Ok(())
    }
}
