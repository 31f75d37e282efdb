//! Convolution in two dimensions, and its gradients, on slices of `f32` in PyTorch's layout.
//!
//! [`forward`], [`input_gradient`] and [`weight_gradient`] are matrix products whose second operand, the columns of the
//! picture, never exists as a whole: panels of it are packed into cache as the product needs them (`columns`), a panel
//! being as many pixels as the tile of the product is wide (`tile`). The gradient of the input is a forward too, over the
//! output's gradient, once for every phase of the stride (`job`). Kernels of 3x3 and stride 1 take the same way with less
//! than half of the multiplications, between transforms (`winograd`). Over few pixels the taps that meet padding are left
//! out, with a column for a picture and not for a pixel (`small`, `small_weights`).
//!
//! Every element is one sum, in an order that depends on the shape alone: threads change no bit. The order does depend
//! on the machine's vectors, and so do the last bits.

mod buffer;
mod columns;
mod forward;
mod job;
mod small;
mod small_weights;
mod tile;
mod weights;
mod winograd;
mod winograd_weights;

use forward::{Packed, Weights};
use job::Job;

/// The shape of a convolution: all that is not data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Pictures.
    pub batch: usize,
    /// Channels of the input, at least 1.
    pub inputs: usize,
    /// Channels of the output, at least 1.
    pub outputs: usize,
    /// Height and width of the input.
    pub size: [usize; 2],
    /// Height and width of the kernel, at least 1.
    pub kernel: [usize; 2],
    /// Steps down and to the right, at least 1.
    pub stride: [usize; 2],
    /// Rows of zeros above and below, columns of zeros left and right.
    pub padding: [usize; 2],
}

/// A convolution that does not exist.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConvError {
    /// No channels, a kernel or stride of zero, or a kernel larger than the padded input.
    #[error(
        "no convolution has {0:?}: channels, kernel and stride are at least 1, and the kernel fits into the padded input"
    )]
    Geometry(Geometry),
    /// A slice that does not fit the geometry.
    #[error("{what} has {found} elements, and {expected} were expected")]
    Length {
        /// What the slice holds.
        what: &'static str,
        /// Elements by the geometry.
        expected: usize,
        /// Elements there are.
        found: usize,
    },
}

impl Geometry {
    /// Height and width of the output.
    ///
    /// # Errors
    /// No channels, a kernel or stride of zero, or a kernel larger than the padded input.
    pub fn output_size(&self) -> Result<[usize; 2], ConvError> {
        let along = |axis: usize| {
            let padded = self.size[axis] + 2 * self.padding[axis];
            let room = padded.checked_sub(self.kernel[axis]).filter(|_| self.kernel[axis] > 0)?;
            room.checked_div(self.stride[axis]).map(|steps| steps + 1)
        };
        let size = along(0).zip(along(1)).filter(|_| self.inputs > 0 && self.outputs > 0);
        size.map(|(height, width)| [height, width]).ok_or(ConvError::Geometry(*self))
    }

    fn input_len(&self) -> usize {
        self.batch * self.inputs * self.size[0] * self.size[1]
    }

    fn weight_len(&self) -> usize {
        self.outputs * self.inputs * self.kernel[0] * self.kernel[1]
    }
}

/// The convolution of `input` with `weight`, plus `bias`.
///
/// # Shapes
/// - input: `[batch, inputs, height, width]`
/// - weight: `[outputs, inputs, kernel, kernel]`
/// - bias: `[outputs]`
/// - output: `[batch, outputs, height', width']`
///
/// # Errors
/// A geometry without output, or a slice of another length.
pub fn forward(
    geometry: &Geometry,
    input: &[f32],
    weight: &[f32],
    bias: Option<&[f32]>,
) -> Result<Vec<f32>, ConvError> {
    let [height, width] = geometry.output_size()?;
    check("the input", input, geometry.input_len())?;
    check("the weight", weight, geometry.weight_len())?;
    bias.map_or(Ok(()), |bias| check("the bias", bias, geometry.outputs))?;
    let mut output = vec![0.0; geometry.batch * geometry.outputs * height * width];
    let job = Job::forward(geometry, [height, width]);
    run(&job, input, &Weights::rows(&job, weight), bias, &mut output);
    Ok(output)
}

/// The gradient of the input, given that of the output.
///
/// # Shapes
/// - weight: `[outputs, inputs, kernel, kernel]`
/// - gradient: `[batch, outputs, height', width']`
/// - output: `[batch, inputs, height, width]`
///
/// # Errors
/// A geometry without output, or a slice of another length.
pub fn input_gradient(geometry: &Geometry, weight: &[f32], gradient: &[f32]) -> Result<Vec<f32>, ConvError> {
    let [height, width] = geometry.output_size()?;
    check("the weight", weight, geometry.weight_len())?;
    check("the gradient", gradient, geometry.batch * geometry.outputs * height * width)?;
    let mut output = vec![0.0; geometry.input_len()];
    for (job, kernel_taps) in Job::backward(geometry, [height, width]) {
        let weights = Weights::columns(&job, weight, kernel_taps, geometry.kernel[0] * geometry.kernel[1]);
        run(&job, gradient, &weights, None, &mut output);
    }
    Ok(output)
}

/// The gradient of the weight, given that of the output.
///
/// # Shapes
/// - input: `[batch, inputs, height, width]`
/// - gradient: `[batch, outputs, height', width']`
/// - output: `[outputs, inputs, kernel, kernel]`
///
/// # Errors
/// A geometry without output, or a slice of another length.
pub fn weight_gradient(geometry: &Geometry, input: &[f32], gradient: &[f32]) -> Result<Vec<f32>, ConvError> {
    let [height, width] = geometry.output_size()?;
    check("the input", input, geometry.input_len())?;
    check("the gradient", gradient, geometry.batch * geometry.outputs * height * width)?;
    let mut output = vec![0.0; geometry.weight_len()];
    weights::run(&Job::forward(geometry, [height, width]), input, gradient, &mut output);
    Ok(output)
}

/// The gradient of the bias, given that of the output: its sum over pictures and pixels.
///
/// # Shapes
/// - gradient: `[batch, outputs, height', width']`
/// - output: `[outputs]`
///
/// # Errors
/// A geometry without output, or a slice of another length.
pub fn bias_gradient(geometry: &Geometry, gradient: &[f32]) -> Result<Vec<f32>, ConvError> {
    let [height, width] = geometry.output_size()?;
    check("the gradient", gradient, geometry.batch * geometry.outputs * height * width)?;
    Ok(forward::sums_of_channels(gradient, geometry.outputs, height * width))
}

/// Picks the way. Whether it is `winograd` must not depend on the batch, for only the other two give the same bits.
fn run(job: &Job, source: &[f32], weights: &Weights, bias: Option<&[f32]>, target: &mut [f32]) {
    if winograd::pays(job) {
        winograd::run(job, source, &Packed::new(job, weights), bias, target);
    } else if small::pays(job) {
        small::run(job, source, weights, bias, target);
    } else {
        forward::run(job, source, &Packed::new(job, weights), bias, target);
    }
}

fn check(what: &'static str, slice: &[f32], expected: usize) -> Result<(), ConvError> {
    let found = slice.len();
    if found == expected { Ok(()) } else { Err(ConvError::Length { what, expected, found }) }
}
