//! Measures the corruptions and AugMix on PNG files and prints a line of JSON a measurement. `cargo xtask bench-augment`
//! runs it in turn with the reference implementations; by itself:
//!
//! ```text
//! cargo run --release -p robustify-augment --example throughput -- speed imagenet-c 10 photo.png
//! cargo run --release -p robustify-augment --example throughput -- cells imagenet-c 10 photo.png
//! cargo run --release -p robustify-augment --example throughput -- threads imagenet-c 10 photo.png
//! ```
//!
//! `speed` is the fifteen corruptions of the benchmark at severity 3 and triples for AugMix's loss, `cells` all five
//! severities, `threads` the fifteen by the clock on one and on two threads. The number is the seconds that all of it may
//! take. Decoding is not measured. Times are of the thread's processor, so other load disturbs them little.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program, whose output is its result")]

use std::error::Error;
use std::process::ExitCode;
use std::time::Instant;

use cpu_time::ThreadTime;
use robustify_augment::{AugMix, Corruption, Corruptor, Profile, RgbImage, Scratch, Severity};
use robustify_rng::Key;

const USAGE: &str = "usage: throughput speed|cells|threads PROFILE SECONDS PNG...";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [mode, profile, seconds, paths @ ..] = arguments.as_slice() else { return Err(USAGE.into()) };
    let mut pictures = Vec::new();
    for path in paths {
        pictures.push(image::open(path).map_err(|error| format!("{path}: {error}"))?.into_rgb8());
    }
    let bench = Bench { corruptor: Corruptor::new(profile.parse()?), seconds: seconds.parse()?, pictures };
    if bench.pictures.is_empty() {
        return Err(USAGE.into());
    }
    match mode.as_str() {
        "speed" => bench.speed(),
        "cells" => bench.cells(),
        "threads" => bench.threads(),
        _ => return Err(USAGE.into()),
    }
    Ok(())
}

struct Bench {
    corruptor: Corruptor,
    /// What the whole run may take.
    seconds: f64,
    pictures: Vec<RgbImage>,
}

/// Planes of floats with ImageNet's means and deviations, as a network takes them.
fn normalise(image: &RgbImage, planes: &mut Vec<f32>) {
    let (means, deviations) = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]);
    planes.clear();
    for channel in 0..3 {
        let table: [f32; 256] =
            std::array::from_fn(|level| (level as f32 / 255.0 - means[channel]) / deviations[channel]);
        planes.extend(image.as_raw().chunks_exact(3).map(|pixel| table[usize::from(pixel[channel])]));
    }
}

impl Bench {
    /// The fifteen at the middle severity, then AugMix.
    fn speed(&self) {
        let budget = self.seconds / (Corruption::TEST.len() + 1) as f64;
        let severity = Severity::ALL[2];
        for corruption in Corruption::TEST {
            report(self.profile(), corruption.name(), severity.level(), self.cell(corruption, severity, budget));
        }
        let augmix = AugMix::default();
        let (mut scratch, mut views) = (Scratch::new(), [RgbImage::new(0, 0), RgbImage::new(0, 0)]);
        let mut planes = Vec::new();
        let spent = self.measure(budget, |picture, sample| {
            let mut stream = Key::new(sample, "augmix").stream();
            augmix.views_into(picture, &mut stream, &mut scratch, &mut views);
            for image in [picture, &views[0], &views[1]] {
                normalise(image, &mut planes);
                std::hint::black_box(&planes);
            }
        });
        report(self.profile(), "augmix_triple", augmix.severity as u8, spent);
    }

    /// The seventy-five cells of the benchmark.
    fn cells(&self) {
        let budget = self.seconds / (Corruption::TEST.len() * Severity::ALL.len()) as f64;
        for corruption in Corruption::TEST {
            for severity in Severity::ALL {
                report(self.profile(), corruption.name(), severity.level(), self.cell(corruption, severity, budget));
            }
        }
    }

    /// The fifteen, by the clock, on threads that share the corruptor and nothing else.
    fn threads(&self) {
        // The corruptor's tables are built here, and not at the cost of the first thread.
        self.work(0, Instant::now(), 0.0);
        // In turns of a second, of which the reader takes the best: what else the machine does comes and goes.
        let turns = (self.seconds / 2.0).ceil();
        for threads in [1, 2].repeat(turns as usize) {
            let start = Instant::now();
            let images: u64 = std::thread::scope(|scope| {
                let work = |thread| scope.spawn(move || self.work(thread, start, self.seconds / turns / 2.0));
                let workers: Vec<_> = (0..threads).map(work).collect();
                workers.into_iter().map(|worker| worker.join().expect("a worker does not panic")).sum()
            });
            let seconds = start.elapsed().as_secs_f64();
            let profile = self.profile();
            println!(r#"{{"profile": "{profile}", "threads": {threads}, "images": {images}, "seconds": {seconds}}}"#);
        }
    }

    /// Corrupts all pictures in all ways, again until the seconds since `start` are over, and counts the images.
    fn work(&self, thread: u64, start: Instant, seconds: f64) -> u64 {
        let (mut scratch, mut out, mut images) = (Scratch::new(), RgbImage::new(0, 0), 0);
        loop {
            for picture in &self.pictures {
                for corruption in Corruption::TEST {
                    let key = Key::new(thread, "threads").with(images);
                    self.corruptor.apply_into(picture, corruption, Severity::ALL[2], key, &mut scratch, &mut out);
                    images += 1;
                }
            }
            if start.elapsed().as_secs_f64() >= seconds {
                return images;
            }
        }
    }

    fn cell(&self, corruption: Corruption, severity: Severity, budget: f64) -> Spent {
        let (mut scratch, mut out) = (Scratch::new(), RgbImage::new(0, 0));
        self.measure(budget, |picture, sample| {
            let key = Key::new(0, "throughput").with(sample);
            self.corruptor.apply_into(picture, corruption, severity, key, &mut scratch, &mut out);
        })
    }

    /// Runs `image` over the pictures again and again, with a new sample number each time. The first run over them, which
    /// builds tables and grows buffers, is not counted.
    fn measure(&self, budget: f64, mut image: impl FnMut(&RgbImage, u64)) -> Spent {
        let samples = |round: u64| (0..).map(move |at| round << 32 | at).zip(&self.pictures);
        samples(0).for_each(|(sample, picture)| image(picture, sample));
        let start = ThreadTime::now();
        for round in 1.. {
            samples(round).for_each(|(sample, picture)| image(picture, sample));
            let seconds = start.elapsed().as_secs_f64();
            if seconds >= budget {
                return Spent { images: round * self.pictures.len() as u64, seconds };
            }
        }
        unreachable!("time passes")
    }

    fn profile(&self) -> Profile {
        self.corruptor.profile()
    }
}

/// Processor time and what it was spent on.
struct Spent {
    images: u64,
    seconds: f64,
}

fn report(profile: Profile, work: &str, severity: u8, Spent { images, seconds }: Spent) {
    println!(
        r#"{{"profile": "{profile}", "work": "{work}", "severity": {severity}, "images": {images}, "cpu_seconds": {seconds}}}"#
    );
}
