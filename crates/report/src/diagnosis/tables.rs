//! The numbers of a diagnosis in tables.

use super::{Diagnosed, Diagnosis, LandscapeRecord, LayerRecord};
use crate::page::{Column, Grid, Place};
use crate::{Style, Table};

/// All tables; those without a row are left out.
#[must_use]
pub fn tables(diagnosis: &Diagnosis) -> Vec<Grid> {
    let all = [summary(diagnosis), layers(diagnosis), heads(diagnosis), landscape(diagnosis)];
    all.into_iter().filter(|grid| !grid.rows.is_empty()).collect()
}

/// Models by what is found of them. Of attention it is the mean of the last third of the layers, where trainings differ most.
pub(super) fn summary(diagnosis: &Diagnosis) -> Grid {
    Grid {
        file: "models".into(),
        caption: "Attention: means of the last third of the layers. Distance is in parts of the image's side, its spread the standard deviation over heads, similarity is the mean cosine of two \
                  heads. Loss: at the model itself; doubled: how many filter lengths away the mean loss has doubled (no more than the radius that was \
                  looked at); curvature: the Hessian's eigenvalue of the largest magnitude."
            .into(),
        columns: vec![
            Column::text("model"),
            Column::number("attention distance", "distance_of_side", 3),
            Column::number("spread of heads", "distance_std_of_side", 3),
            Column::number("head similarity", "head_similarity", 3),
            Column::number("diagonality", "diagonality", 3),
            Column::number("columnness", "columnness", 3),
            Column::number("translation index", "translation_index", 3),
            Column::number("loss", "loss", 3),
            Column::percent("accuracy", "accuracy").neutral(),
            Column::number("doubled at", "loss_doubles_at", 2),
            Column::number("curvature", "largest_curvature", 1),
        ],
        rows: diagnosis.models.iter().map(in_short).collect(),
    }
    .without_empty_columns()
}

