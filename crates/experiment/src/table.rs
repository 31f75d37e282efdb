//! The table for people: the methods first, then how their heads may be chosen or mixed, what each costs, and what the words mean.

use robustify_augment::{Corruption, Group};
use robustify_bench::metrics::{PROBIT, SELECTED, SINGLE};
use robustify_bench::{Blend, reads_passes};
use robustify_methods::{METHODS, find, title};
use robustify_report::{Spread, Style, Table};

use crate::results::{Costs, Facts};
use crate::summary::{Line, Runs};
use crate::wrap::wrapped;

/// Routes of a model with three heads in groups, each route with its name for people.
const GROUPS: [(&str, &[(&str, &str)]); 4] = [
    (
        "choices of head, T passes",
        &[
            ("product", "the paper's product of U and KL"),
            ("kl", "KL alone (without U)"),
            ("uncertainty", "U alone (without KL)"),
            ("sum", "weighted sum of U and KL"),
            ("max_prob", "max probability"),
            ("entropy", "entropy"),
            ("product_calibrated", "product, calibrated"),
            ("kl_calibrated", "KL, calibrated"),
            ("uncertainty_calibrated", "U, calibrated"),
            ("gate", "fitted gate"),
        ],
    ),
    (
        "mixtures of the heads, T passes",
        &[
            ("mean", "mean of the heads"),
            ("geometric", "geometric mean"),
            ("entropy_weighted", "weighted by entropy"),
            ("inverse_uncertainty", "weighted by 1/U"),
            ("routed", "routed to the mean"),
            ("selective", "DaWin, selective"),
            ("dawin", "DaWin, offset"),
        ],
    ),
    (
        "one pass, without dropout",
        &[
            ("combined_deterministic", "combined head alone"),
            ("mean_deterministic", "mean of the heads"),
            ("geometric_deterministic", "geometric mean"),
            ("entropy_weighted_deterministic", "weighted by entropy"),
            ("kl_deterministic", "KL alone"),
            ("product_deterministic", "product, U of T passes"),
            ("product_laplace", "product, U of the last layer"),
            ("uncertainty_laplace", "U of the last layer alone"),
            ("product_calibrated_laplace", "product, calibrated, U of the last layer"),
            ("uncertainty_calibrated_laplace", "U, calibrated, of the last layer"),
            ("gate_deterministic", "fitted gate"),
            ("combined_laplace", "combined head, probit"),
            ("mean_laplace", "mean of the heads, probit"),
            ("entropy_weighted_laplace", "weighted by entropy, probit"),
            ("inverse_uncertainty_laplace", "weighted by 1/U, probit"),
            ("vrf_deterministic", "VRF of clean and robust head"),
        ],
    ),
    (
        "controls",
        &[
            ("clean", "always the clean head"),
            ("robust", "always the robust head"),
            ("combined", "combined head alone"),
            ("random", "clean or robust by a coin"),
            ("oracle", "best head, image by image (oracle)"),
        ],
    ),
];

/// Routes whose price says nothing: nobody would answer with them.
const WITHOUT_PRICE: [&str; 4] = ["clean", "robust", "random", "oracle"];

/// Columns of shifts that are no corruptions, with what they are.
const OTHER_SHIFTS: [(&str, &str); 3] = [
    ("background", "before drawn landscapes and patterns"),
    ("rendition", "as edge drawings and halftone prints"),
    (
        "transfer",
        "another task, how a picture is turned and tinted, read off the features of the clean answer by a linear probe",
    ),
];

/// What the table is made of.
pub(crate) struct Shown<'a> {
    pub runs: &'a Runs,
    pub facts: &'a Facts,
    /// Means over the seeds.
    pub costs: &'a [(String, Costs)],
}

