//! The borders between crates, read from every `Cargo.toml`: who may use whom, who knows Burn, who names a backend.

use toml::{Table, Value};

use super::Fault;
use crate::args::BACKENDS;

/// The crates from top to bottom, and which others each is built on: they all stand below it, since calls run downward only. A
/// crate may name directly whatever it can reach along these arrows. A crate may be listed before its folder is there.
///
/// Packages are named `robustify-<folder>`; `cli` reaches everything.
const BUILT_ON: [(&str, &[&str]); 21] = [
    ("cli", &["experiment", "diagnose", "pictures"]),
    ("experiment", &["methods", "diagnose", "eval", "bench", "predict", "distill", "hub", "device", "report", "watch"]),
    ("methods", &["distill", "bench", "predict", "deepaugment", "hub", "device", "report", "tokenizer", "watch"]),
    ("eval", &["bench", "predict", "select", "data", "zoo", "hub", "device", "report", "tokenizer", "watch"]),
    ("diagnose", &["predict", "select", "data", "zoo", "device", "report", "watch", "rng"]),
    ("pictures", &["data", "deepaugment", "device", "augment", "report", "watch", "rng"]),
    ("distill", &["select", "data", "zoo", "device", "report", "watch"]),
    ("bench", &["predict", "select", "data", "zoo", "device", "report", "watch"]),
    ("predict", &["select", "data", "zoo", "device", "report", "tokenizer"]),
    ("select", &["zoo"]),
    ("data", &["augment", "watch"]),
    ("hub", &["zoo", "report", "watch"]),
    ("zoo", &["kernels", "rng"]),
    ("deepaugment", &["augment", "report"]),
    ("device", &["kernels"]),
    ("kernels", &[]),
    ("augment", &["rng"]),
    ("tokenizer", &[]),
    ("report", &[]),
    ("watch", &[]),
    ("rng", &[]),
];

/// Crates that know no tensors: they build in seconds, and serve programs without Burn.
const WITHOUT_BURN: [&str; 6] = ["augment", "report", "rng", "tokenizer", "watch", "xtask"];

/// Crates that implement a backend, or what one is made of.
const BACKEND_CRATES: [&str; 11] = [
    "burn-cpu",
    "burn-cubecl",
    "burn-cuda",
    "burn-dispatch",
    "burn-flex",
    "burn-ndarray",
    "burn-rocm",
    "burn-tch",
    "burn-wgpu",
    "cubecl",
    "tch",
];

/// Backends that have kernels. The crate behind `tch` has the same name.
const WITH_KERNELS: [&str; 2] = ["flex", "tch"];

/// What the program alone may use: libraries print nothing, read no arguments and catch no signals.
const PROGRAM_CRATES: [&str; 4] = ["clap", "console", "ctrlc", "indicatif"];

/// Crates that may use `anyhow`: what goes wrong in them is read by people, who need the whole chain of causes, and is not matched by
/// code. Below them, errors have types, since callers tell them apart.
const WITH_ANYHOW: [&str; 8] = ["cli", "diagnose", "eval", "experiment", "hub", "methods", "pictures", "xtask"];

/// Checks one manifest: the root's, a crate's or xtask's.
pub(super) fn check(path: &str, text: &str, table: &Table) -> Vec<Fault> {
    let folder = path.strip_suffix("/Cargo.toml").unwrap_or_default();
    // A workspace of its own below the root holds fuzz targets: it needs a nightly compiler and is no part of the program.
    if !folder.is_empty() && table.contains_key("workspace") {
        return Vec::new();
    }
    let manifest = Manifest { path, text, folder: folder.strip_prefix("crates/").unwrap_or(folder) };
    if folder.is_empty() {
        return manifest.check_root(table);
    }
    let mut faults = Vec::new();
    if manifest.folder != "xtask" && built_on(manifest.folder).is_none() {
        faults.push(
            manifest.fault("[package]", "this crate is not in the table of tidy/borders.rs; enter it".to_owned()),
        );
    }
    for dependency in dependencies(table) {
        faults.extend(manifest.check_dependency(&dependency));
    }
    faults.extend(manifest.check_features(table));
    faults
}

/// One manifest, and whose it is.
struct Manifest<'a> {
    path: &'a str,
    text: &'a str,
    /// `zoo` for `crates/zoo`, `xtask`, or nothing for the root.
    folder: &'a str,
}

/// An entry of a table of dependencies.
struct Dependency<'a> {
    name: &'a str,
    spec: &'a Value,
    /// For tests alone.
    dev: bool,
}

impl Dependency<'_> {
    fn features(&self) -> impl Iterator<Item = &str> {
        self.spec.get("features").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
    }

    fn is_burn(&self) -> bool {
        self.name == "burn" || self.name.starts_with("burn-")
    }

    fn is_backend(&self) -> bool {
        BACKEND_CRATES.contains(&self.name)
    }
}

