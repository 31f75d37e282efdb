//! Learning rates as the references have them: a linear warm-up, then half a cosine.
//!
//! The references differ in where the warm-up starts, whether its first step counts, and what lies under the cosine. [`Cosine`]
//! says all of it, with a constructor for each of them. What the project's own trainings use is
//! [`AdamWConfig::rate`](crate::optimizer::AdamWConfig::rate).
//!
//! ```
//! use robustify_distill::schedule::Cosine;
//!
//! let schedule = Cosine::wise_ft(3e-5, 500, 25_020);
//! assert_eq!(schedule.rate(499), 3e-5);
//! assert!(schedule.rate(25_019) < 1e-12);
//! ```

/// How the rate rises to its peak.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Warmup {
    /// From a rate at step 0, which is an absolute number: a group's scale does not apply to it.
    From(f64),
    /// From one share of the peak at step 0 to all shares at the last step of the warm-up.
    Counted,
}

/// What lies under the cosine.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Floor {
    /// The cosine falls from the peak to this rate.
    Reached(f64),
    /// The cosine falls to zero, and this rate is added to it.
    Added(f64),
}

/// A linear warm-up, then half a cosine.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cosine {
    peak: f64,
    warmup_steps: usize,
    steps: usize,
    warmup: Warmup,
    floor: Floor,
}

impl Cosine {
    /// Feature Distillation's, of pre-training and fine-tuning, in optimizer steps: from `warmup_rate` to `peak`, and from there to
    /// `least`. The reference sets the rate of index `t` *after* step `t`, so steps 0 and 1 both run at [`Self::rate`]`(0)`. A
    /// group with a scale has another peak; `warmup_rate` and `least` are the same for all groups.
    ///
    /// Source: SwinTransformer/Feature-Distillation, `lr_scheduler.py`, with timm's `CosineLRScheduler` (`warmup_prefix`).
    pub fn feature_distillation(peak: f64, warmup_rate: f64, least: f64, [warmup_steps, steps]: [usize; 2]) -> Self {
        Self { peak, warmup_steps, steps, warmup: Warmup::From(warmup_rate), floor: Floor::Reached(least) }
    }

    /// WiSE-FT's, in optimizer steps, set before the step. Source: mlfoundations/wise-ft, `src/models/utils.py`.
    pub fn wise_ft(peak: f64, warmup_steps: usize, steps: usize) -> Self {
        Self::flyp(peak, 0.0, warmup_steps, steps)
    }

    /// FLYP's: WiSE-FT's with a rate that is added to the cosine. Source: locuslab/FLYP, `src/models/utils.py`.
    pub fn flyp(peak: f64, added: f64, warmup_steps: usize, steps: usize) -> Self {
        Self { peak, warmup_steps, steps, warmup: Warmup::Counted, floor: Floor::Added(added) }
    }

    /// VPT's, in epochs: the whole first one runs at zero. Source: KMnP/vpt, `src/solver/lr_scheduler.py`.
    pub fn vpt(peak: f64, warmup_epochs: usize, epochs: usize) -> Self {
        let (warmup, floor) = (Warmup::From(0.0), Floor::Reached(0.0));
        Self { peak, warmup_steps: warmup_epochs, steps: epochs, warmup, floor }
    }

    /// The rate of step `step`, counted from zero; beyond the last step that of the cosine's end.
    pub fn rate(&self, step: usize) -> f64 {
        let (place, warmup) = (step as f64, self.warmup_steps as f64);
        if step < self.warmup_steps {
            return match self.warmup {
                Warmup::From(rate) => rate + place * (self.peak - rate) / warmup,
                Warmup::Counted => self.peak * (place + 1.0) / warmup,
            };
        }
        let falling = self.steps.saturating_sub(self.warmup_steps).max(1) as f64;
        let progress = ((place - warmup) / falling).min(1.0);
        let share = 0.5 * (1.0 + (std::f64::consts::PI * progress).cos());
        match self.floor {
            Floor::Reached(least) if step >= self.steps => least,
            Floor::Reached(least) => least + (self.peak - least) * share,
            Floor::Added(rate) => self.peak * share + rate,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rates that the references gave at single steps, run with torch 2.9.0 and timm 1.0.31.
    #[test]
    fn rates_are_those_of_the_references() {
        let near = |got: f64, want: f64| assert!((got - want).abs() <= 1e-9 * want.abs(), "{got} is not {want}");
        let distillation = Cosine::feature_distillation(0.0012, 2e-6, 2e-5, [6_250, 187_500]);
        near(distillation.rate(1), 2.19168e-6);
        near(distillation.rate(12_500), 0.001_196_541_394_721_072);
        near(distillation.rate(187_500), 2e-5);
        near(Cosine::wise_ft(3e-5, 500, 25_020).rate(5_000), 2.757_517_158_975_429_3e-5);
        near(Cosine::flyp(3e-5, 1e-6, 500, 25_020).rate(500), 3.1e-5);
        let prompts = Cosine::vpt(1.25, 10, 100);
        near(prompts.rate(11), 1.249_619_266_886_934_8);
        assert_eq!((prompts.rate(0), prompts.rate(10)), (0.0, 1.25));
    }
}