/// Columns of the main table: name in records, heading.
type Columns = Vec<(&'static str, String)>;

impl Shown<'_> {
    /// The table with its legend, in lines of at most `width` columns as far as names and numbers allow it.
    pub fn text(&self, width: usize) -> String {
        let all = self.columns();
        let mut text = wrapped(&self.headline(), "", width) + "\n";
        let one = self.table(&all);
        if columns(&one) <= width {
            text += &one;
        } else {
            // A narrow terminal would break every line: the groups get a table of their own.
            let is_group = |name: &str| Group::TEST.iter().any(|group| group.name() == name);
            let (groups, rest): (Columns, Columns) = all.into_iter().partition(|(name, _)| is_group(name));
            text += &self.table(&rest);
            text += "\n";
            text += &self.table(&groups);
        }
        text += "\n";
        text += &self.legend(width);
        text + &self.choices(width)
    }

    /// What was measured.
    fn headline(&self) -> String {
        let Facts { part, clean_images, images, severities, corruptions, seeds, .. } = self.facts;
        let levels: Vec<String> = severities.iter().map(u8::to_string).collect();
        let seeds = if *seeds > 1 { format!("; mean ± standard deviation over {seeds} seeds") } else { String::new() };
        let shifted = match corruptions.len() {
            0 => String::new(),
            count => format!(
                ", and on {images} of them under each of {count} corruption{} at severity {}",
                if count == 1 { "" } else { "s" },
                levels.join(", ")
            ),
        };
        format!("Accuracy in percent on {clean_images} clean images of the part `{part}`{shifted}{seeds}.")
    }

    /// Columns that anything has a number for.
    fn columns(&self) -> Columns {
        let mut columns = vec![("clean", "clean".to_owned())];
        columns.extend(Group::TEST.iter().map(|group| (group.name(), group.name().to_owned())));
        columns.push(("mean", self.mean()));
        columns.extend(OTHER_SHIFTS.iter().map(|(name, _)| (*name, (*name).to_owned())));
        columns.retain(|(name, _)| self.has(name));
        columns.push(("training", "training".into()));
        columns.push(("inference", "inference".into()));
        columns
    }

    fn has(&self, column: &str) -> bool {
        self.runs.lines().iter().any(|line| line.value(column).is_some())
    }

    /// The heading of the mean: that of a benchmark is over its fifteen corruptions and no others.
    fn mean(&self) -> String {
        let count = self.facts.corruptions.len();
        if self.is_over_all() { "mean".into() } else { format!("mean of {count}") }
    }

    fn is_over_all(&self) -> bool {
        let measured = &self.facts.corruptions;
        measured.len() == Corruption::TEST.len()
            && Corruption::TEST.iter().all(|corruption| measured.iter().any(|name| name == corruption.name()))
    }

    fn table(&self, columns: &Columns) -> String {
        let mut table = Table::new(std::iter::once("").chain(columns.iter().map(|(_, heading)| heading.as_str())));
        let lines = self.runs.lines();
        for line in lines.iter().filter(|line| line.main) {
            self.row(&mut table, line, &self.name(line), columns);
        }
        for main in lines.iter().filter(|line| line.main && !is_variant(&line.model)) {
            let of_main = |line: &&Line| !line.main && line.model == main.model && !self.is_configured(line);
            let below: Vec<&Line> = lines.iter().filter(of_main).collect();
            for (heading, routes) in GROUPS {
                let of = |route: &str| below.iter().find(|line| line.route == route);
                let found: Vec<_> = routes.iter().filter_map(|(route, name)| Some((of(route)?, name))).collect();
                if !found.is_empty() {
                    // A blend of models has no heads and no passes.
                    let heading = if main.route == SELECTED { heading } else { "other mixtures" };
                    table.heading(format!("{}: {heading}", short_title(&main.model)));
                }
                for (line, name) in found {
                    self.row(&mut table, line, &format!("  {name}"), columns);
                }
            }
        }
        table.render(Style::Plain)
    }

    fn row(&self, table: &mut Table, line: &Line, name: &str, columns: &Columns) {
        let cells = columns.iter().map(|(column, _)| match *column {
            "training" if line.main => self.training(&line.model).map_or("–".into(), |time| format!("{time:.1}")),
            "training" => String::new(),
            "inference" if WITHOUT_PRICE.contains(&line.route.as_str()) => String::new(),
            "inference" => self.inference(line).map_or("–".into(), |ratio| format!("{ratio:.2}")),
            column => line.value(column).map_or("–".into(), percent),
        });
        table.row(std::iter::once(name.to_owned()).chain(cells));
    }

    /// Whether it is the configured rule once more, which stands with the methods.
    fn is_configured(&self, line: &Line) -> bool {
        let Facts { rule, deterministic, .. } = self.facts;
        let heads = self.runs.lines().iter().any(|main| main.model == line.model && main.route == SELECTED);
        heads && line.route == if *deterministic { format!("{rule}_deterministic") } else { rule.clone() }
    }

    /// The name of what a model answers by itself.
    fn name(&self, line: &Line) -> String {
        let name = short_title(&line.model);
        if let Some((_, size)) = self.facts.sizes.iter().find(|(model, _)| *model == line.model) {
            return format!("{name} ({size})");
        }
        // Variants answer by the same rule.
        if line.route != SELECTED || is_variant(&line.model) {
            return name;
        }
        let Facts { rule, deterministic, .. } = self.facts;
        let routes = || GROUPS.iter().flat_map(|(_, routes)| routes.iter());
        let rule = routes().find(|(route, _)| route == rule).map_or(rule.as_str(), |(_, name)| *name);
        let rule = rule.trim_start_matches("the paper's ");
        format!("{name}: {rule}{}", if *deterministic { ", one pass" } else { "" })
    }

    /// Milliseconds a training image; those of all members of a blend.
    fn training(&self, model: &str) -> Option<f64> {
        let times: Vec<f64> = costs_of(self.costs, model).iter().filter_map(|costs| costs.training).collect();
        (!times.is_empty()).then(|| times.iter().sum())
    }

    /// Time of an image over the original's.
    fn inference(&self, line: &Line) -> Option<f64> {
        let original = costs_of(self.costs, "original").first()?.inference?;
        let Facts { rule, deterministic, .. } = self.facts;
        let without_dropout = match line.route == SELECTED {
            true => *deterministic && !reads_passes(&format!("{rule}_deterministic")),
            // A model with one head makes no passes, and its time is whole.
            false => line.route != SINGLE && !reads_passes(&line.route),
        };
        let time = |costs: &Costs| if without_dropout { costs.inference_one_pass } else { costs.inference };
        let times: Option<Vec<f64>> = costs_of(self.costs, &line.model).iter().map(time).collect();
        times.filter(|times| !times.is_empty()).map(|times| times.iter().sum::<f64>() / original)
    }

    /// What rows and columns mean.
    fn legend(&self, width: usize) -> String {
        let mut text = String::new();
        let mut said: Vec<&str> = Vec::new();
        for line in self.runs.lines().iter().filter(|line| line.main) {
            let method = line.model.split('-').next().unwrap_or(&line.model);
            if let Ok(method) = find(method)
                && !said.contains(&method.name())
            {
                said.push(method.name());
                text += &wrapped(&format!("{}: {}.", method.title(), method.about()), "", width);
            }
        }
        let other = match self.is_over_all() {
            true => "over all fifteen corruptions".to_owned(),
            false => format!("over {}, which are not the benchmark's fifteen", self.facts.corruptions.join(", ")),
        };
        if !self.facts.corruptions.is_empty() {
            let what = format!(
                "clean: without a corruption; noise, blur, weather, digital: mean over the corruptions of a group; {}: {other}. Images \
                 are corrupted in memory, the frost is `{}`, so no mean is official.",
                self.mean(),
                self.facts.frost
            );
            text += &wrapped(&what, "", width);
        }
        for (name, what) in OTHER_SHIFTS.iter().filter(|(name, _)| self.has(name)) {
            text += &wrapped(&format!("{name}: {what}; made in memory, no part of a mean."), "", width);
        }
        text += &wrapped(
            "training: milliseconds of processor time for each training image, everything from the pre-trained model on (of methods \
             with a teacher without the teacher's own training). inference: time of one image on one thread over the original's. –: not \
             measured now.",
            "",
            width,
        );
        if self.runs.lines().iter().any(|line| line.route == SELECTED) {
            let what = format!(
                "U: uncertainty, the spread of a head's answers over T = {} Monte Carlo dropout passes, or what it is expected to be under the \
                 posterior of the head's last layer, which takes one pass (probit: its answers are flattened by it); KL: divergence between \
                 a head and the combined head; calibrated: divided by its mean on clean validation images; oracle: the better of the clean and the \
                 robust head for every image, which no rule can beat.",
                self.facts.passes
            );
            text += &wrapped(&what, "", width);
        }
        text
    }

    /// How well the choices between the clean and the robust head are made; nothing without such choices.
    fn choices(&self, width: usize) -> String {
        let choosing = |line: &&Line| {
            let is_shown = line.main || !(is_variant(&line.model) || self.is_configured(line));
            line.value("f_correct").is_some() && line.route != "oracle" && is_shown
        };
        let lines: Vec<&Line> = self.runs.lines().iter().filter(choosing).collect();
        if lines.is_empty() {
            return String::new();
        }
        let columns = ["f_correct", "f_correct_clean", "f_correct_shifted", "right_choice"];
        let mut table = Table::new(["choices, %", "F_correct", "of clean", "of shifted", "right choice"]);
        for line in lines {
            let known = GROUPS.iter().flat_map(|(_, routes)| routes.iter()).find(|(route, _)| *route == line.route);
            let of_one_pass = line.route != SELECTED && !reads_passes(&line.route);
            let one_pass = if of_one_pass { ", one pass" } else { "" };
            let name = known.map_or_else(|| self.name(line), |(_, name)| format!("{name}{one_pass}"));
            let cells = columns.map(|column| line.value(column).map_or("–".into(), percent));
            table.row(std::iter::once(name).chain(cells));
        }
        let legend = wrapped(
            "F_correct: share of images sent to the head that is meant for them, clean ones to the clean head, corrupted ones to the robust \
             head; the mean of both parts, which stand beside it. right choice: among images on which exactly one of the two heads is right, \
             the share sent to that one.",
            "",
            width,
        );
        format!("\n{}\n{legend}", table.render(Style::Plain))
    }
}

