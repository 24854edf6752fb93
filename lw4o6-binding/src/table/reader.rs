//! Looking bindings up: one at a time, and in batches whose memory accesses overlap.

use core::fmt;

use super::arena::{Arena, Group};
use super::bits::{high32, join, low16, low32};
use super::directory::{Directory, EXCEPTIONS, LISTED, NEAR, Range};
use super::epoch::{DIRECTORY_WORD, EPOCH_WORD, FREE, IDLE, TableShared, wake};
use super::generation::{B4_COUNT, Listed};
use super::hash::{self, Secrets};
use super::line::{self, Image, Key};
use super::sync::{AtomicU64, Ordering, fence};
use super::{Address, Lookup, LookupKey, Softwire, psid_of};

/// Keys whose memory accesses overlap.
const CHUNK: usize = 32;

/// Number of a line that never holds a binding.
const NO_LINE: u32 = 0;

/// The reading side of a table, one per worker.
///
/// Call [`refresh`](Self::refresh) at the start of every batch and [`idle`](Self::idle) when
/// there is nothing to do: replaced memory stays in use until each reader has done one of the
/// two. Answers are copies and stay valid.
///
/// ```
/// use lw4o6_binding::table::*;
/// let config = TableConfig { softwires: 64, aftrs: 1, readers: 1, hash_seed: [7; 16] };
/// let words = (0..arena_words(&config)).map(|_| AtomicU64::new(0)).collect();
/// let arena = Box::leak(Vec::into_boxed_slice(words));
/// let (mut writer, shared) = TableWriter::new(config, arena, &[])?;
/// let aftr = writer.aftr(&[0x20; 16])?;
/// let slot = Slot { ipv4: 0xc000_0201, psid: 3, offset: 0, len: 6, b4: [1; 16], aftr, flags: 0 };
/// writer.insert(&slot)?;
///
/// let mut reader = shared.reader()?;
/// reader.refresh();
/// assert_eq!(reader.address(slot.ipv4), Address::Shared { offset: 0, len: 6 });
/// let Lookup::Found(softwire) = reader.lookup(slot.ipv4, Some(3 * 1024)) else { panic!() };
/// assert_eq!(softwire.b4, slot.b4);
/// assert_eq!(reader.lookup(slot.ipv4, Some(80)), Lookup::NoBinding);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct TableReader {
    arena: Arena,
    in_flight: &'static Group,
    announced: &'static AtomicU64,
    secrets: Secrets,
    /// The epoch announced last; [`IDLE`] while no directory is held.
    epoch: u64,
    /// The directory word the fields below were copied from.
    version: u64,
    directory: Directory,
    /// The ranges, when there are at most [`NEAR`].
    near: [Range; NEAR],
    near_count: usize,
}

impl fmt::Debug for TableReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TableReader")
            .field("epoch", &self.epoch)
            .field("generation", &high32(self.version))
            .finish_non_exhaustive()
    }
}

impl Drop for TableReader {
    /// Gives the reader's place back.
    fn drop(&mut self) {
        self.announced.store(FREE, Ordering::Release);
    }
}

/// What is known about a key before its line is read.
#[derive(Clone, Copy)]
struct Target {
    /// Packed [`Key`].
    key: u64,
    line: u32,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Dense,
    /// Dense, and the address index knows whether the address is ours.
    DenseListed,
    Hashed,
    NoBinding,
    NoPort,
    Foreign,
    /// The address index has to be asked first.
    Ask,
}

/// Parameters of a managed address.
#[derive(Clone, Copy)]
struct Site {
    range: Range,
    kind: Kind,
}

impl TableReader {
    /// A reader on an announcement word that was just claimed.
    pub(super) fn new(shared: &TableShared, announced: &'static AtomicU64) -> Option<Self> {
        Some(Self {
            arena: shared.arena,
            in_flight: shared.arena.group(1)?,
            announced,
            secrets: shared.secrets,
            epoch: IDLE,
            version: 0,
            directory: Directory::default(),
            near: [Range::NONE; NEAR],
            near_count: 0,
        })
    }

    /// Picks up the newest directory and tells the writer that older ones are left. Once per
    /// batch; two loads when nothing was replaced.
    pub fn refresh(&mut self) {
        let epoch = self.arena.load(0, EPOCH_WORD, Ordering::Acquire);
        if self.epoch == IDLE {
            wake(self.announced, epoch);
        }
        let version = self.arena.load(0, DIRECTORY_WORD, Ordering::Acquire);
        if version != self.version || self.epoch == IDLE {
            self.adopt(version);
        }
        if self.epoch != IDLE && self.epoch != epoch {
            self.announced.store(epoch, Ordering::Release);
        }
        self.epoch = epoch;
    }

