//! The figures of a diagnosis: pictures that stand in its page, and that are files as well.

use super::{Diagnosed, Diagnosis, LandscapeRecord, LayerRecord};
use crate::chart::{Contour, Guide, Panel, Piece, STYLES, Series, Tile, Tiles};

/// Pictures that belong together.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Figure {
    /// Its name as a file, without extension, and for links.
    pub file: &'static str,
    /// What stands above it.
    pub title: &'static str,
    /// What one sees, a few sentences.
    pub caption: String,
    /// Whether lines have the styles of models, so that a legend is needed.
    pub legend: bool,
    /// How many pieces stand in a row of the file.
    pub across: usize,
    /// The pictures.
    pub pieces: Vec<Piece>,
}

/// Places along and numbers up.
type Points = Vec<(f64, Option<f64>)>;

/// Size of a plot.
const SIZE: [f64; 2] = [380.0, 250.0];
/// Tiles of maps in a row.
const MAPS: usize = 6;
/// How many layers of a model have their map shown.
const MOST_MAPS: usize = 12;

/// All figures that there is something for.
pub(super) fn figures(diagnosis: &Diagnosis) -> Vec<Figure> {
    let looked: Vec<(usize, &Diagnosed)> =
        diagnosis.models.iter().enumerate().filter(|(_, model)| model.attention.is_some()).collect();
    let walked: Vec<(usize, &Diagnosed, &LandscapeRecord)> = diagnosis
        .models
        .iter()
        .enumerate()
        .filter_map(|(style, model)| Some((style, model, model.landscape.as_ref()?)))
        .collect();
    let mut all = Vec::new();
    if !looked.is_empty() {
        all.extend([distance(&looked), similarity(&looked), shape(&looked), maps(&looked)]);
    }
    if !walked.is_empty() {
        all.push(rings(&walked));
        let planes: Vec<_> = walked.iter().copied().filter(|(_, _, found)| found.plane).collect();
        if !planes.is_empty() {
            all.extend([contours(&planes, false), contours(&planes, true)]);
        }
    }
    all.retain(|figure| !figure.pieces.is_empty());
    all
}

fn layers(model: &Diagnosed) -> &[LayerRecord] {
    model.attention.as_ref().map_or(&[], |found| &found.layers)
}

/// Ends of the axis of layers that all models share.
fn depth(looked: &[(usize, &Diagnosed)]) -> [f64; 2] {
    let most = looked.iter().map(|(_, model)| layers(model).len()).max().unwrap_or(1);
    [0.0, most.max(2) as f64 + 0.5]
}

/// A plot for each model: a dot for every head, a line through their means, and steps of what attention without any preference has.
fn by_heads(
    looked: &[(usize, &Diagnosed)],
    y: &str,
    of: impl Fn(&Diagnosed, &LayerRecord) -> Vec<f64>,
    even: impl Fn(&Diagnosed, &LayerRecord) -> Option<f64>,
) -> Vec<Piece> {
    let highest = looked
        .iter()
        .flat_map(|(_, model)| layers(model).iter().flat_map(|layer| of(model, layer)).collect::<Vec<_>>());
    let highest = highest.fold(0.0, f64::max);
    let top = if highest > 0.0 { highest * 1.06 } else { 1.0 };
    let piece = |&(style, model): &(usize, &Diagnosed)| {
        let mut dots = Series { label: model.name.clone(), style, ..Series::default() };
        let mut means = dots.clone();
        let steps = layers(model).iter().enumerate();
        let even_steps =
            steps.filter_map(|(index, layer)| Some(((index + 1) as f64, even(model, layer)?))).collect::<Vec<_>>();
        for (index, layer) in layers(model).iter().enumerate() {
            let values = of(model, layer);
            let along = (index + 1) as f64;
            let mean = (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64);
            means.points.push((along, mean));
            dots.points.extend(values.into_iter().map(|value| (along, Some(value))));
        }
        let panel = Panel {
            title: format!("{y} of {}", model.name),
            x: "layer".into(),
            y: y.into(),
            size: SIZE,
            across: Some(depth(looked)),
            upward: Some([0.0, top]),
            series: vec![means],
            dots: vec![dots],
            guide: if even_steps.is_empty() { Guide::None } else { Guide::Front(even_steps) },
            ..Panel::default()
        };
        Piece { name: model.name.clone(), svg: panel.svg(), size: SIZE }
    };
    looked.iter().map(piece).collect()
}

fn distance(looked: &[(usize, &Diagnosed)]) -> Figure {
    let side = |model: &Diagnosed| model.attention.as_ref().map_or(1, |found| found.image_size.max(1)) as f64;
    let of = |model: &Diagnosed, layer: &LayerRecord| {
        layer.distance.renormalised.iter().map(|distance| distance / side(model)).collect()
    };
    let even = |model: &Diagnosed, layer: &LayerRecord| Some(layer.uniform / side(model));
    Figure {
        file: "attention-distance",
        title: "Attention distance",
        caption: "How far heads look: the mean distance between a patch and those that it looks at, in parts of the image's side. A dot is a head, the \
                  line their mean; dashes are attention that looks everywhere evenly. Heads that differ much within a layer do different work."
            .into(),
        across: 2,
        pieces: by_heads(looked, "distance ÷ side", of, even),
        ..Figure::default()
    }
}

