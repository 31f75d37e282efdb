//! What filters share: how they read beyond the edge, and how samples become levels.

/// How a filter reads beyond the edge.
#[derive(Clone, Copy)]
pub(crate) enum Border {
    /// a a a | a b c d | d d d
    Nearest,
    /// c b a | a b c d | d c b
    Reflect,
    /// d c b | a b c d | c b a
    Reflect101,
}

impl Border {
    /// The place in `0..length` that stands for `index`.
    pub fn resolve(self, index: i64, length: usize) -> usize {
        let n = length as i64;
        if (0..n).contains(&index) {
            return index as usize;
        }
        let place = match self {
            Self::Nearest => index.clamp(0, n - 1),
            Self::Reflect => {
                let folded = index.rem_euclid(2 * n);
                folded.min(2 * n - 1 - folded)
            }
            Self::Reflect101 if n == 1 => 0,
            Self::Reflect101 => {
                let folded = index.rem_euclid(2 * n - 2);
                folded.min(2 * n - 2 - folded)
            }
        };
        place as usize
    }
}

/// Copies `row` into `padded` with `margin` pixels of border on either side.
pub(crate) fn pad_row<T: Copy>(row: &[T], channels: usize, margin: usize, border: Border, padded: &mut [T]) {
    let width = row.len() / channels;
    padded[margin * channels..][..row.len()].copy_from_slice(row);
    for step in 0..margin {
        let left = border.resolve(step as i64 - margin as i64, width) * channels;
        let right = border.resolve((width + step) as i64, width) * channels;
        padded[step * channels..][..channels].copy_from_slice(&row[left..][..channels]);
        padded[(margin + width + step) * channels..][..channels].copy_from_slice(&row[right..][..channels]);
    }
}

/// Level / 255 for every level.
pub(crate) fn unit_levels() -> [f64; 256] {
    std::array::from_fn(|level| level as f64 / 255.0)
}

/// Clip to `[0, 1]`, times 255, truncated.
pub(crate) fn to_level(value: f64) -> u8 {
    (value.clamp(0.0, 1.0) * 255.0) as u8
}

/// The whole part of a number in `[0, 2^32)`. Unlike a cast it needs no test for other numbers, so it vectorises.
#[inline(always)]
pub(crate) fn whole_part(value: f64) -> u32 {
    // The sum has no room for a fraction, and its lowest bits are the number.
    (value.floor() + (1_u64 << 52) as f64).to_bits() as u32
}
