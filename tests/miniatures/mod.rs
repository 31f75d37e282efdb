//! Miniatures of the published data sets: every layout with a few tiny pictures, whose colour says which class they are of.
//!
//! `#[path = "…/tests/miniatures/mod.rs"] mod miniatures;` gives them to any test. A folder of miniatures is one of data sets, as `--data-root`
//! names.
#![allow(dead_code)]

pub mod mat;

use std::fs;
use std::io::Cursor;
use std::path::Path;

use image::{ImageFormat, Rgb, RgbImage};
use npyz::WriterBuilder as _;

use mat::Mat;

/// WordNet ids of ImageNet's first thirteen classes: 0 (tench) to 12 (house finch).
pub const WNIDS: [&str; 13] = [
    "n01440764",
    "n01443537",
    "n01484850",
    "n01491361",
    "n01494475",
    "n01496331",
    "n01498041",
    "n01514668",
    "n01514859",
    "n01518878",
    "n01530575",
    "n01531178",
    "n01532829",
];

/// Test corruptions, as their folders are called, with their groups.
pub const CORRUPTIONS: [(&str, &str); 15] = [
    ("noise", "gaussian_noise"),
    ("noise", "shot_noise"),
    ("noise", "impulse_noise"),
    ("blur", "defocus_blur"),
    ("blur", "glass_blur"),
    ("blur", "motion_blur"),
    ("blur", "zoom_blur"),
    ("weather", "snow"),
    ("weather", "frost"),
    ("weather", "fog"),
    ("weather", "brightness"),
    ("digital", "contrast"),
    ("digital", "elastic_transform"),
    ("digital", "pixelate"),
    ("digital", "jpeg_compression"),
];

/// A picture of one colour: red says the class, green which picture of it, blue what else a test wants to see.
pub fn picture(side: u32, label: usize, number: usize, beside: u8) -> RgbImage {
    RgbImage::from_pixel(side, side, Rgb([label as u8, number as u8, beside]))
}

/// The class that a picture's colour says.
pub fn class_of(image: &RgbImage) -> usize {
    usize::from(image.get_pixel(image.width() / 2, image.height() / 2).0[0])
}

/// A picture as the bytes of a PNG; readers recognise pictures by content, whatever their names end with.
pub fn png(image: &RgbImage) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, ImageFormat::Png).unwrap();
    bytes.into_inner()
}

/// Writes a file and the folders around it.
pub fn write(path: &Path, bytes: impl AsRef<[u8]>) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

/// Two pictures of each class in a folder of its own.
pub fn class_folders(root: &Path, classes: &[(&str, usize)], ending: &str) {
    for (folder, label) in classes {
        for number in 0..2 {
            let name = format!("{folder}/picture_{number}.{ending}");
            write(&root.join(name), png(&picture(8, *label, number, 0)));
        }
    }
}

/// ImageNet's validation images of its first thirteen classes, with what macOS, a NAS and a script leave behind.
pub fn imagenet(root: &Path) {
    let classes: Vec<(&str, usize)> = WNIDS.iter().enumerate().map(|(label, wnid)| (*wnid, label)).collect();
    let val = root.join("imagenet/val");
    class_folders(&val, &classes, "JPEG");
    write(&val.join(".DS_Store"), "x");
    write(&val.join("__MACOSX/._n01440764"), "x");
    write(&val.join("n01440764/@eaDir/picture_0.JPEG/thumb.jpg"), "x");
}

/// ImageNet-C of the same classes at 224 px, with a folder a group or without. Blue says corruption and severity.
pub fn imagenet_c(root: &Path, grouped: bool, corruptions: &[(&str, &str)]) {
    for (at, (group, corruption)) in corruptions.iter().enumerate() {
        for severity in 1..=5 {
            let group = if grouped { format!("{group}/") } else { String::new() };
            for (label, wnid) in WNIDS[..3].iter().enumerate() {
                for number in 0..2 {
                    let file = format!("imagenet-c/{group}{corruption}/{severity}/{wnid}/picture_{number}.JPEG");
                    write(&root.join(file), png(&picture(224, label, number, (10 * at + severity) as u8)));
                }
            }
        }
    }
}

