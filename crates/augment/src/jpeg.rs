//! JPEG compression without the bit stream: entropy coding loses nothing, so only the transforms are run.
//!
//! Source: Hendrycks & Dietterich 2019, arXiv:1903.12261, which saves and loads with Pillow; ITU-T T.81; the integer
//! arithmetic is that of libjpeg ("islow" DCT, 4:2:0 chroma, triangle upsampling), so the result equals Pillow's
//! sample by sample.

mod block;

use block::Quantiser;
use image::RgbImage;

use crate::cell::Cell;
use crate::jpeg_file::{self, Component};
use crate::profile::PerProfile;
use crate::scratch::Scratch;
use crate::simd::vectorised;

/// Quality of libjpeg per severity 1-5.
const QUALITY: PerProfile<[u32; 5]> = PerProfile {
    cifar: [80, 65, 58, 50, 40],
    tiny: [65, 58, 50, 40, 25],
    imagenet: [25, 18, 15, 10, 7],
    inception: [23, 16, 13, 8, 5],
};

/// JPEG compression of a cell: through a baseline file of the severity's quality and back. Its blocks are of eight pixels
/// in every profile.
pub(crate) fn apply(cell: &mut Cell<'_, '_>) {
    let quality = QUALITY.get(cell.profile)[cell.index];
    let (width, height) = (cell.image.width, cell.image.height);
    let tables = [&LUMINANCE, &CHROMINANCE].map(|base| Quantiser::new(&scale(base, quality)));
    let mut planes = Planes::new(width, height, cell.scratch);
    let mut rows = Rows::new(planes.stride, planes.half_stride, cell.scratch);
    vectorised(
        #[inline(always)]
        || {
            split(cell.image.levels, width, &mut planes, &mut rows);
            block::code(&mut planes.luma, planes.stride, &tables[0]);
            for plane in &mut planes.chroma {
                block::code(plane, planes.half_stride, &tables[1]);
            }
            merge(&planes, &mut rows, width, cell.out);
        },
    );
    planes.give(cell.scratch);
    rows.give(cell.scratch);
}

/// A baseline JPEG file of the given quality (1-100), 4:2:0 and with optimised Huffman tables: byte by byte what Pillow's
/// `save(quality=..., optimize=True)` writes, and the form in which ImageNet-C was published (quality 85).
///
/// `None` for an image without pixels or with a side above 65535, which the format cannot express.
pub fn encode_jpeg(image: &RgbImage, quality: u32) -> Option<Vec<u8>> {
    let sides = [image.width(), image.height()];
    if sides.iter().any(|side| !(1..=65535).contains(side)) {
        return None;
    }
    let [width, height] = sides.map(|side| side as usize);
    let scratch = &mut Scratch::new();
    let mut planes = Planes::new(width, height, scratch);
    let mut rows = Rows::new(planes.stride, planes.half_stride, scratch);
    split(image.as_raw(), width, &mut planes, &mut rows);
    let tables = [&LUMINANCE, &CHROMINANCE].map(|base| scale(base, quality));
    let component = |samples: &[u8], stride: usize, table: &[i32; 64]| Component {
        columns: stride / 8,
        rows: samples.len() / stride / 8,
        blocks: block::coefficients(samples, stride, table),
    };
    let components = [
        component(&planes.luma, planes.stride, &tables[0]),
        component(&planes.chroma[0], planes.half_stride, &tables[1]),
        component(&planes.chroma[1], planes.half_stride, &tables[1]),
    ];
    let bytes = tables.map(|table| table.map(|step| step as u8));
    Some(jpeg_file::write((width, height), [&bytes[0], &bytes[1]], &components))
}

/// The components in whole blocks: the edges are extended.
struct Planes {
    height: usize,
    /// Columns of the luma and of the chroma with their extension.
    stride: usize,
    half_stride: usize,
    /// Columns and rows of the chroma without it.
    half_width: usize,
    half_height: usize,
    luma: Vec<u8>,
    chroma: [Vec<u8>; 2],
}

