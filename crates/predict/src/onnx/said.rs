//! What the file's own notes and the files beside it say of classes and of the preparation of pictures.

use std::collections::BTreeMap;
use std::path::Path;

use robustify_data::{Filter, Normalize, Preprocess, place};
use robustify_zoo::registry::Preprocessing;
use robustify_zoo::weights::Beside;
use rten_onnx::onnx::ModelProto;
use serde::Deserialize;
use serde_json::Value;

use super::literal;
use crate::classes::KnownClasses;
use crate::{PredictError, preprocess_line};

/// A preparation of pictures, or a part of one.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Prepared {
    /// Pixel steps alone.
    pub geometry: Option<Preprocess>,
    /// The normalisation.
    pub normalize: Option<Normalize>,
    /// Who says it, for messages.
    pub from: String,
}

/// The notes in a file, by key.
pub(super) fn notes(model: &ModelProto) -> BTreeMap<String, String> {
    let entries = model.metadata_props.iter();
    entries.filter_map(|entry| Some((entry.key.clone()?, entry.value.clone().unwrap_or_default()))).collect()
}

/// The side of a square input by the notes of Ultralytics (`imgsz`).
pub(super) fn side(notes: &BTreeMap<String, String>) -> Option<[usize; 2]> {
    let sides = numbers(notes.get("imgsz")?)?;
    let whole = |side: f64| (side >= 1.0 && side.fract() == 0.0).then_some(side as usize);
    match sides[..] {
        [side] => Some([whole(side)?; 2]),
        [height, width] => Some([whole(height)?, whole(width)?]),
        _ => None,
    }
}

/// All that is said of the preparation of pictures, the nearest first: notes in the file, `preprocessor_config.json`, `config.json`.
///
/// # Arguments
/// - size: height and width that the network takes, if they are known
///
/// # Errors
/// A file beside the model that cannot be read, or says what cannot be.
pub(super) fn prepared(
    path: &Path,
    notes: &BTreeMap<String, String>,
    size: Option<[usize; 2]>,
) -> Result<Vec<Prepared>, PredictError> {
    let stranger =
        |from: &str, reason: String| PredictError::Onnx { path: path.into(), reason: format!("{from}: {reason}") };
    let mut all = Vec::new();
    if let Some(text) = notes.get("preprocess") {
        let said: Preprocess = text.parse().map_err(|error| stranger("its note `preprocess`", format!("{error}")))?;
        all.push(of(&said, "the file's note `preprocess`"));
    }
    if let (Some(mean), Some(std)) =
        (notes.get("mean").and_then(|text| three(text)), notes.get("std").and_then(|text| three(text)))
    {
        let normalize = Some(Normalize { mean, std });
        all.push(Prepared { geometry: None, normalize, from: "the file's notes `mean` and `std`".into() });
    }
    if let (Some("classify"), Some([height, width])) = (notes.get("task").map(String::as_str), side(notes).or(size))
        && height == width
        && notes.get("author").is_some_and(|author| author == "Ultralytics")
    {
        // Source: ultralytics 8.3, `data/augment.py`, `classify_transforms`: mean 0, deviation 1, nothing cut off.
        let text = format!("resize({height})|center_crop({height})|normalize(none)");
        let said: Preprocess = text.parse().map_err(|error| stranger("its note `imgsz`", format!("{error}")))?;
        all.push(of(&said, "the notes of Ultralytics in the file"));
    }
    let beside = path.with_file_name("preprocessor_config.json");
    if beside.is_file() {
        let text = place::read_text(&beside)?;
        let read: Processor = serde_json::from_str(&text).map_err(|error| {
            stranger("preprocessor_config.json beside it", format!("not as transformers writes it: {error}"))
        })?;
        all.push(read.prepared());
    }
    if let Some(facts) = Beside::read(path)?.and_then(|beside| beside.whole_preprocessing()) {
        let side = match size {
            Some([height, width]) if height == width => height,
            _ => facts.image_size,
        };
        let said: Preprocess = preprocess_line(&Preprocessing { image_size: side, ..facts }).parse()?;
        all.push(of(&said, "config.json beside it"));
    }
    Ok(all)
}

fn of(said: &Preprocess, from: &str) -> Prepared {
    let geometry = (!said.steps().is_empty()).then(|| said.geometry());
    Prepared { geometry, normalize: said.is_normalized().then(|| said.normalization()), from: from.into() }
}

/// `preprocessor_config.json`. Source: transformers 4, `image_processing_vit.py`, `image_processing_clip.py`,
/// `image_processing_convnext.py`.
#[derive(Deserialize)]
#[serde(default)]
struct Processor {
    do_resize: bool,
    size: Value,
    resample: Option<u8>,
    crop_pct: Option<f64>,
    do_center_crop: bool,
    crop_size: Value,
    do_rescale: bool,
    rescale_factor: f64,
    do_normalize: bool,
    image_mean: Option<[f64; 3]>,
    image_std: Option<[f64; 3]>,
}

