//! Every published suite on a miniature of its data, and what others have stumbled over, each with the number or the error expected by hand.

#[path = "../../../tests/miniatures/mod.rs"]
mod miniatures;

use std::fs;
use std::path::Path;
use std::sync::Mutex;

use miniatures::{CORRUPTIONS, WNIDS, class_of, png};
use robustify_augment::Corruption;
use robustify_bench::suites::catalog::{self, Opening, Part, SUITES};
use robustify_bench::{Cell, Origin, Shift, Suite};
use robustify_watch::{Progress, Silent, Watch};
use tempfile::TempDir;

fn root() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn geometry(steps: &str) -> Opening {
    Opening { geometry: steps.parse().unwrap(), ..Opening::default() }
}

fn open(name: &str, root: &Path, opening: &Opening) -> Box<dyn Suite> {
    catalog::named(name).unwrap().open(root, opening, &Silent).unwrap()
}

fn error(name: &str, root: &Path) -> String {
    let opened = catalog::named(name).unwrap().open(root, &Opening::default(), &Silent);
    opened.err().expect("an error").to_string()
}

/// Label, class that the picture's colour says, for every image of a cell.
fn labels(suite: &dyn Suite, cell: &Cell) -> Vec<(usize, usize)> {
    let of = |&index: &usize| (suite.label(index).unwrap().0, class_of(&suite.pixels(cell, index).unwrap()));
    suite.images(cell).iter().map(of).collect()
}

/// The share of a suite's images that a model gets right which says what it sees: `logits` of a picture's colour.
fn accuracy(suite: &dyn Suite, model: &[String], logits: impl Fn(usize) -> Vec<f32>) -> f64 {
    let map = suite.class_map(model).unwrap();
    let seen = labels(suite, &suite.cells()[0]);
    let right = seen.iter().filter(|(label, colour)| {
        let scores = map.project(&logits(*colour)).unwrap();
        largest(&scores) == *label
    });
    right.count() as f64 / seen.len() as f64
}

fn largest(scores: &[f32]) -> usize {
    scores.iter().enumerate().max_by(|one, other| one.1.total_cmp(other.1)).unwrap().0
}

/// A thousand logits, the largest for `first`, the next for `second`.
fn thousand(first: usize, second: usize) -> Vec<f32> {
    let mut logits = vec![0.0; 1000];
    logits[second] = 1.0;
    logits[first] = 2.0;
    logits
}

fn unnamed(count: usize) -> Vec<String> {
    (0..count).map(|class| class.to_string()).collect()
}

#[derive(Default)]
struct Heard(Mutex<Vec<String>>);

impl Watch for Heard {
    fn say(&self, _: &str) {}
    fn warn(&self, text: &str) {
        self.0.lock().unwrap().push(text.to_owned());
    }
    fn progress(&self, _: &str, _: usize) -> Box<dyn Progress> {
        Box::new(Silent)
    }
    fn is_stopped(&self) -> bool {
        false
    }
}

#[test]
fn declarations_are_whole_and_their_names_are_their_own() {
    let mut names: Vec<&str> = SUITES.iter().map(|suite| suite.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), SUITES.len());
    for suite in SUITES {
        assert!(!suite.layouts.is_empty() && !suite.folders.is_empty() && !suite.source.is_empty(), "{}", suite.name);
        if let Some(classes) = suite.classes.names() {
            assert_eq!(classes.len(), suite.official.classes, "{}", suite.name);
            let mut distinct = classes.clone();
            distinct.sort_unstable();
            distinct.dedup();
            assert_eq!(distinct.len(), classes.len(), "{}: two classes of one name", suite.name);
        }
    }
    assert!(catalog::named("imagenet-x").err().unwrap().to_string().contains("known: imagenet, imagenet-c,"));
}

