//! Every way to make one answer of stored answers: rules and mixtures of three heads, and blends of several models.

use std::collections::BTreeMap;

use robustify_predict::{Answers, HeadAnswer};
use robustify_select::{
    Calibration, Dawin, Head, Mixture, NamedRule, Route, Rule, SampleStatistics, SelectConfig, argmax, fit_temperature,
};

use crate::store::Stored;

/// A way to answer with three heads, under its name in records.
#[derive(Clone, Debug, PartialEq)]
pub struct HeadRoute {
    /// The name: of a route or mixture, with `_deterministic` behind it where the heads answer without dropout.
    pub name: String,
    way: Way,
    deterministic: bool,
    /// Settings of rules; which of a head's uncertainties is read.
    select: SelectConfig,
}

#[derive(Clone, Debug, PartialEq)]
enum Way {
    Choice(NamedRule),
    Mixture(Mixture),
    /// DaWin's published output form, between the clean and the robust head.
    Dawin(Dawin),
}

/// What is fitted on clean validation images, never on those that are reported.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Calibrations {
    /// Of three heads, by the model's name.
    pub heads: BTreeMap<String, Calibration>,
    /// DaWin's between the clean and the robust head, by the model's name, or between two members of a blend, by its name.
    pub dawin: BTreeMap<String, Dawin>,
}

impl Calibrations {
    /// From the answers of all models about clean validation images.
    pub fn fit(answers: &[(String, Stored)], blends: &[Blend], select: &SelectConfig) -> Self {
        let mut fitted = Self::default();
        for (model, stored) in answers {
            let Answers::Heads(heads) = &stored.answers else { continue };
            let samples: Vec<SampleStatistics> = heads.iter().map(|head| head.passes.clone()).collect();
            if let Some(calibration) = Calibration::fit(&samples, select) {
                fitted.heads.insert(model.clone(), calibration);
            }
            let pairs = samples.iter().map(|sample| [of(sample, Head::Clean), of(sample, Head::Robust)]);
            fitted.add_dawin(model, pairs.collect(), &stored.labels);
        }
        for blend in blends {
            if let (Some([first, second]), Some((_, stored))) = (blend.members(answers).as_deref(), answers.first()) {
                let pairs = first.iter().zip(second).map(|(first, second)| [first.as_slice(), second.as_slice()]);
                fitted.add_dawin(&blend.name, pairs.collect(), &stored.labels);
            }
        }
        fitted
    }

    /// DaWin's between two members, of which the first is the original one.
    fn add_dawin(&mut self, name: &str, pairs: Vec<[&[f32]; 2]>, labels: &[usize]) {
        let temperature =
            |member: usize| fit_temperature(pairs.iter().zip(labels).map(|(pair, &label)| (pair[member], label)));
        // Images on which a member has no entropy at all say nothing: then there is no such row.
        if let Ok(dawin) = Dawin::fit(pairs.iter().copied(), [temperature(0), temperature(1)]) {
            self.dawin.insert(name.to_owned(), dawin);
        }
    }
}

/// Routes that are also measured without dropout in the answers; only the uncertainty still comes from the passes.
const DETERMINISTIC: [Route; 7] =
    [Route::Product, Route::Kl, Route::Uncertainty, Route::MaxProb, Route::Clean, Route::Combined, Route::Robust];

impl HeadRoute {
    /// All ways that are compared, the passes' first.
    pub fn all(select: &SelectConfig, calibration: Option<&Calibration>, dawin: Option<&Dawin>) -> Vec<Self> {
        let mut all = Vec::new();
        for deterministic in [false, true] {
            let suffix = if deterministic { "_deterministic" } else { "" };
            let mut push = |name: &str, way| {
                all.push(Self { name: format!("{name}{suffix}"), way, deterministic, select: *select });
            };
            for rule in select.rules(calibration.filter(|_| !deterministic)) {
                if !deterministic || DETERMINISTIC.contains(&rule.route) {
                    push(rule.name, Way::Choice(rule));
                }
            }
            for mixture in Mixture::ALL {
                push(mixture.name(), Way::Mixture(mixture));
            }
            if let Some(dawin) = dawin.filter(|_| !deterministic) {
                push("dawin", Way::Dawin(*dawin));
            }
        }
        all
    }