impl Manifest<'_> {
    fn fault(&self, key: &str, message: String) -> Fault {
        Fault::new(self.path, line_of(self.text, key), message)
    }

    fn check_dependency(&self, dependency: &Dependency) -> Vec<Fault> {
        let Dependency { name, spec, dev } = *dependency;
        let mut messages = Vec::new();
        if spec.get("workspace").and_then(Value::as_bool) != Some(true) {
            messages
                .push(format!("`{name}` is declared here; declare it once, in the root, and write `workspace = true`"));
        }
        if let Some(other) = name.strip_prefix("robustify-").or((name == "robustify").then_some("cli")) {
            messages.extend(self.check_arrow(other, dev));
        }
        if dependency.is_burn() && WITHOUT_BURN.contains(&self.folder) {
            messages
                .push(format!("`{name}`: `{}` knows no tensors, so that it serves programs without Burn", self.folder));
        }
        if dependency.is_backend() && !self.may_name(name) {
            messages.push(format!("`{name}`: only `device` names a backend; take the device as an argument"));
        }
        if dependency.is_burn() {
            for feature in dependency.features().filter(|feature| BACKENDS.contains(feature) && !self.may_name(feature))
            {
                messages.push(format!("feature `{feature}` of `{name}`: only `device` names a backend"));
            }
        }
        if PROGRAM_CRATES.contains(&name) && !dev && !matches!(self.folder, "cli" | "xtask") {
            messages.push(format!(
                "`{name}` is for the program; a library prints nothing and takes its settings as values"
            ));
        }
        if name == "anyhow" && !dev && !WITH_ANYHOW.contains(&self.folder) {
            messages.push(format!("`anyhow`: errors of `{}` are told apart by code; give them a type", self.folder));
        }
        messages.into_iter().map(|message| self.fault(name, message)).collect()
    }

    /// `device` names every backend, since it opens them; `kernels` names those it has kernels for.
    fn may_name(&self, backend: &str) -> bool {
        self.folder == "device" || self.folder == "kernels" && WITH_KERNELS.contains(&backend)
    }

    /// An arrow to another crate of the workspace.
    fn check_arrow(&self, other: &str, dev: bool) -> Option<String> {
        let tests_with_burn = dev && other == "device" && !WITHOUT_BURN.contains(&self.folder);
        if reaches(self.folder, other) || tests_with_burn {
            return None;
        }
        let allowed: Vec<_> =
            BUILT_ON.iter().map(|(name, _)| *name).filter(|name| reaches(self.folder, name)).collect();
        let allowed = if allowed.is_empty() { "none".to_owned() } else { allowed.join(", ") };
        let above = if is_above(other, self.folder) { ", which stands above it: calls run downward only" } else { "" };
        Some(format!("`{}` may not use `{other}`{above}; of this workspace it may use {allowed}", self.folder))
    }

    fn check_features(&self, table: &Table) -> Vec<Fault> {
        let empty = Table::new();
        let features = table.get("features").and_then(Value::as_table).unwrap_or(&empty);
        let of_backends: Vec<_> = features.keys().filter(|name| BACKENDS.contains(&name.as_str())).collect();
        let mut faults = Vec::new();
        if matches!(self.folder, "device" | "cli") {
            for missing in BACKENDS.into_iter().filter(|name| !features.contains_key(*name)) {
                let message = format!("backend `{missing}` has no feature here; xtask would ask for it in vain");
                faults.push(self.fault("[features]", message));
            }
        } else {
            for name in of_backends.into_iter().filter(|name| !self.may_name(name)) {
                let message = format!("feature `{name}`: only `device` names a backend, and only `cli` passes it on");
                faults.push(self.fault(name, message));
            }
        }
        let enabled =
            features.iter().flat_map(|(name, list)| list.as_array().into_iter().flatten().map(move |e| (name, e)));
        for (name, entry) in enabled {
            let Some((package, feature)) = entry.as_str().and_then(|entry| entry.split_once('/')) else { continue };
            if package.starts_with("burn") && BACKENDS.contains(&feature) && !self.may_name(feature) {
                faults.push(self.fault(name, format!("`{package}/{feature}`: only `device` names a backend")));
            }
        }
        faults
    }

    /// What the root declares must leave the choice of a backend to `device`.
    fn check_root(&self, table: &Table) -> Vec<Fault> {
        let declared =
            table.get("workspace").and_then(|workspace| workspace.get("dependencies")).and_then(Value::as_table);
        let mut faults = Vec::new();
        for (name, spec) in declared.into_iter().flatten() {
            let dependency = Dependency { name, spec, dev: false };
            if !dependency.is_burn() || dependency.is_backend() {
                continue;
            }
            if name == "burn" && spec.get("default-features").and_then(Value::as_bool) != Some(false) {
                faults.push(
                    self.fault(name, "`burn` without `default-features = false` may bring in a backend".to_owned()),
                );
            }
            for feature in dependency.features().filter(|feature| BACKENDS.contains(feature)) {
                let message =
                    format!("feature `{feature}` of `{name}` would be on for every crate; `device` turns it on");
                faults.push(self.fault(name, message));
            }
        }
        faults
    }
}

