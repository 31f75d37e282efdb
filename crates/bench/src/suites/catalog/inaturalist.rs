//! iNaturalist 2021: species.

use std::path::Path;
use std::sync::Arc;

use robustify_data::folder::{Options, Verify};
use robustify_data::{DataError, ImageFolder, ImageSet, Images, Relabelled};

use super::classes::distinct;
use super::{Classes, Declaration, Geometry, Kind, Layout, Official, Own, Part, unlike};

/// The suite.
pub(super) const SUITE: Declaration = Declaration {
    name: "inaturalist-2021",
    title: "iNaturalist 2021",
    about: "100,000 validation images of 10,000 species (Van Horn et al. 2021, arXiv:2103.16483)",
    folders: &["inaturalist-2021", "inat2021", "inaturalist", "inat"],
    layouts: &[Layout::Own(&OFFICIAL)],
    classes: Classes::Own,
    geometry: Geometry::Model,
    kind: Kind::Transfer,
    metric: "top-1 of 10,000 classes, by linear probe or zero-shot",
    official: Official::exactly(10_000, 100_000),
    source: "https://github.com/visipedia/inat_comp/tree/master/2021 (val.tar.gz, train_mini.tar.gz or train.tar.gz)",
    notes: &[
        "for research and teaching alone",
        "a probe of 10,000 classes takes much memory; the smaller training set has 50 images a class",
    ],
};

const OFFICIAL: Own = Own {
    about: "2021_valid/ or val/, 2021_train_mini/ or train_mini/ (2021_train/), folders 00000_Kingdom_…_species",
    marks: &["2021_valid|val"],
    open,
};

fn open(folder: &Path, part: Part) -> Result<Images, DataError> {
    let places: &[&str] = match part {
        Part::Test => &["2021_valid", "val"],
        Part::Train => &["2021_train_mini", "train_mini", "2021_train", "train"],
    };
    let found = places.iter().map(|place| folder.join(place)).find(|place| place.is_dir());
    let found = found.ok_or_else(|| unlike(folder, &places.join(" or "), "none of these folders"))?;
    let set = ImageFolder::open(&found, Options { verify: Verify::Listing, ..Options::default() })?;
    let folders = set.classes().to_vec();
    let name = |folder: &String| {
        let fields: Vec<&str> = folder.split('_').collect();
        match fields[..] {
            [_, _, _, _, _, _, genus, species] => Ok(format!("{genus} {species}")),
            _ => Err(unlike(
                &found.join(folder),
                "a folder of eight fields, as in 00000_Kingdom_…_species",
                "another name",
            )),
        }
    };
    let names = folders.iter().map(name).collect::<Result<Vec<_>, _>>()?;
    let places = (0..names.len()).collect();
    Ok(Arc::new(Relabelled::new(Arc::new(set), distinct(names, &folders), places)?))
}