impl Planes {
    fn new(width: usize, height: usize, scratch: &mut Scratch) -> Self {
        let (half_width, half_height) = (width.div_ceil(2), height.div_ceil(2));
        let (stride, half_stride) = (width.next_multiple_of(8), half_width.next_multiple_of(8));
        let luma = scratch.take(stride * height.next_multiple_of(8));
        let chroma = [(); 2].map(|()| scratch.take(half_stride * half_height.next_multiple_of(8)));
        Self { height, stride, half_stride, half_width, half_height, luma, chroma }
    }

    fn give(self, scratch: &mut Scratch) {
        scratch.give(self.luma);
        self.chroma.into_iter().for_each(|plane| scratch.give(plane));
    }
}

/// Room for rows on the way.
struct Rows {
    /// A row of each colour.
    colours: [Vec<u8>; 3],
    /// Two rows of each chroma before it is halved; after it is doubled, one.
    chroma: [[Vec<u8>; 2]; 2],
    /// Sums of two rows of halved chroma, with a pixel of border.
    sums: Vec<u32>,
}

impl Rows {
    fn new(stride: usize, half_stride: usize, scratch: &mut Scratch) -> Self {
        let length = stride.max(2 * half_stride);
        Self {
            colours: [(); 3].map(|()| scratch.take(length)),
            chroma: [(); 2].map(|()| [(); 2].map(|()| scratch.take(length))),
            sums: scratch.take(half_stride + 2),
        }
    }

    fn give(self, scratch: &mut Scratch) {
        self.colours.into_iter().chain(self.chroma.into_iter().flatten()).for_each(|row| scratch.give(row));
        scratch.give(self.sums);
    }
}

/// Fills the planes: luma as it is, chroma halved.
#[inline(always)]
fn split(levels: &[u8], width: usize, planes: &mut Planes, rows: &mut Rows) {
    let last = planes.height - 1;
    for pair in 0..planes.half_height {
        for (side, y) in [2 * pair, (2 * pair + 1).min(last)].into_iter().enumerate() {
            let [red, green, blue] = &mut rows.colours;
            let source = levels[y * width * 3..][..width * 3].chunks_exact(3);
            for (((pixel, r), g), b) in source.zip(red.iter_mut()).zip(green.iter_mut()).zip(blue.iter_mut()) {
                (*r, *g, *b) = (pixel[0], pixel[1], pixel[2]);
            }
            let colours = [&red[..width], &green[..width], &blue[..width]];
            let luma = &mut planes.luma[y * planes.stride..][..planes.stride];
            weigh(colours, [19595, 38470, 7471], 32768, luma);
            extend(luma, width);
            let chroma = (128 << 16) + 32767;
            for (rows, weights) in rows.chroma.iter_mut().zip([[-11059, -21709, 32768], [32768, -27439, -5329]]) {
                weigh(colours, weights, chroma, &mut rows[side]);
                extend(&mut rows[side], width);
            }
        }
        for ([upper, lower], plane) in rows.chroma.iter().zip(&mut planes.chroma) {
            halve(upper, lower, &mut plane[pair * planes.half_stride..][..planes.half_stride]);
        }
    }
    extend_down(&mut planes.luma, planes.stride, planes.height);
    for plane in &mut planes.chroma {
        extend_down(plane, planes.half_stride, planes.half_height);
    }
}

/// The sum of the colours by their weights in 16-bit fixed point.
#[inline(always)]
fn weigh([red, green, blue]: [&[u8]; 3], weights: [i32; 3], bias: i32, out: &mut [u8]) {
    for (((out, &r), &g), &b) in out.iter_mut().zip(red).zip(green).zip(blue) {
        let sum = weights[0] * i32::from(r) + weights[1] * i32::from(g) + weights[2] * i32::from(b) + bias;
        *out = (sum >> 16) as u8;
    }
}

/// Repeats the last of the first `length` samples.
#[inline(always)]
fn extend(row: &mut [u8], length: usize) {
    let last = row[length - 1];
    row[length..].fill(last);
}

/// Repeats the last of the first `height` rows.
#[inline(always)]
fn extend_down(plane: &mut [u8], stride: usize, height: usize) {
    for y in height..plane.len() / stride {
        plane.copy_within((height - 1) * stride..height * stride, y * stride);
    }
}

