//! IDX and CIFAR files, whole and damaged; subsets, splits and batches.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use flate2::Compression;
use flate2::write::GzEncoder;
use robustify_data::{Dataset, ImageSet, Images, MemorySet, Split, Subset, batch, cifar, idx, split};
use robustify_rng::Key;
use tempfile::TempDir;

fn images_file(count: u32, height: u32, width: u32, pixels: &[u8]) -> Vec<u8> {
    [&[0, 0, 8, 3][..], &count.to_be_bytes(), &height.to_be_bytes(), &width.to_be_bytes(), pixels].concat()
}

fn labels_file(count: u32, labels: &[u8]) -> Vec<u8> {
    [&[0, 0, 8, 1][..], &count.to_be_bytes(), labels].concat()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

const PIXELS: [u8; 12] = [0, 1, 2, 3, 4, 5, 60, 70, 80, 90, 100, 255];

/// Two images of 3x2 (width x height), as `t10k`, gzipped or not.
fn idx_folder(zip: bool) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let save = |name: &str, bytes: Vec<u8>| {
        let name = if zip { format!("{name}.gz") } else { name.to_owned() };
        fs::write(dir.path().join(name), if zip { gzip(&bytes) } else { bytes }).unwrap();
    };
    save("t10k-images-idx3-ubyte", images_file(2, 2, 3, &PIXELS));
    save("t10k-labels-idx1-ubyte", labels_file(2, &[7, 0]));
    dir
}

#[test]
fn idx_is_read_plain_and_gzipped() {
    let plain = idx::open(idx_folder(false).path(), Split::Test, None).unwrap();
    let zipped = idx::open(idx_folder(true).path(), Split::Test, None).unwrap();
    assert_eq!(plain.fingerprint(), zipped.fingerprint());
    assert_eq!(plain.fingerprint().len(), 64);
    let sample = zipped.get(1).unwrap();
    assert_eq!((sample.label, sample.image.dimensions()), (0, (3, 2)));
    assert_eq!(sample.image.get_pixel(0, 1).0, [90; 3]);
    assert_eq!(plain.classes()[7], "7");
    assert_ne!(plain.id(0).unwrap(), sample.id);
    assert!(plain.get(2).unwrap_err().to_string().contains("index 2"));
    let error = idx::open(idx_folder(true).path(), Split::Train, None).unwrap_err().to_string();
    assert!(error.contains("train-images-idx3-ubyte.gz"), "{error}");
}

