//! The convolution and its gradients against their definition, summed in double precision.

use robustify_kernels::conv::{self, ConvError, Geometry};

/// Numbers in `[-1, 1)` from a linear congruence (Knuth's MMIX).
fn numbers(seed: u64, len: usize) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..len).map(|_| next()).collect()
}

/// Every product of the convolution: positions in input, weight and output.
fn products(geometry: &Geometry, mut each: impl FnMut(usize, usize, usize)) {
    let &Geometry { batch, inputs, outputs, size, kernel, stride, padding } = geometry;
    let output = geometry.output_size().unwrap();
    for (n, o, c) in (0..batch * outputs * inputs).map(|i| (i / (outputs * inputs), i / inputs % outputs, i % inputs)) {
        for (y, x) in (0..output[0] * output[1]).map(|i| (i / output[1], i % output[1])) {
            for (ky, kx) in (0..kernel[0] * kernel[1]).map(|i| (i / kernel[1], i % kernel[1])) {
                let (iy, ix) =
                    ((y * stride[0] + ky).wrapping_sub(padding[0]), (x * stride[1] + kx).wrapping_sub(padding[1]));
                if iy < size[0] && ix < size[1] {
                    each(
                        ((n * inputs + c) * size[0] + iy) * size[1] + ix,
                        ((o * inputs + c) * kernel[0] + ky) * kernel[1] + kx,
                        ((n * outputs + o) * output[0] + y) * output[1] + x,
                    );
                }
            }
        }
    }
}

/// The largest difference, relative to the largest element expected.
fn difference(found: &[f32], expected: &[f64]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let largest = expected.iter().fold(f64::MIN_POSITIVE, |largest, value| largest.max(value.abs()));
    let pairs = found.iter().zip(expected);
    // `max` would pass over what is no number.
    let larger = |largest: f64, next: f64| if next <= largest { largest } else { next };
    pairs.map(|(found, expected)| (f64::from(*found) - expected).abs()).fold(0.0, larger) / largest
}

fn check(geometry: Geometry) {
    let output = geometry.output_size().unwrap();
    let [input_len, weight_len, output_len] = [
        geometry.batch * geometry.inputs * geometry.size[0] * geometry.size[1],
        geometry.outputs * geometry.inputs * geometry.kernel[0] * geometry.kernel[1],
        geometry.batch * geometry.outputs * output[0] * output[1],
    ];
    let (input, weight) = (numbers(1, input_len), numbers(2, weight_len));
    let (bias, gradient) = (numbers(3, geometry.outputs), numbers(4, output_len));
    let channel = |position: usize| position / (output[0] * output[1]) % geometry.outputs;
    let mut y: Vec<f64> = (0..output_len).map(|position| bias[channel(position)].into()).collect();
    let (mut dx, mut dw, mut db) = (vec![0.0; input_len], vec![0.0; weight_len], vec![0.0; geometry.outputs]);
    products(&geometry, |i, w, o| {
        let [at_i, at_w, at_o] = [input[i], weight[w], gradient[o]].map(f64::from);
        y[o] += at_i * at_w;
        dx[i] += at_o * at_w;
        dw[w] += at_o * at_i;
    });
    gradient.iter().enumerate().for_each(|(position, value)| db[channel(position)] += f64::from(*value));
    let forward = conv::forward(&geometry, &input, &weight, Some(&bias)).unwrap();
    let input_gradient = conv::input_gradient(&geometry, &weight, &gradient).unwrap();
    let weight_gradient = conv::weight_gradient(&geometry, &input, &gradient).unwrap();
    let bias_gradient = conv::bias_gradient(&geometry, &gradient).unwrap();
    let differences = [
        difference(&forward, &y),
        difference(&input_gradient, &dx),
        difference(&weight_gradient, &dw),
        difference(&bias_gradient, &db),
    ];
    assert!(differences.iter().all(|difference| *difference < 1e-5), "{geometry:?}: {differences:?}");
}

fn geometry(
    batch: usize,
    channels: [usize; 2],
    size: [usize; 2],
    kernel: usize,
    stride: usize,
    padding: usize,
) -> Geometry {
    let [inputs, outputs] = channels;
    Geometry { batch, inputs, outputs, size, kernel: [kernel; 2], stride: [stride; 2], padding: [padding; 2] }
}

#[test]
fn sums_are_those_of_the_definition() {
    // Kernels, strides and paddings over sizes that are no multiple of any tile.
    for [kernel, stride, padding] in
        [[1, 1, 0], [1, 2, 0], [1, 1, 1], [3, 1, 1], [3, 2, 1], [3, 1, 0], [2, 3, 1], [5, 2, 2]]
    {
        for size in [[5, 5], [7, 9], [16, 16], [1, 33]].map(|size| size.map(|side: usize| side.max(kernel))) {
            check(geometry(3, [5, 13], size, kernel, stride, padding));
        }
    }
    check(Geometry { kernel: [1, 4], stride: [2, 1], padding: [0, 3], ..geometry(2, [3, 4], [6, 5], 1, 1, 0) });
}

