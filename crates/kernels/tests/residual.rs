//! The kernels of residual networks against the composition of Burn's ops, and their gradients against the composition's.

use burn::tensor::module::{
    batch_norm as composed_norm, batch_norm_train as composed_norm_train, conv2d as composed_conv,
};
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Tensor, TensorData, activation};
use robustify_kernels::{Then, batch_norm, batch_norm_train, conv2d};

/// Every backend in this build that has kernels, under autodiff.
fn devices() -> impl Iterator<Item = Device> {
    let compiled = robustify_device::compiled().into_iter().filter(|backend| backend.runs_on_cpu());
    compiled.map(|backend| robustify_device::open(Some(backend.as_str())).unwrap().autodiff())
}

/// Values about `centre` that look like noise but are the same in every run.
fn noise<const D: usize>(device: &Device, dims: [usize; D], seed: u32, centre: f32) -> Tensor<D> {
    let mut state = seed.wrapping_mul(2_654_435_769).wrapping_add(1);
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 24) as f32 * 2.0 - 1.0 + centre
    };
    let count = dims.iter().product();
    Tensor::from_data(TensorData::new((0..count).map(|_| next()).collect::<Vec<f32>>(), dims), device)
}

/// The largest difference over the largest element of `expected`.
fn difference<const D: usize>(found: Tensor<D>, expected: Tensor<D>) -> f32 {
    assert_eq!(found.dims(), expected.dims());
    let scale = expected.clone().abs().max().into_scalar::<f32>().max(1e-30);
    (found - expected).abs().max().into_scalar::<f32>() / scale
}

/// Fails unless results agree to 1e-5 and the gradients of a weighted sum to 1e-4.
fn agree(what: &str, inputs: Inputs, functions: [&dyn Fn(&Inputs) -> Tensor<4>; 2]) {
    let [found, expected] = functions.map(|function| {
        let y = function(&inputs);
        let weighted = y.clone() * noise(&y.device(), y.dims(), 9, 0.1);
        let gradients = weighted.sum().backward();
        let maps = inputs.maps.iter().map(|map| map.grad(&gradients).unwrap()).collect::<Vec<_>>();
        let rows = inputs.rows.iter().map(|row| row.grad(&gradients).unwrap()).collect::<Vec<_>>();
        (y.inner(), maps, rows)
    });
    let off = difference(found.0, expected.0);
    assert!(off < 1e-5, "{what}: {off}");
    let maps = found.1.into_iter().zip(expected.1).map(|(found, expected)| difference(found, expected));
    let rows = found.2.into_iter().zip(expected.2).map(|(found, expected)| difference(found, expected));
    for (index, off) in maps.chain(rows).enumerate() {
        assert!(off < 1e-4, "{what}, gradient {index}: {off}");
    }
}

/// Leaves of the graph.
struct Inputs {
    maps: Vec<Tensor<4>>,
    rows: Vec<Tensor<1>>,
}

impl Inputs {
    fn new(maps: impl IntoIterator<Item = Tensor<4>>, rows: impl IntoIterator<Item = Tensor<1>>) -> Self {
        let maps = maps.into_iter().map(Tensor::require_grad).collect();
        Self { maps, rows: rows.into_iter().map(Tensor::require_grad).collect() }
    }
}

#[test]
fn convolutions_agree_with_burns() {
    for device in devices() {
        for (kernel, stride, padding) in [(1, 1, 0), (1, 2, 0), (3, 1, 1), (3, 2, 1), (7, 2, 3), (4, 4, 0)] {
            let (stride, padding) = ([stride; 2], [padding; 2]);
            // Axes exchanged, so that the input is not contiguous.
            let x = noise(&device, [3, 5, 13, 9], 1, 0.0).swap_dims(2, 3);
            let inputs =
                Inputs::new([x, noise(&device, [11, 5, kernel, kernel], 2, 0.0)], [noise(&device, [11], 3, 0.0)]);
            let options = || ConvOptions::new(stride, padding, [1; 2], 1);
            agree(
                &format!("kernel {kernel}"),
                inputs,
                [&|i| conv2d(i.maps[0].clone(), i.maps[1].clone(), Some(i.rows[0].clone()), stride, padding), &|i| {
                    composed_conv(i.maps[0].clone(), i.maps[1].clone(), Some(i.rows[0].clone()), options())
                }],
            );
        }
        let inputs = Inputs::new([noise(&device, [2, 4, 6, 6], 1, 0.0), noise(&device, [3, 4, 3, 3], 2, 0.0)], []);
        let options = || ConvOptions::new([1; 2], [1; 2], [1; 2], 1);
        agree(
            "no bias",
            inputs,
            [&|i| conv2d(i.maps[0].clone(), i.maps[1].clone(), None, [1; 2], [1; 2]), &|i| {
                composed_conv(i.maps[0].clone(), i.maps[1].clone(), None, options())
            }],
        );
    }
}

