//! Robustify with and without a cache, and APT, against full fine-tuning with the same augmentation.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use robustify_data::Preprocess;
use robustify_distill::robustify::wanted;
use robustify_distill::trainer::{self, Objective, Plan};
use robustify_distill::views::Report;
use robustify_distill::{
    Apt, CachedPairs, FreshPairs, ImageTraining, Precision, Robustify, Teacher, ViewCache, ViewJob, ViewSpec,
};
use robustify_methods::config::ImageTrainingConfig;
use robustify_methods::lab::{STEP, image_training, policy};
use robustify_report::{Style, Table};
use robustify_select::{OneHead, ThreeHeads};
use robustify_watch::Silent;

use super::{Bench, Spent};

/// What one row of a batch costs on every side, and one view in the cache.
struct Costs {
    full: Spent,
    apt: Spent,
    cached: Spent,
    fresh: Spent,
    /// Features and the original's logits of a view.
    features: Spent,
    /// The teacher's logits of a view.
    taught: Spent,
}

/// A table of single steps, and one of the whole training.
pub(super) fn tables(bench: &Bench<'_>) -> Result<String> {
    let costs = measure(bench)?;
    Ok(format!("{}{}", steps(bench, &costs), whole(bench, &costs)))
}

/// Every side by turns: the same images, augmentations, batch size and optimizer.
fn measure(bench: &Bench<'_>) -> Result<Costs> {
    let Bench { config, machine, original, images, .. } = bench;
    let (folder, spec) = (tempfile::tempdir()?, spec(bench)?);
    let cut = config.split.backbone_end(original)?;
    let (workers, device) = (&machine.workers, &machine.device);
    let job = |base| ViewJob { spec: &spec, images, workers, device, base, identity: "cost" };
    let mut progress = [Silent, Silent];
    let [first, second] = progress.each_mut().map(|progress| Report { name: "views", watch: &Silent, progress });
    let (features, taught) = (folder.path().join("features"), folder.path().join("taught"));
    let (written, caching) = Spent::on(|| Ok(job(&features).features(original, cut, first)?))?;
    let teacher = &bench.teacher;
    let said = || Ok(job(&taught).logits(Teacher::Robust, &teacher.model, &teacher.preprocess, second)?);
    let (taught, teaching) = Spent::on(said)?;
    let said = [(Teacher::Original, written.logits.clone()), (Teacher::Robust, taught.logits.clone())];
    let cache = ViewCache::read(written.features(), &spec, images.labels().to_vec(), written.dims.clone(), said)?;
    let shard_pairs = machine.shard_rows;
    let cached = || CachedPairs { cache: &cache, config: &config.tuning, shard_pairs, device };
    let fresh = FreshPairs {
        images,
        spec: &spec,
        original,
        cut,
        teacher: Some((&teacher.model, &teacher.preprocess)),
        config: &config.tuning,
        shard_pairs,
        loader_threads: workers.threads(),
        device,
    };
    let (full, fresh) = (full(bench)?, Robustify(fresh));
    let (one, three) = (OneHead::new(original, config.split)?, ThreeHeads::new(original, config.split)?);
    let mut rows = [Spent::LONGEST; 4];
    for round in 0..bench.rounds {
        let path = |name: &str| folder.path().join(format!("{name}-{round}"));
        let pairs = images.len() * config.views.augmented;
        let measured = [
            epoch(bench, &full, original.clone(), path("full"))?.over(2 * images.len()),
            epoch(bench, &Apt(cached()), one.clone(), path("apt"))?.over(2 * pairs),
            epoch(bench, &Robustify(cached()), three.clone(), path("cached"))?.over(2 * pairs),
            epoch(bench, &fresh, three.clone(), path("fresh"))?.over(2 * pairs),
        ];
        rows = std::array::from_fn(|side| rows[side].least(measured[side]));
    }
    let ([full, apt, cached, fresh], views) = (rows, images.len() * spec.count());
    Ok(Costs { full, apt, cached, fresh, features: caching.over(views), taught: teaching.over(views) })
}

fn spec(bench: &Bench<'_>) -> Result<ViewSpec> {
    let (views, original) = (&bench.config.views, &bench.config.original);
    Ok(ViewSpec {
        preprocess: original.preprocess.parse()?,
        clean_view: views.clean_view.parse()?,
        policy: policy(&views.policy, &bench.machine.device)?,
        clean: views.clean,
        augmented: views.augmented,
        seed: 0,
        precision: Precision::default(),
    })
}

