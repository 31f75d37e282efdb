//! The page, figures and tables of a diagnosis.

use std::path::Path;

use robustify_report::diagnosis::{
    AttentionRecord, Both, CurvatureRecord, Diagnosed, Diagnosis, LandscapeRecord, LayerRecord, MapRecord, PointRecord,
    SimilarityRecord, render, tables, write,
};
use robustify_report::page::Look;

/// Two models with attention of as many layers as asked for, and a third without any.
fn made(plane: bool) -> Diagnosis {
    let layer = |index: usize, shift: f64| {
        let distances: Vec<f64> = (0..4).map(|head| 20.0 + 10.0 * index as f64 + shift * f64::from(head)).collect();
        let map =
            MapRecord { diagonality: 0.5, columnness: 0.1 * index as f64, translation: (index > 0).then_some(0.7) };
        LayerRecord {
            name: format!("blocks.{index}.attn"),
            window: [4, 4],
            distance: Both {
                plain: distances.iter().map(|distance| 0.9 * distance).collect(),
                renormalised: distances,
            },
            uniform: 104.0,
            similarity: SimilarityRecord {
                heads: vec![0.3; 4],
                mean: Some(0.3),
                mean_of_all_tokens: Some(0.4),
                mean_of_whole_maps: Some(0.35),
            },
            map: Both { renormalised: map.clone(), plain: map },
            picture: "data:image/png;base64,AAAA".into(),
        }
    };
    let places: Vec<f64> = vec![-1.0, -0.5, 0.0, 0.5, 1.0];
    let bowl = |a: f64, b: f64| PointRecord {
        loss: (a < 1.0).then_some(0.2 + a * a + b * b),
        accuracy: 0.9 - 0.4 * a.hypot(b),
    };
    let points = match plane {
        true => places.iter().flat_map(|&b| places.iter().map(move |&a| bowl(a, b))).collect(),
        false => places.iter().map(|&a| bowl(a, 0.0)).collect(),
    };
    let landscape = LandscapeRecord {
        images: 10,
        places,
        plane,
        points,
        rings: vec![(0.0, Some(0.2)), (0.5, Some(0.45)), (1.0, None)],
        doubles_at: 0.4,
        beyond: false,
        curvature: Some(CurvatureRecord { value: 12.5, steps: 9, settled: true, images: 10 }),
    };
    let model = |name: &str, shift: f64| Diagnosed {
        name: name.into(),
        about: "ViT".into(),
        attention: Some(AttentionRecord {
            images: 8,
            image_size: 200,
            layers: (0..3).map(|index| layer(index, shift)).collect(),
        }),
        landscape: Some(landscape.clone()),
        ..Diagnosed::default()
    };
    let bare = Diagnosed {
        name: "resnet".into(),
        notes: vec!["It has no layers of self-attention.".into()],
        ..Diagnosed::default()
    };
    Diagnosis {
        title: "before & <after>".into(),
        models: vec![model("before", 1.0), model("<after>", 6.0), bare],
        ..Diagnosis::default()
    }
}

#[test]
fn tables_have_a_row_for_everything() {
    let all = tables(&made(true));
    let rows: Vec<(&str, usize)> = all.iter().map(|grid| (grid.file.as_str(), grid.rows.len())).collect();
    assert_eq!(rows, [("models", 3), ("layers", 6), ("heads", 24), ("landscape", 50)]);
    let heads = all[2].csv();
    // The second head of the first model's first layer: 21 of 200 pixels.
    assert!(heads.contains("before,1,2,21.000000,0.105000,18.900000,0.300000\n"), "{heads}");
    let points = all[3].csv();
    // Row by row along the second direction; what is not finite is empty.
    assert!(
        points.contains("before,-0.500000,-1.000000,1.450000,")
            && points.contains("before,1.000000,0.000000,,0.500000")
    );
    let text = made(true).text();
    assert!(text.contains("resnet") && text.contains("12.5") && text.contains("0.40"), "{text}");
}

#[test]
fn the_page_stands_by_itself_and_figures_are_files() {
    for (plane, count) in [(true, 7), (false, 5)] {
        let diagnosis = made(plane);
        let page = render(&diagnosis, &Look::default()).unwrap();
        let body = page.trim_start().strip_prefix("<!DOCTYPE html>").unwrap().trim_start();
        roxmltree::Document::parse(body).unwrap();
        assert!(page.contains("before &amp; &lt;after&gt;") && !page.contains("NaN") && !page.contains("<script"));
        assert!(page.matches("<image").count() == 6 && page.contains("resnet</bdi>: It has no layers"));
        let folder = tempfile::tempdir().unwrap();
        let written = write(folder.path(), &diagnosis).unwrap();
        assert!(written.ends_with("report.html"));
        let figures: Vec<_> =
            std::fs::read_dir(folder.path().join("figures")).unwrap().map(|file| file.unwrap().path()).collect();
        assert_eq!(figures.len(), count, "{figures:?}");
        for figure in &figures {
            roxmltree::Document::parse(&read(figure)).unwrap_or_else(|error| panic!("{figure:?}: {error}"));
        }
        let again: Diagnosis = serde_json::from_str(&read(&folder.path().join("diagnosis.json"))).unwrap();
        assert_eq!(again, diagnosis);
    }
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn nothing_found_is_a_page_as_well() {
    let page = render(&Diagnosis::default(), &Look::default()).unwrap();
    assert!(page.contains("0 models") && !page.contains("NaN"));
}
