//! The random numbers of a corruption: drawn from a stream, or read from the record of another program.

use robustify_rng::Stream;

use crate::AugmentError;

/// The random draws that another program made for one corruption of one image, in their order.
///
/// With [`Corruptor::replay`](crate::Corruptor::replay) they show whether two implementations agree: given the same
/// draws, the images must be the same. What is expected, in order (height x width in rows, `x3` interleaved RGB):
///
/// | corruption | arrays |
/// |---|---|
/// | `gaussian_noise`, `speckle_noise` | normal draws of the severity's deviation, height x width x 3 |
/// | `shot_noise` | photon counts, height x width x 3 |
/// | `impulse_noise` | two uniform arrays of height x width x 3: struck where the first is at most the amount, white where the second is at most 1/2 |
/// | `glass_blur` | one array of pairs (dx, dy) in the order of the walk |
/// | `motion_blur` | the angle in degrees |
/// | `snow` | normal flakes, height x width; the angle in degrees |
/// | `frost` | index of the picture (0-4), then the first row and the first column of the crop |
/// | `fog` | for every octave: centres, then horizontal, then vertical edges, already multiplied by the wobble once |
/// | `elastic_transform` | three points x 2 (not in `imagecorruptions`), then dx and dy, height x width |
/// | `spatter` | normal liquid, height x width |
/// | `single_frequency_greyscale` | the larger frequency; the other one; order of the two (0, 1); phase |
/// | `cocentric_sine_waves` | centre (x, y); frequency; amplitude; ring width |
/// | `plasma_noise` | time; rounds; sharpness; scale in units of the side |
/// | `caustic_refraction` | time; size in units of the side |
/// | `sparkles` | five centres (y, x); five numbers of rays; then for every star as many normal numbers |
/// | `inverse_sparkles` | centre (y, x) in units of the axes; number of rays; as many normal numbers |
/// | `perlin_noise` | 514 pairs, then 256 integers below 2^31 |
/// | `blue_noise_sample` | phases, height x half the width, rounded down; if the width is odd, half as many as rows |
/// | `brownish_noise` | the same for each of the three channels |
/// | `checkerboard_cutout` | angle; scale in units of the side; grid of uniform numbers, its sides 4 x side / scale, rounded down |
/// | `pinch_and_twirl` | the sign of every square, 1 or -1, column by column |
/// | `ripple` | two wavelengths in units of the side (y, x); two phases |
/// | `circular_motion_blur` | none |
/// | `lines` | angle; its variation; for every line three uniform numbers: row, column, angle |
/// | `transverse_chromatic_abberation` | order of the three magnifications (0, 1, 2) |
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trace {
    arrays: Vec<(String, Vec<f64>)>,
}

impl Trace {
    /// A record of named arrays in the order in which they were drawn. Names are used in messages only.
    pub fn new(arrays: Vec<(String, Vec<f64>)>) -> Self {
        Self { arrays }
    }
}

/// The range of numbers of any size.
pub(crate) const ANY: [f64; 2] = [f64::NEG_INFINITY, f64::INFINITY];

/// Where a corruption takes its random numbers from.
#[allow(clippy::large_enum_variant, reason = "there is one at a time, on the stack")]
pub(crate) enum Draws<'a> {
    /// New ones.
    Fresh(Stream),
    /// Recorded ones.
    Recorded(Reader<'a>),
}

/// Reads a trace array by array. The first disagreement is kept and reported at the end; until then zeros are given.
pub(crate) struct Reader<'a> {
    arrays: &'a [(String, Vec<f64>)],
    next: usize,
    problem: Option<String>,
}

impl<'a> Draws<'a> {
    pub fn recorded(trace: &'a Trace) -> Self {
        Self::Recorded(Reader { arrays: &trace.arrays, next: 0, problem: None })
    }

