//! Every way to make one answer of stored answers: rules and mixtures of three heads, and blends of several models.

use std::cell::OnceCell;

use robustify_predict::{Answers, Columns, HeadAnswer};
use robustify_select::{
    Dawin, Gate, Head, Mixture, NamedRule, Route, Rule, SampleStatistics, SelectConfig, Uncertainty, argmax, neighbours,
};

use crate::fits::HeadFits;
use crate::store::Stored;

/// Routes that read the uncertainty of a head, which only T passes have, whatever its answers are.
const UNCERTAIN: [&str; 4] = ["product", "uncertainty", "sum", "inverse_uncertainty"];

/// Whether a route of a model with three heads, by its name in records, reads Monte Carlo passes: its answers, or their spread.
pub fn reads_passes(route: &str) -> bool {
    match route.strip_suffix("_deterministic") {
        Some(rule) => UNCERTAIN.contains(&rule),
        None => !route.ends_with("_laplace"),
    }
}

/// A way to answer with three heads, under its name in records.
#[derive(Clone, Debug, PartialEq)]
pub struct HeadRoute {
    /// The name: of a route or mixture; with `_deterministic` behind it where the heads answer without dropout, with `_laplace` where
    /// uncertainty comes from the last layer as well, so that no passes are made at all.
    pub name: String,
    way: Way,
    source: Source,
    /// Settings of rules; which of a head's uncertainties is read.
    select: SelectConfig,
}

/// Where the probabilities of the heads come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    /// Means over Monte Carlo passes.
    Passes,
    /// One pass without dropout.
    OnePass,
    /// One pass without dropout, flattened where the last layer is uncertain.
    Probit,
}

#[derive(Clone, Debug, PartialEq)]
enum Way {
    Choice(NamedRule),
    Mixture(Mixture),
    /// DaWin's published output form, between the clean and the robust head.
    Dawin(Dawin),
    /// A fitted gate.
    Gate(Gate),
    /// Variance reduction fusion of the clean and the robust head, at these temperatures.
    Vrf([f64; 2]),
}

/// Routes that are also measured without dropout in the answers; only the uncertainty still comes from the passes.
const DETERMINISTIC: [Route; 7] =
    [Route::Product, Route::Kl, Route::Uncertainty, Route::MaxProb, Route::Clean, Route::Combined, Route::Robust];
/// Rules that read an uncertainty, as they are measured with that of the last layer.
const UNCERTAIN_RULES: [Route; 2] = [Route::Product, Route::Uncertainty];
/// Mixtures of what the heads say when their last layers are uncertain.
const PROBIT: [Mixture; 3] = [Mixture::Mean, Mixture::EntropyWeighted, Mixture::InverseUncertainty];

impl HeadRoute {
    /// All ways that are compared, the passes' first, as far as what they take was fitted.
    pub fn all(select: &SelectConfig, fitted: &HeadFits) -> Vec<Self> {
        let mut all = Self::with_and_without_dropout(select, fitted);
        let mut push = |name: &str, way, source, select: &SelectConfig| {
            all.push(Self { name: name.to_owned(), way, source, select: *select });
        };
        let gates =
            [("gate", &fitted.gate, Source::Passes), ("gate_deterministic", &fitted.gate_one_pass, Source::OnePass)];
        for (name, gate, source) in gates {
            if let Some(gate) = gate {
                push(name, Way::Gate(gate.clone()), source, select);
            }
        }
        if let Some(temperatures) = fitted.vrf {
            push("vrf_deterministic", Way::Vrf(temperatures), Source::OnePass, select);
        }
        if let Some(calibration) = &fitted.laplace {
            let select = SelectConfig { uncertainty: Uncertainty::Laplace, ..*select };
            for rule in select.rules(Some(calibration)).into_iter().filter(|rule| UNCERTAIN_RULES.contains(&rule.route))
            {
                push(&format!("{}_laplace", rule.name), Way::Choice(rule), Source::OnePass, &select);
            }
            let combined = NamedRule { name: Route::Combined.name(), route: Route::Combined, config: select };
            push("combined_laplace", Way::Choice(combined), Source::Probit, &select);
            for mixture in PROBIT {
                push(&format!("{}_laplace", mixture.name()), Way::Mixture(mixture), Source::Probit, &select);
            }
        }
        all
    }

