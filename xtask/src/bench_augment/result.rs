//! What was measured, as tables and as JSON.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

/// What a reader must know to judge the ratios.
const NOTES: &str = "
One thread each; images per second of processor time, decoding not counted; the best of the rounds on both sides. Rust
works in buffers that it keeps, as a loader's worker does; the packages allocate, and read the frost from files, for every
image, as they are made. Our frost is drawn, the packages' photographed.
";

/// A loop over pixels in Python in both packages: it alone takes most of their time, so the total is given without it too.
const SLOWEST: &str = "glass_blur";

/// Which side measured itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Peer {
    /// Under the name of a profile.
    Ours,
    /// Under the name of a package.
    Reference,
}

/// Images per second of processor time, by peer, name, work and severity; or the reason why there are none.
#[derive(Debug, Default)]
pub(super) struct Best(BTreeMap<(Peer, String, String, u64), Result<f64, String>>);

impl Best {
    /// Takes in a round; the better of two rounds stays.
    pub(super) fn add(&mut self, peer: Peer, lines: &[Value]) -> Result<()> {
        let name_key = if peer == Peer::Ours { "profile" } else { "peer" };
        for line in lines {
            let text = |key: &str| line[key].as_str().with_context(|| format!("no `{key}` in {line}"));
            let number = |key: &str| line[key].as_f64().with_context(|| format!("no `{key}` in {line}"));
            let severity = line["severity"].as_u64().with_context(|| format!("no `severity` in {line}"))?;
            let key = (peer, text(name_key)?.to_owned(), text("work")?.to_owned(), severity);
            let speed = match line["fault"].as_str() {
                Some(fault) => Err(fault.to_owned()),
                None => Ok(number("images")? / number("cpu_seconds")?),
            };
            match (self.0.get(&key), &speed) {
                (Some(Ok(before)), Ok(now)) if before >= now => {}
                (Some(Ok(_)), Err(_)) => {}
                _ => drop(self.0.insert(key, speed)),
            }
        }
        Ok(())
    }

    /// What a peer did, whatever the severity, in the order of works and severities.
    fn of<'a>(&'a self, peer: Peer, name: &'a str) -> impl Iterator<Item = (&'a str, u64, &'a Result<f64, String>)> {
        let mine = self.0.iter().filter(move |((p, n, _, _), _)| *p == peer && n == name);
        mine.map(|((_, _, work, severity), speed)| (work.as_str(), *severity, speed))
    }

    fn speed(&self, peer: Peer, name: &str, work: &str) -> Option<f64> {
        self.of(peer, name).find(|(other, _, _)| *other == work)?.2.as_ref().ok().copied()
    }

    /// AugMix of a package against ours.
    pub(super) fn mixer(&self, package: &str, profile: &str) -> Option<Mixer> {
        let reference = 1e3 / self.speed(Peer::Reference, package, "augmix_triple")?;
        let ours = 1e3 / self.speed(Peer::Ours, profile, "augmix_triple")?;
        Some(Mixer { package: package.to_owned(), reference, ours })
    }

    /// Milliseconds of every cell of a profile.
    pub(super) fn cells(&self, profile: &str) -> Cells {
        let cells = self.of(Peer::Ours, profile);
        let milliseconds = cells.filter_map(|(work, severity, speed)| {
            Some((work.to_owned(), severity, 1e3 / speed.as_ref().ok().copied()?))
        });
        Cells { profile: profile.to_owned(), milliseconds: milliseconds.collect() }
    }
}

/// A package beside the profile that does the same work.
#[derive(Debug)]
pub(super) struct Comparison {
    package: String,
    profile: String,
    /// Corruption, speed of the reference or its fault, our speed; in the order of the names.
    rows: Vec<(String, Result<f64, String>, f64)>,
}

impl Comparison {
    pub(super) fn of(best: &Best, package: &str, profile: &str) -> Self {
        let theirs = best.of(Peer::Reference, package);
        let rows = theirs.filter_map(|(work, _, speed)| {
            Some((work.to_owned(), speed.clone(), best.speed(Peer::Ours, profile, work)?))
        });
        Self { package: package.to_owned(), profile: profile.to_owned(), rows: rows.collect() }
    }