fn built_on(folder: &str) -> Option<&'static [&'static str]> {
    BUILT_ON.iter().find(|(name, _)| *name == folder).map(|(_, others)| *others)
}

/// Whether a crate stands above another in the table.
fn is_above(one: &str, other: &str) -> bool {
    let place = |folder: &str| BUILT_ON.iter().position(|(name, _)| *name == folder);
    matches!((place(one), place(other)), (Some(one), Some(other)) if one < other)
}

/// The crates that are there, from top to bottom, and what each is built on, a line each.
pub(super) fn table(is_there: impl Fn(&str) -> bool) -> String {
    let there = |name: &&&str| is_there(name);
    let mut lines = String::new();
    for (name, others) in BUILT_ON.iter().filter(|(name, _)| is_there(name)) {
        let others: Vec<&str> = others.iter().filter(there).copied().collect();
        lines += format!("{name:<12} {}", others.join(", ")).trim_end();
        lines.push('\n');
    }
    lines
}

/// Whether a crate can be reached from another along the arrows of the table.
fn reaches(from: &str, to: &str) -> bool {
    let mut next = built_on(from).unwrap_or_default().iter();
    next.any(|step| *step == to || reaches(step, to))
}

/// Every dependency, also those of one platform, of tests and of build scripts.
fn dependencies(table: &Table) -> Vec<Dependency<'_>> {
    let platforms = table.get("target").and_then(Value::as_table).into_iter().flat_map(Table::values);
    let tables = std::iter::once(table).chain(platforms.filter_map(Value::as_table));
    let kinds = [("dependencies", false), ("build-dependencies", false), ("dev-dependencies", true)];
    let mut found = Vec::new();
    for table in tables {
        for (kind, dev) in kinds {
            let entries = table.get(kind).and_then(Value::as_table).into_iter().flatten();
            found.extend(entries.map(|(name, spec)| Dependency { name, spec, dev }));
        }
    }
    found
}