#[test]
fn imagenet_is_labelled_by_wordnet_ids_and_what_programs_leave_behind_is_no_data() {
    let root = root();
    miniatures::imagenet(root.path());
    let heard = Heard::default();
    let suite = catalog::named("imagenet").unwrap().open(root.path(), &Opening::default(), &heard).unwrap();
    assert_eq!(suite.cells(), [Cell::new(Shift::Clean)]);
    let seen = labels(&*suite, &suite.cells()[0]);
    assert_eq!(seen.len(), 26);
    assert!(seen.iter().all(|(label, colour)| label == colour), "{seen:?}");
    assert_eq!(suite.classes()[2], "great white shark");
    // 987 classes have no image, and each is named; litter is not.
    let heard = heard.0.into_inner().unwrap();
    assert!(heard.len() == 1 && heard[0].starts_with("987 left out: is a class without a usable image"), "{heard:?}");

    // Whatever order a folder is listed in, a name decides.
    let names: Vec<String> = suite.classes().iter().rev().cloned().collect();
    assert_eq!(
        accuracy(&*suite, &names, |seen| {
            let mut logits = vec![0.0; 1000];
            logits[999 - seen] = 1.0;
            logits
        }),
        1.0
    );
    assert_eq!(accuracy(&*suite, &unnamed(1000), |seen| thousand(seen, 0)), 1.0);
}

#[test]
fn a_model_is_known_by_ids_names_or_their_order_and_nothing_else() {
    let root = root();
    miniatures::imagenet_subset(root.path(), "imagenet-r", &[1, 2, 4]);
    let suite = open("imagenet-r", root.path(), &Opening::default());
    let table = catalog::classes::imagenet();
    let lemmas: Vec<String> = table.iter().map(|class| class.lemmas.to_owned()).collect();
    let ids: Vec<String> = table.iter().map(|class| class.wnid.to_owned()).collect();
    let hub: Vec<String> = (0..1000).map(|class| format!("LABEL_{class}")).collect();
    let expected = suite.class_map(&unnamed(1000)).unwrap();
    for names in [lemmas, ids.clone(), hub, suite_names()] {
        assert_eq!(suite.class_map(&names).unwrap(), expected);
    }
    // A model of these 200 classes answers as it is.
    assert!(suite.class_map(suite.classes()).unwrap().is_same(200));
    let refused = |names: &[String]| suite.class_map(names).unwrap_err().to_string();
    assert!(refused(&unnamed(200)).contains("200 classes have no names"), "{}", refused(&unnamed(200)));
    let pets = ["kitten", "puppy", "gerbil"].map(str::to_owned);
    assert!(refused(&pets).contains("none of the model's 3 classes (`kitten`, `puppy`, `gerbil`, …)"));
    // Without the goldfish, the first class of ImageNet-R.
    let fewer: Vec<String> = ids.into_iter().filter(|id| id != WNIDS[1]).collect();
    let said = refused(&fewer);
    assert!(said.contains("no class `goldfish` (n01443537) among its 999, which class 0 of the data"), "{said}");
}

fn suite_names() -> Vec<String> {
    catalog::named("imagenet").unwrap().classes.names().unwrap()
}

#[test]
fn folders_that_are_numbers_are_sorted_as_numbers() {
    let root = root();
    miniatures::imagenet_v2(root.path(), "imagenetv2-matched-frequency-format-val");
    let suite = open("imagenet-v2", root.path(), &Opening::default());
    let seen = labels(&*suite, &suite.cells()[0]);
    assert!(seen.len() == 26 && seen.iter().all(|(label, colour)| label == colour), "{seen:?}");
    // Sorted as texts, folder 2 would be class 5: of thirteen folders 0 and 1 alone would keep their place.
    let mut texts: Vec<String> = unnamed(13);
    texts.sort();
    let same = texts.iter().enumerate().filter(|(place, name)| place.to_string() == **name).count();
    assert_eq!((texts[5].as_str(), same), ("2", 2));
    assert_eq!(accuracy(&*suite, &unnamed(1000), |seen| thousand(seen, 500)), 1.0);
    // The other selections are not taken for it.
    let said = error("imagenet-v2-top-images", root.path());
    assert!(
        said.contains("ImageNet-V2, top images is not in") && said.contains("imagenetv2-top-images.tar.gz"),
        "{said}"
    );
    miniatures::imagenet_v2(root.path(), "ImageNetV2/imagenetv2-threshold0.7");
    assert_eq!(open("imagenet-v2-threshold", root.path(), &Opening::default()).cells()[0].name, "collected");
}

