//! A device, and the threads that feed it.

use burn::tensor::Device;

use crate::{DeviceError, Workers, backend_of, open};

/// What long work computes on.
pub struct Machine {
    /// The device of the backend.
    pub device: Device,
    /// Threads for shards.
    pub workers: Workers,
    /// Threads that make pixels while the device computes; none on a CPU backend, whose workers make their own.
    pub makers: usize,
    /// Rows of a shard: small on a CPU backend of one thread a kernel, unlimited where a kernel fills the device.
    pub shard_rows: usize,
}

impl Machine {
    /// Rows of a shard on flex: enough for efficient products, few enough to fill many cores from one batch.
    const FLEX_SHARD_ROWS: usize = 32;

    /// Opens a backend by its selector, as [`open`] does, and starts `threads` threads for it: without a number one for
    /// every core. A backend whose kernels use all cores by themselves gets one thread.
    ///
    /// # Errors
    /// As [`open`], and an operating system that refuses a thread.
    pub fn open(backend: Option<&str>, threads: Option<usize>) -> Result<Self, DeviceError> {
        let device = open(backend)?;
        let flex = backend_of(&device) == "flex";
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let threads = threads.unwrap_or(cores);
        let workers = Workers::new(if flex { threads } else { 1 }).map_err(DeviceError::Threads)?;
        Ok(Self {
            device,
            workers,
            makers: if flex { 0 } else { threads },
            shard_rows: if flex { Self::FLEX_SHARD_ROWS } else { usize::MAX },
        })
    }
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use super::*;

    #[test]
    fn flex_gets_small_shards_and_as_many_threads_as_are_asked_for() {
        let machine = Machine::open(Some("flex"), Some(3)).unwrap();
        assert_eq!((machine.workers.threads(), machine.shard_rows), (3, Machine::FLEX_SHARD_ROWS));
        assert!(Machine::open(Some("tourch"), None).is_err());
    }
}