/// What a model costs, or each member of a blend.
pub(crate) fn costs_of(costs: &[(String, Costs)], model: &str) -> Vec<Costs> {
    let own = |model: &str| costs.iter().find(|(name, _)| name == model).map(|(_, costs)| *costs);
    match own(model) {
        Some(costs) => vec![costs],
        None => members(model).iter().filter_map(|member| own(member)).collect(),
    }
}

/// The name for people of a way to answer: of a model with one head its own, of several models theirs with the mixture's, and of three heads
/// the rule's or mixture's alone.
pub(crate) fn name_of_route(model: &str, route: &str, has_heads: bool) -> String {
    let routes = || GROUPS.iter().flat_map(|(_, routes)| routes.iter());
    let known = |route: &str| routes().find(|(known, _)| *known == route).map(|(_, name)| *name);
    let plain = route.trim_end_matches("_deterministic");
    let name = known(route).or_else(|| known(plain)).map_or_else(|| plain.replace('_', " "), str::to_owned);
    match route {
        SINGLE => short_title(model),
        PROBIT => format!("{}, probit", short_title(model)),
        Blend::MAIN if !has_heads => format!("{}: mean", short_title(model)),
        _ if !has_heads => format!("{}: {name}", short_title(model)),
        _ if !reads_passes(route) => format!("{name}, one pass"),
        // The uncertainty is that of the passes, the answers are not.
        _ if plain != route && known(route).is_none() => format!("{name}, answers of one pass"),
        _ => name,
    }
}

