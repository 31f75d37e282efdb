//! Classifiers in ONNX files.

use std::path::Path;

use anyhow::Result;
use robustify_watch::Watch;

use super::{Asked, Opened};

/// Whether a name leads to such a file.
pub(super) fn is_one(path: &Path) -> bool {
    path.extension().is_some_and(|end| end.eq_ignore_ascii_case("onnx"))
}

#[cfg(not(feature = "onnx"))]
pub(super) fn open(path: &Path, _: &Asked, _: &dyn Watch) -> Result<Opened> {
    anyhow::bail!("{}: this program was built without ONNX; build it with --features onnx", path.display())
}

/// Opens one, and says what was taken from where.
#[cfg(feature = "onnx")]
pub(super) fn open(path: &Path, asked: &Asked, watch: &dyn Watch) -> Result<Opened> {
    use std::sync::Arc;

    use anyhow::{Context as _, anyhow, ensure};
    use robustify_predict::{OnnxClassifier, OnnxOptions, Predictor as _};
    use robustify_report::evaluation::ModelRecord;

    use super::Body;

    let none = asked.network.is_none() && asked.from.is_none();
    ensure!(none, "{}: an ONNX file holds its network; leave original.network and original.from out", path.display());
    let options = OnnxOptions {
        image_size: asked.image_size.map(|side| [side; 2]),
        layout: asked
            .layout
            .as_deref()
            .map(|text| text.parse().map_err(|reason| anyhow!("--layout: {reason}")))
            .transpose()?,
        preprocess: asked.preprocess.as_deref().map(str::parse).transpose().context("--preprocess")?,
        classes: asked.classes.clone(),
        output: asked.output.clone(),
    };
    let model = OnnxClassifier::open(path, &options)?;
    let name = super::stem(path);
    model.notes().iter().for_each(|note| watch.say(&format!("{name}: {note}")));
    let [height, width] = model.size();
    Ok(Opened {
        record: ModelRecord {
            name,
            about: model.about(),
            kind: "onnx".to_owned(),
            identity: model.identity().to_owned(),
            source: path.display().to_string(),
            sha256: Some(model.sha256().to_owned()),
            preprocess: model.preprocess().to_string(),
            parameters: Some(model.parameters()),
            macs: model.macs(),
            macs_passes: None,
            main_route: "single".to_owned(),
        },
        geometry: model.preprocess().geometry(),
        side: height.max(width) as u32,
        known: model.known_classes().cloned(),
        body: Body::Whole(Arc::new(model)),
        select: None,
        doubt: None,
    })
}
