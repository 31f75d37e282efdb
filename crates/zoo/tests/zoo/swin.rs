//! Swin Transformers: tables of position biases for other windows, and what a forward shows of itself.

use std::path::Path;

use crate::golden;
use burn::module::Module;
use robustify_zoo::swin::{SwinConfig, resize_bias_table};
use robustify_zoo::weights::{self, Entry};
use robustify_zoo::{Model, ModelConfig, Pass, Trace};

#[test]
fn tables_of_position_biases_are_resized_as_timm_does() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("goldens/swin_bias_tables/golden.safetensors");
    let stored = weights::read(&path).unwrap();
    let mut compared = 0;
    for (name, expected) in &stored {
        let Some((old, _)) = name.split_once('.') else { continue };
        let Entry { shape, values } = &stored[old];
        let got = resize_bias_table(values, [shape[0], shape[1]], expected.shape[0]).unwrap();
        assert_eq!(got.len(), expected.values.len(), "{name}");
        for (index, (got, expected)) in got.iter().zip(&expected.values).enumerate() {
            assert!((got - expected).abs() < 1e-4, "{name}[{index}]: {got}, timm has {expected}");
        }
        compared += 1;
    }
    assert_eq!(compared, 7);
    let (positions, values) = (169, &stored["7"].values);
    assert_eq!(resize_bias_table(values, [positions, 2], positions).as_ref(), Some(values));
    assert_eq!(resize_bias_table(values, [positions, 2], 16), None, "no window has an even number of differences");
    assert_eq!(resize_bias_table(values, [positions, 3], 9), None, "a length that is not that of the shape");
}

#[test]
fn a_trace_has_the_outputs_of_timms_modules() {
    let device = robustify_device::open(Some("flex")).unwrap();
    for case in golden::all().iter().filter(|case| case.name.starts_with("swin")) {
        let (model, trace) = (case.model(&device), Trace::default());
        model.forward(case.images(&device), &Pass::eval().with_trace(&trace));
        let steps: Vec<(String, Vec<usize>)> =
            trace.into_steps().into_iter().map(|(name, features)| (name, features.dims())).collect();
        let ModelConfig::Swin(config) = &case.config else { panic!("{}: no Swin Transformer", case.name) };
        let (side, width) = (config.image_size / config.patch_size, config.width);
        let (first, last) = (vec![2, side, side, width], vec![2, side.div_ceil(2), side.div_ceil(2), 2 * width]);
        let blocks = |layer: usize, dims: &Vec<usize>| {
            let named = |block| (format!("layers.{layer}.blocks.{block}"), dims.clone());
            (0..config.depths[layer]).map(named).chain([(format!("layers.{layer}"), dims.clone())]).collect::<Vec<_>>()
        };
        let one = |name: &str, dims: &Vec<usize>| vec![(name.to_owned(), dims.clone())];
        let expected = [
            one("patch_embed", &first),
            blocks(0, &first),
            one("layers.1.downsample", &last),
            blocks(1, &last),
            one("norm", &last),
            one("forward_features", &last),
            one("pre_logits", &vec![2, 2 * width]),
        ];
        assert_eq!(steps, expected.concat(), "{}", case.name);
    }
}

#[test]
fn the_giant_has_three_billion_parameters() {
    let device = robustify_device::open(Some("flex")).unwrap();
    let model = Model::blank(&ModelConfig::Swin(SwinConfig::giant()), &device).unwrap();
    let parameters = model.num_params();
    assert!((2_950_000_000..3_050_000_000).contains(&parameters), "{parameters}");
}