/// ImageNet-V2 in folders that are numbers, 0 to 12.
pub fn imagenet_v2(root: &Path, folder: &str) {
    let numbers: Vec<String> = (0..13).map(|label| label.to_string()).collect();
    let classes: Vec<(&str, usize)> = numbers.iter().enumerate().map(|(label, name)| (name.as_str(), label)).collect();
    class_folders(&root.join(folder), &classes, "jpeg");
}

/// ImageNet-R (classes 1, 2 and 4 of ImageNet, its first three) or -A (classes 6 and 11): colours say ImageNet's numbers.
pub fn imagenet_subset(root: &Path, folder: &str, labels: &[usize]) {
    let classes: Vec<(&str, usize)> = labels.iter().map(|&label| (WNIDS[label], label)).collect();
    class_folders(&root.join(folder), &classes, "jpg");
}

/// ObjectNet: two classes that ImageNet has (alarm clock, 0; backpack, 1 of 113), and one that it has not, with a red border of 1 px that has
/// run into the second.
pub fn objectnet(root: &Path) {
    for (folder, label) in [("alarm_clock", 0), ("backpack", 1), ("squeegee", 200)] {
        for number in 0..2 {
            let inner = picture(12, label, number, 7);
            let framed = RgbImage::from_fn(16, 16, |x, y| match x.min(y).min(15 - x.max(y)) {
                0 => Rgb([255, 0, 0]),
                1 => Rgb([128, 0, 0]),
                _ => *inner.get_pixel(x - 2, y - 2),
            });
            write(&root.join(format!("objectnet-1.0/images/{folder}/picture_{number}.png")), png(&framed));
        }
    }
}

/// CIFAR-10's binary version: ten training images a file, twenty to test on; the label of image `n` is `n % 10`.
pub fn cifar_10(root: &Path) {
    let folder = root.join("cifar-10-batches-bin");
    let names = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];
    write(&folder.join("batches.meta.txt"), format!("{}\n\n", names.join("\n")));
    let record = |number: u8| {
        let planes = [number % 10, number / 10, 0].map(|level| vec![level; 1024]).concat();
        [vec![number % 10], planes].concat()
    };
    let batch = |count: u8| (0..count).flat_map(record).collect::<Vec<u8>>();
    (1..=5).for_each(|number| write(&folder.join(format!("data_batch_{number}.bin")), batch(10)));
    write(&folder.join("test_batch.bin"), batch(20));
}

/// CIFAR-10-C's arrays of the same twenty images; blue says the severity.
pub fn cifar_10_c(root: &Path, corruptions: &[(&str, &str)]) {
    let folder = root.join("CIFAR-10-C");
    let pixel = |row: u8| [row % 20 % 10, row % 20 / 10, 1 + row / 20];
    let rows: Vec<u8> = (0..100).flat_map(|row| pixel(row).repeat(1024)).collect();
    for (_, corruption) in corruptions {
        write(&folder.join(format!("{corruption}.npy")), npy(&[100, 32, 32, 3], &rows));
    }
    let labels: Vec<u8> = (0..100).map(|row| row % 20 % 10).collect();
    write(&folder.join("labels.npy"), npy(&[100], &labels));
}

/// An array of unsigned bytes.
pub fn npy(shape: &[u64], values: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let options = npyz::WriteOptions::new().default_dtype().shape(shape).writer(&mut bytes);
    options.begin_nd().unwrap().extend(values.iter().copied()).unwrap();
    bytes
}

/// Fashion-MNIST's test files: so many images, the label of image `n` is `n % 10`.
pub fn fashion_mnist(root: &Path, count: usize) {
    let folder = root.join("fashion-mnist");
    let words = |words: &[u32]| words.iter().flat_map(|word| word.to_be_bytes()).collect::<Vec<u8>>();
    let labels: Vec<u8> = (0..count).map(|number| (number % 10) as u8).collect();
    let pixels: Vec<u8> = labels.iter().flat_map(|&label| [label; 28 * 28]).collect();
    write(&folder.join("t10k-images-idx3-ubyte"), [words(&[0x803, count as u32, 28, 28]), pixels].concat());
    write(&folder.join("t10k-labels-idx1-ubyte"), [words(&[0x801, count as u32]), labels].concat());
}

