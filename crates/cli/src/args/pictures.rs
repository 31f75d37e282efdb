use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use robustify_pictures::{DeepMethod, Files};

/// Where pictures come from and go to.
#[derive(Debug, Args)]
pub struct Offline {
    /// A JPEG, PNG or WebP file; a folder tree of them, which is kept; or a .npy array of bytes, pictures x height x width x 3.
    /// Hidden files and folders are not read.
    #[arg(value_name = "INPUT")]
    pub input: PathBuf,
    /// A folder; or, for one picture and one result, a .png, .jpg or .jpeg file. A folder holds the results of
    /// one seed, format and preprocessing.
    #[arg(value_name = "OUTPUT")]
    pub output: PathBuf,
    /// Seed of all random draws. A picture's draws also depend on its path below INPUT, and on nothing else.
    #[arg(long, default_value_t = 0, value_name = "S")]
    pub seed: u64,
    /// Form of the results. Default: png, or what OUTPUT is named as if it is one picture.
    #[arg(long, value_enum)]
    pub format: Option<Format>,
    /// What is done to every picture first, for example `resize(256)|center_crop(224)`, which ImageNet-C is made with.
    #[arg(long, default_value = "", value_name = "STEPS")]
    pub preprocess: String,
    /// Pictures worked on at a time; results do not depend on it. Default: all cores.
    #[arg(long, short, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub jobs: Option<u16>,
    /// Also draw the first picture with everything that can happen to it, as one PNG file outside INPUT and OUTPUT.
    #[arg(long, value_name = "FILE")]
    pub sheet: Option<PathBuf>,
    /// Delete the results, listed in OUTPUT's manifest, of pictures that INPUT does not hold any more or holds changed.
    #[arg(long)]
    pub prune: bool,
    /// Stop at the first unusable picture, and begin nothing where files or folders would be passed over.
    #[arg(long)]
    pub strict: bool,
    /// Replace OUTPUT, if it is one picture, or the sheet, where a file is there already that holds something else.
    #[arg(long)]
    pub force: bool,
    /// Print nothing but warnings and errors.
    #[arg(long, short)]
    pub quiet: bool,
}

impl Offline {
    /// What the work on the pictures takes.
    pub fn files(&self) -> Files {
        Files {
            input: self.input.clone(),
            output: self.output.clone(),
            seed: self.seed,
            format: self.format.map(Into::into),
            preprocess: self.preprocess.clone(),
            jobs: self.jobs.and_then(|jobs| NonZeroUsize::new(usize::from(jobs))),
            sheet: self.sheet.clone(),
            prune: self.prune,
            strict: self.strict,
            force: self.force,
        }
    }
}

/// The form of results.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A tree of PNG files: nothing is lost. Transparency is kept as it was, if no step of --preprocess is given.
    Png,
    /// A tree of JPEG files of quality 85 with the extension JPEG, as ImageNet-C was published; RGB.
    Jpeg85,
    /// One array a corruption, severities one after the other, or a view, with the classes in labels.npy, as CIFAR-10-C was
    /// published; RGB.
    Npy,
    /// One archive of PNG files a corruption and severity, or a view, in the order of their names, each with a .cls file of its class
    /// (WebDataset).
    Tar,
}

impl From<Format> for robustify_pictures::Format {
    fn from(format: Format) -> Self {
        match format {
            Format::Png => Self::Png,
            Format::Jpeg85 => Self::Jpeg85,
            Format::Npy => Self::Npy,
            Format::Tar => Self::Tar,
        }
    }
}

/// A network of DeepAugment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Deep {
    /// A small residual network with fresh random weights for every picture.
    Noise2net,
    /// A small autoencoder with disturbed weights; trained on the pictures of INPUT first, unless --deep-weights names one.
    Autoencoder,
    /// EDSR x4 with disturbed weights, which --deep-weights names.
    Edsr,
    /// The compressive autoencoder of DeepAugment's authors with disturbed weights, which --deep-weights names.
    Cae,
}

impl From<Deep> for DeepMethod {
    fn from(network: Deep) -> Self {
        match network {
            Deep::Noise2net => Self::Noise2net,
            Deep::Autoencoder => Self::Autoencoder,
            Deep::Edsr => Self::Edsr,
            Deep::Cae => Self::Cae,
        }
    }
}

