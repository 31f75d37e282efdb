//! The pictures that PixMix mixes in: generated, or given.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use image::{RgbImage, imageops};
use robustify_rng::{Key, Stream};

use crate::pillow_resize::{Filter, resize};
use crate::{ifs, leaves, plasma};

/// A set of structured pictures, each of which can be had at any size.
///
/// Generated pictures depend on the kind, the seed and their number only. They are made when first drawn, and up to 256 MiB
/// of them are kept: a picture has 200 kB for images of 224 pixels and 63 MB for photos of 4000. None of them is a picture of
/// the set that PixMix's authors published, so results carry the name of the set.
#[derive(Clone)]
pub struct MixingSet {
    source: Source,
    seed: u64,
    count: u32,
    ready: Arc<Mutex<Ready>>,
}

/// Pictures that were made, by index and short side.
#[derive(Default)]
struct Ready {
    pictures: HashMap<(u32, u32), Arc<RgbImage>>,
    bytes: usize,
}

impl Ready {
    /// What the pictures may take: enough for the 256 of a usual set up to images of 512 pixels.
    const MOST_BYTES: usize = 256 << 20;

    /// Keeps a picture, if need be instead of all others. One that is too large for that is not kept.
    fn keep(&mut self, key: (u32, u32), picture: &Arc<RgbImage>) {
        let bytes = picture.as_raw().len();
        // Another thread may have made it as well.
        if bytes > Self::MOST_BYTES || self.pictures.contains_key(&key) {
            return;
        }
        if self.bytes + bytes > Self::MOST_BYTES {
            *self = Self::default();
        }
        self.bytes += bytes;
        self.pictures.insert(key, Arc::clone(picture));
    }
}

#[derive(Clone, PartialEq)]
enum Source {
    Generated(MixingKind),
    Given(Arc<[RgbImage]>),
}

/// What generated pictures show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum MixingKind {
    /// Fractals of random iterated function systems over clouds of colour. Source: Anderson & Farrell 2022, "Improving
    /// Fractal Pre-training", arXiv:2110.03091.
    #[default]
    Ifs,
    /// Overlapping discs, ellipses and boxes of all sizes. Source: Lee, Mumford & Huang 2001, "Occlusion models for
    /// natural images".
    Leaves,
    /// Clouds of colour by midpoint displacement. Source: Fournier, Fussell & Carpenter 1982, CACM 25(6).
    Plasma,
    /// Half fractals, a quarter each of the others.
    Mixed,
}

impl MixingKind {
    fn name(self) -> &'static str {
        match self {
            Self::Ifs => "ifs",
            Self::Leaves => "leaves",
            Self::Plasma => "plasma",
            Self::Mixed => "mixed",
        }
    }
}

impl MixingSet {
    /// `count` generated pictures.
    pub fn generated(kind: MixingKind, seed: u64, count: u32) -> Self {
        Self { source: Source::Generated(kind), seed, count, ready: Arc::default() }
    }

    /// The caller's pictures. Empty ones are left out; a set without any leaves images as they are.
    pub fn pictures(mut pictures: Vec<RgbImage>) -> Self {
        pictures.retain(|picture| !picture.is_empty());
        let count = u32::try_from(pictures.len()).unwrap_or(u32::MAX);
        Self { source: Source::Given(pictures.into()), seed: 0, count, ready: Arc::default() }
    }

    /// What results with this set are called: `pixmix-ifs`, `pixmix-leaves`, `pixmix-plasma`, `pixmix-mixed`, or
    /// `pixmix-pictures` for the caller's.
    pub fn name(&self) -> String {
        match &self.source {
            Source::Generated(kind) => format!("pixmix-{}", kind.name()),
            Source::Given(_) => "pixmix-pictures".to_owned(),
        }
    }

    /// Number of pictures.
    pub fn len(&self) -> u32 {
        self.count
    }

    /// True if there is no picture.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// What generated pictures show; none for the caller's.
    pub fn kind(&self) -> Option<MixingKind> {
        match self.source {
            Source::Generated(kind) => Some(kind),
            Source::Given(_) => None,
        }
    }

    /// A picture with a short side of `side` pixels, at least one; generated pictures are square. An index beyond the
    /// set starts over. None from an empty set.
    pub fn picture(&self, index: u32, side: u32) -> Option<Arc<RgbImage>> {
        let (index, side) = (index.checked_rem(self.count)?, side.max(1));
        let lock = || self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(picture) = lock().pictures.get(&(index, side)) {
            return Some(Arc::clone(picture));
        }
        let picture = Arc::new(self.make(index, side));
        lock().keep((index, side), &picture);
        Some(picture)
    }