#[test]
fn logits_of_classes_that_a_data_set_does_not_have_are_left_out() {
    let root = root();
    miniatures::imagenet_subset(root.path(), "imagenet-r", &[1, 2, 4]);
    miniatures::imagenet_subset(root.path(), "ImageNet_A", &[6, 11]);
    miniatures::imagenet(root.path());
    // A model that says tench, which neither has, and the right class next: of all thousand none is right, of the 200 all.
    let model = |seen: usize| thousand(0, seen);
    for name in ["imagenet-r", "imagenet-a", "imagenet-on-r"] {
        let suite = open(name, root.path(), &Opening::default());
        assert_eq!(suite.classes().len(), 200);
        let seen = labels(&*suite, &suite.cells()[0]);
        assert!(seen.iter().all(|(_, colour)| largest(&model(*colour)) != *colour));
        assert_eq!(accuracy(&*suite, &unnamed(1000), model), 1.0, "{name}");
        assert!(
            suite.notes().iter().any(|note| note.contains("800 of other classes are left out")),
            "{:?}",
            suite.notes()
        );
    }
    // The 200 of -A are others than those of -R: its first is ImageNet's 6, there class 3 would be 6.
    let suite = open("imagenet-a", root.path(), &Opening::default());
    assert_eq!(suite.label(0).unwrap().0, 0);
    // Of the validation images, those of the 200 classes alone: 1, 2, 4, 6, 8, 9 and 11 of the first thirteen.
    assert_eq!(open("imagenet-on-r", root.path(), &Opening::default()).images(&Cell::new(Shift::Clean)).len(), 14);
}

#[test]
fn objectnet_has_no_border_the_largest_of_a_classs_logits_and_its_own_denominator() {
    let root = root();
    miniatures::objectnet(root.path());
    let suite = open("objectnet", root.path(), &geometry("resize(12)|center_crop(12)"));
    let cell = &suite.cells()[0];
    // Of six images, the two of a class that ImageNet does not have are in no denominator, and that is said.
    assert_eq!(suite.images(cell).len(), 4);
    let said =
        "an accuracy is of these 4 images: 2 images of 1 classes that ImageNet does not have are in no denominator";
    assert!(suite.notes().iter().any(|note| note == said), "{:?}", suite.notes());
    for &index in suite.images(cell) {
        let pixels = suite.pixels(cell, index).unwrap();
        assert!(pixels.dimensions() == (12, 12) && pixels.pixels().all(|pixel| pixel.0[2] == 7), "the border is there");
    }
    // An alarm clock is ImageNet's analog clock (409) or digital clock (530); a backpack is 414. What is none of the 113 does not count.
    let clock = |seen: usize| if seen == 0 { thousand(0, 530) } else { thousand(1, 414) };
    assert_eq!(accuracy(&*suite, &unnamed(1000), clock), 1.0);
    assert_eq!(accuracy(&*suite, &unnamed(1000), |_| thousand(409, 414)), 0.5);
    let corrupted = open("objectnet-c-generated", root.path(), &geometry("resize(12)|center_crop(12)"));
    assert_eq!((corrupted.cells().len(), corrupted.origin(), corrupted.classes().len()), (76, Origin::Generated, 113));
    let clean = labels(&*corrupted, &corrupted.cells()[0]);
    assert_eq!(clean, [(0, 0), (0, 0), (1, 1), (1, 1)]);
}

#[test]
fn published_corrupted_files_are_not_resized_again_and_gaps_are_named() {
    for grouped in [true, false] {
        let root = root();
        miniatures::imagenet_c(root.path(), grouped, &CORRUPTIONS[..2]);
        let opening = Opening { severities: vec![1, 5], ..geometry("resize(256)|center_crop(224)") };
        let heard = Heard::default();
        let suite = catalog::named("imagenet-c").unwrap().open(root.path(), &opening, &heard).unwrap();
        let names: Vec<&str> = suite.cells().iter().map(|cell| cell.name.as_str()).collect();
        assert_eq!(names, ["gaussian_noise-1", "gaussian_noise-5", "shot_noise-1", "shot_noise-5"]);
        let heard = heard.0.into_inner().unwrap();
        assert!(heard.iter().any(|text| text.contains("26 cells are missing") && text.contains("fog-5")), "{heard:?}");
        assert_eq!(suite.origin(), Origin::OnDisk);
        // Blue says which file it was: ten times the corruption and the severity.
        let pixels = suite.pixels(&suite.cells()[3], 4).unwrap();
        assert_eq!((pixels.dimensions(), pixels.get_pixel(9, 9).0), ((224, 224), [2, 0, 15]));
        assert!(labels(&*suite, &suite.cells()[2]).iter().all(|(label, colour)| label == colour));
    }
}