    /// Copies a directory.
    fn adopt(&mut self, version: u64) {
        self.version = version;
        self.directory = Directory::read(self.arena, low32(version));
        let count = self.directory.ranges_count as usize;
        self.near_count = if count <= NEAR { count } else { 0 };
        self.near = [Range::NONE; NEAR];
        for (index, range) in (0..).zip(self.near.iter_mut().take(self.near_count)) {
            *range = self.directory.range_at(self.arena, index);
        }
    }

    /// Lets go of the table. Until the next [`refresh`](Self::refresh) every lookup is
    /// [`Lookup::Busy`], every address [`Address::Foreign`] and every B4 unknown.
    pub fn idle(&mut self) {
        self.announced.store(IDLE, Ordering::Release);
        self.epoch = IDLE;
        self.version = 0;
        self.directory = Directory::default();
        self.near = [Range::NONE; NEAR];
        self.near_count = 0;
    }

    /// What an IPv4 address is to this AFTR.
    #[must_use]
    pub fn address(&self, ipv4: u32) -> Address {
        let Some(site) = self.site(ipv4) else {
            return Address::Foreign;
        };
        if site.kind == Kind::DenseListed && self.listed(ipv4).is_none() {
            return Address::Foreign;
        }
        let Range { offset, len, .. } = site.range;
        if offset == 0 && len == 0 {
            Address::Full
        } else {
            Address::Shared { offset, len }
        }
    }

    /// The binding of an address and port (R-058). The port is not looked at on a full address.
    #[must_use]
    pub fn lookup(&self, ipv4: u32, port: Option<u16>) -> Lookup {
        if self.epoch == IDLE {
            return Lookup::Busy;
        }
        let target = self.target(LookupKey { ipv4, port });
        match target.kind {
            Kind::Dense | Kind::DenseListed => {
                let Some(words) = self.arena.line(target.line) else {
                    return Lookup::Busy;
                };
                match line::read(words, target.line, self.in_flight) {
                    Some(image) if image.is_present() && image.key == target.key => found(&image),
                    Some(_) => self.missing(&target),
                    None => Lookup::Busy,
                }
            }
            Kind::Hashed => self.lookup_hashed(target.key),
            Kind::NoBinding | Kind::NoPort | Kind::Foreign | Kind::Ask => self.missing(&target),
        }
    }

    /// [`lookup`](Self::lookup) for many keys. The loads of up to 32 keys are issued before the
    /// first answer is needed, so their cache misses overlap. Extra keys or extra room in `out`
    /// are left alone.
    pub fn lookup_batch(&self, keys: &[LookupKey], out: &mut [Lookup]) {
        for (keys, out) in keys.chunks(CHUNK).zip(out.chunks_mut(CHUNK)) {
            if self.epoch == IDLE {
                out.fill(Lookup::Busy);
            } else {
                self.lookup_chunk(keys, out);
            }
        }
    }

    fn lookup_chunk(&self, keys: &[LookupKey], out: &mut [Lookup]) {
        let mut targets = [Target {
            key: 0,
            line: NO_LINE,
            kind: Kind::Foreign,
        }; CHUNK];
        let (mut asked, mut hashed) = (false, false);
        for (target, key) in targets.iter_mut().zip(keys) {
            let range = self.range(key.ipv4);
            if asks_index(range) {
                target.kind = Kind::Ask;
                asked = true;
            } else {
                *target = self.aim(*key, site_of(range, None));
            }
            hashed |= target.kind == Kind::Hashed;
        }
        if asked {
            self.aim_listed(&mut targets, keys);
        }
        if asked || hashed {
            for target in targets
                .iter_mut()
                .filter(|target| target.kind == Kind::Hashed)
            {
                target.line = self.candidate(target.key);
            }
        }
        let mut seen = [[0_u64; 4]; CHUNK];
        for (words, target) in seen.iter_mut().zip(&targets).take(keys.len()) {
            if let Some([w0, w1, w2, w3]) = self.arena.line(target.line) {
                *words = [
                    w0.load(Ordering::Acquire),
                    w1.load(Ordering::Relaxed),
                    w2.load(Ordering::Relaxed),
                    w3.load(Ordering::Relaxed),
                ];
            }
        }
        fence(Ordering::Acquire);
        let mut again = false;
        for (((target, words), key), out) in targets.iter().zip(&seen).zip(keys).zip(&mut *out) {
            *out = self.verdict(target, words, *key);
            again |= *out == Lookup::Busy;
        }
        if again {
            for (key, out) in keys
                .iter()
                .zip(out)
                .filter(|(_, out)| **out == Lookup::Busy)
            {
                *out = self.lookup(key.ipv4, key.port);
            }
        }
    }

