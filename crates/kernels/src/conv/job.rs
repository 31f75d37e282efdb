use super::Geometry;

/// A convolution as the kernels see it: where the taps of a pixel lie in the source, and where its sum goes.
///
/// Sums are computed for a grid of pixels. The taps of grid pixel `(y, x)` lie at `origin + stride * (y, x) + tap` in the source,
/// and its sum goes to `start + step * (y, x)` in the target. Outside of the source are zeros.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) batch: usize,
    /// Channels of the source.
    pub(super) channels: usize,
    /// Channels of the target.
    pub(super) outputs: usize,
    pub(super) source: [usize; 2],
    pub(super) origin: [isize; 2],
    pub(super) stride: [usize; 2],
    pub(super) taps: Vec<[usize; 2]>,
    pub(super) grid: [usize; 2],
    pub(super) target: [usize; 2],
    pub(super) start: [usize; 2],
    pub(super) step: [usize; 2],
}

impl Job {
    pub(super) fn forward(geometry: &Geometry, output: [usize; 2]) -> Self {
        let [height, width] = geometry.kernel;
        Self {
            batch: geometry.batch,
            channels: geometry.inputs,
            outputs: geometry.outputs,
            source: geometry.size,
            origin: geometry.padding.map(|padding| -(padding as isize)),
            stride: geometry.stride,
            taps: (0..height).flat_map(|y| (0..width).map(move |x| [y, x])).collect(),
            grid: output,
            target: output,
            start: [0; 2],
            step: [1; 2],
        }
        .flat()
    }

    /// The jobs that compute the gradient of the input from that of the output, and for each the taps of the kernel (counted
    /// row by row) that its taps are: a job for every phase of the stride that any tap reaches.
    pub(super) fn backward(geometry: &Geometry, output: [usize; 2]) -> Vec<(Self, Vec<usize>)> {
        let phases = (0..geometry.stride[0]).flat_map(|y| (0..geometry.stride[1]).map(move |x| [y, x]));
        phases.filter_map(|phase| Self::backward_phase(geometry, output, phase)).collect()
    }

    fn backward_phase(geometry: &Geometry, output: [usize; 2], phase: [usize; 2]) -> Option<(Self, Vec<usize>)> {
        // Input pixel `phase + stride * i` meets the output's pixel `i + (phase + padding) / stride - m` at tap
        // `(phase + padding) % stride + stride * m`.
        let axes = [0, 1].map(|axis| {
            let (stride, shifted) = (geometry.stride[axis], phase[axis] + geometry.padding[axis]);
            let taps: Vec<usize> = (shifted % stride..geometry.kernel[axis]).step_by(stride).collect();
            let pixels = geometry.size[axis].saturating_sub(phase[axis]).div_ceil(stride);
            (taps, pixels, (shifted / stride) as isize)
        });
        let [(rows, height, down), (columns, width, right)] = axes;
        if rows.is_empty() || columns.is_empty() || height == 0 || width == 0 {
            return None;
        }
        let [last_row, last_column] = [rows.len() - 1, columns.len() - 1];
        let pairs =
            || rows.iter().enumerate().flat_map(|row| columns.iter().enumerate().map(move |column| (row, column)));
        let job = Self {
            batch: geometry.batch,
            channels: geometry.outputs,
            outputs: geometry.inputs,
            source: output,
            origin: [down - last_row as isize, right - last_column as isize],
            stride: [1; 2],
            taps: pairs().map(|((y, _), (x, _))| [last_row - y, last_column - x]).collect(),
            grid: [height, width],
            target: geometry.size,
            start: phase,
            step: geometry.stride,
        };
        let kernel_taps = pairs().map(|((_, y), (_, x))| y * geometry.kernel[1] + x).collect();
        Some((job.flat(), kernel_taps))
    }

    /// The same job with every picture as one long row, if a pixel depends on the pixel below it alone.
    fn flat(self) -> Self {
        if !(self.pointwise() && self.target == self.grid) {
            return self;
        }
        let flat = [1, self.grid[0] * self.grid[1]];
        Self { source: flat, grid: flat, target: flat, ..self }
    }

    /// Whether the columns are the source itself.
    pub(super) fn pointwise(&self) -> bool {
        self.taps == [[0, 0]] && self.origin == [0; 2] && self.stride == [1; 2] && self.source == self.grid
    }

    /// Pixels of a picture's grid.
    pub(super) fn pixels(&self) -> usize {
        self.grid[0] * self.grid[1]
    }

    /// Terms of a sum.
    pub(super) fn terms(&self) -> usize {
        self.channels * self.taps.len()
    }

    /// Channels whose columns are packed at a time: about 256 rows, which with a block of pixels fill a quarter of an L2 cache;
    /// of many channels a multiple of eight, so that rows fill tiles.
    pub(super) fn channels_at_once(&self) -> usize {
        let count = 256 / self.taps.len();
        let whole = if count >= 8 { count / 8 * 8 } else { count };
        whole.clamp(1, self.channels.max(1))
    }

    /// The pixel of the source that a tap meets from a pixel of the grid; `None` if it meets padding.
    pub(super) fn met(&self, pixel: usize, tap: [usize; 2]) -> Option<usize> {
        let pixel = [pixel / self.grid[1], pixel % self.grid[1]];
        let along = |axis: usize| {
            let place = self.origin[axis] + (pixel[axis] * self.stride[axis] + tap[axis]) as isize;
            usize::try_from(place).ok().filter(|place| *place < self.source[axis])
        };
        Some(along(0)? * self.source[1] + along(1)?)
    }
}