    /// Corruption, speed of the reference and ours, where both have one.
    fn pairs(&self) -> impl Iterator<Item = (&str, f64, f64)> {
        self.rows.iter().filter_map(|(work, theirs, ours)| Some((work.as_str(), *theirs.as_ref().ok()?, *ours)))
    }

    fn geometric_mean(&self) -> f64 {
        let (sum, count) =
            self.pairs().fold((0.0, 0.0), |(sum, n), (_, theirs, ours)| (sum + (ours / theirs).ln(), n + 1.0));
        f64::exp(sum / count)
    }

    /// The time that one image of every corruption but one takes there, by the time it takes here.
    fn total_time(&self, without: Option<&str>) -> f64 {
        let counted = self.pairs().filter(|(work, _, _)| Some(*work) != without);
        let (theirs, ours) = counted.fold((0.0, 0.0), |(a, b), (_, theirs, ours)| (a + 1.0 / theirs, b + 1.0 / ours));
        theirs / ours
    }

    fn least(&self) -> Option<(&str, f64)> {
        let ratios = self.pairs().map(|(work, theirs, ours)| (work, ours / theirs));
        ratios.min_by(|a, b| a.1.total_cmp(&b.1))
    }

    fn text(&self, version: &str) -> String {
        let mut text = format!(
            "\n| corruption, severity 3 | {} {version}, images/CPU-s | Robustify, profile {} | ratio |\n|---|---:|---:|---:|\n",
            self.package, self.profile
        );
        for (work, theirs, ours) in &self.rows {
            text += &match theirs {
                Ok(theirs) => format!("| {work} | {theirs:.1} | {ours:.1} | {:.1} |\n", ours / theirs),
                Err(fault) => format!("| {work} | {fault} | {ours:.1} | - |\n"),
            };
        }
        if let Some((work, ratio)) = self.least() {
            text += &format!(
                "\nOver {} corruptions: geometric mean of the ratios {:.1}; ratio of the total time {:.1}, without {SLOWEST} {:.1}; \
                 least ratio {ratio:.1} ({work}).\n",
                self.pairs().count(),
                self.geometric_mean(),
                self.total_time(None),
                self.total_time(Some(SLOWEST))
            );
        }
        text
    }

    fn json(&self) -> Value {
        let rows = self.rows.iter().map(|(work, theirs, ours)| {
            let mut row = json!({"corruption": work, "robustify_images_per_cpu_second": ours});
            match theirs {
                Ok(theirs) => {
                    row["reference_images_per_cpu_second"] = json!(theirs);
                    row["ratio"] = json!(ours / theirs);
                }
                Err(fault) => row["fault"] = json!(fault),
            }
            row
        });
        let least = self.least();
        json!({
            "reference": self.package, "profile": self.profile, "severity": 3, "rows": rows.collect::<Vec<_>>(),
            "geometric_mean_ratio": self.geometric_mean(), "total_time_ratio": self.total_time(None),
            "total_time_ratio_without_glass_blur": self.total_time(Some(SLOWEST)),
            "least_ratio": least.map(|(_, ratio)| ratio), "least_ratio_of": least.map(|(work, _)| work),
        })
    }
}

/// A triple for AugMix's loss, in milliseconds of processor time.
#[derive(Debug)]
pub(super) struct Mixer {
    package: String,
    reference: f64,
    ours: f64,
}

impl Mixer {
    fn label(&self) -> &str {
        match self.package.as_str() {
            "augmix-pillow" => "AugMix as in its paper, Pillow and NumPy",
            "augmix-torch" => "AugMix as in its authors' scripts, Pillow and torchvision's tensors",
            "augmix-torchvision" => "torchvision.transforms.AugMix",
            other => other,
        }
    }
}