/// Tiny-ImageNet with two classes, listed in the other order than sorted.
pub fn tiny_imagenet(root: &Path) {
    let folder = root.join("tiny-imagenet-200");
    write(&folder.join("wnids.txt"), format!("{}\n{}\n", WNIDS[1], WNIDS[0]));
    for (label, wnid) in WNIDS[..2].iter().enumerate() {
        write(&folder.join(format!("train/{wnid}/images/{wnid}_0.JPEG")), png(&picture(8, label, 0, 0)));
        write(&folder.join(format!("train/{wnid}/{wnid}_boxes.txt")), "x");
    }
    let lines: Vec<String> =
        (0..4).map(|number| format!("val_{number}.JPEG\t{}\t0\t0\t62\t62", WNIDS[number % 2])).collect();
    write(&folder.join("val/val_annotations.txt"), lines.join("\n"));
    (0..4).for_each(|number| {
        write(&folder.join(format!("val/images/val_{number}.JPEG")), png(&picture(8, number % 2, number, 0)));
    });
}

/// Flowers-102: six images, of which the third and sixth are tested; labels are counted from 1.
pub fn flowers(root: &Path) {
    let folder = root.join("flowers-102");
    let labels = [77.0, 1.0, 102.0, 2.0, 1.0, 5.0];
    for (at, label) in labels.iter().enumerate() {
        let file = format!("jpg/image_{:05}.jpg", at + 1);
        write(&folder.join(file), png(&picture(8, *label as usize - 1, at, 0)));
    }
    write(&folder.join("imagelabels.mat"), mat::file(&[("labels", Mat::Bytes(labels.to_vec()))], true));
    let ids = [("trnid", vec![1.0, 2.0]), ("valid", vec![4.0, 5.0]), ("tstid", vec![3.0, 6.0])];
    let sets: Vec<(&str, Mat)> = ids.into_iter().map(|(name, ids)| (name, Mat::Doubles(ids))).collect();
    write(&folder.join("setid.mat"), mat::file(&sets, true));
}

/// Stanford Cars with two classes and two images of each part.
pub fn stanford_cars(root: &Path) {
    let folder = root.join("stanford_cars");
    let text = |text: &str| Mat::Text(text.to_owned());
    let names = Mat::Cells(vec![text("Acura Integra Type R 2001"), text("smart fortwo Convertible 2012")]);
    write(&folder.join("devkit/cars_meta.mat"), mat::file(&[("class_names", names)], true));
    let annotations = |classes: [f64; 2]| {
        let files = vec![text("00001.jpg"), text("00002.jpg")];
        let classes = classes.map(|class| Mat::Bytes(vec![class])).to_vec();
        let boxes = vec![Mat::Doubles(vec![39.0]), Mat::Doubles(vec![3.0])];
        Mat::Structures(vec![("bbox_x1", boxes), ("class", classes), ("fname", files)])
    };
    for (part, list, classes) in [
        ("cars_train", "devkit/cars_train_annos.mat", [1.0, 2.0]),
        ("cars_test", "cars_test_annos_withlabels.mat", [2.0, 1.0]),
    ] {
        write(&folder.join(list), mat::file(&[("annotations", annotations(classes))], part == "cars_train"));
        for (at, class) in classes.iter().enumerate() {
            write(&folder.join(format!("{part}/0000{}.jpg", at + 1)), png(&picture(8, *class as usize - 1, at, 0)));
        }
    }
}