fn similarity(looked: &[(usize, &Diagnosed)]) -> Figure {
    Figure {
        file: "head-similarity",
        title: "Similarity of heads",
        caption: "The cosine of the attention of a head and the others of its layer for the same patch, averaged. A dot is a head, the line their mean: \
                  where it is high, heads look at the same things."
            .into(),
        across: 2,
        pieces: by_heads(looked, "cosine", |_, layer| layer.similarity.heads.clone(), |_, _| None),
        ..Figure::default()
    }
}

/// A line for each model over the layers.
fn line(model: &Diagnosed, style: usize, of: &dyn Fn(&LayerRecord) -> Option<f64>) -> Series {
    let points = layers(model).iter().enumerate().map(|(index, layer)| ((index + 1) as f64, of(layer))).collect();
    Series { label: model.name.clone(), style, points, marked: true }
}

fn shape(looked: &[(usize, &Diagnosed)]) -> Figure {
    type Of = fn(&LayerRecord) -> Option<f64>;
    let of: [(&str, &str, Of); 3] = [
        ("Diagonality", "weight on the own place and its neighbours", |layer| Some(layer.map.renormalised.diagonality)),
        ("Columnness", "deviation between keys", |layer| Some(layer.map.renormalised.columnness)),
        ("Translation index", "share of variance", |layer| layer.map.renormalised.translation),
    ];
    let piece = |(name, y, of): (&str, &str, Of)| {
        let panel = Panel {
            title: format!("{name} by layers"),
            x: "layer".into(),
            y: y.into(),
            size: SIZE,
            across: Some(depth(looked)),
            series: looked.iter().map(|(style, model)| line(model, *style, &of)).collect(),
            ..Panel::default()
        };
        Piece { name: name.into(), svg: panel.svg(), size: SIZE }
    };
    Figure {
        file: "map-shape",
        title: "Shape of the average maps",
        caption: "Of each layer's map, averaged over images and heads. Diagonality is the weight on a patch's own place and its four neighbours. \
                  Columnness is the deviation between keys of the weight that they get, in units of the uniform weight: where it is high, all patches look at the same \
                  ones. The translation index is the share of the map's variance that depends on the offset of query and key alone."
            .into(),
        legend: true,
        across: 3,
        pieces: of.map(piece).into(),
    }
}

fn maps(looked: &[(usize, &Diagnosed)]) -> Figure {
    let piece = |(_, model): &(usize, &Diagnosed)| {
        let all = layers(model);
        let shown = all.len().min(MOST_MAPS);
        // From the first to the last, as evenly as there are layers.
        let chosen = (0..shown).map(|at| if shown > 1 { at * (all.len() - 1) / (shown - 1) } else { 0 });
        let tile = |index: usize| {
            let layer = &all[index];
            let shape = &layer.map.renormalised;
            Tile {
                picture: layer.picture.clone(),
                name: format!("layer {}", index + 1),
                lines: vec![format!("diag. {:.2}, col. {:.2}", shape.diagonality, shape.columnness)],
            }
        };
        let tiles = Tiles {
            title: format!("average maps of {}", model.name),
            tiles: chosen.map(tile).collect(),
            across: MAPS.min(shown),
            side: 116.0,
            scale: ["0.1 ×", "1 ×", "10 ×", "100 × uniform"].map(str::to_owned).into(),
        };
        Piece { name: model.name.clone(), svg: tiles.svg(), size: tiles.size() }
    };
    Figure {
        file: "attention-maps",
        title: "Average attention maps",
        caption: "A row is a patch that looks, a column one that is looked at, row by row through the image (of Swin Transformers through a window). Colours are \
                  the logarithm of the weight from a tenth of the uniform one (dark) to a hundred times as much (yellow), the same for all. A diagonal is attention \
                  to near places, a column a patch that all look at."
            .into(),
        across: 1,
        pieces: looked.iter().map(piece).collect(),
        ..Figure::default()
    }
}