/// Whether a row is a method's other than its first, as in `robustify-without_kd`. Their other rules stand in `summary.json` alone.
pub(crate) fn is_variant(model: &str) -> bool {
    model.contains('-')
}

/// Columns that the widest line takes.
fn columns(text: &str) -> usize {
    text.lines().map(|line| line.chars().count()).max().unwrap_or_default()
}

/// The name for people of a model.
pub(crate) fn short_title(model: &str) -> String {
    title(model).replace("without kd", "without distillation")
}

/// The models whose answers a row is made of; none of a model with answers of its own.
fn members(model: &str) -> Vec<String> {
    let blends = METHODS.iter().flat_map(|method| method.blends());
    blends.into_iter().find(|blend| blend.name == model).map(|blend| blend.models).unwrap_or_default()
}

/// A fraction in percent, with the deviation where it would not be printed as zero; numbers stand below each other either way.
fn percent(value: Spread) -> String {
    let mean = format!("{:.1}", 100.0 * value.mean);
    match value.deviation.map(|deviation| format!("{:.1}", 100.0 * deviation)) {
        None => mean,
        Some(deviation) if deviation == "0.0" => format!("{mean}    "),
        Some(deviation) => format!("{mean}±{deviation}"),
    }
}

#[cfg(test)]
mod tests {
    use robustify_report::Row;

