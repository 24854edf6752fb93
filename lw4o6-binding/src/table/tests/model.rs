//! The table against a map, over random operations and address plans.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec;

use super::*;

/// A small generator, so that a failing seed can be repeated.
pub(in crate::table) struct Rng(pub(in crate::table) u64);

impl Rng {
    pub(in crate::table) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    pub(in crate::table) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

/// Slow and obvious.
#[derive(Default)]
struct Model {
    bindings: BTreeMap<(u32, u16), Slot>,
    pools: Vec<Pool>,
    max: usize,
}

impl Model {
    fn parameters(&self, ipv4: u32) -> Option<(u8, u8)> {
        let own = self.bindings.range((ipv4, 0)..=(ipv4, u16::MAX)).next();
        let pool = self
            .pools
            .iter()
            .find(|pool| (pool.first..=pool.last).contains(&ipv4));
        own.map(|(_, slot)| (slot.offset, slot.len))
            .or(pool.map(|pool| (pool.offset, pool.len)))
    }

    fn insert(&mut self, slot: Slot) -> bool {
        let new = !self.bindings.contains_key(&(slot.ipv4, slot.psid));
        let others = self
            .bindings
            .range((slot.ipv4, 0)..=(slot.ipv4, u16::MAX))
            .next();
        let mixed =
            others.is_some_and(|(_, other)| (other.offset, other.len) != (slot.offset, slot.len));
        if mixed || new && self.bindings.len() >= self.max {
            return false;
        }
        self.bindings.insert((slot.ipv4, slot.psid), slot);
        true
    }

