//! The suites of a job, as a model's geometry shows them.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use robustify_bench::Suite;
use robustify_bench::suites::Corrupted;
use robustify_bench::suites::catalog::{self, Declaration, Opening};
use robustify_data::{DataConfig, Images, Preprocess, splits};
use robustify_watch::Watch;

use crate::Settings;

/// What models are measured on.
pub(crate) enum Data {
    /// Images of one's own, clean and corrupted in memory.
    Folder { path: PathBuf, images: Images },
    /// A published data set below a folder of them.
    Published { suite: &'static Declaration, root: PathBuf },
}

impl Data {
    /// Opens images of one's own: a folder of classes, with or without splits, or IDX or CIFAR files.
    pub fn folder(path: &Path, watch: &dyn Watch) -> Result<Self> {
        let config = DataConfig {
            format: None,
            path: path.to_owned(),
            train: "train".into(),
            validation: None,
            test: "test".into(),
            classes: None,
            only: None,
            leave_out: None,
            strict: false,
        };
        let images = splits::reported(&config, watch)?;
        ensure!(!images.is_empty(), "{}: no images to measure on", path.display());
        Ok(Self::Folder { path: path.to_owned(), images })
    }

    /// A published data set by its name.
    pub fn published(name: &str, root: Option<&Path>) -> Result<Self> {
        let suite = catalog::named(name)?;
        let root = root.with_context(|| {
            format!("{name}: say where the published data sets lie with --data-root DIR or ROBUSTIFY_DATA")
        })?;
        Ok(Self::Published { suite, root: root.to_owned() })
    }

    /// As a model sees it whose input has a side of so many pixels.
    pub fn suite(
        &self,
        settings: &Settings,
        geometry: &Preprocess,
        side: u32,
        watch: &dyn Watch,
    ) -> Result<Box<dyn Suite>> {
        match self {
            Self::Folder { path, images } => {
                expect_sizes(images, geometry, side)?;
                let config = settings.benchmark.for_side(side);
                if let Some(warning) = config.profile()?.misfit("the model's input", (side, side), "benchmark.profile")
                {
                    watch.warn(&warning);
                }
                let folder = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
                let suite = Corrupted::new(&format!("{folder}-c"), &config, images.clone(), geometry.clone())?;
                Ok(Box::new(suite))
            }
            Self::Published { suite, root } => {
                let benchmark = &settings.benchmark;
                let parse = |names: &Vec<String>| names.iter().map(|name| name.parse()).collect::<Result<_, _>>();
                let opening = Opening {
                    geometry: geometry.clone(),
                    images: benchmark.images,
                    severities: benchmark.severities.clone(),
                    corruptions: benchmark.corruptions.as_ref().map(parse).transpose()?,
                    seed: benchmark.seed,
                };
                Ok(suite.open(root, &opening, watch)?)
            }
        }
    }

    /// The name for people, and what a reader has to know of the suite that was opened.
    pub fn about(&self, settings: &Settings, side: u32, opened: &dyn Suite) -> (String, Vec<String>) {
        match self {
            Self::Published { .. } => (opened.title().to_owned(), opened.notes()),
            Self::Folder { path, images } => {
                let folder = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
                let config = settings.benchmark.for_side(side);
                let mut notes = vec![format!(
                    "{} images of {} classes in {}",
                    images.len(),
                    images.classes().len(),
                    path.display()
                )];
                if config.corruptions.as_ref().is_none_or(|names| !names.is_empty()) {
                    let frost = robustify_augment::Corruptor::new(
                        config.profile().unwrap_or(robustify_augment::Profile::Scaled),
                    );
                    notes.push(format!(
                        "corrupted in memory with the constants of {}, seed {}; these are no official files",
                        config.profile, config.seed
                    ));
                    notes.push(format!("frost: {}", frost.frost_source().name()));
                }
                (folder, notes)
            }
        }
    }
}

/// An error unless every image comes out of the geometry at the size of the input. No image is decoded.
fn expect_sizes(images: &Images, geometry: &Preprocess, side: u32) -> Result<()> {
    for index in 0..images.len() {
        let found = geometry.size(images.dimensions(index)?).map_err(|error| error.of_image(images, index))?;
        ensure!(
            found == (side, side),
            "{}: `{geometry}` makes {}x{} pixels of it, and the model takes {side}x{side}; --preprocess \
             'resize(N)|center_crop({side})|normalize(…)' says how pictures are prepared",
            images.origin(index),
            found.0,
            found.1
        );
    }
    Ok(())
}
