//! The training loop that all methods share: shards side by side, one optimizer step a batch, checkpoints, exact resume.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use robustify_device::Workers;
use robustify_watch::{Progress, Stopped, Watch};
use robustify_zoo::BatchStatistics;
use serde::{Deserialize, Serialize};

use crate::DistillError;
use crate::checkpoint::{self, Position};
use crate::optimizer::{self, AdamW, AdamWConfig, DecayTo, Gradients, Group};

/// What is trained, on what, and for which loss.
pub trait Objective: Sync {
    /// The module whose parameters are tuned. It lives on a plain device.
    type Model: Module + Sync;
    /// The rows of one shard of a batch.
    type Shard: Send;

    /// Steps in an epoch; the same for every epoch.
    fn steps(&self) -> usize;

    /// Batches of an epoch from step `first` on, each cut into shards of a fixed number of rows.
    ///
    /// # Errors
    /// Data that cannot be read.
    fn epoch<'a>(&'a self, epoch: usize, first: usize) -> Result<Batches<'a, Self::Shard>, DistillError>;

    /// The loss of a shard, already divided by the rows of the whole batch, on the trained (autodiff) clone of the model.
    ///
    /// # Errors
    /// Rows that the model cannot take.
    fn loss(&self, model: &Self::Model, shard: Self::Shard) -> Result<Outcome, DistillError>;

    /// Moves what a step moves besides the parameters: the running statistics of BatchNorm layers.
    fn with_statistics(&self, model: Self::Model, _: Vec<BatchStatistics>) -> Self::Model {
        model
    }

    /// Whether rows have labels, so that some of them can be right; what learns without says no accuracy.
    fn has_labels(&self) -> bool {
        true
    }

    /// How a parameter is stepped.
    fn group(&self, name: &str, rank: usize) -> Group {
        Group::by_shape(name, rank)
    }

    /// The learning rate of step `step` of `total`, counted from zero, of parameters whose [group](Self::group) has that scale.
    fn rate(&self, optimizer: &AdamWConfig, step: usize, total: usize, scale: f64) -> f64 {
        optimizer.rate(step, total) * scale
    }
}

/// The batches of an epoch, in order.
pub trait BatchSource<Shard> {
    /// The next batch's shards; `None` after the last.
    ///
    /// # Errors
    /// Data that cannot be read.
    fn next_batch(&mut self) -> Result<Option<Vec<Shard>>, DistillError>;

    /// For how long the loop has waited for data.
    fn waited(&self) -> Duration {
        Duration::ZERO
    }
}

/// A boxed [`BatchSource`].
pub type Batches<'a, Shard> = Box<dyn BatchSource<Shard> + 'a>;

/// What a shard's forward gives.
pub struct Outcome {
    /// The scalar to differentiate, shape `[1]`.
    pub loss: Tensor<1>,
    /// Rows of the shard and how many of them the model got right, for the log.
    pub rows: usize,
    /// See `rows`.
    pub right: usize,
    /// What the BatchNorm layers saw.
    pub statistics: BatchStatistics,
}

/// How long to train and where to keep the state.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What the training is called in what it says.
    pub name: String,
    /// Passes over the data.
    pub epochs: usize,
    /// The optimizer's settings.
    pub optimizer: AdamWConfig,
    /// The checkpoint file; the loop resumes from it when it is there.
    pub checkpoint: PathBuf,
    /// Identifies everything that determines the training; a checkpoint of another identity is an error.
    pub identity: String,
    /// The merged configuration, kept in the checkpoint for people.
    pub config: serde_json::Value,
    /// Time between checkpoints.
    pub checkpoint_every: Duration,
}

/// What happened in an epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochRecord {
    /// Epoch, from one.
    pub epoch: usize,
    /// Mean loss a row.
    pub loss: f64,
    /// Part of the rows that the trained model got right while it learnt; 0 where rows have no labels.
    pub accuracy: f64,
    /// Learning rate of the last step.
    pub learning_rate: f64,
    /// Mean norm of the gradients before clipping.
    pub gradient_norm: f64,
}

