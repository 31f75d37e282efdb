//! Where methods on the frozen backbone get their pairs of views: from the cache, or anew in every epoch.

use std::rc::Rc;

use anyhow::Result;
use robustify_data::Preprocess;
use robustify_distill::{CachedPairs, FreshPairs, Pairs, TuningConfig, ViewSpec};
use robustify_report::digest;
use robustify_zoo::Model;

use super::config::{Config, ViewsConfig};
use super::{Cost, Lab, Views, policy_identity};

/// Pairs of views to tune on, whichever way they are made.
pub struct PairSource {
    /// Hash of what determines them, the teacher included when it is listened to.
    pub hash: String,
    /// What was paid before the first step.
    pub cost: Cost,
    made: Made,
}

enum Made {
    /// Features and logits are there.
    Cached(Rc<Views>),
    /// Views are made when they are needed, for the teacher too if it is listened to.
    Fresh(ViewSpec, bool),
}

impl PairSource {
    /// The source that a configuration asks for; `taught` where the teacher is listened to.
    pub(super) fn new(lab: &Lab<'_>, taught: bool) -> Result<Self> {
        if !lab.config.views.cached {
            return Self::fresh(lab, taught);
        }
        let views = lab.views()?;
        let (hash, cost) = match taught {
            true => (views.hash.clone(), views.cost),
            false => (views.untaught.clone(), views.untaught_cost),
        };
        Ok(Self { hash, cost, made: Made::Cached(views) })
    }

    /// Views that are made anew in every epoch, whatever the configuration says of the cache.
    pub(crate) fn fresh(lab: &Lab<'_>, taught: bool) -> Result<Self> {
        let (hash, made) = (fresh_hash(lab, taught)?, Made::Fresh(lab.view_spec()?, taught));
        Ok(Self { hash, cost: Cost::default(), made })
    }

    /// The pairs, for some settings of tuning.
    ///
    /// # Errors
    /// A teacher that cannot be read or trained.
    pub fn pairs<'b>(&'b self, lab: &'b Lab<'_>, config: &'b TuningConfig) -> Result<Box<dyn Pairs + 'b>> {
        Ok(match &self.made {
            Made::Cached(views) => Box::new(CachedPairs { config, ..lab.pairs(views) }),
            Made::Fresh(spec, taught) => Box::new(lab.fresh_pairs(spec, *taught, config)?),
        })
    }
}

/// Hash of everything that determines fresh views and what is said of them.
fn fresh_hash(lab: &Lab<'_>, taught: bool) -> Result<String> {
    let Config { views, original, .. } = &lab.config;
    let policy = policy_identity(&views.policy, &lab.machine.device)?;
    let views = ViewsConfig { policy, seed: Some(lab.config.views_seed()), ..views.clone() };
    let teacher = match taught {
        true => Some(&lab.teacher()?.hash),
        false => None,
    };
    let images = lab.images().fingerprint();
    Ok(digest::of(&("fresh views", &lab.original()?.hash, &original.preprocess, views, teacher, images))?)
}

impl Lab<'_> {
    /// Pairs of views to tune on, from the cache or anew in every epoch, as the configuration says; `taught` where the method
    /// listens to the teacher.
    ///
    /// # Errors
    /// Images that cannot be read, a teacher that cannot be trained, or files that cannot be written.
    pub fn pair_source(&self, taught: bool) -> Result<PairSource> {
        PairSource::new(self, taught)
    }

    /// Views that are made anew in every epoch, whatever the configuration says of the cache.
    ///
    /// # Errors
    /// A teacher that cannot be read or trained.
    pub fn fresh_pairs<'b>(
        &'b self,
        spec: &'b ViewSpec,
        taught: bool,
        config: &'b TuningConfig,
    ) -> Result<FreshPairs<'b>> {
        let original = self.original()?;
        let teacher: Option<(&Model, &Preprocess)> = match taught {
            true => Some(self.teacher()?).map(|teacher| (&teacher.model, &teacher.preprocess)),
            false => None,
        };
        Ok(FreshPairs {
            images: self.images(),
            spec,
            original: &original.model,
            cut: self.config.split.backbone_end(&original.model)?,
            teacher,
            config,
            shard_pairs: self.machine.shard_rows,
            loader_threads: self.machine.workers.threads(),
            device: &self.machine.device,
        })
    }
}