    /// Rules and mixtures over the passes, and again over one pass without dropout.
    fn with_and_without_dropout(select: &SelectConfig, fitted: &HeadFits) -> Vec<Self> {
        let mut all = Vec::new();
        for (source, suffix) in [(Source::Passes, ""), (Source::OnePass, "_deterministic")] {
            let is_passes = source == Source::Passes;
            let mut push = |name: &str, way| {
                all.push(Self { name: format!("{name}{suffix}"), way, source, select: *select });
            };
            for rule in select.rules(fitted.passes.as_ref().filter(|_| is_passes)) {
                if is_passes || DETERMINISTIC.contains(&rule.route) {
                    push(rule.name, Way::Choice(rule));
                }
            }
            for mixture in Mixture::ALL {
                push(mixture.name(), Way::Mixture(mixture));
            }
            if let Some(dawin) = fitted.dawin.filter(|_| is_passes) {
                push("dawin", Way::Dawin(dawin));
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
        let source = if select.deterministic { Source::OnePass } else { Source::Passes };
        Self { name: name.to_owned(), way, source, select: *select }
    }

    /// The class that it answers for the image at a place, and the head that it took if it took one. `id` keys the random choice.
    pub fn answer(
        &self,
        heads: &[HeadAnswer],
        beside: &Columns,
        image: usize,
        label: usize,
        id: u64,
    ) -> (Option<Head>, usize) {
        let (head, probabilities) = self.respond(heads, beside, image, label, id);
        (head, argmax(&probabilities))
    }

    /// The same with the probabilities of all classes.
    pub fn respond(
        &self,
        heads: &[HeadAnswer],
        beside: &Columns,
        image: usize,
        label: usize,
        id: u64,
    ) -> (Option<Head>, Vec<f32>) {
        self.respond_to(&Samples::new(heads, beside, image), label, id)
    }

    /// The same for an image that many routes are asked about.
    pub fn respond_to(&self, samples: &Samples<'_>, label: usize, id: u64) -> (Option<Head>, Vec<f32>) {
        let sample = samples.of(self.source);
        let [clean, robust] = [Head::Clean, Head::Robust].map(|head| of(sample, head));
        let mixed = match &self.way {
            Way::Choice(rule) => {
                let head = rule.choose(sample, label, id);
                return (Some(head), of(sample, head).to_vec());
            }
            Way::Gate(gate) => {
                let head = gate.choose(sample);
                return (Some(head), of(sample, head).to_vec());
            }
            Way::Mixture(mixture) => {
                let members = match mixture {
                    Mixture::Selective => vec![clean, robust],
                    _ => Head::ALL.map(|head| of(sample, head)).to_vec(),
                };
                let kind = self.select.uncertainty as usize;
                let uncertainty = sample.uncertainty.map(|uncertainty| f64::from(uncertainty[kind]));
                mixture.mix(&members, Some(&uncertainty[..members.len()]))
            }
            Way::Dawin(dawin) => dawin.mix(clean, robust),
            Way::Vrf(temperatures) => {
                let distance = samples.beside.row(Columns::DISTANCE, samples.image);
                let distance = distance.map_or(f64::INFINITY, |row| f64::from(row[0]));
                neighbours::mix(clean, robust, distance, *temperatures)
            }
        };
        (None, mixed.expect("heads of one model have the same classes"))
    }

    /// Whether it chooses between the clean and the robust head, so that the choice can be judged.
    pub fn chooses(&self) -> bool {
        match &self.way {
            Way::Choice(rule) => rule.route != Route::Combined,
            Way::Gate(_) => true,
            Way::Mixture(_) | Way::Dawin(_) | Way::Vrf(_) => false,
        }
    }
}

/// What rules read of one image; made once for all that read the same.
pub struct Samples<'a> {
    answer: &'a HeadAnswer,
    beside: &'a Columns,
    image: usize,
    of_source: [OnceCell<SampleStatistics>; 3],
}

impl<'a> Samples<'a> {
    /// The image at a place of a cell.
    pub fn new(heads: &'a [HeadAnswer], beside: &'a Columns, image: usize) -> Self {
        Self { answer: &heads[image], beside, image, of_source: Default::default() }
    }

    fn of(&self, source: Source) -> &SampleStatistics {
        self.of_source[source as usize].get_or_init(|| {
            let mut sample = match source {
                Source::Passes => self.answer.passes.clone(),
                Source::OnePass | Source::Probit => self.answer.deterministic_statistics(),
            };
            if let (Source::Probit, Some(told)) = (source, self.beside.row(Columns::PROBIT, self.image)) {
                let classes = self.answer.deterministic[0].len();
                sample.probabilities = [0, 1, 2].map(|head| told[head * classes..(head + 1) * classes].to_vec());
            }
            with_spread(sample, self.beside, self.image)
        })
    }
}

/// The statistics with the uncertainty of each head's last layer, where there is one.
pub(crate) fn with_spread(sample: SampleStatistics, beside: &Columns, image: usize) -> SampleStatistics {
    match beside.row(Columns::SPREAD, image) {
        Some(&[clean, combined, robust]) => sample.with_laplace([clean, combined, robust]),
        _ => sample,
    }
}

pub(crate) fn of(sample: &SampleStatistics, head: Head) -> &[f32] {
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
    pub(crate) fn members(&self, answers: &[(String, Stored)]) -> Option<Vec<Vec<Vec<f32>>>> {
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