    use super::*;

    fn rows(seed: f64) -> Vec<Row> {
        let row = |model: &str, route: &str, corruption: Option<&str>, metric: &str, value: f64| Row {
            model: model.into(),
            suite: "some-c".into(),
            corruption: corruption.map(str::to_owned),
            severity: corruption.map(|_| 3),
            route: route.into(),
            metric: metric.into(),
            value,
            count: 100,
        };
        let mut rows = Vec::new();
        for corruption in [None, Some("fog"), Some("gaussian_noise")] {
            rows.push(row("robustify", SELECTED, corruption, "accuracy", 0.75 + seed));
            for route in ["oracle", "combined_deterministic", "kl"] {
                rows.push(row("robustify", route, corruption, "accuracy", 0.625));
                rows.push(row("robustify", route, corruption, "f_correct", 0.5));
            }
            rows.push(row("wise_ft-0.5", SINGLE, corruption, "accuracy", 0.5));
            rows.push(row("original", SINGLE, corruption, "accuracy", 0.25));
        }
        rows
    }

    fn text(width: usize) -> String {
        let (one, other) = (rows(0.0), rows(0.02));
        let facts = Facts {
            part: "validation".into(),
            clean_images: 1000,
            images: 100,
            corruptions: vec!["fog".into(), "gaussian_noise".into()],
            severities: vec![3],
            rule: "mean".into(),
            deterministic: true,
            passes: 10,
            sizes: vec![("original".into(), "ResNet, 1.62 M".into())],
            frost: "frost-procedural".into(),
            seeds: 2,
        };
        let costs = |training, inference, inference_one_pass| Costs {
            training,
            inference: Some(inference),
            inference_one_pass,
            ..Costs::default()
        };
        let costs = [
            ("original".into(), costs(None, 2.0, None)),
            ("robustify".into(), costs(Some(23.0), 3.0, Some(2.5))),
            ("wise_ft-0.5".into(), costs(Some(14.0), 2.0, None)),
        ];
        Shown { runs: &Runs::new(&[&one, &other]), facts: &facts, costs: &costs }.text(width)
    }

    #[test]
    fn methods_come_first_and_every_line_fits() {
        let text = text(120);
        let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let place = |part: &str| flat.find(part).unwrap_or_else(|| panic!("no `{part}` in\n{text}"));
        let order = [
            "on 1000 clean images of the part `validation`, and on 100 of them under each of 2 corruptions at severity 3",
            "mean of 2 training inference",
            "original (ResNet, 1.62 M)",
            "WiSE-FT, 0.5",
            "robustify: mean of the heads, one pass",
            "robustify: choices of head, T passes KL alone",
            "robustify: one pass, without dropout combined head alone",
            "robustify: controls best head",
            "over fog, gaussian_noise, which are not the benchmark's fifteen",
        ];
        assert!(order.windows(2).all(|pair| place(pair[0]) < place(pair[1])), "{text}");
        let line = text.lines().find(|line| line.starts_with("robustify: mean")).unwrap();
        assert!(line.contains("76.0±1.4") && line.ends_with("23.0       1.25"), "{line}");
        assert!(text.lines().all(|line| line.chars().count() <= 120), "{text}");
    }

    #[test]
    fn a_narrow_terminal_gets_two_tables() {
        let text = text(80);
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        assert_eq!(text.lines().filter(|line| line.starts_with("original (")).count(), 2, "{text}");
    }
}