/// Full fine-tuning on a clean and an augmented view of every image.
fn full(bench: &Bench<'_>) -> Result<ImageTraining> {
    let config = bench.config;
    let section = ImageTrainingConfig {
        epochs: 1,
        batch_size: 2 * config.tuning.pairs,
        clean_view: Some(config.views.clean_view.clone()),
        policy: Some(config.views.policy.clone()),
        label_smoothing: 0.0,
        jsd_weight: None,
        norm_rows: 32,
        optimizer: config.tuning.optimizer.clone(),
    };
    let preprocess: Preprocess = config.original.preprocess.parse()?;
    let preprocesses = [preprocess.geometry(), preprocess.normalisation_only()];
    image_training(bench.machine, &section, &bench.network, bench.images.clone(), preprocesses, 0)
}

/// What an epoch costs, data included.
fn epoch<O: Objective>(bench: &Bench<'_>, objective: &O, model: O::Model, checkpoint: PathBuf) -> Result<Spent> {
    let plan = Plan {
        name: "cost".into(),
        epochs: 1,
        optimizer: bench.config.tuning.optimizer.clone(),
        checkpoint,
        identity: String::new(),
        config: serde_json::Value::Null,
        checkpoint_every: Duration::MAX,
    };
    let machine = bench.machine;
    let train = || Ok(trainer::train(objective, model, &plan, &machine.workers, &machine.device, &Silent)?);
    Ok(Spent::on(train)?.1)
}

fn steps(bench: &Bench<'_>, costs: &Costs) -> String {
    let header = ["training step", "ms a row", "processor, ms a row", "of full fine-tuning"];
    let mut table = Table::new(header);
    let on_cpu = bench.is_on_cpu();
    let full = costs.full.counted(on_cpu);
    for (name, spent) in [
        ("full fine-tuning", costs.full),
        ("APT, cached", costs.apt),
        ("robustify, cached", costs.cached),
        ("robustify, not cached", costs.fresh),
    ] {
        let ms = [spent.clock, spent.processor].map(|seconds| format!("{:.3}", 1e3 * seconds));
        let [clock, processor] = ms;
        table.row([name.to_owned(), clock, processor, format!("{:.3}", spent.counted(on_cpu) / full)]);
    }
    let [features, taught] = [costs.features, costs.taught].map(|spent| 1e3 * spent.counted(on_cpu));
    format!(
        "{}caching a view once: {features:.3} ms, and {taught:.3} ms for what the teacher says of it\n",
        table.render(Style::Box)
    )
}

/// Of all rows that an image has in the whole training.
fn whole(bench: &Bench<'_>, costs: &Costs) -> String {
    let Bench { config, .. } = bench;
    let pairs = (config.tuning.epochs * config.views.augmented) as f64;
    let views = (config.views.clean + config.views.augmented) as f64;
    let on_cpu = bench.is_on_cpu();
    let ms = |spent: Spent| 1e3 * spent.counted(on_cpu);
    let counts = Counts::new(bench);
    let sides = [
        ("full fine-tuning", 2.0 * pairs * ms(costs.full), pairs * counts.full),
        (
            "robustify, cached, its views included",
            views * (ms(costs.features) + ms(costs.taught)) + 2.0 * pairs * ms(costs.cached),
            views * counts.view + pairs * counts.heads,
        ),
        ("robustify, not cached", 2.0 * pairs * ms(costs.fresh), pairs * (counts.shown + counts.heads)),
    ];
    let (_, full, full_macs) = sides[0];
    let mut table = Table::new(["whole training", "ms an image", "times less", "GMAC an image", "times less"]);
    for (name, ms, macs) in sides {
        table.row([
            name.to_owned(),
            format!("{ms:.2}"),
            format!("{:.2}", full / ms),
            format!("{:.4}", macs / 1e9),
            format!("{:.2}", full_macs / macs),
        ]);
    }
    format!(
        "{}of {} epochs of {} pairs of an image; GMAC are counted, a backward pass as two forwards, augmentation as nothing\n",
        table.render(Style::Box),
        config.tuning.epochs,
        config.views.augmented,
    )
}

/// Multiply-accumulates of a pair of a clean and an augmented row, and of a cached view.
struct Counts {
    /// A step of full fine-tuning.
    full: f64,
    /// A step of the shared part and of the heads: each row once, but for the combined head both.
    heads: f64,
    /// The frozen part and what teachers say, when nothing is cached.
    shown: f64,
    /// A view in the cache.
    view: f64,
}

impl Counts {
    fn new(bench: &Bench<'_>) -> Self {
        let [trunk, shared, head] = bench.macs();
        let (whole, teacher) = (trunk + shared + head, bench.teacher.network.macs() as f64);
        let asked = wanted(&bench.config.tuning);
        let of = |teacher| asked.iter().filter(|(asked, _)| *asked == teacher).count() as f64;
        Self {
            full: 2.0 * STEP * whole,
            heads: STEP * (2.0 * shared + 4.0 * head),
            shown: 2.0 * trunk + of(Teacher::Original) * (shared + head) + of(Teacher::Robust) * teacher,
            view: whole + teacher,
        }
    }
}