/// Name of the case, file of images, file of labels, and what the error must mention.
type DamagedPair = (&'static str, Vec<u8>, Vec<u8>, &'static [&'static str]);

#[test]
fn damaged_idx_files_are_explained() {
    let good_images = images_file(2, 2, 3, &PIXELS);
    let good_labels = labels_file(2, &[7, 0]);
    let truncated_gzip = gzip(&good_images)[..20].to_vec();
    let mut wrong_checksum = gzip(&good_images);
    let at = wrong_checksum.len() - 6;
    wrong_checksum[at] ^= 1;
    let cases: [DamagedPair; 12] = [
        ("short", good_images[..20].to_vec(), good_labels.clone(), &["images", "12 bytes", "found 4 bytes"]),
        ("long", [&good_images[..], &[1]].concat(), good_labels.clone(), &["images", "more bytes"]),
        ("swapped", good_labels.clone(), good_images.clone(), &["0x00000803", "0x00000801"]),
        ("header", good_images[..9].to_vec(), good_labels.clone(), &["full header"]),
        ("empty", Vec::new(), good_labels.clone(), &["full header"]),
        ("counts", good_images.clone(), labels_file(3, &[0, 0, 0]), &["number of labels", "expected 2", "found 3"]),
        ("label", good_images.clone(), labels_file(2, &[7, 10]), &["10 at index 1", "below 10"]),
        ("lying labels", good_images.clone(), labels_file(9, &[7, 0]), &["9 bytes", "found 2 bytes"]),
        ("huge", images_file(u32::MAX, u32::MAX, 9, &PIXELS), good_labels.clone(), &["sizes in the header"]),
        ("no pixels", images_file(2, 0, 3, &[]), good_labels.clone(), &["2 images of 3x0"]),
        ("truncated gzip", truncated_gzip, good_labels.clone(), &["images"]),
        ("checksum", wrong_checksum, good_labels, &["cannot read"]),
    ];
    for (case, images, labels, hints) in cases {
        let dir = tempfile::tempdir().unwrap();
        let paths = [dir.path().join("images"), dir.path().join("labels")];
        fs::write(&paths[0], images).unwrap();
        fs::write(&paths[1], labels).unwrap();
        let error = idx::open_pair(&paths[0], &paths[1], None).unwrap_err().to_string();
        assert!(hints.iter().all(|hint| error.contains(hint)), "{case}: {error}");
    }
}

fn cifar_record(labels: &[u8], red: u8) -> Vec<u8> {
    [labels, &[red; 1024], &[20; 1024], &[30; 1024]].concat()
}

#[test]
fn cifar_is_read_in_both_variants() {
    let dir = tempfile::tempdir().unwrap();
    let ten = dir.path().join("cifar-10-batches-bin");
    fs::create_dir(&ten).unwrap();
    fs::write(ten.join("batches.meta.txt"), (0..10).map(|class| format!("name{class}\n")).collect::<String>() + "\n")
        .unwrap();
    for batch in 1..=5u8 {
        fs::write(ten.join(format!("data_batch_{batch}.bin")), cifar_record(&[batch], 10 * batch)).unwrap();
    }
    fs::write(ten.join("test_batch.bin"), &cifar_record(&[3], 1)[..3000]).unwrap();
    let train = cifar::open(dir.path(), Split::Train).unwrap();
    assert_eq!((train.len(), train.labels()), (5, &[1, 2, 3, 4, 5][..]));
    assert_eq!(train.get(2).unwrap().image.get_pixel(31, 31).0, [30, 20, 30]);
    assert_eq!(train.classes()[9], "name9");
    let error = cifar::open(&ten, Split::Test).unwrap_err().to_string();
    assert!(error.contains("test_batch.bin") && error.contains("multiple of 3073"), "{error}");
    assert!(cifar::open(&ten, Split::Validation).unwrap_err().to_string().contains("hold out"));
    assert!(cifar::open(Path::new("missing"), Split::Test).unwrap_err().to_string().contains("no such folder"));

    let hundred = tempfile::tempdir().unwrap();
    fs::write(hundred.path().join("fine_label_names.txt"), "x\n".repeat(100)).unwrap();
    fs::write(hundred.path().join("test.bin"), cifar_record(&[5, 99], 1)).unwrap();
    assert_eq!(cifar::open(hundred.path(), Split::Test).unwrap().labels(), [99]);
    fs::write(hundred.path().join("train.bin"), cifar_record(&[5, 100], 1)).unwrap();
    assert!(cifar::open(hundred.path(), Split::Train).unwrap_err().to_string().contains("100 in record 0"));
}

/// Sixty images of three classes, in a scattered order.
fn sixty() -> Images {
    let images: Vec<_> = (0..60).map(|at| image::RgbImage::from_pixel(2, 2, image::Rgb([at; 3]))).collect();
    let labels = (0..60).map(|at| at * 7 % 3).collect();
    Arc::new(MemorySet::from_images("sixty", &images, labels, ["a", "b", "c"].map(str::to_owned).to_vec()).unwrap())
}

#[test]
fn balanced_splits_are_keyed_nested_and_disjoint_from_the_rest() {
    let set = sixty();
    let few = split::balanced(&*set, 4, Key::new(1, "split")).unwrap();
    let more = split::balanced(&*set, 9, Key::new(1, "split")).unwrap();
    assert!(few.is_sorted() && few.iter().all(|index| more.contains(index)));
    assert_ne!(few, split::balanced(&*set, 4, Key::new(2, "split")).unwrap());
    assert!(split::balanced(&*set, 21, Key::new(1, "split")).unwrap_err().to_string().contains("at most 20"));
    let rest = split::except(60, &few).unwrap();
    assert!(rest.len() == 48 && rest.iter().all(|index| !few.contains(index)));
    assert!(split::except(10, &[10]).is_err());

    let subset = Subset::new(Arc::clone(&set), few.clone()).unwrap();
    let count = |class| subset.labels().iter().filter(|&&label| label == class).count();
    assert_eq!([count(0), count(1), count(2)], [4; 3]);
    for (place, &index) in few.iter().enumerate() {
        let (inner, outer) = (subset.get(place).unwrap(), set.get(index).unwrap());
        assert_eq!((inner.id, inner.label, &inner.image), (outer.id, outer.label, &outer.image));
    }
    assert_ne!(subset.fingerprint(), set.fingerprint());
    assert_ne!(subset.fingerprint(), Subset::new(Arc::clone(&set), more).unwrap().fingerprint());

    // The choice follows identities: from the mirrored set the same images are chosen.
    let mirrored: Images = Arc::new(Subset::new(Arc::clone(&set), (0..60).rev().collect()).unwrap());
    let from_mirrored = split::balanced(&*mirrored, 4, Key::new(1, "split")).unwrap();
    let mut ids: Vec<_> = from_mirrored.iter().map(|&index| mirrored.id(index).unwrap()).collect();
    let mut want: Vec<_> = few.iter().map(|&index| set.id(index).unwrap()).collect();
    ids.sort_unstable();
    want.sort_unstable();
    assert_eq!(ids, want);
    assert_eq!(split::sample(&*set, 60, Key::new(1, "all")).unwrap(), (0..60).collect::<Vec<_>>());
    assert!(Subset::new(set, vec![60]).is_err());
}

#[test]
fn the_bundled_set_is_balanced_and_its_splits_are_disjoint() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../datasets/fashion-mnist-mini");
    let classes = Some(idx::FASHION_MNIST_CLASSES.map(str::to_owned).to_vec());
    for (part, per_class) in [(Split::Train, 1000), (Split::Validation, 100), (Split::Test, 200)] {
        let set = idx::open(&folder, part, classes.clone()).unwrap();
        assert_eq!((set.name(), set.dimensions(0).unwrap()), (part.name(), (28, 28)));
        let mut counts = [0; 10];
        set.labels().iter().for_each(|&label| counts[label] += 1);
        assert_eq!(counts, [per_class; 10], "{part}");
        let indices = split::read_indices(&folder.join(format!("{part}-indices.txt"))).unwrap();
        assert_eq!(indices.len(), set.len());
    }
    let read = |part: &str| split::read_indices(&folder.join(format!("{part}-indices.txt"))).unwrap();
    let rest = split::except(60_000, &read("validation")).unwrap();
    assert!(rest.len() == 59_000 && read("train").iter().all(|index| rest.binary_search(index).is_ok()));
    let error = split::read_indices(&folder.join("README.md")).unwrap_err().to_string();
    assert!(error.contains("in line 1"), "{error}");
}

#[test]
fn batches_are_stacked_in_order() {
    let device = robustify_device::open(Some("flex")).unwrap();
    let rows: Vec<Vec<f32>> = (0..2).map(|row| (0..12).map(|at| (row * 100 + at) as f32).collect()).collect();
    let tensor = batch::images(&rows, [3, 2, 2], &device).unwrap();
    assert_eq!(tensor.dims(), [2, 3, 2, 2]);
    assert_eq!(tensor.into_data().try_to_vec::<f32>().unwrap(), rows.concat());
    let labels: Vec<i64> = batch::labels(&[4, 0, 9], &device).into_data().iter::<i64>().collect();
    assert_eq!(labels, [4, 0, 9]);
    let error = batch::images(&rows, [3, 4, 2], &device).unwrap_err().to_string();
    assert!(error.contains("rows of 24 values") && error.contains("12 values in row 0"), "{error}");
    assert!(batch::images::<Vec<f32>>(&[], [3, 2, 2], &device).is_err());
}
