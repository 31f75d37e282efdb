//! How large pictures are for a graph, and what is done to them before it.

use std::collections::BTreeMap;
use std::path::Path;

use robustify_data::{Normalize, Preprocess};
use rten_onnx::onnx::GraphProto;

use super::OnnxOptions;
use super::graph::{self, Input};
use super::said::{self, Prepared};
use crate::PredictError;

/// The longest side of an input in pixels.
const MAX_SIDE: usize = 4096;

/// Height and width by the graph, the user, or the file's notes.
pub(super) fn known_size(
    input: &Input,
    options: &OnnxOptions,
    notes: &BTreeMap<String, String>,
) -> Result<Option<[usize; 2]>, String> {
    let given = options.image_size;
    let [height, width] = given.or_else(|| said::side(notes)).map_or([None; 2], |size| size.map(Some));
    let (height, width) = (input.height.or(height), input.width.or(width));
    if let (Some([given_height, given_width]), (Some(height), Some(width))) = (given, (height, width))
        && [given_height, given_width] != [height, width]
    {
        return Err(format!(
            "it takes {height}x{width} pixels (height x width), and --image-size says {given_height}x{given_width}; leave that out"
        ));
    }
    Ok(height.zip(width).map(|(height, width)| [height, width]))
}

/// Refuses three different means or deviations for an input of one channel.
pub(super) fn expect_grey(input: &Input, preprocess: &Preprocess) -> Result<(), String> {
    let Normalize { mean, std } = preprocess.normalization();
    if input.channels == 3 || [mean, std].iter().all(|values| values.iter().all(|value| *value == values[0])) {
        return Ok(());
    }
    Err(format!(
        "its input `{}` has one channel, and {} is for three; give one mean and one deviation, as in normalize(m,m,m;d,d,d)",
        input.name,
        preprocess.normalization()
    ))
}

/// The size of the input, once it is known what pictures become.
pub(super) fn settled_size(
    input: &Input,
    known: Option<[usize; 2]>,
    preprocess: &Preprocess,
) -> Result<[usize; 2], String> {
    // Pictures of two shapes become one size, unless the steps leave that open, or there are none.
    let ends = [(4032, 3024), (3024, 4032)].map(|size| preprocess.size(size).ok());
    let made = match ends {
        [Some(first), Some(second)] if first == second => Some([first.1 as usize, first.0 as usize]),
        _ => None,
    };
    match (known, made) {
        (Some(known), Some(made)) if known != made => Err(format!(
            "`{preprocess}` ends in {}x{} pixels (height x width), the network takes {}x{}; say --preprocess anew, as in \
             '{}|{}'",
            made[0],
            made[1],
            known[0],
            known[1],
            geometry_for(Some(known)),
            preprocess.normalization()
        )),
        (Some(size), _) | (None, Some(size)) if size.iter().all(|side| (1..=MAX_SIDE).contains(side)) => Ok(size),
        (Some(size), _) | (None, Some(size)) => Err(format!(
            "it takes {}x{} pixels (height x width); sides of 1 to {MAX_SIDE} are possible",
            size[0], size[1]
        )),
        (None, None) => Err(format!(
            "its input `{}` does not say how large pictures are; give --image-size N, or a --preprocess that ends in center_crop(N)",
            input.name
        )),
    }
}

/// Steps that are usual for a size, as an example.
pub(super) fn geometry_for(size: Option<[usize; 2]>) -> String {
    match size {
        Some([height, width]) if height == width => {
            format!("resize({})|center_crop({height})", (height as f64 / 0.875).round())
        }
        Some([height, width]) => format!("resize({height},{width})"),
        None => "resize(256)|center_crop(224)".into(),
    }
}