/// The line a key stands on, or the header it is part of; 0 if it is written in some other way.
fn line_of(text: &str, key: &str) -> usize {
    let ends_name = |rest: &str| !rest.starts_with(|c: char| c.is_alphanumeric() || matches!(c, '_' | '-'));
    let header = format!("dependencies.{key}]");
    let stands_on = |line: &str| line.strip_prefix(key).is_some_and(ends_name) || line.ends_with(&header);
    text.lines().position(|line| stands_on(line.trim())).map_or(0, |index| index + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(path: &str, text: &str) -> Vec<String> {
        check(path, text, &text.parse().unwrap()).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn arrows_run_one_way() {
        let text = "[dependencies]\nburn.workspace = true\nrobustify-distill = { workspace = true }\n";
        assert_eq!(
            messages("crates/zoo/Cargo.toml", text),
            [
                "crates/zoo/Cargo.toml:3: `zoo` may not use `distill`, which stands above it: calls run downward only; of this workspace \
              it may use kernels, rng"
            ]
        );
        assert!(messages("crates/cli/Cargo.toml", text).iter().all(|message| message.contains("has no feature")));
    }

    #[test]
    fn the_table_runs_from_top_to_bottom() {
        for (name, others) in BUILT_ON {
            for other in others {
                assert!(is_above(name, other), "`{name}` is built on `{other}`, which stands above it");
            }
        }
        let beside = "[dependencies]\nrobustify-tokenizer.workspace = true\n";
        assert_eq!(
            messages("crates/report/Cargo.toml", beside)[0],
            "crates/report/Cargo.toml:2: `report` may not use `tokenizer`, which stands above it: calls run downward only; of this \
             workspace it may use none"
        );
        let below = "[dependencies]\nrobustify-report.workspace = true\n";
        let said = &messages("crates/zoo/Cargo.toml", below)[0];
        assert!(said.contains("may not use `report`; of this"), "{said}");
    }

    #[test]
    fn the_table_shows_the_crates_that_are_there() {
        let shown = table(|name| ["cli", "pictures", "augment", "rng"].contains(&name));
        assert_eq!(shown, "cli          pictures\npictures     augment, rng\naugment      rng\nrng\n");
    }

    #[test]
    fn anyhow_is_for_crates_whose_errors_people_read() {
        let text = "[dependencies]\nanyhow.workspace = true\n";
        assert_eq!(messages("crates/pictures/Cargo.toml", text), [""; 0]);
        assert_eq!(messages("crates/hub/Cargo.toml", text), [""; 0]);
        assert_eq!(
            messages("crates/zoo/Cargo.toml", text),
            ["crates/zoo/Cargo.toml:2: `anyhow`: errors of `zoo` are told apart by code; give them a type"]
        );
    }

    #[test]
    fn a_workspace_of_its_own_is_left_alone() {
        let text = "[dependencies]\nburn = \"1\"\n";
        assert!(!messages("crates/augment/fuzz/Cargo.toml", text).is_empty());
        assert_eq!(messages("crates/augment/fuzz/Cargo.toml", &format!("[workspace]\n{text}")), [""; 0]);
    }

    #[test]
    fn what_is_reached_through_another_crate_may_be_named() {
        for other in ["zoo", "select", "data", "augment", "rng"] {
            let text = format!("[dependencies]\nrobustify-{other}.workspace = true\n");
            assert_eq!(messages("crates/distill/Cargo.toml", &text), [""; 0], "{other}");
        }
        assert!(!reaches("report", "rng") && !reaches("distill", "bench") && !reaches("xtask", "rng"));
    }

    #[test]
    fn tests_may_open_a_device_unless_the_crate_knows_no_tensors() {
        let text = "[dev-dependencies]\nrobustify-device = { workspace = true, features = [\"flex\"] }\n";
        assert_eq!(messages("crates/zoo/Cargo.toml", text), [""; 0]);
        assert_eq!(messages("crates/augment/Cargo.toml", text).len(), 1);
        assert_eq!(messages("crates/zoo/Cargo.toml", &text.replace("dev-", "")).len(), 1);
    }

    #[test]
    fn some_crates_know_no_burn_and_only_device_names_a_backend() {
        let burn = "[dependencies]\nburn = { workspace = true, features = [\"tch\"] }\n";
        assert_eq!(messages("crates/report/Cargo.toml", burn).len(), 2);
        assert_eq!(messages("crates/zoo/Cargo.toml", burn).len(), 1);
        let flex = "[target.'cfg(unix)'.dependencies.burn-flex]\nworkspace = true\n";
        assert_eq!(
            messages("crates/zoo/Cargo.toml", flex),
            ["crates/zoo/Cargo.toml:1: `burn-flex`: only `device` names a backend; take the device as an argument"]
        );
        assert_eq!(messages("crates/zoo/Cargo.toml", "[features]\nfast = [\"burn/cuda\"]\ntch = []\n").len(), 2);
    }

    #[test]
    fn kernels_names_the_backends_it_has_kernels_for() {
        let features = |name: &str| format!("[features]\n{name} = [\"burn/{name}\"]\n");
        for name in WITH_KERNELS {
            assert_eq!(messages("crates/kernels/Cargo.toml", &features(name)), [""; 0]);
        }
        let tch = "[dependencies]\ntch = { workspace = true, optional = true }\n";
        assert_eq!(messages("crates/kernels/Cargo.toml", tch), [""; 0]);
        assert_eq!(messages("crates/zoo/Cargo.toml", tch).len(), 1);
        assert_eq!(messages("crates/kernels/Cargo.toml", &features("wgpu")).len(), 2);
        assert_eq!(messages("crates/zoo/Cargo.toml", &features("flex")).len(), 2);
    }

    #[test]
    fn every_backend_xtask_knows_is_a_feature_of_device_and_of_the_program() {
        let features =
            |names: &[&str]| names.iter().fold("[features]\n".to_owned(), |all, name| all + name + " = []\n");
        assert_eq!(messages("crates/device/Cargo.toml", &features(&BACKENDS)), [""; 0]);
        assert_eq!(
            messages("crates/cli/Cargo.toml", &features(&BACKENDS[1..])),
            ["crates/cli/Cargo.toml:1: backend `flex` has no feature here; xtask would ask for it in vain"]
        );
    }

    #[test]
    fn dependencies_are_declared_once_and_libraries_do_without_the_programs() {
        let text = "[dependencies]\nserde = \"1.0\"\nclap.workspace = true\n";
        assert_eq!(messages("crates/report/Cargo.toml", text).len(), 2);
        assert!(messages("crates/report/Cargo.toml", text)[0].starts_with("crates/report/Cargo.toml:3:"));
    }

    #[test]
    fn the_root_turns_no_backend_on() {
        let text = "[workspace.dependencies]\nburn = { version = \"1\", features = [\"flex\"] }\n";
        assert_eq!(messages("Cargo.toml", text).len(), 2);
        assert_eq!(messages("Cargo.toml", &text.replace("features = [\"flex\"]", "default-features = false")), [""; 0]);
    }

    #[test]
    fn a_crate_outside_the_table_is_a_fault() {
        assert_eq!(messages("crates/extra/Cargo.toml", "[package]\nname = \"robustify-extra\"\n").len(), 1);
    }
}
