//! What rules and mixtures need to know beforehand: fitted on validation images, never on those that are reported.

use std::collections::BTreeMap;

use robustify_predict::{Answers, Columns, HeadAnswer};
use robustify_select::{Calibration, Dawin, Gate, Head, SampleStatistics, SelectConfig, Uncertainty, fit_temperature};

use crate::routes::{Blend, of, with_spread};
use crate::store::Stored;

/// What is fitted on validation images, never on those that are reported.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Calibrations {
    /// Of three heads, by the model's name.
    pub heads: BTreeMap<String, HeadFits>,
    /// DaWin's between two members of a blend, by its name.
    pub blends: BTreeMap<String, Dawin>,
}

/// What is fitted for a model with three heads. Whatever is not there has no row.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HeadFits {
    /// Divisors of uncertainty and divergence over the passes.
    pub passes: Option<Calibration>,
    /// The same over one pass with the uncertainty of the last layer.
    pub laplace: Option<Calibration>,
    /// DaWin's between the clean and the robust head.
    pub dawin: Option<Dawin>,
    /// Temperatures of the clean and the robust head without dropout, for variance reduction fusion.
    pub vrf: Option<[f64; 2]>,
    /// A gate on the statistics of the passes.
    pub gate: Option<Gate>,
    /// A gate on one pass.
    pub gate_one_pass: Option<Gate>,
}

/// What models said about validation images, with their names.
type Told = [(String, Stored)];

impl Calibrations {
    /// From the answers of all models about clean validation images, and about views of them under the training policy, from which gates
    /// are fitted; without such views there are none.
    pub fn fit(clean: &Told, views: &[Vec<(String, Stored)>], blends: &[Blend], select: &SelectConfig) -> Self {
        let mut fitted = Self::default();
        for (model, stored) in clean {
            let Answers::Heads(heads) = &stored.answers else { continue };
            let mut fits = HeadFits::of(heads, stored, select);
            if !views.is_empty() {
                let of_model = |told: &'_ Vec<(String, Stored)>| {
                    told.iter().find(|(name, _)| name == model).map(|(_, stored)| stored.clone())
                };
                let all: Vec<Stored> =
                    std::iter::once(stored.clone()).chain(views.iter().filter_map(of_model)).collect();
                fits.gate = gate(&all, false);
                fits.gate_one_pass = gate(&all, true);
            }
            fitted.heads.insert(model.clone(), fits);
        }
        for blend in blends {
            if let (Some([first, second]), Some((_, stored))) = (blend.members(clean).as_deref(), clean.first()) {
                let pairs: Vec<[&[f32]; 2]> =
                    first.iter().zip(second).map(|(a, b)| [a.as_slice(), b.as_slice()]).collect();
                fitted.blends.extend(dawin(&pairs, &stored.labels).map(|dawin| (blend.name.clone(), dawin)));
            }
        }
        fitted
    }
}

impl HeadFits {
    fn of(heads: &[HeadAnswer], stored: &Stored, select: &SelectConfig) -> Self {
        let passes: Vec<SampleStatistics> = heads.iter().map(|head| head.passes.clone()).collect();
        let both = |sample: &'_ SampleStatistics| [of(sample, Head::Clean).to_vec(), of(sample, Head::Robust).to_vec()];
        let pairs: Vec<[Vec<f32>; 2]> = passes.iter().map(both).collect();
        let pairs: Vec<[&[f32]; 2]> = pairs.iter().map(|[a, b]| [a.as_slice(), b.as_slice()]).collect();
        let beside = &stored.beside;
        let laplace = beside.has(Columns::SPREAD).then(|| {
            let select = SelectConfig { uncertainty: Uncertainty::Laplace, ..*select };
            Calibration::fit(&one_pass(heads, beside), &select)
        });
        let vrf = beside.has(Columns::DISTANCE).then(|| {
            [Head::Clean, Head::Robust].map(|head| {
                let told = heads.iter().map(|answer| answer.deterministic[head.index()].as_slice());
                fit_temperature(told.zip(stored.labels.iter().copied()))
            })
        });
        Self {
            passes: Calibration::fit(&passes, select),
            laplace: laplace.flatten(),
            dawin: dawin(&pairs, &stored.labels),
            vrf,
            ..Self::default()
        }
    }
}

/// The statistics of one pass without dropout, with the uncertainty of the last layers where there is one.
fn one_pass(heads: &[HeadAnswer], beside: &Columns) -> Vec<SampleStatistics> {
    let of_image = |(image, head): (usize, &HeadAnswer)| with_spread(head.deterministic_statistics(), beside, image);
    heads.iter().enumerate().map(of_image).collect()
}

/// A gate from what three heads said about several sets of images.
fn gate(told: &[Stored], is_one_pass: bool) -> Option<Gate> {
    let mut samples: Vec<(SampleStatistics, usize)> = Vec::new();
    for stored in told {
        let Answers::Heads(heads) = &stored.answers else { return None };
        let statistics = match is_one_pass {
            true => one_pass(heads, &stored.beside),
            false => heads.iter().map(|head| head.passes.clone()).collect(),
        };
        samples.extend(statistics.into_iter().zip(stored.labels.iter().copied()));
    }
    Gate::fit(samples.iter().map(|(sample, label)| (sample, *label)), is_one_pass)
}

/// DaWin's between two members, of which the first is the original one. Images on which a member has no entropy at all say nothing: then
/// there is no such row.
fn dawin(pairs: &[[&[f32]; 2]], labels: &[usize]) -> Option<Dawin> {
    let temperature =
        |member: usize| fit_temperature(pairs.iter().zip(labels).map(|(pair, &label)| (pair[member], label)));
    Dawin::fit(pairs.iter().copied(), [temperature(0), temperature(1)]).ok()
}