    /// Aims the keys whose address has to be asked for: all words first, then what they mean.
    fn aim_listed(&self, targets: &mut [Target; CHUNK], keys: &[LookupKey]) {
        let mut words = [0; CHUNK];
        for ((word, target), key) in words.iter_mut().zip(&*targets).zip(keys) {
            if target.kind == Kind::Ask {
                *word = self.listed_word(key.ipv4);
            }
        }
        for ((word, target), key) in words.into_iter().zip(targets).zip(keys) {
            if target.kind == Kind::Ask {
                let site = site_of(self.range(key.ipv4), Listed::from_word(word));
                *target = self.aim(*key, site);
            }
        }
    }

    /// Judges the words that were loaded for a key, by looking at word 0 a second time.
    fn verdict(&self, target: &Target, words: &[u64; 4], key: LookupKey) -> Lookup {
        if !matches!(target.kind, Kind::Dense | Kind::DenseListed | Kind::Hashed) {
            return self.missing(target);
        }
        let [first, b4_high, b4_low, found_key] = *words;
        let second = self
            .arena
            .line(target.line)
            .map(|line| line[0].load(Ordering::Relaxed));
        let whole = second == Some(first) && line::is_stable(first) && target.line != NO_LINE;
        if !whole {
            return self.lookup(key.ipv4, key.port);
        }
        let image = Image {
            meta: low32(first),
            b4: [b4_high, b4_low],
            key: found_key,
        };
        match target.kind {
            _ if image.is_present() && found_key == target.key => found(&image),
            Kind::Hashed => self.lookup_hashed(target.key),
            Kind::Dense
            | Kind::DenseListed
            | Kind::NoBinding
            | Kind::NoPort
            | Kind::Foreign
            | Kind::Ask => self.missing(target),
        }
    }

    /// The answer for a key whose line holds nothing.
    fn missing(&self, target: &Target) -> Lookup {
        match target.kind {
            Kind::NoPort => Lookup::NoPort,
            Kind::Foreign | Kind::Ask => Lookup::Foreign,
            Kind::DenseListed if self.listed(Key::unpack(target.key).ipv4).is_none() => {
                Lookup::Foreign
            }
            Kind::Dense | Kind::DenseListed | Kind::Hashed | Kind::NoBinding => Lookup::NoBinding,
        }
    }

    /// The first line whose fingerprint matches.
    fn candidate(&self, key: u64) -> u32 {
        let Key { ipv4, psid, .. } = Key::unpack(key);
        let (hash, print) = self.secrets.key(ipv4, psid);
        low32(
            self.directory
                .hashed
                .select(self.arena, hash, |word| high32(word) == print),
        )
    }

    fn lookup_hashed(&self, key: u64) -> Lookup {
        let Key { ipv4, psid, .. } = Key::unpack(key);
        let (hash, print) = self.secrets.key(ipv4, psid);
        let mut answer = Lookup::NoBinding;
        self.directory.hashed.find(self.arena, hash, |word| {
            if high32(word) != print {
                return false;
            }
            let number = low32(word);
            let read = self
                .arena
                .line(number)
                .map(|words| line::read(words, number, self.in_flight));
            match read {
                Some(Some(image)) if image.is_present() && image.key == key => {
                    answer = found(&image);
                    true
                }
                Some(None) => {
                    answer = Lookup::Busy;
                    false
                }
                Some(Some(_)) | None => false,
            }
        });
        answer
    }

    /// Where the binding of a key would stand.
    fn target(&self, key: LookupKey) -> Target {
        self.aim(key, self.site(key.ipv4))
    }