    fn lookup(&self, ipv4: u32, port: Option<u16>) -> Lookup {
        let Some((offset, len)) = self.parameters(ipv4) else {
            return Lookup::Foreign;
        };
        let psid = match (offset, len, port) {
            (0, 0, _) => 0,
            (_, _, None) => return Lookup::NoPort,
            (_, _, Some(port)) => {
                let bits = u64::from(port) << 48;
                let high = if offset == 0 {
                    1
                } else {
                    bits >> (64 - u32::from(offset))
                };
                if high == 0 {
                    return Lookup::NoBinding;
                }
                let rest = bits << offset;
                let psid = if len == 0 {
                    0
                } else {
                    rest >> (64 - u32::from(len))
                };
                u16::try_from(psid).unwrap()
            }
        };
        match self.bindings.get(&(ipv4, psid)) {
            None => Lookup::NoBinding,
            Some(slot) => Lookup::Found(Softwire {
                b4: slot.b4,
                aftr: slot.aftr,
                flags: slot.flags & !1,
                ipv4,
                psid,
                len,
                offset,
            }),
        }
    }
}

/// Addresses the run plays with: a pool to be filled, a sparse pool, and strays.
struct Plan {
    pools: Vec<Pool>,
    areas: Vec<(u32, u64)>,
}

fn plan(rng: &mut Rng) -> Plan {
    let parameters = |rng: &mut Rng| {
        let offset = [0, 0, 0, 1, 4, 6, 16][usize::try_from(rng.below(7)).unwrap()];
        let most = (16 - u64::from(offset)).min(7);
        (offset, u8::try_from(rng.below(most + 1)).unwrap())
    };
    let mut first = 0x0a00_0000;
    let mut pools = Vec::new();
    let mut areas = vec![(0xf000_0000, 40), (0xffff_fff8, 8)];
    for _ in 0..rng.below(80) {
        let (offset, len) = parameters(rng);
        let size = u32::try_from(1 + rng.below(12)).unwrap();
        pools.push(Pool {
            first,
            last: first + size - 1,
            offset,
            len,
        });
        areas.push((first, u64::from(size) + 1));
        first += size + u32::try_from(rng.below(3) * 0x8000).unwrap();
    }
    Plan { pools, areas }
}

fn random_slot(rng: &mut Rng, plan: &Plan, model: &Model) -> Slot {
    let area = plan.areas[usize::try_from(rng.below(plan.areas.len() as u64)).unwrap()];
    let ipv4 = area
        .0
        .wrapping_add(u32::try_from(rng.below(area.1)).unwrap());
    let usual = model.parameters(ipv4).filter(|_| rng.below(50) > 0);
    let (offset, len) = usual.unwrap_or_else(|| [(0, 0), (0, 6), (4, 3)][ipv4 as usize % 3]);
    let psid = u16::try_from(rng.below(1 << len)).unwrap();
    Slot {
        flags: u16::try_from(rng.below(0x1_0000)).unwrap(),
        aftr: u16::try_from(rng.below(3)).unwrap(),
        ..slot(ipv4, psid, (offset, len), u128::from(rng.below(200)))
    }
}

fn compare(rng: &mut Rng, plan: &Plan, model: &Model, reader: &TableReader) {
    let mut keys = Vec::new();
    for _ in 0..70 {
        let Slot {
            ipv4,
            psid,
            offset,
            len,
            ..
        } = random_slot(rng, plan, model);
        let base = u32::from(psid) << (16 - u32::from(offset) - u32::from(len));
        let high = if offset == 0 {
            0
        } else {
            1_u32 << (16 - u32::from(offset))
        };
        let port = match rng.below(8) {
            0 => None,
            1 => Some(u16::try_from(rng.below(0x1_0000)).unwrap()),
            _ => Some(u16::try_from(base | high).unwrap()),
        };
        keys.push(LookupKey { ipv4, port });
        assert_eq!(
            reader.lookup(ipv4, port),
            model.lookup(ipv4, port),
            "{ipv4:x} {port:?}"
        );
        let address = match model.parameters(ipv4) {
            None => Address::Foreign,
            Some((0, 0)) => Address::Full,
            Some((offset, len)) => Address::Shared { offset, len },
        };
        assert_eq!(reader.address(ipv4), address, "{ipv4:x}");
    }
    let mut out = vec![Lookup::Busy; keys.len()];
    reader.lookup_batch(&keys, &mut out);
    for (key, out) in keys.iter().zip(out) {
        assert_eq!(out, model.lookup(key.ipv4, key.port), "{key:?} in a batch");
    }
}

fn compare_b4s(model: &Model, reader: &TableReader) {
    let known = model
        .bindings
        .values()
        .map(|slot| slot.b4)
        .collect::<BTreeSet<_>>();
    for b4 in 0..200_u128 {
        let b4 = b4.to_be_bytes();
        assert_eq!(reader.b4_known(&b4), known.contains(&b4), "{b4:?}");
    }
}

fn run(seed: u64) {
    let mut rng = Rng(seed);
    let mut chosen = plan(&mut rng);
    let max = usize::try_from(20 + rng.below(3000)).unwrap();
    let mut model = Model {
        max,
        pools: chosen.pools.clone(),
        ..Model::default()
    };
    let (mut writer, mut reader) = table(max, &chosen.pools);
    writer.aftr(&[1; 16]).unwrap();
    writer.aftr(&[2; 16]).unwrap();
    for _ in 0..40 {
        // Runs of inserts, then of removals, so that blocks fill up and empty.
        let grow = rng.below(10);
        for _ in 0..rng.below(400) {
            let slot = random_slot(&mut rng, &chosen, &model);
            if rng.below(10) < grow {
                let done = writer.insert(&slot);
                assert_eq!(done.is_ok(), model.insert(slot), "{slot:?} {done:?}");
            } else {
                let nth = usize::try_from(rng.below(1 + model.bindings.len() as u64)).unwrap();
                let key = model.bindings.keys().nth(nth).copied();
                let key = key.unwrap_or((slot.ipv4, slot.psid));
                let done = writer.remove(key.0, key.1);
                assert_eq!(done, model.bindings.remove(&key).is_some(), "{key:?}");
            }
        }
        if rng.below(8) == 0 {
            if rng.below(2) == 0 {
                chosen = plan(&mut rng);
                model.pools.clone_from(&chosen.pools);
                model.bindings.retain(|key, _| key.0 % 3 == 0);
            }
            writer
                .replace_all(model.bindings.values().copied(), &model.pools)
                .unwrap();
        }
        if rng.below(3) == 0 {
            reader.idle();
        }
        reader.refresh();
        assert_eq!(writer.len(), model.bindings.len());
        compare(&mut rng, &chosen, &model, &reader);
    }
    compare_b4s(&model, &reader);
}

#[test]
fn the_table_agrees_with_a_map() {
    //
    let scale = std::env::var("LW4O6_SCALE")
        .ok()
        .and_then(|text| text.parse().ok());
    for seed in 0..20 * scale.unwrap_or(1_u64) {
        run(seed);
    }
}
