//! Dead leaves: overlapping shapes of all sizes, as many small ones as a natural image has.

use image::{Rgb, RgbImage};
use robustify_rng::Stream;

use crate::plasma::hsv;

/// Shapes in a picture.
const LEAVES: usize = 1000;

/// A square picture of shapes whose radii follow a cubic power law, from a fiftieth of the side to two fifths.
pub(crate) fn picture(side: u32, stream: &mut Stream) -> RgbImage {
    let mut out = RgbImage::new(side, side);
    let palette = (stream.unit(), stream.uniform(0.1, 1.0));
    let ground = colour(palette, stream);
    out.pixels_mut().for_each(|pixel| *pixel = ground);
    // Large ones lie at the bottom for a part of the pictures, which fills them more evenly.
    let mut leaves: Vec<Leaf> = (0..LEAVES).map(|_| Leaf::draw(palette, stream)).collect();
    if stream.chance(0.5) {
        leaves.sort_by(|a, b| b.radius.total_cmp(&a.radius));
    }
    leaves.iter().for_each(|leaf| leaf.paint(&mut out));
    out
}

fn colour((first, spread): (f64, f64), stream: &mut Stream) -> Rgb<u8> {
    hsv(first + spread * stream.unit(), stream.uniform(0.2, 1.0), stream.uniform(0.2, 1.0))
}

/// One shape. Lengths are in sides of the picture.
struct Leaf {
    x: f64,
    y: f64,
    radius: f64,
    /// Unit vector along the shape, and how much narrower it is across.
    along: (f64, f64),
    aspect: f64,
    boxed: bool,
    /// Two colours, of which stripes or a ramp are made, and waves of the stripes along the radius.
    colours: [Rgb<u8>; 2],
    waves: f64,
}

impl Leaf {
    fn draw(palette: (f64, f64), stream: &mut Stream) -> Self {
        // The quantile function of a density that falls with the cube of the radius.
        let (low, high): (f64, f64) = (0.02, 0.4);
        let (low, high) = (1.0 / (low * low), 1.0 / (high * high));
        let radius = 1.0 / (low + (high - low) * stream.unit()).sqrt();
        let (sin, cos) = libm::sincos(stream.uniform(0.0, std::f64::consts::PI));
        Self {
            x: stream.unit(),
            y: stream.unit(),
            radius,
            along: (cos, sin),
            aspect: stream.uniform(1.0, 2.5),
            boxed: stream.chance(0.4),
            colours: [colour(palette, stream), colour(palette, stream)],
            waves: if stream.chance(0.5) { 0.25 } else { stream.uniform(0.5, 4.0) },
        }
    }

    fn paint(&self, out: &mut RgbImage) {
        let side = f64::from(out.width());
        let range = |centre: f64| {
            let reach = self.radius * std::f64::consts::SQRT_2;
            let end = |place: f64| (place * side).clamp(0.0, side) as u32;
            end(centre - reach)..end(centre + reach + 1.0 / side)
        };
        for y in range(self.y) {
            for x in range(self.x) {
                let (dx, dy) = ((f64::from(x) + 0.5) / side - self.x, (f64::from(y) + 0.5) / side - self.y);
                let u = (dx * self.along.0 + dy * self.along.1) / self.radius;
                let v = (dy * self.along.0 - dx * self.along.1) / self.radius * self.aspect;
                let inside = if self.boxed { u.abs().max(v.abs()) <= 1.0 } else { u * u + v * v <= 1.0 };
                if inside {
                    out.put_pixel(x, y, self.colour((u + 1.0) * self.waves));
                }
            }
        }
    }

    /// The colour at a place in waves: there and back with every wave.
    fn colour(&self, place: f64) -> Rgb<u8> {
        let share = (2.0 * (place - place.floor()) - 1.0).abs();
        let [Rgb(first), Rgb(second)] = self.colours;
        Rgb(std::array::from_fn(|channel| {
            (f64::from(first[channel]) * share + f64::from(second[channel]) * (1.0 - share) + 0.5) as u8
        }))
    }
}