/// Trains `model` on `objective`; from the checkpoint of `plan` when there is one, and then to the same bits as without a break. A
/// damaged checkpoint is named in a warning, and the training starts over.
///
/// Hand in the same model when a training goes on as when it began: a checkpoint replaces its parameters, but weight decay that
/// pulls to the start ([`DecayTo::needs_start`]) takes the start from it, so that checkpoints need not hold it.
///
/// # Errors
/// Data that cannot be read or that the model cannot take, a checkpoint that cannot be written or does not fit, a loss or gradient that is no number (the
/// last checkpoint stays), or an interruption (which leaves a checkpoint).
pub fn train<O: Objective>(
    objective: &O,
    model: O::Model,
    plan: &Plan,
    workers: &Workers,
    device: &Device,
    watch: &dyn Watch,
) -> Result<(O::Model, Vec<EpochRecord>), DistillError> {
    let total = objective.steps() * plan.epochs;
    let mut teller = Teller::new(watch, &plan.name, total, objective.has_labels());
    let began = optimizer::start(&plan.optimizer, &model);
    let mut run = match checkpoint::load(&plan.checkpoint, &plan.identity, model, device)? {
        checkpoint::Found::Nothing(model) => Run::new(model),
        checkpoint::Found::Damaged(model, reason) => {
            let (path, name) = (plan.checkpoint.display(), &plan.name);
            watch.warn(&format!("{path}: this checkpoint is damaged ({reason}); {name} starts over"));
            Run::new(model)
        }
        checkpoint::Found::Checkpoint(model, optimizer, position) => {
            watch.say(&format!("{}: continues at step {} of {total}", plan.name, optimizer.steps()));
            Run { model: Some(model), optimizer, position }
        }
    };
    run.optimizer = run.optimizer.decay_towards(began);
    let start = Instant::now();
    let (mut waited, taken) = (Duration::ZERO, run.optimizer.steps());
    while run.position.epoch < plan.epochs {
        waited += run.epoch(objective, plan, workers, &mut teller)?;
    }
    let seconds = start.elapsed().as_secs_f64();
    let wait_share = if seconds > 0.0 { waited.as_secs_f64() / seconds } else { 0.0 };
    teller.done(run.optimizer.steps() - taken, wait_share);
    Ok((run.model.take().expect("present between steps"), run.position.history))
}

/// Says how a training goes.
struct Teller<'a> {
    watch: &'a dyn Watch,
    name: &'a str,
    progress: Box<dyn Progress>,
    /// See [`Objective::has_labels`].
    has_labels: bool,
    /// Of the last epoch, once more at the end.
    last: String,
}

impl<'a> Teller<'a> {
    fn new(watch: &'a dyn Watch, name: &'a str, total: usize, has_labels: bool) -> Self {
        Self { watch, name, progress: watch.progress(name, total), has_labels, last: String::new() }
    }

    fn step(&mut self, done: usize, mean_loss: f64) {
        self.progress.set(done, &format!("loss {mean_loss:.3}"));
    }

    fn epoch(&mut self, record: &EpochRecord) {
        self.last = format!("loss {:.3}", record.loss);
        if self.has_labels {
            self.last += &format!(", accuracy {:.1} %", 100.0 * record.accuracy);
        }
        self.watch.say(&format!("{}: epoch {}, {}", self.name, record.epoch, self.last));
    }

    /// `steps` are those of this process, without those before a resume.
    fn done(self, steps: usize, wait_share: f64) {
        let Self { progress, last, .. } = self;
        progress.finish(&format!("{last}, {steps} steps, waited for data {:.1} % of the time", 100.0 * wait_share));
    }
}

struct Run<M> {
    /// Absent only within a step.
    model: Option<M>,
    optimizer: AdamW,
    position: Position,
}

impl<M: Module + Sync> Run<M> {
    fn new(model: M) -> Self {
        Self { model: Some(model), optimizer: AdamW::default(), position: Position::default() }
    }

