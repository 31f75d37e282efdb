//! Evaluating the original model under all corruptions against plain forward passes of as many images.

use std::sync::Arc;

use anyhow::Result;
use robustify_bench::evaluate::chunks;
use robustify_bench::suites::{Corrupted, Part};
use robustify_bench::{AnswerStore, Entrant, Suite, measure};
use robustify_data::{Images, Preprocess, Subset, batch, split};
use robustify_device::backend_of;
use robustify_eval::BenchmarkSettings;
use robustify_predict::{Attached, Made, RobustModel};
use robustify_report::{Style, Table};
use robustify_rng::Key;
use robustify_watch::Silent;
use robustify_zoo::Pass;

use super::{Bench, Spent};

/// All corruptions and severities of so many training images, decoded, corrupted, asked and stored, beside the forwards alone.
pub(super) fn table(bench: &Bench<'_>, count: usize) -> Result<String> {
    let Bench { config, machine, original, images, .. } = bench;
    let chosen = split::sample(&**images, count.min(images.len()), Key::new(0, "evaluation"))?;
    let images: Images = Arc::new(Subset::new(images.clone(), chosen)?);
    let preprocess: Preprocess = config.original.preprocess.parse()?;
    let benchmark =
        BenchmarkSettings { clean_images: 1, ..Default::default() }.for_side(bench.network.image_size() as u32);
    let suite = Corrupted::new("cost", &benchmark, images.clone(), preprocess.geometry())?;
    let passes: usize = suite.cells().iter().map(|cell| suite.images(cell).len()).sum();
    let model = RobustModel {
        method: "original".into(),
        network: bench.network.clone(),
        model: original.clone(),
        preprocess: preprocess.clone(),
        seen: preprocess.normalisation_only(),
        classes: images.classes().to_vec(),
        cut: None,
        made: Made::Classifier,
        attached: Attached::default(),
        trained_on: None,
        label_set: None,
    };
    let mut pixels = Vec::new();
    for index in 0..images.len() {
        pixels.push(preprocess.pixels(&images.get(index)?.image)?);
    }
    let (mut evaluated, mut plain) = (Spent::LONGEST, Spent::LONGEST);
    for _ in 0..bench.rounds {
        let ((), spent) = Spent::on(|| {
            let folder = tempfile::tempdir()?;
            let store = AnswerStore::compact(folder.path(), backend_of(&machine.device));
            let entrants = [Entrant { name: "original".into(), predictor: model.predictor()? }];
            measure::measure(&Part::new(&suite, 0..usize::MAX), &entrants, &store, machine, &Silent, |_| ())?;
            suite.release();
            Ok(())
        })?;
        evaluated = evaluated.least(spent);
        let ((), spent) = Spent::on(|| {
            // As many batches of the same images, over and over.
            let ranges = chunks(passes).into_iter().map(|range| range.map(|index| index % pixels.len()).collect());
            let forward = |rows: Vec<usize>| -> Result<()> {
                let rows: Vec<_> = rows.into_iter().map(|index| pixels[index].clone()).collect();
                let input = batch::normalised(&rows, &preprocess, &machine.device)?;
                original.forward(input, &Pass::eval()).into_data();
                Ok(())
            };
            machine.workers.map(ranges.collect(), forward).into_iter().collect()
        })?;
        plain = plain.least(spent);
    }
    let on_cpu = bench.is_on_cpu();
    let mut table = Table::new(["evaluation, all threads", "images", "ms an image", "of plain forwards"]);
    for (name, spent) in [("plain forwards", plain), ("under all corruptions", evaluated)] {
        let counted = spent.counted(on_cpu);
        table.row([
            name.to_owned(),
            passes.to_string(),
            format!("{:.3}", 1e3 * counted / passes as f64),
            format!("{:.3}", counted / plain.counted(on_cpu)),
        ]);
    }
    Ok(table.render(Style::Box))
}
