use rayon::{ThreadPool, ThreadPoolBuilder};

/// Threads that compute shards of a batch side by side.
///
/// A CPU backend leaves much of a second core idle inside one forward: many of its kernels run on one thread. So a batch is
/// cut into shards of a fixed number of rows, and every shard is computed by one thread alone, whatever their number. The
/// cut does not depend on the number of threads and results come back in the order of the shards, so neither does any sum.
pub struct Workers(Vec<ThreadPool>);

impl Workers {
    /// As many as `threads`, at least one.
    ///
    /// # Errors
    /// The operating system refuses a thread.
    pub fn new(threads: usize) -> Result<Self, std::io::Error> {
        let pool = || ThreadPoolBuilder::new().num_threads(1).build().map_err(std::io::Error::other);
        Ok(Self((0..threads.max(1)).map(|_| pool()).collect::<Result<_, _>>()?))
    }

    /// Number of threads.
    pub fn threads(&self) -> usize {
        self.0.len()
    }

    /// Applies `work` to every item and returns the results in the items' order.
    pub fn map<T: Send, R: Send>(&self, items: Vec<T>, work: impl Fn(T) -> R + Sync) -> Vec<R> {
        let count = items.len();
        let queue = std::sync::Mutex::new(items.into_iter().enumerate());
        let next = || queue.lock().unwrap_or_else(std::sync::PoisonError::into_inner).next();
        let (sender, receiver) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            for pool in &self.0[..self.0.len().min(count)] {
                let (sender, next, work) = (sender.clone(), &next, &work);
                scope.spawn(move || {
                    while let Some((index, item)) = next() {
                        // The receiver outlives the scope.
                        let _ = sender.send((index, pool.install(|| work(item))));
                    }
                });
            }
        });
        drop(sender);
        let mut results: Vec<(usize, R)> = receiver.into_iter().collect();
        results.sort_by_key(|(index, _)| *index);
        results.into_iter().map(|(_, result)| result).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_back_in_the_order_of_the_items_from_any_number_of_threads() {
        let squares: Vec<usize> = (0..20).map(|item| item * item).collect();
        for threads in [0, 1, 3] {
            let workers = Workers::new(threads).unwrap();
            assert_eq!(workers.threads(), threads.max(1));
            let work = |item: usize| {
                std::thread::sleep(std::time::Duration::from_millis(if item == 0 { 20 } else { 0 }));
                item * item
            };
            assert_eq!(workers.map((0..20).collect(), work), squares, "{threads} threads");
        }
    }
}