/// SUN397 with two classes; the partition lies in a folder of its own.
pub fn sun397(root: &Path) {
    let folder = root.join("SUN397");
    write(&folder.join("ClassName.txt"), "/a/abbey\n/a/apartment_building/outdoor\n");
    let files = [("a/abbey/sun_aa.jpg", 0), ("a/apartment_building/outdoor/sun_bb.jpg", 1), ("a/abbey/sun_cc.jpg", 0)];
    for (file, label) in files {
        write(&folder.join(file), png(&picture(8, label, 0, 0)));
    }
    write(&folder.join("Partitions/Testing_01.txt"), "/a/apartment_building/outdoor/sun_bb.jpg\n/a/abbey/sun_aa.jpg\n");
    write(&folder.join("Partitions/Training_01.txt"), "/a/abbey/sun_cc.jpg\n");
}

/// Places205's lists, with images of classes 0 and 204.
pub fn places205(root: &Path) {
    let folder = root.join("places205");
    let files = [("a/abbey/gsun_1.jpg", 0), ("y/yard/gsun_2.jpg", 204)];
    let lines: Vec<String> = files.iter().map(|(file, label)| format!("{file} {label}")).collect();
    write(&folder.join("trainvalsplit_places205/val_places205.csv"), lines.join("\n"));
    for (file, label) in files {
        write(&folder.join("data/vision/torralba/deeplearning/images256").join(file), png(&picture(8, label, 0, 0)));
    }
}

/// iNaturalist 2021 with two species.
pub fn inaturalist(root: &Path) {
    let species = [
        ("00000_Animalia_Annelida_Clitellata_Haplotaxida_Lumbricidae_Lumbricus_terrestris", 0),
        ("00001_Plantae_Tracheophyta_Magnoliopsida_Fagales_Fagaceae_Quercus_robur", 1),
    ];
    class_folders(&root.join("inat2021/2021_valid"), &species, "jpg");
}

/// Food-101 with two classes.
pub fn food101(root: &Path) {
    let folder = root.join("food-101");
    write(&folder.join("meta/classes.txt"), "apple_pie\nwaffles\n");
    write(&folder.join("meta/test.txt"), "waffles/11\napple_pie/7\n");
    write(&folder.join("meta/train.txt"), "apple_pie/8\n");
    for (file, label) in [("waffles/11", 1), ("apple_pie/7", 0), ("apple_pie/8", 0)] {
        write(&folder.join(format!("images/{file}.jpg")), png(&picture(8, label, 0, 0)));
    }
}

/// Oxford-IIIT Pets with two breeds.
pub fn pets(root: &Path) {
    let folder = root.join("oxford-iiit-pet");
    write(&folder.join("annotations/trainval.txt"), "Abyssinian_100 1 1 1\n");
    write(&folder.join("annotations/test.txt"), "yorkshire_terrier_2 2 2 25\nAbyssinian_201 1 1 1\n");
    for (file, label) in [("Abyssinian_100", 0), ("yorkshire_terrier_2", 1), ("Abyssinian_201", 0)] {
        write(&folder.join(format!("images/{file}.jpg")), png(&picture(8, label, 0, 0)));
    }
}

/// The files of a tar archive.
pub fn tar(files: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, bytes) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        archive.append_data(&mut header, name, bytes.as_slice()).unwrap();
    }
    archive.into_inner().unwrap()
}

/// Two WebDataset shards of ImageNet-Sketch: samples 0 to 5, of class `n % 3`, their labels as numbers and as JSON.
pub fn sketch_shards(root: &Path) {
    for shard in 0..2 {
        let mut files: Vec<(String, Vec<u8>)> = Vec::new();
        for number in 3 * shard..3 * shard + 3 {
            let label = number % 3;
            files.push((format!("./s{number:04}.jpg"), png(&picture(8, label, number, 0))));
            files.push(match shard {
                0 => (format!("./s{number:04}.cls"), format!("{label}\n").into_bytes()),
                _ => (format!("./s{number:04}.json"), format!("{{\"label\": {label}, \"url\": \"x\"}}").into_bytes()),
            });
        }
        let files: Vec<(&str, Vec<u8>)> = files.iter().map(|(name, bytes)| (name.as_str(), bytes.clone())).collect();
        write(&root.join(format!("imagenet-sketch/test/{shard}.tar")), tar(&files));
    }
}
