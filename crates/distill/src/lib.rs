//! Losses, methods, trainer and checkpoints: robust teacher, Robustify and APT.
#![deny(missing_docs)]

pub mod apt;
pub mod cache;
pub mod captions;
pub mod carot;
pub mod checkpoint;
pub mod contrastive;
pub mod dino;
mod error;
pub mod feature;
pub mod fresh;
mod growing;
pub mod layer_decay;
pub mod lipsum;
pub mod lora;
pub mod losses;
pub mod mae;
pub mod mixing;
pub mod optimizer;
pub mod pairs;
pub mod pixels;
pub mod probe;
pub mod prompts;
pub mod recipe;
pub mod robustify;
pub mod schedule;
pub mod supervised;
pub mod trainer;
pub mod tuning;
pub mod views;

pub use apt::Apt;
pub use cache::{Precision, Teacher, ViewCache};
pub use captions::{CaptionBatches, CaptionTraining, Captioned};
pub use error::DistillError;
pub use fresh::FreshPairs;
pub use layer_decay::LayerDecay;
pub use lora::{Lora, LoraConfig, LoraHeads, update_parameters};
pub use pairs::{CachedPairs, Pairs};
pub use probe::Probe;
pub use prompts::PromptTuning;
pub use robustify::Robustify;
pub use supervised::ImageTraining;
pub use tuning::{CombinedTeacher, RobustTeacher, TuningConfig};
pub use views::{ViewJob, ViewSpec};
