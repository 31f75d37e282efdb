//! Work of the host that goes on while a device computes.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Items that are made, and what the next ones wait for.
struct State<P> {
    made: Vec<Option<P>>,
    /// The first that nobody makes yet.
    next: usize,
    /// How many were taken.
    taken: usize,
    /// Whether a thread that makes them died: its item never comes.
    is_broken: bool,
}

struct Shared<P> {
    state: Mutex<State<P>>,
    changed: Condvar,
}

impl<P> Shared<P> {
    fn lock(&self) -> MutexGuard<'_, State<P>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until something is so, or until nothing can be any more.
    fn wait(&self, until: impl Fn(&State<P>) -> bool) -> MutexGuard<'_, State<P>> {
        let mut state = self.lock();
        while !until(&state) && !state.is_broken {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state
    }
}

/// Tells everybody when a thread ends in a panic.
struct Alarm<'a, P>(&'a Shared<P>);

impl<P> Drop for Alarm<'_, P> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.lock().is_broken = true;
            self.0.changed.notify_all();
        }
    }
}

/// `work` for every item in order, on this thread, with what `make` made of it on one of `threads` others; these are at most `2 * threads`
/// items ahead, so that memory does not grow with the items. Results are in the items' order.
///
/// # Panics
/// When `make` or `work` does.
pub fn ahead<T: Sync, P: Send, R>(
    items: &[T],
    threads: usize,
    make: impl Fn(&T) -> P + Sync,
    mut work: impl FnMut(&T, P) -> R,
) -> Vec<R> {
    let (count, window) = (items.len(), 2 * threads.max(1));
    let made = (0..count).map(|_| None).collect();
    let shared =
        Shared { state: Mutex::new(State { made, next: 0, taken: 0, is_broken: false }), changed: Condvar::new() };
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1).min(count) {
            scope.spawn(|| {
                let alarm = Alarm(&shared);
                loop {
                    let mut state = shared.wait(|state| state.next >= count || state.next < state.taken + window);
                    let index = state.next;
                    if index >= count || state.is_broken {
                        break;
                    }
                    state.next += 1;
                    drop(state);
                    let item = make(&items[index]);
                    shared.lock().made[index] = Some(item);
                    shared.changed.notify_all();
                }
                drop(alarm);
            });
        }
        let alarm = Alarm(&shared);
        let mut results = Vec::with_capacity(count);
        for (index, item) in items.iter().enumerate() {
            let mut state = shared.wait(|state| state.made[index].is_some());
            // Without it, a thread died, and its panic goes on where all are waited for.
            let Some(made) = state.made[index].take() else { break };
            state.taken = index + 1;
            drop(state);
            shared.changed.notify_all();
            results.push(work(item, made));
        }
        drop(alarm);
        results
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn results_are_in_order_and_little_is_made_ahead() {
        let items: Vec<usize> = (0..30).collect();
        let (made, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        for threads in [0, 1, 3] {
            made.store(0, Ordering::SeqCst);
            let make = |item: &usize| {
                made.fetch_add(1, Ordering::SeqCst);
                item * item
            };
            let mut done = 0;
            let results = ahead(&items, threads, make, |item, square| {
                done += 1;
                most.fetch_max(made.load(Ordering::SeqCst) - done, Ordering::SeqCst);
                (*item, square)
            });
            assert_eq!(results, items.iter().map(|item| (*item, item * item)).collect::<Vec<_>>());
            assert!(most.load(Ordering::SeqCst) <= 2 * threads.max(1), "{most:?} ahead on {threads} threads");
        }
        assert_eq!(ahead(&[] as &[usize], 2, |item| *item, |_, item| item), [0; 0]);
    }

    #[test]
    fn a_panic_ends_it() {
        let items: Vec<usize> = (0..9).collect();
        let died = std::panic::catch_unwind(|| ahead(&items, 2, |item| assert_ne!(*item, 4), |_, ()| ()));
        assert!(died.is_err());
        let died = std::panic::catch_unwind(|| ahead(&items, 2, |item| *item, |_, item| assert_ne!(item, 4)));
        assert!(died.is_err());
    }
}