    /// The configured rule, under a name of its own.
    pub fn selected(name: &str, select: &SelectConfig) -> Self {
        let way = match select.rule {
            Rule::Mixture(mixture) => Way::Mixture(mixture),
            Rule::Route(route) => Way::Choice(NamedRule { name: route.name(), route, config: *select }),
        };
        Self { name: name.to_owned(), way, deterministic: select.deterministic, select: *select }
    }

    /// The class that it answers for an image, and the head that it took if it took one. `id` keys the random choice.
    pub fn answer(&self, answer: &HeadAnswer, label: usize, id: u64) -> (Option<Head>, usize) {
        let sample = if self.deterministic { answer.deterministic_statistics() } else { answer.passes.clone() };
        match &self.way {
            Way::Choice(rule) => {
                let head = rule.choose(&sample, label, id);
                (Some(head), sample.prediction(head))
            }
            Way::Mixture(mixture) => {
                let members: Vec<&[f32]> = match mixture {
                    Mixture::Selective => [Head::Clean, Head::Robust].map(|head| of(&sample, head)).to_vec(),
                    _ => Head::ALL.map(|head| of(&sample, head)).to_vec(),
                };
                let kind = self.select.uncertainty as usize;
                let uncertainty = sample.uncertainty.map(|uncertainty| f64::from(uncertainty[kind]));
                let mixed = mixture.mix(&members, Some(&uncertainty[..members.len()]));
                (None, argmax(&mixed.expect("heads of one model have the same classes")))
            }
            Way::Dawin(dawin) => {
                let mixed = dawin.mix(of(&sample, Head::Clean), of(&sample, Head::Robust));
                (None, argmax(&mixed.expect("heads of one model have the same classes")))
            }
        }
    }

    /// Whether it chooses between the clean and the robust head, so that the choice can be judged.
    pub fn chooses(&self) -> bool {
        matches!(&self.way, Way::Choice(rule) if rule.route != Route::Combined)
    }
}

fn of(sample: &SampleStatistics, head: Head) -> &[f32] {
    &sample.probabilities[head.index()]
}

/// Several models that answer together, from their stored answers: a row of its own in every table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blend {
    /// Its name in records.
    pub name: String,
    /// Names of its members.
    pub models: Vec<String>,
}

impl Blend {
    /// The route in records that stands for a blend: the mean of the members' probabilities.
    pub const MAIN: &'static str = "mean";

    /// A blend of models by name.
    pub fn new(name: &str, models: &[&str]) -> Self {
        Self { name: name.to_owned(), models: models.iter().map(|&model| model.to_owned()).collect() }
    }

    /// Probabilities of each member for every image; a model with three heads counts as three members. None if a member is
    /// missing.
    fn members(&self, answers: &[(String, Stored)]) -> Option<Vec<Vec<Vec<f32>>>> {
        let mut members = Vec::new();
        for wanted in &self.models {
            let (_, stored) = answers.iter().find(|(model, _)| model == wanted)?;
            match &stored.answers {
                Answers::Heads(heads) => {
                    for head in Head::ALL {
                        members.push(heads.iter().map(|answer| answer.deterministic[head.index()].clone()).collect());
                    }
                }
                logits @ Answers::Logits { .. } => members.push(logits.probabilities()),
            }
        }
        Some(members)
    }

    /// The classes that every mixture answers for every image, with the mixture's name; nothing if a member is missing.
    pub(crate) fn answers(&self, answers: &[(String, Stored)], dawin: Option<&Dawin>) -> Vec<(String, Vec<usize>)> {
        let Some(members) = self.members(answers) else { return Vec::new() };
        let images = members.first().map_or(0, Vec::len);
        let of = |image: usize| members.iter().map(|member| member[image].as_slice()).collect::<Vec<_>>();
        let possible = Mixture::ALL.into_iter().filter(|mixture| mixture.check(members.len(), None).is_ok());
        let mut all: Vec<(String, Vec<usize>)> = possible
            .map(|mixture| {
                let mix = |image| mixture.mix(&of(image), None).expect("members of one suite have the same classes");
                (mixture.name().to_owned(), (0..images).map(|image| argmax(&mix(image))).collect())
            })
            .collect();
        if let Some(dawin) = dawin {
            let mix = |image: usize| dawin.mix(&members[0][image], &members[1][image]);
            let classes = (0..images).map(|image| argmax(&mix(image).expect("two members with the same classes")));
            all.push(("dawin".to_owned(), classes.collect()));
        }
        all
    }
}