fn in_short(model: &Diagnosed) -> Vec<Place> {
    let deep = model.attention.as_ref().map(|found| {
        let count = found.layers.len();
        (&found.layers[count - count.div_ceil(3)..], found.image_size.max(1) as f64)
    });
    let mean = |of: &dyn Fn(&LayerRecord) -> Option<f64>| {
        let (layers, _) = deep?;
        let values: Vec<f64> = layers.iter().filter_map(of).collect();
        (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
    };
    let of_side = |value: Option<f64>| value.zip(deep).map(|(value, (_, side))| value / side);
    let found = model.landscape.as_ref();
    let centre = found.and_then(LandscapeRecord::centre);
    let doubled = found.map_or(Place::from(None), |found| {
        Place::Number(Some(found.doubles_at), if found.beyond { "or more".into() } else { String::new() })
    });
    let curvature = found.and_then(|found| found.curvature);
    let bend = curvature.map_or(Place::from(None), |found| {
        Place::Number(Some(found.value), if found.settled { String::new() } else { "not settled".into() })
    });
    vec![
        model.name.clone().into(),
        of_side(mean(&|layer| Some(layer.spread().0))).into(),
        of_side(mean(&|layer| Some(layer.spread().1))).into(),
        mean(&|layer| layer.similarity.mean).into(),
        mean(&|layer| Some(layer.map.renormalised.diagonality)).into(),
        mean(&|layer| Some(layer.map.renormalised.columnness)).into(),
        mean(&|layer| layer.map.renormalised.translation).into(),
        centre.and_then(|point| point.loss).into(),
        centre.map(|point| point.accuracy).into(),
        doubled,
        bend,
    ]
}

/// Every layer of every model that has some, with its number from one on and the side of the image.
fn all_layers(diagnosis: &Diagnosis) -> impl Iterator<Item = (&Diagnosed, f64, usize, &LayerRecord)> {
    diagnosis.models.iter().filter_map(|model| Some((model, model.attention.as_ref()?))).flat_map(|(model, found)| {
        let layers = found.layers.iter().enumerate();
        layers.map(move |(index, layer)| (model, found.image_size.max(1) as f64, index + 1, layer))
    })
}

fn layers(diagnosis: &Diagnosis) -> Grid {
    let number = |key: &str| Column::number(key, key, 4);
    let keys = [
        "distance_px",
        "distance_of_side",
        "distance_std_over_heads_px",
        "plain_distance_px",
        "similarity",
        "similarity_of_all_tokens",
        "similarity_of_whole_maps",
        "diagonality",
        "columnness",
        "translation_index",
        "plain_diagonality",
        "plain_columnness",
        "plain_translation_index",
    ];
    let row = |(model, side, index, layer): (&Diagnosed, f64, usize, &LayerRecord)| {
        let (mean, spread) = layer.spread();
        let plain = layer.distance.plain.iter().sum::<f64>() / layer.distance.plain.len().max(1) as f64;
        let (own, other) = (&layer.map.renormalised, &layer.map.plain);
        let mut row: Vec<Place> = vec![model.name.clone().into(), index.to_string().into(), layer.name.clone().into()];
        row.extend([Some(mean), Some(mean / side), Some(spread), Some(plain)].map(Place::from));
        let alike = &layer.similarity;
        row.extend([alike.mean, alike.mean_of_all_tokens, alike.mean_of_whole_maps].map(Place::from));
        row.extend([Some(own.diagonality), Some(own.columnness), own.translation].map(Place::from));
        row.extend([Some(other.diagonality), Some(other.columnness), other.translation].map(Place::from));
        row
    };
    Grid {
        file: "layers".into(),
        caption: "Attention by layers; `plain` is of rows that were not divided by their sum over patches.".into(),
        columns: ["model", "layer", "name"].map(Column::text).into_iter().chain(keys.map(number)).collect(),
        rows: all_layers(diagnosis).map(row).collect(),
    }
}

fn heads(diagnosis: &Diagnosis) -> Grid {
    let number = |key: &str| Column::number(key, key, 4);
    let keys = ["distance_px", "distance_of_side", "plain_distance_px", "similarity_to_others"];
    let of_layer = |(model, side, index, layer): (&Diagnosed, f64, usize, &LayerRecord)| -> Vec<Vec<Place>> {
        let distances = layer.distance.renormalised.iter().zip(&layer.distance.plain).enumerate();
        let row = |(head, (own, plain)): (usize, (&f64, &f64))| {
            let names = [model.name.clone(), index.to_string(), (head + 1).to_string()].map(Place::from);
            let alike = layer.similarity.heads.get(head).copied();
            names.into_iter().chain([Some(*own), Some(own / side), Some(*plain), alike].map(Place::from)).collect()
        };
        distances.map(row).collect()
    };
    Grid {
        file: "heads".into(),
        caption: "Attention by heads.".into(),
        columns: ["model", "layer", "head"].map(Column::text).into_iter().chain(keys.map(number)).collect(),
        rows: all_layers(diagnosis).flat_map(of_layer).collect(),
    }
}

fn landscape(diagnosis: &Diagnosis) -> Grid {
    let number = |key: &str| Column::number(key, key, 4);
    let found = diagnosis.models.iter().filter_map(|model| Some((model, model.landscape.as_ref()?)));
    let rows = found.flat_map(|(model, found)| {
        found.points.iter().enumerate().map(|(index, point)| {
            let [a, b] = found.at(index);
            let numbers = [Some(a), Some(b), point.loss, Some(point.accuracy)].map(Place::from);
            std::iter::once(model.name.clone().into()).chain(numbers).collect()
        })
    });
    Grid {
        file: "landscape".into(),
        caption: "Loss and accuracy around the models.".into(),
        columns: std::iter::once(Column::text("model")).chain(["a", "b", "loss", "accuracy"].map(number)).collect(),
        rows: rows.collect(),
    }
}

impl LayerRecord {
    /// Mean and population standard deviation over heads of the distance, in pixels.
    #[must_use]
    pub fn spread(&self) -> (f64, f64) {
        let all = &self.distance.renormalised;
        let count = all.len().max(1) as f64;
        let mean = all.iter().sum::<f64>() / count;
        let variance = all.iter().map(|distance| (distance - mean).powi(2)).sum::<f64>() / count;
        (mean, variance.sqrt())
    }
}

impl LandscapeRecord {
    /// Where a point lies along both directions.
    #[must_use]
    pub fn at(&self, index: usize) -> [f64; 2] {
        let count = self.places.len().max(1);
        let place = |index: usize| self.places.get(index).copied().unwrap_or(0.0);
        if self.plane { [place(index % count), place(index / count)] } else { [place(index), 0.0] }
    }

    /// The model itself: the point at zero.
    #[must_use]
    pub fn centre(&self) -> Option<super::PointRecord> {
        let at = self.places.iter().position(|place| *place == 0.0)?;
        self.points.get(if self.plane { at * self.places.len() + at } else { at }).copied()
    }
}

impl Diagnosis {
    /// The table of models for a terminal.
    #[must_use]
    pub fn text(&self) -> String {
        let grid = summary(self);
        let mut table = Table::new(grid.columns.iter().map(|column| column.title.as_str()));
        for row in grid.shown() {
            let cell = |shown: &crate::page::Shown| format!("{} {}", shown.text, shown.note).trim_end().to_owned();
            table.row(row.iter().map(cell));
        }
        table.render(Style::Plain)
    }
}