/// What is done to pictures: by the user, else by whatever says it first, except that a graph's own normalisation is not done twice.
pub(super) fn prepare(
    path: &Path,
    options: &OnnxOptions,
    notes: &BTreeMap<String, String>,
    graph: &GraphProto,
    input: &Input,
    size: Option<[usize; 2]>,
    told: &mut Vec<String>,
) -> Result<Preprocess, PredictError> {
    let fault = |reason: String| PredictError::Onnx { path: path.into(), reason };
    let own = own_normalization(graph, input);
    let given = options.preprocess.as_ref();
    if let Some(said) = given.filter(|said| said.is_normalized()) {
        let normalize = said.normalization();
        if input.bytes && normalize != Normalize::NONE {
            return Err(fault(format!(
                "its input takes bytes, before which nothing is normalised; leave {normalize} out"
            )));
        }
        if let Some((before, note)) = own.filter(|(before, _)| *before != normalize) {
            told.push(format!("{note}, where {before} would go before it; --preprocess says {normalize}"));
        }
        return Ok(said.clone());
    }
    let found = said::prepared(path, notes, size)?;
    let of = |wanted: fn(&Prepared) -> bool| found.iter().find(|said| wanted(said));
    let (steps, normal) = (of(|said| said.geometry.is_some()), of(|said| said.normalize.is_some()));
    let geometry = given.map(Preprocess::geometry).or_else(|| steps.and_then(|said| said.geometry.clone()));
    let normalize = own.as_ref().map(|(before, _)| *before).or_else(|| normal.and_then(|said| said.normalize));
    let (Some(steps_known), Some(normalize)) = (&geometry, normalize) else {
        return Err(fault(missing(geometry.as_ref(), normalize, &geometry_for(size))));
    };
    if given.is_none()
        && let Some(said) = steps
    {
        told.push(format!("how pictures are prepared: {}", said.from));
    }
    match (own, normal) {
        (Some((_, note)), _) => told.push(note),
        (None, Some(said)) if given.is_some() => told.push(format!("normalisation: {}", said.from)),
        _ => {}
    }
    let text = format!("{steps_known}|{normalize}");
    Ok(text.trim_start_matches('|').parse()?)
}

/// What to say where the steps, the normalisation or both are not known.
fn missing(geometry: Option<&Preprocess>, normalize: Option<Normalize>, usual: &str) -> String {
    let choices = "as torchvision and most of timm have it; normalize(half) is for mean and deviation 0.5, normalize(none) for values from 0 \
                   to 1, normalize(r,g,b;r,g,b) for any others";
    match (geometry, normalize) {
        (None, Some(_)) => format!(
            "nothing says how pictures come to its size; give what it was trained with: --preprocess '{usual}', which cuts the middle out \
             as torchvision does, or 'resize(H,W)'"
        ),
        (Some(steps), _) => format!(
            "nothing says how its pixels are normalised; end --preprocess with it: '{steps}|normalize(imagenet)' {choices}"
        ),
        (None, None) => format!(
            "nothing says how pictures are prepared for it: no note in the file, no config.json or preprocessor_config.json beside it. \
             Give what it was trained with: --preprocess '{usual}|normalize(imagenet)' {choices}"
        ),
    }
}

/// What has to come before a graph that normalises its input itself, and a sentence about that.
fn own_normalization(graph: &GraphProto, input: &Input) -> Option<(Normalize, String)> {
    if input.bytes {
        return Some((Normalize::NONE, "the graph takes levels from 0 to 255 as bytes".into()));
    }
    let own = graph::own_normalization(graph, input)?;
    let within = |values: &[f32], low: f32, high: f32| values.iter().all(|value| (low..=high).contains(value));
    let said = |range: &str| {
        format!(
            "the graph begins with its own normalisation of values from 0 to {range} (mean {:?}, deviation {:?})",
            own.mean, own.std
        )
    };
    if within(&own.mean, -0.01, 1.0) && within(&own.std, 0.05, 1.01) {
        return Some((Normalize::NONE, said("1")));
    }
    let levels = Normalize { mean: [0.0; 3], std: [1.0 / 255.0; 3] };
    (within(&own.mean, -0.01, 255.0) && within(&own.std, 12.0, 256.0)).then(|| (levels, said("255")))
}