#[test]
fn a_finished_file_keeps_its_border_and_is_resized_once_for_another_size() {
    let root = root();
    miniatures::imagenet_c(root.path(), true, &CORRUPTIONS[..1]);
    let file = root.path().join(format!("imagenet-c/noise/gaussian_noise/1/{}/picture_0.JPEG", WNIDS[0]));
    let framed = image::RgbImage::from_fn(224, 224, |x, y| image::Rgb([if x.min(y) == 0 { 255 } else { 0 }; 3]));
    fs::write(file, png(&framed)).unwrap();
    let one = |steps: &str| {
        let suite = open("imagenet-c", root.path(), &Opening { severities: vec![1], ..geometry(steps) });
        suite.pixels(&suite.cells()[0], 0).unwrap()
    };
    // A second resize to 256 and crop would cut the frame off.
    assert_eq!(one("resize(256)|center_crop(224)"), framed);
    assert_eq!(one("resize(336,bicubic)|center_crop(336)").dimensions(), (336, 336));
}

#[test]
fn clean_and_corrupted_cells_are_of_the_same_pictures() {
    let root = root();
    miniatures::imagenet_c(root.path(), true, &CORRUPTIONS[..1]);
    miniatures::class_folders(
        &root.path().join("imagenet/val"),
        &[(WNIDS[0], 0), (WNIDS[1], 1), (WNIDS[2], 2)],
        "JPEG",
    );
    let suite =
        open("imagenet-c", root.path(), &Opening { severities: vec![3], ..geometry("resize(8)|center_crop(8)") });
    assert_eq!(suite.cells().iter().map(|cell| cell.name.as_str()).collect::<Vec<_>>(), ["clean", "gaussian_noise-3"]);
    let generated = open("imagenet-c-generated", root.path(), &geometry("resize(8)|center_crop(8)"));
    for &index in suite.images(&suite.cells()[0]) {
        assert_eq!(suite.label(index).unwrap(), generated.label(index).unwrap());
    }
    assert_eq!((generated.cells().len(), generated.origin()), (76, Origin::Generated));
    assert_ne!(generated.identity(), suite.identity());
    // A cell whose files are others cannot be of the same pictures.
    fs::remove_file(root.path().join(format!("imagenet-c/noise/gaussian_noise/4/{}/picture_1.JPEG", WNIDS[1])))
        .unwrap();
    let said = error("imagenet-c", root.path());
    assert!(said.contains("gaussian_noise/4") && said.contains("6 files") && said.contains("5 files"), "{said}");
}

#[test]
fn arrays_hold_five_severities_of_the_same_pictures() {
    let root = root();
    miniatures::cifar_10(root.path());
    miniatures::cifar_10_c(root.path(), &CORRUPTIONS[8..10]);
    let suite = open("cifar-10-c", root.path(), &Opening { severities: vec![2, 5], ..Opening::default() });
    let names: Vec<&str> = suite.cells().iter().map(|cell| cell.name.as_str()).collect();
    assert_eq!(names, ["clean", "frost-2", "frost-5", "fog-2", "fog-5"]);
    for cell in suite.cells() {
        assert!(labels(&*suite, cell).iter().all(|(label, colour)| label == colour), "{}", cell.name);
    }
    // Picture 13 of severity 5 is row 93, whose blue is 5.
    assert_eq!(suite.pixels(&suite.cells()[4], 13).unwrap().get_pixel(31, 31).0, [3, 1, 5]);
    let clean = open("cifar-10", root.path(), &Opening::default());
    assert_eq!(suite.label(13).unwrap(), clean.label(13).unwrap());
    let generated = open("cifar-10-c-generated", root.path(), &geometry("resize(48)|center_crop(40)"));
    assert_eq!(generated.pixels(&generated.cells()[70], 3).unwrap().dimensions(), (40, 40));

    // Labels that were shuffled, or are of another number of pictures.
    let file = root.path().join("CIFAR-10-C/labels.npy");
    let shuffled: Vec<u8> = (0..100).map(|row| if row == 61 { 7 } else { row % 20 % 10 }).collect();
    fs::write(&file, miniatures::npy(&[100], &shuffled)).unwrap();
    let said = error("cifar-10-c", root.path());
    assert!(said.contains("the same labels in every severity") && said.contains("picture 1"), "{said}");
    fs::write(&file, miniatures::npy(&[50], &shuffled[..50])).unwrap();
    assert!(error("cifar-10-c", root.path()).contains("100 pictures and 50 labels"));
}