    /// The stream, if new numbers are to be drawn. For corruptions that draw a whole image at once in a way of their own;
    /// otherwise they read [`Draws::array`].
    pub fn stream(&mut self) -> Option<&mut Stream> {
        match self {
            Self::Fresh(stream) => Some(stream),
            Self::Recorded(_) => None,
        }
    }

    /// The next recorded array, which must have `length` numbers in `[low, high]`.
    pub fn array(&mut self, length: usize, [low, high]: [f64; 2]) -> Option<&'a [f64]> {
        match self {
            Self::Fresh(_) => None,
            Self::Recorded(reader) => reader.array(length, [low, high]),
        }
    }

    /// Uniform in `[low, high)`.
    pub fn uniform(&mut self, low: f64, high: f64) -> f64 {
        match self {
            Self::Fresh(stream) => stream.uniform(low, high),
            Self::Recorded(reader) => reader.array(1, [low, high]).map_or(0.0, |array| array[0]),
        }
    }

    /// Fills `out` with uniform numbers in `[low, high)`.
    pub fn uniforms(&mut self, low: f64, high: f64, out: &mut [f64]) {
        match self {
            Self::Fresh(stream) => stream.uniforms(low, high, out),
            Self::Recorded(reader) => reader.fill([low, high], out, |value| value),
        }
    }

    /// As [`Draws::uniforms`], in single precision.
    pub fn uniforms_f32(&mut self, low: f32, high: f32, out: &mut [f32]) {
        match self {
            Self::Fresh(stream) => stream.uniforms_f32(low, high, out),
            Self::Recorded(reader) => reader.fill([low, high].map(f64::from), out, |value| value as f32),
        }
    }

    /// Fills `out` with normal numbers.
    pub fn normals(&mut self, mean: f64, deviation: f64, out: &mut [f64]) {
        match self {
            Self::Fresh(stream) => stream.normals(mean, deviation, out),
            Self::Recorded(reader) => reader.fill(ANY, out, |value| value),
        }
    }

    /// Uniform in `low..high`; `low` if that is empty.
    pub fn integer(&mut self, low: i64, high: i64) -> i64 {
        match self {
            Self::Fresh(stream) => low + i64::from(stream.below((high - low).clamp(0, i64::from(u32::MAX)) as u32)),
            Self::Recorded(reader) => {
                let range = [low as f64, (high - 1).max(low) as f64];
                reader.array(1, range).map_or(low, |array| array[0] as i64)
            }
        }
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// If the recorded arrays were not those that the corruption asked for.
    pub fn finish(self) -> Result<(), AugmentError> {
        let Self::Recorded(reader) = self else { return Ok(()) };
        let left = reader.arrays.len() - reader.next;
        let surplus = (left > 0).then(|| format!("{left} of its {} arrays are left over", reader.arrays.len()));
        match reader.problem.or(surplus) {
            Some(problem) => Err(AugmentError::Trace { problem }),
            None => Ok(()),
        }
    }
}

impl<'a> Reader<'a> {
    fn array(&mut self, length: usize, [low, high]: [f64; 2]) -> Option<&'a [f64]> {
        if self.problem.is_some() {
            return None;
        }
        let Some((name, values)) = self.arrays.get(self.next) else {
            self.problem = Some(format!("it ends after {} arrays, and one of {length} numbers is missing", self.next));
            return None;
        };
        self.next += 1;
        if values.len() != length {
            self.problem = Some(format!("array `{name}` holds {} numbers instead of {length}", values.len()));
            return None;
        }
        if let Some(value) = values.iter().find(|value| !(low..=high).contains(*value)) {
            self.problem = Some(format!("array `{name}` holds {value}, which is not in [{low}, {high}]"));
            return None;
        }
        Some(values)
    }

    fn fill<T: Copy + Default>(&mut self, range: [f64; 2], out: &mut [T], convert: impl Fn(f64) -> T) {
        match self.array(out.len(), range) {
            Some(values) => out.iter_mut().zip(values).for_each(|(out, &value)| *out = convert(value)),
            None => out.fill(T::default()),
        }
    }
}