/// Options of `corrupt`.
#[derive(Debug, Args)]
#[command(after_help = format!("{CORRUPT_HELP}\n\n{OFFLINE_HELP}"), allow_negative_numbers = true)]
pub struct Corrupt {
    #[command(flatten)]
    pub offline: Offline,
    /// Names, separated by commas; `all` for the fifteen of the benchmark, `extra` for the four validation corruptions,
    /// `bar` for the ten of C-bar.
    #[arg(long, default_value = "all", value_name = "NAMES", value_delimiter = ',')]
    pub corruption: Vec<String>,
    /// Severities: `3`, `1-5` or `1,3,5`. 0 is the picture itself.
    #[arg(long, default_value = "1-5", value_name = "N")]
    pub severity: String,
    /// Constants: cifar-c (32 px), tiny-c (64), imagenet-c (224), imagenet-c-299, imagecorruptions or scaled (any size).
    #[arg(long, default_value = "imagenet-c", value_name = "NAME")]
    pub profile: String,
    /// Folder with the benchmark's own pictures of frost, frost1.png to frost3.png, frost4.jpg and frost5.jpg (or PNG files
    /// of those, made with the decoder whose levels count); they have no licence and are not part of this program, which
    /// draws frost of its own otherwise.
    #[arg(long, value_name = "DIR")]
    pub frost_dir: Option<PathBuf>,
    /// Take the random draws from arrays that another program recorded, to compare the two exactly. One picture only.
    #[arg(long, value_name = "NPZ")]
    pub noise_from: Option<PathBuf>,
}

/// What both commands do alike.
const OFFLINE_HELP: &str = "\
OUTPUT/manifest.jsonl lists the results with their SHA-256. The same command continues where it was stopped, and makes again
what is missing or damaged. A tree goes on with the next picture; a .npy or .tar file begins anew unless it is complete. The
arrays or archives of a folder are made of the same pictures: if INPUT changed, all of them are made again, and a run that
would leave some as they were is refused.

Classes, for labels.npy and .cls files, are the folders directly below INPUT, numbered from 0 in the order of their names (by value where all are numbers);
there are none if a picture lies outside of them, or INPUT is an array.

Exit code: 0 if every picture was worked on, 3 if some were left out (they are named), 1 for an error, 2 for wrong options,
130 after Ctrl-C.";

const CORRUPT_HELP: &str = "\
Results are OUTPUT/CORRUPTION/SEVERITY/path-of-the-picture (png, jpeg85), OUTPUT/CORRUPTION.npy (npy) or
OUTPUT/CORRUPTION-SEVERITY.tar (tar); more corruptions can be added to the same folder.

Corruptions: gaussian_noise shot_noise impulse_noise defocus_blur glass_blur motion_blur zoom_blur snow frost fog brightness
contrast elastic_transform pixelate jpeg_compression; extra: speckle_noise gaussian_blur spatter saturate; bar, for cifar-c:
blue_noise_sample checkerboard_cutout inverse_sparkles pinch_and_twirl ripple brownish_noise circular_motion_blur lines
sparkles transverse_chromatic_abberation, else: caustic_refraction inverse_sparkles sparkles perlin_noise blue_noise_sample
plasma_noise checkerboard_cutout cocentric_sine_waves single_frequency_greyscale brownish_noise.";

/// Options of `augment`.
#[derive(Debug, Args)]
#[command(after_help = format!("{AUGMENT_HELP}\n\n{OFFLINE_HELP}"), allow_negative_numbers = true)]
pub struct Augment {
    #[command(flatten)]
    pub offline: Offline,
    /// What is done, as in a training configuration: alternatives separated by `|`, steps by `+`. Default:
    /// `augmix(severity=3)`, and nothing with --deep.
    #[arg(long, value_name = "POLICY")]
    pub policy: Option<String>,
    /// Send every picture through a disturbed network first (DeepAugment).
    #[arg(long, value_enum, value_name = "NETWORK")]
    pub deep: Option<Deep>,
    /// Weights of the network, as safetensors.
    #[arg(long, value_name = "FILE", requires = "deep")]
    pub deep_weights: Option<PathBuf>,
    /// Passes over the pictures when an autoencoder is trained.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    pub deep_epochs: u32,
    /// Backend for the network.
    #[arg(long, value_name = "NAME")]
    pub backend: Option<String>,
    /// Different results of every picture. More than one go to OUTPUT/1, OUTPUT/2 and so on.
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub views: u32,
}

const AUGMENT_HELP: &str = "\
Steps of a policy: augmix pixmix rand_conv cutout random_erasing flip random_resized_crop colour_jitter, each with parameters in
brackets, as in `flip+augmix(severity=1)|pixmix(beta=4,set=mixed)`; the documentation of `robustify_augment::Policy` lists them.
The networks that a training's policy may contain (noise2net, autoencoder, cae, edsr) are --deep here.

Results are OUTPUT/path-of-the-picture (png, jpeg85), OUTPUT/images.npy (npy) or OUTPUT/images.tar (tar); with --views
OUTPUT/VIEW/path-of-the-picture, OUTPUT/VIEW.npy or OUTPUT/VIEW.tar. Transparency stays where it was when a picture moves.

An autoencoder that was trained stays beside OUTPUT, as OUTPUT.autoencoder-DIGEST.safetensors; other pictures or
settings train another.";
