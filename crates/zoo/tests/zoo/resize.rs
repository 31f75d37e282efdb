//! Resized position embeddings equal timm's.

use std::path::Path;

use robustify_zoo::resize::position_embedding;
use robustify_zoo::weights;

#[test]
fn resized_positions_are_timms() {
    let stored = weights::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("goldens/positions.safetensors")).unwrap();
    let cases: Vec<&str> = stored.keys().filter_map(|key| key.strip_suffix(".grids")).collect();
    assert_eq!(cases, ["down", "tall", "up", "wide"]);
    for case in cases {
        let [height, width, new_height, new_width, prefix] = stored[&format!("{case}.grids")].values[..]
            .try_into()
            .map(|numbers: [f32; 5]| numbers.map(|n| n as usize))
            .unwrap();
        let (from, to) = (&stored[&format!("{case}.from")], &stored[&format!("{case}.to")]);
        let resized = position_embedding(&from.values, [height, width], [new_height, new_width], from.shape[2], prefix);
        let resized = resized.unwrap();
        assert_eq!(resized.len(), to.values.len(), "{case}");
        assert_eq!(resized[..prefix * to.shape[2]], from.values[..prefix * to.shape[2]], "{case}: prefix tokens moved");
        for (got, expected) in resized.iter().zip(&to.values) {
            assert!((got - expected).abs() < 2e-6, "{case}: {got}, timm has {expected}");
        }
    }
}

#[test]
fn a_grid_keeps_its_values_under_its_own_size_and_a_constant_under_any() {
    let values: Vec<f32> = (0..48).map(|value| value as f32).collect();
    let same = position_embedding(&values, [3, 5], [3, 5], 3, 1).unwrap();
    assert_eq!(same, values);
    let constant = position_embedding(&[2.5; 30], [3, 5], [7, 2], 2, 0).unwrap();
    assert!(constant.len() == 28 && constant.iter().all(|value| (value - 2.5).abs() < 1e-6));
}

#[test]
fn what_is_no_grid_is_refused() {
    for (count, from, to, width) in [
        (47, [3, 5], [3, 5], 3),
        (1, [0, 5], [2, 2], 1),
        (16, [3, 5], [0, 1], 1),
        (0, [3, 5], [3, 5], 0),
        (3, [usize::MAX, 2], [1, 1], 1),
    ] {
        let error = position_embedding(&vec![0.0; count], from, to, width, 1).unwrap_err();
        assert!(error.contains(&count.to_string()) && error.contains("width"), "{error}");
    }
}
