//! State dicts of the published sizes, by name and shape (`goldens/keys`): every tensor is used, and none is missing.

use std::collections::BTreeMap;

use robustify_zoo::clip::{Clip, ClipConfig};
use robustify_zoo::weights::{self, Shapes};
use robustify_zoo::{Model, registry};

type Lines = BTreeMap<String, Vec<usize>>;

#[test]
#[allow(clippy::print_stdout, reason = "the table is worth seeing, with --nocapture")]
fn every_key_of_the_published_models_is_used() {
    let file = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/goldens/keys/keys.json")).unwrap();
    let models: BTreeMap<String, Lines> = serde_json::from_str(&file).unwrap();
    assert!(models.len() >= 50, "only {} models", models.len());
    println!("{:<36} {:>12} {:>6} {:>6} {:>12} {:>8}", "model", "names", "keys", "used", "passed over", "missing");
    for (name, lines) in &models {
        let found: Shapes = lines.iter().flat_map(expanded).collect();
        let expected = shapes(name);
        let (naming, ours) = weights::recognised(&found, &expected);
        let used = expected.iter().filter(|(key, shape)| ours.get(*key) == Some(shape)).count();
        let (missing, mut unknown) = (expected.len() - used, Vec::new());
        let mut passed_over = 0;
        for key in ours.keys().filter(|key| !expected.contains_key(*key)) {
            match weights::passed_over(key) {
                Some(_) => passed_over += 1,
                None => unknown.push(key),
            }
        }
        println!("{name:<36} {naming:>12} {:>6} {used:>6} {passed_over:>12} {missing:>8}", found.len());
        assert!(unknown.is_empty(), "{name}: no use for {unknown:?}");
        assert_eq!(missing, 0, "{name}: not all of our tensors are found");
        assert!(used >= 80, "{name}: only {used} tensors");
    }
}

fn shapes(name: &str) -> Shapes {
    let device = robustify_device::open(Some("flex")).unwrap();
    if let Ok(config) = ClipConfig::named(name) {
        return weights::shapes(&Clip::blank(&config, &device).unwrap());
    }
    let config = (registry::find(name).unwrap().config)();
    weights::shapes(&Model::blank(&config, &device).unwrap())
}

/// `a.{0-2}.b` stands for `a.0.b`, `a.1.b` and `a.2.b`.
fn expanded((line, shape): (&String, &Vec<usize>)) -> Vec<(String, Vec<usize>)> {
    let Some((before, rest)) = line.split_once('{') else { return vec![(line.clone(), shape.clone())] };
    let (range, after) = rest.split_once('}').unwrap();
    let (first, last) = range.split_once('-').unwrap();
    let numbers = first.parse::<usize>().unwrap()..=last.parse().unwrap();
    numbers.map(|number| (format!("{before}{number}{after}"), shape.clone())).collect()
}
