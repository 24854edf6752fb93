//! An instance: what its workers share.

use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lw4o6_binding::table::{TableShared, TooManyReaders};
use lw4o6_wire::Instant;
use rand_chacha::ChaCha12Rng;
use rand_core::{RngCore, SeedableRng};

use crate::config::AftrConfig;
use crate::counters::{CounterSnapshot, Counters};
use crate::flow_label::FlowKey;
use crate::fragment_id::FragmentIds;
use crate::limits::Budgets;
use crate::pmtu::PathMtus;
use crate::settings::{ConfigError, Settings};
use crate::share::Pools;
use crate::traffic::{SoftwireKey, SoftwireTraffic, Traffic};
use crate::worker::Worker;

/// Path MTUs remembered.
const PATH_MTUS: usize = 4096;

/// A lwAFTR: one configuration, one table, any number of workers.
///
/// The handle is for the control side. Packets go through a [`Worker`], one for each core; all
/// fragments of a datagram have to reach the same one.
#[derive(Debug)]
pub struct Aftr {
    shared: Arc<Shared>,
}

/// What workers share. Nothing in it blocks them.
#[derive(Debug)]
pub(crate) struct Shared {
    settings: Mutex<Arc<Settings>>,
    /// Counts configurations; a worker takes the lock only where it has changed.
    generation: AtomicU64,
    table: TableShared,
    secrets: Mutex<ChaCha12Rng>,
    counters: Mutex<Vec<Arc<Counters>>>,
    traffic: Mutex<Vec<Arc<Traffic>>>,
    /// Microseconds of the first packet's time; the largest number before it.
    started: AtomicU64,
    pub(crate) budgets: Budgets,
    pub(crate) pools: Pools,
    pub(crate) path_mtus: PathMtus,
    pub(crate) fragment_ids: FragmentIds,
    pub(crate) flow_key: FlowKey,
}

/// Nothing is left half done where a panicking thread could hold one of these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Aftr {
    /// An instance with `config` over `table`.
    ///
    /// `seed` is secret and independent for each instance; AFTRs that share an address must not
    /// share it. The same seed and the same packets give the same output.
    ///
    /// # Errors
    ///
    /// The first field of `config` that cannot be.
    pub fn new(
        config: AftrConfig,
        table: TableShared,
        seed: [u8; 32],
    ) -> Result<Self, ConfigError> {
        let settings = Settings::new(config)?;
        let mut secrets = ChaCha12Rng::from_seed(seed);
        let flow_key = FlowKey {
            words: [secrets.next_u64() | 1, secrets.next_u64() | 1],
        };
        let mut fragment_secret = [0; 32];
        secrets.fill_bytes(&mut fragment_secret);
        let shared = Shared {
            settings: Mutex::new(Arc::new(settings)),
            generation: AtomicU64::new(0),
            table,
            budgets: Budgets::new(secret(&mut secrets)),
            pools: Pools::default(),
            path_mtus: PathMtus::new(PATH_MTUS, secret(&mut secrets)),
            fragment_ids: FragmentIds::new(&fragment_secret),
            flow_key,
            secrets: Mutex::new(secrets),
            counters: Mutex::new(Vec::new()),
            traffic: Mutex::new(Vec::new()),
            started: AtomicU64::new(u64::MAX),
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// A worker, for one core.
    ///
    /// # Errors
    ///
    /// Where the table has no reader left.
    pub fn worker(&self) -> Result<Worker, TooManyReaders> {
        let reader = self.shared.table.reader()?;
        let counters = Arc::new(Counters::new());
        lock(&self.shared.counters).push(Arc::clone(&counters));
        let (reassembly, tracker) = {
            let mut secrets = lock(&self.shared.secrets);
            (secret(&mut secrets), secret(&mut secrets))
        };
        let shared = Arc::clone(&self.shared);
        let mut worker = Worker::new(shared, reader, counters, [reassembly, tracker]);
        worker.traffic = self.new_traffic();
        Ok(worker)
    }

    /// Counters for the softwires of one worker: those of one that is gone, or new ones.
    fn new_traffic(&self) -> Option<Arc<Traffic>> {
        let entries = self.config().softwire_counters;
        if entries == 0 {
            return None;
        }
        let mut all = lock(&self.shared.traffic);
        // Nobody else has it, so its worker is gone, and what that counted stands.
        let free =
            |traffic: &mut Arc<Traffic>| traffic.is_for(entries) && Arc::get_mut(traffic).is_some();
        if let Some(at) = all.iter_mut().position(free) {
            return all.get(at).map(Arc::clone);
        }
        let traffic = Arc::new(Traffic::new(entries));
        all.push(Arc::clone(&traffic));
        Some(traffic)
    }

    /// What a softwire sent and received, by all workers together, also those that are gone. Zero
    /// where [`AftrConfig::softwire_counters`] was zero when they were made.
    #[must_use]
    pub fn softwire_traffic(&self, key: &SoftwireKey) -> SoftwireTraffic {
        let mut sum = SoftwireTraffic::default();
        for traffic in lock(&self.shared.traffic).iter() {
            if let Some(traffic) = traffic.read(*key) {
                sum.add(&traffic);
            }
        }
        sum
    }

    /// The same for every softwire that was counted, in the order of their keys.
    pub fn softwire_traffics(
        &self,
    ) -> impl Iterator<Item = (SoftwireKey, SoftwireTraffic)> + use<> {
        let mut sums = BTreeMap::<SoftwireKey, SoftwireTraffic>::new();
        for traffic in lock(&self.shared.traffic).iter() {
            for (key, traffic) in traffic.iter() {
                sums.entry(key).or_default().add(&traffic);
            }
        }
        sums.into_iter()
    }

    /// Forgets what was counted for a softwire, so that another may have its place. It is counted
    /// anew, from zero, if packets of it come again.
    pub fn forget_softwire(&self, key: &SoftwireKey) {
        for traffic in lock(&self.shared.traffic).iter() {
            traffic.forget(*key);
        }
    }

    /// Puts another configuration in force; workers take it up with their next batch.
    ///
    /// # Errors
    ///
    /// The first field that cannot be; the one in force stays.
    pub fn reconfigure(&self, config: AftrConfig) -> Result<(), ConfigError> {
        let settings = Settings::new(config)?;
        *lock(&self.shared.settings) = Arc::new(settings);
        self.shared.generation.fetch_add(1, Ordering::Release);
        Ok(())
    }

    /// The configuration in force.
    #[must_use]
    pub fn config(&self) -> AftrConfig {
        lock(&self.shared.settings).config.clone()
    }

    /// The counters of all workers together, also of those that are gone.
    #[must_use]
    pub fn counters(&self) -> CounterSnapshot {
        let mut sum = CounterSnapshot::default();
        for counters in lock(&self.shared.counters).iter() {
            sum.add(counters);
        }
        sum
    }
}

impl Shared {
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    pub(crate) fn settings(&self) -> Arc<Settings> {
        Arc::clone(&lock(&self.settings))
    }

    /// Notes the time of a packet; the earliest is the start.
    pub(crate) fn note_start(&self, now: Instant) {
        self.started.fetch_min(now.as_micros(), Ordering::Relaxed);
    }

    /// Whether the start is less than `grace` ago. R-249
    pub(crate) fn in_boot_grace(&self, now: Instant, grace: Duration) -> bool {
        let started = Instant::from_micros(self.started.load(Ordering::Relaxed));
        now < started + grace
    }
}

fn secret(secrets: &mut ChaCha12Rng) -> [u8; 16] {
    let mut secret = [0; 16];
    secrets.fill_bytes(&mut secret);
    secret
}