/// All cells of the benchmark for one image.
#[derive(Debug)]
pub(super) struct Cells {
    profile: String,
    /// Corruption, severity, milliseconds of processor time.
    milliseconds: Vec<(String, u64, f64)>,
}

impl Cells {
    fn total(&self) -> f64 {
        self.milliseconds.iter().map(|(_, _, milliseconds)| milliseconds).sum()
    }
}

/// Images per second by the clock on one and on two threads.
#[derive(Debug, Default)]
pub(super) struct Threads([f64; 2]);

impl Threads {
    /// Takes in a round; the best of all turns stays.
    pub(super) fn add(&mut self, lines: &[Value]) -> Result<()> {
        for (threads, best) in (1..).zip(&mut self.0) {
            let mut turns = lines.iter().filter(|line| line["threads"].as_u64() == Some(threads)).peekable();
            ensure!(turns.peek().is_some(), "no measurement on {threads} thread(s)");
            for line in turns {
                let number = |key: &str| line[key].as_f64().with_context(|| format!("no `{key}` in {line}"));
                *best = best.max(number("images")? / number("seconds")?);
            }
        }
        Ok(())
    }
}

/// Everything that was measured.
#[derive(Debug)]
pub(super) struct Outcome {
    pub side: u32,
    pub rounds: u32,
    pub seconds_per_side: f64,
    pub processor: Option<String>,
    /// The load average before the start.
    pub load: Option<f64>,
    /// What `references.py` says of itself.
    pub about: Value,
    pub comparisons: Vec<Comparison>,
    pub mixers: Vec<Mixer>,
    pub cells: Cells,
    pub threads: Threads,
}

impl Outcome {
    pub(super) fn text(&self) -> String {
        let mut text = format!("Pictures of {0}x{0} pixels, {1} rounds.\n", self.side, self.rounds);
        if let Some(processor) = &self.processor {
            text += &format!("Processor: {processor}.\n");
        }
        text += &format!("Python's side: {}.\n", self.versions());
        for comparison in &self.comparisons {
            text += &comparison.text(self.version(&comparison.package).unwrap_or_default());
        }
        text += "\n| image and two views by AugMix, normalised, severity 3 | ms of CPU | Robustify | ratio |\n|---|---:|---:|---:|\n";
        for mixer in &self.mixers {
            let Mixer { reference, ours, .. } = mixer;
            text += &format!("| {} | {reference:.2} | {ours:.2} | {:.1} |\n", mixer.label(), reference / ours);
        }
        let (Cells { profile, milliseconds }, Threads([one, two])) = (&self.cells, &self.threads);
        text += &format!(
            "\nAll {} cells of one image, {profile}: {:.1} ms of CPU.\n",
            milliseconds.len(),
            self.cells.total()
        );
        text += &format!(
            "By the clock, the fifteen at severity 3: {one:.0} images/s on one thread, {two:.0} on two ({:.2} times).\n",
            two / one
        );
        text += NOTES;
        for (name, reason) in self.about["missing"].as_object().into_iter().flatten() {
            text += &format!("\n{name} was left out: {}\n", reason.as_str().unwrap_or_default());
        }
        if let Some(load) = self.load.filter(|load| *load > 0.5) {
            text += &format!(
                "\nThe machine was busy: a load of {load} before the start. Ratios of processor time bear it; times by the clock do not.\n"
            );
        }
        text
    }

    fn version(&self, package: &str) -> Option<&str> {
        self.about["versions"][package].as_str()
    }

    /// What is installed; numba by name even where it is absent, since imagecorruptions of the repository, but not of the
    /// package registry, compiles its slowest corruption with it.
    fn versions(&self) -> String {
        let versions = self.about["versions"].as_object().into_iter().flatten();
        let there = versions.filter_map(|(name, version)| Some(format!("{name} {}", version.as_str()?)));
        let numba = self.version("numba").map_or("numba absent", |_| "numba present, but not used by the packages");
        there.chain([numba.to_owned()]).collect::<Vec<_>>().join(", ")
    }

