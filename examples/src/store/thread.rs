//! The thread that waits for the disk: everything that came while it waited is one transaction.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use lw4o6_binding::{Change, Clock, Seq};

use super::{Store, StoreError};

/// What became of changes.
#[derive(Debug)]
pub enum StoreResult {
    /// Everything up to this number is on the disk: for
    /// [`handle_persisted`](lw4o6_binding::Bindings::handle_persisted).
    Persisted(Seq),
    /// This one and all later ones are not: for
    /// [`handle_persist_failed`](lw4o6_binding::Bindings::handle_persist_failed), after which
    /// [`StoreThread::resume`] has to be called.
    Failed(Seq, StoreError),
}

/// A store in a thread of its own.
///
/// Changes are written in the order in which they are given. No call waits for the disk but
/// [`stop`](Self::stop).
#[derive(Debug)]
pub struct StoreThread {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// Most changes that wait for the disk: twice what the barrier lets wait, as the quarantine comes
/// beside it.
const CAPACITY: usize = 16_384;

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// There is something to do.
    work: Condvar,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Work>,
    /// A failure that has not been told, with the first number that it concerns.
    refused: Option<(Seq, StoreError)>,
    /// Nothing is taken until the failure is known to the owner of the bindings: what it has
    /// decided before is void.
    failing: bool,
    stopping: bool,
}

#[derive(Debug)]
enum Work {
    Write(Seq, Change),
    Note(Change),
    Clock(Clock),
}

/// What the thread has to do next.
struct Taken {
    queue: VecDeque<Work>,
    /// To be told once the queue is written.
    refused: Option<(Seq, StoreError)>,
}

impl StoreThread {
    /// Starts the thread. It calls `notify` after each transaction.
    ///
    /// # Errors
    ///
    /// Where the system refuses another thread.
    pub fn start(
        store: Store,
        notify: impl Fn(StoreResult) + Send + 'static,
    ) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            state: Mutex::new(State::default()),
            work: Condvar::new(),
        });
        let own = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || run(store, &own, &notify))?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// Takes what [`Event::Persist`](lw4o6_binding::Event::Persist) says. The answer comes through
    /// `notify`, also where too much waits already. While a failure has not been acknowledged by
    /// [`resume`](Self::resume) nothing is taken: that failure covers it.
    pub fn write(&self, seq: Seq, change: Change) {
        let mut state = self.shared.lock();
        if state.failing {
            return;
        }
        let waiting = state.queue.len();
        if waiting < CAPACITY {
            state.queue.push_back(Work::Write(seq, change));
        } else {
            state.refused = Some((seq, StoreError::Overflow { waiting }));
            state.failing = true;
        }
        drop(state);
        self.shared.work.notify_one();
    }

    /// Takes a [`Change::Quarantined`] or [`Change::QuarantineEnded`] of the stream of changes.
    /// It is written with the next transaction, without an answer; others are ignored.
    //
    pub fn note(&self, change: &Change) {
        if !matches!(change, Change::Quarantined(_) | Change::QuarantineEnded(_)) {
            return;
        }
        let mut state = self.shared.lock();
        if state.queue.len() < CAPACITY {
            state.queue.push_back(Work::Note(change.clone()));
        }
        drop(state);
        self.shared.work.notify_one();
    }

    /// Takes another relation of monotonic time to UTC, see [`Store::set_clock`].
    pub fn set_clock(&self, clock: Clock) {
        self.shared.lock().queue.push_back(Work::Clock(clock));
        self.shared.work.notify_one();
    }

    /// Says that the bindings know of the failure reported last: changes are taken again.
    pub fn resume(&self) {
        self.shared.lock().failing = false;
    }

    /// How many changes wait for the disk.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.shared.lock().queue.len()
    }

    /// Writes what waits, tells about it, and closes the file.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.shared.lock().stopping = true;
        self.shared.work.notify_one();
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been printed by it.
            let _ = thread.join();
        }
    }
}

impl Drop for StoreThread {
    fn drop(&mut self) {
        self.end();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it holds the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for work; `None` when there will be none.
    fn take(&self) -> Option<Taken> {
        let mut state = self.lock();
        loop {
            let refused = state.refused.take();
            if !state.queue.is_empty() || refused.is_some() {
                let queue = std::mem::take(&mut state.queue);
                return Some(Taken { queue, refused });
            }
            if state.stopping {
                return None;
            }
            state = self
                .work
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// From now on nothing is taken; what waits is void.
    fn fail(&self) {
        let mut state = self.lock();
        state.failing = true;
        state.refused = None;
        state.queue.retain(|work| !matches!(work, Work::Write(..)));
    }
}

fn run(mut store: Store, shared: &Shared, notify: &impl Fn(StoreResult)) {
    while let Some(Taken { queue, refused }) = shared.take() {
        match write_queue(&mut store, queue, notify) {
            Ok(()) => {
                if let Some((seq, error)) = refused {
                    notify(StoreResult::Failed(seq, error));
                }
            }
            Err((first, error)) => {
                // In this order, so that nothing decided before the owner knows is taken.
                shared.fail();
                notify(StoreResult::Failed(first, error));
            }
        }
    }
    store.close();
}

/// Writes everything in the queue, as one transaction between two settings of the clock, and
/// tells what is written. What cannot be written is returned with its first number.
fn write_queue(
    store: &mut Store,
    queue: VecDeque<Work>,
    notify: &impl Fn(StoreResult),
) -> Result<(), (Seq, StoreError)> {
    let mut batch = Batch::default();
    for work in queue {
        match work {
            Work::Write(seq, change) => batch.add(Some(seq), change),
            Work::Note(change) => batch.add(None, change),
            Work::Clock(clock) => {
                std::mem::take(&mut batch).write(store, notify)?;
                if let Err(error) = store.set_clock(&clock) {
                    tracing::warn!("the step of the clock could not be stored: {error}");
                }
            }
        }
    }
    batch.write(store, notify)
}

/// Changes that become one transaction.
#[derive(Debug, Default)]
struct Batch {
    changes: Vec<Change>,
    /// First and last number among them.
    numbers: Option<(Seq, Seq)>,
}

impl Batch {
    fn add(&mut self, seq: Option<Seq>, change: Change) {
        if let Some(seq) = seq {
            let (first, _) = self.numbers.unwrap_or((seq, seq));
            self.numbers = Some((first, seq));
        }
        self.changes.push(change);
    }

    fn write(
        self,
        store: &mut Store,
        notify: &impl Fn(StoreResult),
    ) -> Result<(), (Seq, StoreError)> {
        if self.changes.is_empty() {
            return Ok(());
        }
        let written = store.write(&self.changes);
        match (written, self.numbers) {
            (Ok(()), Some((_, last))) => notify(StoreResult::Persisted(last)),
            (Err(error), Some((first, _))) => return Err((first, error)),
            (Ok(()), None) => {}
            (Err(error), None) => tracing::warn!("quarantine not stored: {error}"),
        }
        Ok(())
    }
}