    fn make(&self, index: u32, side: u32) -> RgbImage {
        let kind = match &self.source {
            Source::Given(pictures) => return shortened(&pictures[index as usize], side),
            Source::Generated(MixingKind::Mixed) => match index % 4 {
                1 => MixingKind::Leaves,
                3 => MixingKind::Plasma,
                _ => MixingKind::Ifs,
            },
            Source::Generated(kind) => *kind,
        };
        let mut stream = Key::new(self.seed, "mixing set").with_str(kind.name()).with(u64::from(index)).stream();
        match kind {
            MixingKind::Leaves => leaves::picture(side, &mut stream),
            MixingKind::Plasma => plasma::picture(side, &mut stream),
            MixingKind::Ifs | MixingKind::Mixed => ifs::picture(side, &mut stream),
        }
    }

    /// A random crop of a random picture, of an image's size. None for an empty image or from an empty set.
    ///
    /// As in the authors' code the picture is an eighth or so larger than the crop: 36 for 32, 256 for 224.
    pub(crate) fn draw(&self, (width, height): (u32, u32), stream: &mut Stream) -> Option<Crop> {
        if width == 0 || height == 0 {
            return None;
        }
        let side = (u64::from(width.max(height)) * 8 / 7).min(u64::from(u32::MAX)) as u32;
        let picture = self.picture(stream.below(self.count), side)?;
        let left = stream.below(picture.width() - width + 1) as usize;
        let top = stream.below(picture.height() - height + 1) as usize;
        Some(Crop { picture, left, top, width: width as usize })
    }
}

impl PartialEq for MixingSet {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source && self.seed == other.seed && self.count == other.count
    }
}

impl fmt::Debug for MixingSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MixingSet({}, seed {}, {} pictures)", self.name(), self.seed, self.count)
    }
}

/// A part of a picture.
pub(crate) struct Crop {
    picture: Arc<RgbImage>,
    left: usize,
    top: usize,
    width: usize,
}

impl Crop {
    /// The interleaved levels of a row.
    pub fn row(&self, y: usize) -> &[u8] {
        let start = (self.top + y) * self.picture.width() as usize + self.left;
        &self.picture.as_raw()[start * 3..][..self.width * 3]
    }
}

/// The longest shape of a picture that is kept; more is cut off at the ends, lest it fills the memory.
const LONGEST: u32 = 8;

/// The picture with its short side of `side` pixels.
fn shortened(picture: &RgbImage, side: u32) -> RgbImage {
    let limit = picture.width().min(picture.height()).saturating_mul(LONGEST);
    let (width, height) = (picture.width().min(limit), picture.height().min(limit));
    let (left, top) = ((picture.width() - width) / 2, (picture.height() - height) / 2);
    let picture = imageops::crop_imm(picture, left, top, width, height).to_image();
    let long = |long: u32, short: u32| (u64::from(side) * u64::from(long) / u64::from(short)) as u32;
    if width <= height {
        resize(&picture, side, long(height, width), Filter::Bilinear)
    } else {
        resize(&picture, long(width, height), side, Filter::Bilinear)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes of the pictures that are kept after those of these sides, all of one set.
    fn kept(sides: &[u32]) -> usize {
        let mut ready = Ready::default();
        for (index, &side) in sides.iter().enumerate() {
            ready.keep((index as u32, side), &Arc::new(RgbImage::new(side, side)));
        }
        let bytes = ready.pictures.values().map(|picture| picture.as_raw().len()).sum();
        assert_eq!(ready.bytes, bytes);
        bytes
    }

    #[test]
    fn pictures_that_are_kept_have_a_bound_in_bytes() {
        let square = |side: usize| 3 * side * side;
        assert_eq!(kept(&[4571; 4]), 4 * square(4571), "four for photos of 4000 pixels");
        assert_eq!(kept(&[4571; 5]), square(4571), "the fifth takes the place of all");
        assert_eq!(kept(&[4571, 10_000, 4571]), 2 * square(4571), "one alone is too large");
        assert_eq!(kept(&[585; 256]), 256 * square(585), "a whole set for images of 512 pixels");
    }

    #[test]
    fn pictures_are_made_once_while_they_are_kept() {
        let set = MixingSet::generated(MixingKind::Leaves, 1, 2);
        let first = set.picture(1, 40).unwrap();
        assert!(Arc::ptr_eq(&first, &set.picture(3, 40).unwrap()));
        assert!(!Arc::ptr_eq(&first, &set.picture(1, 41).unwrap()));
    }
}