#[test]
fn convolutions_of_small_maps_agree_with_burns() {
    for device in devices() {
        for (side, batch) in [1, 2, 3].into_iter().flat_map(|side| [1, 5, 33].map(|batch| (side, batch))) {
            for stride in [1, 2] {
                let x = noise(&device, [batch, 17, side, side], 1, 0.0);
                let inputs = Inputs::new([x, noise(&device, [19, 17, 3, 3], 2, 0.0)], [noise(&device, [19], 3, 0.0)]);
                let parts = |i: &Inputs| (i.maps[0].clone(), i.maps[1].clone(), Some(i.rows[0].clone()));
                let ours = |i: &Inputs| {
                    let (x, weight, bias) = parts(i);
                    conv2d(x, weight, bias, [stride; 2], [1; 2])
                };
                let burns = |i: &Inputs| {
                    let (x, weight, bias) = parts(i);
                    composed_conv(x, weight, bias, ConvOptions::new([stride; 2], [1; 2], [1; 2], 1))
                };
                agree(&format!("{batch} maps of {side}x{side}, stride {stride}"), inputs, [&ours, &burns]);
            }
        }
    }
}

/// What follows a normalisation, and the same composed.
type Follow = (&'static str, fn(&Inputs) -> Then, fn(Tensor<4>, &Inputs) -> Tensor<4>);

const FOLLOW: [Follow; 3] = [
    ("nothing", |_| Then::Nothing, |x, _| x),
    ("relu", |_| Then::Relu, |x, _| activation::relu(x)),
    ("shortcut", |i| Then::AddRelu(i.maps[1].clone()), |x, i| activation::relu(x + i.maps[1].clone())),
];

/// Values, a shortcut if one is wanted, weight and bias.
fn norm_inputs(device: &Device, follow: &str, [batch, channels, height, width]: [usize; 4]) -> Inputs {
    let maps = [
        noise(device, [batch, channels, width, height], 1, 3.0).swap_dims(2, 3),
        noise(device, [batch, channels, height, width], 2, 0.0),
    ];
    let count = if follow == "shortcut" { 2 } else { 1 };
    Inputs::new(maps.into_iter().take(count), [noise(device, [channels], 3, 1.0), noise(device, [channels], 4, 0.0)])
}

#[test]
fn normalisation_by_the_batch_agrees_with_burns() {
    for device in devices() {
        for (follow, then, composed) in FOLLOW {
            for dims in [[3, 5, 7, 9], [2, 4, 40, 40], [5, 3, 1, 1]] {
                let ours = |i: &Inputs| {
                    batch_norm_train(i.maps[0].clone(), [i.rows[0].clone(), i.rows[1].clone()], 1e-5, then(i))
                };
                let burns =
                    |i: &Inputs| composed_norm_train(i.maps[0].clone(), i.rows[0].clone(), i.rows[1].clone(), 1e-5);
                let inputs = norm_inputs(&device, follow, dims);
                let ([mean, variance], result) = (ours(&inputs).1, burns(&inputs));
                assert!(difference(mean, result.mean) < 1e-5 && difference(variance, result.variance) < 1e-5);
                agree(follow, inputs, [&|i| ours(i).0, &|i| composed(burns(i).output, i)]);
            }
        }
    }
}

#[test]
fn normalisation_by_given_statistics_agrees_with_burns() {
    for device in devices() {
        let statistics = || [noise(&device, [5], 7, 2.0), noise(&device, [5], 8, 1.5)];
        for (follow, then, composed) in FOLLOW {
            let ours = |i: &Inputs| {
                batch_norm(i.maps[0].clone(), [i.rows[0].clone(), i.rows[1].clone()], statistics(), 1e-5, then(i))
            };
            let burns = |i: &Inputs| {
                let [mean, variance] = statistics();
                composed_norm(i.maps[0].clone(), i.rows[0].clone(), i.rows[1].clone(), mean, variance, 1e-5)
            };
            agree(follow, norm_inputs(&device, follow, [3, 5, 7, 9]), [&ours, &|i| composed(burns(i), i)]);
            // Without a graph, in place.
            let inputs = norm_inputs(&device, follow, [3, 5, 7, 9]);
            let expected = composed(burns(&inputs), &inputs).inner();
            let rows = [0, 1].map(|index: usize| inputs.rows[index].clone().inner());
            let then = match then(&inputs) {
                Then::AddRelu(shortcut) => Then::AddRelu(shortcut.inner()),
                then => then,
            };
            let x = inputs.maps[0].clone().inner();
            let found = batch_norm(x.clone() + 0.0, rows, statistics().map(Tensor::inner), 1e-5, then);
            assert!(difference(found, expected) < 1e-5);
        }
    }
}
