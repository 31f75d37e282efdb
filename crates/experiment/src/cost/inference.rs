//! Three heads against the original model at test time, by component.

use std::time::Instant;

use anyhow::Result;
use cpu_time::ThreadTime;
use robustify_data::{Preprocess, batch};
use robustify_report::{Style, Table};
use robustify_select::{McConfig, ThreeHeads, mc};
use robustify_zoo::Pass;

use super::{Bench, Spent};

/// Images of a forward.
const ROWS: usize = 64;

/// The original, its components, and robustify with one pass and with T.
pub(super) fn table(bench: &Bench<'_>) -> Result<String> {
    let Bench { config, machine, original, images, .. } = bench;
    let preprocess: Preprocess = config.original.preprocess.parse()?;
    let cut = config.split.backbone_end(original)?;
    let head_start = original.cut_before_last(config.split.head_blocks)?;
    let [tail, shared, head] = [(cut, original.last_cut()), (cut, head_start), (head_start, original.last_cut())]
        .map(|(a, b)| original.segment(a, b));
    let heads = ThreeHeads::new(original, config.split)?;
    let mut pixels = Vec::new();
    for index in 0..ROWS.min(images.len()) {
        pixels.push(preprocess.pixels(&images.get(index)?.image)?);
    }
    let input = batch::normalised(&pixels, &preprocess, &machine.device)?;
    let samples: Vec<u64> = (0..pixels.len() as u64).collect();
    let features = || original.features(input.clone(), cut);
    let (known, pass) = (features(), Pass::eval());
    let state = shared.forward(known.clone(), &pass);
    let passes = config.select.passes;
    let mc = McConfig { passes, dropout: config.tuning.dropout, seed: 0, common_masks: false };
    // Reading what came out waits for a device that computes later.
    let work: [(String, &(dyn Fn() + Sync)); 6] = [
        ("original".into(), &|| drop(tail.forward(features(), &pass).logits().into_data())),
        ("· trunk".into(), &|| drop(features().flatten().into_data())),
        ("· shared part".into(), &|| drop(shared.forward(known.clone(), &pass).flatten().into_data())),
        ("· one head".into(), &|| drop(head.forward(state.clone(), &pass).logits().into_data())),
        ("robustify, one pass".into(), &|| {
            heads.deterministic(features(), &pass).into_iter().for_each(|l| drop(l.into_data()))
        }),
        (format!("robustify, T = {passes}"), &|| {
            drop(mc::statistics(&heads, features(), &samples, &mc, &machine.device));
        }),
    ];
    let measured = work.iter().map(|(_, work)| *work).collect::<Vec<_>>();
    let times = best(bench, &measured);
    let counts = counts(bench);
    let on_cpu = bench.is_on_cpu();
    let reference = times[0].counted(on_cpu);
    let header = ["inference, one thread", "ms an image", "of the original", "GMAC, counted", "of the original"];
    let mut table = Table::new(header);
    for (((name, _), spent), macs) in work.into_iter().zip(times).zip(counts) {
        table.row([
            name,
            format!("{:.3}", 1e3 * spent.counted(on_cpu) / samples.len() as f64),
            format!("{:.3}", spent.counted(on_cpu) / reference),
            format!("{:.5}", macs / 1e9),
            format!("{:.3}", macs / counts[0]),
        ]);
    }
    Ok(table.render(Style::Box))
}

/// The least time of each, by turns, on one thread, like one shard of a benchmark.
fn best(bench: &Bench<'_>, work: &[&(dyn Fn() + Sync)]) -> Vec<Spent> {
    let rounds = 8 * bench.rounds;
    let measured = bench.machine.workers.map(vec![()], |()| {
        let mut least = vec![Spent::LONGEST; work.len()];
        for _ in 0..rounds {
            for (least, work) in least.iter_mut().zip(work) {
                let (clock, processor) = (Instant::now(), ThreadTime::now());
                work();
                let (clock, processor) = (clock.elapsed().as_secs_f64(), processor.elapsed().as_secs_f64());
                *least = least.least(Spent { clock, processor });
            }
        }
        least
    });
    measured.into_iter().flatten().collect()
}

/// Multiply-accumulates of each for one image: those of a network with what is never read left out.
fn counts(bench: &Bench<'_>) -> [f64; 6] {
    use robustify_select::DropoutFrom::Shared;
    let ([trunk, shared, head], parts) = (bench.macs(), bench.parts());
    let passes = bench.config.select.passes;
    let of = |units: &std::ops::Range<usize>, passes| bench.network.segment_macs(units.clone(), passes) as f64;
    // Masks of the shared part repeat it and all that follows.
    let repeats = bench.config.split.dropout_from == Shared && of(&parts[1], 2) > shared;
    let sampled = match repeats {
        true => of(&parts[1], passes) + 3.0 * passes as f64 * head,
        false => shared + 3.0 * of(&parts[2], passes),
    };
    [trunk + shared + head, trunk, shared, head, trunk + shared + 3.0 * head, trunk + sampled]
}
