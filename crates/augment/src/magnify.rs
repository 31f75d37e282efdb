//! Linear magnification about the centre, as scipy's `zoom` of the first order does it.

/// How one axis is cropped about its centre and stretched linearly back to its length.
#[derive(Clone, Copy, Default, PartialEq)]
pub(crate) struct Axis {
    length: usize,
    /// First sample and number of samples of the crop.
    start: usize,
    pub crop: usize,
    /// Length of the stretched crop, and how much of it is trimmed on the low side.
    pub stretched: usize,
    trim: usize,
}

impl Axis {
    /// `factor` at least one.
    pub fn plan(length: usize, factor: f64) -> Self {
        let crop = ((length as f64 / factor).ceil() as usize).min(length);
        let stretched = ((crop as f64 * factor).round_ties_even() as usize).max(length);
        Self { length, start: (length - crop) / 2, crop, stretched, trim: (stretched - length) / 2 }
    }

    /// For a target place: the lower source place, the higher one, and the weight of the higher.
    pub fn sample(self, target: usize) -> (usize, usize, f64) {
        let top = self.crop - 1;
        let place = match self.stretched {
            1 => 0.0,
            stretched => ((target + self.trim) as f64 * (top as f64 / (stretched - 1) as f64)).min(top as f64),
        };
        let low = (place as usize).min(top);
        (self.start + low, self.start + (low + 1).min(top), place - low as f64)
    }
}
