//! Ordered prefetching: workers prepare single items while the consumer computes, and batches come in order.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use robustify_rng::Key;

use crate::error::{DataError, Result};

/// Prepares one item, given its index in the data set and its position in the order.
pub type Job<T> = Arc<dyn Fn(usize, usize) -> Result<T> + Send + Sync>;

/// Batches that workers prepare beyond the one the consumer is waiting for.
const BATCHES_AHEAD: usize = 3;

/// An iterator of batches of prepared items, in the order given; the last batch may be smaller.
///
/// An item is a function of its index and position alone, so neither the number of workers nor the batch size can change it.
/// A job that fails or panics becomes the error of its batch, in its place; the batches after it still come. Dropping the
/// loader stops the workers after the item they are at.
///
/// ```
/// use std::sync::Arc;
/// use robustify_data::Loader;
///
/// let job = Arc::new(|item: usize, position: usize| Ok(10 * item + position));
/// let loader = Loader::new(vec![7, 5, 6], 2, 2, job)?;
/// let batches = loader.collect::<Result<Vec<_>, _>>()?;
/// assert_eq!(batches, [vec![70, 51], vec![62]]);
/// # Ok::<(), robustify_data::DataError>(())
/// ```
pub struct Loader<T> {
    shared: Arc<Shared<T>>,
    threads: Vec<JoinHandle<()>>,
    batch_size: usize,
    waited: Duration,
    started: Instant,
}

struct Shared<T> {
    order: Vec<usize>,
    job: Job<T>,
    /// Most items between the next one to be consumed and the next one to be claimed.
    window: usize,
    state: Mutex<State<T>>,
    /// An item is ready.
    ready: Condvar,
    /// There is room in the window, or it is time to stop.
    room: Condvar,
}

struct State<T> {
    /// Position of the next item that a worker will claim.
    claimed: usize,
    /// Position of the first slot.
    consumed: usize,
    /// Items from `consumed` on; empty while a worker is at them.
    slots: VecDeque<Option<Result<T>>>,
    stop: bool,
}

impl<T: Send + 'static> Loader<T> {
    /// Starts `workers` threads on `order`, the indices to prepare. With no workers, items are prepared as they are asked for.
    ///
    /// # Errors
    /// [`DataError::Argument`] for a batch size of zero, [`DataError::Spawn`] when a thread cannot be started.
    pub fn new(order: Vec<usize>, batch_size: usize, workers: usize, job: Job<T>) -> Result<Self> {
        if batch_size == 0 {
            let expected = "at least 1".to_owned();
            return Err(DataError::Argument { name: "batch size", expected, found: "0".to_owned() });
        }
        let workers = workers.min(order.len());
        let window = batch_size.saturating_mul(1 + BATCHES_AHEAD).max(workers);
        let state = State { claimed: 0, consumed: 0, slots: VecDeque::new(), stop: false };
        let (ready, room) = (Condvar::new(), Condvar::new());
        let shared = Arc::new(Shared { order, job, window, state: Mutex::new(state), ready, room });
        let (waited, started) = (Duration::ZERO, Instant::now());
        // Made before the threads, so that dropping it stops those already running when one cannot be started.
        let mut loader = Self { shared, threads: Vec::with_capacity(workers), batch_size, waited, started };
        for number in 0..workers {
            let shared = Arc::clone(&loader.shared);
            let builder = std::thread::Builder::new().name(format!("loader {number}"));
            let thread = builder.spawn(move || shared.work());
            loader.threads.push(thread.map_err(|source| DataError::Spawn { number, source })?);
        }
        Ok(loader)
    }
}

impl<T> Loader<T> {
    /// Time that the consumer has been blocked in `next`, waiting for items.
    pub fn waited(&self) -> Duration {
        self.waited
    }

    /// Time since the loader was made.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Share of the time so far that the consumer has waited for data, in `[0, 1]`.
    pub fn wait_share(&self) -> f64 {
        let elapsed = self.elapsed().as_secs_f64();
        if elapsed > 0.0 { (self.waited.as_secs_f64() / elapsed).min(1.0) } else { 0.0 }
    }

    /// Batches still to come.
    pub fn batches_left(&self) -> usize {
        let consumed = self.shared.lock().consumed;
        (self.shared.order.len() - consumed).div_ceil(self.batch_size)
    }
}

impl<T> Iterator for Loader<T> {
    type Item = Result<Vec<T>>;

    fn next(&mut self) -> Option<Self::Item> {
        let asked = Instant::now();
        let first = self.shared.lock().consumed;
        let last = first.saturating_add(self.batch_size).min(self.shared.order.len());
        if first == last {
            return None;
        }
        let inline = self.threads.is_empty();
        let items: Vec<Result<T>> = (first..last)
            .map(|position| if inline { self.shared.inline(position) } else { self.shared.take() })
            .collect();
        self.waited += asked.elapsed();
        Some(items.into_iter().collect())
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.batches_left();
        (left, Some(left))
    }
}

impl<T> ExactSizeIterator for Loader<T> {}

impl<T> Drop for Loader<T> {
    fn drop(&mut self) {
        self.shared.lock().stop = true;
        self.shared.room.notify_all();
        for thread in self.threads.drain(..) {
            // A worker catches the panics of its jobs; there is nobody to tell of another one here.
            let _ = thread.join();
        }
    }
}

impl<T> Shared<T> {
    /// No job runs under the lock, so a poisoned state is still a whole one.
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        while let Some(position) = self.claim() {
            let item = self.prepare(position);
            let mut state = self.lock();
            let slot = position - state.consumed;
            state.slots[slot] = Some(item);
            drop(state);
            self.ready.notify_one();
        }
    }

    /// The next position to prepare, once there is room; none at the end, or when the loader is dropped.
    fn claim(&self) -> Option<usize> {
        let mut state = self.lock();
        loop {
            if state.stop || state.claimed == self.order.len() {
                return None;
            }
            if state.slots.len() < self.window {
                state.claimed += 1;
                state.slots.push_back(None);
                return Some(state.claimed - 1);
            }
            state = self.room.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Blocks until the next item in order is ready.
    fn take(&self) -> Result<T> {
        let mut state = self.lock();
        loop {
            if let Some(item) = state.slots.front_mut().and_then(Option::take) {
                state.slots.pop_front();
                state.consumed += 1;
                drop(state);
                self.room.notify_one();
                return item;
            }
            state = self.ready.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn inline(&self, position: usize) -> Result<T> {
        let item = self.prepare(position);
        self.lock().consumed += 1;
        item
    }

    fn prepare(&self, position: usize) -> Result<T> {
        let item = self.order[position];
        catch_unwind(AssertUnwindSafe(|| (self.job)(item, position))).unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
            let message =
                text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no text".to_owned());
            Err(DataError::Panicked { item, position, message })
        })
    }
}

/// The indices `0..len` in the order of an epoch, from the seed and the epoch alone.
pub fn epoch_order(len: usize, seed: u64, epoch: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..len).collect();
    Key::new(seed, "epoch order").with(epoch).stream().shuffle(&mut order);
    order
}
