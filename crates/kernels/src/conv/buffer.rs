use std::cell::RefCell;
use std::ops::{Deref, DerefMut};

/// Working memory that begins at a cache line, so that no load of a whole vector touches two. Its thread keeps it for the next.
pub(super) struct Buffer {
    values: Vec<f32>,
    start: usize,
    len: usize,
}

thread_local! {
    static KEPT: RefCell<Vec<Vec<f32>>> = const { RefCell::new(Vec::new()) };
}

impl Buffer {
    const LINE_BYTES: usize = 64;

    /// More than a kernel has in use at a time.
    const KEPT_AT_MOST: usize = 8;

    /// With any content.
    pub(super) fn new(len: usize) -> Self {
        let needed = len + Self::LINE_BYTES / size_of::<f32>();
        let mut values = KEPT.with_borrow_mut(|kept| {
            // The smallest that is large enough, else the largest, which then grows.
            kept.sort_unstable_by_key(Vec::len);
            let index = kept.partition_point(|values| values.len() < needed).min(kept.len().saturating_sub(1));
            if kept.is_empty() { Vec::new() } else { kept.remove(index) }
        });
        if values.len() < needed {
            values = vec![0.0; needed];
        }
        let start = values.as_ptr().align_offset(Self::LINE_BYTES).min(values.len() - len);
        Self { values, start, len }
    }

    pub(super) fn zeros(len: usize) -> Self {
        let mut buffer = Self::new(len);
        buffer.fill(0.0);
        buffer
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let values = std::mem::take(&mut self.values);
        // A thread that ends may have lost its store already.
        let _ = KEPT.try_with(|kept| {
            let mut kept = kept.borrow_mut();
            if kept.len() < Self::KEPT_AT_MOST {
                kept.push(values);
            }
        });
    }
}

impl Deref for Buffer {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.values[self.start..][..self.len]
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.values[self.start..][..self.len]
    }
}
