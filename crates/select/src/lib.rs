//! The three heads, Monte Carlo dropout, and the rules that choose a head for every image.
//!
//! [`ThreeHeads`] is what is tuned on top of a frozen backbone: a shared part and the clean, combined and robust heads, all
//! copied from the original model. [`KeyedMasks`] are its dropout masks, which depend on seed, sample, pass and layer and on
//! nothing else. [`mc::statistics`] runs T stochastic passes over features computed once and keeps, for every image and
//! head, the mean probabilities and five measures of uncertainty; every [`Route`] is a function of these numbers, so that
//! all rules are compared on one set of passes. [`SelectConfig::rules`] lists them, calibrated ones among them; a [`Mixture`] or
//! [`Dawin`] makes one answer of several instead of choosing.
//!
//! Source: Jain et al. 2023, "Efficiently Robustify Pre-trained Models", arXiv:2309.07499, section 3.
//!
//! ```
//! use robustify_select::{Head, Route, SampleStatistics, SelectConfig};
//!
//! // The clean head disagrees with the combined head, the robust head does not.
//! let sample = SampleStatistics::from_passes([&[[0.9_f32, 0.1]], &[[0.2, 0.8]], &[[0.3, 0.7]]].map(|p| p.as_flattened()), 2);
//! assert_eq!(SelectConfig::default().choose(Route::Kl, &sample, 1, 0), Head::Robust);
//! ```
#![deny(missing_docs)]

mod beta;
pub mod dawin;
mod gate;
mod heads;
pub mod laplace;
mod masks;
pub mod mc;
mod mixtures;
pub mod neighbours;
mod rules;
mod symmetric;

pub use beta::BetaMixture;
pub use dawin::Dawin;
pub use gate::Gate;
pub use heads::{DropoutFrom, Head, OneHead, SplitConfig, ThreeHeads};
pub use laplace::{Curvature, Laplace, Structure};
pub use masks::KeyedMasks;
pub use mc::{McConfig, SampleStatistics, Uncertainty, argmax};
pub use mixtures::{Mixture, MixtureError, fit_temperature};
pub use neighbours::Neighbours;
pub use rules::{Calibration, KlDirection, NamedRule, Route, Rule, SelectConfig};