impl Default for Processor {
    fn default() -> Self {
        Self {
            do_resize: true,
            size: Value::Null,
            resample: None,
            crop_pct: None,
            do_center_crop: false,
            crop_size: Value::Null,
            do_rescale: true,
            rescale_factor: 1.0 / 255.0,
            do_normalize: true,
            image_mean: None,
            image_std: None,
        }
    }
}

impl Processor {
    fn prepared(&self) -> Prepared {
        let geometry = self.geometry().and_then(|text| text.parse().ok());
        Prepared { geometry, normalize: self.normalize(), from: "preprocessor_config.json beside it".into() }
    }

    /// The pixel steps; none where they are not known, or end in no fixed size.
    fn geometry(&self) -> Option<String> {
        // Pillow's numbers.
        let filter = match self.resample {
            _ if !self.do_resize => Filter::Bilinear,
            Some(0) => Filter::Nearest,
            Some(1) => Filter::Lanczos,
            Some(2) => Filter::Bilinear,
            Some(3) => Filter::Bicubic,
            Some(4) => Filter::Box,
            _ => return None,
        };
        let side = |of: &Value, key: &str| of.get(key).and_then(Value::as_u64);
        let both = |of: &Value| Some((side(of, "height")?, side(of, "width")?));
        let crop = self
            .do_center_crop
            .then(|| both(&self.crop_size).or_else(|| self.crop_size.as_u64().map(|side| (side, side))));
        let crop = match crop {
            Some(crop) => Some(crop?),
            None => None,
        };
        let cut = |(height, width): (u64, u64)| format!("center_crop({height},{width})");
        let short = side(&self.size, "shortest_edge");
        let resize = match (self.do_resize, both(&self.size), short, self.crop_pct) {
            (false, ..) => return crop.map(cut),
            (true, Some((height, width)), ..) => format!("resize({height},{width},{filter})"),
            // ConvNeXt's: below 384 pixels the border is cut off, from there on the picture is made a square.
            (true, None, Some(short), Some(part)) if short < 384 && part > 0.0 => {
                return Some(format!("resize({},{filter})|center_crop({short})", (short as f64 / part) as u64));
            }
            (true, None, Some(short), Some(_)) => format!("resize({short},{short},{filter})"),
            (true, None, Some(short), None) => return Some(format!("resize({short},{filter})|{}", cut(crop?))),
            (true, None, None, _) => return None,
        };
        Some(crop.map_or(resize.clone(), |crop| format!("{resize}|{}", cut(crop))))
    }

    /// `(level * factor - mean) / std` as a normalisation of levels over 255.
    fn normalize(&self) -> Option<Normalize> {
        let factor = 255.0 * if self.do_rescale { self.rescale_factor } else { 1.0 };
        let (mean, std) = match self.do_normalize {
            true => (self.image_mean?, self.image_std?),
            false => ([0.0; 3], [1.0; 3]),
        };
        let close = |part: f64| part / if (factor - 1.0).abs() < 1e-6 { 1.0 } else { factor };
        Some(Normalize { mean: mean.map(|part| close(part) as f32), std: std.map(|part| close(part) as f32) })
    }
}

/// Keys under which programs note the names of classes.
const KEYS: [&str; 6] = ["classes", "class_names", "names", "labels", "label_names", "id2label"];

/// Files beside a model that hold a name a line.
const LISTS: [&str; 3] = ["classes.txt", "labels.txt", "class_names.txt"];

/// The names of the classes, from the first that says them: the file's notes, a list beside it, `config.json`.
///
/// # Errors
/// A file beside the model that cannot be read.
pub(super) fn classes(path: &Path, notes: &BTreeMap<String, String>) -> Result<Option<KnownClasses>, PredictError> {
    let noted = KEYS.into_iter().find_map(|key| Some((literal::names(notes.get(key)?)?, key)));
    if let Some((names, key)) = noted {
        return Ok(Some(KnownClasses::new(&names, format!("the file's note `{key}`"))));
    }
    if let Some(list) = LISTS.into_iter().find(|list| path.with_file_name(list).is_file()) {
        let names = lines(&place::read_text(&path.with_file_name(list))?);
        return Ok(Some(KnownClasses::new(&names, format!("{list} beside it"))));
    }
    let named = Beside::read(path)?.and_then(|beside| beside.classes);
    Ok(named.map(|names| KnownClasses { names, from: "config.json beside it".to_owned() }))
}

/// A name a line; empty lines at the end say nothing.
pub(super) fn lines(text: &str) -> Vec<String> {
    text.trim_end().lines().map(|line| line.trim().to_owned()).collect()
}

/// Numbers of a list, however it is written: `[0.5, 0.5, 0.5]`, `0.5 0.5 0.5`.
fn numbers(text: &str) -> Option<Vec<f64>> {
    let plain: String = text.chars().map(|letter| if "[](),;".contains(letter) { ' ' } else { letter }).collect();
    plain.split_whitespace().map(|part| part.parse().ok().filter(|number: &f64| number.is_finite())).collect()
}

fn three(text: &str) -> Option<[f32; 3]> {
    let found: [f64; 3] = numbers(text)?.try_into().ok()?;
    Some(found.map(|number| number as f32))
}
