//! A warm corruption allocates nothing: with a scratch and an image that the caller keeps, a thread that corrupts image after
//! image never waits for the allocator. A cold one asks for no more than it needs.
#![allow(unsafe_code, reason = "a global allocator is an unsafe trait; this one counts and hands on to the system's")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use robustify_augment::{Corruption, Corruptor, Profile, RgbImage, Scratch, Severity};
use robustify_rng::Key;

/// Passes over all images before the counted one. Buffers are handed out in no order of size, so that each may have to grow
/// a few times before it has met its largest use.
const WARM_UP: usize = 5;

#[test]
fn a_warm_corruption_allocates_nothing() {
    let mut stream = Key::new(6, "picture").stream();
    let image = RgbImage::from_fn(45, 37, |x, y| {
        let texture = stream.below(60) as u8;
        image::Rgb([4 * x as u8 + texture, 100 + texture, 5 * (y as u8) + texture])
    });
    let corruptors = [Profile::CifarC, Profile::ImagenetC, Profile::Imagecorruptions].map(Corruptor::new);
    let (mut scratch, mut out) = (Scratch::new(), RgbImage::new(0, 0));
    let mut images_that_allocate = |corruption| {
        let mut count = 0;
        for corruptor in &corruptors {
            for severity in Severity::ALL {
                for sample in 0..3 {
                    let key = Key::new(sample, "allocations");
                    let before = allocations();
                    corruptor.apply_into(&image, corruption, severity, key, &mut scratch, &mut out);
                    count += u32::from(allocations() > before);
                }
            }
        }
        count
    };
    for _ in 0..WARM_UP {
        for corruption in Corruption::ALL {
            images_that_allocate(corruption);
        }
    }
    let counts = Corruption::ALL.map(|corruption| (corruption.name(), images_that_allocate(corruption)));
    let allocating: Vec<_> = counts.into_iter().filter(|(_, count)| *count > 0).collect();
    assert!(allocating.is_empty(), "these still allocate when warm (images of 45 that do): {allocating:?}");
}

#[test]
fn fog_of_a_long_picture_needs_less_than_its_map() {
    let image = RgbImage::new(1030, 20);
    let before = bytes();
    Corruptor::new(Profile::ImagenetC).apply(&image, Corruption::Fog, Severity::ALL[2], Key::new(0, "fog"));
    let map = 2048 * 2048 * size_of::<f64>() as u64;
    let needed = bytes() - before;
    assert!(needed < map, "{needed} bytes for a map of {map}");
}

#[test]
fn the_counter_counts() {
    let (before, bytes_before) = (allocations(), bytes());
    let boxed = std::hint::black_box(Box::new(7_u64));
    assert_eq!((allocations() - before, bytes() - bytes_before), (1, 8), "{boxed}");
    let mut grown = std::hint::black_box(vec![0_u8; 8]);
    grown.reserve_exact(64);
    assert_eq!(
        (allocations() - before, bytes() - bytes_before),
        (3, 88),
        "growth counts with its whole size: {grown:?}"
    );
}

/// How often this thread has allocated or grown a block.
fn allocations() -> u64 {
    COUNT.with(Cell::get)
}

/// The sizes of all blocks that this thread has allocated, whether it has freed them or not.
fn bytes() -> u64 {
    BYTES.with(Cell::get)
}

thread_local! {
    /// One count a thread, since tests run side by side. It needs neither an allocation nor a destructor.
    static COUNT: Cell<u64> = const { Cell::new(0) };
    static BYTES: Cell<u64> = const { Cell::new(0) };
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

struct Counting;

impl Counting {
    fn count(bytes: usize) {
        // A thread may free and allocate while its locals are torn down; nobody reads its count then.
        let _ = COUNT.try_with(|count| count.set(count.get() + 1));
        let _ = BYTES.try_with(|sum| sum.set(sum.get() + bytes as u64));
    }
}

// SAFETY: every call goes to the system's allocator unchanged, which keeps the contract.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Self::count(layout.size());
        // SAFETY: as promised by the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        Self::count(layout.size());
        // SAFETY: as promised by the caller.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        Self::count(size);
        // SAFETY: as promised by the caller.
        unsafe { System.realloc(block, layout, size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as promised by the caller.
        unsafe { System.dealloc(block, layout) }
    }
}
