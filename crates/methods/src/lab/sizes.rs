//! Whether pixels, random views and networks fit each other: found out before anything is computed, with the key at fault.

use anyhow::bail;
use image::RgbImage;
use robustify_data::{CleanView, Images, Preprocess};
use robustify_rng::Key;
use robustify_zoo::ModelConfig;

use super::config::{Config, check};

/// Largest side of a network's input in pixels; no step of a preprocessing gives images beyond it.
const MAX_SIDE: usize = 16_384;

/// What of the main job's settings does not fit together, whatever the data are.
pub fn faults(config: &Config) -> Vec<String> {
    let Config { original, teacher, views, split, .. } = config;
    let mut faults = Vec::new();
    let blocks = original.network.blocks();
    check(&mut faults, split.shared_blocks.saturating_add(split.head_blocks) <= blocks, || {
        let (shared, head) = (split.shared_blocks, split.head_blocks);
        format!(
            "split.shared_blocks {shared} and split.head_blocks {head} cut off more than there is: \
             original.network has {blocks} blocks or stages"
        )
    });
    let large = side(&mut faults, "original.network", &original.network);
    // What only a file says is looked at when the file is read, by `check_loaded`.
    let small = teacher.network.as_ref().and_then(|network| side(&mut faults, "teacher.network", network));
    if let Some(large) = large {
        check_view(&mut faults, "views.clean_view", &views.clean_view, large);
        // The teacher sees views of the large model's pixels.
        if let Some(view) = teacher.training.as_ref().and_then(|training| training.clean_view.as_ref()) {
            check_view(&mut faults, "teacher.training.clean_view", view, large);
        }
        if let (Some(small), Some(preprocess)) = (small, &teacher.preprocess) {
            check_teacher(&mut faults, preprocess, large, small);
        }
    }
    faults
}

/// Whether a teacher, whose network or preprocessing may come from a file, sees the large model's pixels at its size.
pub(super) fn check_loaded(config: &Config, network: &ModelConfig, preprocess: &Preprocess) -> Vec<String> {
    let mut faults = Vec::new();
    check_teacher(&mut faults, &preprocess.to_string(), config.original.network.image_size(), network.image_size());
    faults
}

/// The same of training one network by itself: `key` is that of the network, `view` the setting of its random views.
pub fn training_faults(key: &str, network: &ModelConfig, view_key: &str, view: &str) -> Vec<String> {
    let mut faults = Vec::new();
    if let Some(side) = side(&mut faults, key, network) {
        check_view(&mut faults, view_key, view, side);
    }
    faults
}

/// An error unless every image comes out of a preprocessing as the network beside it takes it. `section` is what their keys
/// begin with, `original.` or nothing. No image is decoded for it.
///
/// # Errors
/// The first image that does not fit, and how many others.
pub fn check_images(section: &str, text: &str, network: &ModelConfig, images: &Images) -> anyhow::Result<()> {
    let preprocess: Preprocess = text.parse()?;
    let side = network.image_size();
    let mut unfit = (0..images.len()).filter_map(|index| {
        let found = images.dimensions(index).and_then(|dimensions| preprocess.size(dimensions));
        match found {
            Ok(found) if is_square(found, side) => None,
            found => Some((index, found)),
        }
    });
    let Some((first, found)) = unfit.next() else { return Ok(()) };
    let others = match unfit.count() {
        0 => String::new(),
        others => format!("; {others} other images do not fit either"),
    };
    match found {
        Err(error) => {
            let error = error.of_image(images, first);
            bail!("{section}preprocess `{text}` does not fit the images: {error}{others}")
        }
        Ok((width, height)) => bail!(
            "{section}preprocess `{text}` makes {width}x{height} of {}, the model takes {side}x{side}{others}; end it in that size, \
             as in {section}preprocess=\"resize({side})|center_crop({side})|normalize(half)\", or set {section}network.image_size",
            images.origin(first)
        ),
    }
}

/// The side of a network's input; nothing when the network has faults of its own.
fn side(faults: &mut Vec<String>, key: &str, network: &ModelConfig) -> Option<usize> {
    let side = network.image_size();
    check(faults, side <= MAX_SIDE, || format!("{key}.image_size {side} is above {MAX_SIDE} pixels"));
    (side <= MAX_SIDE && network.faults().is_empty()).then_some(side)
}

/// The teacher sees the large model's pixels through its own preprocessing.
fn check_teacher(faults: &mut Vec<String>, text: &str, large: usize, small: usize) {
    // What does not parse is reported where it is parsed.
    let Ok(preprocess) = text.parse::<Preprocess>() else { return };
    let gets = format!("the large model's pixels (original.preprocess, original.network.image_size), {large}x{large}");
    match preprocess.pixels(&blank(large)) {
        Ok(pixels) => check(faults, is_square(pixels.dimensions(), small), || {
            let (width, height) = pixels.dimensions();
            let follow = format!("set teacher.network.image_size={width}, or ");
            let follow = if width == height { follow } else { String::new() };
            format!(
                "teacher.network.image_size is {small}, but teacher.preprocess `{text}` makes {width}x{height} of {gets}; \
                 {follow}end the steps of teacher.preprocess in resize({small},{small})"
            )
        }),
        Err(error) => faults.push(format!("teacher.preprocess `{text}` does not fit {gets}: {error}")),
    }
}

/// A random view has to leave images at the size that the network takes.
fn check_view(faults: &mut Vec<String>, key: &str, text: &str, side: usize) {
    let Ok(view) = text.parse::<CleanView>() else { return };
    match view.apply(&blank(side), Key::new(0, "size of views")) {
        Ok(image) => check(faults, is_square(image.dimensions(), side), || {
            let (width, height) = image.dimensions();
            format!(
                "{key} `{text}` makes {width}x{height} of images of {side}x{side}, which is what the network takes; \
                 crop to that size, as in {key}=\"random_crop({side},2)\""
            )
        }),
        Err(error) => faults.push(format!(
            "{key} `{text}` does not fit images of {side}x{side}: {error}; as in {key}=\"random_crop({side},2)\""
        )),
    }
}

fn blank(side: usize) -> RgbImage {
    let side = side as u32;
    RgbImage::new(side, side)
}

fn is_square((width, height): (u32, u32), side: usize) -> bool {
    (width as usize, height as usize) == (side, side)
}
