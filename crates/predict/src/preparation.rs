use robustify_data::Normalize;
use robustify_zoo::registry::{CropMode, Preprocessing};

/// The preprocessing that timm makes of a model's facts: the shorter side, or both, to `image_size / crop_fraction`, the centre, the
/// normalisation.
pub fn preprocess_line(facts: &Preprocessing) -> String {
    let (size, filter) = (facts.image_size, facts.interpolation);
    let side = (size as f64 / facts.crop_fraction).floor();
    let resized = match facts.crop_mode {
        CropMode::Center => format!("{side}"),
        CropMode::Squash => format!("{side},{side}"),
    };
    let normalise = Normalize { mean: facts.mean, std: facts.std };
    format!("resize({resized},{filter})|center_crop({size})|{normalise}")
}