    pub(super) fn json(&self) -> Value {
        let mixers = self.mixers.iter().map(|mixer| {
            let Mixer { package, reference, ours } = mixer;
            json!({"reference": package, "label": mixer.label(), "views": 3, "reference_milliseconds": reference,
                   "robustify_milliseconds": ours, "ratio": reference / ours})
        });
        let cells = self.cells.milliseconds.iter().map(|(corruption, severity, milliseconds)| {
            json!({"corruption": corruption, "severity": severity, "milliseconds": milliseconds})
        });
        let Threads([one, two]) = self.threads;
        json!({
            "side": self.side, "rounds": self.rounds, "seconds_per_side": self.seconds_per_side,
            "processor": self.processor, "load": self.load,
            "versions": self.about["versions"], "missing": self.about["missing"],
            "comparisons": self.comparisons.iter().map(Comparison::json).collect::<Vec<_>>(),
            "augmix": mixers.collect::<Vec<_>>(),
            "cells": {"profile": self.cells.profile, "milliseconds": self.cells.total(), "by_cell": cells.collect::<Vec<_>>()},
            "threads": {"one_images_per_second": one, "two_images_per_second": two, "ratio": two / one},
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(name_key: &str, name: &str, work: &str, images: f64) -> Value {
        json!({name_key: name, "work": work, "severity": 3, "images": images, "cpu_seconds": 2.0})
    }

    #[test]
    fn the_best_round_counts_and_ratios_follow() {
        let mut best = Best::default();
        let theirs = |fog, snow| [line("peer", "p", "fog", fog), line("peer", "p", "snow", snow)];
        best.add(Peer::Reference, &theirs(10.0, 4.0)).unwrap();
        best.add(Peer::Reference, &theirs(20.0, 2.0)).unwrap();
        best.add(Peer::Ours, &[line("profile", "p", "fog", 40.0), line("profile", "p", "snow", 32.0)]).unwrap();
        let comparison = Comparison::of(&best, "p", "p");
        assert!((comparison.geometric_mean() - 4.0).abs() < 1e-12, "of 2 and 8");
        let total = (0.1 + 0.5) / (0.05 + 1.0 / 16.0);
        assert!((comparison.total_time(None) - total).abs() < 1e-12);
        assert!((comparison.total_time(Some("snow")) - 2.0).abs() < 1e-12);
        assert_eq!(comparison.least(), Some(("fog", 2.0)));
        let text = comparison.text("1.0");
        assert!(text.contains("| fog | 10.0 | 20.0 | 2.0 |\n| snow | 2.0 | 16.0 | 8.0 |\n"), "{text}");
        assert!(text.contains("geometric mean of the ratios 4.0; ratio of the total time 5.3, without glass_blur 5.3"));
        assert_eq!(comparison.json()["rows"][1]["ratio"], 8.0);
    }

    #[test]
    fn a_fault_is_shown_and_left_out_of_the_means() {
        let mut best = Best::default();
        let fault = json!({"peer": "p", "work": "frost", "severity": 3, "fault": "no file"});
        best.add(Peer::Reference, &[line("peer", "p", "fog", 10.0), fault]).unwrap();
        best.add(Peer::Ours, &[line("profile", "p", "fog", 30.0), line("profile", "p", "frost", 30.0)]).unwrap();
        let text = Comparison::of(&best, "p", "p").text("");
        assert!(text.contains("| frost | no file | 15.0 | - |") && text.contains("Over 1 corruptions"), "{text}");
        assert!(best.add(Peer::Ours, &[json!({"profile": "p"})]).is_err());
    }

    #[test]
    fn threads_are_told_apart_and_both_are_needed() {
        let lines =
            [json!({"threads": 2, "images": 30, "seconds": 2.0}), json!({"threads": 1, "images": 10, "seconds": 1.0})];
        let mut threads = Threads::default();
        threads.add(&lines).unwrap();
        assert_eq!(threads.0, [10.0, 15.0]);
        assert!(threads.add(&lines[..1]).is_err());
    }
}