    /// [`target`](Self::target) when the parameters of the address are known.
    fn aim(&self, key: LookupKey, site: Option<Site>) -> Target {
        let LookupKey { ipv4, port } = key;
        let miss = |kind| Target {
            key: join(ipv4, 0),
            line: NO_LINE,
            kind,
        };
        let Some(site) = site else {
            return miss(Kind::Foreign);
        };
        let Site { range, kind } = site;
        let Range { offset, len, .. } = range;
        let psid = match port {
            _ if offset == 0 && len == 0 => 0,
            None if kind == Kind::DenseListed && self.listed(ipv4).is_none() => {
                return miss(Kind::Foreign);
            }
            None => return miss(Kind::NoPort),
            Some(port) => match psid_of(offset, len, port) {
                Some(psid) => psid,
                None if kind == Kind::DenseListed && self.listed(ipv4).is_none() => {
                    return miss(Kind::Foreign);
                }
                None => return miss(Kind::NoBinding),
            },
        };
        let line = if kind == Kind::Hashed {
            NO_LINE
        } else {
            range.line(ipv4, psid)
        };
        Target {
            key: Key {
                ipv4,
                psid,
                offset,
                len,
            }
            .pack(),
            line,
            kind,
        }
    }

    /// The parameters that hold for an address.
    fn site(&self, ipv4: u32) -> Option<Site> {
        let range = self.range(ipv4);
        let listed = if asks_index(range) {
            self.listed(ipv4)
        } else {
            None
        };
        site_of(range, listed)
    }

    /// The range an address lies in.
    fn range(&self, ipv4: u32) -> Option<Range> {
        if self.near_count != self.directory.ranges_count as usize {
            return self.directory.range_of(self.arena, ipv4);
        }
        let mut hit = None;
        for range in self.near.iter().take(self.near_count) {
            hit = if range.contains(ipv4) {
                Some(*range)
            } else {
                hit
            };
        }
        hit
    }

    /// The entry of an address in the address index.
    fn listed(&self, ipv4: u32) -> Option<Listed> {
        Listed::from_word(self.listed_word(ipv4))
    }

    /// Its word, 0 if the address is not listed.
    fn listed_word(&self, ipv4: u32) -> u64 {
        let (hash, _) = self.secrets.key(ipv4, 0);
        self.directory
            .addresses
            .select(self.arena, hash, |word| high32(word) == ipv4 && word != 0)
    }

    /// The AFTR address with this number, network order.
    #[must_use]
    pub fn aftr_addr(&self, index: u16) -> Option<[u8; 16]> {
        self.directory.aftrs.get(self.arena, index).map(hash::bytes)
    }

    /// The number of an AFTR address, `None` if it is not one of ours.
    #[must_use]
    pub fn aftr_index(&self, address: &[u8; 16]) -> Option<u16> {
        self.directory
            .aftrs
            .find(self.arena, &self.secrets, hash::halves(address))
    }

    /// Whether any softwire belongs to this B4 address. For drop paths: hashes 16 bytes.
    #[must_use]
    pub fn b4_known(&self, address: &[u8; 16]) -> bool {
        let (hash, print) = self.secrets.address(hash::halves(address));
        let same = |word| (word ^ print) & !B4_COUNT == 0;
        self.directory.b4s.find(self.arena, hash, same).is_some()
    }
}

/// Whether the address index has a say about an address in this range.
fn asks_index(range: Option<Range>) -> bool {
    range.is_none_or(|range| range.flags & EXCEPTIONS != 0)
}

/// The parameters of an address: its own if it has any, else those of its range.
fn site_of(range: Option<Range>, listed: Option<Listed>) -> Option<Site> {
    let range = match (range, listed) {
        (Some(range), None) => range,
        (Some(range), Some(own)) if range.has(own.offset, own.len) => range,
        (_, None) => return None,
        (_, Some(Listed { offset, len, .. })) => Range {
            offset,
            len,
            ..Range::NONE
        },
    };
    let kind = match range {
        Range { base: 0, .. } => Kind::Hashed,
        Range { flags, .. } if flags & LISTED != 0 => Kind::DenseListed,
        Range { .. } => Kind::Dense,
    };
    Some(Site { range, kind })
}

/// The answer that a line gives.
fn found(image: &Image) -> Lookup {
    let Key {
        ipv4,
        psid,
        offset,
        len,
    } = Key::unpack(image.key);
    Lookup::Found(Softwire {
        b4: hash::bytes(image.b4),
        aftr: low16(u64::from(image.meta >> 16)),
        flags: low16(u64::from(image.meta & 0xfffe)),
        ipv4,
        psid,
        len,
        offset,
    })
}