/// Means of 2x2 samples, rounded down and up in turn.
#[inline(always)]
fn halve(upper: &[u8], lower: &[u8], out: &mut [u8]) {
    for (((out, upper), lower), bias) in
        out.chunks_exact_mut(2).zip(upper.chunks_exact(4)).zip(lower.chunks_exact(4)).zip(std::iter::repeat([1, 2]))
    {
        let sum =
            |x: usize| u16::from(upper[x]) + u16::from(upper[x + 1]) + u16::from(lower[x]) + u16::from(lower[x + 1]);
        out[0] = ((sum(0) + bias[0]) >> 2) as u8;
        out[1] = ((sum(2) + bias[1]) >> 2) as u8;
    }
}

/// Doubles the chroma and returns to red, green and blue.
#[inline(always)]
fn merge(planes: &Planes, rows: &mut Rows, width: usize, out: &mut [u8]) {
    for (y, target) in out.chunks_exact_mut(width * 3).enumerate() {
        for (plane, doubled) in planes.chroma.iter().zip(&mut rows.chroma) {
            let row = |y: usize| &plane[y * planes.half_stride..][..planes.half_width];
            let other = if y % 2 == 0 { (y / 2).saturating_sub(1) } else { (y / 2 + 1).min(planes.half_height - 1) };
            double(row(y / 2), row(other), &mut rows.sums, &mut doubled[0]);
        }
        let [red, green, blue] = &mut rows.colours;
        let luma = &planes.luma[y * planes.stride..][..width];
        let (cb, cr) = (&rows.chroma[0][0][..width], &rows.chroma[1][0][..width]);
        for ((out, &y), &cr) in red.iter_mut().zip(luma).zip(cr) {
            *out = level(i32::from(y) + ((91881 * (i32::from(cr) - 128) + 32768) >> 16));
        }
        for (((out, &y), &cb), &cr) in green.iter_mut().zip(luma).zip(cb).zip(cr) {
            let chroma = -22554 * (i32::from(cb) - 128) - 46802 * (i32::from(cr) - 128);
            *out = level(i32::from(y) + ((chroma + 32768) >> 16));
        }
        for ((out, &y), &cb) in blue.iter_mut().zip(luma).zip(cb) {
            *out = level(i32::from(y) + ((116_130 * (i32::from(cb) - 128) + 32768) >> 16));
        }
        for (((pixel, &r), &g), &b) in target.chunks_exact_mut(3).zip(red.iter()).zip(green.iter()).zip(blue.iter()) {
            (pixel[0], pixel[1], pixel[2]) = (r, g, b);
        }
    }
}

/// A row of double the width between the rows `near` and `far`: a triangle filter, or plain repetition for planes of one
/// or two columns.
#[inline(always)]
fn double(near: &[u8], far: &[u8], sums: &mut [u32], out: &mut [u8]) {
    let width = near.len();
    if width <= 2 {
        for (pair, &sample) in out.chunks_exact_mut(2).zip(near) {
            pair.fill(sample);
        }
        return;
    }
    for ((sum, &near), &far) in sums[1..].iter_mut().zip(near).zip(far) {
        *sum = 3 * u32::from(near) + u32::from(far);
    }
    sums[0] = sums[1];
    sums[width + 1] = sums[width];
    let (left, centre, right) = (&sums[..width], &sums[1..=width], &sums[2..width + 2]);
    for (((pair, &left), &centre), &right) in out.chunks_exact_mut(2).zip(left).zip(centre).zip(right) {
        pair[0] = ((3 * centre + left + 8) >> 4) as u8;
        pair[1] = ((3 * centre + right + 7) >> 4) as u8;
    }
}

#[inline(always)]
fn level(value: i32) -> u8 {
    value.clamp(0, 255) as u8
}

/// The quantisation table of a quality.
fn scale(base: &[i32; 64], quality: u32) -> [i32; 64] {
    let quality = quality.clamp(1, 100) as i32;
    let percent = if quality < 50 { 5000 / quality } else { 200 - 2 * quality };
    base.map(|entry| ((entry * percent + 50) / 100).clamp(1, 255))
}

#[rustfmt::skip]
const LUMINANCE: [i32; 64] = [
    16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51, 87, 80, 62,
    18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92, 49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99,
];
#[rustfmt::skip]
const CHROMINANCE: [i32; 64] = [
    17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99, 24, 26, 56, 99, 99, 99, 99, 99, 47, 66, 99, 99, 99, 99, 99, 99,
    99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99,
];