fn rings(walked: &[(usize, &Diagnosed, &LandscapeRecord)]) -> Figure {
    let losses = || walked.iter().flat_map(|(_, _, found)| found.points.iter().filter_map(|point| point.loss));
    let (low, high) = losses().fold((f64::INFINITY, 0.0_f64), |(low, high), loss| (low.min(loss), high.max(loss)));
    // What grows by more than this cannot be read on an even scale.
    let logarithmic = high > 30.0 * low.max(1e-6);
    let scaled = |loss: f64| if logarithmic { loss.max(1e-6).log10() } else { loss };
    let y = if logarithmic { "log10 of the loss" } else { "loss in nats" };
    let lines = |of: &dyn Fn(&LandscapeRecord) -> Points| -> Vec<Series> {
        let series = |(style, model, found): &(usize, &Diagnosed, &LandscapeRecord)| Series {
            label: model.name.clone(),
            style: *style,
            points: of(found),
            marked: false,
        };
        walked.iter().map(series).collect()
    };
    let reach = walked.iter().filter_map(|(_, _, found)| found.places.last().copied()).fold(0.0, f64::max);
    let plot = |name: &str, y: &str, x: &str, across: [f64; 2], series: Vec<Series>, upward: Option<[f64; 2]>| {
        let panel = Panel {
            title: name.into(),
            x: x.into(),
            y: y.into(),
            size: SIZE,
            across: Some(across),
            upward,
            series,
            ..Panel::default()
        };
        Piece { name: name.into(), svg: panel.svg(), size: SIZE }
    };
    // Along the first direction, which of a plane is its middle row.
    let slice = |found: &LandscapeRecord, of: &dyn Fn(&super::PointRecord) -> Option<f64>| -> Points {
        let at = |index: &usize| found.at(*index)[1] == 0.0;
        (0..found.points.len()).filter(at).map(|index| (found.at(index)[0], of(&found.points[index]))).collect()
    };
    let along = "filter lengths along a random direction";
    let mut pieces = vec![
        plot("Loss", y, along, [-reach, reach], lines(&|found| slice(found, &|point| point.loss.map(scaled))), None),
        plot(
            "Accuracy",
            "accuracy in %",
            along,
            [-reach, reach],
            lines(&|found| slice(found, &|point| Some(100.0 * point.accuracy))),
            Some([0.0, 100.0]),
        ),
    ];
    if walked.iter().any(|(_, _, found)| found.plane) {
        let mean = lines(&|found| found.rings.iter().map(|(at, loss)| (*at, loss.map(scaled))).collect());
        pieces.push(plot("Mean loss by distance", y, "filter lengths away", [0.0, reach], mean, None));
    }
    Figure {
        file: "landscape-lines",
        title: "Loss around the weights",
        caption: "Loss and accuracy when all weights are moved along a random direction whose filters are as long as the model's: a flat valley is a model \
                  that small changes of its weights do not harm."
            .into(),
        legend: true,
        across: 2,
        pieces,
    }
}

/// Loss or accuracy on planes, with levels that all share.
fn contours(planes: &[(usize, &Diagnosed, &LandscapeRecord)], accuracy: bool) -> Figure {
    const BANDS: usize = 12;
    let losses = || planes.iter().flat_map(|(_, _, found)| found.points.iter().filter_map(|point| point.loss));
    let (low, high) = losses().fold((f64::INFINITY, 0.0_f64), |(low, high), loss| (low.min(loss), high.max(loss)));
    // What lies beyond a thousand times the least loss is far up in any case.
    let (low, high) = (low.clamp(1e-4, 1e4), high.max(2e-4));
    let high = high.clamp(low * 1.01, low * 1e3);
    let level = |index: usize| {
        let part = index as f64 / BANDS as f64;
        match accuracy {
            true => (100.0 * index as f64 / 10.0, format!("{}", index * 10)),
            false => {
                let loss = low * (high / low).powf(part);
                (loss.ln(), significant(loss))
            }
        }
    };
    let levels: Vec<(f64, String)> = (0..=if accuracy { 10 } else { BANDS }).map(level).collect();
    let name = if accuracy { "accuracy in %" } else { "loss in nats" };
    let piece = |(_, model, found): &(usize, &Diagnosed, &LandscapeRecord)| {
        let value = |point: &super::PointRecord| match accuracy {
            true => Some(100.0 * point.accuracy),
            false => point.loss.map(|loss| loss.max(low).ln()),
        };
        let contour = Contour {
            title: format!("{name} around {}", model.name),
            x: "first direction".into(),
            y: "second direction".into(),
            size: [380.0, 340.0],
            places: found.places.clone(),
            values: found.points.iter().map(value).collect(),
            levels: levels.clone(),
            marked: if accuracy {
                None
            } else {
                found.centre().and_then(|point| point.loss).map(|loss| (2.0 * loss).max(low).ln())
            },
        };
        Piece { name: model.name.clone(), svg: contour.svg(), size: contour.size }
    };
    let (file, title, caption) = match accuracy {
        true => ("landscape-accuracy", "Accuracy on a plane", "The same plane, coloured by accuracy in %.".to_owned()),
        false => (
            "landscape-loss",
            "Loss on a plane",
            "Two random directions, filter lengths away from the model, which is the cross. Levels are those of all models, evenly spaced on a logarithmic scale; \
             the strong line is twice the model's own loss."
                .to_owned(),
        ),
    };
    Figure { file, title, caption, legend: false, across: 2, pieces: planes.iter().map(piece).collect() }
}

/// A number in three significant digits.
fn significant(value: f64) -> String {
    let decimals = (2.0 - value.abs().max(1e-12).log10().floor()).clamp(0.0, 6.0) as usize;
    format!("{value:.decimals$}")
}

/// The styles of models that have one of their own.
pub(super) fn names(diagnosis: &Diagnosis) -> Vec<String> {
    diagnosis.models.iter().take(4 * STYLES).map(|model| model.name.clone()).collect()
}