#[test]
fn small_sets_have_their_own_names_and_order() {
    let root = root();
    miniatures::cifar_10(root.path());
    miniatures::fashion_mnist(root.path(), 20);
    for (name, first) in [("cifar-10", "airplane"), ("fashion-mnist", "T-shirt/top")] {
        let suite = open(name, root.path(), &Opening::default());
        assert!(labels(&*suite, &suite.cells()[0]).iter().all(|(label, colour)| label == colour));
        assert_eq!(suite.classes()[0], first);
        // By name, whatever the order; without names in the data's.
        let turned: Vec<String> = suite.classes().iter().rev().map(|name| name.to_uppercase()).collect();
        let reversed = |seen: usize| (0..10).map(|class| if class == 9 - seen { 1.0 } else { 0.0 }).collect();
        assert_eq!(accuracy(&*suite, &turned, reversed), 1.0);
        assert!(suite.class_map(&unnamed(10)).unwrap().is_same(10));
        assert!(suite.class_map(&unnamed(1000)).is_err() && suite.class_map(&turned[1..]).is_err());
    }
    assert_eq!(open("fashion-mnist-c-generated", root.path(), &Opening::default()).cells().len(), 76);
    let said = error("cifar-100", root.path());
    assert!(said.contains("CIFAR-100 is not in"), "{said}");
    miniatures::write(&root.path().join("cifar-100-python/test"), "x");
    miniatures::write(&root.path().join("cifar-100/cifar-100-python/test"), "x");
    assert!(error("cifar-100", root.path()).contains("fetch the binary version"));
}

#[test]
fn shards_are_read_without_unpacking() {
    let root = root();
    miniatures::sketch_shards(root.path());
    let suite = open("imagenet-sketch", root.path(), &Opening::default());
    assert_eq!(labels(&*suite, &suite.cells()[0]), [(0, 0), (1, 1), (2, 2), (0, 0), (1, 1), (2, 2)]);
    assert!(suite.image(4).ends_with("1.tar/s0004.jpg"), "{}", suite.image(4));
    // Compressed, no image can be reached by itself.
    let folder = root.path().join("imagenet-sketch/test");
    for shard in ["0", "1"] {
        fs::rename(folder.join(format!("{shard}.tar")), folder.join(format!("{shard}.tar.gz"))).unwrap();
    }
    let said = error("imagenet-sketch", root.path());
    assert!(said.contains("gunzip"), "{said}");
}

