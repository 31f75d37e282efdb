//! Buffers that are kept from image to image, so that a corruption allocates nothing once it is warm.

use crate::defocus::Disk;
use crate::mixture::Term;
use crate::motion::Step;
use crate::zoom::Layer;

/// A caller's store of buffers. Make one for each thread and pass it to every call; it grows to what the largest image
/// needs.
#[derive(Default)]
pub struct Scratch {
    bytes: Vec<Vec<u8>>,
    shorts: Vec<Vec<i16>>,
    words: Vec<Vec<u32>>,
    places: Vec<Vec<usize>>,
    singles: Vec<Vec<f32>>,
    doubles: Vec<Vec<f64>>,
    ranges: Vec<Vec<[usize; 2]>>,
    blends: Vec<Vec<(usize, usize, f64)>>,
    steps: Vec<Vec<Step>>,
    layers: Vec<Vec<Layer>>,
    /// The disk that each severity had last, where disks depend on the image's size.
    pub(crate) disks: [Option<Disk>; 5],
    /// Room for what AugMix mixes; empty between images.
    pub(crate) terms: Vec<Term>,
}

impl Scratch {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// A buffer of `length` zeros. Give it back with [`Scratch::give`] when done, or it is lost and the next call
    /// allocates again.
    pub(crate) fn take<T: Sample>(&mut self, length: usize) -> Vec<T> {
        let mut buffer = self.take_empty();
        buffer.resize(length, T::default());
        buffer
    }

    /// A buffer of `length` arbitrary samples, for what is written before it is read.
    pub(crate) fn take_any<T: Sample>(&mut self, length: usize) -> Vec<T> {
        let mut buffer = T::store(self).pop().unwrap_or_default();
        buffer.resize(length, T::default());
        buffer
    }

    /// An empty buffer with whatever room it has grown to.
    pub(crate) fn take_empty<T: Sample>(&mut self) -> Vec<T> {
        let mut buffer = T::store(self).pop().unwrap_or_default();
        buffer.clear();
        buffer
    }

    /// Returns a buffer.
    pub(crate) fn give<T: Sample>(&mut self, buffer: Vec<T>) {
        T::store(self).push(buffer);
    }
}

/// What a buffer may hold.
pub(crate) trait Sample: Copy + Default + Sized {
    fn store(scratch: &mut Scratch) -> &mut Vec<Vec<Self>>;
}

macro_rules! sample {
    ($($type:ty => $field:ident),*) => {$(
        impl Sample for $type {
            fn store(scratch: &mut Scratch) -> &mut Vec<Vec<Self>> {
                &mut scratch.$field
            }
        }
    )*};
}

sample!(u8 => bytes, i16 => shorts, u32 => words, usize => places, f32 => singles, f64 => doubles);
sample!([usize; 2] => ranges, (usize, usize, f64) => blends, Step => steps, Layer => layers);
