//! How the attention of models is shaped, and how flat the loss is around their weights: what `robustify diagnose` does.
//!
//! A [`Job`] names [`Subject`]s and images. [`diagnose()`] looks at the [`attention`] of each while forwards compute it, walks over the
//! [`landscape`] of its loss, and keeps what it finds as soon as it has it; the [`Diagnosis`](robustify_report::diagnosis::Diagnosis) that
//! comes back is what figures, tables and the page are drawn from ([`robustify_report::diagnosis`]).
//!
//! Source: the measures are those by which Wei et al. 2022, arXiv:2205.14141, explain what feature distillation changes; their code is
//! not public, so each module says which formula it follows.
//!
//! ```
//! use std::sync::Arc;
//!
//! use robustify_data::{Images, MemorySet};
//! use robustify_device::Machine;
//! use robustify_diagnose::{Job, Settings, Subject, diagnose};
//! use robustify_watch::Silent;
//! use robustify_zoo::{Model, ModelConfig};
//!
//! let network: ModelConfig = serde_json::from_str(
//!     r#"{"architecture": "vit", "image_size": 16, "patch_size": 4, "width": 8, "depth": 2, "heads": 2, "classes": 2}"#,
//! )?;
//! let machine = Machine::open(Some("flex"), Some(1))?;
//! let subject = Subject {
//!     name: "fresh".into(),
//!     about: "a ViT that nobody trained".into(),
//!     source: "here".into(),
//!     model: Model::new(&network, 1, &machine.device)?,
//!     network,
//!     preprocess: "resize(16,16)|normalize(half)".parse()?,
//!     classes: None,
//!     notes: Vec::new(),
//! };
//! let pictures = vec![image::RgbImage::new(16, 16); 3];
//! let images: Images = Arc::new(MemorySet::from_images("black", &pictures, vec![0; 3], vec!["a".into(), "b".into()])?);
//! let folder = tempfile::tempdir()?;
//! let settings = Settings { images: Some(3), ..Settings::default() };
//! let job = Job { subjects: &[subject], images: &images, settings: &settings, command: String::new(), out: folder.path() };
//! let found = diagnose(&job, &machine, &Silent)?;
//! assert_eq!(found.models[0].attention.as_ref().unwrap().layers.len(), 2);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![deny(missing_docs)]

pub mod attention;
mod heat;
mod job;
pub mod landscape;
mod subject;

pub use job::{Job, Settings, diagnose};
pub use subject::{Subject, about};