#[test]
fn sets_of_other_tasks_are_read_as_their_authors_laid_them_out() {
    let root = root();
    miniatures::tiny_imagenet(root.path());
    miniatures::flowers(root.path());
    miniatures::stanford_cars(root.path());
    miniatures::sun397(root.path());
    miniatures::places205(root.path());
    miniatures::inaturalist(root.path());
    miniatures::food101(root.path());
    miniatures::pets(root.path());
    for (name, expected, class, called, training) in [
        ("tiny-imagenet", &[0, 1, 0, 1][..], 1, "goldfish", Some(2)),
        // Labels are counted from 1: the third image is a blackberry lily, the last of 102.
        ("flowers-102", &[101, 4], 101, "blackberry lily", Some(4)),
        ("stanford-cars", &[1, 0], 0, "Acura Integra Type R 2001", Some(2)),
        ("sun397", &[1, 0], 1, "apartment building outdoor", Some(1)),
        ("places205", &[0, 204], 204, "yard", None),
        ("inaturalist-2021", &[0, 0, 1, 1], 1, "Quercus robur", None),
        ("food-101", &[1, 0], 0, "apple pie", Some(1)),
        ("pets", &[1, 0], 1, "yorkshire terrier", Some(1)),
    ] {
        let suite = open(name, root.path(), &Opening::default());
        let seen = labels(&*suite, &suite.cells()[0]);
        let found: Vec<usize> = seen.iter().map(|(label, _)| *label).collect();
        assert_eq!(found, expected, "{name}");
        assert!(seen.iter().all(|(label, colour)| label == colour), "{name}: {seen:?}");
        assert_eq!((suite.classes()[class].as_str(), suite.cells()[0].name.as_str()), (called, "transfer"));
        let images = catalog::named(name).unwrap().images(root.path(), Part::Train).ok();
        assert_eq!(images.map(|images| images.labels().len()), training, "{name}");
    }
}

#[test]
fn damage_is_named() {
    let root = root();
    miniatures::flowers(root.path());
    miniatures::imagenet_subset(root.path(), "imagenet-a", &[6, 11]);
    // An image that cannot be read.
    let file = root.path().join(format!("imagenet-a/{}/picture_0.jpg", WNIDS[11]));
    fs::write(&file, "no picture").unwrap();
    let suite = open("imagenet-a", root.path(), &Opening::default());
    let said = suite.pixels(&suite.cells()[0], 2).unwrap_err().to_string();
    assert!(said.contains("n01531178/picture_0.jpg: unusable image") && said.contains("repair or remove"), "{said}");
    // A class that is missing is a fault of the check, as the numbers are.
    let check = catalog::named("imagenet-a").unwrap().check(root.path(), 4, &Silent).unwrap();
    assert_eq!(check.opened, 3);
    let expected = ["2 classes, 200 were published", "4 images, 7500 were published"];
    assert_eq!(check.faults[..2], expected);
    assert!(check.faults[2].contains("unusable image") && check.faults.len() == 3, "{:?}", check.faults);
    // Labels of another data set.
    let labels = miniatures::mat::Mat::Bytes(vec![0.0, 1.0, 103.0, 1.0, 1.0, 1.0]);
    let file = root.path().join("flowers-102/imagelabels.mat");
    fs::write(&file, miniatures::mat::file(&[("labels", labels)], false)).unwrap();
    assert!(error("flowers-102", root.path()).contains("imagelabels.mat"));
    // Images that were not sorted into folders.
    miniatures::write(
        &root.path().join("imagenet/val/ILSVRC2012_val_00000001.JPEG"),
        png(&miniatures::picture(8, 0, 0, 0)),
    );
    let said = error("imagenet", root.path());
    assert!(said.contains("1 pictures and no folders of classes"), "{said}");
    miniatures::write(&root.path().join("imagenet-sketch/data/test-00000-of-00001.parquet"), "PAR1");
    assert!(error("imagenet-sketch", root.path()).contains("Parquet files, which are not read"));
}

#[test]
fn a_part_of_the_images_and_cells_can_be_asked_for() {
    let root = root();
    miniatures::imagenet(root.path());
    let opening = |images| Opening {
        images,
        corruptions: Some(vec![Corruption::Fog]),
        severities: vec![3],
        ..geometry("resize(8)")
    };
    let few = open("imagenet-c-generated", root.path(), &opening(5));
    assert_eq!(few.cells().iter().map(|cell| cell.name.as_str()).collect::<Vec<_>>(), ["clean", "fog-3"]);
    let plain = open("imagenet", root.path(), &opening(5));
    // The same images, whatever is done to them.
    assert_eq!(few.images(&few.cells()[1]), plain.images(&plain.cells()[0]));
    assert_eq!(plain.images(&plain.cells()[0]).len(), 5);
    let spatter = Opening { corruptions: Some(vec![Corruption::Spatter]), ..Opening::default() };
    let refused = catalog::named("imagenet-c-generated").unwrap().open(root.path(), &spatter, &Silent);
    assert!(refused.err().unwrap().to_string().contains("has no corruption `spatter`"));
}