#[test]
fn sums_are_those_of_the_definition_in_many_blocks() {
    check(geometry(2, [70, 35], [20, 19], 3, 1, 1));
    check(geometry(37, [34, 40], [4, 4], 3, 1, 1));
    check(geometry(3, [16, 70], [7, 11], 3, 1, 0));
    check(geometry(2, [33, 20], [5, 6], 3, 1, 2));
    check(geometry(13, [300, 17], [7, 7], 1, 1, 0));
    check(geometry(2, [3, 16], [50, 46], 7, 2, 3));
    check(geometry(2, [3, 24], [32, 32], 16, 16, 0));
    check(geometry(1, [2, 3], [3, 600], 3, 1, 1));
}

#[test]
fn sums_are_those_of_the_definition_over_few_pixels() {
    // Batches that leave vectors empty, fill them and exceed them; channels that are no multiple of a tile.
    for batch in [1, 5, 33] {
        for side in [1, 2, 3, 4, 8] {
            for [kernel, stride, padding] in [[3, 1, 1], [3, 2, 1], [1, 2, 0], [5, 1, 2], [5, 3, 2]] {
                check(geometry(batch, [37, 13], [side; 2], kernel, stride, padding));
            }
        }
        check(geometry(batch, [19, 35], [2, 3], 3, 1, 1));
        check(Geometry {
            kernel: [3, 2],
            stride: [2, 1],
            padding: [1, 0],
            ..geometry(batch, [9, 17], [4, 2], 1, 1, 0)
        });
    }
    // More pixels than `small_weights` takes.
    check(geometry(260, [3, 5], [4, 4], 3, 1, 1));
    check(geometry(1030, [3, 5], [2, 2], 3, 1, 1));
}

/// One picture alone goes another way than in a batch, and must come out the same.
#[test]
fn neighbours_in_a_batch_change_no_bit() {
    for side in [1, 2, 3, 4, 8] {
        for [kernel, stride, padding] in [[3, 1, 1], [3, 2, 1], [1, 2, 0]] {
            let all = geometry(33, [40, 20], [side; 2], kernel, stride, padding);
            let [height, width] = all.output_size().unwrap();
            let [from, to] = [40 * side * side, 20 * height * width];
            let (input, gradient) = (numbers(1, 33 * from), numbers(2, 33 * to));
            let (weight, bias) = (numbers(3, 20 * 40 * kernel * kernel), numbers(4, 20));
            let forward = conv::forward(&all, &input, &weight, Some(&bias)).unwrap();
            let backward = conv::input_gradient(&all, &weight, &gradient).unwrap();
            for pictures in [0..1, 7..12, 31..33] {
                let some = Geometry { batch: pictures.len(), ..all };
                let [from, to] = [from, to].map(|len| pictures.start * len..pictures.end * len);
                let alone = conv::forward(&some, &input[from.clone()], &weight, Some(&bias)).unwrap();
                assert_eq!(alone, forward[to.clone()], "{some:?}");
                let alone = conv::input_gradient(&some, &weight, &gradient[to]).unwrap();
                assert_eq!(alone, backward[from], "{some:?}");
            }
        }
    }
}

#[test]
fn threads_change_no_bit() {
    for (batch, side, stride) in [(9, 12, 1), (9, 12, 2), (70, 2, 1), (70, 4, 2)] {
        let geometry = geometry(batch, [60, 50], [side; 2], 3, stride, 1);
        let output = geometry.output_size().unwrap();
        let (input, weight) = (numbers(1, batch * 60 * side * side), numbers(2, 50 * 60 * 9));
        let gradient = numbers(3, batch * 50 * output[0] * output[1]);
        let all = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                [
                    conv::forward(&geometry, &input, &weight, None).unwrap(),
                    conv::input_gradient(&geometry, &weight, &gradient).unwrap(),
                    conv::weight_gradient(&geometry, &input, &gradient).unwrap(),
                    conv::bias_gradient(&geometry, &gradient).unwrap(),
                ]
            })
        };
        let alone = all(1);
        assert_eq!(alone, all(2));
        assert_eq!(alone, all(5));
    }
}

#[test]
fn what_does_not_fit_is_an_error() {
    let fits = geometry(1, [1, 1], [4, 4], 3, 1, 0);
    let too_large = Geometry { kernel: [5, 3], ..fits };
    assert_eq!(conv::forward(&too_large, &[0.0; 16], &[0.0; 15], None), Err(ConvError::Geometry(too_large)));
    let no_stride = Geometry { stride: [0, 1], ..fits };
    assert!(no_stride.output_size().unwrap_err().to_string().contains("at least 1"));
    let error = conv::forward(&fits, &[0.0; 15], &[0.0; 9], None).unwrap_err();
    assert_eq!(error.to_string(), "the input has 15 elements, and 16 were expected");
    let empty = Geometry { batch: 0, ..fits };
    assert_eq!(conv::forward(&empty, &[], &[0.0; 9], None), Ok(vec![]));
    assert_eq!(conv::input_gradient(&empty, &[0.0; 9], &[]), Ok(vec![]));
    assert_eq!(conv::weight_gradient(&empty, &[], &[]), Ok(vec![0.0; 9]));
}