    /// Runs the rest of the current epoch; returns how long it waited for data.
    fn epoch<O: Objective<Model = M>>(
        &mut self,
        objective: &O,
        plan: &Plan,
        workers: &Workers,
        teller: &mut Teller<'_>,
    ) -> Result<Duration, DistillError> {
        let total = objective.steps() * plan.epochs;
        let mut batches = objective.epoch(self.position.epoch, self.position.step)?;
        let mut saved = Instant::now();
        while let Some(shards) = batches.next_batch()? {
            self.step(objective, plan, workers, total, shards)?;
            teller.step(self.optimizer.steps(), self.position.mean_loss());
            let stopped = teller.watch.check(Stopped::Saved);
            if stopped.is_err() || saved.elapsed() >= plan.checkpoint_every {
                self.save(plan)?;
                saved = Instant::now();
            }
            stopped?;
        }
        let waited = batches.waited();
        drop(batches);
        let last = self.optimizer.steps().saturating_sub(1);
        let record = self.position.finish_epoch(objective.rate(&plan.optimizer, last, total, 1.0));
        teller.epoch(&record);
        self.save(plan)?;
        Ok(waited)
    }

    fn step<O: Objective<Model = M>>(
        &mut self,
        objective: &O,
        plan: &Plan,
        workers: &Workers,
        total: usize,
        shards: Vec<O::Shard>,
    ) -> Result<(), DistillError> {
        let model = self.model.take().expect("present between steps");
        let results = workers.map(shards, |shard| {
            // Leaves of its own for every shard: backward passes of graphs that share a node can deadlock in burn-autodiff
            // 0.22.1, where one thread holds the graph and wants the list of graphs, and another merges the graph into its own.
            let trained = model.clone().train();
            let outcome = objective.loss(&trained, shard)?;
            let mut backward = outcome.loss.backward();
            let gradients = optimizer::gradients(&trained, &mut backward);
            let loss = f64::from(outcome.loss.into_scalar::<f32>());
            Ok::<_, DistillError>((gradients, loss, outcome.rows, outcome.right, outcome.statistics))
        });
        let (mut gradients, mut statistics, mut batch_loss) = (Vec::new(), Vec::new(), 0.0);
        for result in results {
            let (shard_gradients, loss, rows, right, shard_statistics) = result?;
            gradients.push(shard_gradients);
            statistics.push(shard_statistics);
            batch_loss += loss;
            self.position.add(loss, rows, right);
        }
        // On a thread of the workers, since a sum over a large tensor would otherwise be cut up by whoever is idle.
        let clipped = workers
            .map(vec![gradients], |gradients| optimizer::clip(optimizer::sum(gradients), plan.optimizer.clip_norm));
        let (gradients, norm) = clipped.into_iter().next().expect("one item, one result");
        if !(batch_loss.is_finite() && norm.is_finite()) {
            return Err(DistillError::Diverged { step: self.optimizer.steps() + 1, loss: batch_loss, norm });
        }
        self.position.finish_step(norm);
        let step = self.optimizer.steps();
        let group = |name: &str, rank: usize| {
            let group = objective.group(name, rank);
            Group { rate_scale: objective.rate(&plan.optimizer, step, total, group.rate_scale), ..group }
        };
        let stepped = |(mut optimizer, model, gradients): (AdamW, M, Gradients)| {
            let model = optimizer.step(&plan.optimizer, 1.0, &group, model, gradients);
            (optimizer, model)
        };
        let before = (std::mem::take(&mut self.optimizer), model, gradients);
        // A step that sums over a tensor belongs on a worker, as the norm above; any other is the same on all threads.
        let (optimizer, model) = match plan.optimizer.decay_to {
            DecayTo::Selective => workers.map(vec![before], stepped).pop().expect("one item, one result"),
            DecayTo::Zero | DecayTo::Start => stepped(before),
        };
        self.optimizer = optimizer;
        self.model = Some(objective.with_statistics(model, statistics));
        Ok(())
    }

    fn save(&self, plan: &Plan) -> Result<(), DistillError> {
        let model = self.model.as_ref().expect("present between steps");
        checkpoint::save(&plan.checkpoint, &plan.identity, &plan.config, model, &self.optimizer, &self.position)
    }
}
