//! A checkpoint that lies costs no memory to match: damaged files are read within a bound that their own size sets.
#![allow(unsafe_code, reason = "a global allocator is an unsafe trait; this one counts and hands on to the system's")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::path::Path;

use robustify_rng::Key;
use robustify_zoo::weights::Checkpoint;

/// What reading takes beyond the file: buffers of readers, and messages.
const FIXED: usize = 128 << 10;
/// How many times its own size a file may take: names, shapes and instructions are objects in memory.
const FACTOR: usize = 16;

#[test]
fn damaged_files_take_no_more_memory_than_their_size_explains() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("damaged");
    let mut worst = 0;
    for name in ["zip.pth", "legacy.pth", "script.pt", "types.safetensors"] {
        let whole =
            std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("goldens/checkpoints").join(name)).unwrap();
        for case in 0..200 {
            let mut stream = Key::new(case, name).stream();
            let mut bytes = whole.clone();
            // Whole runs of high bytes make the largest lengths.
            let (at, run) = (stream.below(bytes.len() as u32) as usize, 1 + stream.below(8) as usize);
            let value = if stream.below(2) == 0 { 0xff } else { stream.below(256) as u8 };
            let end = bytes.len().min(at + run);
            bytes[at..end].fill(value);
            std::fs::write(&path, &bytes).unwrap();
            let peak = peak_of(|| {
                if let Ok(checkpoint) = Checkpoint::open(&path) {
                    for name in checkpoint.names() {
                        // A refusal is as good as a value here.
                        let _ = checkpoint.read(name);
                    }
                }
            });
            assert!(
                peak <= FIXED + FACTOR * bytes.len(),
                "{name}, case {case}: {peak} bytes for a file of {}",
                bytes.len()
            );
            worst = worst.max(peak);
        }
    }
    assert!(worst > 1000, "nothing was measured: {worst}");
}

#[test]
fn the_meter_measures() {
    let kept = std::hint::black_box(vec![0_u8; 1000]);
    let peak = peak_of(|| {
        let mut block = std::hint::black_box(vec![0_u8; 5000]);
        block.reserve_exact(3000);
        drop(std::hint::black_box(vec![0_u8; 10]));
    });
    assert!((8000..14_000).contains(&peak), "{peak}, beside {} kept", kept.len());
}

/// The most memory that this thread held at once in `work`, beyond what it held before.
fn peak_of(work: impl FnOnce()) -> usize {
    let before = HELD.with(Cell::get);
    PEAK.with(|peak| peak.set(before));
    work();
    usize::try_from(PEAK.with(Cell::get) - before).unwrap_or(0)
}

thread_local! {
    static HELD: Cell<i64> = const { Cell::new(0) };
    static PEAK: Cell<i64> = const { Cell::new(0) };
}

fn count(bytes: i64) {
    // A thread that ends has no counter any more.
    let _ = HELD.try_with(|held| {
        held.set(held.get() + bytes);
        let _ = PEAK.try_with(|peak| peak.set(peak.get().max(held.get())));
    });
}

struct Meter;

// SAFETY: every call is handed on to the system's allocator as it is.
unsafe impl GlobalAlloc for Meter {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as i64);
        // SAFETY: the caller keeps the contract, which is the same.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as i64));
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static METER: Meter = Meter;
